"""SplitMix64: 64 random-looking bits from a counter, the same on every machine and for ever.

Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014. numpy promises no
stable stream of `Generator` across its releases, and the order of training pairs and the text of
the preference world must outlive upgrades.
"""

from typing import TypeVar

import numpy as np

Bits = TypeVar("Bits", int, np.ndarray)

MASK = 2**64 - 1
STEP = 0x9E3779B97F4A7C15  # of the counter: odd, close to 2^64 divided by the golden ratio


def splitmix64(counter: Bits) -> Bits:
    """The 64 bits that follow `counter`: an int below 2^64, or a uint64 array of any shape."""
    # The masks do nothing to uint64 arrays, which wrap by themselves; Python integers do not.
    z = (counter + STEP) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)
