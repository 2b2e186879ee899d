"""Which pairs make up optimizer step k: arithmetic on (number of pairs, batch, seed, step), nothing else.

Every epoch is a permutation of the pairs, the epochs follow one another endlessly, and step k owns positions k * batch up to
(k + 1) * batch of that sequence. The permutation is a keyed cipher on indices, not a stored shuffle: any step is computed on its own in
O(batch), and the order depends on no library's random generator, so it outlives upgrades.
"""

import math

import numpy as np

from rewardjax.data.splitmix import splitmix64

ROUNDS = 8


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
    key = splitmix64(splitmix64(np.full(batch, seed, np.uint64)) ^ epoch.astype(np.uint64))
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
            round_key = splitmix64(key[outside] + np.uint64(r))
            left, right = right, left ^ (splitmix64(right ^ round_key) & low)
        x[outside] = left << half | right
        outside = x >= n
    return x
