"""Rewards of K responses behind one prompt equal those of mirrored pairs and of one row each."""

import functools

import jax
import numpy as np
import pytest
from flax import nnx

from rewardjax.data import pack
from rewardjax.data.pack import TokenGroup
from rewardjax.kernels import attention
from rewardjax.kernels.pallas_gpu import pallas_gpu
from rewardjax.kernels.splash import splash
from rewardjax.models import reward, variants
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import Layout, make_mesh
from rewardjax.scoring import rows, shapes

ROW, PAIRS_PER_ROW, PAD = 256, 32, 0
CONFIG = variants.get("tiny-qwen3")
DEVICES = dict(one=(1, 1, 1), eight=(2, 2, 2))


def random_groups(seed=0):
    """Groups of 1, 2, 3, 8 and 64: responses of one token and of none, no prompt, prompts that are
    longer than a kernel's block, and one group that is longer than a row.
    """
    rng = np.random.default_rng(seed)
    tokens = lambda n: rng.integers(1, CONFIG.vocab_size, n).astype(np.int32)
    some = lambda most, k: [tokens(n) for n in rng.integers(1, most, k)]
    return [
        TokenGroup(tokens(140), [tokens(0), tokens(1), tokens(30)]),
        TokenGroup(tokens(80), [*some(7, 63), tokens(0)]),
        TokenGroup(tokens(0), some(20, 3)),
        TokenGroup(tokens(20), [tokens(0), *some(30, 6), tokens(1)]),
        TokenGroup(tokens(30), some(20, 2)),
        TokenGroup(tokens(9), some(20, 1)),
    ]


@functools.cache
def scoring(backend, devices):
    """The mesh, the compiled function of rows, and the weights of seed 0 on some devices."""
    shape = DEVICES[devices]
    mesh = make_mesh(*shape, devices=jax.devices()[: np.prod(shape)])
    compute = Compute(dtype="float32", remat="none", attention=backend)
    with jax.set_mesh(mesh):
        graph, params = nnx.split(reward.init(CONFIG, compute, Layout(), seed=0), nnx.Param)
    return mesh, rows.make_score_rows(graph), params


def score(
    groups,
    layout=pack.pack_trees,
    backend="blocks",
    devices="one",
    row_length=ROW,
    batch=8,
    pairs_per_row=PAIRS_PER_ROW,
):
    """Rewards of each group's responses, in rows that `layout` makes."""
    mesh, score_rows, params = scoring(backend, devices)
    with pytest.MonkeyPatch.context() as patch, jax.set_mesh(mesh):
        patch.setattr(pack, "pack_for_scoring", layout)
        return rows.score_groups(
            score_rows,
            params,
            groups,
            row_length=row_length,
            rows=batch,
            pairs_per_row=pairs_per_row,
            pad_id=PAD,
            layout=Layout(),
        )


@pytest.fixture(scope="module")
def alone():
    """The rewards of `random_groups`, each response in a row of its own."""
    return one_by_one(random_groups())


def one_by_one(groups):
    nothing, whole = np.zeros(0, np.int32), []
    for group in groups:
        whole += [
            TokenGroup(nothing, [np.concatenate([group.prefix, suffix])])
            for suffix in group.suffixes
        ]
    rewards = np.concatenate(score(whole, pack.pack_groups, "dense", pairs_per_row=1))
    return np.split(rewards, np.cumsum([len(group.suffixes) for group in groups])[:-1])


def assert_same(found, expected):
    found, expected = np.concatenate(found), np.concatenate(expected)
    assert np.abs(found - expected).max() <= 2e-6 * np.abs(expected).max()
    assert len(np.unique(expected)) > 70, "rewards that differ, or the comparison says little"


@pytest.mark.parametrize("backend", ["dense", "blocks"])
def test_trees_equal_one_row_for_each_response(backend, alone):
    assert_same(score(random_groups(), backend=backend), alone)


def test_trees_equal_mirrored_pairs():
    groups = random_groups()
    assert_same(score(groups), score(groups, pack.pack_groups))


@pytest.mark.parametrize("backend", [splash, pallas_gpu], ids=["splash", "pallas"])
def test_kernels_of_other_platforms_equal_one_row_for_each_response(backend, alone, monkeypatch):
    interpreted = attention.per_device(functools.partial(backend, interpret=True))
    monkeypatch.setitem(attention.BACKENDS, backend.__name__, interpreted)
    try:
        assert_same(score(random_groups(), backend=backend.__name__), alone)
    finally:
        scoring.cache_clear()


def test_order_and_batches_do_not_matter(alone):
    groups = random_groups()
    backwards = score(groups[::-1], batch=2)[::-1]
    assert_same(backwards, alone)
    turned = [TokenGroup(group.prefix, group.suffixes[::-1]) for group in groups]
    assert_same([rewards[::-1] for rewards in score(turned)], alone)
    by_itself = [score([group])[0] for group in groups]
    assert_same(by_itself, alone)


def test_the_length_of_a_row_and_its_slots_do_not_matter(alone):
    groups = random_groups()
    assert_same(score(groups, row_length=512), alone)
    assert_same(score(groups, pairs_per_row=4), alone)


def test_one_device_equals_eight(alone):
    assert_same(score(random_groups(), devices="eight"), alone)


def test_any_number_of_responses_runs_one_program():
    groups = random_groups()
    _, score_rows, _ = scoring("blocks", "one")
    for group in groups:
        score([group])
    programs = score_rows._cache_size()
    score(groups)
    score(random_groups(1)[:2])
    assert score_rows._cache_size() == programs


@pytest.mark.parametrize("responses, trees", [(64, True), (2, False)])
def test_a_prompt_is_computed_once_for_more_than_two_responses(alone, responses, trees):
    groups = random_groups()
    at = next(g for g, group in enumerate(groups) if len(group.suffixes) == responses)
    mesh, score_rows, params = scoring("blocks", "one")
    arrays = []

    def watched(params, batch):
        arrays.append(batch.keys())
        return score_rows(params, batch)

    with jax.set_mesh(mesh):
        shape = shapes.RowShape(ROW, rows=1, pairs_per_row=PAIRS_PER_ROW)._asdict()
        (found,) = rows.score_groups(
            watched, params, [groups[at]], **shape, pad_id=PAD, layout=Layout()
        )
    np.testing.assert_allclose(found, alone[at], atol=2e-6)
    assert all(("also_from" in names) == trees for names in arrays)


def test_rows_of_pairs_have_one_interval():
    """Their program is the one that it was before there were trees."""
    pairs = [group for group in random_groups() if len(group.suffixes) <= 2]
    arrays = pack.pack_for_scoring(pairs, ROW, PAIRS_PER_ROW, PAD)
    assert arrays.keys() == {"tokens", "positions", "see_from", "see_to", "score_at", "owner"}


def test_shapes_hold_the_longest_group_in_few_powers_of_two():
    ones = lambda n: np.ones(n, np.int32)
    best_of_32 = TokenGroup(ones(1000), [ones(400)] * 32)
    shape = shapes.of_groups([best_of_32] * 8, 16_384, 1)
    # 38 responses a row on average; 64 slots have room for rows with more of them.
    assert shape == shapes.RowShape(row_length=16_384, rows=1, pairs_per_row=32)
    assert shapes.of_groups([best_of_32] * 8, 4096, 2) == shapes.RowShape(4096, 2, 16)
    one = TokenGroup(ones(50), [ones(100)] * 3)
    assert shapes.of_groups([one], 16_384, 1) == shapes.RowShape(512, 1, 16)
    assert shapes.of_groups([one] * 100, 16_384, 4) == shapes.RowShape(512, 4 * 32, 16)
    # Of any tokens a device holds, no row is longer than the kernel for TPU takes.
    assert shapes.of_groups([best_of_32] * 8, 1 << 20, 1).row_length == 16_384
    many = TokenGroup(ones(1000), [ones(400)] * 200)
    assert shapes.of_groups([many] * 8, 1 << 20, 1).row_length == 32_768
