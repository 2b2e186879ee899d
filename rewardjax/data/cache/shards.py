"""One shard of a token cache: where it lies, how it is written, and whether it is done.

A shard appears whole: its two files first, then the record that says what is in them. Whoever makes
it again, killed or not, makes the same bytes, so that two processes that do so at the same time do
no harm.
"""

import contextlib
import json
import pathlib
import struct
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from rewardjax import fingerprint
from rewardjax.data import token_cache
from rewardjax.data.groups import Pair
from rewardjax.io import files, own_files

# Any other group size makes random reads decompress their neighbors too.
GROUPS_OPTIONS = "group_size:1,zstd:1"

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


class Shard(NamedTuple):
    """Shard `number` of `count` in a cache's folder."""

    folder: pathlib.Path
    number: int
    count: int

    @property
    def groups(self) -> pathlib.Path:
        """The file of its groups."""
        return self._path("groups", token_cache.GROUPS)

    @property
    def index(self) -> pathlib.Path:
        """The file of its pairs' index."""
        return self._path("index", token_cache.INDEX)

    @property
    def record(self) -> pathlib.Path:
        """The file that makes it whole."""
        return self._path("shard", ".json")

    def _path(self, kind: str, ending: str) -> pathlib.Path:
        return self.folder / f"{kind}-{self.number:05d}-of-{self.count:05d}{ending}"

    def span(self, records: int) -> tuple[int, int]:
        """The records [from, to) of a source of so many that belong to it."""
        return records * self.number // self.count, records * (self.number + 1) // self.count


class Writer(contextlib.AbstractContextManager):
    """Groups and index of a shard, written as they come."""

    def __init__(self, groups: pathlib.Path, folder: pathlib.Path):
        self.pairs, self._groups = 0, 0
        self._writer = ArrayRecordWriter(str(groups), GROUPS_OPTIONS)
        # On disk: a shard may have millions of pairs. Without a name, so that nothing has to be
        # removed from the folder.
        self._rows = tempfile.TemporaryFile(dir=folder)
        self._source_records = tempfile.TemporaryFile(dir=folder)

    def add(
        self,
        source_record: int,
        encoded: bytes,
        pairs: Sequence[tuple[Pair, tuple[int, int, int]]],
    ) -> None:
        """The next group, as `token_cache.encode` has it, and its pairs, each with its lengths."""
        self._writer.write(encoded)
        for pair, lengths in pairs:
            responses, labels = (pair.chosen, pair.rejected), (pair.target, pair.margin, pair.tie)
            self._rows.write(PACKED_ROW.pack(self._groups, *responses, *lengths, *labels))
        self._source_records.write(struct.pack("<q", source_record))
        self.pairs += len(pairs)
        self._groups += 1

    def finish(self, index: pathlib.Path) -> None:
        """Close the groups, and write the index."""
        self._writer.close()
        # It keeps some 50 bytes of every record, on top of which the index would come.
        del self._writer
        for file in (self._rows, self._source_records):
            file.flush()
        columns = {"source_record": self._column(self._source_records, "<i8")}
        rows = self._column(self._rows, ROW)
        columns |= {name: rows[name] for name in ROW.names or ()}
        stored = {token_cache.STORED_AS.get(name, name): columns[name] for name in columns}
        with open(index, "wb") as file:
            np.savez(file, **stored)  # pyright: ignore[reportArgumentType]

    def __exit__(self, *error: object) -> None:
        self._rows.close()
        self._source_records.close()

    @staticmethod
    def _column(file: Any, kind: Any) -> np.ndarray:
        """What was written to a file as an array, which is not read into memory."""
        # Nothing cannot be mapped.
        if not file.tell():
            return np.zeros(0, kind)
        return np.memmap(file, kind, "r")


@contextlib.contextmanager
def writing(shard: Shard, counts: dict[str, Any]) -> Iterator[Writer]:
    """Write a shard in the block, and make it whole at its end.

    counts: what became of its records (`Counts.report_of_part`), filled in by the block's end.
    """
    with (
        files.replacing(shard.index, many_writers=True) as index,
        files.replacing(shard.groups, many_writers=True) as groups,
    ):
        with Writer(groups, shard.folder) as writer:
            yield writer
            writer.finish(index)
        checksums = {shard.groups.name: fingerprint.of_file(groups)}
        checksums[shard.index.name] = fingerprint.of_file(index)
    record = fingerprint.with_checksum({"counts": counts, "checksums": checksums})
    with files.replacing(shard.record, many_writers=True) as part:
        part.write_text(json.dumps(record))


def read(shard: Shard) -> dict[str, Any]:
    """The record of a shard that is done."""
    return own_files.read(shard.record)


def is_done(shard: Shard) -> bool:
    """Whether a shard is whole and undamaged; all of it is read."""
    try:
        record = read(shard)
        if not token_cache.checksum_holds(record):
            return False
        for name, checksum in record["checksums"].items():
            if fingerprint.of_file(shard.folder / name) != checksum:
                return False
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False
    return True
