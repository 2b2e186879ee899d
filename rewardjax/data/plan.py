"""Which pairs make up optimizer step k: arithmetic on (number of pairs, batch, seed, step), nothing else.

Every epoch is a permutation of the pairs, the epochs follow one another endlessly, and step k owns positions k * batch up to
(k + 1) * batch of that sequence. The permutation is a keyed cipher on indices, not a stored shuffle: any step is computed on its own in
O(batch), and the order depends on no library's random generator, so it outlives upgrades.
"""

import math

import numpy as np

ROUNDS = 8
# splitmix64 (Steele, Lea, Flood 2014): increment, and the two multipliers of its finaliser.
GOLDEN, MIX_A, MIX_B = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)


def step_pairs(n: int, batch: int, seed: int, step: int) -> np.ndarray:
    """The pairs of one optimizer step, int64[batch] in [0, n).

    A step that straddles two epochs takes the last pairs of one and the first of the next, and may hold a pair twice.
    Raises ValueError where n or batch is not positive, or seed or step is negative.
    """
    if n < 1 or batch < 1:
        raise ValueError(f"n = {n} pairs, batch = {batch}: both must be at least 1")
    if seed < 0 or step < 0:
        raise ValueError(f"seed = {seed}, step = {step}: neither may be negative")
    epoch, place = np.divmod(np.arange(step * batch, (step + 1) * batch, dtype=np.int64), n)
    key = _mix(_mix(np.full(batch, seed, np.uint64)) ^ epoch.astype(np.uint64))
    return _permute(place.astype(np.uint64), n, key).astype(np.int64)


def steps_for(n: int, batch: int, epochs: float) -> int:
    """Steps after which every one of n pairs was seen `epochs` times: the last step may reach into the next epoch."""
    return math.ceil(n * epochs / batch)


def _permute(x: np.ndarray, n: int, key: np.ndarray) -> np.ndarray:
    """Sends each x in [0, n) to its place under the permutation of its key: a Feistel network on the next power of four,
    applied again to whatever lands outside [0, n) (cycle walking, Black and Rogaway 2002)."""
    half = np.uint64(max(3, ((n - 1).bit_length() + 1) // 2))
    low = (np.uint64(1) << half) - np.uint64(1)
    x, outside = x.copy(), np.ones(len(x), bool)
    while outside.any():
        left, right = x[outside] >> half, x[outside] & low
        for r in range(ROUNDS):
            left, right = right, left ^ (_mix(right ^ _mix(key[outside] + np.uint64(r))) & low)
        x[outside] = left << half | right
        outside = x >= n
    return x


def _mix(x: np.ndarray) -> np.ndarray:
    """splitmix64: 64 bits in, 64 well-mixed bits out; array arithmetic wraps, as it should."""
    x = x + GOLDEN
    x = (x ^ x >> np.uint64(30)) * MIX_A
    x = (x ^ x >> np.uint64(27)) * MIX_B
    return x ^ x >> np.uint64(31)
