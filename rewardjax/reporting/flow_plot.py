"""A Sankey plot: how many items go from which name of one column to which of the next."""

import pathlib
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from rewardjax.reporting.plots import COLORS, GRAY, figure

Bands = Sequence[Mapping[tuple[str, str], int]]

# Of the width of a column's step: the box of a name, and the blank between boxes as a share of all.
BOX, GAP = 0.08, 0.04


def sankey(
    bands: Bands, path: str | pathlib.Path, title: str, headings: Sequence[str] = ()
) -> None:
    """Draw columns of names with bands between them, as wide as their items are many.

    Args:
        bands: between each two neighboring columns, (from, to) -> items. A name may occur in two
            columns: these are two boxes.
        path: of the PNG file.
        title: of the figure.
        headings: of the columns.
    """
    columns = _columns(bands)
    total = max((sum(column.values()) for column in columns), default=0) or 1
    bottoms = [_bottoms(column, total) for column in columns]
    with figure(path, size=(8.4, 4.6)) as axes:
        ax = axes[0, 0]
        for place, of_gap in enumerate(bands):
            _draw_bands(ax, place, of_gap, columns, bottoms, total)
        for place, column in enumerate(columns):
            for number, (name, items) in enumerate(column.items()):
                low, height = bottoms[place][name], items / total
                color = COLORS[number % len(COLORS)]
                ax.add_patch(Rectangle((place, low), BOX, height, color=color, linewidth=0))
                text = f"{name}  {items:,}"
                ax.text(place + BOX + 0.02, low + height / 2, text, va="center", fontsize=8)
            if place < len(headings):
                ax.text(place, 1.12, headings[place], fontsize=8, color=GRAY)
        lowest = min((low for column in bottoms for low in column.values()), default=0.0)
        # Room for the text beside the last column.
        ax.set(title=title, xlim=(-0.05, len(columns) - 0.35), ylim=(lowest - 0.05, 1.2))
        ax.set_axis_off()


def _columns(bands: Bands) -> list[dict[str, int]]:
    """Name -> items of each column: what comes in, or in the first one what goes out."""
    columns: list[dict[str, int]] = [{} for _ in range(len(bands) + 1)]
    for place, of_gap in enumerate(bands):
        for (name, following), items in of_gap.items():
            if place == 0:
                columns[0][name] = columns[0].get(name, 0) + items
            into = columns[place + 1]
            into[following] = into.get(following, 0) + items
    return columns


def _bottoms(column: Mapping[str, int], total: int) -> dict[str, float]:
    """Where the box of each name begins, the first on top."""
    bottoms, top = {}, 1.05
    for name, items in column.items():
        bottoms[name] = top - items / total
        top = bottoms[name] - GAP
    return bottoms


def _draw_bands(
    ax: Axes,
    place: int,
    bands: Mapping[tuple[str, str], int],
    columns: Sequence[Mapping[str, int]],
    bottoms: Sequence[Mapping[str, float]],
    total: int,
) -> None:
    """The bands between column `place` and the next, each from top to top of what is free."""
    # Bands leave and enter a box from its top down.
    leaves, enters = {}, {}
    for name, items in columns[place].items():
        leaves[name] = bottoms[place][name] + items / total
    for name, items in columns[place + 1].items():
        enters[name] = bottoms[place + 1][name] + items / total
    names = list(columns[place])
    for (name, following), items in bands.items():
        height = items / total
        start, end = leaves[name], enters[following]
        leaves[name] -= height
        enters[following] -= height
        color = COLORS[names.index(name) % len(COLORS)]
        left, right = place + BOX, place + 1.0
        middle = (left + right) / 2
        outline = [
            (left, start),
            (middle, start),
            (middle, end),
            (right, end),
            (right, end - height),
            (middle, end - height),
            (middle, start - height),
            (left, start - height),
            (left, start),
        ]
        curve = [Path.MOVETO] + 3 * [Path.CURVE4] + [Path.LINETO] + 3 * [Path.CURVE4]
        band = Path(outline, [*curve, Path.CLOSEPOLY])
        ax.add_patch(PathPatch(band, facecolor=color, alpha=0.3, linewidth=0))
