"""Object storage: an address such as gs://BUCKET/FOLDER where a path of a disk may stand.

| on a disk                      | in a bucket                                                     |
| ------------------------------ | --------------------------------------------------------------- |
| a finished file is renamed     | an object appears whole when its upload ends                    |
| a link: made unless there      | an upload with the condition that there is none (`create`)      |
| a lock of the kernel           | a lease that is renewed (command/owner.py)                      |
| a line is appended             | cannot be: the whole object is written again                    |
| folders, which must be made    | are not there: names of objects have slashes in them            |

An address is an `etils.epath.Path`, which has the calls of `pathlib.Path` for reading; writing goes
through rewardjax/io/files.py, which knows both. The client is gcsfs, which tries again for about a
minute where a server does not answer. Weights are read and written by Orbax and TensorStore, which
have clients of their own.
"""

import contextlib
import functools
import importlib.util
import io
import logging
import os
import pathlib
import re
import secrets
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, cast

from etils import epath

SCHEME = "gs://"
# What is given for a path and is none; also as `pathlib` writes it, gs:/BUCKET.
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
INSTALL = 'pip install "rewardjax[gcs]"'
BLOCK = 8 << 20  # bytes of a large object that are fetched at a time
AT_ONCE = 16  # requests that are waited for together


class Version(NamedTuple):
    """What tells one content of a file or an object from the next."""

    size: int  # bytes
    change: int  # its time in nanoseconds; of an object its generation


def is_address(path: str | os.PathLike) -> bool:
    """Whether `path` is of object storage."""
    return os.fspath(path).startswith(SCHEME)


def path_of(place: str | os.PathLike) -> pathlib.Path:
    """The path of a disk, or the address in object storage, that `place` names.

    Nothing is asked of a server. Raises ValueError for an address of another kind than gs://, for
    one that names no bucket, and where the client is not installed.
    """
    text = os.fspath(place)
    if not is_address(text):
        if ADDRESS.match(text):
            raise ValueError(
                f"{text}: of object storage only {SCHEME}BUCKET/FOLDER is read and written; mount "
                "any other and give the path of the mount"
            )
        return pathlib.Path(text)
    if not text.removeprefix(SCHEME).split("/")[0]:
        raise ValueError(f"{text} names no bucket: {SCHEME}BUCKET/FOLDER")
    if importlib.util.find_spec("gcsfs") is None:
        raise ValueError(f"{text}: the client of {SCHEME} is not installed: {INSTALL}")
    _client()
    # A subclass of PurePath with Path's methods, which no type of the standard library describes.
    return cast(pathlib.Path, epath.Path(text))


@functools.cache
def _client() -> Any:
    """The file system of gs://, for `epath` and Orbax too."""
    # Not imported with this module: most commands never see an address.
    import fsspec.config
    from gcsfs.core import GCSFileSystem

    # Listings must not be remembered: other processes write, and a commit that is not seen would
    # be waited for, and a lease that is not seen would be taken.
    fsspec.config.conf.setdefault("gcs", {})["use_listings_cache"] = False
    # TensorFlow, where it is installed, would be imported as the client of epath, and refuse
    # with errors of its own.
    os.environ.setdefault("EPATH_USE_TF", "false")
    # gcsfs registers a subclass, which before every open asks Google's control plane, by gRPC, of
    # which kind the bucket is; where that does not answer, as behind a firewall or in a process
    # that was forked, it waits for ever. Buckets of a zone, which need it, promise other things.
    for name in ("gcs", "gs"):
        fsspec.register_implementation(name, GCSFileSystem, clobber=True)
    # What it logs, with a traceback, it raises too.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    return fsspec.filesystem("gcs")


def is_same(one: str | os.PathLike, other: str | os.PathLike) -> bool:
    """Whether two names are of one file or object."""
    return whole(path_of(one)) == whole(path_of(other))


def whole(path: pathlib.Path) -> pathlib.Path:
    """A path from the root on, without links; an address is whole as it is."""
    if is_address(path):
        return path
    return path.resolve()


# ------------------------------------------------------------------ reading


def opened(path: pathlib.Path) -> io.BufferedReader:
    """The bytes of a file or an object as a buffered stream that can be sought in."""
    if not is_address(path):
        return open(path, "rb")
    stream = _client().open(str(path), "rb", block_size=BLOCK)
    return io.BufferedReader(stream)


@contextlib.contextmanager
def on_disk(path: pathlib.Path, folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """The file itself, or a copy of an object in `folder` while the block runs."""
    if not is_address(path):
        yield path
        return
    copy = folder / f"{secrets.token_hex(4)}-{path.name}"
    try:
        download(path, copy)
        yield copy
    finally:
        copy.unlink(missing_ok=True)


@contextlib.contextmanager
def copied(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """The folder itself, or a copy on this machine's disk of all below an address."""
    if not is_address(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        copy = pathlib.Path(name)
        download_folder(folder, copy)
        yield copy


def changed_at(path: pathlib.Path) -> float:
    """When a file or an object was written, in seconds since 1970 of the clock of where it is."""
    if is_address(path):
        return _client().info(str(path))["mtime"].timestamp()
    return path.stat().st_mtime


def version(path: pathlib.Path) -> Version | None:
    """What changes when a file or an object is written again; None where it is not there."""
    if is_address(path):
        return _version_of_object(path)
    try:
        status = path.stat()
    except OSError:
        return None
    # Not its number on the disk, which is another one where another host has mounted it.
    return Version(status.st_size, status.st_mtime_ns)


def _version_of_object(address: pathlib.Path) -> Version | None:
    try:
        described = _client().info(str(address))
    # No other error: an object that may not be read is there.
    except FileNotFoundError:
        return None
    # The start of other objects' names is described as a folder.
    if described["type"] == "directory":
        return None
    return Version(int(described["size"]), int(described["generation"]))


def names_in(folder: pathlib.Path) -> list[str]:
    """The names of what is directly in a folder or below an address, in order; [] for nothing."""
    # Not by a glob: brackets in the folder's own name would be read as a set of characters.
    if not is_address(folder):
        with contextlib.suppress(FileNotFoundError):
            return sorted(os.listdir(folder))
        return []
    with contextlib.suppress(FileNotFoundError):
        entries = _client().ls(str(folder), detail=False)
        # An object that ends with a slash is what browsers of buckets make for an empty folder.
        return sorted(entry.rpartition("/")[2] for entry in entries if not entry.endswith("/"))
    return []


def files_below(folder: pathlib.Path) -> list[pathlib.Path]:
    """All objects whose names begin with an address and a slash, in order."""
    names = [name for name in _client().find(str(folder)) if not name.endswith("/")]
    return [path_of(SCHEME + name) for name in sorted(names)]


def matching(pattern: str) -> list[pathlib.Path]:
    """The objects whose addresses a glob describes, in order."""
    return [path_of(SCHEME + name) for name in sorted(_client().glob(pattern))]


def download(address: pathlib.Path, path: pathlib.Path) -> None:
    """Copy an object to the file `path`, which is there only when it is whole."""
    part = path.with_name(path.name + ".part")
    _client().get_file(str(address), str(part))
    os.replace(part, path)


def download_folder(address: pathlib.Path, folder: pathlib.Path, leave: str = "") -> None:
    """Copy all objects below an address to a folder, several at a time.

    leave: the ending of names that are left out, "" for none.
    """
    with ThreadPoolExecutor(AT_ONCE) as threads:
        copies = []
        for file in files_below(address):
            if leave and file.name.endswith(leave):
                continue
            path = folder / str(file).removeprefix(f"{address}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            copies.append(threads.submit(download, file, path))
        for copy in copies:
            copy.result()


# ------------------------------------------------------------------ writing


def upload(path: pathlib.Path, address: pathlib.Path) -> None:
    """Make a file the object `address`, in the place of what was there."""
    _client().put_file(str(path), str(address))


def create(address: pathlib.Path, data: bytes) -> bool:
    """Make the object `address` unless there is one; whether it was made.

    Of several processes with data of their own that try at the same time exactly one does.
    """
    try:
        _client().pipe_file(str(address), data, mode="create")
    except FileExistsError:
        # The answer to an upload may be lost on the way, and the client then tries once more: it
        # meets what it has made itself.
        return address.read_bytes() == data
    return True


def remove(address: pathlib.Path) -> None:
    """Remove an object, and all below its address, as far as there are any."""
    # One by one and not by the client's `rm`, which takes brackets in a name for a pattern, and of
    # an address without a folder would remove the bucket.
    names = [str(address), *map(str, files_below(address))]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for removal in [threads.submit(_client().rm_file, name) for name in names]:
            with contextlib.suppress(FileNotFoundError):
                removal.result()


def move(address: pathlib.Path, target: pathlib.Path) -> None:
    """Copy all objects below an address to names below another one, then remove them.

    In between, some of them are at both.
    """
    with ThreadPoolExecutor(AT_ONCE) as threads:
        copies = []
        for file in map(str, files_below(address)):
            name = f"{target}/{file.removeprefix(f'{address}/')}"
            copies.append(threads.submit(_client().cp_file, file, name))
        for copy in copies:
            copy.result()
    remove(address)


def unwritable(address: pathlib.Path) -> str | None:
    """Why no object can be made below `address`, as a sentence; None where one can be."""
    # Clients that are not ours, such as Orbax, take these for patterns when they remove.
    if re.search(r"[*?\[\]#]", str(address)):
        return f"{address} has one of * ? [ ] # in its name, where clients see a pattern; rename it"
    probe = address / f".writable-{secrets.token_hex(4)}"
    # The client and what signs its requests raise errors of many kinds.
    try:
        create(probe, b"")
        remove(probe)
    except FileNotFoundError:
        return f"{address} is not writable: there is no bucket {_bucket(address)}; create it"
    except Exception as error:
        return f"{address} is not writable: {_first_line(error)}"
    return None


@contextlib.contextmanager
def asked(address: str | os.PathLike) -> Iterator[None]:
    """Raise ValueError, with the address, for whatever the client says in the block."""
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"{address}: there is no bucket {_bucket(address)}") from None
    except Exception as error:
        raise ValueError(f"{address} cannot be read: {_first_line(error)}") from error


def _bucket(address: str | os.PathLike) -> str:
    return os.fspath(address).removeprefix(SCHEME).split("/")[0]


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines() or ["no reason given"]
    return f"{type(error).__name__}: {lines[0][:300]}"
