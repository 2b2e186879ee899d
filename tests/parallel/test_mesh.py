import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from rewardjax.parallel.mesh import AXES, Layout, make_mesh, place, row_share


@pytest.mark.parametrize(
    "sizes, shape",
    [
        ({}, (8, 1, 1)),
        (dict(data=2, fsdp=-1), (2, 4, 1)),
        (dict(data=1, fsdp=4, tensor=2), (1, 4, 2)),
    ],
)
def test_mesh_has_the_sizes_asked_for_and_explicit_axes(sizes, shape):
    mesh = make_mesh(**sizes)
    assert tuple(mesh.shape.items()) == tuple(zip(AXES, shape, strict=True))
    assert set(mesh.axis_types) == {jax.sharding.AxisType.Explicit}


@pytest.mark.parametrize(
    "sizes",
    [
        dict(data=2),
        dict(data=-1, fsdp=3),
        dict(data=16),
        dict(data=-1, fsdp=-1),
        dict(data=0),
        dict(data=-2),
    ],
)
def test_sizes_that_do_not_multiply_to_the_devices_are_refused(sizes):
    with pytest.raises(ValueError, match="-1"):
        make_mesh(**sizes)


def test_a_layout_refuses_an_axis_used_twice_or_unknown():
    with pytest.raises(ValueError, match="act_BTD.*only one axis"):
        Layout(act_BTD=P(("data", "fsdp"), None, "fsdp"))
    with pytest.raises(ValueError, match="up_DF.*'model'"):
        dataclasses.replace(Layout(), up_DF=P("model", None))
    with pytest.raises(TypeError):
        Layout(q_XYZ=P())


def test_every_layout_has_one_entry_for_each_letter_of_its_name():
    for field in dataclasses.fields(Layout):
        assert len(getattr(Layout(), field.name)) == len(field.name.split("_")[1])


def test_heads_that_do_not_divide_are_named_with_the_numbers():
    with jax.set_mesh(make_mesh(data=1, fsdp=2, tensor=4)):
        assert Layout().spec("q_DNH", (16, 8, 4)) == Layout().q_DNH
        with pytest.raises(ValueError, match="14 query heads .* tensor=4.*divisor of 14"):
            Layout().spec("q_DNH", (16, 14, 64))
        with pytest.raises(ValueError, match="2 kv heads .* tensor=4.*divisor of 2"):
            Layout().spec("kv_DKH", (16, 2, 64))
        with pytest.raises(ValueError, match="15 width .* fsdp=2"):
            Layout().spec("up_DF", (15, 8))


@pytest.mark.parametrize("shape", [(8, 1, 1), (2, 2, 2), (1, 1, 8)])
def test_place_keeps_the_values_and_splits_the_rows(shape):
    batch = dict(
        tokens=np.arange(48, dtype=np.int32).reshape(8, 6),
        weight=np.linspace(0, 1, 32, dtype=np.float32).reshape(2, 8, 2),
    )
    with jax.set_mesh(make_mesh(*shape)):
        placed = place(batch, Layout())
        assert row_share(Layout()) == (0, 1)
    rows = 8 // (shape[0] * shape[1])
    assert placed["tokens"].sharding.shard_shape((8, 6)) == (rows, 6)
    assert placed["weight"].sharding.shard_shape((2, 8, 2)) == (2, rows, 2)
    for name in batch:
        np.testing.assert_array_equal(placed[name], batch[name])
        assert placed[name].dtype == batch[name].dtype


def test_place_refuses_what_it_cannot_split():
    with jax.set_mesh(make_mesh()):
        with pytest.raises(ValueError, match="'tokens'.*6 rows.*8"):
            place(dict(tokens=np.zeros((6, 4))), Layout())
        with pytest.raises(ValueError, match="'weight'.*shape"):
            place(dict(weight=np.zeros(8)), Layout())
