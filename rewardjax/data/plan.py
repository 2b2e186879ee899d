"""Which pairs make up optimizer step k: arithmetic on (pairs, batch, seed, step), nothing else.

Every epoch is a permutation of the pairs, the epochs follow one another endlessly, and step k owns
positions k * batch up to (k + 1) * batch of that sequence. The permutation is a keyed cipher on
indices, not a stored shuffle: any step is computed on its own in O(batch). What is said of pairs
holds for ranked groups.
"""

import math

import numpy as np

from rewardjax.data.splitmix import splitmix64

# Grain's `MapDataset.shuffle` is stateless too, and would serve, but promises no order across its
# releases: a run that is resumed after an upgrade must go on with the pairs that it has not seen,
# and a published result must be repeatable. So the permutation is written out here, and tests pin
# its numbers.
ROUNDS = (
    8  # four make a Feistel network pseudorandom (Luby and Rackoff 1988); more cost next to nothing
)


def step_pairs(n: int, batch: int, seed: int, step: int) -> np.ndarray:
    """The pairs of one optimizer step, int64[batch] in [0, n).

    A step that straddles two epochs takes the last pairs of one and the first of the next, and may
    hold a pair twice. Raises ValueError where n or batch is not positive, or seed or step is
    negative.
    """
    if n < 1 or batch < 1:
        raise ValueError(f"n = {n} pairs, batch = {batch}: both must be at least 1")
    if seed < 0 or step < 0:
        raise ValueError(f"seed = {seed}, step = {step}: neither may be negative")
    epoch, place = np.divmod(np.arange(step * batch, (step + 1) * batch, dtype=np.int64), n)
    key = splitmix64(splitmix64(np.full(batch, seed, np.uint64)) ^ epoch.astype(np.uint64))
    return _permute(place.astype(np.uint64), n, key).astype(np.int64)


def steps_for(n: int, batch: int, epochs: float) -> int:
    """Steps after which every one of n pairs was seen `epochs` times.

    The last step may reach into the next epoch.
    """
    return math.ceil(n * epochs / batch)


def _permute(x: np.ndarray, n: int, key: np.ndarray) -> np.ndarray:
    """Where each x in [0, n) goes under the permutation of its key: uint64, as x and key are.

    A Feistel network permutes the numbers below a power of four; what lands outside [0, n) is sent
    through again (cycle walking, Black and Rogaway 2002), fewer than four times on average.
    """
    # At least 3 bits per half: only four functions lead from one bit to one bit, too few to
    # shuffle by.
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
