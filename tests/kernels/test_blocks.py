import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from packings import assert_same, inputs, intervals, output_and_grads

from rewardjax.kernels import attention
from rewardjax.kernels.blocks import blocks
from rewardjax.parallel.mesh import Layout, make_mesh

HEADS = dict(heads=4, kv_heads=2, head_dim=8)


def in_blocks(block):
    return lambda *args: blocks(*args, block=block)


@pytest.fixture(scope="module")
def dense():
    return output_and_grads(attention.dense)


@pytest.fixture(scope="module")
def small():
    return output_and_grads(in_blocks(16))


@pytest.mark.parametrize("seed", range(6))
def test_packed_rows_equal_dense(seed, small, dense):
    see = intervals(seed, rows=4, length=100)  # no multiple of the block
    args = (*inputs(seed, see[0], **HEADS), *see)
    assert_same(small(*args), dense(*args))


@pytest.mark.parametrize("block", [1, 7, 64, 128])
def test_results_do_not_depend_on_the_block(block, dense):
    see = intervals(8, rows=3, length=52)
    args = (*inputs(8, see[0], **HEADS), *see)
    assert_same(output_and_grads(in_blocks(block))(*args), dense(*args))


@pytest.mark.parametrize(
    "heads",
    [dict(heads=2, kv_heads=2, head_dim=64), dict(heads=6, kv_heads=1, head_dim=128)],
    ids=str,
)
def test_heads_of_any_shape(heads):
    see = intervals(9, rows=3, length=40)
    args = (*inputs(9, see[0], **heads), *see)
    assert_same(output_and_grads(in_blocks(16))(*args), output_and_grads(attention.dense)(*args))


def test_intervals_without_their_own_query_and_fewer_queries_than_keys(dense, small):
    """More than a packed row needs: any interval that is not empty, wherever it lies."""
    rng = np.random.default_rng(1)
    see_from = rng.integers(0, 90, size=(3, 90)).astype(np.int32)
    see_to = np.minimum(see_from + rng.integers(0, 20, size=(3, 90)), 89).astype(np.int32)
    q, k, v, probe = inputs(1, see_from, **HEADS)
    assert_same(small(q, k, v, probe, see_from, see_to), dense(q, k, v, probe, see_from, see_to))
    args = q[:, :21], k, v, probe[:, :21], see_from[:, :21], see_to[:, :21]
    assert_same(small(*args), dense(*args))


def test_bfloat16_is_as_close_as_dense_in_bfloat16(small, dense):
    see = intervals(4, rows=3, length=100)
    args = inputs(4, see[0], **HEADS)
    rounded = [x.astype(jnp.bfloat16) for x in args]
    found, exact = small(*rounded, *see), dense(*args, *see)
    assert all(x.dtype == jnp.bfloat16 for x in found)
    assert_same(found, exact, tolerance=0.02)


def test_vmap_over_one_more_axis(small):
    see = intervals(5, rows=4, length=60)
    args = (*inputs(5, see[0], **HEADS), *see)
    split = [x.reshape(2, 2, *x.shape[1:]) for x in args]
    found = jax.vmap(output_and_grads(in_blocks(16)))(*split)
    assert_same([x.reshape(-1, *x.shape[2:]) for x in found], small(*args), tolerance=1e-6)


@pytest.mark.parametrize("shape", [(8, 1, 1), (1, 4, 2), (2, 2, 2)], ids=str)
def test_one_device_equals_eight(shape, small):
    see = intervals(6, rows=8, length=60)
    args = (*inputs(6, see[0], **HEADS), *see)
    layout, mesh = Layout(), make_mesh(*shape)
    with jax.set_mesh(mesh):
        specs = (
            layout.act_BTNH,
            layout.act_BTKH,
            layout.act_BTKH,
            layout.act_BTNH,
            layout.row_BT,
            layout.row_BT,
        )
        placed = [
            jax.device_put(x, NamedSharding(mesh, spec))
            for x, spec in zip(args, specs, strict=True)
        ]
        found = output_and_grads(attention.per_device(in_blocks(16)))(*placed)
        assert [x.sharding.spec for x in found] == list(specs[:1] + specs[:3])
        found = jax.device_get(found)
    assert_same(found, small(*args))


def test_memory_is_linear_in_the_row():
    B, T, N, H = 1, 4096, 2, 8
    x, i = jax.ShapeDtypeStruct((B, T, N, H), jnp.float32), jax.ShapeDtypeStruct((B, T), jnp.int32)
    temp = lambda f: (
        jax.jit(f).lower(x, x, x, x, i, i).compile().memory_analysis().temp_size_in_bytes
    )
    assert temp(output_and_grads(attention.attend)) < B * N * T * T  # a quarter of the scores
