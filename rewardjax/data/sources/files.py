"""Records of files in order: which reader a file's name asks for, and what all of them share."""

import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from rewardjax import fingerprint
from rewardjax.data.sources import json_files, tables
from rewardjax.data.sources.broken import Broken
from rewardjax.data.sources.byte_streams import UNPACK
from rewardjax.io import storage
from rewardjax.io.files import refuse_stand_in

Record = dict[str, Any]
DEEPEST = 100  # lists and objects inside each other; a conversation has 5, a tree of them some 50


class Kind(NamedTuple):
    """How files with one of the suffixes are read, and how their records are counted."""

    suffixes: tuple[str, ...]
    read: Callable[[pathlib.Path, int], Iterator[Record]]  # from a number of a record on
    count: Callable[[pathlib.Path], int]


KINDS = (
    Kind((".jsonl", ".ndjson", ".json"), json_files.read, json_files.count),
    Kind((".csv", ".tsv"), tables.read_csv, tables.count_csv),
    Kind((".parquet", ".pq"), tables.read_parquet, tables.count_parquet),
    Kind((".arrow", ".feather"), tables.read_arrow, tables.count_arrow),
)
COMPRESSED = (
    ".gz",
    ".zst",
    ".zstd",
    ".xz",
    ".bz2",
)  # of a text's name; what the bytes are is seen when they are read


class Source:
    """Records of one or more files in order, streamed anew by every iteration."""

    def __init__(self, name: str, files: list[pathlib.Path]):
        """Raises ValueError for a file of another kind than KINDS, and for a name not in UTF-8."""
        for named in (*map(str, files), name):
            _refuse_undecoded(named)
        self.name, self.files = name, files
        for file in files:
            _kind_of(file)
        self._opened = {file: storage.version(file) for file in files}

    def __iter__(self) -> Iterator[Record]:
        # For whoever keeps no account of what is lost: a row that is no record ends the reading.
        for record in self.rows():
            if isinstance(record, Broken):
                raise ValueError(record.detail)
            yield record

    def rows(self) -> Iterator[Record]:
        """The records in order, with a `Broken` for each row that is none.

        Raises ValueError where a file is not what it was when the source was opened.
        """
        for file in self.files:
            yield from self._read(file)

    def by_file(self) -> list[tuple[str, Callable[..., Iterator[Record]]]]:
        """Each file's name and a function that reads it as `rows` does, in the same order.

        The function takes the number of the record to begin with; without it, it is the first.
        """
        # What a file holds is decided per file: a folder may mix two kinds of them.
        return [(file.name, functools.partial(self._read, file)) for file in self.files]

    def _read(self, file: pathlib.Path, first: int = 0) -> Iterator[Record]:
        yield from read(file, first)
        # Fingerprint and length are of what was there before, and stand in what is made of it.
        if storage.version(file) != self._opened[file]:
            raise ValueError(
                f"{file}: changed while it was read; run the command again when it is written"
            )

    @functools.cached_property
    def counts(self) -> list[int]:
        """How many records each file has."""
        return [_kind_of(file).count(file) for file in self.files]

    def __len__(self) -> int:
        return sum(self.counts)

    def fingerprint(self, of_file: Callable[[pathlib.Path], str] = fingerprint.of_file) -> str:
        """Hash of the files' contents in order. of_file: the hash of one file's."""
        for file in self.files:
            refuse_stand_in(file)
        # Not of names, places and times: data that moved are the same data.
        return fingerprint.of_json([of_file(file) for file in self.files])


def read(file: pathlib.Path, first: int = 0) -> Iterator[Record]:
    """The records of a file from number `first` on, without the nulls inside of them.

    `Broken` stands for each row that is no record.
    """
    for number, record in enumerate(_kind_of(file).read(file, first), first):
        if isinstance(record, Broken):
            yield record
            continue
        try:
            yield {name: without_nulls(value) for name, value in record.items()}
        except RecursionError:
            yield Broken(f"{file}, record {number}: lists and objects over {DEEPEST} deep")


def without_nulls(value: Any, room: int = DEEPEST) -> Any:
    """A value whose objects lack the fields that hold null.

    A table has every field of a struct in every row and fills those that a row lacks, so that a
    tool call's arguments would come back with the names of all other tools' arguments. Raises
    RecursionError for lists and objects that are more than `room` deep.
    """
    # Python's own limit depends on who calls: a record would be good here and bad in a worker.
    if room < 0:
        raise RecursionError
    # In JSON too: the same data shall give the same tokens from either.
    if isinstance(value, dict):
        return {
            key: without_nulls(item, room - 1) for key, item in value.items() if item is not None
        }
    if isinstance(value, list):
        return [without_nulls(item, room - 1) for item in value]
    return value


def _refuse_undecoded(name: str) -> None:
    """Raise ValueError for a name with bytes that are no UTF-8, which no report could hold."""
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = name.encode(errors="backslashreplace").decode()
        raise ValueError(f"{shown}: the name is not UTF-8; rename it") from None


def is_data(name: str) -> bool:
    """Whether a file of this name can be read."""
    # Windows writes some endings in capitals.
    return name.lower().endswith(SUFFIXES)


def _kind_of(file: pathlib.Path) -> Kind:
    name = file.name.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    for kind in KINDS:
        # Tables are compressed inside, so that a .parquet.gz is nothing that this could read.
        if name.endswith(kind.suffixes) and is_data(file.name):
            return kind
    if name.endswith(ARCHIVES):
        raise ValueError(f"{file}: an archive; {UNPACK}")
    raise ValueError(
        f"{file}: what it holds is told by its name's ending, which is not one of {NAMED}"
    )


def _suffixes() -> tuple[str, ...]:
    """Every ending of a name that can be read."""
    endings = []
    for kind in KINDS:
        endings.extend(kind.suffixes)
    for suffix in (".jsonl", ".ndjson", ".json", ".csv", ".tsv"):
        endings.extend(suffix + ending for ending in COMPRESSED)
    return tuple(endings)


SUFFIXES = _suffixes()
# In a sentence: all of them would be a paragraph.
NAMED = (
    ".jsonl, .ndjson, .json, .csv, .tsv (each also with .gz, .zst, .xz, .bz2), .parquet, .arrow, "
    ".feather"
)
ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar")
