"""A run says what it is at, on a terminal and in a log, and keeps it for `curate status`."""

import io
import json
import time

import pytest

from rewardjax.command import running as running_lib
from rewardjax.command.running import Running
from rewardjax.curation.overview import now


class Clock:
    """Seconds that a test sets."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def until(condition):
    """Wait for the speaker's thread."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_line_says_how_much_how_fast_and_how_long():
    clock = Clock()
    with Running(stream=io.StringIO(), clock=clock).step("tag", 5000, done=1000) as step:
        assert step.line() == "tag: 1,000 of 5,000 pairs (20%), 0:00 so far"
        clock.now = 100.0
        step.advance(199.5, "0.1200 dollars")
        step.advance(0.5)
        # At the pace of this process: what earlier ones did took their time.
        assert step.line() == (
            "tag: 1,200 of 5,000 pairs (24%), 2/s, 1:40 so far, ETA 31:40, 0.1200 dollars"
        )


def test_a_step_says_of_which_part_of_the_command_it_is():
    running = Running(stream=io.StringIO(), clock=Clock())
    with running.step("iteration 1", part="3/5") as outer:
        assert outer.line() == "[3/5] iteration 1: at work, 0:00 so far"
        with running.step("tag", 10) as inner:
            assert inner.line() == "[3/5] tag: 0 of 10 pairs (0%), 0:00 so far"
    with running.step("alone") as step:
        assert step.line() == "alone: at work, 0:00 so far"


def test_parts_are_numbered_with_the_time_so_far():
    clock = Clock()
    part = running_lib.Parts(2, clock=clock).next
    assert part("curate") == "[1/2] curate, 0:00 so far"
    clock.now = 100.0
    assert part("train") == "[2/2] train, 1:40 so far"


def test_parts_that_always_do_the_same_say_when_the_whole_ends():
    clock = Clock()
    part = running_lib.Parts(3, (0.05, 0.45, 0.5), clock).next
    assert part("look") == "[1/3] look, 0:00 so far"
    clock.now = 7.0
    # Too little is done to say.
    assert part("curate") == "[2/3] curate, 0:07 so far"
    clock.now = 60.0
    assert part("train") == "[3/3] train, 1:00 so far, ETA of the whole about 1:00"


def test_in_a_log_a_step_speaks_now_and_then_and_at_its_end():
    stream, clock = io.StringIO(), Clock()
    running = Running(stream=stream, every=0.02, clock=clock)
    with running.step("best-1"):
        until(
            lambda: clock.__setattr__("now", clock.now + 0.5) or stream.getvalue().count("\n") > 2
        )
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("best-1: at work, 0:0")
    assert lines[-1].endswith("so far, done or stopped") and "\r" not in stream.getvalue()


def test_a_step_is_never_silent_for_half_a_minute():
    assert running_lib.SPEAKS_EVERY <= 25


def test_a_short_step_says_nothing_in_a_log():
    stream = io.StringIO()
    with Running(stream=stream).step("tag", 10) as step:
        step.advance(10)
    assert stream.getvalue() == ""


def test_the_innermost_step_speaks():
    stream, clock = io.StringIO(), Clock()
    running = Running(stream=stream, every=0.02, clock=clock)
    with running.step("iteration 1"), running.step("label", 100):
        running.advance(7)
        until(lambda: clock.__setattr__("now", clock.now + 1) or stream.getvalue().count("\n") > 3)
        assert "iteration" not in stream.getvalue() and "label: 7 of 100 pairs" in stream.getvalue()


def test_on_a_terminal_it_is_a_bar():
    stream = Terminal()
    with Running(stream=stream, every=0.04).step("tag", 10, unit="row") as step:
        step.advance(4)
        until(lambda: "4/10" in stream.getvalue().replace(" ", ""))
    assert "\r" in stream.getvalue() and "tag" in stream.getvalue()


def test_status_is_told_what_the_run_is_at(tmp_path):
    assert now.sentence(tmp_path) == "no run was started yet"
    clock = Clock()
    running = Running(tmp_path, stream=io.StringIO(), clock=clock)
    with running.step("label-0-judges", 480) as step:
        clock.now = 10.0
        step.advance(120)
        with running.step("best-1"):
            pass
        state = json.loads((tmp_path / "running.json").read_text())
        assert state["step"] == "best-1" and state["total"] is None
    with running.step("label-1-judges", 480, done=20) as step:
        clock.now = 20.0
        step.advance(120)
        running.pause("raise budget.judges and run again")
    assert now.sentence(tmp_path) == "paused: raise budget.judges and run again"
    state = json.loads((tmp_path / "running.json").read_text())
    assert state["done"] == 140 and state["per_second"] == 12 and state["eta_seconds"] == 340 / 12
    Running(tmp_path).end()
    assert now.sentence(tmp_path) == "the last run came to its end"


@pytest.mark.parametrize(
    "seconds, word", [(3, "running: "), (600, "stopped: no word from process")]
)
def test_a_run_that_says_nothing_any_more_is_told_apart(tmp_path, seconds, word):
    clock = Clock()
    running = Running(tmp_path, stream=io.StringIO(), clock=clock)
    with running.step("embed", 1000) as step:
        step.advance(250)
        clock.now = 5.0
        running._write()
    said = now.sentence(tmp_path, time.time() + seconds)
    assert (
        said.startswith(word) and "embed, 250 of 1,000 pairs, 50/s, 0:05 so far, ETA 0:15" in said
    )
