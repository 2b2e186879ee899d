"""The eight release configs say what the paper says."""

import math
import pathlib

import pytest
from tiny import ROOT

from rewardjax import config as config_lib
from rewardjax.aot.topology import parse, torus_dimensions

PATHS = sorted(
    path for path in (ROOT / "configs/skywork_v2").glob("*.py") if path.stem != "release"
)


def test_there_are_eight():
    assert len(PATHS) == 8


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_recipes_are_those_of_the_paper(path: pathlib.Path):
    final = config_lib.load(path)
    assert (
        final.batch.pairs,
        final.schedule.name,
        final.schedule.peak,
        final.schedule.warmup_fraction,
    ) == (10_240, "constant", 3e-6, 0.0)
    development = config_lib.load(f"{path}:recipe=development")
    rate = 1e-6 if "8b" in path.stem else 4e-6
    assert (development.batch.pairs, development.schedule.name, development.schedule.peak) == (
        256,
        "linear",
        rate,
    )
    for config in (final, development):
        assert (
            config.data.max_length
            == config.data.max_pair_length
            == config.batch.row_length
            == 16_384
        )
        options = {name: value for name, value in config.loss.items() if value is not None}
        assert options == dict(name="bradley_terry") and config.epochs == 1.0


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_mesh_is_whole_dimensions_of_the_slices_it_is_meant_for(path: pathlib.Path):
    slices = config_lib.load_module(path).slices()
    assert {name.partition(":")[0] for name in slices} == {"v5e", "v5p", "v6e", "h100", "h200"}
    for name in slices:
        config = config_lib.load(f"{path}:slice={name}")
        data, fsdp = config.mesh.data, config.mesh.fsdp
        assert config.batch.rows % (data * fsdp) == 0
        if name.startswith("h"):
            assert data * fsdp == int(name.partition(":")[2])
        else:
            sides = parse(name)[1]
            assert data * fsdp == math.prod(sides) and fsdp > 1
            assert torus_dimensions(sides, fsdp) > 0 and torus_dimensions(sides, data) > 0
            # An axis over every dimension of the torus makes the compiler reduce gradients whole
            # instead of scattering them.
            assert torus_dimensions(sides, fsdp) < len(sides)


def test_only_the_40m_model_reads_the_flipped_pairs_too():
    sources = {path.stem: config_lib.load(path).data.source for path in PATHS}
    assert [name for name, source in sources.items() if "flipped" in source] == ["llama3_1_8b_40m"]


@pytest.mark.parametrize(
    "arg, message",
    [
        ("slice=v5p:8x8x8", "qwen3-0.6b is spread over v5e:4x4, .*--search"),
        ("recipe=sft", "final or development"),
        ("model=gpt", "qwen3-8b"),
    ],
)
def test_arguments_out_of_range_are_named(arg, message):
    with pytest.raises(ValueError, match=message):
        config_lib.load(ROOT / f"configs/skywork_v2/release.py:{arg}")
