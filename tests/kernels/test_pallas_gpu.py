"""The GPU kernels interpreted on CPU, lowered for a GPU that is not there, and run on one that is.

JAX_PLATFORMS=cuda XLA_FLAGS= python -m pytest tests/kernels/test_pallas_gpu.py
"""

import jax
import jax.numpy as jnp
import pytest
from packings import assert_same, inputs, intervals, output_and_grads

from rewardjax.kernels import attention
from rewardjax.kernels.pallas_gpu import pallas_gpu

CASES = {
    "head dim 64, GQA, rows filled up": (dict(heads=4, kv_heads=2, head_dim=64), 16, 90),
    "head dim 128, one kv head": (dict(heads=2, kv_heads=1, head_dim=128), 32, 128),
    "a head dim that is filled up": (dict(heads=2, kv_heads=2, head_dim=12), 16, 64),
}


@pytest.fixture
def gpu():
    if jax.default_backend() != "gpu":
        pytest.skip("no GPU, or JAX_PLATFORMS is not cuda")


@pytest.mark.parametrize("case", CASES)
def test_packed_rows_equal_dense(case):
    heads, block, length = CASES[case]
    see = intervals(len(case), rows=3, length=length)
    args = (*inputs(2, see[0], **heads), *see)
    found = output_and_grads(lambda *x: pallas_gpu(*x, block=block, interpret=True))(*args)
    assert_same(found, output_and_grads(attention.dense)(*args), tolerance=5e-6)


def test_lowers_for_cuda():
    """All three kernels become Triton code;

    which code they become on the device, only a device can say.
    """
    x, i = (
        jax.ShapeDtypeStruct((2, 256, 4, 64), jnp.bfloat16),
        jax.ShapeDtypeStruct((2, 256), jnp.int32),
    )
    kv = jax.ShapeDtypeStruct((2, 256, 2, 64), jnp.bfloat16)
    kind = jax.sharding.AbstractDevice(device_kind="NVIDIA H200", num_cores=None, platform="gpu")
    mesh = jax.sharding.AbstractMesh((), (), abstract_device=kind)
    with jax.sharding.use_abstract_mesh(mesh):
        lowered = (
            output_and_grads(pallas_gpu)
            .trace(x, kv, kv, x, i, i)
            .lower(lowering_platforms=("cuda",))
        )
    text = lowered.as_text()
    assert all(f"attention_{kernel}" in text for kernel in ("forward", "dq", "dkv"))


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("head_dim", (12, 64, 128))
@pytest.mark.parametrize(("dtype", "tolerance"), ((jnp.float32, 1e-5), (jnp.bfloat16, 2e-2)))
def test_the_compiled_kernels_equal_dense_in_float32(dtype, tolerance, head_dim):
    see = intervals(3, rows=4, length=1000)
    exact = inputs(5, see[0], heads=8, kv_heads=2, head_dim=head_dim)
    args = [jnp.asarray(x, dtype) for x in exact]
    found = output_and_grads(pallas_gpu)(*args, *see)
    # The reference reads the same rounded numbers; by default a GPU would round its products too.
    with jax.default_matmul_precision("highest"):
        rounded = [x.astype(jnp.float32) for x in args]
        expected = output_and_grads(attention.dense)(*rounded, *see)
    assert_same(found, expected, tolerance)


@pytest.mark.usefixtures("gpu")
def test_the_compiled_kernels_give_the_same_bits_in_every_run():
    see = intervals(4, rows=3, length=512)
    args = inputs(6, see[0], heads=4, kv_heads=2, head_dim=64, dtype=jnp.bfloat16)
    run = output_and_grads(pallas_gpu)
    for first, second in zip(run(*args, *see), run(*args, *see), strict=True):
        assert jnp.array_equal(first, second)
