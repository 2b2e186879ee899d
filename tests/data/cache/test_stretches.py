"""A part of a source is read as the whole is, from wherever it begins."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rewardjax.data.sources import files

RECORDS = [{"id": str(i), "text": "two\nlines" * (i % 3) + "end"} for i in range(700)]
# Around blank lines, row groups of 300 rows, and batches of 256.
PLACES = (0, 1, 255, 256, 299, 300, 301, 699, 700, 900)


def table_of_text() -> bytes:
    text = io.StringIO()
    rows = csv.DictWriter(text, ["id", "text"])
    rows.writeheader()
    rows.writerows(RECORDS)
    return text.getvalue().encode()


def write(path) -> None:
    """All records, as the file's name says."""
    table = pa.Table.from_pylist(RECORDS)
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=300)
    elif path.suffix == ".arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table, 300)
    elif path.suffix == ".json":
        path.write_text(json.dumps(RECORDS))
    elif path.suffix == ".jsonl":
        path.write_text("\n\n \x0c\n".join(map(json.dumps, RECORDS)))
    elif path.suffix == ".zst":
        path.write_bytes(pa.compress(table_of_text(), codec="zstd", asbytes=True))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv.zst", "a.parquet", "a.arrow"])
def test_a_file_is_read_from_any_of_its_records_on(tmp_path, name):
    path = tmp_path / name
    write(path)
    whole = list(files.read(path))
    assert len(whole) == files.Source("a", [path]).counts[0] == 700
    for first in PLACES:
        assert list(files.read(path, first)) == whole[first:]
