"""The table of TPU slices."""

import pytest

from launch.accelerators import ACCELERATORS, Slice


@pytest.mark.parametrize(
    "text, hosts, chips_per_host",
    [
        ("v4:2x2x1", 1, 4),
        ("v4:2x2x4", 4, 4),
        ("v5e:1x1", 1, 1),
        ("v5e:2x2", 1, 4),
        ("v5e:2x4", 2, 4),
        ("v5e:4x4", 4, 4),
        ("v5e:16x16", 64, 4),
        ("v5p:2x2x1", 1, 4),
        ("v5p:2x2x4", 4, 4),
        ("v5p:4x4x4", 16, 4),
        ("v5p:8x8x8", 128, 4),
        ("v5p:4x8x12", 96, 4),
        ("v6e:1x1", 1, 1),
        ("v6e:8x8", 16, 4),
        ("v6e:16x16", 64, 4),
        ("tpu7x:4x4x4", 16, 4),
    ],
)
def test_hosts_of_a_slice(text, hosts, chips_per_host):
    tpu = Slice.parse(text)
    assert (tpu.hosts, tpu.chips_per_host) == (hosts, chips_per_host)
    assert tpu.hosts * tpu.chips_per_host == tpu.chips


def test_every_listed_topology_is_whole_hosts():
    for name, accelerator in ACCELERATORS.items():
        assert len({len(topology.split("x")) for topology in accelerator.small}) == 1
        for topology in accelerator.small:
            tpu = Slice(name, topology)
            assert tpu.hosts * tpu.chips_per_host == tpu.chips


@pytest.mark.parametrize(
    "text, message",
    [
        ("v5e", "write ACCELERATOR:TOPOLOGY"),
        ("v5f:4x4", "unknown accelerator 'v5f'; known: v4, v5e"),
        ("v5e:4x4x4", "v5e has no topology '4x4x4'"),
        ("v5e:3x4", "no topology"),
        ("v5e:", "no topology"),
        ("v5p:4x4", "multiples of 4"),
        ("v5p:8x4x4", "A <= B <= C"),
        ("v5p:4x4x6", "multiples of 4"),
        ("v5p:0x4x4", "multiples of 4"),
        ("v5p:04x4x4", "multiples of 4"),
        ("v5p:4x4x4x4", "multiples of 4"),
    ],
)
def test_a_shape_that_cannot_be_had_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Slice.parse(text)
