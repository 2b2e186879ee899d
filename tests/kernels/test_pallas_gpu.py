"""The GPU kernels interpreted on CPU, and lowered for a GPU that is not there."""

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


@pytest.mark.parametrize("case", CASES)
def test_packed_rows_equal_dense(case):
    heads, block, length = CASES[case]
    see = intervals(len(case), rows=3, length=length)
    args = (*inputs(2, see[0], **heads), *see)
    found = output_and_grads(lambda *x: pallas_gpu(*x, block, True))(*args)
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
