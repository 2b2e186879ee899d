"""Which tiles [block of queries, block of keys] of the attention matrix anything is in.

Every query of a packed row sees itself and its interval is contiguous, so the key blocks that a
block of queries sees are those between a first and a last one, none dead between them: two integers
stand for a row of the table, and no table has a width to get wrong. Intervals without their own
query are served too; then a tile between may be dead, which costs its time and changes nothing.
"""

import jax.numpy as jnp
import numpy as np


def key_blocks(see_from_T, see_to_T, block: int):
    """The first and the last key block that each of the Z = T / block query blocks sees.

    Leading axes stay; numpy in, numpy out.
    """
    per_block = lambda x: x.reshape(*x.shape[:-1], -1, block)
    return per_block(see_from_T).min(-1) // block, per_block(see_to_T).max(-1) // block


def fill_up(x, multiple: int, axis: int, mode: str = "constant"):
    """Pad an axis of x at the end to a multiple.

    With zeros, or with mode "edge" with the last entry again.
    """
    short = -x.shape[axis] % multiple
    if not short:
        return x
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, short)
    return jnp.pad(x, widths, mode=mode)


def live_to_causal(see_from_BT: np.ndarray, see_to_BT: np.ndarray, block: int) -> float:
    """Tiles that are computed, over the tiles on and below the diagonal.

    Those are what a causal mask alone would leave. T must be a multiple of `block`.
    """
    first_BZ, last_BZ = key_blocks(np.asarray(see_from_BT), np.asarray(see_to_BT), block)
    rows, size = first_BZ.shape
    return float(np.sum(last_BZ - first_BZ + 1) / (rows * size * (size + 1) / 2))
