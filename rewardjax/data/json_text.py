"""JSON as people and models write it: inside cells of tables, as Python, with names given twice."""

import ast
import json
from collections.abc import Sequence
from typing import Any


def literal(text: str, otherwise: Any = None) -> Any:
    """The value that a text is as JSON or as a Python literal; `otherwise` where it is neither."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return otherwise


def name_with_two_values(members: Sequence[tuple[str, Any]]) -> str | None:
    """The name that an object gives twice, with different values; None where it gives none so.

    JSON itself would take the last value. For `object_pairs_hook`.
    """
    values = dict(members)
    for name, value in members:
        # NaN is unequal to itself, and no contradiction.
        if values[name] != value and values[name] == values[name]:
            return name
    return None
