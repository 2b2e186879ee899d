"""Collectives are counted from the text of real programs, compiled for eight CPU devices."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from rewardjax.aot import hlo
from rewardjax.parallel.mesh import AXES

LAYERS, ROWS, WIDTH = 3, 16, 32


@pytest.fixture(scope="module")
def mesh():
    return jax.make_mesh((2, 4, 1), AXES)


@functools.cache
def compiled(function, mesh, *specs):
    """The collectives of `function` over arrays [LAYERS, WIDTH, WIDTH] and [ROWS, WIDTH], laid
    out as `specs` says.
    """
    shapes = ((LAYERS, WIDTH, WIDTH), (ROWS, WIDTH))
    with jax.set_mesh(mesh):
        args = [
            jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, spec))
            for shape, spec in zip(shapes, specs, strict=True)
        ]
        return hlo.collectives(jax.jit(function).lower(*args).compile().as_text(), 8)


def forward(w_LDD, x_BD):
    """Weights split over fsdp, rows over data and fsdp: each layer gathers its weight."""
    layer = lambda x_BD, w_DD: (
        jnp.tanh(jnp.einsum("BD,DE->BE", x_BD, w_DD, out_sharding=P(("data", "fsdp"), None))),
        None,
    )
    return jnp.sum(jax.lax.scan(layer, x_BD, w_LDD)[0])


SPLIT = (P(None, "fsdp", None), P(("data", "fsdp"), None))


def test_a_gather_in_a_loop_counts_once_a_turn(mesh):
    found = [one for one in compiled(forward, mesh, *SPLIT) if one.kind == "all-gather"]
    assert [(one.dtype, one.elements, one.times, one.in_loop, one.group) for one in found] == [
        ("f32", WIDTH**2, LAYERS, True, 4)
    ]
    assert found[0].bytes == 4 * WIDTH**2
    assert found[0].wire_bytes == LAYERS * 4 * WIDTH**2 * 3 / 4
    assert "while/body" in found[0].source


def test_sums_over_all_devices_are_outside_the_loop(mesh):
    sums = [one for one in compiled(forward, mesh, *SPLIT) if one.kind == "all-reduce"]
    assert [(one.elements, one.times, one.in_loop, one.group) for one in sums] == [(1, 1, False, 8)]


def test_the_gradient_of_a_split_weight_is_reduced_over_all_rows(mesh):
    found = compiled(jax.grad(forward), mesh, *SPLIT)
    reduced = sum(
        one.elements * one.times
        for one in found
        if one.kind in ("all-reduce", "reduce-scatter") and one.elements > 1
    )
    assert reduced >= LAYERS * WIDTH**2 / 4
    assert all(one.times == LAYERS for one in found if one.in_loop)


def test_whole_weights_are_not_exchanged(mesh):
    assert [one.elements for one in compiled(forward, mesh, P(None, None, None), SPLIT[1])] == [1]


def test_kinds_are_summed_over_turns(mesh):
    kinds = hlo.summary(compiled(forward, mesh, *SPLIT))
    assert kinds["all-gather"] == {"count": LAYERS, "gib": LAYERS * 4 * WIDTH**2 * 3 / 4 / 2**30}
    assert set(kinds) == {"all-gather", "all-reduce"}


TPU = """
%all-reduce-scatter.1 (input.1: bf16[64,128]) -> bf16[16,128] {
  %all-reduce.83 = bf16[64,128]{1,0:T(8,128)(2,1)} all-reduce(%input.1), channel_id=29, replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add
}

%overlapped (p: bf16[16,128]) -> bf16[64,128] {
  %all-gather.2 = bf16[64,128]{1,0:T(8,128)} all-gather(%p),channel_id=7,replica_groups=mesh['x'=4,'y'=2], device_ids=([2,4]T(1,0)) {'x'}
}

%overlapped_too (p: bf16[16,128]) -> bf16[64,128] {
  %all-gather.3 = bf16[64,128]{1,0:T(8,128)} all-gather(%p),channel_id=7,replica_groups=mesh['x'=4,'y'=2], device_ids=([2,4]T(1,0)) {'x'}
}

%condition (s: (s32[])) -> pred[] {
  %c = s32[]{:T(128)} constant(5)
  ROOT %compare = pred[]{:T(128)} compare(%i, %c), direction=LT
}

%body (s: (s32[])) -> (s32[]) {
  %f.1 = bf16[64,128]{1,0} fusion(%x), kind=kOutput, calls=%overlapped
  %f.2 = bf16[64,128]{1,0} fusion(%x), kind=kOutput, calls=%overlapped_too
  %f.3 = bf16[16,128]{1,0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter.1
  %two = (f32[8]{0:T(128)}, bf16[32,4]{1,0:T(8,128)(2,1)}) all-reduce(%a, %b), channel_id=9, replica_groups=[2,4]<=[8], to_apply=%add
}

ENTRY %main (a: f32[8]) -> f32[8] {
  %w = (s32[]{:T(128)}) while(%t), condition=%condition, body=%body
}
"""


def test_what_the_tpu_compiler_writes():
    """Overlapped copies share a channel, a reduce-scatter is a custom fusion around an all-reduce,
    and the loop's turns stand in its condition.
    """
    found = {one.kind: one for one in hlo.collectives(TPU, 8)}
    assert len(hlo.collectives(TPU, 8)) == 3
    assert all((one.times, one.in_loop, one.group) == (5, True, 4) for one in found.values())
    assert found["all-gather"].elements == found["reduce-scatter"].elements == 64 * 128
    assert found["reduce-scatter"].wire_bytes == 5 * 2 * 64 * 128 * 3 / 4
    assert (found["all-reduce"].elements, found["all-reduce"].bytes) == (128, 4 * 8 + 2 * 128)
    assert found["all-reduce"].shapes == ((8,), (32, 4))


def test_a_loop_without_a_known_number_of_turns_is_refused():
    with pytest.raises(ValueError, match="how often it turns"):
        hlo.collectives(TPU.replace("constant(5)", "parameter(0)"), 8)
