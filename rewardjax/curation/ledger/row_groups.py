"""The rows about some pairs, out of files that hold millions.

A unit asks about some hundred pairs, which lie side by side in every file, since files are sorted
by pair. DuckDB finds them too, but it opens all files of a ledger for each question, and looks at
each of their row groups: the time of a question grows with the store, and that of a stage with its
square. Here footers are read once, and a question reads the row groups alone that may have its
pairs.
"""

import functools
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

# The functions of pyarrow.compute are made when it is imported: a type checker knows none of them.
pc: Any = pyarrow.compute

# Row groups that are in memory at the same time. Pairs from all over a ledger touch each of them.
TOGETHER = 16
# Files whose footers are remembered: more than a stage has between two compactions, and its packs.
REMEMBERED = 1024
LAST = "\U0010ffff"  # after every id


class _Footer(NamedTuple):
    """What the footer of a file of G row groups says, and the range of pairs of each."""

    metadata: pq.FileMetaData
    first: np.ndarray  # [G] ids
    last: np.ndarray  # [G] ids
    columns: frozenset[str]
    least: str  # of all ids
    most: str


def rows_about(
    paths: Iterable[pathlib.Path], pair_ids: pa.Array, columns: Sequence[str], schema: pa.Schema
) -> pa.Table:
    """The rows of all files about these pairs, in the order of the files.

    Args:
        paths: files sorted by `pair_id`. Those of earlier versions may lack columns, which are
            null then.
        pair_ids: in any order.
        columns: names of columns in `schema`, `pair_id` among them.
        schema: of the ledger.
    """
    kept = pa.schema([schema.field(name) for name in columns])
    ordered = np.unique(np.asarray(pair_ids.to_pylist(), str))
    parts = [kept.empty_table()]
    for path in paths:
        for table in _tables(path, ordered, columns):
            rows = table.filter(pc.is_in(table.column("pair_id"), pair_ids))
            if rows.num_rows:
                parts.append(_completed(rows, kept))
    return pa.concat_tables(parts).combine_chunks()


def _tables(path: pathlib.Path, pair_ids: np.ndarray, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The row groups of a file that may have a row about sorted `pair_ids`, some at a time."""
    state = os.stat(path)
    # An erasure writes a file anew under its name; the footer of another file is another one.
    footer = _footer(str(path), state.st_ino, state.st_mtime_ns)
    # Most files of a ledger have none of them: two comparisons tell.
    if not pair_ids.size or pair_ids[-1] < footer.least or pair_ids[0] > footer.most:
        return
    # Pairs before the first of each row group, and up to its last: more of these where it has any.
    before = np.searchsorted(pair_ids, footer.first, side="left")
    until = np.searchsorted(pair_ids, footer.last, side="right")
    groups = np.flatnonzero(until > before).tolist()
    if not groups:
        return
    read = [name for name in columns if name in footer.columns]
    with pq.ParquetFile(path, metadata=footer.metadata) as file:
        for start in range(0, len(groups), TOGETHER):
            yield file.read_row_groups(groups[start : start + TOGETHER], read)


@functools.lru_cache(maxsize=REMEMBERED)
def _footer(path: str, inode: int, changed_ns: int) -> _Footer:
    metadata = pq.read_metadata(path)
    place = metadata.schema.names.index("pair_id")
    first, last = [], []
    for group in range(metadata.num_row_groups):
        statistics = metadata.row_group(group).column(place).statistics
        if statistics is not None and statistics.has_min_max:
            first.append(statistics.min)
            last.append(statistics.max)
        else:
            # Of a group without rows. Whatever else says nothing of its range is read.
            first.append("")
            last.append(LAST)
    columns = frozenset(metadata.schema.to_arrow_schema().names)
    least, most = min(first, default=LAST), max(last, default="")
    return _Footer(metadata, np.array(first, str), np.array(last, str), columns, least, most)


def _completed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows with the columns of `schema`, words as plain text."""
    columns = []
    for field in schema:
        if field.name in rows.column_names:
            columns.append(rows.column(field.name).cast(field.type))
        else:
            columns.append(pa.nulls(rows.num_rows, field.type))
    return pa.table(columns, schema=schema)
