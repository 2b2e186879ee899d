"""What a task is: its question, what is right, and how an answer goes wrong.

A task is five small functions over a `state`, a JSON-able dict that holds the whole problem:

    make(draw) -> state                 a problem
    ask(state, draw) -> str             the user's words, in one of several templates
    right(state, draw) -> str           a right answer; several items are joined by ", "
    wrong(state, draw, near) -> str     a wrong one of the same kind: near is a slip (a digit, a
                                        swap), far is anything plausible
    check(state, answer) -> bool        the oracle

`right` and `wrong` draw from the same surface: as many numbers too high as too low, words of the
same lists, lists of the same lengths, so that nothing but the problem tells them apart. `steps`,
where a task has it, is the worked solution that only the pretraining corpus shows.

The order of draws in these functions is the world's text: moving one changes every later word.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from rewardjax.data.world.draw import Draw

State = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Task:
    """A task, and the attributes that a curator would give its pairs in the paper's terms."""

    name: str
    category: str
    make: Callable[[Draw], State]
    ask: Callable[[State, Draw], str]
    right: Callable[[State, Draw], str]
    wrong: Callable[[State, Draw, bool], str]
    check: Callable[[State, str], bool]
    steps: Callable[[State], str] | None = None
    objectivity: str = "Objective"
    controversiality: str = "Low"


def equals(solve: Callable[[State], str]) -> dict[str, Any]:
    """Right and check of a task with exactly one right answer."""
    return {
        "right": lambda state, draw: solve(state),
        "check": lambda state, answer: answer == solve(state),
    }


def wrong_number(true: int, draw: Draw, near: bool, slips: tuple[int, ...] = (1, 1, 2, 10)) -> str:
    """A number that is not `true`: by one slip, or by any amount up to 30.

    Too high as often as too low where it can be.
    """
    if near:
        gap = draw.pick(slips)
    else:
        gap = draw.between(3, 30)
    # The world has no negative numbers, so a minus sign would give a wrong answer away.
    if true < gap or draw.chance(0.5):
        return str(true + gap)
    return str(true - gap)


def swapped(items: list[str], draw: Draw, near: bool) -> list[str]:
    """Another order of `items` (which must not be all alike): two neighbors exchanged, or any."""
    while True:
        if near:
            i, other = draw.below(len(items) - 1), list(items)
            other[i], other[i + 1] = other[i + 1], other[i]
        else:
            other = draw.shuffled(items)
        # A swap of equal items, and a shuffle now and then, changes nothing.
        if other != items:
            return other
