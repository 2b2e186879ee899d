"""Cleaning by datatrove's executors, and waiting until every task has reported.

An executor says when its tasks were started (Slurm: queued), not that they did their work: what
counts is what lies in the ledger. Until all of it does, nothing goes on.
"""

import importlib
import json
import pathlib
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rewardjax import config as config_lib

EXECUTORS = {
    "local": "datatrove.executor.local:LocalPipelineExecutor",
    "slurm": "datatrove.executor.slurm:SlurmPipelineExecutor",
    "ray": "datatrove.executor.ray:RayPipelineExecutor",
}


class Unfinished(Exception):
    """Tasks have not reported yet; the message says which, and what to do."""


def check(options: Mapping[str, Any]) -> None:
    """Raise ValueError for an executor that there is not."""
    name = options.get("name")
    if name not in EXECUTORS:
        raise ValueError(f"clean.executor.name = {name!r} is not one of {', '.join(EXECUTORS)}")


def run(
    work: pathlib.Path,
    step: Callable,
    options: Mapping[str, Any],
    waiting: Callable[[], Sequence[Any]],
) -> None:
    """Run a step, or go on waiting for it; returns when all of its work is there.

    Args:
        work: a folder for the executor's logs, and the record of what was started.
        step: what each task does.
        options: "name" of EXECUTORS, and that executor's keyword arguments.
        waiting: the shards whose work is not there yet.

    Raises:
        Unfinished: where some of it is not there.
        ValueError: for keyword arguments that the executor does not take.
    """
    record, attempt = work / "launched.json", 0
    if record.exists():
        launched = json.loads(record.read_text())
        attempt = launched["attempt"] + 1
        # A second job for the same work would only cost: wait while the first one is there.
        _refuse_while_queued(launched["job"], record, len(waiting()))
    logs = work / f"look-{attempt}"
    executor = _executor(logs, step, options)
    executor.run()
    job = getattr(executor, "job_id", None)
    config_lib.write_json(record, {"attempt": attempt, "job": job, "logs": str(logs)})
    count = len(waiting())
    if not count:
        return
    if job is None:
        raise Unfinished(
            f"cleaning: {count} shards of pairs were not looked through, as tasks failed: see "
            f"{logs}, then start the same command again, which repeats only those"
        )
    again = ""
    if attempt:
        again = f" once more, as earlier tasks ended without reporting (see {work}/look-*)"
    raise Unfinished(
        f"cleaning: {count} shards of pairs are looked through by job {job}, which is queued"
        f"{again}; start the same command again when it has ended; its logs are in {logs}"
    )


def _refuse_while_queued(job: str | None, record: pathlib.Path, count: int) -> None:
    """Raise Unfinished while a Slurm job is in the queue, or where nobody can tell."""
    if job is None:
        return
    command = ["squeue", "--noheader", "--jobs", str(job)]
    try:
        queue = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    else:
        # A job that Slurm has forgotten is an error to squeue, and so is a controller that is down.
        is_forgotten = "invalid job id" in queue.stderr.lower()
        if is_forgotten or (queue.returncode == 0 and not queue.stdout.strip()):
            return
        reason = queue.stderr.strip()
    if reason:
        raise Unfinished(
            f"cleaning: {count} shards of pairs wait for job {job}, and squeue cannot tell where "
            f"it is ({reason}); start the same command again later, or, if the job is gone, delete "
            f"{record} first, so that it is queued anew"
        )
    raise Unfinished(
        f"cleaning: {count} shards of pairs wait for job {job}, which is still in the queue; start "
        "the same command again when it has ended"
    )


def _executor(folder: pathlib.Path, step: Callable, options: Mapping[str, Any]) -> Any:
    """A datatrove executor that runs a step, its completions and logs in `folder`."""
    name = options["name"]
    own_options = {key: value for key, value in options.items() if key != "name"}
    module, _, attribute = EXECUTORS[name].partition(":")
    executor_class = getattr(importlib.import_module(module), attribute)
    try:
        executor = executor_class([step], logging_dir=str(folder), **own_options)
    except TypeError as error:
        raise ValueError(f"clean.executor: {name} does not take these fields: {error}") from error
    if name == "local":
        # By default datatrove's library forks, which a process with JAX's threads may not survive.
        multiprocess: Any = importlib.import_module("multiprocess")
        multiprocess.set_start_method("forkserver", force=True)
    return executor
