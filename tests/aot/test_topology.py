import sys

import pytest

from launch.accelerators import ACCELERATORS
from rewardjax.aot import topology

# Of a chip, from the vendor's system pages.
HBM_GIB = {"v5e": 16, "v5p": 95, "v6e": 32, "tpu7x": 192}


def test_the_kinds_are_those_that_jobs_can_be_started_on():
    assert set(topology.CHIPS) == set(ACCELERATORS) - {"v4"}
    for name, chip in topology.CHIPS.items():
        assert chip.dimensions == ACCELERATORS[name].dimensions
        # The compiler keeps a little of a chip's memory for itself.
        assert 0.95 * HBM_GIB[name] < chip.devices * chip.limit_gib < 1.01 * HBM_GIB[name]


@pytest.mark.parametrize(
    "name, message",
    [
        ("h200:8", "only TPU slices.*GPU.*config.steps=2"),
        ("cpu", "only TPU slices.*CPU"),
        ("v9:2x2", "unknown kind 'v9'.*v5p:4x4x4"),
        ("v5p:4x4", "v5p has 3 sides, as in v5p:4x4x4"),
        ("v5e:4xfour", "v5e has 2 sides"),
        ("v5e", "v5e has 2 sides"),
    ],
)
def test_what_cannot_be_compiled_for_is_refused(name, message):
    with pytest.raises(topology.CannotDescribe, match=message):
        topology.describe(name)


def test_without_libtpu_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "libtpu", None)
    monkeypatch.setattr(topology.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(topology.CannotDescribe, match=r"pip install 'rewardjax\[tpu\]'"):
        topology.describe("v5e:2x2")


def test_a_mesh_axis_lies_along_whole_dimensions():
    assert topology.torus_dimensions((4, 4, 4), 16) == 2
    assert topology.torus_dimensions((4, 4, 4), 8) == 0
    assert topology.torus_dimensions((8, 16), 16) == 1
    assert topology.torus_dimensions((2, 2, 4), 4) == 2
    assert topology.torus_dimensions((4, 4), 1) == 0


def test_mesh_shapes_cover_the_slice_and_split_no_dimension():
    assert topology.mesh_shapes((8, 16), topology.CHIPS["v5e"]) == [
        (1, 128),
        (8, 16),
        (16, 8),
        (128, 1),
    ]
    assert topology.mesh_shapes((4, 4, 4), topology.CHIPS["v5p"]) == [
        (1, 64),
        (4, 16),
        (16, 4),
        (64, 1),
    ]
    assert topology.mesh_shapes((2, 2, 1), topology.CHIPS["tpu7x"]) == [
        (1, 8),
        (2, 4),
        (4, 2),
        (8, 1),
    ]


def test_slices_are_more_of_data():
    assert topology.mesh_shapes((8, 16), topology.CHIPS["v5e"], slices=2) == [
        (2, 128),
        (16, 16),
        (32, 8),
        (256, 1),
    ]
