"""Attention in plain XLA that skips what no query sees: for CPU, and the fallback everywhere.

For each block of queries a loop runs over the key blocks it sees (tiles.py), with the online
softmax of arXiv 1805.02867; the backward pass recomputes the weights from the saved log-sum-exp
(arXiv 2205.14135). Memory is linear in T.

Where queries see two intervals, one loop runs over the tiles of the first and another over those of
the second, with the same state. Each masks with its own interval alone: a tile in which both have
keys is visited twice, and a mask of both would count those keys twice.

Why skipping is safe: a key block outside [first_Z, last_Z] holds no key of any query of the block,
so all its weights are exactly 0 and it would add exactly nothing. Inside those bounds the mask of
each single query still applies, so the result does not depend on how rows fall into blocks.

Letters: as in attention.py; C tokens of a block, Z blocks of queries, Y of keys (of all rows),
X = G * C queries that read one kv head.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from rewardjax.kernels import tiles

BLOCK = 64  # tokens; of 32, 64, 128 and 256 the fastest on CPU
NEVER = -1e30  # the score of a key that is not seen; finite, as a query may see no key of a tile


class Interval(NamedTuple):
    """What blocks of queries see: an interval of keys for each query, counted in its row."""

    from_ZC: jax.Array  # first and last key of each query
    to_ZC: jax.Array
    first_Z: jax.Array  # first and last block of keys that any of the block's queries sees
    last_Z: jax.Array


class Queries(NamedTuple):
    """Blocks of queries, and the keys they see."""

    q_ZKXH: jax.Array
    row_Z: jax.Array  # where the blocks of its row's keys begin
    intervals: list[Interval]  # one, or two that are disjoint


@functools.partial(jax.custom_vjp, nondiff_argnums=(6,))
def blocks(q_BTNH, k_BSKH, v_BSKH, see_from_BT, see_to_BT, also=None, block: int = BLOCK):
    """`attention.dense` in the time of its live tiles [block, block], for any T and S.

    Saves its output and log-sum-exp as "attn_out".
    """
    return _forward(q_BTNH, k_BSKH, v_BSKH, see_from_BT, see_to_BT, also, block)[0]


def _forward(q_BTNH, k_BSKH, v_BSKH, see_from_BT, see_to_BT, also, block):
    K = k_BSKH.shape[2]
    queries = _queries(q_BTNH, k_BSKH, see_from_BT, see_to_BT, also, block)
    k_YKCH, v_YKCH = (_by_block(x, K, block) for x in (k_BSKH, v_BSKH))

    def attend_block(query):
        X, H = query.q_ZKXH.shape[1:]

        def add_tile(interval, y, so_far):
            # The online softmax: weights are relative to the highest score so far, and what has
            # been added up before is shrunk whenever a higher one comes.
            o_KXH, sum_KX, max_KX = so_far
            v_KCH = v_YKCH[query.row_Z + y]
            s_KXC = _scores(query.q_ZKXH, k_YKCH[query.row_Z + y], interval, y)
            new_KX = jnp.maximum(max_KX, s_KXC.max(-1))
            p_KXC, shrink_KX = jnp.exp(s_KXC - new_KX[..., None]), jnp.exp(max_KX - new_KX)
            tile_KXH = _dot("KXC,KCH->KXH", p_KXC.astype(v_KCH.dtype), v_KCH)
            o_KXH = o_KXH * shrink_KX[..., None] + tile_KXH
            return o_KXH, sum_KX * shrink_KX + p_KXC.sum(-1), new_KX

        # The bounds are the first and the last block that any query of this block sees; `last` is
        # inclusive, hence the 1. A query that sees no key of an early tile gives all its keys
        # weight exp(NEVER - NEVER) = 1 there, which the first seen key shrinks to exactly 0.
        so_far = jnp.zeros((K, X, H)), jnp.zeros((K, X)), jnp.full((K, X), NEVER)
        for interval in query.intervals:
            add = functools.partial(add_tile, interval)
            so_far = jax.lax.fori_loop(interval.first_Z, interval.last_Z + 1, add, so_far)
        o_KXH, sum_KX, max_KX = so_far
        return (o_KXH / sum_KX[..., None]).astype(q_BTNH.dtype), max_KX + jnp.log(sum_KX)

    o_ZKXH, lse_ZKX = jax.lax.map(attend_block, queries)
    # Both carry the name: a remat policy that kept only one would run the kernel again for the
    # other.
    o_BTNH = checkpoint_name(_by_token(o_ZKXH, q_BTNH.shape, block), "attn_out")
    lse_ZKX = checkpoint_name(lse_ZKX, "attn_out")
    return o_BTNH, (q_BTNH, k_BSKH, v_BSKH, see_from_BT, see_to_BT, also, o_BTNH, lse_ZKX)


def _backward(block, saved, do_BTNH):
    q_BTNH, k_BSKH, v_BSKH, see_from_BT, see_to_BT, also, o_BTNH, lse_ZKX = saved
    K, H = k_BSKH.shape[2:]
    queries = _queries(q_BTNH, k_BSKH, see_from_BT, see_to_BT, also, block)
    k_YKCH, v_YKCH, o_ZKXH, do_ZKXH = (
        _by_block(x, K, block) for x in (k_BSKH, v_BSKH, o_BTNH, do_BTNH)
    )
    # sum over keys of p dp, which is the same as o . do: one number per query instead of a row.
    delta_ZKX = jnp.sum(o_ZKXH.astype(jnp.float32) * do_ZKXH, axis=-1)

    def backward_block(dk_dv, inputs):
        query, do_KXH, lse_KX, delta_KX = inputs

        def add_tile(interval, y, so_far):
            dq_KXH, dk_YKCH, dv_YKCH = so_far
            at = query.row_Z + y
            k_KCH, v_KCH = k_YKCH[at], v_YKCH[at]
            # The log-sum-exp over all that the query sees: so the weights of two intervals are
            # parts of one softmax, and their gradients add up.
            s_KXC = _scores(query.q_ZKXH, k_KCH, interval, y)
            p_KXC = jnp.exp(s_KXC - lse_KX[..., None])
            dp_KXC = _dot("KXH,KCH->KXC", do_KXH, v_KCH)
            ds_KXC = (p_KXC * (dp_KXC - delta_KX[..., None]) * H**-0.5).astype(k_KCH.dtype)
            dq_KXH = dq_KXH + _dot("KXC,KCH->KXH", ds_KXC, k_KCH)
            dk_YKCH = dk_YKCH.at[at].add(_dot("KXC,KXH->KCH", ds_KXC, query.q_ZKXH))
            dv_YKCH = dv_YKCH.at[at].add(_dot("KXC,KXH->KCH", p_KXC.astype(do_KXH.dtype), do_KXH))
            return dq_KXH, dk_YKCH, dv_YKCH

        so_far = jnp.zeros(do_KXH.shape), *dk_dv
        for interval in query.intervals:
            add = functools.partial(add_tile, interval)
            so_far = jax.lax.fori_loop(interval.first_Z, interval.last_Z + 1, add, so_far)
        dq_KXH, *dk_dv = so_far
        return tuple(dk_dv), dq_KXH.astype(q_BTNH.dtype)

    # A block of queries owns its dq, but many of them add to the same dk and dv: so these are
    # carried from block to block, in float32, and the blocks run one after another.
    nothing = jnp.zeros(k_YKCH.shape), jnp.zeros(v_YKCH.shape)
    (dk_YKCH, dv_YKCH), dq_ZKXH = jax.lax.scan(
        backward_block, nothing, (queries, do_ZKXH, lse_ZKX, delta_ZKX)
    )
    dk_BSKH, dv_BSKH = (
        _by_token(x, k_BSKH.shape, block).astype(k_BSKH.dtype) for x in (dk_YKCH, dv_YKCH)
    )
    return _by_token(dq_ZKXH, q_BTNH.shape, block), dk_BSKH, dv_BSKH, None, None, None


blocks.defvjp(_forward, _backward)


def _queries(q_BTNH, k_BSKH, see_from_BT, see_to_BT, also, block) -> Queries:
    intervals = [_interval(see_from_BT, see_to_BT, block)]
    if also is not None:
        also_from_BT, also_to_BT = also
        intervals.append(_interval(also_from_BT, also_to_BT, block))
    q_ZKXH = _by_block(q_BTNH, k_BSKH.shape[2], block)
    B, keys = k_BSKH.shape[0], -(-k_BSKH.shape[1] // block)
    row_Z = jnp.repeat(jnp.arange(B) * keys, len(q_ZKXH) // B)
    return Queries(q_ZKXH, row_Z, intervals)


def _interval(from_BT, to_BT, block) -> Interval:
    # Queries that fill up the last block see what the last real one sees, so they make no tile
    # live.
    from_BT, to_BT = (tiles.fill_up(x, block, axis=1, mode="edge") for x in (from_BT, to_BT))
    first_BZ, last_BZ = tiles.key_blocks(from_BT, to_BT, block)
    by_block = lambda x_BT: x_BT.reshape(-1, block)
    return Interval(by_block(from_BT), by_block(to_BT), first_BZ.ravel(), last_BZ.ravel())


def _scores(q_KXH, k_KCH, interval: Interval, y):
    """[K, X, C] float32: one block of queries against block y of its row's keys."""
    K, C, H = k_KCH.shape
    key_1C = y * C + jnp.arange(C)[None, :]
    seen_CC = (interval.from_ZC[:, None] <= key_1C) & (key_1C <= interval.to_ZC[:, None])
    s_KXC = _dot("KXH,KCH->KXC", q_KXH, k_KCH) * H**-0.5
    return jnp.where(seen_CC[None, None], s_KXC.reshape(K, -1, C, C), NEVER).reshape(s_KXC.shape)


def _dot(equation: str, a, b):
    # Named here, as the backward pass is traced where the model's default precision no longer
    # holds.
    precision = "default"
    if a.dtype == jnp.float32:
        precision = "highest"
    return jnp.einsum(equation, a, b, precision=precision, preferred_element_type=jnp.float32)


def _by_block(x_BTNH, K: int, block: int):
    """[Z, K, X, H] of x [B, T, N, H]: whole blocks that lie together in memory.

    The G heads that read one kv head lie below one another, so that one product serves them all.
    """
    x_BTNH = tiles.fill_up(x_BTNH, block, axis=1)
    B, T, N, H = x_BTNH.shape
    x = x_BTNH.reshape(B, T // block, block, K, N // K, H)
    return x.transpose(0, 1, 3, 4, 2, 5).reshape(-1, K, N // K * block, H)


def _by_token(x_ZKXH, shape: tuple[int, ...], block: int):
    """The inverse of `_by_block`: [B, T, N, H], which is `shape`.

    Without the tokens that filled up the last block.
    """
    (B, T, N, H), K = shape, x_ZKXH.shape[1]
    x = x_ZKXH.reshape(B, -1, K, N // K, block, H)
    return x.transpose(0, 1, 4, 2, 3, 5).reshape(B, -1, N, H)[:, :T]
