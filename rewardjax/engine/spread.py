"""A stage's units spread over tasks, waited for and joined: the rounds of jobs that this takes.

    WORK/round-N/task-M/    what a task is given and leaves (`tasks`), and logs beside
    WORK/round-N/job        the job of Slurm that does it
    WORK/round-N/over       nobody waits for it any more
    WORK/round-N/joined     what it left is in the ledger

Tasks read the ledger and the owner of the workspace writes it, once all of them have ended: what a
task sees does not change under it. Units of tasks that were killed are done in another round, as
long as each round brings something.
"""

import dataclasses
import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from time import sleep
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from rewardjax.command.running import Running
from rewardjax.engine import executors, jobs, tasks
from rewardjax.engine.executors import Engine
from rewardjax.engine.jobs import Job, Queued, Unfinished
from rewardjax.engine.tasks import Do, Unit, Watch

LOOK_EVERY = 2.0  # seconds, at what is done


class Accounts(Protocol):
    """What tasks pay, which must not be paid twice nor go beyond the budget."""

    def deal(self, folders: Sequence[pathlib.Path], units: Sequence[Sequence[Unit]]) -> None:
        """Give each task its part of the money, and the answers that were paid for already."""
        ...

    def settle(self, folder: pathlib.Path) -> None:
        """Take back what a task has left and learned; a second time changes nothing."""
        ...


class Nothing:
    """The accounts of work that costs no money."""

    def deal(self, folders: Sequence[pathlib.Path], units: Sequence[Sequence[Unit]]) -> None:
        """Nothing to give."""

    def settle(self, folder: pathlib.Path) -> None:
        """Nothing to take."""


@dataclasses.dataclass(frozen=True)
class Work:
    """What a stage has to do.

    name: in messages. folder: for what tasks are given and leave. missing: the units that are not
    in the ledger. do: what a task does, of values that can be sent to other processes. join: put
    the rows of a unit into the ledger. running: where it is told how far the work is. neighbors:
    whether a task gets units that follow each other, because it reads them in one pass.
    """

    name: str
    folder: pathlib.Path
    missing: Callable[[], Sequence[Unit]]
    do: Do
    join: Callable[[Unit, pa.Table], None]
    accounts: Accounts = dataclasses.field(default_factory=Nothing)
    running: Running = dataclasses.field(default_factory=Running)
    neighbors: bool = False


def run(engine: Engine, work: Work) -> None:
    """Do the missing units of a stage on an engine, and join them.

    Killed, the same call goes on: with a job that is still in a queue, or with what is left.

    Raises:
        Unfinished: where a round brought nothing new: tasks fail, money ended, a server is down.
        ValueError: for options that the executor does not take.
    """
    number, before = _last_round(work), None
    if number:
        _join_earlier(work, _folder(work, number))
    while units := work.missing():
        if before is not None:
            if len(units) == before:
                raise Unfinished(_why(work, _folder(work, number), before))
            _say(f"{work.name}: tasks ended before {len(units)} of their units; they start again")
        before, number = len(units), number + 1
        _do_round(engine, work, units, _folder(work, number))


def _folder(work: Work, number: int) -> pathlib.Path:
    return work.folder / f"round-{number}"


def _last_round(work: Work) -> int:
    numbers = [int(path.name.partition("-")[2]) for path in work.folder.glob("round-*")]
    return max(numbers, default=0)


def _join_earlier(work: Work, folder: pathlib.Path) -> None:
    """Join what the last round of an earlier start has left, once it is over."""
    if (folder / "joined").exists():
        return
    if (folder / "job").exists():
        _wait(work, Queued((folder / "job").read_text()), folder)
    else:
        # Killed with whoever started them, or about to notice that nobody is there.
        _end(folder)
        _until_silent(Watch(_tasks_in(folder)))
    _join(work, folder)


def _do_round(engine: Engine, work: Work, units: Sequence[Unit], folder: pathlib.Path) -> None:
    """One job: dealt, started, waited for and joined."""
    count = min(engine.tasks, len(units))
    step = tasks.step(folder, work.do)
    # First: what it refuses leaves no round behind.
    executor = executors.executor(engine, step, count, folder)
    folders = tasks.deal(folder, units, count, work.neighbors)
    work.accounts.deal(folders, [tasks.units_of(each) for each in folders])
    watch = Watch(folders)
    try:
        job = jobs.start(executor, folder, watch)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unfinished(f"{work.name}: the {engine.name} job cannot be started: {error}") from None
    if isinstance(job, Queued):
        (folder / "job").write_text(job.job)
    try:
        _wait(work, job, folder)
    finally:
        # Also where this process is interrupted: what is not in a queue ends with it.
        job.end()
    if engine.name == "ray":
        _end(folder)
        _until_silent(watch)
    _join(work, folder)


def _end(folder: pathlib.Path) -> None:
    """Tell tasks that are still there that nobody waits for them."""
    (folder / "over").touch()


def _until_silent(watch: Watch) -> None:
    """Wait until no task does anything any more: it could be paid for what is asked again."""
    while watch.look()[0]:
        sleep(LOOK_EVERY)


def _join(work: Work, round_folder: pathlib.Path) -> None:
    """Put what a round's tasks have left into the ledger, and settle what they paid."""
    missing = {unit.name: unit for unit in work.missing()}
    for folder in _tasks_in(round_folder):
        for unit, path in list(tasks.done(folder)):
            # Pairs may have come since: a unit of this name would be about others.
            if missing.get(unit.name) == unit:
                work.join(unit, pq.read_table(path))
            path.unlink()
        work.accounts.settle(folder)
    (round_folder / "joined").touch()


def _tasks_in(round_folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(round_folder.glob("task-*"))


# ------------------------------------------------------------------ waiting


def _wait(work: Work, job: Job, round_folder: pathlib.Path) -> None:
    """Wait for the job of a round, saying how far it is."""
    folders = _tasks_in(round_folder)
    total, done = sum(len(tasks.units_of(folder)) for folder in folders), _count(folders)
    name = f"{work.name}, {job.name}"
    with work.running.step(name, total, unit="unit", done=done) as step:
        while True:
            # Asked first: what is done after the last look is then counted by the next one.
            try:
                goes_on = job.goes_on()
            except Unfinished as error:
                raise Unfinished(
                    f"{work.name}: {total - _count(folders)} units wait, and {error}; start the "
                    f"same command again later, or, if the job is gone, delete "
                    f"{round_folder / 'job'} first, so that they are done anew"
                ) from None
            step.advance(_count(folders) - step.done)
            if not goes_on:
                return
            sleep(LOOK_EVERY)


def _count(folders: Sequence[pathlib.Path]) -> int:
    # By files and not by names of units: a job of Slurm is looked at for days.
    return sum(len(list(folder.glob("*.parquet"))) for folder in folders)


def _why(work: Work, folder: pathlib.Path, missing: int) -> str:
    """Why a round brought nothing new, as one sentence."""
    stopped, failed = _notes(folder, "stopped"), _notes(folder, "failed")
    if stopped:
        return stopped[0]
    reason = "tasks ended without a word"
    if failed:
        reason = f"{len(failed)} tasks failed ({failed[0]})"
    elif last_words := jobs.last_words(folder):
        reason = f"the job failed ({last_words})"
    return (
        f"{work.name}: {missing} units are not done, as {reason}: see {folder}, then start the "
        "same command again, which repeats only those"
    )


def _notes(folder: pathlib.Path, name: str) -> list[str]:
    return [path.read_text() for path in sorted(folder.glob(f"task-*/{name}"))]


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
