"""Orbax tells of a failure where it is asked; what its threads print beside that is left out.

A disk that is full is one sentence of `SaveFailed`, and was a thousand lines: each thread that
writes ends with a traceback, and reads that are cut short call into a loop that is over.
"""

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

LOOP_IS_OVER = "Event loop is closed"


@contextlib.contextmanager
def told_once() -> Iterator[None]:
    """The block, in which tracebacks of Orbax's threads and of its closed loops are not printed."""
    of_threads, of_callbacks = threading.excepthook, sys.unraisablehook

    def in_thread(ended: Any) -> None:
        # Orbax keeps the error too, and raises it in whoever waits for the thread.
        if not type(ended.thread).__module__.startswith("orbax"):
            of_threads(ended)

    def in_callback(ended: Any) -> None:
        if str(ended.exc_value) != LOOP_IS_OVER:
            of_callbacks(ended)

    threading.excepthook, sys.unraisablehook = in_thread, in_callback
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = of_threads, of_callbacks
