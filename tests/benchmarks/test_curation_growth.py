"""The benchmark of curation at growing sizes: every step runs, and figures mean what they say."""

import subprocess

import pytest

from benchmarks import curation_growth
from rewardjax.curation.judges import scripted_server
from rewardjax.curation.judges.scripted_judge import Behavior, Truth

PAIRS = 400


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What each step came to, run in this process one after another."""
    folder = tmp_path_factory.mktemp("growth")
    curation_growth.write_source(folder / "source.parquet", PAIRS)
    behaviors = {name: Behavior() for name in curation_growth.JUDGES}
    figures = {}
    with scripted_server.serve(behaviors, Truth()) as server:
        for step in curation_growth.STEPS:
            figures[step] = curation_growth.run_step(folder, PAIRS, step, server.url)
        asked = dict(server.paid)
    return {step: each["outcome"] for step, each in figures.items()}, asked


def test_no_pair_gets_lost_on_the_way(outcomes):
    outcome, _ = outcomes
    assert outcome["import"]["pairs"] == PAIRS
    # People's pairs are gold: nobody decides about them.
    assert sum(outcome["decide"].values()) == PAIRS
    assert 0 < outcome["export"]["written"] <= PAIRS
    assert outcome["retrieve"]["retrieved"] == 3


def test_a_sample_is_asked_over_http(outcomes):
    _, asked = outcomes
    # Of 400 pairs 4 are described, of the 396 that are no gold 4 judged, by both models.
    questions = 4 * 1 + 4 * curation_growth.SAMPLES
    assert set(asked) and sum(asked.values()) >= len(curation_growth.JUDGES) * questions


def test_growth_is_read_beyond_the_smallest_size_along_the_last_two():
    by_size = {
        # Five seconds before the first pair.
        10: {"cpu_seconds": 6.0, "peak_mb": 100.0},
        20: {"cpu_seconds": 7.0, "peak_mb": 100.0},
        40: {"cpu_seconds": 9.6, "peak_mb": 100.0},
    }
    grown = curation_growth.grown(by_size)
    assert grown["start_seconds"] == 6.0
    assert grown["cpu_ms_per_pair"] == [100.0, 120.0] and grown["worst_growth"] == 0.2
    assert grown["bytes_per_pair"] == 0
    assert grown["at_40m"]["cpu_hours"] == pytest.approx(curation_growth.MANY * 0.13 / 3600, 1e-4)


def test_what_was_measured_is_reported_when_a_step_fails(tmp_path, monkeypatch):
    def child(folder, pairs, step, server):
        (folder / "workspace").mkdir(exist_ok=True)
        if (pairs, step) == (20, "clean"):
            raise subprocess.CalledProcessError(1, "clean")
        return {"cpu_seconds": 1.0, "peak_mb": 1.0}

    monkeypatch.setattr(curation_growth, "_in_a_child", child)
    figures = curation_growth.measure(tmp_path, [5, 10, 20], ["import", "clean"])
    assert figures["steps"]["import"]["pairs"] == [10, 20]
    assert figures["steps"]["clean"]["pairs"] == [10]
    assert "clean" in figures["stopped"][0]


def test_a_short_step_is_run_again_at_all_sizes_in_turns_each_from_the_same_state(
    tmp_path, monkeypatch
):
    asked = []

    def child(folder, pairs, step, server):
        done = folder / "workspace" / step
        done.parent.mkdir(exist_ok=True)
        assert not done.exists(), "a step that is done costs nothing"
        assert (folder / "workspace" / "import").exists() == (step != "import")
        done.write_text("done")
        # A database that is written in place, which the runs must not share.
        calls = folder / "workspace" / "calls.sqlite"
        with calls.open("a") as file:
            file.write(step)
        assert calls.read_text().count(step) == 1
        asked.append((step, pairs))
        seconds = {"import": float(len(asked)), "embed": 70.0}[step]
        return {"cpu_seconds": seconds, "peak_mb": 1.0, "memory_before_mb": 0.0}

    monkeypatch.setattr(curation_growth, "_in_a_child", child)
    measured = curation_growth.measure(tmp_path, [5, 10, 20], ["import", "embed"], at_once=2)
    imports = [pairs for step, pairs in asked if step == "import"]
    assert sorted(imports[:3]) == [5, 10, 20] and imports[3:] == 3 * [5, 10, 20]
    # The runs beside each other do not count: of three turns the second.
    assert measured["steps"]["import"]["cpu_seconds"] == [8.0, 9.0]
    assert [pairs for step, pairs in asked if step == "embed"].count(20) == 1
    assert not list(tmp_path.glob("*/before"))
