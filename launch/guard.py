"""Ends the processes of a launcher that was killed, which nobody else would.

    python -m launch.guard GRACE_SECONDS

The launcher (local.py) holds the other end of this process's standard input and writes there the
number of each process group that it starts. However the launcher ends, the kernel closes its end.
"""

import argparse
import contextlib
import os
import signal
import sys
import time

CHECKED_EVERY = 0.1  # seconds
OVER = "over"  # written by a launcher that has ended its processes itself


def main() -> None:
    """Wait for the launcher's end; then end its process groups as it would have done."""
    parser = argparse.ArgumentParser(prog="python -m launch.guard")
    parser.add_argument("grace_seconds", help="from SIGTERM to SIGKILL")
    grace_seconds = float(parser.parse_args().grace_seconds)
    # What is sent to the launcher's terminal is for the launcher to pass on.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    lines = sys.stdin.read().split()
    if OVER in lines:
        return
    groups = [int(line) for line in lines]
    print("launch.local was killed; the processes that it started are ended", file=sys.stderr)
    _signal(groups, signal.SIGTERM)
    kill_at = time.monotonic() + grace_seconds
    while any(map(_is_alive, groups)) and time.monotonic() < kill_at:
        time.sleep(CHECKED_EVERY)
    _signal(groups, signal.SIGKILL)


def _signal(groups: list[int], number: int) -> None:
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
