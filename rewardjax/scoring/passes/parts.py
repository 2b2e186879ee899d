"""The parts of a pass: claimed, attempted, and committed once."""

import contextlib
import json
import os
import pathlib
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from rewardjax import fingerprint
from rewardjax.command import owner
from rewardjax.command.background import beside
from rewardjax.command.owner import Owner
from rewardjax.io import files, storage
from rewardjax.scoring.passes import records
from rewardjax.scoring.passes.plan import name_of

# A claim is renewed by whoever works on it; after so many seconds without, another may begin.
CLAIM_SECONDS = 120.0


class Attempt(NamedTuple):
    """The files of one try at a unit, by what is in them."""

    unit: int
    files: dict[str, pathlib.Path]


def folder_of(output: pathlib.Path) -> pathlib.Path:
    """Where the parts of a pass are until all are done."""
    return output.with_name(output.name + ".parts")


def committed(folder: pathlib.Path) -> set[int]:
    """The units that are done."""
    names = [name.removesuffix(".json") for name in storage.names_in(folder)]
    return {int(name) for name in names if name.isdecimal()}


def commit_path(folder: pathlib.Path, unit: int) -> pathlib.Path:
    """The file that makes a unit done."""
    return folder / f"{name_of(unit)}.json"


def attempt(folder: pathlib.Path, unit: int, **endings: str) -> Attempt:
    """Names that no other attempt has, on whatever host.

    endings: of each of its files, by what will be in it.
    """
    stem = f"{name_of(unit)}-{secrets.token_hex(4)}"
    return Attempt(unit, {name: folder / f"{stem}{ending}" for name, ending in endings.items()})


def commit(folder: pathlib.Path, attempted: Attempt, account: dict[str, Any]) -> bool:
    """Make an attempt the unit's, unless another one is; whether it was.

    account: what became of the unit's records, for whoever reads the commit.
    """
    record: dict[str, Any] = {"account": account}
    for name, path in attempted.files.items():
        record |= {name: path.name, f"{name}_sha": fingerprint.of_file(path)}
        # What a commit names must be on the disk before it is; an object is there or is not.
        if not storage.is_address(path):
            with open(path, "rb") as file:
                os.fsync(file.fileno())
    return files.create(commit_path(folder, attempted.unit), json.dumps(record) + "\n")


def committed_files(folder: pathlib.Path, unit: int) -> dict[str, pathlib.Path]:
    """The files that a unit's commit names, by what is in them; none where it is not done."""
    try:
        record = records.read(commit_path(folder, unit), ())
    except FileNotFoundError:
        return {}
    names = [name.removesuffix("_sha") for name in record if name.endswith("_sha")]
    return {name: folder / record[name] for name in names}


def is_claimed(folder: pathlib.Path, unit: int) -> bool:
    """Whether somebody who seems to be alive works on `unit`."""
    path = _claim_path(folder, unit)
    return path.exists() and not _is_over(path)


@contextlib.contextmanager
def claimed(folder: pathlib.Path, unit: int) -> Iterator[bool]:
    """Whether this process may begin `unit`: nobody else who is alive has claimed it.

    The claim is renewed while the block runs.
    """
    path, mine = _claim_path(folder, unit), json.dumps(owner.this_process()._asdict())
    if not files.create(path, mine):
        if not _is_over(path):
            yield False
            return
        # Two may come here at once, and then both do the unit: only one of them can commit it.
        path.write_text(mine)
    try:
        with beside(_renew, path, mine):
            yield True
    finally:
        # One that was taken over is somebody else's.
        with contextlib.suppress(FileNotFoundError):
            if path.read_text() == mine:
                files.remove(path)


def _renew(claim: pathlib.Path, mine: str, done: threading.Event) -> None:
    while not done.wait(CLAIM_SECONDS / 6):
        # Whatever a disk or a client says: the worst is that another worker does the unit too.
        with contextlib.suppress(Exception):
            if storage.is_address(claim):
                claim.write_text(mine)
            else:
                os.utime(claim)


def _claim_path(folder: pathlib.Path, unit: int) -> pathlib.Path:
    return folder / f"{name_of(unit)}.claim"


def _is_over(claim: pathlib.Path) -> bool:
    """Whether whoever claimed a unit is gone."""
    try:
        touched = storage.changed_at(claim)
        holder = Owner(**json.loads(claim.read_text()))
    except FileNotFoundError:
        return False  # just removed
    except (ValueError, TypeError):
        holder = None  # just being written, or damaged
    if holder is not None and owner.is_running(holder) is False:
        return True
    return time.time() - touched > CLAIM_SECONDS
