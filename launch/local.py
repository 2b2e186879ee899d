"""Start one command as N cooperating processes on this machine, each with M fake CPU devices.

    python -m launch.local --processes 2 --devices 4 -- \
        python -m rewardjax.train --config=configs/tiny.py --workdir=runs/tiny

The command has to call `rewardjax.parallel.distributed.initialize()`, as train and evaluate do.
The processes share one fate: when one fails, the others are terminated, then killed, and the first
failure's exit code is returned. SIGTERM and SIGINT are passed on; where this process is killed, its
guard (guard.py) ends the others. With --restarts N the job is
started again after an end that a restart can mend (restarts.py). With --slices N each process
stands in for one of N slices of a TPU.
"""

import argparse
import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from launch import guard
from launch.restarts import FINAL, Spent, newest_verified, workdir_of

# Peers of a failed process have nothing left to save, only their own message to print.
FAILURE_GRACE_SECONDS = 5.0


def run(
    command: Sequence[str],
    processes: int,
    devices: int,
    grace_seconds: float = 60.0,
    restarts: int = 0,
    slices: int = 1,
) -> int:
    """Run `command` (an argv list) in `processes` processes of `devices` CPU devices each.

    Returns the first exit code that is not zero, else 0; a process killed by signal n counts as
    128 + n. A SIGTERM or SIGINT from outside is passed on; what still runs `grace_seconds` later is
    killed, and a second signal kills at once. Every output line is prefixed with the process that
    wrote it.

    What fails and can be mended by a restart is started again, at most `restarts` times in a row
    without a new verified checkpoint in the command's --workdir.
    """
    workdir = workdir_of(command)
    spent = Spent(0, newest_verified(workdir))
    with _receiving() as received:
        while True:
            with _guarded(grace_seconds) as guarded:
                code = _run_once(
                    command, processes, devices, grace_seconds, received, slices, guarded
                )
            spent = spent.after(code, newest_verified(workdir))
            # Whoever was told to stop is not started again, whatever he ended with.
            if restarts == 0 or code in FINAL or received or spent.restarts > restarts:
                return code
            print(
                f"the job ended with {code} and is started again: {spent.restarts} of {restarts} "
                "restarts without a new checkpoint",
                file=sys.stderr,
                flush=True,
            )


@contextlib.contextmanager
def _receiving() -> Iterator[list[int]]:
    """The numbers of the signals that arrive while the block runs, in place of their effects."""
    received: list[int] = []
    # Signals are only recorded here and passed on by the loop below: a handler must not wait for
    # a process.
    handlers = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _run_once(
    command: Sequence[str],
    processes: int,
    devices: int,
    grace_seconds: float,
    received: list[int],
    slices: int,
    guarded: Callable[[int], None],
) -> int:
    """Start all processes, and wait until they have ended; the first failure's exit code."""
    coordinator = f"127.0.0.1:{free_port()}"
    children: list[subprocess.Popen] = []
    pumps: list[threading.Thread] = []
    try:
        for index in range(processes):
            child = subprocess.Popen(
                command,
                env=child_env(coordinator, processes, index, devices, slices),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                # A group of its own, so that what it starts can be ended with it.
                start_new_session=True,
            )
            children.append(child)
            guarded(child.pid)
            for source, sink in ((child.stdout, sys.stdout), (child.stderr, sys.stderr)):
                assert source is not None
                pumps.append(
                    threading.Thread(target=_pump, args=(source, sink, f"[{index}] "), daemon=True)
                )
                pumps[-1].start()
        return _supervise(children, received, grace_seconds)
    finally:
        _signal_all(children, signal.SIGKILL)
        for child in children:
            child.wait()
        # Not for ever: a grandchild that was detached may hold the pipe open.
        for pump in pumps:
            pump.join(timeout=5)


@contextlib.contextmanager
def _guarded(grace_seconds: float) -> Iterator[Callable[[int], None]]:
    """Have process groups ended should this process be killed while the block runs.

    Yields a function that takes the number of a group.
    """
    # Isolated, since it needs nothing of this project; in a session of its own, so that it outlives
    # what is sent to this process's group.
    guarding = subprocess.Popen(
        [sys.executable, "-I", guard.__file__, str(grace_seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )

    def tell(word: object) -> None:
        assert guarding.stdin is not None
        # It is no reason to end a job that its guard was ended.
        with contextlib.suppress(BrokenPipeError):
            guarding.stdin.write(f"{word}\n")
            guarding.stdin.flush()

    try:
        yield tell
    finally:
        # Their numbers may soon belong to others.
        tell(guard.OVER)
        with contextlib.suppress(BrokenPipeError):
            guarding.communicate()


def child_env(
    coordinator: str, processes: int, index: int, devices: int, slices: int = 1
) -> dict[str, str]:
    """This environment plus what `rewardjax.parallel.distributed.initialize` reads.

    Less a device count in XLA_FLAGS, which would contradict it.
    """
    flags = [
        flag
        for flag in os.environ.get("XLA_FLAGS", "").split()
        if not flag.startswith("--xla_force_host_platform_device_count")
    ]
    return os.environ | {
        "XLA_FLAGS": " ".join(flags),
        "JAX_PLATFORMS": "cpu",
        "PYTHONUNBUFFERED": "1",
        "REWARDJAX_COORDINATOR": coordinator,
        "REWARDJAX_NUM_PROCESSES": str(processes),
        "REWARDJAX_PROCESS_ID": str(index),
        "REWARDJAX_CPU_DEVICES": str(devices),
        "REWARDJAX_SLICES": str(slices),
    }


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _supervise(children: list[subprocess.Popen], received: list[int], grace_seconds: float) -> int:
    """Wait for all `children`; on a failure or a signal in `received`, end them in time."""
    first_failure, passed_on, kill_at = 0, 0, float("inf")
    while True:
        codes = [child.poll() for child in children]
        # The first failure is the cause; its peers fail after it, with codes of their own.
        failed = [_exit_code(code) for code in codes if code]
        if failed and not first_failure:
            first_failure = failed[0]
            kill_at = min(kill_at, time.monotonic() + FAILURE_GRACE_SECONDS)
            _signal_all(children, signal.SIGTERM)
        if None not in codes:
            return first_failure
        if len(received) > passed_on:
            # The second signal is an impatient user's: no more grace.
            patience = grace_seconds
            if passed_on > 0:
                patience = 0.0
            kill_at = min(kill_at, time.monotonic() + patience)
            _signal_all(children, received[passed_on])
            passed_on += 1
        if time.monotonic() >= kill_at:
            _signal_all(children, signal.SIGKILL)
        time.sleep(0.05)


def _exit_code(code: int) -> int:
    # Popen tells a signal as a negative number; shells and Kubernetes tell it as 128 + n.
    if code < 0:
        return 128 - code
    return code


def _signal_all(children: list[subprocess.Popen], number: int) -> None:
    """Send a signal to each running child and to whatever it started."""
    for child in children:
        if child.poll() is None:
            try:
                os.killpg(child.pid, number)
            except ProcessLookupError:
                pass


def _pump(source: IO[str], sink: IO[str], prefix: str) -> None:
    for line in source:
        # A last line without its end would run into another process's next one.
        sink.write(prefix + line.removesuffix("\n") + "\n")
        sink.flush()


def main(argv: Sequence[str]) -> int:
    """Run what the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m launch.local",
        description="Run a command as several processes with fake CPU devices.",
    )
    parser.add_argument("--processes", type=int, default=2, help="how many processes (hosts)")
    parser.add_argument("--devices", type=int, default=4, help="fake CPU devices of each process")
    parser.add_argument(
        "--grace",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="from SIGTERM or SIGINT to SIGKILL",
    )
    parser.add_argument(
        "--slices",
        type=int,
        default=1,
        metavar="N",
        help="N processes stand in for the slices of a TPU; default: all are one slice",
    )
    parser.add_argument(
        "--restarts",
        type=int,
        default=0,
        metavar="N",
        help="start a failed job again, at most N times in a row without a new checkpoint",
    )
    parser.add_argument("command", nargs="+", help="after --: the command and its arguments")
    args = parser.parse_args(argv)
    if args.processes < 1 or args.devices < 1:
        parser.error("--processes and --devices must be at least 1")
    if args.slices not in (1, args.processes):
        parser.error("--slices must be 1, or the number of --processes, each of which is a slice")
    if args.restarts < 0:
        parser.error("--restarts must be at least 0")
    print(
        f"{args.processes} processes x {args.devices} devices: {shlex.join(args.command)}",
        file=sys.stderr,
    )
    return run(args.command, args.processes, args.devices, args.grace, args.restarts, args.slices)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
