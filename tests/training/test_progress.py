"""Progress and speed on a fake clock."""

import contextlib
import io
import os
import pty
import re
import termios

import pytest

from rewardjax.command.running import clock_text
from rewardjax.training.progress import Counts, Progress, roughly


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def progress(total=100, **kwargs):
    clock, stream = Clock(), io.StringIO()
    return Progress(total, stream=stream, clock=clock, **kwargs), clock, stream


COUNTS = Counts(pairs=8, unique_tokens=1000, padded_tokens=1250, flops=5e9)


def test_rates_skip_compilation_and_pauses():
    p, clock, _ = progress(peak=1e12)
    clock.now += 60  # compilation
    p.update(1, COUNTS)
    assert p.rates() == {} and p.eta() is None
    for step in range(2, 12):
        clock.now += 0.5
        p.update(step, COUNTS)
        with p.paused():
            clock.now += 30
    assert p.rates() == {
        "pairs_per_second": 16,
        "useful_tokens_per_second": 2000,
        "padded_tokens_per_second": 2500,
        "mfu": 0.01,
    }
    assert p.eta() == pytest.approx(89 * 0.5)
    assert p.rates() == {}  # a new window has begun
    assert p.state() == pytest.approx(65)


def test_elapsed_time_continues_over_restarts():
    p, clock, _ = progress(start_step=40, elapsed=500.0)
    clock.now += 7
    assert p.state() == 507
    p.update(41, COUNTS)
    clock.now += 1
    p.update(42, COUNTS)
    assert p.eta() == pytest.approx(58)  # at this process's pace, not 508 s / 42 steps
    assert p.line().startswith(
        "step 42/100 (42%), elapsed 8:28, ETA 0:58, 8 pairs/s, 1e+03 tokens/s"
    )


def test_the_line_of_steps_reported_together_has_the_pace_of_all_steps():
    """The last two steps are reported at once: the second has had no time of its own."""
    p, clock, stream = progress(total=4)
    for step in (1, 2):
        clock.now += 2
        p.update(step, COUNTS)
        p.rates()
    clock.now += 4
    p.update(3, COUNTS)
    p.rates()
    clock.now += 1e-4
    p.update(4, COUNTS)
    assert "step 4/4 (100%), elapsed 0:08, ETA 0:00, 4 pairs/s" in stream.getvalue()


def test_unknown_peak_means_no_mfu():
    p, clock, _ = progress(peak=None)
    p.update(1, COUNTS)
    clock.now += 1
    p.update(2, COUNTS)
    assert "mfu" not in p.rates() and "MFU" not in p.line()


def test_plain_lines_off_a_terminal_every_interval_and_at_the_end():
    p, clock, stream = progress(total=50, interval=10.0)
    for step in range(1, 51):
        clock.now += 1
        p.update(step, COUNTS, loss=0.1234567)
    p.close()
    # Beside them the time to expect, which has a test of its own.
    lines = [line for line in stream.getvalue().splitlines() if not line.startswith("about")]
    assert [line.split(" (")[0] for line in lines] == [
        f"step {k}/50" for k in (1, 11, 21, 31, 41, 50)
    ]
    assert all("loss 0.1235" in line for line in lines) and "ETA 0:00" in lines[-1]


def test_quiet_shows_nothing_and_a_terminal_gets_one_live_line():
    p, _, stream = progress(quiet=True)
    p.update(100, COUNTS)
    assert stream.getvalue() == ""
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    p = Progress(3, stream=terminal)
    for step in (1, 2, 3):
        p.update(step, COUNTS, loss=0.5)
    p.close()
    assert "step 3/3 (100%)" in terminal.getvalue() and terminal.getvalue().count("\n") <= 1


def test_a_narrow_terminal_loses_what_is_needed_least():
    p, clock, _ = progress(peak=1e12)
    for step in (1, 2, 3):
        clock.now += 1
        p.update(step, COUNTS, loss=0.5)
    whole = p.line()
    assert p.line(len(whole)) == whole and "tokens/s" in whole
    assert p.line(len(whole) - 1) == whole.replace(", 1e+03 tokens/s", "")
    assert p.line(40) == "step 3/100 (3%), ETA 1:37, loss 0.5"
    assert p.line(1) == "step 3/100 (3%), loss 0.5"


def test_the_time_to_expect_is_told_once_with_what_it_was_measured_on():
    p, clock, stream = progress(total=500, interval=1e9)
    p.update(1, COUNTS)  # the clock starts when the first step is done
    for step in (2, 3, 4):
        assert p.expected() == ""
        clock.now += 3
        p.update(step, COUNTS)
        with p.paused():
            clock.now += 60
    told = (
        "about 25 min for the 496 steps that are left, by the 3 steps so far (3 s each); "
        "evaluations and saves are not counted"
    )
    assert stream.getvalue().splitlines()[-1] == told and p.expected() == ""
    clock.now += 3
    p.update(5, COUNTS)
    assert stream.getvalue().count("that are left") == 1


def test_a_run_that_is_over_in_a_moment_is_not_forecast():
    p, clock, stream = progress(total=40)
    for step in range(1, 41):
        clock.now += 0.1
        p.update(step, COUNTS)
    clock.now += 60
    p.update(40, COUNTS)
    assert "that are left" not in stream.getvalue()


def test_a_line_that_is_said_stays_above_the_live_one():
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    for quiet, stream in ((False, terminal), (False, io.StringIO()), (True, io.StringIO())):
        p = Progress(3, stream=stream, quiet=quiet)
        p.say("heldout  0.654")
        p.close()
        assert stream.getvalue().count("heldout  0.654\n") == (not quiet)


def test_long_times_are_readable():
    assert [clock_text(s) for s in (0, 59.9, 61, 3600, 90061)] == [
        "0:00",
        "0:59",
        "1:01",
        "1:00:00",
        "25:01:01",
    ]
    assert [roughly(s) for s in (40, 89, 91, 750, 9000)] == [
        "40 s",
        "89 s",
        "2 min",
        "12 min",
        "2.5 h",
    ]


def all_of(terminal):
    """What was written to a terminal whose other end is closed; it comes in pieces."""
    shown = b""
    # The end of what was written is an error on Linux.
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 10_000):
            shown += piece
    os.close(terminal)
    return shown.decode()


@pytest.mark.parametrize("rows, columns", [(0, 40), (24, 40), (0, 0)])
def test_a_terminal_of_no_rows_has_a_live_line(rows, columns):
    """Containers and editors say 0 rows: the bar was hidden there, and no line was in its place."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (rows, columns))
    with os.fdopen(theirs, "w") as stream:
        p = Progress(3, stream=stream)
        for step in (1, 2, 3):
            # Somebody makes the window narrower while the run goes on.
            if step == 3 and columns:
                termios.tcsetwinsize(theirs, (rows, 30))
            p.update(step, COUNTS, loss=0.5)
            p._bar.refresh()
        p.close()
    shown = all_of(ours)
    lines = [line for line in re.split("[\r\n]+", shown) if line.strip()]
    assert any(line.startswith("step 3/3 (100%)") for line in lines), shown
    assert all(len(line) <= (columns or 200) for line in lines)
    if columns:
        assert len(lines[-1]) <= 30
