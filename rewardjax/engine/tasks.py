"""What a task does with its units, on whatever machine it runs.

    FOLDER/units.json       its units, each with what is known about it
    FOLDER/UNIT.parquet     the rows of a unit that is done
    FOLDER/beat             who works here, renewed every few seconds, and whether it has ended
    FOLDER/stopped          why it cannot go on: money, a server
    FOLDER/failed           how it failed

A unit appears whole or not at all. Killed and started again in the same folder, a task goes on with
the unit that it was in.
"""

import contextlib
import functools
import json
import os
import pathlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from rewardjax import config as config_lib
from rewardjax.command.background import beside
from rewardjax.io import files, own_files

BEAT_EVERY = 2.0  # seconds
# Seconds without a beat after which a task is taken for lost. Compiling a large model can keep a
# thread waiting for tens of seconds.
LOST_AFTER = 60.0


class Unit(NamedTuple):
    """A part of a stage's work: its name, a file's, and what it is about, as JSON."""

    name: str
    about: Any


# A task's units and its folder -> the rows of each unit, one after another.
Do = Callable[[Sequence[Unit], pathlib.Path], Iterable[tuple[Unit, pa.Table]]]


class Stopped(Exception):
    """A task cannot go on: money has ended, or a server is down. The message says what to do."""


def folder_of(round_folder: pathlib.Path, rank: int) -> pathlib.Path:
    """Where a task of a round of jobs works."""
    return round_folder / f"task-{rank:05d}"


def deal(
    round_folder: pathlib.Path, units: Sequence[Unit], tasks: int, neighbors: bool = False
) -> list[pathlib.Path]:
    """Write down which task does which units; the tasks' folders.

    neighbors: whether each task gets units that follow each other.
    """
    folders = []
    for rank in range(tasks):
        folder = folder_of(round_folder, rank)
        folder.mkdir(parents=True)
        # In turn, so that the first tasks do not get all the early and the last all the late ones.
        own = units[rank::tasks]
        if neighbors:
            own = units[len(units) * rank // tasks : len(units) * (rank + 1) // tasks]
        config_lib.write_json(folder / "units.json", own)
        folders.append(folder)
    return folders


def units_of(folder: pathlib.Path) -> list[Unit]:
    """The units of a task."""
    return [Unit(*each) for each in own_files.read_value(folder / "units.json")]


def done(folder: pathlib.Path) -> Iterator[tuple[Unit, pathlib.Path]]:
    """The units that a task is done with, each with the file of its rows."""
    for unit in units_of(folder):
        path = _rows_path(folder, unit)
        if path.exists():
            yield unit, path


def step(round_folder: pathlib.Path, do: Do) -> Callable:
    """The step of datatrove's pipeline: a function of plain values, which can be sent around."""
    return functools.partial(run_task, round_folder=str(round_folder), do=do)


def run_task(_: Any, rank: int, world_size: int, *, round_folder: str, do: Do) -> Iterator[str]:
    """A pipeline step of datatrove: the units of a task; yields their names."""
    folder = folder_of(pathlib.Path(round_folder), rank)
    todo = [unit for unit in units_of(folder) if not _rows_path(folder, unit).exists()]
    with _beating(folder):
        try:
            for unit, rows in do(todo, folder):
                with files.replacing(_rows_path(folder, unit)) as part:
                    pq.write_table(rows, part, compression="zstd")
                yield unit.name
        except Stopped as error:
            (folder / "stopped").write_text(str(error))
        except Exception as error:
            (folder / "failed").write_text(f"{type(error).__name__}: {error}")
            raise


def _rows_path(folder: pathlib.Path, unit: Unit) -> pathlib.Path:
    return folder / f"{unit.name}.parquet"


# ------------------------------------------------------------------ signs of life


@contextlib.contextmanager
def _beating(folder: pathlib.Path) -> Iterator[None]:
    """Show that somebody works in `folder` while the block runs."""
    try:
        with beside(_beat, folder, os.getppid()):
            yield
    finally:
        _write_beat(folder, "ended", 0)


def _beat(folder: pathlib.Path, parent: int, ended: threading.Event) -> None:
    count = 0
    while not ended.is_set():
        # Without the process that started it, or once the round is over, nobody waits for it: what
        # it would pay for is asked for by another task.
        if os.getppid() != parent or (folder.parent / "over").exists():
            os._exit(1)
        _write_beat(folder, "works", count)
        count += 1
        ended.wait(BEAT_EVERY)


def _write_beat(folder: pathlib.Path, state: str, count: int) -> None:
    # A full disk or a network that stutters must not end the work.
    with contextlib.suppress(OSError):
        record = [state, socket.gethostname(), os.getpid(), count]
        config_lib.write_json(folder / "beat", record)


class Watch:
    """Which tasks of a round are alive, by this process's clock: those of hosts need not agree."""

    def __init__(self, folders: Sequence[pathlib.Path]):
        self._folders = folders
        self._seen: dict[pathlib.Path, tuple[str, float]] = {}

    def look(self) -> tuple[int, int]:
        """How many tasks work, and how many began, did not end and are lost."""
        alive = lost = 0
        for folder in self._folders:
            with contextlib.suppress(FileNotFoundError):
                beat = (folder / "beat").read_text()
                if json.loads(beat)[0] == "ended":
                    continue
                before, since = self._seen.get(folder, ("", 0.0))
                if beat != before:
                    since = time.monotonic()
                    self._seen[folder] = beat, since
                if time.monotonic() - since < LOST_AFTER:
                    alive += 1
                else:
                    lost += 1
        return alive, lost
