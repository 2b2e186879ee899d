"""The tasks of a round as one job, which is started, asked whether it still goes on, and ended.

Local and Ray executors run in a process of their own beside this one and end with it; Slurm has a
queue, in which a job stays when this process ends.
"""

import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any, Protocol

import dill

from rewardjax.engine.tasks import Watch

# Seconds for which a queue may be impossible to ask: controllers are restarted.
QUEUE_PATIENCE = 600.0
DRIVER_LOG = "driver.log"


class Unfinished(Exception):
    """Some work is not there yet; the message says how much, why, and what to do."""


class Job(Protocol):
    """The tasks of one round."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def goes_on(self) -> bool:
        """Whether any of its tasks may still do something."""
        ...

    def end(self) -> None:
        """End what is left of it, and return when none of its tasks does anything any more."""
        ...


def start(executor: Any, folder: pathlib.Path, watch: Watch) -> Job:
    """Start an executor's tasks; `folder` is for its logs."""
    # Slurm's alone knows ids of jobs.
    if hasattr(executor, "job_id"):
        executor.run()
        return Queued(str(executor.job_id))
    return Beside(executor, folder, watch)


def last_words(folder: pathlib.Path) -> str:
    """The last line of what a process beside this one said; empty where there is none."""
    log = folder / DRIVER_LOG
    if not log.exists():
        return ""
    lines = log.read_text(errors="replace").strip().splitlines()
    return next(reversed(lines), "")


class Beside:
    """A job of a process beside this one."""

    def __init__(self, executor: Any, folder: pathlib.Path, watch: Watch):
        self._watch = watch
        path = folder / "executor.pickle"
        with open(path, "wb") as file:
            dill.dump(executor, file, recurse=True)
        command = [sys.executable, "-m", "rewardjax.engine.driver", str(path)]
        with open(folder / DRIVER_LOG, "wb") as log:
            # A group of its own, with all the workers in it, so that they can be ended together.
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"process {self._process.pid}"

    def goes_on(self) -> bool:
        """Whether any of its tasks may still do something."""
        if self._process.poll() is not None:
            return False
        # Both executors wait for ever for a worker that was killed.
        alive, lost = self._watch.look()
        return bool(alive or not lost)

    def end(self) -> None:
        """End its processes; those on other machines end by themselves when they notice."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()


class Queued:
    """A job of Slurm."""

    def __init__(self, job: str):
        self.job = job
        self._unknown_since: float | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"job {self.job}"

    def goes_on(self) -> bool:
        """Whether it is in the queue. Raises Unfinished where nobody could tell for long."""
        command = ["squeue", "--noheader", "--jobs", self.job]
        try:
            queue = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired) as error:
            return self._is_unknown(str(error))
        # A job that Slurm has forgotten is an error to squeue, and so is a controller that is down.
        if "invalid job id" in queue.stderr.lower():
            return False
        if queue.returncode:
            return self._is_unknown(queue.stderr.strip())
        self._unknown_since = None
        return bool(queue.stdout.strip())

    def _is_unknown(self, reason: str) -> bool:
        if self._unknown_since is None:
            self._unknown_since = time.monotonic()
        if time.monotonic() - self._unknown_since < QUEUE_PATIENCE:
            return True
        raise Unfinished(f"squeue cannot tell where {self.name} is ({reason})")

    def end(self) -> None:
        """Nothing is left of a job that is not in the queue."""
