"""One step over the same units has the same loss and gradients, however they are packed, split
and spread, and it goes downhill.
"""

import dataclasses
import functools
import itertools

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from rewardjax.aot import hlo
from rewardjax.data import pack
from rewardjax.data.pack import TokenGroup
from rewardjax.models import reward
from rewardjax.models.config import Compute, DecoderConfig
from rewardjax.parallel.mesh import AXES, Layout, place
from rewardjax.scoring import rows as scoring
from rewardjax.training import losses
from rewardjax.training.step import make_step, over_all_devices, zeros_like

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
FLOAT32 = Compute(dtype="float32", remat="none")


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


def ranked_groups(seed=0):
    """Groups of 1 + K tokens' prefix and up to four responses, each ranked; ties among them."""
    rng = np.random.default_rng(seed)
    groups, ranks = [], []
    for size in rng.integers(2, 5, PAIRS):
        suffixes = [rng.integers(0, 60, rng.integers(1, 8)).astype(np.int32) for _ in range(size)]
        groups.append(TokenGroup(rng.integers(0, 60, 5).astype(np.int32), suffixes))
        ranks.append(rng.integers(0, size, size))
    return groups, ranks


@dataclasses.dataclass(frozen=True)
class Case:
    """One way to compute the same step."""

    mesh: tuple[int, int, int] = (1, 1, 1)
    row_length: int = 64
    pairs_per_row: int = 4
    rows: int = 8
    share: bool = True
    compute: Compute = FLOAT32


def accumulated(arrays, loss, case=Case(), units=PAIRS):
    """Loss sums and gradients of one step over packed rows, as host arrays.

    All cases share the weights of seed 0.
    """
    with mesh_of(case):
        layout = Layout()
        graph, params = initial(case, layout)
        accumulate, _ = make_step(graph, loss, optax.sgd(0.1), units)
        total = zeros_like(params)
        for batch in micro_batches(arrays, case.rows):
            total = accumulate(total, params, place(batch, layout))
        return jax.device_get(over_all_devices(total))


def mesh_of(case):
    devices = int(np.prod(case.mesh))
    return jax.set_mesh(jax.make_mesh(case.mesh, AXES, devices=jax.devices()[:devices]))


def initial(case, layout):
    return nnx.split(reward.init(CONFIG, case.compute, layout, 0), nnx.Param)


def micro_batches(arrays, rows):
    for first in range(0, len(arrays["tokens"]), rows):
        yield {name: x[first : first + rows] for name, x in arrays.items()}


def planned(tokens, case, per_row):
    plan = pack.plan_rows(tokens, case.row_length, per_row)
    return plan + [[] for _ in range(-len(plan) % case.rows)]


def packed_pairs(pairs, labels, case=Case()):
    lengths = np.array([[len(p.prefix), *map(len, p.suffixes)] for p in pairs])
    plan = planned(pack.bundle_lengths(lengths, case.share), case, case.pairs_per_row)
    return pack.pack_pairs(
        pairs, labels, plan, case.row_length, case.pairs_per_row, PAD, case.share
    )


def packed_groups(groups, ranks, case=Case(), responses=4):
    copies = [(len(g.suffixes) + 1) // 2 if case.share else len(g.suffixes) for g in groups]
    tokens = [
        n * len(g.prefix) + sum(map(len, g.suffixes)) for n, g in zip(copies, groups, strict=True)
    ]
    plan = planned(tokens, case, pack.groups_per_row(case.pairs_per_row, responses))
    return pack.pack_ranked(
        groups, ranks, plan, case.row_length, case.pairs_per_row, responses, PAD, case.share
    )


def totals(case=Case(), *, order=None, swap=False):
    """Loss sums and gradients of one step over `random_pairs`, with every label in use."""
    pairs, labels = random_pairs()
    if order is not None:
        pairs, labels = [pairs[i] for i in order], {name: x[order] for name, x in labels.items()}
    if swap:
        pairs = [TokenGroup(p.prefix, p.suffixes[::-1]) for p in pairs]
        labels |= {"target": 1 - labels["target"], "margin": -labels["margin"]}
    arrays = packed_pairs(pairs, labels, case)
    return accumulated(arrays, losses.get("bradley_terry", margin_scale=0.1), case)


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


LAYOUTS = {
    "long rows": Case(row_length=160, pairs_per_row=12),
    "one pair per row": Case(row_length=32, pairs_per_row=1),
    "micro-batches": Case(rows=1),
    "unshared": Case(share=False, row_length=96),
    "fsdp": Case(mesh=(1, 8, 1)),
    "data": Case(mesh=(8, 1, 1)),
    "data, fsdp, tensor": Case(mesh=(2, 2, 2)),
    "full remat, unrolled": Case(
        compute=Compute(dtype="float32", remat="full", scan=False),
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_same_loss_and_gradients(name):
    assert_same(totals(LAYOUTS[name]), reference())


def test_gradients_are_added_up_over_data_once_per_step():
    """Within a micro-batch only the four devices of an fsdp group exchange anything."""
    case = Case(mesh=(2, 4, 1))
    pairs, labels = random_pairs()
    with mesh_of(case):
        layout = Layout()
        graph, params = initial(case, layout)
        optimizer = optax.sgd(0.1)
        accumulate, update = make_step(graph, losses.get("bradley_terry"), optimizer, PAIRS)
        total, opt = zeros_like(params), optimizer.init(params)
        batch = place(next(micro_batches(packed_pairs(pairs, labels, case), case.rows)), layout)
        compiled = accumulate.lower(total, params, batch).compile().as_text()
        assert {one.group for one in hlo.collectives(compiled, 8)} == {4}
        compiled = update.lower(params, opt, total).compile().as_text()
        (sums,) = [one for one in hlo.collectives(compiled, 8) if one.group == 2]
    assert sums.kind == "all-reduce" and sums.times == 1
    assert len(sums.shapes) == len(jax.tree.leaves(params))


def test_the_order_of_pairs_does_not_matter():
    assert_same(totals(order=np.random.default_rng(5).permutation(PAIRS)), reference())


@functools.cache
def ranked_reference():
    return accumulated(packed_groups(*ranked_groups()), losses.get("plackett_luce"))


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "one pair per row"])
def test_same_listwise_loss_and_gradients(name):
    case = LAYOUTS[name]
    arrays = packed_groups(*ranked_groups(), case)
    assert_same(accumulated(arrays, losses.get("plackett_luce"), case), ranked_reference())


def test_one_group_per_row_is_the_same_listwise_step():
    case = Case(row_length=64, pairs_per_row=2, rows=4)
    arrays = packed_groups(*ranked_groups(), case)
    assert_same(accumulated(arrays, losses.get("plackett_luce"), case), ranked_reference())


def test_plackett_luce_over_groups_of_two_is_bradley_terry_over_pairs():
    pairs, labels = random_pairs()
    wins = {"margin": labels["margin"], "target": np.ones(PAIRS), "tie": np.zeros(PAIRS)}
    of_pairs = accumulated(packed_pairs(pairs, wins), losses.get("bradley_terry"))
    best_first = [np.array([0, 1])] * PAIRS
    for responses in (2, 4):  # also with room for more responses than there are
        of_groups = accumulated(
            packed_groups(pairs, best_first, responses=responses), losses.get("plackett_luce")
        )
        assert_same(of_groups, of_pairs)
        for name, value in of_pairs["sums"].items():
            np.testing.assert_allclose(of_groups["sums"][name], value, rtol=1e-5, err_msg=name)


def rewards_of(groups):
    """Rewards of each group's responses by the weights of seed 0, each response in a row of its
    own.
    """
    responses = [
        TokenGroup(group.prefix, [suffix]) for group in groups for suffix in group.suffixes
    ]
    with mesh_of(Case()):
        layout = Layout()
        graph, params = initial(Case(), layout)
        rewards = scoring.score_groups(
            scoring.make_score_rows(graph),
            params,
            responses,
            row_length=32,
            rows=8,
            pairs_per_row=1,
            pad_id=PAD,
            layout=layout,
        )
    ends = np.cumsum([len(group.suffixes) for group in groups])
    return np.split(np.concatenate(rewards).astype(np.float64), ends[:-1])


def test_the_loss_is_the_closed_form_of_chosen_over_rejected():
    pairs, labels = random_pairs()
    rewards = np.stack(rewards_of(pairs))
    delta = rewards[:, 0] - rewards[:, 1]
    target = np.where(labels["tie"], 0.5, labels["target"])
    x = delta - 0.1 * labels["margin"]
    loss = target * np.logaddexp(0, -x) + (1 - target) * np.logaddexp(0, x)
    loss[labels["tie"]] = (np.logaddexp(0, -x) + np.logaddexp(0, x))[labels["tie"]] / 2
    sums = reference()["sums"]
    np.testing.assert_allclose(sums["loss"], loss.mean(), rtol=1e-5)
    np.testing.assert_allclose(sums["accuracy"], np.mean(delta > 0), rtol=1e-6)
    np.testing.assert_allclose(sums["margin"], delta.mean(), rtol=1e-4)
    np.testing.assert_allclose(sums["reward"], rewards.mean(), rtol=1e-4)


def test_listwise_metrics_are_means_over_the_comparisons_of_each_group():
    groups, ranks = ranked_groups()
    accuracy, margin = [], []
    for rewards, rank in zip(rewards_of(groups), ranks, strict=True):
        delta = [
            rewards[k] - rewards[j]
            for k, j in itertools.permutations(range(len(rank)), 2)
            if rank[k] < rank[j]
        ]
        # A group of equals compares nothing: it counts among the N with zeros.
        accuracy.append(np.mean(np.array(delta) > 0) if delta else 0)
        margin.append(np.mean(delta) if delta else 0)
    sums = ranked_reference()["sums"]
    np.testing.assert_allclose(sums["accuracy"], np.mean(accuracy), rtol=1e-6)
    np.testing.assert_allclose(sums["margin"], np.mean(margin), rtol=1e-4)


@pytest.mark.parametrize("kind", ["pairs", "groups"])
def test_steps_go_downhill(kind):
    """On one batch the loss falls and the better responses' lead grows, step by step."""
    if kind == "pairs":
        pairs, _ = random_pairs()
        wins = {"margin": np.zeros(PAIRS), "target": np.ones(PAIRS), "tie": np.zeros(PAIRS)}
        arrays, loss = packed_pairs(pairs, wins), losses.get("bradley_terry")
    else:
        arrays, loss = packed_groups(*ranked_groups()), losses.get("plackett_luce")
    history = []
    with mesh_of(Case()):
        layout = Layout()
        graph, params = initial(Case(), layout)
        optimizer = optax.adam(1e-3)
        accumulate, update = make_step(graph, loss, optimizer, PAIRS)
        opt = optimizer.init(params)
        for _ in range(5):
            total = zeros_like(params)
            for batch in micro_batches(arrays, 8):
                total = accumulate(total, params, place(batch, layout))
            params, opt, metrics = update(params, opt, total)
            history.append((float(metrics["loss"]), float(metrics["margin"])))
    loss_of_step, margin_of_step = np.array(history).T
    assert (np.diff(loss_of_step) < 0).all(), loss_of_step
    assert (np.diff(margin_of_step) > 0).all(), margin_of_step


def test_a_loss_that_reads_lengths_gets_those_of_the_responses():
    pairs, _ = random_pairs()
    wins = {"margin": np.zeros(PAIRS), "target": np.ones(PAIRS), "tie": np.zeros(PAIRS)}
    loss = losses.get("length_regularized", length_weight=0.1)
    total = accumulated(packed_pairs(pairs, wins), loss)
    rewards = np.stack(rewards_of(pairs))
    longer = np.array([len(pair.suffixes[0]) - len(pair.suffixes[1]) for pair in pairs])
    expected = np.logaddexp(0, -(rewards[:, 0] - rewards[:, 1] + 0.1 * longer)).mean()
    np.testing.assert_allclose(total["sums"]["loss"], expected, rtol=1e-5)


def test_exchanging_chosen_and_rejected_maps_accuracy_to_its_complement():
    swapped, expected = totals(swap=True)["sums"], reference()["sums"]
    np.testing.assert_allclose(
        swapped["accuracy"], 1 - expected["accuracy"] - expected["ties"], rtol=1e-6
    )
    np.testing.assert_allclose(swapped["loss"], expected["loss"], rtol=2e-6)
    np.testing.assert_allclose(swapped["margin"], -expected["margin"], rtol=1e-5)


def test_bfloat16_is_close():
    found = totals(Case(compute=Compute(dtype="bfloat16", remat="full")))
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
            pairs_per_row=4,
            pad_id=PAD,
            layout=layout,
        )
        together, separate = score([three]), score(alone)
    assert together[0].shape == (3,) and len(set(together[0].tolist())) == 3
    np.testing.assert_allclose(together[0], np.concatenate(separate), rtol=2e-6)
