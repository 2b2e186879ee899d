"""The records of a source from one number to another, without reading all that come before.

Records are numbered through all files of a source, as in `formats.numbered`. To know in which file
a number lies, the records of each are counted first; within a file they are skipped unparsed where
its kind allows it.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from rewardjax.data import formats
from rewardjax.data.formats import Record
from rewardjax.data.layouts import trees

TREES = frozenset(layout.name for layout in trees.LAYOUTS)


class File(NamedTuple):
    """A file of a source: its records from a number on, and how many there are."""

    name: str
    read: Callable[[int], Iterator[Record]]
    count: Callable[[], int]


def files_of(source: Any, readings: Sequence[formats.Reading]) -> list[File]:
    """The files of a source; one that has none (a world, TFDS) is one file."""
    by_file = getattr(source, "by_file", None)
    if by_file is None:
        return [File(source.name, _skipping(lambda: iter(source)), lambda: len(source))]
    files = []
    for place, (name, records) in enumerate(by_file()):
        count = _count_of(source, place)
        # A tree of messages is as many records as it has answered messages: these are counted
        # by reading.
        if TREES.intersection(readings[place].layouts):
            records = _skipping(_reply_lists(records))
            count = _length_of(records)
        files.append(File(name, records, count))
    return files


def records_of(
    files: Sequence[File], counts: Sequence[int], first: int, stop: int
) -> Iterator[tuple[int, int, Record]]:
    """Records `first` up to `stop`, each with its number and the number of its file.

    counts: of the records of each file. Raises ValueError for a file that does not hold as many.
    """
    number, start = first, 0
    for place, (file, count) in enumerate(zip(files, counts, strict=True)):
        end = start + count
        if number < min(end, stop):
            last = min(end, stop)
            records = file.read(number - start)
            for record in itertools.islice(records, last - number):
                yield number, place, record
                number += 1
            # The account of a file is compared with the file, and not with itself.
            if number < last or (last == end and next(records, None) is not None):
                raise ValueError(
                    f"{file.name}: it does not hold the {count:,} records that were counted in it; "
                    "was it changed while it was read? start the same command again"
                )
        start = end


def _skipping(records: Callable[[], Iterator[Record]]) -> Callable[[int], Iterator[Record]]:
    """`records`, from a number on, where those before must be read."""
    return lambda first=0: itertools.islice(records(), first, None)


def _reply_lists(records: Callable[[], Iterator[Record]]) -> Callable[[], Iterator[Record]]:
    return lambda: trees.reply_lists(records())


def _count_of(source: Any, place: int) -> Callable[[], int]:
    return lambda: source.counts[place]


def _length_of(records: Callable[[int], Iterator[Record]]) -> Callable[[], int]:
    return lambda: sum(1 for _ in records(0))
