"""Labels of any length that stay inside the picture: lines, widths, and legends below the panels.

The layout of matplotlib gives up where labels take all of a figure's width, and then names and
numbers run out of it. So names are broken into lines, and figures grow with what is left.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Size = tuple[float, float]
# Width of an average letter of the figures' font, in units of its size.
LETTER = 0.6
LEGEND_POINTS = 8
LEGEND_LINE = 1.4 * LEGEND_POINTS / 72
LEGEND_LETTERS = 50
# Names of models and paths of categories have few spaces.
BREAKS = re.compile(r"[^-_/ ]*[-_/ ]|[^-_/ ]+")


def wrapped(name: str, width: int) -> str:
    """A name on lines of at most `width` letters, broken after one of "-_/ " where it has one."""
    lines = [""]
    for piece in BREAKS.findall(" ".join(name.split())):
        if len(lines[-1]) + len(piece.rstrip()) > width and lines[-1]:
            lines.append("")
        lines[-1] += piece
        # A piece without a break may be longer than a line.
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return "\n".join(line.rstrip() for line in lines)


def lines_of(labels: Iterable[str]) -> int:
    """Lines of the label that has the most, at least one."""
    return max((label.count("\n") + 1 for label in labels), default=1)


def inches(labels: Iterable[str], points: float) -> float:
    """How wide the longest line of some labels is, in letters of `points` points."""
    longest = 0
    for label in labels:
        longest = max(longest, *map(len, label.split("\n")))
    return longest * LETTER * points / 72


def legend_below(ax: Axes, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend below all panels of the figure of `ax`, in as many columns as fit side by side."""
    sheet = ax.figure
    assert isinstance(sheet, Figure), "figures of a report have no figures inside"
    labels = [wrapped(label, LEGEND_LETTERS) for label in labels]
    columns = _legend_columns(labels, sheet.get_figwidth())
    sheet.legend(handles, labels, loc="outside lower center", ncols=columns)


def with_legend(size: Size, grid: tuple[int, int], labels: Sequence[str]) -> Size:
    """A panel's size in inches, grown so that `legend_below` takes nothing from the panels.

    grid: rows and columns of panels.
    """
    rows, columns = grid
    labels = [wrapped(label, LEGEND_LETTERS) for label in labels]
    width = max(size[0], _legend_column(labels) / columns)
    lines = -(-len(labels) // _legend_columns(labels, width * columns)) * lines_of(labels)
    return width, size[1] + lines * LEGEND_LINE / rows


def _legend_column(labels: Sequence[str]) -> float:
    # A handle and the space around it are as wide as eight letters.
    return inches(labels, LEGEND_POINTS) + 8 * LETTER * LEGEND_POINTS / 72


def _legend_columns(labels: Sequence[str], width: float) -> int:
    return max(1, min(6, len(labels), int(width / _legend_column(labels))))
