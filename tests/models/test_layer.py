"""One layer against its formulas, written once more in float64 without our code.

What a wrong order or a wrong branch changes (norm after rotation, silu on the other half) every
comparison of our code with itself would share.
"""

import jax
import numpy as np
import pytest
from flax import nnx

from rewardjax.models import families, variants
from rewardjax.models.config import Compute
from rewardjax.models.decoder import Decoder
from rewardjax.models.trainable import path_of
from rewardjax.parallel.mesh import Layout

T = 7


def normalized(x, scale, eps):
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps) * scale


def rotated(x_TNH, theta):
    """Numbers i and i + H/2 of a head are one complex number, turned by its position."""
    half = x_TNH.shape[-1] // 2
    angle_TH = np.arange(T)[:, None] * theta ** (-np.arange(half) / half)
    z = (x_TNH[..., :half] + 1j * x_TNH[..., half:]) * np.exp(1j * angle_TH)[:, None]
    return np.concatenate([z.real, z.imag], axis=-1)


def layer(x_TD, w, config, family):
    """The state [T, D] after one layer with the weights `w`, causal over one text."""
    h_TD = normalized(x_TD, w["attention_norm"], config.norm_eps)
    q, k, v = (np.einsum("TD,DNH->TNH", h_TD, w[f"attention/{name}"]) for name in "qkv")
    if family.qkv_bias:
        q, k, v = (a + w[f"attention/{name}_bias"] for a, name in ((q, "q"), (k, "k"), (v, "v")))
    if family.qk_norm:
        q = normalized(q, w["attention/q_norm"], config.norm_eps)
        k = normalized(k, w["attention/k_norm"], config.norm_eps)
    q, k = rotated(q, config.rope_theta), rotated(k, config.rope_theta)
    for n in range(config.heads):
        # Query heads 0 .. G - 1 read kv head 0, the next G kv head 1.
        kv = n * config.kv_heads // config.heads
        for t in range(T):
            scores = k[: t + 1, kv] @ q[t, n] / np.sqrt(config.head_dim)
            weights = np.exp(scores - scores.max())
            mixture = weights @ v[: t + 1, kv] / weights.sum()
            x_TD[t] += mixture @ w["attention/o"][n]
    h_TD = normalized(x_TD, w["mlp_norm"], config.norm_eps)
    gate = h_TD @ w["mlp/gate"]
    return x_TD + (gate / (1 + np.exp(-gate)) * (h_TD @ w["mlp/up"])) @ w["mlp/down"]


@pytest.mark.parametrize("name", families.FAMILIES)
def test_a_layer_is_what_its_formulas_say(name, one_device):
    config = variants.get(f"tiny-{name}", layers=1, rope_scaling=None)
    decoder = Decoder(config, Compute(dtype="float32"), Layout(), rngs=nnx.Rngs(params=0))
    rng = np.random.default_rng(0)
    # No norm is 1 and no bias 0, so that leaving one out shows.
    noise = lambda leaf: leaf + 0.2 * rng.normal(size=leaf.shape).astype(np.float32)
    graph, params = nnx.split(decoder, nnx.Param)
    params = jax.tree.map(noise, params)
    weights = {
        path_of(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(params))
    }
    w = {
        path.removeprefix("layers/"): leaf[0].astype(np.float64)
        for path, leaf in weights.items()
        if path.startswith("layers/")
    }
    tokens = rng.integers(0, config.vocab_size, T)
    x_TD = layer(weights["embed"][tokens].astype(np.float64), w, config, families.get(name))
    expected_TD = normalized(x_TD, weights["norm"].astype(np.float64), config.norm_eps)

    own = np.arange(T, dtype=np.int32)[None]
    run = jax.jit(lambda params, *row: nnx.merge(graph, params)(*row))
    actual_TD = run(params, tokens[None].astype(np.int32), own, own * 0, own)[0]
    np.testing.assert_allclose(actual_TD, expected_TD, rtol=1e-4, atol=1e-5)
