"""The FLOP formulas against a count by hand, a published figure and the compiler's own count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.data import pack
from rewardjax.models import families, flops, reward, variants
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import Layout

QWEN3_06B = variants.get("qwen3-0.6b")


def test_flops_of_qwen3_are_the_published_ones():
    tokens = 2048
    causal = flops.train_flops(QWEN3_06B, tokens, tokens**2 // 2) / tokens
    assert flops.layer_params(QWEN3_06B) == 28 * (1024 * 128 * (16 + 8 + 8 + 16) + 3 * 1024 * 3072)
    np.testing.assert_allclose(causal / 1e9, 3.35, atol=0.01)  # 6 N + 6 L S heads head_dim
    assert flops.train_flops(QWEN3_06B, 7, 11) == 3 * flops.forward_flops(QWEN3_06B, 7, 11)


@pytest.mark.parametrize("name", families.FAMILIES)
def test_a_family_counts_the_matmul_weights_of_its_layers(name, one_device):
    """Every weight of a layer with an input and an output axis besides the axis of the layers:

    no norm and no bias.
    """
    config = variants.get(f"tiny-{name}")
    layers = reward.abstract(config, Compute(), Layout()).decoder.layers
    by_path = jax.tree_util.tree_leaves_with_path(layers)
    weights = [
        leaf.size
        for path, leaf in by_path
        if not any(word in jax.tree_util.keystr(path) for word in ("norm", "bias"))
    ]
    assert flops.layer_params(config) == sum(weights)


def test_forward_flops_count_what_xla_counts():
    """One layer's matmuls, dense attention over T x T, with the compiler as the judge."""
    config = variants.get("tiny-llama", layers=1, width=32, head_dim=8, mlp_width=48)
    T = 16

    def matmuls(x, q, k, v, o, gate, up, down):
        q, k, v = (x @ q).reshape(T, 4, 8), (x @ k).reshape(T, 2, 8), (x @ v).reshape(T, 2, 8)
        scores = jnp.einsum("qnh,knh->nqk", q, jnp.repeat(k, 2, axis=1))
        x = jnp.einsum("nqk,knh->qnh", scores, jnp.repeat(v, 2, axis=1)).reshape(T, 32) @ o
        return ((x @ gate) * (x @ up)) @ down

    shapes = [(T, 32), (32, 32), (32, 16), (32, 16), (32, 32), (32, 48), (32, 48), (48, 32)]
    cost = (
        jax.jit(matmuls)
        .lower(*(jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes))
        .compile()
        .cost_analysis()
    )
    np.testing.assert_allclose(cost["flops"], flops.forward_flops(config, T, T * T), rtol=0.03)


def test_live_entries_of_a_mirrored_row():
    # First response reversed, shared prefix, second response: the picture of a packed row.
    n, m, k = 3, 5, 2
    own = np.arange(n + m + k)
    see_from = np.where(own < n, own, n)
    see_to = np.where(own < n, n + m - 1, own)
    first, second = (sum(m + i for i in range(1, length + 1)) for length in (n, k))
    by_hand = first + sum(range(1, m + 1)) + second
    assert np.sum(see_to - see_from + 1) == by_hand
    assert pack.attention_entries(np.array([[m, n, k]])) == by_hand


def test_peaks_by_device_kind():
    kinds = {
        "TPU v4": 275e12,
        "TPU v5 lite": 197e12,
        "TPU v5": 459e12,
        "TPU v5p": 459e12,
        "TPU v6 lite": 918e12,
        "TPU7x": 1153.5e12,
        "NVIDIA A100-SXM4-80GB": 312e12,
        "NVIDIA H100 80GB HBM3": 989e12,
        "NVIDIA H100 PCIe": 756e12,
        "NVIDIA H200": 989e12,
    }
    assert {kind: flops.peak_flops(kind) for kind in kinds} == kinds
    assert flops.peak_flops("cpu") is None
