"""Attention on GPU: three Pallas (Triton) kernels that load live tiles only, in both passes.

As in blocks.py, a block of queries runs over the key blocks between the first and the last it sees,
and the argument why skipping the others is safe is the same. A block of keys may be seen by query
blocks with others between, so the kernel of dk and dv reads a list of them: as long as there are
blocks, so that any list fits.

Beside tokamax, whose attention takes the same two integers per query: its backward pass visits
every tile, and in packed rows most tiles are dead.

Letters: as in blocks.py; here Z blocks of queries and Y of keys are those of one row.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl

# Deprecated by JAX 0.11 and still there in 0.12, below whose end setup.py pins it. The kernels move
# to Mosaic GPU, or to jax_triton, before that pin does.
from jax.experimental.pallas import triton

from rewardjax.kernels import merge, tiles

NEVER = -1e30  # the score of a key that is not seen; finite, as a query may see no key of a tile
# Scores and log-sum-exp are to base 2, which is what the hardware exponentiates.
LOG2_E = math.log2(math.e)


def pallas_gpu(
    q_BTNH,
    k_BTKH,
    v_BTKH,
    see_from_BT,
    see_to_BT,
    also=None,
    block: int | None = None,
    interpret: bool = False,
):
    """`attention.dense` on GPU; saves its output and log-sum-exp as "attn_out".

    `block`: tokens of a tile. `interpret` runs it on any platform, slowly. Raises
    NotImplementedError with `also` where gradients are asked for.
    """
    # Tiles of 64 tokens in bfloat16 and of 32 in float32 fit the memory of a core. Larger and
    # smaller ones, square or not, and other numbers of warps and stages than those below were all
    # slower in bfloat16 on an H200 (docs/log.md).
    block = block or 128 // q_BTNH.dtype.itemsize
    T, H = q_BTNH.shape[1], q_BTNH.shape[3]
    width = pl.next_power_of_2(max(H, 16))  # what a tensor core takes
    wide = [
        tiles.fill_up(tiles.fill_up(x, block, axis=1), width, axis=3)
        for x in (q_BTNH, k_BTKH, v_BTKH)
    ]
    # Queries that fill up the last block see what the last real one sees, so they make no tile
    # live.
    filled = lambda intervals: [tiles.fill_up(x, block, axis=1, mode="edge") for x in intervals]
    see, scale = filled((see_from_BT, see_to_BT)), H**-0.5
    if also is None:
        o = _attention(*wide, *see, scale, block, interpret)
        return o[:, :T, :, :H]  # pyright: ignore[reportIndexIssue]

    def call(q, k, v, see_from, see_to):
        o, (*_, lse_BNT) = _forward(q, k, v, see_from, see_to, scale, block, interpret)
        return o, lse_BNT.swapaxes(1, 2) / LOG2_E

    o = merge.two_calls("pallas", call, wide, see, filled(also))
    return o[:, :T, :, :H]  # pyright: ignore[reportIndexIssue]


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6, 7))
def _attention(q, k, v, see_from, see_to, scale, block, interpret):
    return _forward(q, k, v, see_from, see_to, scale, block, interpret)[0]


def _forward(q, k, v, see_from, see_to, scale, block, interpret):
    (B, T, N, H), K = q.shape, k.shape[2]
    own_block, row, see, of_head = _specs(block, T, H, N // K)
    o, lse = pl.pallas_call(
        functools.partial(_forward_kernel, block=block, scale=scale),
        grid=(T // block, B, N),
        in_specs=[own_block, row, row, see, see],
        out_specs=[own_block, of_head],
        out_shape=[
            jax.ShapeDtypeStruct(q.shape, q.dtype),
            jax.ShapeDtypeStruct((B, N, T), jnp.float32),
        ],
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=3),
        interpret=interpret,
        name="attention_forward",
    )(q, k, v, see_from, see_to)
    o, lse = checkpoint_name(o, "attn_out"), checkpoint_name(lse, "attn_out")
    return o, (q, k, v, see_from, see_to, o, lse)


def _backward(scale, block, interpret, saved, do):
    q, k, v, see_from, see_to, o, lse = saved
    (B, T, N, H), K = q.shape, k.shape[2]
    # As in blocks.py: the sum of p dp over keys, [B, N, T].
    delta = jnp.sum(o.astype(jnp.float32) * do, axis=-1).swapaxes(1, 2)
    Z, G = T // block, N // K
    call = functools.partial(
        pl.pallas_call,
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=2),
        interpret=interpret,
    )

    # dq: like the forward pass, one program per block of queries.
    own_block, row, see, of_head = _specs(block, T, H, G)
    dq = call(
        functools.partial(_dq_kernel, block=block, scale=scale),
        grid=(Z, B, N),
        in_specs=[own_block, row, row, see, see, own_block, of_head, of_head],
        out_specs=own_block,
        out_shape=jax.ShapeDtypeStruct(q.shape, q.dtype),
        name="attention_dq",
    )(q, k, v, see_from, see_to, do, lse, delta)

    # dk and dv: one program per block of keys and kv head. It owns what it adds up, so no atomic
    # additions are needed and the result is the same in every run.
    heads = pl.BlockSpec((None, T, G, H), lambda y, b, n: (b, 0, n, 0))
    of_heads = pl.BlockSpec((None, G, T), lambda y, b, n: (b, n, 0))
    all_see = pl.BlockSpec((None, T), lambda y, b, n: (b, 0))
    order = pl.BlockSpec((None, None, Z), lambda y, b, n: (b, y, 0))
    count = pl.BlockSpec((None, None), lambda y, b, n: (b, y))
    dk, dv = call(
        functools.partial(_dkv_kernel, block=block, scale=scale),
        grid=(Z, B, K),
        in_specs=[heads, own_block, own_block, all_see, all_see]
        + [heads, of_heads, of_heads, order, count],
        out_specs=[own_block, own_block],
        out_shape=[jax.ShapeDtypeStruct(k.shape, k.dtype), jax.ShapeDtypeStruct(v.shape, v.dtype)],
        name="attention_dkv",
    )(q, k, v, see_from, see_to, do, lse, delta, *_seen_by(see_from, see_to, block))
    return dq, dk, dv, None, None


_attention.defvjp(_forward, _backward)


def _specs(block: int, T: int, H: int, G: int):
    """What the program (block, row, head) gets to see of each array.

    Its own block of its head [C, H], all keys of its head [T, H], the intervals of its block [C],
    and numbers of its block and head [C].
    """
    own_block = pl.BlockSpec((None, block, None, H), lambda z, b, n: (b, z, n, 0))
    row = pl.BlockSpec((None, T, None, H), lambda z, b, n: (b, 0, n // G, 0))
    see = pl.BlockSpec((None, block), lambda z, b, n: (b, z))
    of_head = pl.BlockSpec((None, None, block), lambda z, b, n: (b, n, z))
    return own_block, row, see, of_head


def _seen_by(see_from_BT, see_to_BT, block):
    """The query blocks that see each block of keys: order [B, Y, Z] and count [B, Y].

    They come first in their row of `order`; what follows them there is never read.
    """
    first_BZ, last_BZ = tiles.key_blocks(see_from_BT, see_to_BT, block)
    y = jnp.arange(first_BZ.shape[1])[None, :, None]
    live_BYZ = (first_BZ[:, None] <= y) & (y <= last_BZ[:, None])
    # A stable sort by "is not live" moves the live ones to the front, in their own order.
    order_BYZ = jnp.argsort(~live_BYZ, axis=2, stable=True).astype(jnp.int32)
    return order_BYZ, jnp.sum(live_BYZ, axis=2, dtype=jnp.int32)


# The kernels. A ref is to one block or one row, of one head or, for the queries of _dkv_kernel, of
# the G heads that read one kv head.


def _forward_kernel(q_ref, k_ref, v_ref, from_ref, to_ref, o_ref, lse_ref, *, block, scale):
    q, see_from, see_to = q_ref[...], from_ref[...], to_ref[...]

    def add_tile(y, so_far):
        o, total, highest = so_far
        at = pl.ds(y * block, block)
        s = _scores(q, k_ref[at, :], see_from, see_to, y, scale)
        new = jnp.maximum(highest, jnp.max(s, axis=1))
        p, shrink = jnp.exp2(s - new[:, None]), jnp.exp2(highest - new)
        o = o * shrink[:, None] + _dot(p.astype(v_ref.dtype), v_ref[at, :])
        return o, total * shrink + jnp.sum(p, axis=1), new

    nothing = (
        jnp.zeros(q.shape, jnp.float32),
        jnp.zeros(block, jnp.float32),
        jnp.full(block, NEVER, jnp.float32),
    )
    o, total, highest = _over_keys(see_from, see_to, block, add_tile, nothing)
    o_ref[...] = (o / total[:, None]).astype(o_ref.dtype)
    lse_ref[...] = highest + jnp.log2(total)


def _dq_kernel(
    q_ref, k_ref, v_ref, from_ref, to_ref, do_ref, lse_ref, delta_ref, dq_ref, *, block, scale
):
    q, see_from, see_to, do, lse, delta = (
        q_ref[...],
        from_ref[...],
        to_ref[...],
        do_ref[...],
        lse_ref[...],
        delta_ref[...],
    )

    def add_tile(y, dq):
        k, v = k_ref[pl.ds(y * block, block), :], v_ref[pl.ds(y * block, block), :]
        _, ds = _weights(q, k, v, do, lse, delta, see_from, see_to, y, scale)
        return dq + _dot(ds.astype(k.dtype), k)

    dq = _over_keys(see_from, see_to, block, add_tile, jnp.zeros(q.shape, jnp.float32))
    dq_ref[...] = dq.astype(dq_ref.dtype)


def _dkv_kernel(
    q_ref,
    k_ref,
    v_ref,
    from_ref,
    to_ref,
    do_ref,
    lse_ref,
    delta_ref,
    order_ref,
    count_ref,
    dk_ref,
    dv_ref,
    *,
    block,
    scale,
):
    k, v, y = k_ref[...], v_ref[...], pl.program_id(0)

    def add_head(g, so_far):
        def add_tile(i, so_far):
            dk, dv = so_far
            at = pl.ds(order_ref[i] * block, block)
            q, do = q_ref[at, g, :], do_ref[at, g, :]
            p, ds = _weights(
                q, k, v, do, lse_ref[g, at], delta_ref[g, at], from_ref[at], to_ref[at], y, scale
            )
            return dk + _dot(ds.astype(q.dtype).T, q), dv + _dot(p.astype(do.dtype).T, do)

        return jax.lax.fori_loop(0, count_ref[...], add_tile, so_far)

    nothing = jnp.zeros(k.shape, jnp.float32), jnp.zeros(v.shape, jnp.float32)
    dk, dv = jax.lax.fori_loop(0, q_ref.shape[1], add_head, nothing)
    dk_ref[...], dv_ref[...] = dk.astype(dk_ref.dtype), dv.astype(dv_ref.dtype)


def _over_keys(see_from, see_to, block, add_tile, nothing):
    # From the block of the first key that any of the queries sees to that of the last one,
    # inclusive. Both are found here, from the intervals that the program has loaded anyway.
    first, last = jnp.min(see_from) // block, jnp.max(see_to) // block
    return jax.lax.fori_loop(first, last + 1, add_tile, nothing)


def _scores(q, k, see_from, see_to, y, scale):
    key = y * len(k) + jnp.arange(len(k))
    seen = (see_from[:, None] <= key[None, :]) & (key[None, :] <= see_to[:, None])
    return jnp.where(seen, _dot(q, k.T) * (scale * LOG2_E), NEVER)


def _weights(q, k, v, do, lse, delta, see_from, see_to, y, scale):
    """A tile of the softmax and the gradient of its scores."""
    p = jnp.exp2(_scores(q, k, see_from, see_to, y, scale) - lse[:, None])
    return p, p * (_dot(do, v.T) - delta[:, None]) * scale


def _dot(a, b):
    # float32 means float32, not tf32.
    precision = "default"
    if a.dtype == jnp.float32:
        precision = "highest"
    return jnp.dot(a, b, precision=precision, preferred_element_type=jnp.float32)
