import numpy as np
import pytest
from packings import intervals

from rewardjax.kernels import tiles


@pytest.mark.parametrize("block", [8, 32])
def test_live_tiles_are_those_with_something_in_them(block):
    """In a packed row no tile between the first and the last is dead, and none outside of them
    is live.
    """
    for seed in range(5):
        see_from, see_to = intervals(seed, rows=4, length=128)
        keys = np.arange(128)
        seen = (see_from[..., None] <= keys) & (keys <= see_to[..., None])
        live = seen.reshape(4, 128 // block, block, 128 // block, block).any(axis=(2, 4))
        first, last = tiles.key_blocks(see_from, see_to, block)
        key_block = np.arange(128 // block)
        np.testing.assert_array_equal(
            (first[..., None] <= key_block) & (key_block <= last[..., None]), live
        )
        causal = 4 * np.tril(np.ones((128 // block, 128 // block))).sum()
        assert tiles.live_to_causal(see_from, see_to, block) == pytest.approx(live.sum() / causal)


def test_a_causal_row_has_all_causal_tiles():
    own = np.arange(64)[None]
    assert tiles.live_to_causal(own * 0, own, 16) == 1
