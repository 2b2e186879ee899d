"""Scores as files: Parquet or JSON lines, one row per response."""

import contextlib
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rewardjax.io import storage

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("row", pa.int64()),
        ("response_index", pa.int32()),
        ("reward", pa.float32()),
    ]
)
COPIED = 1 << 20  # bytes at a time


@contextlib.contextmanager
def _parquet(path: pathlib.Path) -> Iterator[Callable[[list[dict]], None]]:
    with pq.ParquetWriter(path, SCHEMA) as writer:
        yield lambda rows: writer.write_table(pa.Table.from_pylist(rows, SCHEMA))


@contextlib.contextmanager
def _jsonl(path: pathlib.Path) -> Iterator[Callable[[list[dict]], None]]:
    # The fewest digits that give the same float32 back.
    shortest = lambda reward: float(str(np.float32(reward)))
    with open(path, "w") as file:
        yield lambda rows: file.writelines(
            json.dumps(row | {"reward": shortest(row["reward"])}, allow_nan=False) + "\n"
            for row in rows
        )


WRITERS = {".parquet": _parquet, ".jsonl": _jsonl}


def join(paths: Sequence[pathlib.Path], suffix: str, output: pathlib.Path) -> None:
    """One file of the rows of several, a file at a time."""
    if suffix == ".parquet":
        with pq.ParquetWriter(output, SCHEMA) as writer:
            for path in paths:
                writer.write_table(pq.read_table(path, schema=SCHEMA))
        return
    with open(output, "wb") as joined:
        for path in paths:
            with open(path, "rb") as part:
                while block := part.read(COPIED):
                    joined.write(block)


def count(path: pathlib.Path) -> int:
    """How many rows a file of scores has."""
    with storage.opened(path) as file:
        if path.suffix == ".parquet":
            return pq.read_metadata(file).num_rows
        return sum(1 for _ in file)
