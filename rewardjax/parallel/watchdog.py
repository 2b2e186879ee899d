"""A job that makes no progress ends, and says which process is to blame and what each was doing.

JAX notices a process that died, never one that is alive and stuck: its peers would wait for it in a
collective for as long as the job has money.
"""

import contextlib
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Iterator

import jax

from rewardjax.command.background import beside
from rewardjax.command.exit_codes import ExitCode
from rewardjax.parallel import distributed

# Seconds between two looks at the clock, and between two signs of life for the others to see.
LOOKS_EVERY, BEATS_EVERY = 0.1, 1.0
# Seconds for what needs the network: naming who is behind, and having the others leave too.
FAREWELL_SECONDS = 0.7
_BEAT = "rewardjax/beat/"


class Watchdog:
    """Ends the process where `beat` is not called for `minutes`."""

    def __init__(self, minutes: float):
        self._seconds = 60 * minutes
        self._last = time.monotonic()
        self._step = 0

    def beat(self, step: int) -> None:
        """Say that `step` is begun. Costs nothing."""
        self._last, self._step = time.monotonic(), step

    def watch(self, stop: threading.Event) -> None:
        """Watch until `stop`."""
        while not stop.wait(min(LOOKS_EVERY, self._seconds / 4)):
            if time.monotonic() - self._last > self._seconds:
                self._end()

    def show_life(self, stop: threading.Event) -> None:
        """Tell the others until `stop` which step this process is at."""
        # Not by the thread that watches: where the coordinator's process is stopped, its store
        # answers nobody, and whoever asks it waits.
        while not stop.wait(BEATS_EVERY):
            distributed.renew(f"{_BEAT}{jax.process_index()}", f"{self._step} {time.time():f}")

    def _end(self) -> None:
        me = jax.process_index()
        print(
            f"[process {me}] no progress for {self._seconds:.0f} s at step {self._step}; what its "
            "threads are doing:",
            file=sys.stderr,
            flush=True,
        )
        faulthandler.dump_traceback(sys.stderr, all_threads=True)
        message = f"process {me} waited {self._seconds:.0f} s at step {self._step}"
        if not distributed.alone():
            # The others hear of it, and leave with the same code. For the same reason as above
            # nobody waits for that without a bound; who does not hear it is aborted by the
            # runtime, and restarted as well.
            farewell = threading.Thread(target=_end_all, args=(message,), daemon=True)
            farewell.start()
            farewell.join(FAREWELL_SECONDS)
        print(f"[process {me}] {message}", file=sys.stderr, flush=True)
        os._exit(ExitCode.HANG)


def _end_all(message: str) -> None:
    laggards = _laggards(distributed.look_up_all(_BEAT))
    distributed.end_all(ExitCode.HANG, f"{message}; {laggards}")


def _laggards(beats: dict[str, str]) -> str:
    """Which processes are behind, or have shown no sign of life, from what each has posted."""
    steps, seen = {}, {}
    for process, text in beats.items():
        step, _, when = text.partition(" ")
        steps[process], seen[process] = int(step), float(when)
    silent = [name for name in seen if max(seen.values()) - seen[name] > 5 * BEATS_EVERY]
    if silent:
        return f"process {', '.join(silent)} shows no sign of life"
    behind = [name for name in steps if steps[name] < max(steps.values())]
    if behind:
        return f"process {', '.join(behind)} is behind the others"
    return "all processes are at the same step"


@contextlib.contextmanager
def watching(*, minutes: float = 30.0) -> Iterator[Watchdog]:
    """A watchdog while the block runs, with a first beat.

    Args:
        minutes: without a step, after which the job ends with code 43; 0 for never. They must cover
            an evaluation, a save and, where the block has one, a compilation.
    """
    watchdog = Watchdog(minutes)
    if minutes <= 0:
        yield watchdog
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(beside(watchdog.watch))
        if not distributed.alone():
            stack.enter_context(beside(watchdog.show_life))
        yield watchdog
