"""Multi-controller start-up: every process calls `initialize()` before it touches a device.

A job that lost a process cannot go on, so all of its processes should end at once and with the exit
code that tells a restart policy what to do. The JAX runtime does that for a process that vanished.
A Python exception is slower: the failed process waits in the shutdown barrier, then the runtime
aborts everybody with code 134, which reads like an outage and is retried. Here the failed process
leaves its message in the coordinator's key-value store, its peers poll for it, and all exit with
the code of its error (exit_codes.py). An exception that only says that a peer or the network went
away has the runtime's 134, so that it is retried.
"""

import atexit
import collections
import contextlib
import os
import sys
import threading
import time
import traceback
import types
from collections.abc import Mapping
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from rewardjax import errors, fingerprint
from rewardjax.exit_codes import ExitCode

_FATAL = "rewardjax/fatal"  # "<exit code> <message>"
_SEEN = "rewardjax/fatal_seen/"
_POLL_SECONDS = 0.5
_GOODBYE_SECONDS = 3.0


def initialize() -> None:
    """Join the processes of this job; does nothing for a plain single process.

    In this order: REWARDJAX_CPU_DEVICES=M asks for M fake CPU devices; REWARDJAX_COORDINATOR
    (host:port), REWARDJAX_NUM_PROCESSES and REWARDJAX_PROCESS_ID name the job outright;
    JAX_DISTRIBUTED=1, a TPU slice of several hosts or a Slurm step of several tasks leave the
    discovery to `jax.distributed.initialize()`. Call it before anything that creates an array.
    Raises ValueError on a half-set or malformed environment.
    """
    if "REWARDJAX_CPU_DEVICES" in os.environ:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", _read_int("REWARDJAX_CPU_DEVICES", low=1))
    job = _job_from_env()
    if job is None and not _cluster_found(os.environ):
        return
    # CPU devices of several processes can exchange nothing by default.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if job is None:
        jax.distributed.initialize()
    else:
        coordinator, processes, process = job
        jax.distributed.initialize(coordinator, processes, process)
    if jax.process_count() > 1:
        _forward_failures()


def assert_same(values: Mapping[str, str]) -> None:
    """Raise ValueError on every process unless all of them pass the same `values`.

    `values` maps what is compared ("the config", "the data") to a text that stands for it, such as
    a fingerprint; the error names what differs and which processes agree with each other. All
    processes must call it, with the same names in the same order.
    """
    if alone():
        return
    # A hash of each text, so that all processes send arrays of one size in one exchange.
    hashes = [bytes.fromhex(fingerprint.of_bytes(text.encode())) for text in values.values()]
    mine = np.stack([np.frombuffer(digest, np.uint32) for digest in hashes])
    everyone = np.asarray(multihost_utils.process_allgather(mine)).astype(np.uint32)
    disagreements = []
    for index, name in enumerate(values):
        processes = collections.defaultdict(list)
        for process in range(jax.process_count()):
            processes[everyone[process, index].tobytes().hex()].append(str(process))
        if len(processes) > 1:
            groups = [f"process {', '.join(same)} has {text}" for text, same in processes.items()]
            disagreements.append(f"{name}: {'; '.join(groups)} (hashes)")
    if disagreements:
        raise ValueError(
            f"the hosts disagree on {', and on '.join(disagreements)}. Start all of them from the "
            "same code, files and flags."
        )


def alone() -> bool:
    """Whether this job is one process."""
    return jax.process_count() == 1


def all_agree(mine: bool) -> bool:
    """Whether `mine` holds in every process; all of them must call it."""
    if alone():
        return mine
    return bool(np.all(multihost_utils.process_allgather(np.array(mine))))


def post(key: str, text: str) -> str:
    """Publish `text` as `key` to all processes; the first one stands, and is returned."""
    # Setting it fails where it is set already, or where the coordinator is gone.
    try:
        _client().key_value_set(key, text)
    except Exception:
        return look_up(key) or text
    return text


def look_up(key: str) -> str | None:
    """What a process has published as `key`, without waiting; None where nobody has."""
    # Not set, or the coordinator is gone, and then the runtime ends this process.
    try:
        return _client().key_value_try_get(key)
    except Exception:
        return None


def renew(key: str, text: str) -> None:
    """Publish `text` as `key`, in the place of what stood there."""
    # Where the coordinator is gone the runtime ends this process.
    with contextlib.suppress(Exception):
        _client().key_value_set(key, text, allow_overwrite=True)


def look_up_all(folder: str) -> dict[str, str]:
    """What has been published under `folder`, by the names that follow it."""
    try:
        entries = _client().key_value_dir_get(folder)
    except Exception:
        return {}
    return {key.rpartition("/")[2]: text for key, text in entries}


def end_all(code: ExitCode, message: str) -> NoReturn:
    """End all processes of the job with `code`, unless one of them has begun to end it."""
    _leave(post(_FATAL, f"{code:d} {message}"))


# ------------------------------------------------------------------ Finding the job


def _job_from_env() -> tuple[str, int, int] | None:
    """(coordinator, processes, process id) from our own variables; None where they are not set.

    Our own, because JAX reads none that work on any cluster.
    """
    names = ("REWARDJAX_COORDINATOR", "REWARDJAX_NUM_PROCESSES", "REWARDJAX_PROCESS_ID")
    missing = [name for name in names if name not in os.environ]
    if len(missing) == len(names):
        return None
    if missing:
        raise ValueError(f"{', '.join(missing)} not set: {', '.join(names)} go together")
    processes = _read_int(names[1], low=1)
    return os.environ[names[0]], processes, _read_int(names[2], low=0, below=processes)


def _cluster_found(env: Mapping[str, str]) -> bool:
    """Whether jax's own discovery should run.

    A Slurm *allocation* is not enough: only a step (srun) has several tasks running.
    """
    switch = env.get("JAX_DISTRIBUTED", "0")
    if switch not in ("0", "1"):
        raise ValueError(f"JAX_DISTRIBUTED must be 0 or 1, not {switch!r}")
    tpu_hosts = [host for host in env.get("TPU_WORKER_HOSTNAMES", "").split(",") if host]
    slices = env.get("MEGASCALE_NUM_SLICES", "1")
    return (
        switch == "1"
        or len(tpu_hosts) > 1
        or slices != "1"
        or int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1
    )


def _read_int(name: str, low: int, below: int | None = None) -> int:
    try:
        value = int(os.environ[name])
    except ValueError:
        raise ValueError(f"{name} must be a whole number, not {os.environ[name]!r}") from None
    if value < low:
        raise ValueError(f"{name}={value} is out of range: at least {low}")
    if below is not None and value >= below:
        raise ValueError(f"{name}={value} is out of range: at least {low}, below {below}")
    return value


# ------------------------------------------------------------------ Failing together


def _forward_failures() -> None:
    """From now on an uncaught exception in one process ends them all with one exit code.

    Even those that wait in a collective, where Python runs nothing but this thread.
    """
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(stop,), name="rewardjax-fatal", daemon=True)

    def excepthook(
        kind: type[BaseException], error: BaseException, trace: types.TracebackType | None
    ) -> None:
        stop.set()
        errors.tell(f"process {jax.process_index()}", error)
        message = "".join(traceback.format_exception_only(kind, error)).partition("\n")[0]
        end_all(errors.exit_code(error), f"process {jax.process_index()}: {message}")

    def finish() -> None:
        # A thread inside the client while the interpreter shuts down would crash a run that ended
        # well.
        stop.set()
        watcher.join()

    sys.excepthook = excepthook
    atexit.register(finish)  # runs before jax's own handler, which was registered earlier
    watcher.start()


def _watch(stop: threading.Event) -> None:
    while not stop.wait(_POLL_SECONDS):
        if (verdict := look_up(_FATAL)) is not None and not stop.is_set():
            _leave(verdict)


def _leave(verdict: str) -> NoReturn:
    """End this process with the code in `verdict`.

    Process 0 hosts the store and goes last: when it vanishes, the runtime aborts whoever is left
    with a code of its own.
    """
    code, _, message = verdict.partition(" ")
    me, others = jax.process_index(), jax.process_count() - 1
    print(f"[process {me}] stopping, the job failed: {message}", file=sys.stderr, flush=True)
    try:
        if me == 0:
            deadline = time.monotonic() + _GOODBYE_SECONDS
            while time.monotonic() < deadline and len(_client().key_value_dir_get(_SEEN)) < others:
                time.sleep(0.05)
        else:
            _client().key_value_set(f"{_SEEN}{me}", "1")
    except Exception as error:
        print(f"[process {me}] could not reach its peers: {error}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # sys.exit would wait in jax's shutdown barrier for processes that are gone.
    os._exit(int(code))


def _client() -> Any:
    """The coordinator's key-value store.

    JAX offers no public handle; this is the one place that reaches for the private one.
    """
    from jax._src import distributed

    return distributed.global_state.client
