"""Which checkpoints may be deleted."""

from collections.abc import Sequence
from typing import NamedTuple


class Saved(NamedTuple):
    """A step on disk."""

    step: int
    verified: bool  # read back since this process began, and equal to what was saved
    figure: float | None = None  # by which the best one is chosen, the higher the better


def superseded(saved: Sequence[Saved], keep: int) -> list[int]:
    """The steps that at least `keep` newer ones replace.

    Only verified steps replace others, so that the last one that can be used is never deleted for
    one that may be damaged; the step with the highest figure stays as well, the later one of two.
    """
    newest_first = sorted(saved, reverse=True)
    judged = [one for one in newest_first if one.figure is not None]
    best = max(judged, key=lambda one: (one.figure, one.step), default=None)
    replaced, verified = [], 0
    for one in newest_first:
        if verified >= keep and one != best:
            replaced.append(one.step)
        verified += one.verified
    return replaced
