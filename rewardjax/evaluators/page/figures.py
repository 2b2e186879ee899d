"""Figures of benchmark results: headlines, categories, differences, best of N.

The evaluated models are in color, published ones in gray, and every interval is shown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rewardjax.evaluators.page.drawing import (
    DARK,
    LIGHT,
    Path,
    arms,
    log2_ticks,
    panel_grid,
    panels,
    series_style,
)
from rewardjax.reporting.labels import inches, legend_below, lines_of, with_legend, wrapped
from rewardjax.reporting.plots import BLUE, COLORS, GRAY, VERMILION, figure

# Everything drawn to the right of an axis: x in fractions of its width, y in data.
BESIDE = 1.02
# Names of models and categories beside an axis.
NAME_POINTS = 8


def headlines(
    models: Mapping[str, Sequence[Mapping[str, Any] | None]],
    published: Mapping[str, Sequence[float | None]],
    chance: Sequence[float],
    titles: Sequence[str],
    path: Path,
) -> None:
    """One panel per benchmark, one bar per model: the evaluated ones first, then published ones.

    models: by name, one {"headline", "low", "high", "partial"} per benchmark, in [0, 1], or None.
    published, chance: one number per benchmark, in percent; None where it may not be shown. A star
    marks a partial number, the dotted line is chance.
    """
    names = [wrapped(name, 34) for name in (*models, *published)]
    rows = range(len(names))
    # The panels share the width of the names, which stand beside the first alone.
    width = 2.0 + inches(names, NAME_POINTS) / len(titles)
    height = 1.2 + 0.15 * lines_of(titles) + (0.1 + 0.17 * lines_of(names)) * len(names)
    with figure(path, 1, len(titles), size=(width, height)) as axes:
        for column, (ax, title) in enumerate(zip(axes[0], titles, strict=True)):
            for row, headline_of in enumerate(models.values()):
                _headline(ax, row, headline_of[column])
            for row, scores in enumerate(published.values(), len(models)):
                score = scores[column]
                if score is not None:
                    ax.barh(row, max(score, 0), color=LIGHT, height=0.7)
                    _number_beside(ax, row, f"{score:.1f}", "normal")
            # A line in each panel, since chance differs: four responses to choose from, or two.
            ax.axvline(chance[column], color=DARK, linestyle=":", linewidth=1)
            ax.set(xlim=(0, 100), ylim=(len(names) - 0.4, -0.6))
            ax.set_title(wrapped(title, 20), fontsize=9)
            ax.set_yticks(rows, [""] * len(names))
            ax.tick_params(axis="y", length=0)
            ax.set_xticks([0, 50, 100])
            ax.grid(axis="y", visible=False)
            if published:
                ax.axhline(len(models) - 0.5, color="#888888", linewidth=0.8)
        # The panels share their rows, so one set of names serves all of them.
        axes[0, 0].set_yticks(rows, names, fontsize=NAME_POINTS)
        # Below all of them, since one panel is narrower than it.
        axes[0, 0].figure.supxlabel(
            "score, % (dotted: chance; * over part of the benchmark; 95 % intervals)", fontsize=9
        )


def _headline(ax: Axes, row: int, headline: Mapping[str, Any] | None) -> None:
    """The bar of an evaluated model; a missing number is said, since an empty row reads as zero."""
    if headline is None or headline["headline"] is None:
        ax.text(3, row, "missing", va="center", fontsize=7.5, color=GRAY, style="italic")
        return
    score = 100 * headline["headline"]
    ax.barh(row, max(score, 0), color=COLORS[row % len(COLORS)], height=0.7)
    if headline["low"] is not None and headline["high"] is not None:
        reach = arms(score, 100 * headline["low"], 100 * headline["high"])
        ax.errorbar(score, row, xerr=reach, fmt="none", ecolor=DARK, elinewidth=1, capsize=2)
    label = f"{score:.1f}"
    if headline["partial"]:
        label += "*"
    _number_beside(ax, row, label, "bold")


def _number_beside(ax: Axes, row: int, label: str, weight: str) -> None:
    ax.text(
        1.04,
        row,
        label,
        va="center",
        fontsize=7.5,
        color=DARK,
        weight=weight,
        transform=ax.get_yaxis_transform(),
    )


def categories(parts: Mapping[str, Mapping[str, Any]], path: Path, title: str) -> None:
    """One bar per part of a benchmark, best on top: {"value", "low", "high", "n", "chance"}.

    All but n at most 1. low and high may be None: then the bar has no interval, and chance: then
    it has no dotted line. A part without a value has no bar.
    """
    # Matplotlib counts rows from below, so that the ascending order puts the best on top.
    scored = [name for name in parts if parts[name]["value"] is not None]
    names = sorted(scored, key=lambda name: parts[name]["value"])
    labels = [wrapped(name, 60) for name in names]
    xlabel = "score with 95 % interval"
    size = (5.2 + inches(labels, NAME_POINTS), 1.1 + _row_height(labels) * len(labels))
    with figure(path, size=size) as axes:
        ax = axes[0, 0]
        for row, name in enumerate(names):
            part = parts[name]
            value = part["value"]
            ax.barh(row, value, color=BLUE, alpha=0.75, height=0.68)
            reach = arms(value, part["low"], part["high"])
            if reach is not None:
                ax.errorbar(
                    value, row, xerr=reach, fmt="none", ecolor=DARK, elinewidth=1, capsize=2
                )
            _text_beside(ax, row, f"{100 * value:.1f} %  (n = {part['n']:,})")
            if part["chance"] is not None:
                # Bar by bar: pairs and lists of one benchmark have other chances.
                ends = (row - 0.5, row + 0.5)
                ax.plot([part["chance"]] * 2, ends, color=DARK, linestyle=":", linewidth=1.2)
        if any(parts[name]["chance"] is not None for name in names):
            xlabel += " (dotted: chance)"
        ax.set_yticks(range(len(names)), labels, fontsize=NAME_POINTS)
        # Correlations may be negative, which no accuracy is.
        lowest = min([0.0, *(parts[name]["value"] for name in names)])
        ax.set(xlim=(lowest, 1), ylim=(-0.6, len(names) - 0.4), xlabel=xlabel)
        ax.set_title(wrapped(title, 48))
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.grid(axis="y", visible=False)


def _text_beside(ax: Axes, row: int, label: str) -> None:
    ax.text(BESIDE, row, label, va="center", fontsize=8, transform=ax.get_yaxis_transform())


def _row_height(labels: Sequence[str]) -> float:
    """Inches for a row, whose label may have several lines."""
    return 0.11 + 0.14 * lines_of(labels)


def differences(forests: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]], path: Path) -> None:
    """One forest plot per pair of models: rows {"label", "difference", "low", "high"}, in [-1, 1].

    The difference is the first model's headline less the second's. The question is which intervals
    leave out zero: only those are in color.
    """
    longest = max(forests.values(), key=len)
    labels = [wrapped(row["label"], 34) for row in longest]
    columns = min(2, len(forests))
    # Two names of two lines each stand above a panel.
    size = (5.0 + inches(labels, NAME_POINTS), 1.7 + _row_height(labels) * len(longest))
    with figure(path, -(-len(forests) // columns), columns, size=size) as grid:
        panels = list(grid.flat)
        for ax in panels[len(forests) :]:
            ax.set_axis_off()
        for ax, ((first, second), rows) in zip(panels, forests.items(), strict=False):
            _forest(ax, rows)
            names = [wrapped(first, 46), wrapped(f"less {second}", 46)]
            ax.set_title("\n".join(names), fontsize=9)


def _forest(ax: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    for i, row in enumerate(rows):
        value, low, high = (100 * row[key] for key in ("difference", "low", "high"))
        color = GRAY
        if low > 0:
            color = BLUE
        elif high < 0:
            color = VERMILION
        ax.errorbar(value, i, xerr=arms(value, low, high), color=color, marker="o", capsize=2.5)
        _text_beside(ax, i, f"{value:+.1f}  [{low:+.1f}, {high:+.1f}]")
    ax.axvline(0, color=DARK, linewidth=1)
    labels = [wrapped(row["label"], 34) for row in rows]
    ax.set_yticks(range(len(rows)), labels, fontsize=NAME_POINTS)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set(
        xlabel="percentage points, 95 % (gray: may be zero)",
        ylim=(len(rows) - 0.5, -0.6),
    )
    ax.grid(axis="y", visible=False)


# ------------------------------------------------------------------ best of N


def best_of_n(curves: Mapping[str, Mapping[str, Mapping[str, Any]]], path: Path) -> None:
    """One panel per set of prompts: curves of `stats.best_of_n.curve` by the name of the scorer.

    The oracle and the random pick are drawn in every panel: a curve means something between them.
    """
    # A scorer keeps its color over all panels, in the order in which the page first shows it.
    names: list[str] = []
    for by_name in curves.values():
        names += [name for name in by_name if name not in names]
    size = with_legend((3.1, 3.0), panel_grid(len(curves)), ["random pick", *names])
    with panels(path, len(curves), size, ylabel="right picks, 95 % band") as axes:
        for ax, (title, by_name) in zip(axes, curves.items(), strict=True):
            numbered = {names.index(name): curve for name, curve in by_name.items()}
            _best_of_n_panel(ax, title, numbered)
        handles = [
            Line2D([], [], color="black", linestyle="--", label="oracle"),
            Line2D([], [], color=GRAY, linestyle=":", label="random pick"),
        ]
        handles += [Line2D([], [], label=name, **series_style(i)) for i, name in enumerate(names)]
        legend_below(axes[0], handles, [str(handle.get_label()) for handle in handles])


def _best_of_n_panel(ax: Axes, title: str, curves: Mapping[int, Mapping[str, Any]]) -> None:
    """curves: by the number of the scorer's color."""
    any_curve = next(iter(curves.values()))
    ticks = [k for k in (1, 2, 4, 8, 16, 32, 64, 128) if k <= max(any_curve["ks"])]
    ax.plot(any_curve["ks"], any_curve["oracle"], color="black", linestyle="--", linewidth=1.2)
    for number, curve in curves.items():
        ks, style = curve["ks"], series_style(number)
        # Marks at the ticks and at the end: one per K would cover the line.
        marked = [place for place, k in enumerate(ks) if k in ticks or k == ks[-1]]
        ax.plot(ks, curve["score"], markevery=marked, **style)
        ax.fill_between(
            ks, curve["low"], curve["high"], color=style["color"], alpha=0.15, linewidth=0
        )
    ax.plot(any_curve["ks"], any_curve["random"], color=GRAY, linestyle=":")
    log2_ticks(ax, ticks)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.set_title(f"{wrapped(title, 26)}\n{any_curve['prompts']:,} prompts", fontsize=9)
    ax.set_xlabel("responses to choose from")
