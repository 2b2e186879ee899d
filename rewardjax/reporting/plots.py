"""PNG figures of a run, in one style: readable in gray and for color-blind eyes."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FormatStrFormatter, MaxNLocator, PercentFormatter

# Okabe and Ito (2008): told apart with any kind of color blindness.
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
VERMILION, PURPLE, SKY = "#D55E00", "#CC79A7", "#56B4E9"
GRAY = "#777777"
COLORS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
# A line has a marker too, for gray paper.
MARKERS = "osD^vP"
STYLE: dict[Any, Any] = {
    "figure.dpi": 140,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.1,
    "figure.constrained_layout.h_pad": 0.1,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.edgecolor": "#888888",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "axes.prop_cycle": cycler(color=COLORS),
}
# More names than these fill the panel with its legend.
MOST_IN_LEGEND = 8


@contextlib.contextmanager
def figure(
    path: str | pathlib.Path,
    rows: int = 1,
    columns: int = 1,
    size: tuple[float, float] = (4.8, 3.2),
) -> Iterator[np.ndarray]:
    """Yield axes [rows, columns] to draw on; the figure is written to `path` afterwards.

    `size`: inches (width, height) of one of them.
    """
    # Without pyplot: no global state, which threads would share, and no display.
    with matplotlib.rc_context(STYLE):
        sheet = Figure(figsize=(size[0] * columns, size[1] * rows))
        FigureCanvasAgg(sheet)
        yield sheet.subplots(rows, columns, squeeze=False)
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        sheet.savefig(path)


# ------------------------------------------------------------------ training


def series(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a metric, [n] each, where it was logged."""
    logged = [row for row in rows if row.get(name) is not None]
    steps = np.array([row["step"] for row in logged])
    return steps, np.array([row[name] for row in logged], np.float64)


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Centered moving average [n] over about a twentieth of the curve."""
    half = len(values) // 40
    if half == 0:
        return values
    # Near the ends over what there is: a curve that is extended there would bend.
    total = np.r_[0.0, np.cumsum(values)]
    left = np.maximum(np.arange(len(values)) - half, 0)
    right = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return (total[right] - total[left]) / (right - left)


def _draw_noisy(axes: Axes, rows, name: str, label: str | None = None, color: str = BLUE) -> None:
    """A smoothed curve, with the values themselves behind it."""
    steps, values = series(rows, name)
    smooth = _smoothed(values)
    if smooth is not values:
        axes.plot(steps, values, color=color, alpha=0.25, linewidth=0.7)
    (line,) = axes.plot(steps, smooth, color=color, label=label)
    if len(steps) < 3:
        # A line through one point cannot be seen.
        line.set_marker("o")


def _draw_margins(axes: Axes, rows, names: Sequence[str]) -> None:
    """One line per held-out set."""
    for i, name in enumerate(names):
        steps, values = series(rows, f"{name}/margin_mean")
        color = COLORS[i % len(COLORS)]
        axes.plot(steps, values, color=color, marker=MARKERS[i % len(MARKERS)], label=name)
    if len(names) <= MOST_IN_LEGEND:
        axes.legend(loc="best")


def _draw_rate(axes: Axes, rows, lines: Sequence[tuple[str, str | None, str]]) -> None:
    """Lines (name, label, color) of amounts per second, from zero."""
    for name, label, color in lines:
        axes.plot(*series(rows, name), color=color, label=label)
    if len(lines) > 1:
        axes.legend(loc="best")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(EngFormatter())


def _panels(rows: Sequence[Mapping[str, Any]], logged: set[str]) -> dict[str, Callable]:
    """Title -> function that draws on axes, for each thing that was logged."""
    margins = sorted(
        name.removesuffix("/margin_mean") for name in logged if name.endswith("/margin_mean")
    )

    def draw_margin(axes: Axes) -> None:
        if "margin" in logged:
            _draw_noisy(axes, rows, "margin", "training", GRAY)
        _draw_margins(axes, rows, margins)

    def draw_lr(axes: Axes) -> None:
        axes.plot(*series(rows, "lr"), color=BLUE)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FormatStrFormatter("%.2g"))

    def draw_tokens(axes: Axes) -> None:
        # Their distance is padding, which is computed for nothing.
        slots = ("padded_tokens_per_second", "row slots", GRAY)
        useful = ("useful_tokens_per_second", "useful tokens", GREEN)
        _draw_rate(axes, rows, [slots, useful])

    panels: dict[str, Callable] = {}
    if "loss" in logged:
        panels["Training loss"] = lambda axes: _draw_noisy(axes, rows, "loss")
    if "margin" in logged or margins:
        panels["Reward margin"] = draw_margin
    if "lr" in logged:
        panels["Learning rate"] = draw_lr
    if "pairs_per_second" in logged:
        line = ("pairs_per_second", None, BLUE)
        panels["Pairs per second"] = lambda axes: _draw_rate(axes, rows, [line])
    if "useful_tokens_per_second" in logged:
        panels["Tokens per second"] = draw_tokens
    return panels


def curves(rows: Sequence[Mapping[str, Any]], path: str | pathlib.Path) -> None:
    """Training curves from `metrics.read_metrics`, one panel for each thing that was logged.

    Names read: `loss`, `margin`, `lr`, `pairs_per_second`, `useful_tokens_per_second` and
    `padded_tokens_per_second`, and for each held-out set X `X/margin_mean`. Held-out accuracy has a
    figure of its own (learning_curve.py).

    Raises:
        ValueError: where none of them was logged.
    """
    logged: set[str] = set()
    for row in rows:
        logged |= {name for name, value in row.items() if value is not None}
    panels = _panels(rows, logged)
    if not panels:
        raise ValueError(
            f"curves: none of the known metrics was logged; there are {sorted(logged)}"
        )
    columns = min(len(panels), 3)
    if len(panels) == 4:
        # Two by two, not three and one.
        columns = 2
    with figure(path, -(-len(panels) // columns), columns, size=(4.0, 2.8)) as axes:
        for ax, (title, draw) in zip(axes.flat, panels.items(), strict=False):
            draw(ax)
            ax.set_title(title)
            ax.set_xlabel("step")
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        for ax in list(axes.flat)[len(panels) :]:
            ax.set_axis_off()


# ------------------------------------------------------------------ rewards


def reliability_diagram(
    bins: Mapping[str, Any], path: str | pathlib.Path, title: str = "Calibration"
) -> None:
    """Confidence against frequency from `pairs.reliability`; the area of a dot is its pairs.

    Below the diagonal the model is over-confident.
    """
    with figure(path, size=(4.2, 4.0)) as axes:
        ax = axes[0, 0]
        ends = [0.5, 1]
        ax.plot(ends, ends, color=GRAY, linestyle="--", linewidth=1, label="perfectly calibrated")
        ax.plot(bins["confidence"], bins["frequency"], color=BLUE, linewidth=1)
        count = np.asarray(bins["count"], np.float64)
        area = 15 + 60 * count / max(count.max(initial=1), 1)
        ax.scatter(bins["confidence"], bins["frequency"], s=area, color=BLUE, zorder=3)
        # Confidence starts at 1/2; the frequency of a bad model does not.
        lowest = min(0.5, float(np.min(bins["frequency"], initial=0.5)))
        ax.set(
            xlim=(0.48, 1.02),
            ylim=(lowest - 0.02, 1.02),
            title=title,
            xlabel="confidence of the preferred response",
            ylabel="how often the label agrees",
        )
        ax.legend(loc="upper left")


def reward_histogram(chosen, rejected, path: str | pathlib.Path, title: str = "Rewards") -> None:
    """Distributions of the rewards [n] of chosen and rejected responses over shared bins."""
    chosen, rejected = np.asarray(chosen, np.float64), np.asarray(rejected, np.float64)
    count = min(60, max(10, int(np.sqrt(len(chosen)))))
    bins = np.histogram_bin_edges(np.concatenate([chosen, rejected]), bins=count)
    drawn = ((rejected, "rejected", VERMILION, "--"), (chosen, "chosen", BLUE, "-"))
    with figure(path) as axes:
        ax = axes[0, 0]
        for rewards, label, color, line in drawn:
            # Filled and outlined: where the two overlap, both outlines can be followed.
            ax.hist(rewards, bins, color=color, alpha=0.3)
            ax.hist(
                rewards,
                bins,
                color=color,
                histtype="step",
                linestyle=line,
                linewidth=1.4,
                label=f"{label} (mean {rewards.mean():.2f})",
            )
        ax.set(title=title, xlabel="reward", ylabel="responses")
        ax.margins(x=0.02)
        # Room for the legend.
        ax.set_ylim(top=ax.get_ylim()[1] * 1.2)
        handles, labels = ax.get_legend_handles_labels()
        # Chosen is drawn last, on top, and named first.
        ax.legend(handles[::-1], labels[::-1], loc="upper left", ncols=2)


def reward_against_length(
    chosen,
    rejected,
    chosen_length,
    rejected_length,
    path: str | pathlib.Path,
    title: str = "Reward against length",
    most: int = 4000,
) -> None:
    """Scatter of rewards [n] on response lengths [n] in tokens.

    With the mean reward in eight bins of equal mass over all responses. Shows every k-th pair where
    there are more than `most`; the means are of all.
    """
    lengths = np.concatenate([chosen_length, rejected_length]).astype(np.float64)
    rewards = np.concatenate([chosen, rejected]).astype(np.float64)
    stride = -(-len(chosen) // most)
    # Many responses of one length make edges equal: fewer bins then.
    edges = np.unique(np.quantile(lengths, np.arange(1, 8) / 8))
    bin_of = np.searchsorted(edges, lengths, side="right")
    used = np.unique(bin_of)
    with figure(path) as axes:
        ax = axes[0, 0]
        dots: dict[str, Any] = {"s": 9, "alpha": 0.35, "linewidths": 0.8}
        ax.scatter(
            rejected_length[::stride],
            rejected[::stride],
            color=VERMILION,
            marker="x",
            label="rejected",
            **dots,
        )
        ax.scatter(
            chosen_length[::stride],
            chosen[::stride],
            color=BLUE,
            marker="o",
            edgecolors="none",
            label="chosen",
            **dots,
        )
        ax.plot(
            [lengths[bin_of == i].mean() for i in used],
            [rewards[bin_of == i].mean() for i in used],
            color="black",
            marker="s",
            label="mean",
        )
        ax.set(title=title, xlabel="response tokens", ylabel="reward")
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=1.5)


# ------------------------------------------------------------------ curation


def stages(
    curves_by_name: Mapping[str, Sequence[Sequence[Any]]], path: str | pathlib.Path, title: str
) -> None:
    """One line per data set over the stages of curation (the paper's figure 7).

    Points are [stage, mean, low, high]; low and high become error bars.
    """
    names: list[str] = []
    for points in curves_by_name.values():
        names += [point[0] for point in points if point[0] not in names]
    middle = (len(curves_by_name) - 1) / 2
    with figure(path, size=(6.0, 3.6)) as axes:
        ax = axes[0, 0]
        for i, (name, points) in enumerate(curves_by_name.items()):
            mean, low, high = np.array([point[1:4] for point in points], np.float64).T
            # Side by side, so that error bars do not hide each other.
            place = [names.index(point[0]) + 0.04 * (i - middle) for point in points]
            ax.errorbar(
                place,
                mean,
                yerr=(mean - low, high - mean),
                label=name,
                capsize=2.5,
                elinewidth=0.9,
                color=COLORS[i % len(COLORS)],
                marker=MARKERS[i % len(MARKERS)],
            )
        ax.set_xticks(range(len(names)), names)
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        ax.set(title=title)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def bars(values: Mapping[str, Sequence[float]], path: str | pathlib.Path, title: str) -> None:
    """One bar per name, top to bottom in the order given (the paper's figure 8).

    Values are (mean, low, high); low and high become error bars. The axis does not start at zero.
    """
    # matplotlib draws from the bottom up.
    names = list(values)[::-1]
    mean, low, high = np.array([values[name] for name in names], np.float64)[:, :3].T
    with figure(path, size=(6.4, 0.9 + 0.3 * len(names))) as axes:
        ax = axes[0, 0]
        start = float(np.floor(20 * min(low.min(), 0.5)) / 20)
        ax.barh(names, mean - start, left=start, color=SKY, height=0.65)
        ax.errorbar(
            mean,
            names,
            xerr=(mean - low, high - mean),
            fmt="none",
            ecolor="#333333",
            elinewidth=1,
            capsize=2.5,
        )
        for i, value in enumerate(mean):
            text = f"{100 * value:.1f} %"
            ax.text(1.02, i, text, va="center", fontsize=8, transform=ax.get_yaxis_transform())
        ax.set(title=title, xlim=(start, None), ylim=(-0.6, len(names) - 0.4))
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.grid(axis="y", visible=False)


def stacked(
    amounts: Mapping[str, Sequence[float]],
    stages: Sequence[str],
    path: str | pathlib.Path,
    title: str,
) -> None:
    """One bar per stage, from the bottom up the amounts [stages] of each name: how pools grow."""
    with figure(path, size=(5.6, 3.2)) as axes:
        ax, bottom = axes[0, 0], np.zeros(len(stages))
        for i, (name, values) in enumerate(amounts.items()):
            ax.bar(stages, values, 0.65, bottom=bottom, label=name, color=COLORS[i % len(COLORS)])
            bottom += np.asarray(values, np.float64)
        ax.yaxis.set_major_formatter(EngFormatter())
        ax.set(title=title)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
