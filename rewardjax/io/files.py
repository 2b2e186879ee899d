"""Files and folders that appear whole or not at all, and files that came in place of others.

What is written here may be an address in object storage too (storage.py), with the same promises.
"""

import contextlib
import errno
import fcntl
import os
import pathlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator

from rewardjax.io import storage

HEAD = 512  # bytes that tell what a file is
# What the system says where nothing more can be written: a disk, a quota, the size of a file.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UTF8_BOM = b"\xef\xbb\xbf"
ANNEX = b"/annex/objects/"
# How a page or an answer of a server begins that came in place of a file.
PAGES = (b"<!doctype", b"<html", b"<?xml", b"<!--", b"<head", b"<body", b"<error")


def refuse_stand_in(path: pathlib.Path) -> None:
    """Raise ValueError for what is in place of a file: a Git LFS pointer, a web page, a pipe.

    A file that is not there is left to whoever opens it, but for a link to nothing.
    """
    if not storage.is_address(path):
        if path.is_symlink() and not path.exists():
            _refuse_link(path)
        refuse_pipe(path)
    if not path.exists():
        return
    with storage.opened(path) as raw:
        head = raw.read(HEAD)
    if head.startswith(ANNEX):
        raise ValueError(
            f"{path}: a git-annex pointer, not the file itself; run `git annex get {path.name}`"
        )
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        raise ValueError(
            f"{path}: a Git LFS pointer, not the file itself; run `git lfs pull` in its repository"
        )
    first = head.removeprefix(UTF8_BOM).lstrip().lower()
    if first.startswith(PAGES):
        raise ValueError(
            f"{path}: a web page under the file's name; download the file itself (on the hub its "
            "address has /resolve/ where the page's has /blob/), logged in where that is needed"
        )


def refuse_pipe(path: pathlib.Path) -> None:
    """Raise ValueError for a pipe, a device or a folder in the place of a file."""
    # Nothing but objects is in a bucket.
    if storage.is_address(path):
        return
    if path.exists() and not path.is_file():
        # Opening a pipe waits for somebody who writes into it, for ever.
        raise ValueError(f"{path}: {_kind(path)}, not a file; name the file itself")


def text_of(path: pathlib.Path) -> str:
    """The text of a file. Raises ValueError for a pipe in its place, which would be waited at."""
    refuse_pipe(path)
    return path.read_text()


def _kind(path: pathlib.Path) -> str:
    """What is at a path in place of a file."""
    if path.is_dir():
        return "a folder"
    if path.is_fifo():
        return "a pipe"
    return "a device or a socket"


def _refuse_link(path: pathlib.Path) -> None:
    target = os.readlink(path)
    if "annex/objects" in target:
        raise ValueError(
            f"{path}: a git-annex link without its content; run `git annex get {path.name}`"
        )
    raise ValueError(f"{path}: a link to {target}, which is not there; copy the file itself")


@contextlib.contextmanager
def replacing(path: str | os.PathLike, *, many_writers: bool = False) -> Iterator[pathlib.Path]:
    """Yield a temporary path beside `path`, and give it the name `path` when the block ends well.

    The block writes a file there, or makes a folder. A reader sees what was at `path` before, or
    all of the new content. If the block raises, the temporary path is removed and `path` stays as
    it was. A folder can only replace nothing or an empty folder (OSError otherwise).

    For an address in object storage the temporary path is on this machine's disk, and is uploaded:
    a file is one object, and appears whole; the files of a folder appear one after the other.

    Args:
        path: what appears at the end; the folder around it must exist.
        many_writers: whether several processes may write `path` at the same time.
    """
    if storage.is_address(path):
        with _uploading(storage.path_of(path)) as part:
            yield part
        return
    final = pathlib.Path(path)
    # By default the name is the same for every process: what a killed one left behind is
    # overwritten by the next try instead of filling the disk. Where processes may write at the
    # same time, each needs a name of its own, or one could rename what another has half written.
    # At the end of the name, so that a glob for *.json or *.parquet does not match it.
    ending = ".part"
    if many_writers:
        # Not of the process: on two hosts, or in two containers, it may have the same number.
        ending = f".{secrets.token_hex(4)}.part"
    part = final.with_name(final.name + ending)
    remove(part)
    try:
        yield part
        if part.is_file():
            # The rename may reach the disk before the bytes do: after a power cut the file would
            # exist and be empty.
            with open(part, "rb") as file:
                os.fsync(file.fileno())
        os.replace(part, final)
    except OSError as error:
        # An error of writing names no file, and the message has to say which disk is full.
        if error.filename is None and error.errno in NO_ROOM:
            error.filename = os.fspath(final)
        raise
    finally:
        remove(part)


@contextlib.contextmanager
def _uploading(address: pathlib.Path) -> Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory() as folder:
        part = pathlib.Path(folder) / address.name
        yield part
        if part.is_file():
            storage.upload(part, address)
            return
        written = [file for file in part.rglob("*") if file.is_file()]
        # Small ones last: the description by which a folder is known must not come before weights.
        for file in sorted(written, key=lambda file: file.stat().st_size, reverse=True):
            storage.upload(file, address / file.relative_to(part).as_posix())


def make_folder(path: pathlib.Path) -> None:
    """Make a folder and those above it, unless they are there; object storage has none."""
    if not storage.is_address(path):
        path.mkdir(parents=True, exist_ok=True)


def create(path: str | os.PathLike, text: str) -> bool:
    """Make the file `path` unless there is one; whether it was made.

    Of several processes, on whatever hosts, that try at the same time with texts of their own,
    exactly one does, and whoever reads the file finds all of it.
    """
    if storage.is_address(path):
        return storage.create(storage.path_of(path), text.encode())
    final = pathlib.Path(path)
    part = final.with_name(f".{final.name}.{secrets.token_hex(4)}.part")
    with open(part, "x") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        # A link, since a rename would replace what is there.
        os.link(part, final)
    except FileExistsError:
        return False
    finally:
        part.unlink()
    return True


@contextlib.contextmanager
def locked(path: str | os.PathLike) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; other processes of this machine wait here."""
    # By flock, and not by a file that exists or not: the kernel releases the lock when the process
    # ends, however it ends, and what has to be removed would stay behind.
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def refuse_address(path: str | os.PathLike) -> None:
    """Raise ValueError for an address such as gs://BUCKET/FOLDER where a path is expected."""
    # Taken for a path it would be a folder here, named "gs:", and everything in it would be lost
    # with the machine.
    if storage.ADDRESS.match(os.fspath(path)):
        raise ValueError(
            f"{path} is an address and not a path; mount the bucket (launch/jobset.py does) and "
            "give the path of the mount"
        )


def unwritable(path: str | os.PathLike, *, addresses: bool = False) -> str | None:
    """Why nothing can be written to the folder `path`, as a sentence; None where it can be.

    The folder need not exist: then it is the one above it that must take a new folder. What the
    check makes is removed again. addresses: whether one in object storage will do.
    """
    try:
        if addresses:
            path = storage.path_of(path)
        else:
            refuse_address(path)
    except ValueError as error:
        return str(error)
    if storage.is_address(path):
        return storage.unwritable(storage.path_of(path))
    if reason := _no_name(os.fspath(path)):
        return reason
    folder = pathlib.Path(path).absolute()
    if folder.is_symlink() and not folder.exists():
        return f"{path} is a link to {os.readlink(folder)}, which is not there; make that folder"
    above = _nearest(folder)
    if not above.is_dir():
        return f"{path} cannot be a folder: {above} is a file"
    try:
        # Permission bits do not tell: root passes them where the file system is read-only.
        with tempfile.TemporaryFile(dir=above):
            return None
    except OSError as error:
        return f"{path} is not writable: {above}: {error.strerror}"


def _no_name(path: str) -> str | None:
    """Why a path is no name for a folder, as a sentence; None where it is one."""
    if not path.strip():
        return f"{path!r} names no folder"
    # Libraries in C++, and the records of a run, hold names in UTF-8 alone.
    try:
        path.encode()
    except UnicodeEncodeError:
        return f"{path!r}: the name is not UTF-8; choose another"
    return None


def refuse_pipes_in(folder: pathlib.Path) -> None:
    """Raise ValueError where a pipe or a device lies in a folder of ours, in place of a file."""
    for path in pipes_in(folder):
        refuse_pipe(path)


def pipes_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """The pipes and devices that lie in a folder; none where it is not there."""
    pipes: list[pathlib.Path] = []
    # Nothing but objects is in a bucket.
    if storage.is_address(folder) or not folder.exists():
        return pipes
    with os.scandir(folder) as entries:
        for entry in entries:
            # A folder in the place of a file says so when it is opened, and so does a link to
            # nothing.
            is_there = not entry.is_symlink() or os.path.exists(entry.path)
            if not entry.is_file() and not entry.is_dir() and is_there:
                pipes.append(pathlib.Path(entry.path))
    return pipes


def free_bytes(path: str | os.PathLike) -> int:
    """Bytes that can still be written to the folder `path`, which need not exist yet."""
    return shutil.disk_usage(_nearest(pathlib.Path(path).absolute())).free


def _nearest(path: pathlib.Path) -> pathlib.Path:
    """The path itself, or the lowest one above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def remove(path: pathlib.Path) -> None:
    """Remove a file or an object, or a folder with all that is in it, if there is one."""
    if storage.is_address(path):
        storage.remove(path)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
