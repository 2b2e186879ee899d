"""CSV, TSV, Parquet and Arrow, a few hundred records at a time."""

import contextlib
import csv
import io
import itertools
import mmap
import pathlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rewardjax.data.sources.broken import Broken
from rewardjax.data.sources.byte_streams import LONGEST, decompressed
from rewardjax.io import storage
from rewardjax.io.files import refuse_stand_in

Record = dict[str, Any]
RECORDS_AT_ONCE = 256  # of a Parquet or Arrow file, as Python objects
PAGES_AT_ONCE = 1 << 20  # bytes of one column of a Parquet file
HEADER = 4096  # bytes in which a table of text names its columns
UNDECODED = re.compile("[\udc80-\udcff]")  # PEP 383
SHOWN_BYTES = 16  # of a file that is not what its name says
FILE_MAGIC = b"ARROW1"  # Feather and the random-access form; a stream begins otherwise


# ------------------------------------------------------------------ CSV and TSV


def read_csv(file: pathlib.Path, first: int = 0) -> Iterator[Record]:
    """A record per row from number `first` on, named by the header; empty cells are None.

    `Broken` for a row of another length than the header, and for one that is no UTF-8. Raises
    ValueError with file and line for quotes that do not match: where the next row begins is lost.
    """
    # Numbers stay text: a table does not say whether "5" is an answer or a score.
    with _rows(file) as rows:
        names = next(rows, None)
        if names is None:
            return
        if not all(map(_is_text, names)):
            raise ValueError(f"{file}:1: the header is not UTF-8; {_to_utf8(file)}")
        if len(set(names)) < len(names):
            raise ValueError(f"{file}:1: the header names a column twice: {', '.join(names)}")
        # The csv module gives a blank line as no cells.
        for row in itertools.islice(filter(None, rows), first, None):
            if len(row) != len(names):
                yield Broken(
                    f"{file}:{rows.line_num}: {len(row)} cells, the header has {len(names)} "
                    "columns; quote the cells that hold a delimiter or a line break"
                )
            elif not all(map(_is_text, row)):
                yield Broken(f"{file}:{rows.line_num}: not UTF-8; {_to_utf8(file)}")
            else:
                yield {name: cell or None for name, cell in zip(names, row, strict=True)}


def count_csv(file: pathlib.Path) -> int:
    """How many rows there are below the header."""
    with _rows(file) as rows:
        next(rows, None)
        return sum(1 for row in rows if row)


def _to_utf8(file: pathlib.Path) -> str:
    return f"convert it: iconv -f WINDOWS-1252 -t UTF-8 {file.name} > utf8-{file.name}"


def _is_text(cell: str) -> bool:
    """Whether a cell has no byte that could not be decoded."""
    return cell.isascii() or not UNDECODED.search(cell)


@contextlib.contextmanager
def _rows(file: pathlib.Path) -> Iterator[Any]:
    """The module's reader over the file's text; its errors become sentences."""
    # Conversations are longer than the module's default of 128 KiB per cell.
    csv.field_size_limit(LONGEST)
    with decompressed(file) as data:
        delimiter = _delimiter(file, data)
        # A mark at the start would become part of the first column's name.
        # Bytes that are no UTF-8 become characters that no text has, to be seen in their row.
        text = io.TextIOWrapper(data, "utf-8-sig", errors="surrogateescape", newline="")
        # Strict: else a quote that is never closed makes one cell of the rest of the file.
        rows = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            yield rows
        except csv.Error as error:
            raise ValueError(f"{file}:{rows.line_num}: bad CSV: {error}") from None
        finally:
            text.detach()


def _delimiter(file: pathlib.Path, data: Any) -> str:
    """The comma, or the tab of a .tsv; another one where the header holds that and not this."""
    usual = ","
    if ".tsv" in file.name.lower():
        usual = "\t"
    header, *_ = data.peek(HEADER).splitlines() or [b""]
    # Spreadsheets write semicolons where the comma is for decimals.
    for delimiter in (usual, ",", "\t", ";"):
        if delimiter.encode() in header:
            return delimiter
    return usual


# ------------------------------------------------------------------ Parquet and Arrow


def read_parquet(file: pathlib.Path, first: int = 0) -> Iterator[Record]:
    """The rows of a Parquet file, from number `first` on."""
    # Batch by batch and through a buffer: of a row group, which may be gigabytes, pyarrow would
    # otherwise read the columns whole.
    streamed = {"buffer_size": PAGES_AT_ONCE, "pre_buffer": False}
    _refuse_other_start(file)
    with (
        _readable(file),
        storage.opened(file) as opened,
        pq.ParquetFile(opened, **streamed) as table,
    ):
        _refuse_twice(file, table.schema_arrow)
        groups, skipped = _row_groups_from(table.metadata, first)
        row = first - skipped
        for batch in table.iter_batches(RECORDS_AT_ONCE, groups):
            yield from _records(file, row + skipped, batch.slice(skipped))
            row += batch.num_rows
            skipped = max(0, skipped - batch.num_rows)


def _row_groups_from(metadata: pq.FileMetaData, first: int) -> tuple[list[int], int]:
    """The row groups from the one with row `first` on, and how many of its rows come before."""
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if first < rows:
            return list(range(group, metadata.num_row_groups)), first
        first -= rows
    return [], 0


def count_parquet(file: pathlib.Path) -> int:
    """How many rows there are, from the file's footer."""
    _refuse_other_start(file)
    with _readable(file), storage.opened(file) as opened:
        return pq.read_metadata(opened).num_rows


def read_arrow(file: pathlib.Path, first: int = 0) -> Iterator[Record]:
    """The rows of an Arrow file or stream, or of a Feather file, from number `first` on."""
    row = 0
    for batch in arrow_batches(file):
        skipped, first = min(first, batch.num_rows), max(0, first - batch.num_rows)
        # save_to_disk writes batches of 1,000 and more; as Python objects these are large.
        for start in range(skipped, batch.num_rows, RECORDS_AT_ONCE):
            yield from _records(file, row + start, batch.slice(start, RECORDS_AT_ONCE))
        row += batch.num_rows


def _refuse_twice(file: pathlib.Path, schema: pa.Schema) -> None:
    """Raise ValueError for two columns of one name, of which a record would keep the last."""
    names = schema.names
    if len(set(names)) < len(names):
        raise ValueError(f"{file}: the table names a column twice: {', '.join(names)}")


def _records(file: pathlib.Path, first: int, batch: pa.RecordBatch) -> Sequence[Record]:
    """The rows of a batch whose first one is row `first` of the file."""
    try:
        return batch.to_pylist()
    # Text that is no UTF-8, a date that Python has not: pyarrow checks neither when it reads.
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            return [Broken(f"{file}, row {first}: {error}")]
    records: list[Record] = []
    for row in range(batch.num_rows):
        records += _records(file, first + row, batch.slice(row, 1))
    return records


def count_arrow(file: pathlib.Path) -> int:
    """How many rows there are."""
    return sum(batch.num_rows for batch in arrow_batches(file))


def arrow_batches(file: pathlib.Path) -> Iterator[pa.RecordBatch]:
    """The record batches of a file in either form of Arrow's format."""
    # A mapping needs a disk: of an object in a bucket it is that of a copy.
    with (
        tempfile.TemporaryDirectory() as folder,
        _readable(file),
        storage.on_disk(file, pathlib.Path(folder)) as on_disk,
        open(on_disk, "rb") as opened,
    ):
        # Mapped by Python and not by pyarrow, whose mapping cannot let go of what was read: by
        # the end of the file all of it would count as this process's memory.
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        for batch in _mapped_batches(pa.py_buffer(mapped)):
            _refuse_twice(file, batch.schema)
            yield batch
            mapped.madvise(mmap.MADV_DONTNEED)


def _mapped_batches(data: pa.Buffer) -> Iterator[pa.RecordBatch]:
    if data[: len(FILE_MAGIC)].to_pybytes() == FILE_MAGIC:
        with pa.ipc.open_file(data) as batches:
            for index in range(batches.num_record_batches):
                yield batches.get_batch(index)
        return
    with pa.ipc.open_stream(data) as stream:
        yield from stream


def _refuse_other_start(file: pathlib.Path) -> None:
    """Raise ValueError for a file that only its name calls Parquet."""
    refuse_stand_in(file)
    with storage.opened(file) as raw:
        start = raw.read(SHOWN_BYTES)
    # The second one is of an encrypted file, which pyarrow refuses with its own words.
    if start and not start.startswith((b"PAR1", b"PARE")):
        raise ValueError(
            f"{file}: not a Parquet file, it begins with {start!r}; "
            "give it the ending of what it is"
        )


@contextlib.contextmanager
def _readable(file: pathlib.Path) -> Iterator[None]:
    """Raise pyarrow's refusals of a file as one sentence with its name."""
    refuse_stand_in(file)
    version = storage.version(file)
    if version is not None and not version.size:
        raise ValueError(f"{file}: empty, not even the head of a table; download or write it again")
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        # The system's own refusals name the file themselves.
        if isinstance(error, OSError) and error.filename:
            raise
        kind = file.suffix.removeprefix(".")
        raise ValueError(
            f"{file}: not a whole {kind} file ({error}); download or write it again"
        ) from None
