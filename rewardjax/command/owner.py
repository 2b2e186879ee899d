"""One process at a time works in a folder, and one that was killed is in nobody's way.

    with owner.owning(folder):
        ...                     a second process is refused with host, process and start of this one

On a local disk the kernel holds a lock on owner.lock and releases it when the process ends,
however it ends. Network and object storage (NFS, Lustre, mounted buckets) may grant such a lock to
every host at once, and a bucket (io/storage.py) has none. There the owner holds a lease, the file
owner.lease.N, which a thread renews: whoever wants the folder watches it, and makes lease N + 1
where it is renewed no more. A lease is judged by the clock of who watches, so that clocks of hosts
need not agree. All processes must see the folder through the same kind of file system.
"""

import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO, NamedTuple, NoReturn

from rewardjax.command.background import beside
from rewardjax.command.exit_codes import ExitCode
from rewardjax.io import files, storage

LOCK, LEASE = "owner.lock", "owner.lease."
# Seconds after which a lease that was not renewed is over, and between two renewals. Compiling a
# large model can keep a thread waiting for tens of seconds: several renewals may be missed.
EXPIRES, RENEWED_EVERY = 60.0, 8.0
# File systems of one host, whose kernel sees every lock. Others, FUSE among them, answer `flock`
# with success and tell no other host: an unknown one is taken for one of these.
LOCAL = frozenset(
    [
        "ext2",
        "ext3",
        "ext4",
        "xfs",
        "btrfs",
        "zfs",
        "f2fs",
        "jfs",
        "bcachefs",
        "overlay",
        "tmpfs",
        "ramfs",
        "apfs",
        "hfs",
    ]
)
# Files whose lock a forked child must not hold on to after its parent was killed.
_LOCKED: set[IO[str]] = set()


class Owned(ValueError):
    """Another process works in the folder; the message names it."""


class Owner(NamedTuple):
    """A process, so that it can be recognized and looked for."""

    host: str
    process: int
    started: str  # when it began to own the folder
    # Boot and process namespace: containers may share the name of their host, and numbers of
    # processes mean nothing outside of their namespace.
    machine: str
    # The kernel's time of the process's start: its number may be given to another one later.
    ticks: str
    token: str  # of this ownership


@contextlib.contextmanager
def owning(folder: str | pathlib.Path) -> Iterator[None]:
    """Own `folder`, made where there is none, while the block runs.

    Where leases are used, this may wait EXPIRES seconds to see whether another owner is alive, and
    a process that lost its lease, because it was stopped for longer, ends at once.

    Raises:
        Owned: where another process owns it.
    """
    folder = storage.path_of(folder)
    files.make_folder(folder)
    # Whoever works in it opens its files, and would wait at a pipe for ever.
    files.refuse_pipes_in(folder)
    own = _leased
    if has_kernel_locks(folder):
        own = _locked
    with own(folder):
        yield


def has_kernel_locks(folder: pathlib.Path) -> bool:
    """Whether a lock on a file in `folder` is seen by everybody who can open it."""
    if storage.is_address(folder):
        return False
    kind = _file_system(folder)
    # Not Linux: the disks of other systems are local unless somebody went out of their way.
    return kind is None or kind in LOCAL


def _file_system(folder: pathlib.Path) -> str | None:
    """The type of the file system that `folder` lies on; None where the system does not tell."""
    table = pathlib.Path("/proc/self/mountinfo")
    if not table.exists():
        return None
    path, kind, longest = folder.resolve(), None, -1
    for line in table.read_text().splitlines():
        mount, _, source = line.partition(" - ")
        # Blanks in a path are written in octal.
        point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), mount.split(" ")[4])
        # Of mounts over one another the last one is seen.
        if path.is_relative_to(point) and len(point) >= longest:
            kind, longest = source.split(" ")[0], len(point)
    return kind


def this_process() -> Owner:
    """This process, as an owner from now on."""
    boot, namespace = pathlib.Path("/proc/sys/kernel/random/boot_id"), "/proc/self/ns/pid"
    machine = socket.gethostname()
    if boot.exists():
        machine = f"{boot.read_text().strip()} {os.readlink(namespace)}"
    now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    pid = os.getpid()
    return Owner(socket.gethostname(), pid, now, machine, _ticks(pid), secrets.token_hex(8))


def _ticks(pid: int) -> str:
    """The kernel's start time of a process; empty where there is none, or it is not told."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # The name of the program, in parentheses, may hold blanks and parentheses itself.
    return stat.rpartition(")")[2].split()[19]


def is_running(process: Owner) -> bool | None:
    """Whether a process is alive; None where it is not of this machine, or that is not told."""
    if process.machine != this_process().machine or not process.ticks:
        return None
    return _ticks(process.process) == process.ticks


def _refuse(folder: pathlib.Path, owner: Owner | None) -> NoReturn:
    who = "another process"
    if owner is not None:
        who = f"process {owner.process} on {owner.host}, started {owner.started},"
    raise Owned(f"{folder}: {who} works in this folder; wait until it ends, or stop it")


def _read(path: pathlib.Path) -> Owner | None:
    """The owner that a file names; None where it is gone, or just being written."""
    try:
        return Owner(**json.loads(path.read_text())["owner"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


# ------------------------------------------------------------------ a lock of the kernel


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    # Opened to append: what it says of another owner must stay until the lock is ours.
    with open(folder / LOCK, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _refuse(folder, _read(folder / LOCK))
        file.truncate(0)
        file.write(json.dumps({"owner": this_process()._asdict()}) + "\n")
        file.flush()
        _LOCKED.add(file)
        try:
            yield
        finally:
            _LOCKED.discard(file)


def _forget_locks() -> None:
    # A lock lasts until all copies of its file are closed, and a fork copies it.
    for file in _LOCKED:
        file.close()
    _LOCKED.clear()


os.register_at_fork(after_in_child=_forget_locks)


# ------------------------------------------------------------------ a lease


@contextlib.contextmanager
def _leased(folder: pathlib.Path) -> Iterator[None]:
    owner = this_process()
    path = _take(folder, owner)
    try:
        with beside(_renew, path, owner):
            yield
    finally:
        if _read(path) == owner:
            files.remove(path)


def _take(folder: pathlib.Path, owner: Owner) -> pathlib.Path:
    """Make the next lease of `folder`. Raises Owned where the newest one is alive."""
    while True:
        leases = _leases(folder)
        number = 0
        if leases:
            _refuse_alive(folder, leases[-1])
            number = _number(leases[-1]) + 1
        path = folder / f"{LEASE}{number:06d}"
        if not _made(path, _lease_text(owner, 0)):
            continue
        for old in leases:
            files.remove(old)
        return path


def _made(lease: pathlib.Path, text: str) -> bool:
    """Make a lease unless there is one: of several that saw the last one end, one makes it."""
    if storage.is_address(lease):
        return files.create(lease, text)
    # Not by a link, as files.create does: mounted buckets have none.
    try:
        with open(lease, "x") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def _leases(folder: pathlib.Path) -> list[pathlib.Path]:
    """The leases in a folder, the newest last."""
    leases = []
    for name in storage.names_in(folder):
        if name.startswith(LEASE) and name.removeprefix(LEASE).isdigit():
            leases.append(folder / name)
    return sorted(leases, key=_number)


def _number(lease: pathlib.Path) -> int:
    return int(lease.name.removeprefix(LEASE))


def _lease_text(owner: Owner, renewal: int) -> str:
    return json.dumps({"owner": owner._asdict(), "renewal": renewal}) + "\n"


def _refuse_alive(folder: pathlib.Path, lease: pathlib.Path) -> None:
    """Return when the owner of a lease is dead or gone. Raises Owned where it is alive."""
    holder = _read(lease)
    if holder is not None:
        # A process of this machine can be looked for, which takes no time.
        running = is_running(holder)
        if running:
            _refuse(folder, holder)
        if running is False:
            return
        print(
            f"{folder}: waiting at most {EXPIRES:.0f} s to see whether process {holder.process} on "
            f"{holder.host} still works in it",
            file=sys.stderr,
            flush=True,
        )
    first, end = _text(lease), time.monotonic() + EXPIRES
    while time.monotonic() < end:
        time.sleep(EXPIRES / 100)
        now = _text(lease)
        if now is None:
            return
        if now != first:
            _refuse(folder, _read(lease))


def _text(lease: pathlib.Path) -> str | None:
    try:
        return lease.read_text()
    except FileNotFoundError:
        return None


def _renew(path: pathlib.Path, owner: Owner, stop: threading.Event) -> None:
    """Renew a lease until `stop`; end the process where another one may have taken it over."""
    renewal, renewed = 0, time.monotonic()
    while not stop.wait(min(RENEWED_EVERY, EXPIRES / 6)):
        newer = False
        # Storage that is away for a while, which clients tell by errors of many kinds, is tried
        # again, until the lease is over.
        with contextlib.suppress(Exception):
            newer = any(_number(lease) > _number(path) for lease in _leases(path.parent))
        if newer or time.monotonic() - renewed > EXPIRES:
            _end(path.parent)
        renewal += 1
        with contextlib.suppress(Exception):
            with files.replacing(path, many_writers=True) as part:
                part.write_text(_lease_text(owner, renewal))
            renewed = time.monotonic()


def _end(folder: pathlib.Path) -> NoReturn:
    print(
        f"{folder}: this process could not renew its lease for {EXPIRES:.0f} s, and another one "
        "may work in the folder now; start it again",
        file=sys.stderr,
        flush=True,
    )
    # As if killed, from whatever thread: every further write could meet one of the new owner.
    os._exit(ExitCode.HANG)
