"""A random stream that is the same on every machine, and that can start anywhere at no cost.

The stream is SplitMix64's. Python promises no stable `random.choice` across its releases, nor numpy
stable `Generator` methods, and a world whose text moves with a release has no oracle.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from rewardjax import fingerprint
from rewardjax.data.splitmix import MASK, STEP, splitmix64

T = TypeVar("T")


class Draw:
    """A stream named by `parts`, which are compared by their text.

    Equal parts give equal draws, different parts unrelated ones. So each thing that is drawn has a
    stream of its own, and one more draw in one place moves nothing in another.
    """

    def __init__(self, *parts: Any):
        name = "/".join(map(str, parts)).encode()
        self._state = int.from_bytes(fingerprint.eight_bytes(name), "little")

    def copy(self) -> "Draw":
        """A stream that goes on as this one would."""
        other = Draw()
        other._state = self._state
        return other

    def bits(self) -> int:
        """The next 64 bits."""
        drawn = splitmix64(self._state)
        self._state = (self._state + STEP) & MASK
        return drawn

    def below(self, n: int) -> int:
        """An integer in 0 .. n - 1."""
        # The high bits of a product instead of a remainder: as even, and the best bits are used.
        return (self.bits() * n) >> 64

    def between(self, low: int, high: int) -> int:
        """An integer in low .. high, both included."""
        return low + self.below(high - low + 1)

    def unit(self) -> float:
        """A number in [0, 1)."""
        # As many bits as a float64 holds, so that none is rounded up to 1.
        return (self.bits() >> 11) / 2**53

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return self.unit() < p

    def pick(self, items: Sequence[T]) -> T:
        """One of `items`, all as likely."""
        return items[self.below(len(items))]

    def sample(self, items: Sequence[T], k: int) -> list[T]:
        """K different places of `items`, in random order (Fisher-Yates, stopped early)."""
        pool = list(items)
        for i in range(k):
            j = i + self.below(len(pool) - i)
            pool[i], pool[j] = pool[j], pool[i]
        return pool[:k]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """`items` in random order."""
        return self.sample(items, len(items))
