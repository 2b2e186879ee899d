"""Which tiles [block of queries, block of keys] of the attention matrix anything is in.

Every query of a packed row sees itself and its interval is contiguous, so the key blocks that a block of queries sees are those between
a first and a last one, none dead between them: two integers stand for a row of the table, and no table has a width to get wrong.
Intervals without their own query are served too; then a tile between may be dead, which costs its time and changes nothing.
"""

import jax.numpy as jnp
import numpy as np


def key_blocks(see_from_T, see_to_T, block: int):
    """(first_Z, last_Z): the key blocks that each of the Z = T / block query blocks sees; leading axes stay. numpy in, numpy out."""
    per_block = lambda x: x.reshape(*x.shape[:-1], -1, block)
    return per_block(see_from_T).min(-1) // block, per_block(see_to_T).max(-1) // block


def fill_up(x, multiple: int, axis: int, mode: str = "constant"):
    """x with its axis padded at the end to a multiple: zeros, or with mode "edge" its last entry again."""
    short = -x.shape[axis] % multiple
    return (
        jnp.pad(x, [(0, short if i == axis else 0) for i in range(x.ndim)], mode=mode)
        if short
        else x
    )


def live_to_causal(see_from_BT: np.ndarray, see_to_BT: np.ndarray, block: int) -> float:
    """Tiles that are computed, over the tiles on and below the diagonal, which a causal mask alone would leave; T a multiple of block."""
    first_BZ, last_BZ = key_blocks(np.asarray(see_from_BT), np.asarray(see_to_BT), block)
    rows, size = first_BZ.shape
    return float(np.sum(last_BZ - first_BZ + 1) / (rows * size * (size + 1) / 2))
