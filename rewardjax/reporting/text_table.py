"""Tables as plain text, for terminals."""

from collections.abc import Mapping, Sequence
from typing import Any

from rewardjax.command.terminal import on_one_line


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of flat values as aligned text; the columns are all keys, in order of appearance."""
    columns: list[str] = []
    for row in rows:
        columns += [name for name in row if name not in columns]
    lines = [columns]
    for row in rows:
        lines.append([_text(row.get(name, "")) for name in columns])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = []
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        # Without the blanks at the end, which would wrap lines of a narrow terminal.
        aligned.append("  ".join(cells).rstrip())
    return "\n".join(aligned)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    # Of a data set or a server: a cell shall neither steer the terminal nor begin a line.
    return on_one_line(str(value))
