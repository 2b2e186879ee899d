"""A thread beside a block of code: signs of life, renewals, a bar."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beside(target: Callable[..., None], *args: object) -> Iterator[None]:
    """Run `target(*args, stop)` on a thread while the block runs.

    `stop`, a threading.Event, is set at the block's end, which waits for the target to return.
    """
    stop = threading.Event()
    # A daemon: a process that ends in the middle of the block must not wait for it.
    thread = threading.Thread(target=target, args=(*args, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
