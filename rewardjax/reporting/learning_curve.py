"""The learning curve of a run: held-out figures from before the first step to the last.

A figure alone does not say whether it is good. Beside the curves stands what guessing scores and,
where somebody knows the right responses, what a model scores that always prefers them.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rewardjax.reporting.plots import COLORS, GRAY, MARKERS, figure, series


class Curve(NamedTuple):
    """A figure of a held-out set or benchmark over the steps of a run, and its two limits."""

    name: str  # in metrics.jsonl: SET/accuracy, SET/headline
    label: str
    # What guessing scores, and what a model scores that always prefers the right response. None
    # where nobody knows.
    chance: float | None
    ceiling: float | None = None


def measured(
    rows: Sequence[Mapping[str, Any]], curves: Mapping[str, Sequence[Curve]]
) -> dict[str, list[Curve]]:
    """The curves of each panel that have a point; panels without one are left out."""
    panels = {}
    for title, of_panel in curves.items():
        kept = [curve for curve in of_panel if len(series(rows, curve.name)[0])]
        if kept:
            panels[title] = kept
    return panels


def draw(
    rows: Sequence[Mapping[str, Any]],
    panels: Mapping[str, Sequence[Curve]],
    path: str | pathlib.Path,
) -> None:
    """Write the figure: a panel for each title, with its curves and their limits.

    rows: of `metrics.read_metrics`. An accuracy has its Wilson interval as a band, where
    `SET/wilson_low` and `SET/wilson_high` were logged.
    """
    with figure(path, len(panels), size=(7.2, 3.8)) as axes:
        for ax, (title, curves) in zip(axes[:, 0], panels.items(), strict=True):
            _draw_limits(ax, curves)
            for number, curve in enumerate(curves):
                _draw_curve(ax, rows, curve, number)
            ax.set_title(title)
            ax.set_xlabel("step")
            # From the model before training: a curve that starts later hides what was added.
            ax.set_xlim(left=0)
            ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
            # Below, since names with their sources are as wide as the panel.
            ax.legend(loc="upper left", bbox_to_anchor=(0.0, -0.16))


def _draw_curve(ax: Axes, rows: Sequence[Mapping[str, Any]], curve: Curve, number: int) -> None:
    steps, values = series(rows, curve.name)
    color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
    # Above the axis at step 0, which would cut the first marker in two.
    ax.plot(steps, values, color=color, marker=marker, label=curve.label, clip_on=False)
    if curve.name.endswith("/accuracy"):
        of_set = curve.name.removesuffix("accuracy")
        _, low = series(rows, f"{of_set}wilson_low")
        _, high = series(rows, f"{of_set}wilson_high")
        if len(low) == len(high) == len(steps):
            ax.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
    if curve.ceiling is not None:
        label = f"always the right response, {curve.ceiling:.1%}"
        ax.axhline(curve.ceiling, color=color, linestyle=":", linewidth=1.2, label=label)


def _draw_limits(ax: Axes, curves: Sequence[Curve]) -> None:
    """A line for each value that guessing scores, which most sets have in common."""
    by_chance: dict[float, list[str]] = {}
    for curve in curves:
        if curve.chance is not None:
            by_chance.setdefault(curve.chance, []).append(curve.label)
    for chance, labels in by_chance.items():
        label = f"chance, {100 * chance:.3g}%"
        if len(by_chance) > 1:
            label += f": {', '.join(labels)}"
        ax.axhline(chance, color=GRAY, linestyle="--", linewidth=1, label=label)
