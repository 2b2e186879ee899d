import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from rewardjax.kernels import attention
from rewardjax.parallel.mesh import Layout, make_mesh

B, T, N, K, H = 2, 37, 4, 2, 8
ANYWHERE = ("dense", "blocks")  # backends that run on any platform


def case(seed, dtype=np.float32, B=B, T=T):
    """Random q, k, v and, for every query, a random interval that contains it."""
    rng = np.random.default_rng(seed)
    q, k, v = (rng.normal(size=(B, T, heads, H)).astype(dtype) for heads in (N, K, K))
    own = np.arange(T)
    see_from = rng.integers(0, own + 1, size=(B, T)).astype(np.int32)
    see_to = rng.integers(own, T, size=(B, T)).astype(np.int32)
    return q, k, v, see_from, see_to


def by_definition(q, k, v, see_from, see_to):
    """One query and one head at a time, in float64."""
    out = np.zeros(q.shape)
    for b, t, n in np.ndindex(q.shape[:3]):
        keys = slice(see_from[b, t], see_to[b, t] + 1)
        scores = k[b, keys, n // (N // K)].astype(np.float64) @ q[b, t, n] / np.sqrt(H)
        weights = np.exp(scores - scores.max())
        out[b, t, n] = weights / weights.sum() @ v[b, keys, n // (N // K)]
    return out


def test_dense_equals_the_definition():
    for seed in range(3):
        args = case(seed)
        np.testing.assert_allclose(attention.dense(*args), by_definition(*args), atol=2e-6)


@pytest.mark.parametrize("backend", ANYWHERE)
def test_a_key_outside_the_interval_has_no_influence(backend):
    q, k, v, see_from, see_to = case(7)
    see_from, see_to = np.maximum(see_from, 5), np.minimum(see_to, 30)
    see_to = np.maximum(see_to, see_from)
    k2, v2 = k.copy(), v.copy()
    k2[:, :5], v2[:, :5], k2[:, 36:], v2[:, 36:] = 1e3, 1e3, -1e3, 1e3
    inside = (see_to < 36)[..., None, None]
    a, b = (attention.attend(q, *kv, see_from, see_to, backend) for kv in ((k, v), (k2, v2)))
    np.testing.assert_array_equal(np.where(inside, a, 0), np.where(inside, b, 0))


def test_dtype_of_the_output_is_that_of_q_and_softmax_is_float32():
    args = case(3, dtype=jnp.bfloat16)
    out = attention.attend(*(jnp.asarray(a) for a in args))
    assert out.dtype == jnp.bfloat16
    exact = by_definition(*(np.asarray(a, np.float32) for a in args[:3]), *args[3:])
    np.testing.assert_allclose(np.asarray(out, np.float32), exact, atol=0.02)


def test_heads_split_over_devices_give_the_same():
    args = case(4, B=4)
    layout, mesh = Layout(), make_mesh(data=2, fsdp=2, tensor=2)
    with jax.set_mesh(mesh):
        specs = (layout.act_BTNH, layout.act_BTKH, layout.act_BTKH, layout.row_BT, layout.row_BT)
        placed = [
            jax.device_put(a, NamedSharding(mesh, spec))
            for a, spec in zip(args, specs, strict=True)
        ]
        for backend in ANYWHERE:
            out = jax.jit(attention.BACKENDS[backend])(*placed)
            assert out.sharding.spec == P(("data", "fsdp"), None, "tensor", None)
            np.testing.assert_allclose(out, by_definition(*args), atol=2e-6)


def test_fewer_queries_than_keys():
    q, k, v, see_from, see_to = case(5)
    some = np.array([[3, 30, 0], [36, 7, 8]])
    few = lambda x: np.stack([row[at] for row, at in zip(x, some, strict=True)])
    found = attention.attend(few(q), k, v, few(see_from), few(see_to), backend="blocks")
    np.testing.assert_allclose(found, few(by_definition(q, k, v, see_from, see_to)), atol=2e-6)


def test_unknown_backend_is_named():
    with pytest.raises(ValueError, match="'flash'.*auto.*dense.*blocks"):
        attention.attend(*case(0), backend="flash")


@pytest.mark.parametrize("backend", ANYWHERE)
def test_all_query_heads_may_share_one_kv_head_on_a_mesh(backend):
    q, k, v, see_from, see_to = case(7, B=8)
    expected = attention.dense(q[:, :, :2], k[:, :, :1], v[:, :, :1], see_from, see_to)
    layout, mesh = Layout(), make_mesh(data=8)
    with jax.set_mesh(mesh):
        put = lambda x, spec: jax.device_put(x, NamedSharding(mesh, spec))
        args = (
            put(q[:, :, :2], layout.act_BTNH),
            put(k[:, :, :1], layout.act_BTKH),
            put(v[:, :, :1], layout.act_BTKH),
        )
        found = jax.jit(attention.BACKENDS[backend])(
            *args, put(see_from, layout.row_BT), put(see_to, layout.row_BT)
        )
    np.testing.assert_allclose(found, expected, atol=2e-6)
