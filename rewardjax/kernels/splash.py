"""Attention on TPU: JAX's own splash attention kernel, told at run time which tiles are live.

The kernel knows masks only as functions of one integer per query and the key's index, so both ends
of an interval go into that integer. Its tables list, for every tile, the next live one to fetch; a
dead tile costs a step of the grid but neither memory traffic nor arithmetic. They span all
[T / block, T / block] tiles: whatever a row holds fits, so no bound has to be checked.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask_info as mask_info

from rewardjax.kernels import merge, tiles

BLOCKS = (512, 256, 128)  # tokens; the largest that divides the row is used
BITS = 15  # an interval's ends must fit one int32 together
LONGEST_ROW = 1 << BITS


def splash(
    q_BTNH,
    k_BTKH,
    v_BTKH,
    see_from_BT,
    see_to_BT,
    also=None,
    block: int | None = None,
    interpret: bool = False,
):
    """`attention.dense` by splash attention; saves its output and log-sum-exp as "attn_out".

    Every query must see itself or a tile between its first and last (tiles.py). `interpret` runs it
    on any platform, slowly. Raises ValueError for a row longer than 32768 tokens, and with `also`
    NotImplementedError where gradients are asked for.
    """
    T = q_BTNH.shape[1]
    if T > LONGEST_ROW:
        raise ValueError(
            f"splash attention takes rows of at most {LONGEST_ROW} tokens, got {T}; lower "
            "batch.row_length or use 'blocks'"
        )
    call = functools.partial(_one_interval, block=block, interpret=interpret)
    if also is None:
        return call(q_BTNH, k_BTKH, v_BTKH, see_from_BT, see_to_BT)

    with_lse = functools.partial(call, save_residuals=True)
    qkv, own = (q_BTNH, k_BTKH, v_BTKH), (see_from_BT, see_to_BT)
    return merge.two_calls("splash", with_lse, qkv, own, also)


def _one_interval(
    q_BTNH, k_BTKH, v_BTKH, see_from_BT, see_to_BT, *, block, interpret, save_residuals=False
):
    """o_BTNH, and with `save_residuals` lse_BTN to base e beside it, which has no gradient."""
    T, H = q_BTNH.shape[1], q_BTNH.shape[3]
    multiple = block or BLOCKS[-1]
    see_from_BT, see_to_BT = (
        tiles.fill_up(x, multiple, axis=1, mode="edge") for x in (see_from_BT, see_to_BT)
    )
    block = block or next(size for size in BLOCKS if see_from_BT.shape[1] % size == 0)
    # The kernel does not scale scores itself. In float32, or the factor would be rounded with q.
    scaled_BTNH = (q_BTNH.astype(jnp.float32) * H**-0.5).astype(q_BTNH.dtype)

    def row(q_TNH, k_TKH, v_TKH, see_from_T, see_to_T):
        by_head = (tiles.fill_up(x, multiple, axis=0).swapaxes(0, 1) for x in (q_TNH, k_TKH, v_TKH))
        attention = kernel.SplashAttentionKernel(
            *_tables(see_from_T, see_to_T, block),
            block_sizes=_block_sizes(block),
            is_mqa=False,
            save_residuals=save_residuals,
            mask_value=kernel.DEFAULT_MASK_VALUE,
            attn_logits_soft_cap=None,
            residual_checkpoint_name="attn_out",
            mask_function=sees,
            interpret=interpret,
        )
        if save_residuals:
            o_NTH, (lse_NT,) = attention(*by_head)
            return jnp.swapaxes(o_NTH, 0, 1)[:T], jnp.swapaxes(lse_NT, 0, 1)[:T]
        o_NTH = attention(*by_head)
        return jnp.swapaxes(o_NTH, 0, 1)[:T]  # pyright: ignore[reportArgumentType]

    return jax.vmap(row)(scaled_BTNH, k_BTKH, v_BTKH, see_from_BT, see_to_BT)


def _block_sizes(block: int) -> kernel.BlockSizes:
    return kernel.BlockSizes(
        block_q=block,
        block_kv=block,
        block_q_dkv=block,
        block_kv_dkv=block,
        block_q_dq=block,
        block_kv_dq=block,
    )


def sees(interval, key):
    """Whether a key lies in the interval.

    A function of the module, not a lambda per call: the kernel is compiled once for each function
    that it is given.
    """
    return (interval >> BITS <= key) & (key <= interval & (LONGEST_ROW - 1))


def _tables(see_from_T, see_to_T, block: int) -> list[mask_info.MaskInfo]:
    """What the forward, dq and dk/dv kernels visit.

    Live tiles, and from each tile on the next live one in the order of the visit.
    """
    first_Z, last_Z = tiles.key_blocks(see_from_T, see_to_T, block)
    y = jnp.arange(len(first_Z))[None, :]
    live_ZY = (first_Z[:, None] <= y) & (y <= last_Z[:, None])
    # Shared by all tiles of a query, where a dense mask would need a table of its own per tile.
    interval_T = see_from_T << BITS | see_to_T
    # The kernel of dk and dv walks down the columns: a block of keys over the queries that see it.
    by_query, by_key = _next_live(live_ZY), _next_live(live_ZY.T).T
    table = lambda following: mask_info.MaskInfo(
        following[None], None, live_ZY[None].astype(jnp.int32), None, interval_T
    )
    return [table(by_query), table(by_query), table(by_key)]


def _next_live(live_AB):
    """The column of the next live tile for every tile, visited row by row, itself included.

    After the last live one: any column.
    """
    # A running minimum from the end: the nearest live index at or after each tile.
    tiles_n = jnp.arange(live_AB.size)
    following_n = jax.lax.cummin(jnp.where(live_AB.ravel(), tiles_n, live_AB.size), reverse=True)
    return (following_n % live_AB.shape[1]).reshape(live_AB.shape).astype(jnp.int32)
