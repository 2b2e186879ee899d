"""What one way of storing preferences is: how its records are recognized, and how one is read."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict

from rewardjax.data.groups import Message, Pair
from rewardjax.data.layouts.fields import Record


class Content(TypedDict, total=False):
    """The fields of a Group that a record describes; the last three where the layout has them."""

    prompt: list[Message]
    responses: list[list[Message]]
    pairs: list[Pair]
    correct: list[bool] | None
    ranks: list[float] | None
    tools: list[dict[str, Any]] | None


class Layout(NamedTuple):
    """One way of storing preferences.

    fits: whether a record has the columns; None counts as absent. read: what the record says, or
    BadRecord.
    """

    name: str
    fits: Callable[[Record], bool]
    read: Callable[[Record], Content]
