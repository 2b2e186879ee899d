"""One step over the same pairs has the same loss and gradients, however the pairs are packed, split and spread."""

import functools

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from rewardjax.data import pack
from rewardjax.data.pack import TokenGroup
from rewardjax.models import reward
from rewardjax.models.config import Compute, DecoderConfig
from rewardjax.parallel.mesh import AXES, Layout, place
from rewardjax.scoring import rows as scoring
from rewardjax.training import losses
from rewardjax.training.step import make_step, zeros_like

CONFIG = DecoderConfig(
    family="qwen3",
    vocab_size=64,
    width=32,
    mlp_width=64,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=16,
    rope_theta=1e4,
)
PAIRS, PAD = 12, 63


def random_pairs(seed=0):
    rng = np.random.default_rng(seed)
    tokens = lambda n: rng.integers(0, 60, n).astype(np.int32)
    pairs = [
        TokenGroup(
            tokens(rng.integers(1, 12)), [tokens(rng.integers(1, 10)), tokens(rng.integers(1, 10))]
        )
        for _ in range(PAIRS)
    ]
    pairs[3] = TokenGroup(
        pairs[3].prefix, [tokens(0), tokens(5)]
    )  # one response is a prefix of the other
    labels = {
        "margin": rng.random(PAIRS),
        "target": rng.random(PAIRS),
        "tie": rng.random(PAIRS) < 0.2,
    }
    return pairs, labels


def totals(
    *,
    mesh=(1, 1, 1),
    row_length=64,
    pairs_per_row=4,
    rows=8,
    share=True,
    compute=None,
    order=None,
    swap=False,
):
    """Loss sums and gradients of one step over `random_pairs`, as host arrays; all cases share the weights of seed 0."""
    pairs, labels = random_pairs()
    if order is not None:
        pairs, labels = [pairs[i] for i in order], {name: x[order] for name, x in labels.items()}
    if swap:
        pairs, labels = (
            [TokenGroup(p.prefix, p.suffixes[::-1]) for p in pairs],
            labels | {"target": 1 - labels["target"], "margin": -labels["margin"]},
        )
    lengths = np.array([[len(p.prefix), *map(len, p.suffixes)] for p in pairs])
    plan = pack.plan_rows(pack.bundle_lengths(lengths, share), row_length, pairs_per_row)
    plan += [[] for _ in range(-len(plan) % rows)]
    arrays = pack.pack_pairs(pairs, labels, plan, row_length, pairs_per_row, PAD, share)
    arrays.pop("pair")
    devices = int(np.prod(mesh))
    with jax.set_mesh(jax.make_mesh(mesh, AXES, devices=jax.devices()[:devices])):
        layout = Layout()
        graph, params = nnx.split(
            reward.init(CONFIG, compute or Compute(dtype="float32", remat="none"), layout, 0),
            nnx.Param,
        )
        accumulate, _ = make_step(
            graph, losses.get("bradley_terry", margin_scale=0.1), optax.sgd(0.1), PAIRS
        )
        total = zeros_like(params)
        for first in range(0, len(plan), rows):
            total = accumulate(
                total,
                params,
                place({name: x[first : first + rows] for name, x in arrays.items()}, layout),
            )
        return jax.device_get(total)


@functools.cache
def reference():
    return totals()


def assert_same(found, expected, loss=2e-6, grads=1e-5):
    np.testing.assert_allclose(found["sums"]["loss"], expected["sums"]["loss"], rtol=loss)
    for name in ("accuracy", "ties"):
        np.testing.assert_allclose(found["sums"][name], expected["sums"][name], rtol=1e-6)
    for a, b in zip(
        jax.tree.leaves(found["grads"]), jax.tree.leaves(expected["grads"]), strict=True
    ):
        assert np.linalg.norm(a - b) <= grads * np.linalg.norm(b)


CASES = {
    "long rows": dict(row_length=160, pairs_per_row=12),
    "one pair a row": dict(row_length=32, pairs_per_row=1),
    "micro-batches": dict(rows=1),
    "unshared": dict(share=False, row_length=96),
    "another order": dict(order=np.random.default_rng(5).permutation(PAIRS)),
    "fsdp": dict(mesh=(1, 8, 1)),
    "data": dict(mesh=(8, 1, 1)),
    "data, fsdp, tensor": dict(mesh=(2, 2, 2)),
    "full remat, unrolled": dict(compute=Compute(dtype="float32", remat="full", scan=False)),
}


@pytest.mark.parametrize("case", CASES)
def test_same_loss_and_gradients(case):
    assert_same(totals(**CASES[case]), reference())


def test_exchanging_chosen_and_rejected_maps_accuracy_to_its_complement():
    swapped, expected = totals(swap=True)["sums"], reference()["sums"]
    np.testing.assert_allclose(
        swapped["accuracy"], 1 - expected["accuracy"] - expected["ties"], rtol=1e-6
    )
    np.testing.assert_allclose(swapped["loss"], expected["loss"], rtol=2e-6)
    np.testing.assert_allclose(swapped["margin"], -expected["margin"], rtol=1e-5)


def test_bfloat16_is_close():
    found = totals(compute=Compute(dtype="bfloat16", remat="full"))
    np.testing.assert_allclose(found["sums"]["loss"], reference()["sums"]["loss"], rtol=2e-2)


def test_scoring_equals_training_rewards_and_every_response_has_its_own():
    pairs, _ = random_pairs()
    three = TokenGroup(
        pairs[0].prefix, [pairs[0].suffixes[0], pairs[0].suffixes[1], pairs[1].suffixes[0]]
    )
    alone = [
        TokenGroup(np.array([], np.int32), [np.concatenate([three.prefix, suffix])])
        for suffix in three.suffixes
    ]
    with jax.set_mesh(jax.make_mesh((2, 4, 1), AXES)):
        layout = Layout()
        graph, params = nnx.split(
            reward.init(CONFIG, Compute(dtype="float32", remat="none"), layout, 0), nnx.Param
        )
        score = functools.partial(
            scoring.score_groups,
            scoring.make_score_rows(graph),
            params,
            row_length=64,
            rows=8,
            bundles_per_row=4,
            pad_id=PAD,
            layout=layout,
        )
        together, separate = score([three]), score(alone)
    assert together[0].shape == (3,) and len(set(together[0].tolist())) == 3
    np.testing.assert_allclose(together[0], np.concatenate(separate), rtol=2e-6)
