"""What a run is doing now: a bar on a terminal, else a line now and then; a file for `status`.

    with ws.running.step("label-0-judges", total=500) as step:
        step.advance(1)

A thread speaks while the step works, so that nobody waits for longer than half a minute without a
word, however long a single answer, a training or a query takes.
"""

import contextlib
import json
import os
import pathlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TextIO, TypedDict

from tqdm import tqdm

from rewardjax.command import terminal
from rewardjax.io import files, own_files

FILE = "running.json"
SPEAKS_EVERY = 20.0  # seconds between two lines where there is no bar
# Seconds between two writings of the file: whoever looks at `status` wants it fresh.
WRITES_EVERY = 5.0


class State(TypedDict):
    """What `running.json` says."""

    # The step that is worked on, or was when the run ended; None before the first.
    step: str | None
    unit: str
    done: int
    # None where nobody can say before the end.
    total: int | None
    # Of what this process did; None before anything was.
    per_second: float | None
    eta_seconds: float | None
    seconds: float
    # Of the writing, as Unix time; of which process.
    at: float
    process: int
    # Why the run does not go on; None while it does, and after its end.
    paused: str | None
    ended: bool


class Rate(NamedTuple):
    """How fast a step goes, and the seconds that are left."""

    per_second: float
    eta: float | None


class Step:
    """A step of a run: `advance` as its work is done."""

    def __init__(
        self,
        name: str,
        unit: str,
        total: int | None,
        done: int,
        clock: Callable[[], float],
        part: str = "",
    ):
        self.name, self.unit, self.total, self.part = name, unit, total, part
        # A step that is taken up again has nothing to show for what was done before.
        self.done, self._done_before = float(done), float(done)
        self.note = ""
        self._clock, self._began = clock, clock()
        self.bar: tqdm | None = None

    def advance(self, count: float = 1.0, note: str = "") -> None:
        """So much more is done; a part of a pair is one too. note: shown at the line's end."""
        self.done += count
        self.note = note or self.note

    @property
    def title(self) -> str:
        """The name, behind the part of the command that the step is of."""
        if not self.part:
            return self.name
        return f"[{self.part}] {self.name}"

    @property
    def seconds(self) -> float:
        """Since the step began."""
        return self._clock() - self._began

    def rate(self) -> Rate | None:
        """The mean pace of this process; None before anything was done."""
        worked = self.done - self._done_before
        if worked <= 0 or self.seconds <= 0:
            return None
        per_second = worked / self.seconds
        if self.total is None:
            return Rate(per_second, None)
        return Rate(per_second, max(0.0, self.total - self.done) / per_second)

    def line(self) -> str:
        """For example `[2/5] tag: 1,200 of 5,000 pairs (24%), 8.1/s, 2:28 so far, ETA 7:49`.

        The ETA is that of the step. When the whole command ends nobody can say: what the parts
        after this one have to do depends on what comes out of it.
        """
        parts = [f"{self.title}: {self._amount()}"]
        rate = self.rate()
        if rate is not None:
            parts.append(f"{rate.per_second:.3g}/s")
        parts.append(f"{clock_text(self.seconds)} so far")
        if rate is not None and rate.eta is not None:
            parts.append(f"ETA {clock_text(rate.eta)}")
        if self.note:
            parts.append(self.note)
        return ", ".join(parts)

    def _amount(self) -> str:
        if self.total is None:
            return "at work"
        share = 100 * self.done / max(1, self.total)
        return f"{int(self.done):,} of {self.total:,} {self.unit}s ({share:.0f}%)"


class Running:
    """The steps of one run, told on `stream` (standard error unless given).

    Args:
        folder: where `running.json` is written; None: nowhere.
        every: seconds between two lines.
        clock: seconds from any origin.
    """

    def __init__(
        self,
        folder: pathlib.Path | None = None,
        *,
        stream: TextIO | None = None,
        every: float = SPEAKS_EVERY,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._path = None
        if folder is not None:
            self._path = folder / FILE
        self._stream, self._every, self._clock = stream, every, clock
        # The innermost is the last: a step may have steps.
        self._steps: list[Step] = []
        self._last: Step | None = None
        self._paused: str | None = None
        self._writing = threading.Lock()

    @contextlib.contextmanager
    def step(
        self,
        name: str,
        total: int | None = None,
        *,
        unit: str = "pair",
        done: int = 0,
        part: str = "",
    ) -> Iterator[Step]:
        """Work on a step in the block.

        Args:
            name: of the step.
            total: how much there is to do, done work included; None: nobody knows.
            unit: what is counted, in the singular.
            done: what earlier runs did.
            part: which part of the command it is, as in 2/5; default: that of the step it is in.
        """
        if self._steps:
            part = part or self._steps[-1].part
        step = Step(name, unit, total, done, self._clock, part)
        # A bar that cannot fill says less than a line.
        if total is not None and self._out.isatty():
            step.bar = tqdm(
                total=total,
                initial=done,
                desc=step.title,
                unit=unit,
                file=self._out,
                nrows=terminal.ROWS,
                leave=False,
            )
        self._steps.append(step)
        self._last = step
        self._write()
        stop = threading.Event()
        # A daemon: a process that is told to end does not wait for a line.
        speaker = threading.Thread(target=self._speak, args=[step, stop], daemon=True)
        speaker.start()
        try:
            yield step
        finally:
            stop.set()
            speaker.join()
            self._steps.remove(step)
            if step.bar is not None:
                step.bar.close()
            # What took its time has an end that a log shows.
            elif step.seconds >= self._every:
                self._say(f"{step.line().partition(', ETA')[0]}, done or stopped")

    def advance(self, count: float, note: str = "") -> None:
        """So much more of the innermost step is done; nothing happens between steps."""
        if self._steps:
            self._steps[-1].advance(count, note)

    def pause(self, why: str) -> None:
        """The run stops, and says so: for `status`."""
        self._paused = why
        self._write()

    def end(self) -> None:
        """The run has nothing left to do."""
        self._write(ended=True)

    @property
    def _out(self) -> TextIO:
        # Not when this object is made: a notebook or a test may exchange the stream.
        return self._stream or sys.stderr

    def _speak(self, step: Step, stop: threading.Event) -> None:
        """Show a step until it ends. Runs in a thread of its own."""
        spoke = wrote = self._clock()
        while not stop.wait(min(1.0, self._every / 4)):
            now = self._clock()
            # While an inner step works, it speaks.
            if self._steps[-1] is not step:
                continue
            if step.bar is not None:
                step.bar.n = min(int(step.done), step.total or 0)
                step.bar.set_postfix_str(step.note)
            elif now - spoke >= self._every:
                spoke = now
                self._say(step.line())
            if now - wrote >= WRITES_EVERY:
                wrote = now
                self._write()

    def _say(self, line: str) -> None:
        # Beside the bars of others, as the trainer's, and not through them.
        tqdm.write(line, file=self._out)
        self._out.flush()

    def _write(self, *, ended: bool = False) -> None:
        if self._path is None:
            return
        step, state = self._last, _state(self._paused, ended)
        if step is not None:
            rate = step.rate()
            state["step"], state["unit"], state["total"] = step.name, step.unit, step.total
            state["done"], state["seconds"] = int(step.done), step.seconds
            if rate is not None:
                state["per_second"], state["eta_seconds"] = rate
        # One at a time: the speaker writes too.
        with self._writing, files.replacing(self._path) as part:
            part.write_text(json.dumps(state))


def _state(paused: str | None, ended: bool) -> State:
    return State(
        step=None,
        unit="",
        done=0,
        total=None,
        per_second=None,
        eta_seconds=None,
        seconds=0.0,
        at=time.time(),
        process=os.getpid(),
        paused=paused,
        ended=ended,
    )


def read(folder: pathlib.Path) -> State | None:
    """What the last run of a workspace said; None where none has."""
    try:
        state: Any = own_files.read(folder / FILE, State.__annotations__, "remove it")
    except FileNotFoundError:
        return None
    return state


class Parts:
    """The parts of a long command, numbered as they begin: `[2/6] export, 1:40 so far`.

    Args:
        total: how many there are.
        shares: of the whole time that each part took once, where they always do the same; then the
            time that is left is told, once a tenth of the work is done.
        clock: seconds from any origin.
    """

    def __init__(
        self,
        total: int,
        shares: Sequence[float] = (),
        clock: Callable[[], float] = time.monotonic,
    ):
        self._total, self._shares, self._clock = total, shares, clock
        self._began, self._number = clock(), 0

    def next(self, title: str) -> str:
        """The heading of the next part."""
        done = sum(self._shares[: self._number]) / (sum(self._shares) or 1)
        self._number += 1
        so_far = self._clock() - self._began
        heading = f"[{self._number}/{self._total}] {title}, {clock_text(so_far)} so far"
        if done < 0.1:
            return heading
        return f"{heading}, ETA of the whole about {clock_text(so_far / done - so_far)}"


def clock_text(seconds: float) -> str:
    """`"1:01"` of a minute and a second, `"1:00:00"` of an hour."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds:02d}"
    return f"{minutes}:{seconds:02d}"
