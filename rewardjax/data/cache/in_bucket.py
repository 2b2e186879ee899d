"""A token cache whose folder is an address: kept in a bucket, built and read on a disk.

ArrayRecord, which the groups are in, is read at random places of a file. So a host copies a cache
to its temporary folder once, file by file compared with the manifest's checksums, and whoever
builds one copies it to the bucket, the manifest last: without it nothing there is read.
"""

import os
import pathlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rewardjax import fingerprint
from rewardjax.data import token_cache
from rewardjax.data.token_cache import MANIFEST
from rewardjax.io import own_files, storage


def disk_of(cache: str | os.PathLike) -> pathlib.Path:
    """The folder of this machine's disk in which the caches of `cache` are used."""
    if not storage.is_address(cache):
        return pathlib.Path(cache)
    # The same at the next start: what is there already is not copied again.
    home = pathlib.Path(tempfile.gettempdir()) / f"rewardjax-caches-{os.getuid()}"
    return home / fingerprint.of_bytes(os.fspath(cache).rstrip("/").encode())


def fetch(address: pathlib.Path, folder: pathlib.Path, inputs: dict[str, Any]) -> str | None:
    """Copy the cache at `address` to `folder`, as far as it is not there, if it is one of `inputs`.

    Returns a sentence about what was copied, or why nothing of it is used; None where there is
    nothing.
    """
    manifest = _manifest(address)
    if manifest is None:
        return None
    if manifest.get("inputs") != inputs or not token_cache.checksum_holds(manifest):
        return f"{address}: {MANIFEST} is damaged or of something else; it is made anew"
    intact = lambda name: token_cache.is_intact(folder / name, manifest, by_content=True)
    missing = [name for name in manifest["bytes"] if not intact(name)]
    with ThreadPoolExecutor(storage.AT_ONCE) as threads:
        copies = [
            threads.submit(storage.download, address / name, folder / name) for name in missing
        ]
    damaged = []
    for name, copy in zip(missing, copies, strict=True):
        error = copy.exception()
        # An object that is gone is damage; a server that does not answer is not.
        if error is not None and not isinstance(error, FileNotFoundError):
            raise error
        if not intact(name):
            damaged.append(name)
    if damaged:
        # Or the same manifest, made anew, would be taken for that of what is there.
        storage.remove(address / MANIFEST)
        return f"{address}: {', '.join(damaged)} is damaged or not there; it is made anew"
    storage.download(address / MANIFEST, folder / MANIFEST)
    size = sum(manifest["bytes"][name] for name in missing) / 1e6
    return f"copied {len(missing)} files, {size:,.1f} MB, of {address} to {folder}"


def store(folder: pathlib.Path, address: pathlib.Path) -> str | None:
    """Copy a cache that is whole to `address`, unless it is there; returns a sentence about it."""
    manifest = own_files.read(folder / MANIFEST)
    if _manifest(address) == manifest:
        return None
    # What others may read at the moment is the same, byte by byte, or damaged.
    with ThreadPoolExecutor(storage.AT_ONCE) as threads:
        copies = [
            threads.submit(storage.upload, folder / name, address / name)
            for name in manifest["bytes"]
        ]
    for copy in copies:
        copy.result()
    storage.upload(folder / MANIFEST, address / MANIFEST)
    size = sum(manifest["bytes"].values()) / 1e6
    return f"copied {len(copies)} files, {size:,.1f} MB, of {folder} to {address}"


def _manifest(address: pathlib.Path) -> dict[str, Any] | None:
    """What the manifest at an address says: {} where it cannot be read, None without one."""
    try:
        return own_files.read(address / MANIFEST)
    except FileNotFoundError:
        return None
    except own_files.Damaged:
        return {}
