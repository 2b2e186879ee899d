"""A window of steps recorded for TensorBoard: where a step's time goes, on device and host.

    tensorboard --logdir WORKDIR/profile      # needs the plugin tensorboard-plugin-profile

The folder holds XPlane files, one per host, as `jax.profiler` writes them.
"""

import pathlib
from typing import Any

import jax


def parse_window(text: str, first_step: int, last_step: int) -> range:
    """`"10:12"` -> steps 10, 11 and 12, as far as this process takes them; no step for `""`.

    Raises ValueError for anything else.
    """
    if not text:
        return range(0)
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise ValueError(
            f"log.profile = {text!r}: write two steps as first:last, such as 10:12, counted from 1"
        )
    return range(max(int(first), first_step), min(int(last), last_step) + 1)


def start(window: range, step: int, folder: pathlib.Path) -> None:
    """Begin to record before the first step of the window."""
    if window and step == window[0]:
        jax.profiler.start_trace(str(folder))


def stop(window: range, step: int, results: Any) -> None:
    """Write the record after the last step of the window, whose `results` are waited for."""
    if window and step == window[-1]:
        # Steps are dispatched ahead: without waiting, the last ones would not be in the record yet.
        jax.block_until_ready(results)
        jax.profiler.stop_trace()
