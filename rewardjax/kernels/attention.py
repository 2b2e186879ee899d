"""Attention where every query sees one contiguous interval of keys, or two.

Causality, packing, isolation of pairs and of branches, and prefix sharing are all in two integers
per query; in rows of trees, which are scored and not trained on, in four (docs/architecture.md).
`also`: the ends (also_from_BT, also_to_BT) of the second interval. A query without one has
(T - 1, 0) there, which is neutral where tiles.py looks for the least and the greatest. Letters: B
rows, T queries, S keys, N query heads, K kv heads, G = N / K, H head width.
"""

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec as P

from rewardjax.kernels.blocks import blocks
from rewardjax.kernels.pallas_gpu import pallas_gpu
from rewardjax.kernels.splash import splash

# Tokens per row, which are one tile. A longer row is faster in tiles: on CPU by a factor of 4 at
# 256 tokens already.
DENSE_UP_TO = 64


def attend(q_BTNH, k_BSKH, v_BSKH, see_from_BT, see_to_BT, backend: str = "auto", also=None):
    """The softmax mixture of values over the keys that each query sees: o_BTNH in q's dtype.

    Query t sees keys see_from[t] <= k <= see_to[t], and with `also` those of its second interval,
    which must be disjoint from the first and may be empty. The first must not be: its query would
    be NaN. Scores are scaled by H**-0.5; scores and softmax are float32.

    Gradients with `also` are those of "dense" and "blocks"; "splash" and "pallas" raise
    NotImplementedError where they are asked for.

    `backend`: "dense" holds all [T, S] scores; the others touch only tiles that something is in,
    "blocks" on any platform, "splash" on TPU, "pallas" on GPU. "auto" chooses by T and by the
    platform of the current mesh, which may be one that is only compiled for. Raises ValueError for
    an unknown backend.
    """
    if backend != "auto" and backend not in BACKENDS:
        raise ValueError(f"attention={backend!r}; choose one of {('auto', *BACKENDS)}")
    T, S = q_BTNH.shape[1], k_BSKH.shape[1]
    # Queries of another number than keys are the few scored ones of the last layer. Their scores
    # are few, and the kernels for TPU and GPU take as many queries as keys: always dense.
    if T != S or (backend == "auto" and T <= DENSE_UP_TO):
        backend = "dense"
    elif backend == "auto":
        backend = FASTEST.get(_platform(), "blocks")
    with jax.named_scope(f"attend_{backend}"):
        return BACKENDS[backend](q_BTNH, k_BSKH, v_BSKH, see_from_BT, see_to_BT, also)


def dense(q_BTNH, k_BSKH, v_BSKH, see_from_BT, see_to_BT, also=None):
    """The definition, and the reference for every other backend."""
    B, T, N, H = q_BTNH.shape
    S, K = k_BSKH.shape[1:3]
    # G query heads read one kv head, which is never repeated in memory. The mesh axis of N goes to
    # K, also where K = 1 leaves JAX a choice.
    spec = jax.typeof(q_BTNH).sharding.spec
    q_BTKGH = _reshape(q_BTNH, (B, T, K, N // K, H), P(*spec[:3], None, *spec[3:]))
    qk_BKGTS = jnp.einsum("BTKGH,BSKH->BKGTS", q_BTKGH, k_BSKH, preferred_element_type=jnp.float32)
    scores_BKGTS = qk_BKGTS * H**-0.5
    key_11S = jnp.arange(S)[None, None, :]
    seen_BTS = (see_from_BT[..., None] <= key_11S) & (key_11S <= see_to_BT[..., None])
    if also is not None:
        also_from_BT, also_to_BT = also
        seen_BTS |= (also_from_BT[..., None] <= key_11S) & (key_11S <= also_to_BT[..., None])
    masked_BKGTS = jnp.where(seen_BTS[:, None, None], scores_BKGTS, -jnp.inf)
    # Rounded for the product with v, as the tiled kernels do, but not before they are normalized.
    weights_BKGTS = jax.nn.softmax(masked_BKGTS, axis=-1).astype(v_BSKH.dtype)
    o_BTKGH = jnp.einsum(
        "BKGTS,BSKH->BTKGH", weights_BKGTS, v_BSKH, preferred_element_type=jnp.float32
    )
    return checkpoint_name(_reshape(o_BTKGH, (B, T, N, H), spec).astype(q_BTNH.dtype), "attn_out")


def _reshape(x, shape, spec):
    # Without a mesh (inside a kernel's own test, or a plain call) there is no axis to name.
    if jax.sharding.get_abstract_mesh().empty:
        return jnp.reshape(x, shape)
    return jnp.reshape(x, shape, out_sharding=spec)


def _platform() -> str:
    """The platform of the current mesh ("cpu", "gpu", "tpu"), or without one that of this machine.

    The mesh may be one to compile for, of which this machine has no device.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    if device:
        return device.platform
    return jax.default_backend()


def per_device(kernel):
    """A kernel that knows no mesh, run by each device on its own rows and heads.

    Rows and heads never meet in attention, so the cut is that of q, k and v already and nothing is
    exchanged.
    """

    def run(q_BTNH, k_BSKH, v_BSKH, see_from_BT, see_to_BT, also=None):
        if jax.sharding.get_abstract_mesh().empty:
            return kernel(q_BTNH, k_BSKH, v_BSKH, see_from_BT, see_to_BT, also)
        heads, row = jax.typeof(q_BTNH).sharding.spec, jax.typeof(see_from_BT).sharding.spec
        # The varying-axes check knows neither Pallas calls nor loops that start from constants.
        return jax.shard_map(
            kernel,
            in_specs=(heads, heads, heads, row, row, row),
            out_specs=heads,
            check_vma=False,
        )(q_BTNH, k_BSKH, v_BSKH, see_from_BT, see_to_BT, also)

    return run


BACKENDS = {
    "dense": dense,
    "blocks": per_device(blocks),
    "splash": per_device(splash),
    "pallas": per_device(pallas_gpu),
}
FASTEST = {"tpu": "splash", "gpu": "pallas"}  # elsewhere: blocks
