"""The process that runs a local or Ray executor, which lies pickled in a file.

A process of its own, because executors start others by forking or importing the main module again,
which neither a process with JAX's threads nor a notebook survives; and because an executor that
waits for a killed worker waits for ever, so that it must be possible to end it.
"""

import os
import signal
import sys
import threading
import time

import dill


def main() -> None:
    """Run the executor in the file, for as long as whoever started this process lives."""
    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    with open(sys.argv[1], "rb") as file:
        executor = dill.load(file)
    executor.run()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    # Its workers too: they would go on paying for what nobody waits for.
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
