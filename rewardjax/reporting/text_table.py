"""Tables as plain text, for terminals."""

from collections.abc import Sequence
from typing import Any


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of flat values as aligned text; the columns are all keys, in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = lambda value: f"{value:.6g}" if isinstance(value, float) else str(value)
    cells = [columns, *([text(row[key]) if key in row else "" for key in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )
