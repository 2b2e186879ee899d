"""What the storms of judge servers and of answer files count alike."""

from collections.abc import Mapping, Sequence
from typing import Any


def counts(outcomes: Sequence[Mapping[str, Any]], tried: str) -> dict[str, Any]:
    """What must be 0, or empty, over all outcomes; `tried` is the field that names one."""
    return {
        "crashes": sum(one["crashed"] is not None for one in outcomes),
        "votes_wrong": sum(one.get("votes_wrong", 0) for one in outcomes),
        "lost_uncounted": sum(one.get("lost_uncounted", 0) for one in outcomes),
        "unexpected": [one[tried] for one in outcomes if not one.get("as_expected")],
    }
