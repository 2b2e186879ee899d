"""How far the processes are that tokenize one data set: each writes a file now and then.

A file, since the processes may be on other machines and have nothing in common but the folder.
"""

import contextlib
import json
import os
import pathlib
import socket
import time
from typing import NamedTuple

from rewardjax.io import files, own_files

FOLDER = "tally"
WRITES_EVERY = 2.0  # seconds


class Sum(NamedTuple):
    """Records, tokens and CPU seconds of all processes."""

    records: int = 0
    tokens: int = 0
    cpu_seconds: float = 0.0

    def since(self, earlier: "Sum") -> "Sum":
        """What has been done since an earlier look."""
        return Sum(
            self.records - earlier.records,
            self.tokens - earlier.tokens,
            self.cpu_seconds - earlier.cpu_seconds,
        )

    @property
    def per_core(self) -> float:
        """Tokens per CPU second."""
        return self.tokens / max(self.cpu_seconds, 1e-9)


class Tally:
    """What this process has done."""

    def __init__(self, folder: pathlib.Path):
        path = folder / FOLDER
        path.mkdir(parents=True, exist_ok=True)
        # Time too: a process that was killed may have had this one's number.
        name = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}.json"
        self._path = path / name
        self._records = self._tokens = 0
        self._began = time.process_time()
        self._wrote = time.monotonic()

    def add(self, tokens: int) -> bool:
        """One more record, of so many tokens; whether it was time to write the file."""
        self._records += 1
        self._tokens += tokens
        is_time = time.monotonic() - self._wrote >= WRITES_EVERY
        if is_time:
            self.write()
        return is_time

    def write(self) -> None:
        """Write the file."""
        self._wrote = time.monotonic()
        cpu_seconds = time.process_time() - self._began
        # Neither a full disk nor somebody who has begun anew must end the work.
        with contextlib.suppress(OSError), files.replacing(self._path) as part:
            part.write_text(json.dumps([self._records, self._tokens, cpu_seconds]))


def total(folder: pathlib.Path) -> Sum:
    """The sum of all processes' files."""
    values = []
    for path in (folder / FOLDER).glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            values.append(own_files.read_value(path))
    if not values:
        return Sum()
    records, tokens, cpu_seconds = zip(*values, strict=True)
    return Sum(sum(records), sum(tokens), sum(cpu_seconds))
