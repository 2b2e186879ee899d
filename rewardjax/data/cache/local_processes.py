"""Shards of a token cache made by processes of this machine, which end with the one that began."""

import collections
import functools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing import connection
from multiprocessing.context import SpawnProcess

from rewardjax.command import errors
from rewardjax.command.exit_codes import ExitCode
from rewardjax.data.cache import building
from rewardjax.data.cache.building import Build, Spread

# Parts of the work for each process: some are slower than others, and each begins by skipping what
# lies before it in its file. Of fewer records a process is sooner done than it has started.
PARTS, RECORDS_OF_PART = 4, 4096


def spread(workers: int) -> Spread:
    """Makes shards in so many processes."""
    return functools.partial(_spread, workers)


def _spread(workers: int, job: Build, missing: Sequence[int]) -> None:
    """Raises ValueError where a process was killed or the data are refused."""
    # A fresh interpreter each: forking a process that runs JAX's threads can deadlock.
    context = multiprocessing.get_context("spawn")
    parts = workers
    if job.records_in(missing) >= PARTS * workers * RECORDS_OF_PART:
        parts *= PARTS
    waiting = collections.deque(parts_of(missing, parts))
    alive: list[SpawnProcess] = []
    try:
        while waiting or alive:
            while waiting and len(alive) < workers:
                process = context.Process(target=_work, args=(job, waiting.popleft()), daemon=True)
                process.start()
                alive.append(process)
            connection.wait([process.sentinel for process in alive])
            for process in [process for process in alive if not process.is_alive()]:
                alive.remove(process)
                _refuse_end(job, process.exitcode)
    finally:
        for process in alive:
            process.kill()
            process.join()


def parts_of(numbers: Sequence[int], count: int) -> list[Sequence[int]]:
    """Numbers as at most `count` parts of neighbors, as equal as can be."""
    count = min(count, len(numbers))
    bounds = [len(numbers) * k // count for k in range(count + 1)]
    return [numbers[bounds[k] : bounds[k + 1]] for k in range(count)]


def _refuse_end(job: Build, code: int | None) -> None:
    """Raise ValueError where a process was killed or the data refused, RuntimeError for a bug."""
    building.refuse(job.folder)
    if not code:
        return
    if code == ExitCode.USER:
        raise ValueError(f"{job.source.name}: not tokenized; the reason is above")
    if code > 0:
        raise RuntimeError("a process that tokenizes has failed; its traceback is above")
    raise ValueError(
        f"{job.source.name}: a process that tokenizes was killed by signal {-code}, as the system "
        "does where memory runs out; start the same command again, which makes only the shards "
        "that are missing"
    )


def _work(job: Build, numbers: Sequence[int]) -> None:
    """A process: make some shards."""
    # The one that began is interrupted too, and ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        for _ in building.build(job, numbers):
            pass
    except building.Stopped:
        sys.exit(ExitCode.USER)
    except Exception as error:
        if not errors.is_mistake(error):
            raise
        # It is written down for the process that began, unless the disk is full.
        if not (job.folder / building.REFUSED).exists():
            errors.tell("tokenizing", error)
        sys.exit(ExitCode.USER)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(ExitCode.BUG)
