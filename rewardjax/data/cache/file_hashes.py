"""Hashes of large files, remembered: a start must not read all data to know that they are the same.

A file that was hashed before is known by its name, size, time of change and a hash of some of its
blocks: not by its folder, since a disk is mounted elsewhere on another host. Small files are hashed
anew.
"""

import contextlib
import functools
import hashlib
import json
import pathlib
from typing import Any

from rewardjax import fingerprint
from rewardjax.data.cache import in_bucket
from rewardjax.data.sources import Source
from rewardjax.io import files, own_files, storage

FILE = "hashes.json"
LARGE = 1 << 28  # bytes: a quarter of a second's reading from a local disk
BLOCKS, BLOCK = 64, 1 << 12  # how many blocks are looked at, and their bytes


def of_source(source: Any, cache: str | pathlib.Path) -> str:
    """The source's fingerprint; `cache`: the folder that remembers."""
    if isinstance(source, Source):
        return source.fingerprint(functools.partial(of_file, in_bucket.disk_of(cache)))
    return source.fingerprint()


def of_file(cache: pathlib.Path, path: pathlib.Path) -> str:
    """`fingerprint.of_file`, without reading a large file that was read before."""
    version = storage.version(path)
    # Whoever reads a file that is not there says so.
    if version is None or version.size < LARGE:
        return fingerprint.of_file(path)
    known, key = _read(cache), _key(path, version)
    if key not in known:
        known[key] = fingerprint.of_file(path)
        # Nobody has to be able to write there; and of two that do, the one who is late is right.
        with contextlib.suppress(OSError):
            cache.mkdir(parents=True, exist_ok=True)
            with files.replacing(cache / FILE, many_writers=True) as part:
                part.write_text(json.dumps(_read(cache) | {key: known[key]}, indent=1))
    return known[key]


def _read(cache: pathlib.Path) -> dict[str, str]:
    """Fingerprints by key; none where the file is not there or not whole."""
    try:
        return own_files.read(cache / FILE)
    except (OSError, ValueError):
        return {}


def _key(path: pathlib.Path, version: storage.Version) -> str:
    """What a file is known by, as one line."""
    digest = hashlib.sha256()
    # An object's generation is never given twice, and each block would be a request.
    if storage.is_address(path):
        return f"{path.name} {version.size} {version.change}"
    with open(path, "rb") as file:
        # The same places in every file of a size, first and last included.
        for block in range(BLOCKS):
            file.seek((version.size - BLOCK) * block // (BLOCKS - 1))
            digest.update(file.read(BLOCK))
    return f"{path.name} {version.size} {version.change} {digest.hexdigest()}"
