"""The table of release configs:

what it compiles, what it keeps, and where it is written. Compiling is tests/aot's.
"""

import json

import pytest
from tiny import ROOT

from benchmarks import aot_table
from rewardjax import config as config_lib

pytest.importorskip("libtpu", reason="its version is part of a row's name")

ROW = {
    "fits": True,
    "mesh": {"data": 4, "fsdp": 16, "tensor": 1},
    "remat": "full",
    "state_gib": 7.05,
    "temp_gib": 12.5,
    "needed_gib": 18.2,
    "limit_gib": 95.74,
    "collectives": {
        "all-gather": {"count": 3, "gib": 1.25},
        "all-to-all": {"count": 2, "gib": 0.5},
        "collective-permute": {"count": 1, "gib": 0.25},
    },
    "exchanges": {
        "of_table_size": 0,
        "float32_weight_gathers": 0,
        "full_weight_all_reduces_in_loop": 2,
    },
    "between_slices": {"count": 0, "in_loops": 0, "gib": 0.0},
    "compile": {"seconds": 60.0, "host_gib": 1.6},
    "mfu": 0.51,
    "run": {"days": 1.5, "chip_hours": 2304.0},
}


@pytest.fixture(scope="module")
def jobs():
    return aot_table.jobs("")


def test_all_eight_are_compiled_on_every_tpu_slice_they_name(jobs):
    assert len({job.model for job in jobs}) == 8
    for path in (ROOT / aot_table.FOLDER).glob("[!r]*.py"):
        named = [name for name in config_lib.load_module(path).slices() if name.startswith("v")]
        assert [job.topology for job in jobs if job.model == path.stem] == named


def test_several_slices_are_programs_of_their_own(jobs):
    of_slices = aot_table.jobs("qwen3_8b", on=["v6e:8x16"], slices=[1, 2, 4])
    assert [job.where for job in of_slices] == ["v6e:8x16", "2 x v6e:8x16", "4 x v6e:8x16"]
    assert of_slices[0] in jobs
    assert len({job.key for job in of_slices}) == 3


def test_models_that_differ_in_their_data_alone_share_a_program(jobs):
    keys = {(job.model, job.topology): job.key for job in jobs}
    assert keys["llama3_1_8b", "v5p:4x4x4"] == keys["llama3_1_8b_40m", "v5p:4x4x4"]
    assert len(set(keys.values())) == len(keys) - sum(
        model == "llama3_1_8b_40m" for model, _ in keys
    )


def test_a_row_in_the_cache_is_not_compiled_again(jobs, tmp_path):
    (tmp_path / f"{jobs[0].key}.json").write_text(json.dumps(ROW))
    assert aot_table.measured(jobs[0], tmp_path) == ROW


def test_a_table_has_a_line_a_program_and_says_what_does_not_fit(jobs):
    too_large = ROW | {"fits": False, "over_gib": 1.25, "collectives": {}, "mfu": None}
    header, _, fitting, over = aot_table.table({jobs[0]: ROW, jobs[1]: too_large})
    assert (
        "| 4 x 16 | full | 7.05 | 12.50 | 18.20 | 95.74 | 1.2 | 0.0 | 0.0 | 0.8 | 0.00 | 0.51 "
        "| 1.50 | 2304 |" in fitting
    )
    assert "does not fit" in over
    assert {line.count("|") for line in (header, fitting, over)} == {len(aot_table.COLUMNS) + 1}


def test_the_summary_names_what_is_missing_over_and_wrong(jobs):
    v5 = next(job for job in jobs if job.topology.startswith("v5p"))
    found = aot_table.summary({v5: ROW}, missing=[jobs[0]])
    assert found["missing"] == [f"{jobs[0].model} {jobs[0].topology}"] and found["over"] == []
    assert (found["programs"], found["fit"], found["full_weight_all_reduces_in_loop_v5"]) == (
        1,
        1,
        2,
    )
    assert found["live_to_causal_short"] <= 0.20 and found["live_to_causal_long"] <= 0.30


def test_writing_replaces_the_table_of_this_release_of_jax_alone(tmp_path, monkeypatch):
    document = tmp_path / "performance.md"
    document.write_text("# Title\n")
    for release, lines in (("0.10.2", ["old"]), ("0.12.0", ["other"]), ("0.10.3", ["new"])):
        monkeypatch.setattr(
            aot_table, "versions", lambda release=release: {"jax": release, "libtpu": "0.0.1"}
        )
        aot_table.write(document, lines, "aot_table")
    text = document.read_text()
    assert text.startswith("# Title\n") and "old" not in text
    assert (
        text.index("new") < text.index("other")
        and "jax 0.10.3" in text
        and "jax 0.10.2" not in text
    )
