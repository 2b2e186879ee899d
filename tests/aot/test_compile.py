"""The real step compiled for described slices, cut down in depth and width;

the eight releases in full are slow.
"""

import importlib.util
import json

import jax
import pytest
from tiny import ROOT

from rewardjax import compile as command
from rewardjax import config as config_lib
from rewardjax.aot import measure, program, retrieval
from rewardjax.aot.topology import describe
from rewardjax.data.rows.trees import ALSO_ARRAYS
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import Layout, make_mesh
from rewardjax.scoring import rows
from rewardjax.training.abstract import abstract_batch, abstract_model

if importlib.util.find_spec("libtpu") is None:
    pytest.skip("libtpu is not installed: pip install 'rewardjax[tpu]'", allow_module_level=True)


@pytest.fixture(scope="module", autouse=True)
def uncached():
    """Programs for a slice that is not there can be written to the compilation cache, but not
    read from it.
    """
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, 1e9)
    yield
    jax.config.update(name, before)


SMALL = dict(layers=2, width=256, mlp_width=512, heads=4, kv_heads=4, head_dim=128, vocab_size=4096)


def small_config(topology, changes=SMALL, **overrides):
    """A release config's spread over `topology`, with its real loss and optimizer, on a decoder
    of two small layers.
    """
    config = config_lib.load(ROOT / f"configs/skywork_v2/qwen3_0_6b.py:slice={topology}")
    config.model.changes = changes
    return config_lib.override(
        config, {"batch.row_length": 1024, "batch.pairs_per_row": 8} | overrides
    )


@pytest.fixture(scope="module", params=["v5e:4x4", "v5p:2x2x2"])
def measured(request):
    return measure.measure(small_config(request.param), describe(request.param))


def test_the_layout_exchanges_what_it_should(measured):
    """No exchange of the embedding table, weights travel as bfloat16, and a layer's gradients
    are scattered, not reduced whole.
    """
    assert measured["exchanges"] == {
        "of_table_size": 0,
        "float32_weight_gathers": 0,
        "full_weight_all_reduces_in_loop": 0,
    }
    assert (
        measured["collectives"]["all-gather"]["count"] > 0
        and measured["collectives"]["reduce-scatter"]["count"] > 0
    )


def test_state_is_what_adam_and_float32_accumulation_hold(measured):
    parameters = measured["state"]["parameters"]
    assert measured["state"]["gradients"] == pytest.approx(parameters, rel=1e-3)
    assert measured["state"]["optimizer"] == pytest.approx(2 * parameters, rel=1e-3)
    # Not all temporaries are there at once; the program itself takes some 20 MiB.
    assert (
        measured["fits"]
        and measured["state_gib"]
        < measured["needed_gib"]
        <= measured["state_gib"] + measured["temp_gib"] + 0.1
    )


def test_a_reader_sees_verdict_memory_exchanges_and_assumptions(measured):
    text = measure.text(measured)
    for part in ("fits: ", "temporary", "reduce-scatter", "MFU", "chip-hours", "assuming that"):
        assert part in text
    json.dumps(measured, allow_nan=False)


def test_a_program_that_is_too_large_says_by_how_much_and_what_would_help():
    """An embedding table of 32 GiB, which is 8 on a device, with its gradient and moments."""
    config = small_config(
        "v5e:4x4", SMALL | {"vocab_size": 2**25}, **{"batch.rows": 32, "compute.remat": "none"}
    )
    result = measure.measure(config, describe("v5e:4x4"))
    assert not result["fits"] and result["mfu"] is None
    assert (
        result["over_gib"] == pytest.approx(result["needed_gib"] - result["limit_gib"])
        and result["needed_gib"] > result["state_gib"] > 32
    )
    helps = "\n".join(result["what_helps"])
    for proposed in (
        "compute.remat=full: saves about",
        "batch.rows=16, one row per device",
        "mesh.data=1 mesh.fsdp=16",
        "optimizer.mu_dtype",
    ):
        assert proposed in helps
    for change in result["what_helps"]:
        settings = [word.strip(",") for word in change.partition(":")[0].split() if "=" in word]
        config_lib.override(small_config("v5e:4x4"), settings)  # what is proposed can be typed
    assert "DOES NOT FIT" in measure.text(result) and "what would make it fit" in measure.text(
        result
    )


def test_scoring_holds_nothing_but_weights():
    compiled = program.score(small_config("v5e:4x4"), describe("v5e:4x4"))
    assert compiled.fits and set(compiled.state_gib) == {"parameters"}
    assert [one.name for one in compiled.programs] == ["score"]


@pytest.mark.slow
def test_rows_of_trees_compile_for_a_slice():
    """Each layer but the last has two calls of the kernel for TPU, one for each interval."""
    config, topology = small_config("v5e:4x4"), describe("v5e:4x4")
    with jax.set_mesh(make_mesh(**config.mesh, devices=topology.devices)):
        compute = Compute(**{**config.compute, "remat": "none"})
        graph, params = abstract_model(config, compute, Layout())
        batch = abstract_batch(config.batch, Layout())
        batch |= dict.fromkeys(ALSO_ARRAYS, batch["see_from"])
        score_rows = rows.make_score_rows(graph)
        compiled = program.compile_for_slice("score", score_rows, params, batch)
    assert compiled.fits
    calls = [line for line in compiled.text.splitlines() if "tpu_custom_call" in line]
    assert sum("splash_mha_fwd" in line.partition("=")[0] for line in calls) == 2


@pytest.mark.parametrize("remat, runs", [("attn_out", 1), ("full", 2)])
def test_saving_attentions_output_spares_its_kernel_a_second_run(remat, runs):
    compiled = program.train(
        small_config("v5e:4x4", **{"compute.remat": remat}), describe("v5e:4x4")
    )
    calls = [line for line in compiled.programs[0].text.splitlines() if "tpu_custom_call" in line]
    assert sum("splash_mha_fwd" in line.partition("=")[0] for line in calls) == runs


def test_a_search_for_neighbors_is_planned():
    config = config_lib.load(
        ROOT / "configs/curation/retrieval.py", {"queries": 1000, "base": 100_000}
    )
    result = retrieval.measure(config, describe("v5e:4x4"))
    assert result["fits"] and result["base_rows_per_device"] == 6272 and result["steps"] == 1
    # Queries and base are held as bytes, the best so far as two int32.
    held = (1024 + 6272) * 256 + 1024 * 8 * 2 * 4
    assert result["state_gib"] * 2**30 == pytest.approx(held, rel=1e-3)
    assert list(result["collectives"]) == ["all-gather"]  # of the best of all devices
    assert "the 8 nearest of 100,000 vectors" in retrieval.text(result)


@pytest.mark.slow
@pytest.mark.parametrize("topology", ["v5e:2x4", "v5p:2x2x2"])
def test_slices_exchange_the_gradients_once_per_step_and_nothing_in_loops(topology):
    config = small_config(
        "v5e:4x4", **{"mesh.data": 4, "mesh.fsdp": 4, "batch.rows": 16, "batch.pairs": 4096}
    )
    result = measure.measure(config, describe(topology, slices=2))
    assert result["slices"] == 2 and result["chips"] == 16
    assert result["step"]["micro_batches"] > 1
    between = result["between_slices"]
    assert between["in_loops"] == 0
    # Of two slices each chip sends what its slice has added up: the float32 gradients over fsdp (in
    # state.gradients) and over the data of its slice. The metrics of a step are next to nothing.
    assert between["gib"] == pytest.approx(result["state"]["gradients"] / 2, rel=0.02)
    assert "between slices" in measure.text(result)


def test_rows_that_do_not_divide_over_the_slice_are_named():
    with pytest.raises(ValueError, match="batch.rows = 17 .* 16 row shards"):
        measure.measure(small_config("v5e:4x4", **{"batch.rows": 17}), describe("v5e:4x4"))


def test_the_command_takes_the_settings_of_the_slice_it_is_given():
    path = "configs/skywork_v2/qwen3_8b.py"
    assert command.load_config(str(ROOT / path), "v5p:4x4x4", 1, []).mesh.to_dict() == dict(
        data=4, fsdp=16, tensor=1
    )
    of_two = command.load_config(str(ROOT / path), "v5p:4x4x4", 2, [])
    assert of_two.mesh.to_dict() == dict(data=8, fsdp=16, tensor=1)
    assert of_two.batch.rows == 128
    changed = command.load_config(str(ROOT / path), "v5p:4x4x4", 1, ["mesh.data=16", "mesh.fsdp=4"])
    assert changed.mesh.to_dict() == dict(data=16, fsdp=4, tensor=1)


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--topology=h100:8"], "only TPU slices"),
        (["--topology=v5e:3x5"], "v5e:3x5"),
        (["--topology=v5e:4x4", "--config.mesh.fsdp=5"], "must multiply to the 16 devices"),
        (["--topology=v5e:4x4", "--slices=0"], "0 slices: at least 1"),
        (
            ["--topology=v5e:4x4", "--slices=2", "--config.mesh.data=1", "--config.mesh.fsdp=32"],
            "mesh.data = 1 must be a multiple of the 2 slices",
        ),
    ],
)
def test_mistakes_are_sentences(argv, message, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main([f"--config={ROOT}/configs/skywork_v2/qwen3_0_6b.py", *argv])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_mistakes_of_topology_and_config_are_told_together(capsys):
    config = f"--config={ROOT}/configs/skywork_v2/qwen3_0_6b.py"
    wrong = ["--config.eval_every=0", "--config.compute.remat=ful"]
    with pytest.raises(SystemExit):
        command.main([config, "--topology=h100:8", *wrong])
    topology, every, remat = capsys.readouterr().err.splitlines()
    assert "only TPU slices" in topology
    assert "eval_every = 0" in every and "compute.remat = 'ful'" in remat


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs/skywork_v2").glob("[!r]*.py")), ids=lambda path: path.stem
)
def test_every_release_in_full(path):
    module = config_lib.load_module(path)
    for topology in (name for name in module.slices() if name.startswith("v")):
        result = measure.measure(module.get_config(f"slice={topology}"), describe(topology))
        assert result["fits"]
        assert (
            result["exchanges"]["of_table_size"]
            == result["exchanges"]["float32_weight_gathers"]
            == 0
        )
        if topology.startswith("v5"):
            assert result["exchanges"]["full_weight_all_reduces_in_loop"] == 0
