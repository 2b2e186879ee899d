"""What the figures of an evaluation share: panels in a grid, arms of intervals, styles, files.

Color is for the evaluated models; what was published or is a reference is gray, so that nobody
takes it for a result of the evaluation.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from rewardjax.evaluators.benchmarks import Draw
from rewardjax.reporting.labels import Size
from rewardjax.reporting.plots import COLORS, MARKERS, figure

Path = str | pathlib.Path
# Published bars, and everything that is read rather than compared.
LIGHT = "#c4c8ce"
DARK = "#333333"
# Four panels of three inches are as wide as a page shows without shrinking their text.
COLUMNS = 4


def panel_grid(count: int) -> tuple[int, int]:
    """Rows and columns that `panels` lays `count` panels in."""
    columns = min(count, COLUMNS)
    return -(-count // columns), columns


@contextlib.contextmanager
def panels(path: Path, count: int, size: Size, ylabel: str) -> Iterator[list[Axes]]:
    """Axes of `count` panels, COLUMNS per row, as a flat list; `size` is that of one, in inches.

    Only the first panel of a row says what the vertical axis is.
    """
    with figure(path, *panel_grid(count), size=size) as grid:
        axes = list(grid.flat)
        # The last row of the grid need not be full.
        for ax in axes[count:]:
            ax.set_axis_off()
        for ax in axes[:count:COLUMNS]:
            ax.set_ylabel(ylabel)
        yield axes[:count]


def arms(value: float, low: float | None, high: float | None) -> np.ndarray | None:
    """Distances [2, 1] from `value` down to `low` and up to `high`; None without an interval.

    An interval by resampling can leave out its own estimate, and matplotlib refuses negative arms:
    such an arm has no length.
    """
    if low is None or high is None:
        return None
    return np.array([[max(value - low, 0)], [max(high - value, 0)]])


def series_style(number: int) -> dict[str, Any]:
    """Color and marker of series `number`: both differ, for readers who see no colors."""
    # Where the colors begin again, the markers are one further: no two series look alike.
    marker = number + number // len(COLORS)
    return {"color": COLORS[number % len(COLORS)], "marker": MARKERS[marker % len(MARKERS)]}


def label_rows(ax: Axes, count: int) -> None:
    """Leave room for `count` rows of text, the first on top, without lines through them."""
    ax.set_ylim(count - 0.5, -0.5)
    ax.grid(axis="y", visible=False)


def log2_ticks(ax: Axes, ticks: list[int]) -> None:
    """A logarithmic axis of numbers of responses, marked at `ticks` alone."""
    ax.set_xscale("log", base=2)
    ax.set_xticks(ticks, [str(k) for k in ticks])
    # A logarithmic axis brings minor ticks of its own, whose labels would lie on ours.
    ax.set_xticks([], minor=True)


def draw_into(folder: pathlib.Path) -> Draw:
    """A function that calls a drawing function with a PNG file of `folder` as its `path`.

    Sections name their figures; in which folder they lie is for the page to decide.
    """

    def draw(name: str, function: Callable[..., None], *args: Any, **kwargs: Any) -> pathlib.Path:
        path = folder / f"{name}.png"
        function(*args, path=path, **kwargs)
        return path

    return draw
