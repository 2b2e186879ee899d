"""Where the time of a run went, over all its starts: `goodput.json` in the workdir.

Every second since the first start is of one kind. A start spends its time on the kinds of SPENT.
What it did after the last save that a later start went on from was done again: it is LOST, whatever
it was spent on. Between two starts a run is IDLE. Goodput is the share of the time that went into
steps which count.

A process that is killed cannot say so. The ledger is therefore written every few seconds, and the
steps that a start had reached are those that metrics.jsonl tells.
"""

import contextlib
import json
import pathlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypedDict

import jax

from rewardjax.command.background import beside
from rewardjax.io import files
from rewardjax.training.metrics import last_step

FILE = "goodput.json"
# Seconds between two writes: what a killed process had not written yet counts as idle.
WRITTEN_EVERY = 2.0

START_UP = "start_up"  # everything before the first step: data, weights, a restore
COMPILE = "compile"  # wherever it happens: in the first step, or in an evaluation
DATA_WAIT = "data_wait"  # the devices had nothing to do
PRODUCTIVE = "productive"  # steps
EVALUATION = "evaluation"
CHECKPOINT = "checkpoint"  # what saving keeps the loop from, not what goes on beside it
ENDING = "ending"  # the report, and what follows an error or a signal
SPENT = (START_UP, COMPILE, DATA_WAIT, PRODUCTIVE, EVALUATION, CHECKPOINT, ENDING)
LOST, IDLE = "lost_to_restarts", "idle"


class Mark(TypedDict):
    """What a start had spent when `step` was saved, or, the first mark, before its first step."""

    step: int
    seconds: dict[str, float]


class Start(TypedDict):
    """One process of the run, from its beginning to the last that is known of it."""

    began: float  # seconds since 1970
    reached: int  # the last step that it took
    seconds: dict[str, float]  # by the kinds of SPENT
    marks: list[Mark]


class Account(NamedTuple):
    """Where the time of all starts went."""

    wall_seconds: float
    seconds: dict[str, float]  # by the kinds of SPENT, LOST and IDLE; they sum to the wall time
    goodput: float
    steps: int  # that count
    repeated_steps: int  # that were taken again, after a restart

    def sentence(self) -> str:
        """The account in one line."""
        text = (
            f"goodput {100 * self.goodput:.0f}%: {self.seconds[PRODUCTIVE]:.0f} of "
            f"{self.wall_seconds:.0f} s went into steps that count"
        )
        if self.repeated_steps:
            text += f"; {self.repeated_steps} steps were repeated after restarts"
        return text


def account(starts: Sequence[Start]) -> Account:
    """Sum up starts, in the order in which they began."""
    seconds: dict[str, float] = dict.fromkeys((*SPENT, LOST, IDLE), 0.0)
    repeated = steps = 0
    for number, start in enumerate(starts):
        later = starts[number + 1 :]
        kept = _kept(start, later)
        for kind in SPENT:
            seconds[kind] += kept["seconds"][kind]
            seconds[LOST] += start["seconds"][kind] - kept["seconds"][kind]
        # Not from what is kept: a killed start may have saved more than its account had noted.
        repeated += max(0, start["reached"] - _taken_up_at(start, later))
        steps = max(steps, kept["step"])
    wall = _ended(starts[-1]) - starts[0]["began"]
    # A clock that was set back between two starts would give less than nothing.
    seconds[IDLE] = max(0.0, wall - sum(seconds.values()))
    wall = sum(seconds.values())
    return Account(wall, seconds, seconds[PRODUCTIVE] / max(wall, 1e-9), steps, repeated)


def _kept(start: Start, later: Sequence[Start]) -> Mark:
    """What was not done again: all of the last start, of others what they saved and was used."""
    if not later:
        return Mark(step=start["reached"], seconds=start["seconds"])
    resumed_at = _taken_up_at(start, later)
    if start["reached"] <= resumed_at:
        return Mark(step=start["reached"], seconds=start["seconds"])
    usable = [mark for mark in start["marks"] if mark["step"] <= resumed_at]
    return (usable or start["marks"][:1])[-1]


def _taken_up_at(start: Start, later: Sequence[Start]) -> int:
    """The step after which later starts took the steps of a start again."""
    # Not only the next one: where a save proves damaged, a third start may go further back. Steps
    # before its own are no start's.
    resumed_at = [other["marks"][0]["step"] for other in later]
    return max(min(resumed_at, default=start["reached"]), start["marks"][0]["step"])


def _ended(start: Start) -> float:
    return start["began"] + sum(start["seconds"].values())


def read(workdir: pathlib.Path) -> list[Start]:
    """The starts of a run, [] where none is recorded. Raises ValueError for a damaged file."""
    path = workdir / FILE
    if not path.exists():
        return []
    try:
        starts = json.loads(path.read_text())["starts"]
        account(starts)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}); move it away") from error
    return starts


class Ledger:
    """The account of this start, which adds itself to those before it.

    Only process 0 writes it. Times are wall-clock seconds of its main thread.
    """

    def __init__(self, workdir: pathlib.Path, began: float, clock: Callable[[], float]):
        self._workdir, self._clock = workdir, clock
        self._spent_until = began
        self._compiling = 0.0
        self._writing = threading.Lock()
        self._before: list[Start] | None = None
        self._start = Start(
            began=time.time() - (clock() - began),
            reached=0,
            seconds=dict.fromkeys(SPENT, 0.0),
            marks=[],
        )

    def begin(self, first_step: int) -> None:
        """Say from which step this start goes on; nothing is written before that is known.

        Before the metrics of this start are: what the one before it had reached is read there.
        """
        self.spent(START_UP)
        self._start["reached"] = first_step
        self.saved(first_step)
        if jax.process_index() != 0:
            return
        # No run ends for the sake of its account: what is damaged is told, and begun anew.
        self._before = []
        try:
            self._before = read(self._workdir)
            if self._before:
                known = self._before[-1]["reached"]
                self._before[-1]["reached"] = max(known, last_step(self._workdir))
        except ValueError as error:
            print(f"{error}; the account of the time may lack what was before", file=sys.stderr)
        self.write()

    def spent(self, kind: str) -> None:
        """The time since the last call went into `kind`, but for what was compiled in it."""
        now = self._clock()
        passed, self._spent_until = now - self._spent_until, now
        compiling, self._compiling = min(self._compiling, passed), 0.0
        self._start["seconds"][COMPILE] += compiling
        self._start["seconds"][kind] += passed - compiling

    def compiled(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        """Hear from JAX of something that it traced, lowered or compiled."""
        if event.startswith("/jax/core/compile/"):
            self._compiling += duration_secs

    def reached(self, step: int) -> None:
        """Say that `step` is done."""
        self._start["reached"] = step

    def saved(self, step: int) -> None:
        """Say that a later start can go on from `step`, or this one did."""
        self._start["marks"].append(Mark(step=step, seconds=dict(self._start["seconds"])))

    def starts(self) -> list[Start]:
        """All starts of the run, this one last."""
        return [*(self._before or []), self._start]

    def write(self) -> None:
        """Write the file, with the account first, for people."""
        if self._before is None:
            return
        sums = account(self.starts())
        record = sums._asdict() | {"starts": self.starts()}
        # The loop writes, and so does the thread beside it.
        with self._writing, files.replacing(self._workdir / FILE) as part:
            part.write_text(json.dumps(record, indent=1) + "\n")

    def write_regularly(self, stop: threading.Event) -> None:
        """Write the file every few seconds until `stop`."""
        while not stop.wait(WRITTEN_EVERY):
            # A disk that is full or away is told by the next save, which cannot go on without it.
            with contextlib.suppress(OSError):
                self.write()


@contextlib.contextmanager
def keeping(
    workdir: pathlib.Path, began: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[Ledger]:
    """A ledger while the block runs, which is a start that began at `began` of `clock`."""
    ledger = Ledger(workdir, began, clock)
    jax.monitoring.register_event_duration_secs_listener(ledger.compiled)
    try:
        # A thread of its own: the loop must not wait for a disk because of an account.
        with beside(ledger.write_regularly):
            yield ledger
    finally:
        jax.monitoring.unregister_event_duration_listener(ledger.compiled)
        ledger.spent(ENDING)
        with contextlib.suppress(OSError):
            ledger.write()


def waiting_for(in_flight: Any) -> str:
    """What a wait for data was, after steps of which `in_flight` holds arrays.

    While the devices are busy with them it costs nothing: it is part of the step.
    """
    if all(array.is_ready() for array in jax.tree.leaves(in_flight)):
        return DATA_WAIT
    return PRODUCTIVE
