"""Queries that see two intervals of keys: every backend against dense, and dense against a softmax
written out.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from packings import assert_same, inputs, nothing, output_and_grads

from rewardjax.data import pack
from rewardjax.data.pack import TokenGroup
from rewardjax.kernels import attention, merge, tiles
from rewardjax.kernels.blocks import blocks
from rewardjax.kernels.pallas_gpu import pallas_gpu
from rewardjax.kernels.splash import splash
from rewardjax.parallel.mesh import Layout, make_mesh

BLOCK = 16
BACKENDS = {
    "blocks": functools.partial(blocks, block=BLOCK),
    "pallas": functools.partial(pallas_gpu, block=BLOCK, interpret=True),
}


def tree_rows(length):
    """see_from, see_to, also_from, also_to [3, length] of trees with branches of one token and of
    none, no prefix, and prefixes that are longer than a kernel's block; the last row is empty.
    """
    rng = np.random.default_rng(0)
    ones = lambda n: np.ones(n, np.int32)
    some = lambda most, k: [ones(n) for n in rng.integers(1, most, k)]
    groups = [
        TokenGroup(ones(length // 3), [nothing, ones(1), *some(length // 12, 6)]),
        TokenGroup(nothing, some(8, 3)),
        TokenGroup(ones(length // 4), [ones(1)] * 3),
        TokenGroup(ones(3), some(9, 8)),
        TokenGroup(ones(length // 2), some(length // 10, 4)),
    ]
    rows = pack.pack_trees(groups, length, 16, pad_id=0, row_multiple=3)
    assert len(rows["tokens"]) == 3 and not rows["tokens"][2].any()
    return tuple(rows[name] for name in ("see_from", "see_to", "also_from", "also_to"))


def over_both(backend):
    """`output_and_grads` of a backend, with the second interval as two more arguments."""

    @jax.jit
    def run(q, k, v, probe, see_from, see_to, also_from, also_to):
        attend = lambda q, k, v: backend(q, k, v, see_from, see_to, (also_from, also_to))
        out, pull = jax.vjp(attend, q, k, v)
        return out, *pull(probe)

    return run


def output(backend):
    """A compiled function of (q, k, v, cotangent, see_from, see_to, also_from, also_to)."""
    return jax.jit(lambda q, k, v, _, *see: backend(q, k, v, *see[:2], see[2:]))


@pytest.fixture(scope="module")
def case():
    """q, k, v, cotangent and both intervals of rows that no block divides."""
    see = tree_rows(150)
    return *inputs(0, see[0], heads=4, kv_heads=2, head_dim=16), *see


def test_dense_is_one_softmax_over_the_keys_of_both_intervals(case):
    q, k, v, _, *see = case
    found = output(attention.dense)(*case)
    keys = np.arange(150)
    for b, t, n in zip(
        *(np.random.default_rng(1).integers(0, (3, 150, 4), (200, 3)).T), strict=True
    ):
        see_from, see_to, also_from, also_to = (x[b, t] for x in see)
        seen = (see_from <= keys) & (keys <= see_to) | (also_from <= keys) & (keys <= also_to)
        scores = k[b, seen, n // 2].astype(np.float64) @ q[b, t, n] / 4
        weights = np.exp(scores - scores.max())
        expected = weights / weights.sum() @ v[b, seen, n // 2]
        np.testing.assert_allclose(found[b, t, n], expected, atol=2e-6)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_equals_dense(name, case):
    found, expected = output(BACKENDS[name])(*case), output(attention.dense)(*case)
    assert_same([found], [expected])


def test_the_tpu_kernel_equals_dense():
    see = tree_rows(512)
    args = (*inputs(1, see[0], heads=2, kv_heads=1, head_dim=64), *see)
    # Its smallest block: two blocks of the first row's prefix see nothing also.
    assert tiles.key_blocks(see[2], see[3], 128)[1][0, 0] == 0
    found = output(functools.partial(splash, block=128, interpret=True))(*args)
    assert_same([found], [output(attention.dense)(*args)])


def test_gradients_of_blocks_equal_those_of_dense(case):
    assert_same(over_both(BACKENDS["blocks"])(*case), over_both(attention.dense)(*case))


def test_what_a_kernel_returns_for_an_empty_interval_is_never_used():
    """With lse 0 and log 3 the weights are 1/4 and 3/4; the second query has one interval."""

    def call(q, k, v, see_from, see_to):
        if see_from.max() < 2:
            return jnp.full((1, 2, 1, 1), 8.0), jnp.zeros((1, 2, 1))
        return jnp.array([4.0, np.nan]).reshape(1, 2, 1, 1), jnp.log(jnp.array([[[3.0], [9.0]]]))

    own, also = [np.array([[0, 0]])] * 2, (np.array([[2, 3]]), np.array([[2, 0]]))
    found = merge.two_calls("any", call, [None] * 3, own, also)
    np.testing.assert_allclose(found.ravel(), [5, 8])


@pytest.mark.parametrize("backend", [BACKENDS["pallas"], functools.partial(splash, interpret=True)])
def test_a_backend_without_gradients_says_so(backend, case):
    with pytest.raises(NotImplementedError, match="no gradient .* two intervals .* 'blocks'"):
        over_both(backend)(*case)


def test_a_key_in_neither_interval_has_no_influence(case):
    q, k, v, probe, *see = case
    # Row 1 holds several trees, of which each must be blind to the others.
    unseen = np.ones(150, bool)
    branch = np.flatnonzero(see[3][1] > 0)[-1]
    unseen[see[0][1, branch] : see[1][1, branch] + 1] = False
    unseen[see[2][1, branch] : see[3][1, branch] + 1] = False
    other_k, other_v = k.copy(), v.copy()
    other_k[1, unseen] = other_v[1, unseen] = 1e3
    run = output(BACKENDS["blocks"])
    found, expected = (run(q, *kv, probe, *see)[1, branch] for kv in ((other_k, other_v), (k, v)))
    np.testing.assert_array_equal(found, expected)


def test_no_second_interval_changes_nothing(case):
    q, k, v, probe, see_from, see_to, *_ = case
    empty = np.full_like(see_from, 149), np.zeros_like(see_from)
    for backend in (attention.dense, *BACKENDS.values()):
        alone = output_and_grads(backend)(q, k, v, probe, see_from, see_to)[0]
        both = output(backend)(q, k, v, probe, see_from, see_to, *empty)
        np.testing.assert_array_equal(alone, both)


def test_bfloat16_is_as_close_as_dense_in_bfloat16(case):
    *qkv, probe, see_from, see_to, also_from, also_to = case
    see = see_from, see_to, also_from, also_to
    rounded = [jnp.asarray(x, jnp.bfloat16) for x in qkv]
    for backend in BACKENDS.values():
        found = output(backend)(*rounded, probe, *see)
        assert found.dtype == jnp.bfloat16
        assert_same([found], [output(attention.dense)(*case)], tolerance=0.02)


def test_fewer_queries_than_keys(case):
    q, k, v, _, *see = case
    some = np.array([[3, 60, 149], [0, 99, 140], [1, 2, 3]])
    few = lambda x: np.stack([row[at] for row, at in zip(x, some, strict=True)])
    see_from, see_to, *also = map(few, see)
    found = attention.attend(few(q), k, v, see_from, see_to, "splash", also)
    np.testing.assert_allclose(found, few(output(attention.dense)(*case)), atol=2e-6)


@pytest.mark.parametrize("name", ["dense", "blocks", "pallas"])
def test_one_device_equals_eight(name, case):
    rows = lambda x: np.concatenate([x, x, x])[:8]
    args = [rows(x) for x in case]
    kernel = BACKENDS.get(name, attention.dense)
    per_device = attention.dense if name == "dense" else attention.per_device(kernel)
    layout, mesh = Layout(), make_mesh(2, 2, 2)
    specs = [layout.act_BTNH, layout.act_BTKH, layout.act_BTKH, layout.act_BTNH]
    specs += [layout.row_BT] * 4
    with jax.set_mesh(mesh):
        placed = [
            jax.device_put(x, NamedSharding(mesh, spec))
            for x, spec in zip(args, specs, strict=True)
        ]
        found = output(per_device)(*placed)
        assert found.sharding.spec == layout.act_BTNH
        found = jax.device_get(found)
    assert_same([found], [output(attention.dense)(*args)])
