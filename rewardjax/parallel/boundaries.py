"""What all processes of a job do at the same step, though only one of them knows that it is due.

A signal reaches one host, and a clock is one host's own. Whoever knows posts a step that nobody can
have reached yet, and everybody looks for it between steps.
"""

import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from rewardjax.parallel import distributed

# A step's metrics are fetched one step late and need every host, so that no host can be more than
# two steps ahead of another.
LEAD = 3
STOP, SAVE = "stop", "save"


class Boundaries:
    """Requests to all processes, and the step at which each is due."""

    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._posted: set[str] = set()
        # How often a request was met: the next of its kind has another key.
        self._met: dict[str, int] = {}

    def request(self, what: str) -> None:
        """Have `what` done soon by all processes. May be called from a signal handler."""
        # Only noted: a handler must not wait for the network.
        self._wanted.add(what)

    def due(self, what: str, step: int) -> bool:
        """Whether all processes do `what` at `step`, each of which every process asks about."""
        if distributed.alone():
            due = what in self._wanted
            self._wanted.discard(what)
            return due
        key = f"rewardjax/{what}/{self._met.get(what, 0)}"
        if what in self._wanted and key not in self._posted:
            # Of several hosts that post, the first one counts.
            distributed.post(key, str(step + LEAD))
            self._posted.add(key)
        posted = distributed.look_up(key)
        if posted is None or step < int(posted):
            return False
        self._wanted.discard(what)
        self._met[what] = self._met.get(what, 0) + 1
        return True


@contextmanager
def stopping_on_signals() -> Iterator[Boundaries]:
    """Boundaries at which SIGTERM or SIGINT, on whatever host, asks everybody to STOP.

    A second signal ends the process at once, with 128 + its number.
    """
    boundaries = Boundaries()

    def stop(name: str) -> None:
        print(f"{name}: saving and stopping; again to stop at once", file=sys.stderr, flush=True)
        boundaries.request(STOP)

    with _on_signals(stop):
        yield boundaries


@contextmanager
def leaving_on_signals(leave: Callable[[str], NoReturn]) -> Iterator[None]:
    """Have SIGTERM or SIGINT call `leave`, which raises, while there is nothing to save yet.

    It gets the signal's name. A second signal ends the process at once, with 128 + its number.
    """
    with _on_signals(leave):
        yield


@contextmanager
def _on_signals(act: Callable[[str], None]) -> Iterator[None]:
    """Act on the first SIGTERM or SIGINT while the block runs; the second one ends the process.

    JAX's own handler of SIGTERM, which a job of several processes has and which only notes the
    signal, gives way to this one.
    """
    received: list[int] = []

    def handle(number: int, frame: types.FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            os._exit(128 + number)
        act(signal.Signals(number).name)

    # Only the main thread may set handlers: elsewhere signals keep their meaning.
    numbers: tuple[int, ...] = ()
    if threading.current_thread() is threading.main_thread():
        numbers = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
