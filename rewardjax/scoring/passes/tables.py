"""Scores as files: Parquet, JSON lines or CSV, one row per response."""

import contextlib
import csv
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rewardjax.data.sources.tables import count_csv
from rewardjax.io import storage

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("row", pa.int64()),
        ("response_index", pa.int32()),
        ("reward", pa.float32()),
    ]
)
TEXTS = (pa.field("prompt", pa.string()), pa.field("response", pa.string()))
COPIED = 1 << 20  # bytes at a time
Write = Callable[[list[dict[str, Any]]], object]


def schema(texts: bool) -> pa.Schema:
    """The columns of a file of scores, with the texts that were scored or without."""
    if texts:
        return with_texts(SCHEMA)
    return SCHEMA


def with_texts(columns: pa.Schema) -> pa.Schema:
    """The columns, and behind them the prompt and the response."""
    for text in TEXTS:
        columns = columns.append(text)
    return columns


@contextlib.contextmanager
def _parquet(path: pathlib.Path, columns: pa.Schema) -> Iterator[Write]:
    with pq.ParquetWriter(path, columns) as writer:
        yield lambda rows: writer.write_table(pa.Table.from_pylist(rows, columns))


@contextlib.contextmanager
def _jsonl(path: pathlib.Path, columns: pa.Schema) -> Iterator[Write]:
    with open(path, "w", encoding="utf-8") as file:
        yield lambda rows: file.writelines(
            json.dumps(row, allow_nan=False) + "\n" for row in _in_text(rows, columns)
        )


@contextlib.contextmanager
def _csv(path: pathlib.Path, columns: pa.Schema) -> Iterator[Write]:
    with open(path, "w", newline="", encoding="utf-8") as file:
        # All texts quoted: else the module leaves a carriage return bare, which ends a row.
        file.write(",".join(columns.names) + "\n")
        quoted = {"quoting": csv.QUOTE_NONNUMERIC, "lineterminator": "\n"}
        writer = csv.DictWriter(file, columns.names, **quoted)
        yield lambda rows: writer.writerows(_in_text(rows, columns))


def _in_text(rows: list[dict[str, Any]], columns: pa.Schema) -> Iterator[dict[str, Any]]:
    """Rows whose float32 numbers are printed in the fewest digits that give the same back."""
    floats = [field.name for field in columns if field.type == pa.float32()]
    for row in rows:
        yield row | {name: float(str(np.float32(row[name]))) for name in floats}


WRITERS = {".parquet": _parquet, ".jsonl": _jsonl, ".csv": _csv}


def join(paths: Sequence[pathlib.Path], suffix: str, output: pathlib.Path) -> None:
    """One file of the rows of several, a file at a time; the first says which columns there are."""
    if suffix == ".parquet":
        columns = pq.read_schema(paths[0])
        with pq.ParquetWriter(output, columns) as writer:
            for path in paths:
                writer.write_table(pq.read_table(path, schema=columns))
        return
    with open(output, "wb") as joined:
        for path in paths:
            with open(path, "rb") as part:
                # Each part has the header, which holds no line break.
                if suffix == ".csv" and path != paths[0]:
                    part.readline()
                while block := part.read(COPIED):
                    joined.write(block)


def count(path: pathlib.Path) -> int:
    """How many rows a file of scores has."""
    if path.suffix == ".csv":
        # A text may hold line breaks.
        return count_csv(path)
    with storage.opened(path) as file:
        if path.suffix == ".parquet":
            return pq.read_metadata(file).num_rows
        return sum(1 for _ in file)
