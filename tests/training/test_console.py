"""What a run says of its evaluations."""

import pathlib
import types

from tiny import ROOT

from rewardjax import config as config_lib
from rewardjax import own_data
from rewardjax.training import console, overview

RESULTS = {
    "heldout/pairs": 40,
    "heldout/accuracy": 0.6543,
    "heldout/wilson_low": 0.6241,
    "heldout/wilson_high": 0.6832,
    "bench/headline": 0.5,
    "ties/accuracy": None,
}


def test_figures_are_told_with_the_set_and_the_source_that_they_are_of():
    config = config_lib.load(own_data.__file__, {"data.source": "some/folder/pairs.jsonl"})
    with config.unlocked():
        config.benchmarks.bench = dict(benchmark="rewardjax.evaluators.benchmarks.llmbar")
    names = console.names_of(config)
    assert names == {"heldout": "heldout (pairs.jsonl, 5%)", "bench": "bench (llmbar)"}
    assert list(console.lines(40, 47, RESULTS, names)) == [
        "step 40/47  heldout (pairs.jsonl, 5%)  0.654 (0.624-0.683)",
        "step 40/47  bench (llmbar)  0.500",
    ]
    told = console.ending(pathlib.Path("runs/mine"), RESULTS, names)
    assert "heldout (pairs.jsonl, 5%)  40     0.654 (0.624-0.683)" in told
    assert "runs/mine/report.html" in told and "--output runs/mine/hf" in told


def test_on_a_narrow_terminal_the_table_gives_way_to_a_line_for_each_set():
    config = config_lib.load(own_data.__file__, {"data.source": "some/folder/pairs.jsonl"})
    names = console.names_of(config)
    wide = console.ending(pathlib.Path("runs/mine"), RESULTS, names, 80)
    assert wide.startswith("measured on")
    narrow = console.ending(pathlib.Path("runs/mine"), RESULTS, names, 40)
    assert narrow.startswith("heldout (pairs.jsonl, 5%)  0.654 (0.624-0.683)\nreport")


def test_the_start_says_what_of_each_set_was_kept_and_lost():
    manifest = {"records": {"kept": 7, "outside_part": 2, "without_pairs": 0}}
    manifest["pairs"] = {"kept": 9, "sampled_out": 1}
    manifest["dropped"] = {
        "equal": {"pairs": 3, "records": 2},
        "bad_line": {"pairs": 0, "records": 1},
    }
    pairs = types.SimpleNamespace(manifest=manifest)
    assert overview.kept("evals.heldout", pairs) == (
        "  heldout     9 pairs of 7 records kept; pairs dropped: 3 equal; records dropped: "
        "1 bad_line; 1 pairs left out by data.pairs_per_group; 2 records outside data.part"
    )


def test_an_address_and_a_split_are_named_whole():
    config = config_lib.load(ROOT / "configs/tiny.py", {"evals.heldout.split": "test"})
    assert console.names_of(config)["heldout"] == "heldout (world:heldout?num=32, test)"
    config = config_lib.load(own_data.__file__, {"data.source": "hf://ORG/NAME"})
    assert console.names_of(config)["heldout"] == "heldout (hf://ORG/NAME, 5%)"


def test_what_was_not_measured_is_said():
    (line,) = console.lines(1, 2, RESULTS, {"ties": "ties (x.jsonl)"})
    assert line.endswith("no pair with a preference")
    assert "no held-out set" in console.ending(pathlib.Path("run"), {}, {})


def test_an_accelerator_that_nobody_uses_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    assert overview.idle_accelerator(tmp_path) is None
    (tmp_path / "nvidia0").touch()
    assert "an NVIDIA GPU" in overview.idle_accelerator(tmp_path)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert overview.idle_accelerator(tmp_path) is None
