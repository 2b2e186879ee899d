"""PNG figures of a run, in one style: readable in gray and for color-blind eyes (Okabe-Ito colors), no chart junk."""

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

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, GRAY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#777777",
)
COLORS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
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


@contextlib.contextmanager
def figure(
    path: str | pathlib.Path,
    rows: int = 1,
    columns: int = 1,
    size: tuple[float, float] = (4.8, 3.2),
) -> Iterator[np.ndarray]:
    """Axes [rows, columns] to draw on; the figure is written to `path` afterwards. No pyplot, so no global state and no display."""
    with matplotlib.rc_context(STYLE):
        sheet = Figure(figsize=(size[0] * columns, size[1] * rows))
        FigureCanvasAgg(sheet)
        yield sheet.subplots(rows, columns, squeeze=False)
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        sheet.savefig(path)


def _series(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    steps, values = zip(*points, strict=True) if points else ((), ())
    return np.array(steps), np.array(values, np.float64)


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Centered moving average over about a twentieth of the curve; near the ends over what there is."""
    half = len(values) // 40
    if half == 0:
        return values
    total = np.r_[0.0, np.cumsum(values)]
    left, right = (
        np.maximum(np.arange(len(values)) - half, 0),
        np.minimum(np.arange(len(values)) + half + 1, len(values)),
    )
    return (total[right] - total[left]) / (right - left)


def _draw_noisy(axes: Axes, rows, name: str, label: str | None = None, color: str = BLUE) -> None:
    steps, values = _series(rows, name)
    smooth = _smoothed(values)
    if smooth is not values:
        axes.plot(steps, values, color=color, alpha=0.25, linewidth=0.7)
    axes.plot(steps, smooth, color=color, label=label, marker="o" if len(steps) < 3 else None)


def _draw_held_out(axes: Axes, rows, names: Sequence[str], suffix: str, band: bool) -> None:
    for i, name in enumerate(names):
        steps, values = _series(rows, f"{name}/{suffix}")
        color = COLORS[i % len(COLORS)]
        axes.plot(steps, values, color=color, marker=MARKERS[i % len(MARKERS)], label=name)
        if band:
            low, high = (
                _series(rows, f"{name}/wilson_low")[1],
                _series(rows, f"{name}/wilson_high")[1],
            )
            if len(low) == len(high) == len(steps):
                axes.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
    if len(names) <= 8:
        axes.legend(loc="best")


def curves(rows: Sequence[Mapping[str, Any]], path: str | pathlib.Path) -> None:
    """Training curves from `metrics.read_metrics`, one panel for each thing that was logged.

    Names read: `loss`, `margin`, `lr`, `pairs_per_second`, `useful_tokens_per_second` and `padded_tokens_per_second`, and for each
    held-out set X `X/accuracy` (with `X/wilson_low`, `X/wilson_high` as a band), `X/margin_mean`. Raises ValueError when none of them is
    there."""
    seen = {name for row in rows for name, value in row.items() if value is not None}
    sets = sorted(name.removesuffix("/accuracy") for name in seen if name.endswith("/accuracy"))
    margins = sorted(
        name.removesuffix("/margin_mean") for name in seen if name.endswith("/margin_mean")
    )

    def draw_margin(axes: Axes) -> None:
        if "margin" in seen:
            _draw_noisy(axes, rows, "margin", "training", GRAY)
        _draw_held_out(axes, rows, margins, "margin_mean", band=False)

    def draw_accuracy(axes: Axes) -> None:
        _draw_held_out(axes, rows, sets, "accuracy", band=True)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))

    def draw_lr(axes: Axes) -> None:
        axes.plot(*_series(rows, "lr"), color=BLUE)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FormatStrFormatter("%.2g"))

    def draw_tokens(axes: Axes) -> None:
        for name, label, color in (
            ("padded_tokens_per_second", "row slots", GRAY),
            ("useful_tokens_per_second", "useful tokens", GREEN),
        ):
            axes.plot(*_series(rows, name), color=color, label=label)
        axes.legend(loc="best")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(EngFormatter())

    def draw_pairs(axes: Axes) -> None:
        axes.plot(*_series(rows, "pairs_per_second"), color=BLUE)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(EngFormatter())

    panels: list[tuple[bool, str, Callable[[Axes], None]]] = [
        ("loss" in seen, "Training loss", lambda axes: _draw_noisy(axes, rows, "loss")),
        (bool(sets), "Held-out accuracy (95 % band)", draw_accuracy),
        ("margin" in seen or bool(margins), "Reward margin", draw_margin),
        ("lr" in seen, "Learning rate", draw_lr),
        ("pairs_per_second" in seen, "Pairs per second", draw_pairs),
        ("useful_tokens_per_second" in seen, "Tokens per second", draw_tokens),
    ]
    panels = [panel for panel in panels if panel[0]]
    if not panels:
        raise ValueError(f"curves: none of the known metrics was logged; there are {sorted(seen)}")
    columns = min(len(panels), 3 if len(panels) != 4 else 2)
    with figure(path, -(-len(panels) // columns), columns, size=(4.0, 2.8)) as axes:
        for ax, (_, title, draw) in zip(axes.flat, panels, strict=False):
            draw(ax)
            ax.set_title(title)
            ax.set_xlabel("step")
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        for ax in list(axes.flat)[len(panels) :]:
            ax.set_axis_off()


def reliability_diagram(
    bins: Mapping[str, Any], path: str | pathlib.Path, title: str = "Calibration"
) -> None:
    """Confidence against frequency from `evaluators.pairs.reliability`; below the diagonal is over-confident. Dot area: pairs."""
    with figure(path, size=(4.2, 4.0)) as axes:
        ax = axes[0, 0]
        lowest = min(0.5, float(np.min(bins["frequency"], initial=0.5)))
        ax.plot(
            [0.5, 1],
            [0.5, 1],
            color=GRAY,
            linestyle="--",
            linewidth=1,
            label="perfectly calibrated",
        )
        ax.plot(bins["confidence"], bins["frequency"], color=BLUE, linewidth=1)
        count = np.asarray(bins["count"], np.float64)
        ax.scatter(
            bins["confidence"],
            bins["frequency"],
            s=15 + 60 * count / max(count.max(initial=1), 1),
            color=BLUE,
            zorder=3,
        )
        ax.set(
            xlim=(0.48, 1.02),
            ylim=(lowest - 0.02, 1.02),
            title=title,
            xlabel="confidence of the preferred response",
            ylabel="how often the label agrees",
        )
        ax.legend(loc="upper left")


def reward_histogram(chosen, rejected, path: str | pathlib.Path, title: str = "Rewards") -> None:
    """Distributions of the rewards of chosen and rejected responses over shared bins."""
    chosen, rejected = np.asarray(chosen, np.float64), np.asarray(rejected, np.float64)
    bins = np.histogram_bin_edges(
        np.concatenate([chosen, rejected]), bins=min(60, max(10, int(np.sqrt(len(chosen)))))
    )
    with figure(path) as axes:
        ax = axes[0, 0]
        for rewards, label, color, line in (
            (rejected, "rejected", VERMILION, "--"),
            (chosen, "chosen", BLUE, "-"),
        ):
            ax.hist(rewards, bins, color=color, alpha=0.3)
            label = f"{label} (mean {rewards.mean():.2f})"
            ax.hist(
                rewards,
                bins,
                color=color,
                histtype="step",
                linestyle=line,
                linewidth=1.4,
                label=label,
            )
        ax.set(title=title, xlabel="reward", ylabel="responses")
        ax.margins(x=0.02)
        ax.set_ylim(top=ax.get_ylim()[1] * 1.2)
        handles, labels = ax.get_legend_handles_labels()
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
    """Scatter of rewards on response lengths in tokens, with the mean reward in eight bins of equal mass over all responses.

    Shows every k-th pair where there are more than `most`; the means are of all."""
    lengths = np.concatenate([chosen_length, rejected_length]).astype(np.float64)
    rewards = np.concatenate([chosen, rejected]).astype(np.float64)
    stride = -(-len(chosen) // most)
    edges = np.unique(np.quantile(lengths, np.arange(1, 8) / 8))
    bin_of = np.searchsorted(edges, lengths, side="right")
    used = np.unique(bin_of)
    with figure(path) as axes:
        ax = axes[0, 0]
        drawn = (
            (rejected_length, rejected, "rejected", VERMILION, "x"),
            (chosen_length, chosen, "chosen", BLUE, "o"),
        )
        for x, y, label, color, marker in drawn:
            edge = {} if marker == "x" else {"edgecolors": "none"}
            ax.scatter(
                x[::stride],
                y[::stride],
                s=9,
                color=color,
                marker=marker,
                alpha=0.35,
                linewidths=0.8,
                label=label,
                **edge,
            )
        centers = [lengths[bin_of == i].mean() for i in used]
        ax.plot(
            centers,
            [rewards[bin_of == i].mean() for i in used],
            color="black",
            marker="s",
            label="mean",
        )
        ax.set(title=title, xlabel="response tokens", ylabel="reward")
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=1.5)


def accuracy_bars(
    cells: Mapping[str, Mapping[str, Any]],
    path: str | pathlib.Path,
    title: str = "Accuracy by category",
) -> None:
    """One bar a cell from its `pair_metrics` (`accuracy`, `wilson_low`, `wilson_high`, `pairs`), best first; without pairs, no bar."""
    names = sorted(
        (name for name in cells if cells[name].get("accuracy") is not None),
        key=lambda name: cells[name]["accuracy"],
    )
    if not names:
        raise ValueError("accuracy_bars: no cell has an accuracy")
    values = np.array([cells[name]["accuracy"] for name in names])
    low, high = (
        np.array([cells[name][key] for name in names]) for key in ("wilson_low", "wilson_high")
    )
    with figure(path, size=(6.0, 0.9 + 0.3 * len(names))) as axes:
        ax = axes[0, 0]
        ax.barh(names, values, color=SKY, height=0.65)
        ax.errorbar(
            values,
            names,
            xerr=(values - low, high - values),
            fmt="none",
            ecolor="#333333",
            elinewidth=1,
            capsize=2.5,
        )
        for i, name in enumerate(names):
            label = f"{100 * values[i]:.1f} %  (n = {cells[name]['pairs']:,})"
            ax.text(1.02, i, label, va="center", fontsize=8, transform=ax.get_yaxis_transform())
        ax.axvline(0.5, color=GRAY, linestyle=":", linewidth=1.2)
        ax.set(
            title=title,
            xlim=(0, 1),
            ylim=(-0.6, len(names) - 0.4),
            xlabel="accuracy (dotted: chance)",
        )
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.grid(axis="y", visible=False)


def stages(
    curves_by_name: Mapping[str, Sequence[Sequence[Any]]], path: str | pathlib.Path, title: str
) -> None:
    """One line a data set over the stages of curation, points [stage, mean, low, high], with error bars (the paper's figure 7)."""
    with figure(path, size=(6.0, 3.6)) as axes:
        ax = axes[0, 0]
        names = list(
            dict.fromkeys(point[0] for points in curves_by_name.values() for point in points)
        )
        for i, (name, points) in enumerate(curves_by_name.items()):
            mean, low, high = (
                np.array([point[column] for point in points]) for column in (1, 2, 3)
            )
            place = [
                names.index(point[0]) + 0.04 * (i - (len(curves_by_name) - 1) / 2)
                for point in points
            ]  # bars side by side
            style = {"color": COLORS[i % len(COLORS)], "marker": MARKERS[i % len(MARKERS)]}
            ax.errorbar(
                place,
                mean,
                yerr=(mean - low, high - mean),
                label=name,
                capsize=2.5,
                elinewidth=0.9,
                **style,
            )
        ax.set_xticks(range(len(names)), names)
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        ax.set(title=title)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def bars(values: Mapping[str, Sequence[float]], path: str | pathlib.Path, title: str) -> None:
    """One bar a name, top to bottom in the order given: (mean, low, high), with error bars (the paper's figure 8). Not from zero."""
    names = list(values)[::-1]
    mean, low, high = (np.array([values[name][column] for name in names]) for column in range(3))
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
            ax.text(
                1.02,
                i,
                f"{100 * value:.1f} %",
                va="center",
                fontsize=8,
                transform=ax.get_yaxis_transform(),
            )
        ax.set(title=title, xlim=(start, None), ylim=(-0.6, len(names) - 0.4))
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.grid(axis="y", visible=False)


def stacked(
    amounts: Mapping[str, Sequence[float]],
    stages: Sequence[str],
    path: str | pathlib.Path,
    title: str,
) -> None:
    """One bar a stage, from the bottom up the amounts [stages] of each name: how pools grow."""
    with figure(path, size=(5.6, 3.2)) as axes:
        ax, bottom = axes[0, 0], np.zeros(len(stages))
        for i, (name, values) in enumerate(amounts.items()):
            ax.bar(stages, values, 0.65, bottom=bottom, label=name, color=COLORS[i % len(COLORS)])
            bottom += np.asarray(values, np.float64)
        ax.yaxis.set_major_formatter(EngFormatter())
        ax.set(title=title)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
