"""Attention where every query sees one contiguous interval of keys.

Causality, packing, isolation of pairs and of branches, and prefix sharing are all in two integers a query (docs/architecture.md).
Letters: B rows, T queries, S keys (as many as T), N query heads, K kv heads, G = N / K, H head width, C queries of a chunk.
"""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

DENSE_UP_TO = 1024  # tokens a row; above it [T, T] scores cost more memory than they save time
CHUNK = 256  # queries at a time


def attend(q_BTNH, k_BTKH, v_BTKH, see_from_BT, see_to_BT, backend: str = "auto"):
    """o_BTNH in q's dtype: query t is the softmax mixture of v over keys see_from[t] <= k <= see_to[t], scores scaled by H**-0.5.

    Scores and softmax are float32. `backend`: "dense" holds all [T, T] scores, "chunked" those of 256 queries, "auto" picks by T.
    An interval must not be empty: its query would be NaN. ValueError for an unknown backend.
    """
    if backend == "auto":
        backend = "dense" if q_BTNH.shape[1] <= DENSE_UP_TO else "chunked"
    if backend not in BACKENDS:
        raise ValueError(f"attention={backend!r}; choose one of {('auto', *BACKENDS)}")
    with jax.named_scope(f"attend_{backend}"):
        return BACKENDS[backend](q_BTNH, k_BTKH, v_BTKH, see_from_BT, see_to_BT)


def dense(q_BTNH, k_BSKH, v_BSKH, see_from_BT, see_to_BT):
    """The definition, and the reference for every other backend."""
    B, T, N, H = q_BTNH.shape
    S, K = k_BSKH.shape[1:3]
    # G query heads read one kv head, which is never repeated in memory. The mesh axis of N goes to K, also where K = 1 leaves JAX a choice.
    spec = jax.typeof(q_BTNH).sharding.spec
    q_BTKGH = _reshape(q_BTNH, (B, T, K, N // K, H), P(*spec[:3], None, *spec[3:]))
    scores = jnp.einsum("BTKGH,BSKH->BKGTS", q_BTKGH, k_BSKH, preferred_element_type=jnp.float32) * H**-0.5
    key_S = jnp.arange(S)
    seen_BTS = (see_from_BT[..., None] <= key_S) & (key_S <= see_to_BT[..., None])
    weights = jax.nn.softmax(jnp.where(seen_BTS[:, None, None], scores, -jnp.inf), axis=-1).astype(v_BSKH.dtype)
    o_BTKGH = jnp.einsum("BKGTS,BSKH->BTKGH", weights, v_BSKH, preferred_element_type=jnp.float32)
    return _reshape(o_BTKGH, (B, T, N, H), spec).astype(q_BTNH.dtype)


def _reshape(x, shape, spec):
    return jnp.reshape(x, shape, out_sharding=None if jax.sharding.get_abstract_mesh().empty else spec)


def chunked(q_BTNH, k_BTKH, v_BTKH, see_from_BT, see_to_BT, chunk: int = CHUNK):
    """`dense` for a chunk of queries after the other: memory grows with chunk * T, forward and backward (scores are recomputed there)."""
    B, T = see_from_BT.shape
    chunks = -(-T // chunk)
    # Queries that fill the last chunk look at key 0 and are cut off again.
    split = lambda x: jnp.moveaxis(
        jnp.pad(x, [(0, 0), (0, chunks * chunk - T)] + [(0, 0)] * (x.ndim - 2)).reshape(B, chunks, chunk, *x.shape[2:]), 1, 0
    )
    one = jax.checkpoint(lambda piece: dense(piece[0], k_BTKH, v_BTKH, piece[1], piece[2]), prevent_cse=False)
    o = jax.lax.map(one, (split(q_BTNH), split(see_from_BT), split(see_to_BT)))
    return jnp.moveaxis(o, 0, 1).reshape(B, chunks * chunk, *q_BTNH.shape[2:])[:, :T]


BACKENDS = {"dense": dense, "chunked": chunked}
