"""The folder of tokenized pairs: which files make it whole, and how pairs are read.

groups-K-of-S.array_record   one record per group: int32 [K, prefix length, K suffix lengths], ids
index-K-of-S.npz             one entry per pair: where it is, how long, its label; for planning
shard-K-of-S.json            what became of the records of shard K of S (shards.py)
manifest.json                what went in (fingerprints, settings), what came out (counts, drops),
                             sizes and checksums of the other files: without it nothing is read

A shard holds consecutive records of the source. What earlier versions wrote has one, whose files
are called groups.array_record and index.npz.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource

from rewardjax import fingerprint
from rewardjax.command import owner
from rewardjax.data.pack import TokenGroup, take_pair
from rewardjax.io import files, own_files

GROUPS, INDEX, MANIFEST = ".array_record", ".npz", "manifest.json"  # endings, and a name

DAMAGED = ".damaged"  # behind the name of a file that was set aside
READ_WHOLE = 1 << 30  # bytes of a cache that is compared whole at every start: about a second

# Columns of the index file that have another name there: renaming one would make every cache
# invalid.
STORED_AS = {"source_record": "row"}


class Damaged(ValueError):
    """A file of a cache is damaged; the message says what to do."""


@dataclasses.dataclass(frozen=True, eq=False)
class TokenizedPairs:
    """Tokenized pairs on disk, their index in memory. n pairs, taken from m groups."""

    folder: pathlib.Path
    manifest: dict[str, Any]
    record: np.ndarray  # [n] int64: which record of groups.array_record holds the pair
    response: np.ndarray  # [n, 2] int32: chosen and rejected, as suffixes of that record
    # [n, 3] int32 tokens: prefix that the two share, rest of chosen, rest of rejected
    lengths: np.ndarray
    target: np.ndarray  # [n] float32: P(chosen is better)
    margin: np.ndarray  # [n] float32
    tie: np.ndarray  # [n] float32, 1 for a tie
    source_record: np.ndarray  # [m] int64: number of the source's record that a group came from

    @classmethod
    def open(cls, folder: pathlib.Path) -> "TokenizedPairs":
        """Read manifest and index of a finished folder. Raises FileNotFoundError without them."""
        manifest = json.loads((folder / MANIFEST).read_text())
        names = [field.name for field in dataclasses.fields(cls)[2:]]  # after folder, manifest
        parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
        groups = 0
        for path in _files(folder, manifest, INDEX):
            with np.load(path) as index:
                for name in names:
                    parts[name].append(index[STORED_AS.get(name, name)])
            # A shard counts its own records; they are read as one sequence over all shards.
            parts["record"][-1] += groups
            groups += len(parts["source_record"][-1])
        # Taken out one by one: parts and whole of all columns together would be twice the index.
        columns = {name: np.concatenate(parts.pop(name)) for name in names}
        return cls(folder, manifest, **columns)

    def __len__(self) -> int:
        return len(self.record)

    @property
    def fingerprint(self) -> str:
        """Changes with the data, the tokenizer, the settings and the format of the cache."""
        return self.manifest["fingerprint"]

    @property
    def pad_id(self) -> int:
        """The tokenizer's padding token."""
        return self.manifest["pad_id"]

    def origin(self, record: int | np.integer) -> str:
        """Where a group came from, for an error: "record 7 of pairs.jsonl"."""
        return f"record {self.source_record[record]} of {self.manifest['source']}"

    @functools.cached_property
    def _groups(self) -> ArrayRecordDataSource:
        return ArrayRecordDataSource(list(map(str, _files(self.folder, self.manifest, GROUPS))))

    def load_records(self, records: np.ndarray) -> list[TokenGroup]:
        """The whole groups at `records` [r]. Safe to call from several threads.

        Raises Damaged where a file is.
        """
        # ArrayRecord fails on an empty request, which a host without rows in a step makes.
        if not len(records):
            return []
        try:
            encoded = self._groups.__getitems__(records.tolist())
        except (RuntimeError, ValueError, LookupError, OSError):
            self.set_damage_aside()
            raise
        return [decode(data) for data in encoded]

    def set_damage_aside(self) -> None:
        """Rename the files of groups that are damaged, so that the next start makes them anew.

        Raises Damaged with their names if there are any.
        """
        damaged = []
        for path in _files(self.folder, self.manifest, GROUPS):
            if not is_intact(path, self.manifest, by_content=True):
                damaged.append(path.name)
                # Where another process has renamed it already, or nothing may be written.
                with contextlib.suppress(OSError):
                    os.replace(path, path.with_name(path.name + DAMAGED))
        if damaged:
            raise Damaged(
                f"{self.folder}: {', '.join(damaged)} is damaged and was set aside; the same "
                "command, started again, tokenizes what it held anew"
            )

    def load(self, indices: Sequence[int] | np.ndarray) -> list[TokenGroup]:
        """The pairs at `indices`, two suffixes each: chosen, rejected.

        Safe to call from several threads. Raises Damaged where a file is, and ValueError where a
        record is not as long as the index says.
        """
        indices = np.asarray(indices, np.int64)
        # Pairs of one group share a record, which is read and decoded once.
        records, place = np.unique(self.record[indices], return_inverse=True)
        groups = self.load_records(records)
        pairs = [
            take_pair(groups[g], *response)
            for g, response in zip(place.tolist(), self.response[indices].tolist(), strict=True)
        ]
        lengths_n3 = self.lengths[indices].tolist()
        for index, pair, lengths in zip(indices.tolist(), pairs, lengths_n3, strict=True):
            if [len(pair.prefix), *map(len, pair.suffixes)] != lengths:
                self.set_damage_aside()
                raise ValueError(
                    f"{self.folder}: pair {index} does not have the lengths {lengths} of the "
                    "index; delete the folder"
                )
        return pairs


def encode(group: TokenGroup) -> bytes:
    """One record: int32 [K, prefix length, K suffix lengths], then ids of prefix and suffixes."""
    header = [len(group.suffixes), len(group.prefix), *map(len, group.suffixes)]
    # Little-endian whatever the machine: caches are shared between hosts.
    return np.concatenate([header, group.prefix, *group.suffixes]).astype("<i4").tobytes()


def decode(data: bytes) -> TokenGroup:
    """What `encode` was given."""
    values = np.frombuffer(data, "<i4")
    start = 2 + int(values[0])  # the first token id
    bounds = [start, *(start + np.cumsum(values[1:start])).tolist()]
    prefix, *suffixes = [values[i:j] for i, j in itertools.pairwise(bounds)]
    return TokenGroup(prefix, suffixes)


# ------------------------------------------------------------------ whole or not


def is_complete(folder: pathlib.Path, inputs: dict[str, Any]) -> bool:
    """Whether `folder` is a finished and undamaged build from `inputs`."""
    return faults(folder, inputs) == []


def faults(folder: pathlib.Path, inputs: dict[str, Any]) -> list[str] | None:
    """The files of a finished build from `inputs` that are damaged; None where none was finished.

    Sizes are compared, and the contents of all that is read at every start. The groups of a large
    cache, which would be read for minutes, have checksums of their own that are compared when a
    group is read.
    """
    # The folder's name is a hash of the inputs; comparing them in full guards against a truncated
    # copy and against a folder that somebody put there by hand.
    try:
        manifest = own_files.read(folder / MANIFEST)
        is_whole = manifest["inputs"] == inputs and checksum_holds(manifest)
        sizes = dict(manifest["bytes"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):  # not JSON, not ours
        return [MANIFEST]
    if not is_whole:
        return [MANIFEST]
    is_small = sum(sizes.values()) <= READ_WHOLE
    damaged = []
    for name in sizes:
        by_content = is_small or name.endswith(INDEX)
        if not is_intact(folder / name, manifest, by_content):
            damaged.append(name)
    return damaged


def is_intact(path: pathlib.Path, manifest: dict[str, Any], by_content: bool) -> bool:
    """Whether a file of a cache has the manifest's size and, `by_content`, its checksum."""
    try:
        if path.stat().st_size != manifest["bytes"][path.name]:
            return False
        if not by_content:
            return True
        if "checksums" in manifest:
            return fingerprint.of_file(path) == manifest["checksums"][path.name]
        # Of an earlier version: an index has checksums of its own, and so do groups.
        if path.suffix == INDEX:
            with np.load(path) as index:
                return all(len(index[name]) >= 0 for name in index.files)
    # Among them zipfile.BadZipFile, which is none of the usual ones.
    except Exception:
        return False
    return True


def checksum_holds(record: dict[str, Any]) -> bool:
    """Whether nothing of a record was changed; those of earlier versions have no checksum."""
    checksum = record.get(fingerprint.CHECKSUM)
    return checksum in (None, fingerprint.checksum_of(record))


def finish(
    folder: pathlib.Path, names: Sequence[str], known: dict[str, str], manifest: dict[str, Any]
) -> None:
    """Make a cache of the files `names` in `folder`, by writing its manifest.

    known: the checksums of those that were computed before.
    """
    checksums = {}
    for name in names:
        checksums[name] = known.get(name) or fingerprint.of_file(folder / name)
    sizes = {name: (folder / name).stat().st_size for name in names}
    manifest = fingerprint.with_checksum(manifest | {"bytes": sizes, "checksums": checksums})
    with files.replacing(folder / MANIFEST) as part:
        part.write_text(json.dumps(manifest, indent=1))


@contextlib.contextmanager
def owning(folder: pathlib.Path) -> Iterator[None]:
    """Build `folder` alone: another process that wants to waits until this one is done or gone."""
    with contextlib.ExitStack() as stack:
        _remove_pipes(folder)
        told = False
        while True:
            try:
                stack.enter_context(owner.owning(folder))
                break
            except owner.Owned as error:
                if not told:
                    print(f"tokenizing: {error}; waiting", file=sys.stderr, flush=True)
                told = True
                time.sleep(1.0)
        yield


def _remove_pipes(folder: pathlib.Path) -> None:
    """Remove what is no file in a cache, where everybody who opened it would wait."""
    # It holds nothing: what should be there is missing, and is made anew.
    for path in files.pipes_in(folder):
        path.unlink(missing_ok=True)


def _files(folder: pathlib.Path, manifest: dict[str, Any], ending: str) -> list[pathlib.Path]:
    """The files of a cache with one ending, in the order of their shards."""
    return [folder / name for name in sorted(manifest["bytes"]) if name.endswith(ending)]
