"""What the storms count, on lines written here; and the storms themselves, at their smallest."""

import json
import subprocess
import sys

import pytest
from tiny import ROOT

from benchmarks import exit_codes, kill_storm
from benchmarks.trainers import Layout


@pytest.fixture
def run(tmp_path):
    """A function that makes a run of the given lines of metrics and units of steps."""

    def make(name, rows, units):
        made = kill_storm.Run(tmp_path, name, tmp_path / "cache", steps=4)
        folder = made.workdir / "checkpoints/4/meta"
        folder.mkdir(parents=True)
        (folder / "metadata").write_text(json.dumps({"fingerprints": {"params": "ab"}}))
        (made.workdir / "goodput.json").write_text(json.dumps({"repeated_steps": 1}))
        lines = [json.dumps(row) for row in rows] + ['{"step": 9, "lo']
        (made.workdir / "metrics.jsonl").write_text("\n".join(lines))
        taken = [json.dumps({"step": step, "units": ids}) for step, ids in units]
        (made.trace / "units-0.jsonl").write_text("\n".join([*taken, '{"step": 9, "un']))
        return made

    return make


def losses(*pairs):
    return [{"step": step, "loss": loss, "grad_norm": 1.0} for step, loss in pairs]


UNITS = [(1, [4, 7]), (2, [1, 2])]


def test_a_repeated_step_must_have_the_same_loss_and_the_same_units(run):
    whole = run("whole", losses((1, 0.5), (2, 0.4)), UNITS)
    same = run("same", losses((1, 0.5), (2, 0.4), (2, 0.4)), UNITS + UNITS)
    assert kill_storm.compare(whole, same) == kill_storm.Compared(True, True, 3, 1, 1)
    other_loss = run("loss", losses((1, 0.5), (2, 0.40000001), (2, 0.4)), UNITS)
    assert not kill_storm.compare(whole, other_loss).bitwise
    missing = run("missing", losses((2, 0.4)), UNITS)
    assert not kill_storm.compare(whole, missing).bitwise
    other_units = run("units", losses((1, 0.5), (2, 0.4)), [*UNITS, (2, [2, 1])])
    assert not kill_storm.compare(whole, other_units).ids_equal


def test_the_first_loss_of_a_start_is_compared_with_that_of_the_start_before(run):
    rows = [{"start_step": 1}, *losses((1, 0.5), (2, 0.4), (3, 0.3))]
    rows += [{"start_step": 3}, *losses((3, 0.3003), (4, 0.2))]
    rows += [{"start_step": 5}, *losses((5, 0.1))]  # nobody had taken step 5
    assert kill_storm.changes(run("changed", rows, UNITS)) == [pytest.approx(0.001)]


def test_the_band_is_what_uninterrupted_runs_have_grown_apart_by_then():
    alone = [{1: [0.5], 2: [0.40], 3: [0.3]}, {1: [0.5], 2: [0.42], 3: [0.3]}]
    spread, apart = kill_storm.band(alone, {1: [0.5], 2: [0.43, 0.41], 3: [0.35]})
    assert spread == {1: 0.0, 2: pytest.approx(0.02), 3: pytest.approx(0.02)}
    assert apart == {1: 0.0, 2: pytest.approx(0.01), 3: pytest.approx(0.05)}


def test_a_code_that_is_wrong_or_late_fails_the_table():
    assert exit_codes.Ended([42, 42], [42, 42], 1.0, 5.0).is_right()
    assert exit_codes.Ended([3], [3], 100.0).is_right()
    assert not exit_codes.Ended([42, 42], [42, 42], 5.1, 5.0).is_right()
    assert not exit_codes.Ended([42, 42], [42, 134], 1.0, 5.0).is_right()
    assert not exit_codes.Ended([0], [None], 1.0).is_right()
    assert not exit_codes.Ended([43], [43], 0.1, 13.0, soonest=11.0).is_right()


def test_layouts_name_their_mesh():
    assert Layout(2, 4, fsdp=2).flags() == [
        "--config.mesh.data=-1",
        "--config.mesh.fsdp=2",
        "--config.mesh.tensor=1",
    ]
    processes = {layout.processes * layout.devices for layout in kill_storm.LAYOUTS}
    assert len(set(kill_storm.LAYOUTS)) >= 8 and len(processes) >= 4


@pytest.fixture
def storm():
    """A function that runs a benchmark's smoke and returns its JSON line."""

    def run(name, *options):
        # In a process of its own: it forks, which one that has touched a device must not.
        command = [sys.executable, "-m", f"benchmarks.{name}", "--smoke", *options]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return json.loads(ended.stdout.splitlines()[-1])

    return run


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--topologies"]], ids=["kills", "topologies"])
def test_a_small_storm_changes_nothing(storm, options):
    result = storm("kill_storm", *options)
    assert result["ids_equal"]
    if options:
        assert result["first_steps"] >= 2 and result["first_step_within"] and result["within_band"]
    else:
        assert result["bitwise"] and result["kills"] >= 3 and result["terms"] >= 1
        assert result["repeated_steps"] == result["repeated_steps_by_goodput"]


@pytest.mark.slow
def test_every_code_is_what_the_table_says(storm):
    result = storm("exit_codes")
    assert result["all"], result["codes"]
