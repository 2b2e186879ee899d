"""The folder of tokenized pairs: its three files, built all or nothing, and how pairs are read.

groups.array_record   one record per group: int32 [K, prefix length, K suffix lengths], then ids
index.npz             one entry per pair: where it is, how long, its label; all that planning needs
manifest.json         what went in (fingerprints, settings), what came out (counts, drops), and the
                      sizes of the other two files
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import pathlib
import shutil
import struct
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource

from rewardjax import files
from rewardjax.data.groups import Pair
from rewardjax.data.pack import TokenGroup, take_pair

GROUPS, INDEX, MANIFEST = "groups.array_record", "index.npz", "manifest.json"
# Any other group size makes random reads decompress their neighbors too.
GROUPS_OPTIONS = "group_size:1,zstd:1"


# Columns of the index file that have another name there: renaming one would make every cache
# invalid.
STORED_AS = {"source_record": "row"}


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
        with np.load(folder / INDEX) as index:
            names = [field.name for field in dataclasses.fields(cls)[2:]]  # after folder, manifest
            columns = {name: index[STORED_AS.get(name, name)] for name in names}
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
        return ArrayRecordDataSource([str(self.folder / GROUPS)])

    def load_records(self, records: np.ndarray) -> list[TokenGroup]:
        """The whole groups at `records` [r]. Safe to call from several threads."""
        # ArrayRecord fails on an empty request, which a host without rows in a step makes.
        if not len(records):
            return []
        return [decode(data) for data in self._groups.__getitems__(records.tolist())]

    def load(self, indices: Sequence[int] | np.ndarray) -> list[TokenGroup]:
        """The pairs at `indices`, two suffixes each: chosen, rejected.

        Safe to call from several threads. Raises ValueError where a record is not as long as the
        index says.
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
                raise ValueError(
                    f"{self.folder / GROUPS}: pair {index} does not have the lengths {lengths} "
                    "of the index; delete the folder"
                )
        return pairs


# A pair's entry while the index is built: a row on disk.
ROW = np.dtype(
    [
        ("record", "<i8"),
        ("response", "<i4", 2),
        ("lengths", "<i4", 3),
        ("target", "<f4"),
        ("margin", "<f4"),
        ("tie", "<f4"),
    ]
)
PACKED_ROW = struct.Struct("<q5i3f")  # the same, from Python's numbers


class IndexWriter(contextlib.AbstractContextManager):
    """The columns of the index, collected on disk: there may be tens of millions of pairs."""

    def __init__(self, folder: pathlib.Path):
        self.pairs, self._groups = 0, 0
        # Without a name, so that nothing has to be removed from the folder.
        self._rows = tempfile.TemporaryFile(dir=folder)
        self._source_records = tempfile.TemporaryFile(dir=folder)

    def add(self, source_record: int, pairs: Sequence[tuple[Pair, tuple[int, int, int]]]) -> None:
        """The pairs of the next group, each with its lengths, as `TokenizedPairs` has them."""
        for pair, lengths in pairs:
            responses, labels = (pair.chosen, pair.rejected), (pair.target, pair.margin, pair.tie)
            self._rows.write(PACKED_ROW.pack(self._groups, *responses, *lengths, *labels))
        self._source_records.write(struct.pack("<q", source_record))
        self.pairs += len(pairs)
        self._groups += 1

    def columns(self) -> dict[str, np.ndarray]:
        """The columns of `TokenizedPairs`, not read into memory."""
        for file in (self._rows, self._source_records):
            file.flush()
        rows = np.memmap(self._rows, ROW, "r")
        columns = {name: rows[name] for name in ROW.names or ()}
        return columns | {"source_record": np.memmap(self._source_records, "<i8", "r")}

    def __exit__(self, *error: object) -> None:
        self._rows.close()
        self._source_records.close()


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


def is_complete(folder: pathlib.Path, inputs: dict[str, Any]) -> bool:
    """Whether `folder` is a finished build from `inputs`, its files of the manifest's sizes."""
    # The folder's name is a hash of the inputs; comparing them in full guards against a truncated
    # copy and against a folder that somebody put there by hand.
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        sizes = {name: (folder / name).stat().st_size for name in manifest["bytes"]}
        return manifest["inputs"] == inputs and sizes == manifest["bytes"]
    except (OSError, ValueError, KeyError):  # not there, not JSON, not ours
        return False


def finish(folder: pathlib.Path, columns: dict[str, np.ndarray], manifest: dict[str, Any]) -> None:
    """Write index and manifest beside a closed groups file; `columns`: fields of TokenizedPairs."""
    columns = {STORED_AS.get(name, name): column for name, column in columns.items()}
    np.savez(folder / INDEX, **columns)  # pyright: ignore[reportArgumentType]
    sizes = {name: (folder / name).stat().st_size for name in (GROUPS, INDEX)}
    manifest = manifest | {"bytes": sizes}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Only one process on this machine builds `folder` at a time; the others wait here."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.locked(folder.with_suffix(".lock")):
        yield


@contextlib.contextmanager
def building(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary folder that becomes `folder` when the block ends well, and vanishes otherwise.

    Call it under `locked`: whatever an earlier build left behind is then nobody's, and is removed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with files.replacing(folder) as part:
        part.mkdir()
        yield part
