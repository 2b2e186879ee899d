"""A random stream that is the same on every machine, Python and numpy, and that can start anywhere at no cost.

SplitMix64 (Steele, Lea and Flood, 2014): a counter stepped by an odd constant, each value scrambled. numpy promises no stable
`Generator` methods across its releases and Python none for `random.choice`, and a world whose text moves with a release has no oracle.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")
_MASK, _STEP = 2**64 - 1, 0x9E3779B97F4A7C15


class Draw:
    """A stream named by `parts`: equal parts (compared by their text) give equal draws, different parts unrelated ones."""

    def __init__(self, *parts: Any):
        self._state = int.from_bytes(
            hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest(), "little"
        )

    def copy(self) -> "Draw":
        """A stream that goes on as this one would."""
        other = Draw()
        other._state = self._state
        return other

    def bits(self) -> int:
        """The next 64 bits."""
        self._state = (self._state + _STEP) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, n: int) -> int:
        """An integer in 0 .. n - 1."""
        return (self.bits() * n) >> 64

    def between(self, low: int, high: int) -> int:
        """An integer in low .. high, both included."""
        return low + self.below(high - low + 1)

    def unit(self) -> float:
        """A number in [0, 1)."""
        return (self.bits() >> 11) / 2**53

    def chance(self, p: float) -> bool:
        return self.unit() < p

    def pick(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def sample(self, items: Sequence[T], k: int) -> list[T]:
        """k different places of `items`, in random order (Fisher-Yates, stopped early)."""
        pool = list(items)
        for i in range(k):
            j = i + self.below(len(pool) - i)
            pool[i], pool[j] = pool[j], pool[i]
        return pool[:k]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        return self.sample(items, len(items))
