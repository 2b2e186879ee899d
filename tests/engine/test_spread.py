"""Rounds of tasks: joined once, done again where they were lost, and told where nothing comes.

The tasks run in this process, one after another, as a job that has ended when it is looked at.
"""

import os
import pathlib

import pyarrow as pa
import pytest
from tasks_here import run_here

from rewardjax import config as config_lib
from rewardjax.engine import executors, spread, tasks
from rewardjax.engine.executors import Engine
from rewardjax.engine.jobs import Unfinished
from rewardjax.engine.tasks import Stopped, Unit, Watch

ENGINE = Engine("local", tasks=2)


class Ledger:
    """A stage of numbered units, each of which comes to one row, and what was done of them."""

    def __init__(self, folder, units=4):
        self.rows, self.joined, self.did = {}, [], []
        self.units = [Unit(f"{number:05d}", [f"pair {number}"]) for number in range(units)]
        self.settled = []
        self.work = spread.Work("stage", folder, self.missing, self.do, self.join, self)

    def missing(self):
        return [unit for unit in self.units if unit.name not in self.rows]

    def do(self, units, folder):
        for unit in units:
            self.did.append(unit.name)
            yield unit, pa.table({"about": unit.about})

    def join(self, unit, rows):
        self.joined.append(unit.name)
        self.rows[unit.name] = rows.column("about").to_pylist()

    def deal(self, folders, units):
        self.dealt = [path.name for path in folders]

    def settle(self, folder):
        self.settled.append(f"{folder.parent.name}/{folder.name}")


@pytest.fixture
def runs(monkeypatch):
    return run_here(monkeypatch)


def test_every_unit_is_done_and_joined_once(tmp_path, runs):
    ledger = Ledger(tmp_path, units=5)
    spread.run(ENGINE, ledger.work)
    assert sorted(ledger.did) == sorted(ledger.joined) == [unit.name for unit in ledger.units]
    assert ledger.rows["00003"] == ["pair 3"]
    assert ledger.dealt == ["task-00000", "task-00001"]
    assert ledger.settled == ["round-1/task-00000", "round-1/task-00001"]
    spread.run(ENGINE, ledger.work)
    assert len(ledger.did) == 5


def test_units_of_a_lost_task_are_done_by_another_round(tmp_path, runs, capsys):
    ledger = Ledger(tmp_path)
    runs += [1]
    spread.run(ENGINE, ledger.work)
    assert sorted(ledger.rows) == sorted(ledger.did) == sorted(ledger.joined)
    assert "stage: tasks ended before 2 of their units; they start again" in capsys.readouterr().err
    # What the first round paid is settled before the second one is dealt.
    assert ledger.settled[:2] == ["round-1/task-00000", "round-1/task-00001"]


def test_a_round_that_brings_nothing_is_told_with_the_first_failure_and_the_logs(tmp_path, runs):
    class Failing(Ledger):
        def do(self, units, folder):
            for unit, rows in super().do(units, folder):
                if unit.name != "00000":
                    raise RuntimeError("out of disk")
                yield unit, rows

    ledger = Failing(tmp_path)
    said = (
        r"stage: 3 units are not done.*2 tasks failed \(RuntimeError: out of disk\): see .*round-2"
    )
    with pytest.raises(Unfinished, match=said) as error:
        spread.run(ENGINE, ledger.work)
    assert "\n" not in str(error.value)
    # What was done stays done.
    assert list(ledger.rows) == ["00000"]


def test_why_tasks_stopped_is_told_as_they_say_it(tmp_path, runs):
    class Poor(Ledger):
        def do(self, units, folder):
            raise Stopped("out of money; raise budget.judges and run again")

    with pytest.raises(Unfinished, match="^out of money; raise budget.judges and run again$"):
        spread.run(ENGINE, Poor(tmp_path).work)


def run_until_killed_before_joining(ledger, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(spread, "_join", killed)
        spread.run(ENGINE, ledger.work)


def test_what_a_round_left_before_a_kill_is_joined_at_the_next_start(tmp_path, runs, monkeypatch):
    ledger = Ledger(tmp_path)
    run_until_killed_before_joining(ledger, monkeypatch)
    assert not ledger.rows and len(ledger.did) == 4
    spread.run(ENGINE, ledger.work)
    assert len(ledger.rows) == len(ledger.did) == 4
    assert (tmp_path / "round-1/over").exists() and not (tmp_path / "round-2").exists()


def test_rows_about_other_pairs_are_not_joined_under_the_same_name(tmp_path, runs, monkeypatch):
    ledger = Ledger(tmp_path)
    run_until_killed_before_joining(ledger, monkeypatch)
    # Pairs came in meanwhile, so that the unit is about others.
    ledger.units[1] = Unit("00001", ["a pair that came later"])
    spread.run(ENGINE, ledger.work)
    assert ledger.rows["00001"] == ["a pair that came later"]


def test_nothing_starts_while_a_task_of_an_earlier_start_may_still_work(
    tmp_path, runs, monkeypatch
):
    ledger = Ledger(tmp_path)
    (folder,) = tasks.deal(tmp_path / "round-1", ledger.units, 1)
    beats = [["works", "host", 1, count] for count in range(3)]

    def another_beat(seconds):
        if beats:
            config_lib.write_json(folder / "beat", beats.pop(0))
        else:
            monkeypatch.setattr(tasks, "LOST_AFTER", 0.0)
        assert not ledger.did

    config_lib.write_json(folder / "beat", ["works", "host", 1, -1])
    monkeypatch.setattr(spread, "sleep", another_beat)
    spread.run(ENGINE, ledger.work)
    assert not beats and len(ledger.rows) == 4


def test_a_task_that_beats_no_more_is_lost_and_one_that_ended_is_not(tmp_path, monkeypatch):
    folders = tasks.deal(tmp_path, [Unit(str(number), []) for number in range(3)], 3)
    watch = Watch(folders)
    assert watch.look() == (0, 0)
    config_lib.write_json(folders[0] / "beat", ["works", "host", 1, 0])
    config_lib.write_json(folders[1] / "beat", ["ended", "host", 1, 0])
    assert watch.look() == (1, 0)
    monkeypatch.setattr(tasks, "LOST_AFTER", 0.0)
    assert watch.look() == (0, 1)


def test_a_task_ends_when_nobody_waits_for_its_round(tmp_path, monkeypatch):
    codes = []

    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(tasks, "BEAT_EVERY", 0.01)
    (folder,) = tasks.deal(tmp_path / "round-1", [Unit("0", [])], 1)
    (tmp_path / "round-1/over").touch()

    def do(units, folder):
        while not codes:
            pass
        yield units[0], pa.table({"x": [1]})

    list(tasks.run_task(None, 0, 1, round_folder=str(tmp_path / "round-1"), do=do))
    assert set(codes) == {1}


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"name": "cloud"}, "engine.name = 'cloud' is not one of local, slurm, ray"),
        ({"name": "local", "tasks": 0}, "engine.tasks = 0, must be at least 1"),
        (
            {"name": "local", "options": {"workrs": 2}},
            "engine.options: local does not take .*workrs",
        ),
        ({"name": "slurm"}, "engine.options: slurm does not take .*time.*partition"),
    ],
)
def test_an_engine_that_cannot_work_is_refused_with_its_field(settings, said):
    with pytest.raises(ValueError, match=said):
        executors.check(Engine(**settings))
    assert not pathlib.Path("logs").exists()
