"""Attention where every query sees one contiguous interval of keys.

Causality, packing, isolation of pairs and of branches, and prefix sharing are all in two integers a query (docs/architecture.md).
Letters: B rows, T queries, S keys, N query heads, K kv heads, G = N / K, H head width.
"""

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec as P

from rewardjax.kernels.blocks import blocks
from rewardjax.kernels.pallas_gpu import pallas_gpu
from rewardjax.kernels.splash import splash

DENSE_UP_TO = 64  # tokens a row, which are one tile; a longer row is faster in tiles, on CPU by a factor of 4 at 256 already


def attend(q_BTNH, k_BSKH, v_BSKH, see_from_BT, see_to_BT, backend: str = "auto"):
    """o_BTNH in q's dtype: query t is the softmax mixture of v over keys see_from[t] <= k <= see_to[t], scores scaled by H**-0.5.

    Scores and softmax are float32. `backend`: "dense" holds all [T, S] scores; the others touch only tiles that something is in, "blocks"
    on any platform, "splash" on TPU, "pallas" on GPU. "auto" chooses by T and by the platform of the current mesh, which may be one that
    is only compiled for. Queries of another number than keys are the few scored ones of the last layer: always dense. An interval must
    not be empty: its query would be NaN. ValueError for an unknown backend.
    """
    if backend != "auto" and backend not in BACKENDS:
        raise ValueError(f"attention={backend!r}; choose one of {('auto', *BACKENDS)}")
    T, S = q_BTNH.shape[1], k_BSKH.shape[1]
    if T != S or (backend == "auto" and T <= DENSE_UP_TO):
        backend = "dense"
    elif backend == "auto":
        backend = FASTEST.get(_platform(), "blocks")
    with jax.named_scope(f"attend_{backend}"):
        return BACKENDS[backend](q_BTNH, k_BSKH, v_BSKH, see_from_BT, see_to_BT)


def dense(q_BTNH, k_BSKH, v_BSKH, see_from_BT, see_to_BT):
    """The definition, and the reference for every other backend."""
    B, T, N, H = q_BTNH.shape
    S, K = k_BSKH.shape[1:3]
    # G query heads read one kv head, which is never repeated in memory. The mesh axis of N goes to K, also where K = 1 leaves JAX a choice.
    spec = jax.typeof(q_BTNH).sharding.spec
    q_BTKGH = _reshape(q_BTNH, (B, T, K, N // K, H), P(*spec[:3], None, *spec[3:]))
    scores = (
        jnp.einsum("BTKGH,BSKH->BKGTS", q_BTKGH, k_BSKH, preferred_element_type=jnp.float32)
        * H**-0.5
    )
    key_S = jnp.arange(S)
    seen_BTS = (see_from_BT[..., None] <= key_S) & (key_S <= see_to_BT[..., None])
    weights = jax.nn.softmax(jnp.where(seen_BTS[:, None, None], scores, -jnp.inf), axis=-1).astype(
        v_BSKH.dtype
    )
    o_BTKGH = jnp.einsum("BKGTS,BSKH->BTKGH", weights, v_BSKH, preferred_element_type=jnp.float32)
    return checkpoint_name(_reshape(o_BTKGH, (B, T, N, H), spec).astype(q_BTNH.dtype), "attn_out")


def _reshape(x, shape, spec):
    return jnp.reshape(
        x, shape, out_sharding=None if jax.sharding.get_abstract_mesh().empty else spec
    )


def _platform() -> str:
    """ "cpu", "gpu" or "tpu": what the current mesh consists of, also when it is one to compile for; without a mesh, what there is."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return device.platform if device else jax.default_backend()


def per_device(kernel):
    """A kernel that knows no mesh, run by each device on its own rows and heads; the cut is that of q, k and v already."""

    def run(q_BTNH, k_BSKH, v_BSKH, see_from_BT, see_to_BT):
        if jax.sharding.get_abstract_mesh().empty:
            return kernel(q_BTNH, k_BSKH, v_BSKH, see_from_BT, see_to_BT)
        heads, row = jax.typeof(q_BTNH).sharding.spec, jax.typeof(see_from_BT).sharding.spec
        # The varying-axes check knows neither Pallas calls nor loops that start from constants.
        return jax.shard_map(
            kernel, in_specs=(heads, heads, heads, row, row), out_specs=heads, check_vma=False
        )(q_BTNH, k_BSKH, v_BSKH, see_from_BT, see_to_BT)

    return run


BACKENDS = {
    "dense": dense,
    "blocks": per_device(blocks),
    "splash": per_device(splash),
    "pallas": per_device(pallas_gpu),
}
FASTEST = {"tpu": "splash", "gpu": "pallas"}  # elsewhere: blocks
