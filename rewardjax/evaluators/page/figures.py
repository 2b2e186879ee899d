"""Figures of benchmark results: headlines, categories, differences, best of N.

The evaluated models are in color, published ones in gray, and every interval is shown.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from rewardjax.evaluators.page.drawing import (
    DARK,
    LIGHT,
    Path,
    arms,
    log2_ticks,
    panels,
    series_style,
)
from rewardjax.reporting.plots import BLUE, COLORS, GRAY, VERMILION, figure

# Everything drawn to the right of an axis: x in fractions of its width, y in data.
BESIDE = 1.02


def headlines(
    models: Mapping[str, Sequence[Mapping[str, Any] | None]],
    published: Mapping[str, Sequence[float]],
    chance: Sequence[float],
    titles: Sequence[str],
    path: Path,
) -> None:
    """One panel per benchmark, one bar per model: the evaluated ones first, then published ones.

    models: by name, one {"headline", "low", "high", "partial"} per benchmark, in [0, 1], or None.
    published, chance: one number per benchmark, in percent. A star marks a partial number, the
    dotted line is chance.
    """
    names = [*models, *published]
    with figure(path, 1, len(titles), size=(2.0, 0.9 + 0.27 * len(names))) as axes:
        for column, (ax, title) in enumerate(zip(axes[0], titles, strict=True)):
            for row, headline_of in enumerate(models.values()):
                _headline(ax, row, headline_of[column])
            for row, scores in enumerate(published.values(), len(models)):
                ax.barh(row, max(scores[column], 0), color=LIGHT, height=0.7)
                _number_beside(ax, row, f"{scores[column]:.1f}", "normal")
            # A line in each panel, since chance differs: four responses to choose from, or two.
            ax.axvline(chance[column], color=DARK, linestyle=":", linewidth=1)
            ax.set(xlim=(0, 100), ylim=(len(names) - 0.4, -0.6))
            ax.set_title(title, fontsize=9)
            ax.set_yticks(range(len(names)), [""] * len(names))
            ax.tick_params(axis="y", length=0)
            ax.set_xticks([0, 50, 100])
            ax.grid(axis="y", visible=False)
            if published:
                ax.axhline(len(models) - 0.5, color="#888888", linewidth=0.8)
        # The panels share their rows, so one set of names serves all of them.
        axes[0, 0].set_yticks(range(len(names)), names)
        axes[0, len(titles) // 2].set_xlabel(
            "score, % (dotted: chance; * over part of the benchmark; 95 % intervals)"
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

    All but n in [0, 1]. low and high may be None: then the bar has no interval, and chance: then
    it has no dotted line. A part without a value has no bar.
    """
    # Matplotlib counts rows from below, so that the ascending order puts the best on top.
    scored = [name for name in parts if parts[name]["value"] is not None]
    names = sorted(scored, key=lambda name: parts[name]["value"])
    xlabel = "score with 95 % interval"
    with figure(path, size=(6.4, 0.95 + 0.24 * len(names))) as axes:
        ax = axes[0, 0]
        for row, name in enumerate(names):
            part = parts[name]
            value = part["value"]
            ax.barh(row, max(value, 0), color=BLUE, alpha=0.75, height=0.68)
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
        ax.set_yticks(range(len(names)), names)
        ax.set(title=title, xlim=(0, 1), ylim=(-0.6, len(names) - 0.4), xlabel=xlabel)
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.grid(axis="y", visible=False)


def _text_beside(ax: Axes, row: int, label: str) -> None:
    ax.text(BESIDE, row, label, va="center", fontsize=8, transform=ax.get_yaxis_transform())


def differences(rows: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Forest plot of rows {"label", "difference", "low", "high"}, in [-1, 1].

    The question is which intervals leave out zero: only those are in color.
    """
    with figure(path, size=(6.4, 0.95 + 0.28 * len(rows))) as axes:
        ax = axes[0, 0]
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
        ax.set_yticks(range(len(rows)), [row["label"] for row in rows])
        ax.set(
            title=title,
            xlabel="percentage points, 95 % interval (gray: may be zero)",
            ylim=(len(rows) - 0.5, -0.6),
        )
        ax.grid(axis="y", visible=False)


# ------------------------------------------------------------------ best of N


def best_of_n(curves: Mapping[str, Mapping[str, Mapping[str, Any]]], path: Path) -> None:
    """One panel per set of prompts: curves of `best_of_n.curve` by the name of the scorer.

    The oracle and the random pick are drawn in every panel: a curve means something between them.
    """
    # A scorer keeps its color over all panels, in the order in which the page first shows it.
    names: list[str] = []
    for by_name in curves.values():
        names += [name for name in by_name if name not in names]
    size = (3.1, 3.0)
    with panels(path, len(curves), size, ylabel="right picks, 95 % band") as axes:
        for ax, (title, by_name) in zip(axes, curves.items(), strict=True):
            numbered = {names.index(name): curve for name, curve in by_name.items()}
            _best_of_n_panel(ax, title, numbered)
        lines = [
            Line2D([], [], color="black", linestyle="--", label="oracle"),
            Line2D([], [], color=GRAY, linestyle=":", label="random pick"),
        ]
        lines += [Line2D([], [], label=name, **series_style(i)) for i, name in enumerate(names)]
        columns = min(6, 2 * len(axes))
        axes[0].figure.legend(handles=lines, loc="outside lower center", ncols=columns)


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
    ax.set_title(f"{textwrap.fill(title, 32)}\n{any_curve['prompts']:,} prompts", fontsize=9)
    ax.set_xlabel("responses to choose from")
