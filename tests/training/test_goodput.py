"""The account of a run's time, on a fake clock, and from real starts that were killed."""

import json

import pytest

from rewardjax.training import goodput
from rewardjax.training.metrics import MetricWriter


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """A clock for durations; the time of day goes with it."""
    clock = Clock()
    monkeypatch.setattr(goodput.time, "time", lambda: 1e9 + clock.now)
    return clock


def take_steps(ledger, clock, writer, steps, seconds=1.0):
    for step in steps:
        clock.now += seconds
        ledger.spent(goodput.PRODUCTIVE)
        ledger.reached(step)
        writer.write(step, {"loss": 0.5})


def account_of(workdir) -> dict:
    record = json.loads((workdir / goodput.FILE).read_text())
    assert sum(record["seconds"].values()) == pytest.approx(record["wall_seconds"])
    return record


def test_each_second_is_of_one_kind(tmp_path, clock):
    with goodput.keeping(tmp_path, began=clock.now - 5.0, clock=clock) as ledger:
        clock.now += 2
        ledger.begin(0)
        with_writer = MetricWriter(tmp_path, tensorboard=False)
        clock.now += 3
        ledger.spent(goodput.DATA_WAIT)
        ledger.compiled("/jax/core/compile/backend_compile_duration", 6.0)
        ledger.compiled("/jax/another/event", 50.0)
        take_steps(ledger, clock, with_writer, [1], seconds=10)
        # More than has passed, as where a thread compiles: no kind gets less than nothing.
        ledger.compiled("/jax/core/compile/backend_compile_duration", 90.0)
        take_steps(ledger, clock, with_writer, [2], seconds=1)
        clock.now += 4
        ledger.spent(goodput.EVALUATION)
        clock.now += 1.5
        ledger.spent(goodput.CHECKPOINT)
        clock.now += 0.5
    seconds = account_of(tmp_path)["seconds"]
    assert seconds == {
        "start_up": 7.0,
        "compile": 7.0,
        "data_wait": 3.0,
        "productive": 4.0,
        "evaluation": 4.0,
        "checkpoint": 1.5,
        "ending": 0.5,
        "lost_to_restarts": 0.0,
        "idle": 0.0,
    }


def start(workdir, clock, first_step, last_step, saves=(), killed=True):
    """A start of one second per step that begins a minute after the one before it."""
    clock.now += 60
    with goodput.keeping(workdir, began=clock.now, clock=clock) as ledger:
        ledger.begin(first_step)
        writer = MetricWriter(workdir, start_step=first_step + 1, tensorboard=False)
        for step in range(first_step + 1, last_step + 1):
            take_steps(ledger, clock, writer, [step])
            if step in saves:
                clock.now += 0.5
                ledger.spent(goodput.CHECKPOINT)
                ledger.saved(step)
        writer.close()
        if killed:
            # Its last steps are in metrics.jsonl alone.
            ledger.reached(first_step)


def test_work_that_a_kill_undid_is_lost_and_its_steps_are_repeated(tmp_path, clock):
    start(tmp_path, clock, 0, 25, saves=(10, 20))
    start(tmp_path, clock, 20, 30, killed=False)
    record = account_of(tmp_path)
    assert record["steps"] == 30 and record["repeated_steps"] == 5
    assert record["seconds"]["lost_to_restarts"] == pytest.approx(5.0)
    assert record["seconds"]["productive"] == pytest.approx(30.0)
    assert record["seconds"]["checkpoint"] == pytest.approx(1.0)
    assert record["seconds"]["idle"] == pytest.approx(60.0)
    assert record["goodput"] == pytest.approx(30 / 96)


def test_steps_are_repeated_from_where_a_start_went_on_whatever_the_killed_one_had_noted(tmp_path):
    """It was killed after its save at step 2 and before it had written that down."""
    began = goodput.Mark(step=0, seconds=dict.fromkeys(goodput.SPENT, 0.0))
    killed = goodput.Start(
        began=1e9, reached=4, seconds=dict.fromkeys(goodput.SPENT, 1.0), marks=[began]
    )
    second = goodput.Start(
        began=1.1e9,
        reached=6,
        seconds=dict.fromkeys(goodput.SPENT, 1.0),
        marks=[began | {"step": 2}],
    )
    assert goodput.account([killed, second]).repeated_steps == 2


def test_a_start_that_goes_further_back_undoes_the_work_of_all_before_it(tmp_path, clock):
    """Step 20 proved damaged, and the third start went on from step 10."""
    start(tmp_path, clock, 0, 22, saves=(10, 20))
    start(tmp_path, clock, 20, 24)
    start(tmp_path, clock, 10, 30, killed=False)
    record = account_of(tmp_path)
    assert record["steps"] == 30 and record["repeated_steps"] == 12 + 4
    assert record["seconds"]["productive"] == pytest.approx(30.0)
    # 12 steps and the save of step 20, and 4 steps.
    assert record["seconds"]["lost_to_restarts"] == pytest.approx(12 + 0.5 + 4)


def test_a_run_that_saved_before_it_left_loses_nothing(tmp_path, clock):
    start(tmp_path, clock, 0, 7, saves=(7,), killed=False)
    start(tmp_path, clock, 7, 9, killed=False)
    record = account_of(tmp_path)
    assert record["repeated_steps"] == 0 and record["seconds"]["lost_to_restarts"] == 0.0
    assert "repeated" not in goodput.account(goodput.read(tmp_path)).sentence()


def test_a_start_that_is_refused_leaves_no_account(tmp_path, clock):
    with goodput.keeping(tmp_path, began=clock.now, clock=clock):
        clock.now += 3
    assert not (tmp_path / goodput.FILE).exists()


def test_a_damaged_account_is_told_and_stops_no_run(tmp_path, clock, capsys):
    (tmp_path / goodput.FILE).write_text('{"starts": [{"began": 1}]}')
    start(tmp_path, clock, 0, 3, killed=False)
    assert "goodput.json is damaged" in capsys.readouterr().err
    assert account_of(tmp_path)["steps"] == 3
