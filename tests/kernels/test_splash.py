"""The TPU kernel interpreted on CPU, and compiled for TPUs that are not there."""

import functools
import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from packings import assert_same, inputs, intervals, output_and_grads

from rewardjax.kernels import attention, splash

CASES = {
    "head dim 64, GQA": (dict(heads=4, kv_heads=2, head_dim=64), 128, 384),
    "head dim 128, one kv head, rows filled up": (
        dict(heads=2, kv_heads=1, head_dim=128),
        None,
        200,
    ),
    "larger blocks": (dict(heads=2, kv_heads=2, head_dim=64), 256, 512),
}


@pytest.mark.parametrize("case", CASES)
def test_packed_rows_equal_dense(case):
    heads, block, length = CASES[case]
    see = intervals(len(case), rows=3, length=length)
    args = (*inputs(1, see[0], **heads), *see)
    found = output_and_grads(functools.partial(splash.splash, block=block, interpret=True))(*args)
    assert_same(found, output_and_grads(attention.dense)(*args), tolerance=5e-6)


def test_tables_name_the_next_live_tile():
    see_from, see_to = (jnp.asarray(x[0]) for x in intervals(3, rows=3, length=96))
    forward, dq, dkv = splash._tables(see_from, see_to, 16)
    live = np.asarray(forward.block_mask[0])
    assert 0 < live.sum() < live.size
    for table, order in ((forward, live), (dq, live), (dkv, live.T)):
        following = (
            np.asarray(table.data_next[0]) if table is not dkv else np.asarray(table.data_next[0]).T
        )
        visit = np.flatnonzero(order.ravel())
        for n, column in enumerate(following.ravel()):
            assert (
                column == visit[visit >= n][0] % order.shape[1]
            )  # the last tile is live: padding, or a bundle's end


def test_a_row_too_long_for_its_intervals_is_refused():
    x = np.zeros((1, 32_896, 1, 64), np.float32)
    see = np.zeros(x.shape[:2], np.int32)
    with pytest.raises(ValueError, match="32768 tokens, got 32896"):
        splash.splash(x, x, x, see, see)


AHEAD = """
import sys, jax, jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import NamedSharding, PartitionSpec as P, AxisType
from rewardjax.kernels.attention import attend
topology, T, N, K, H = sys.argv[1], *map(int, sys.argv[2:])
devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
mesh = jax.sharding.Mesh([[[d] for d in devices]], ("data", "fsdp", "tensor"), axis_types=(AxisType.Explicit,) * 3)
B = len(devices)
rows = lambda n: NamedSharding(mesh, P(("data", "fsdp"), *[None] * n))
arg = lambda dtype, *shape: jax.ShapeDtypeStruct((B, *shape), dtype, sharding=rows(len(shape)))
with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
    loss = lambda q, k, v, a, b: jnp.sum(attend(q, k, v, a, b, "auto").astype(jnp.float32))
    args = *(arg(jnp.bfloat16, T, n, H) for n in (N, K, K)), arg(jnp.int32, T), arg(jnp.int32, T)
    text = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).trace(*args).lower(lowering_platforms=("tpu",)).compile().as_text()
print(sum("custom-call(" in line and "splash" in line for line in text.splitlines()))
"""


@pytest.mark.parametrize(
    "topology, sizes", [("v5e:2x2", (1024, 4, 2, 64)), ("v5p:2x2x1", (1024, 2, 1, 128))]
)
def test_compiles_ahead_of_time(topology, sizes):
    """Forward, dq and dk/dv kernels, chosen because the mesh is of TPUs;

    in a process of its own, as libtpu is loaded once.
    """
    pytest.importorskip("libtpu")
    environment = dict(
        JAX_PLATFORMS="cpu",
        TPU_SKIP_MDS_QUERY="1",
        ALLOW_MULTIPLE_LIBTPU_LOAD="1",
        TPU_WORKER_HOSTNAMES="localhost",
    )
    environment["TPU_ACCELERATOR_TYPE"] = "v5litepod-16"
    command = [sys.executable, "-c", AHEAD, topology, *map(str, sizes)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 3
