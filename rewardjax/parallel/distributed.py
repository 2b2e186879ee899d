"""Multi-controller start-up: every process calls `initialize()` before it touches a device.

A job that lost a process cannot go on, so all of its processes should end at once and with the exit
code that tells a restart policy what to do. The JAX runtime does that for a process that vanished.
A Python exception is slower: the failed process waits in the shutdown barrier, then the runtime
aborts everybody with code 134, which reads like an outage and is retried. Here the failed process
leaves its message in the coordinator's key-value store, its peers poll for it, and all exit with
the code of its error (command/exit_codes.py). An exception that only says that a peer or the
network went away has the runtime's 134, so that it is retried.
"""

import atexit
import contextlib
import os
import sys
import threading
import time
import traceback
import types
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from rewardjax.command import errors, job
from rewardjax.command.exit_codes import ExitCode

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
        jax.config.update("jax_num_cpu_devices", job.read_int("REWARDJAX_CPU_DEVICES", low=1))
    named = job.named()
    if named is None and not job.is_to_be_discovered():
        return
    # CPU devices of several processes can exchange nothing by default.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if named is None:
        jax.distributed.initialize()
    else:
        jax.distributed.initialize(named.coordinator, named.processes, named.process)
    if jax.process_count() > 1:
        _forward_failures()


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


def wait_for(key: str, seconds: float) -> str | None:
    """What a process publishes as `key`; None where nobody has in so many seconds."""
    # It fails at the deadline, and where the coordinator is gone; then the runtime ends us.
    try:
        return _client().blocking_key_value_get(key, int(1000 * seconds))
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
        code = errors.exit_code(error)
        message = "".join(traceback.format_exception_only(kind, error)).partition("\n")[0]
        # All of them, so that whichever host's log is looked at has them.
        if code == ExitCode.USER:
            message = "; ".join(errors.sentences(error))
        end_all(code, f"process {jax.process_index()}: {message}")

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
