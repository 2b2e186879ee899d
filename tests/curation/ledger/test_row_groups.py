"""Rows about some pairs: those that a full scan gives, from the row groups that have them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rewardjax.curation.ledger import row_groups

SCHEMA = pa.schema([("pair_id", pa.string()), ("value", pa.int64()), ("later", pa.string())])


@pytest.fixture
def paths(tmp_path):
    """Two files of sorted pairs in row groups of ten, some pairs in both; the older has less."""
    rng = np.random.default_rng(0)
    paths = []
    for number, columns in enumerate((SCHEMA.names[:2], SCHEMA.names)):
        ids = np.sort(rng.choice(400, 150, replace=number > 0))
        table = pa.table(
            {
                "pair_id": [f"p{i:03d}" for i in ids],
                "value": ids * 10 + number,
                "later": pa.array([f"word {i % 3}" for i in ids]).dictionary_encode(),
            }
        )
        paths.append(tmp_path / f"{number}.parquet")
        pq.write_table(table.select(columns), paths[-1], row_group_size=10)
    return paths


def scanned(paths, pair_ids, columns):
    rows = []
    for path in paths:
        for row in pq.read_table(path).to_pylist():
            if row["pair_id"] in pair_ids:
                rows.append({name: row.get(name) for name in columns})
    return rows


@pytest.mark.parametrize(
    "wanted", [range(100, 130), [399, 0, 200, 7], [], range(400), [1000], [3, 3]]
)
@pytest.mark.parametrize("columns", [("pair_id", "value"), tuple(SCHEMA.names)])
def test_the_rows_are_those_of_a_full_scan(paths, wanted, columns):
    pair_ids = pa.array([f"p{i:03d}" for i in wanted], pa.string())
    rows = row_groups.rows_about(paths, pair_ids, columns, SCHEMA)
    assert rows.schema.names == list(columns)
    assert rows.to_pylist() == scanned(paths, set(pair_ids.to_pylist()), columns)


def test_row_groups_without_any_of_the_pairs_are_not_read(paths, monkeypatch):
    read = []
    all_groups = pq.ParquetFile.read_row_groups

    def noted(self, groups, columns):
        read.extend(groups)
        return all_groups(self, groups, columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", noted)
    some = pa.array(["p100", "p101", "p102"])
    row_groups.rows_about(paths, some, SCHEMA.names, SCHEMA)
    assert 1 <= len(read) <= 4


def test_a_file_that_was_written_anew_under_its_name_is_read_anew(paths):
    some = pa.array(["p001", "new"])
    assert "new" not in row_groups.rows_about(paths, some, SCHEMA.names, SCHEMA)["pair_id"]
    part = paths[0].with_suffix(".part")
    pq.write_table(pa.table({"pair_id": ["new"], "value": [1]}), part)
    part.replace(paths[0])
    rows = row_groups.rows_about(paths, some, SCHEMA.names, SCHEMA)
    assert {"pair_id": "new", "value": 1, "later": None} in rows.to_pylist()


def test_a_row_group_that_says_nothing_of_its_range_is_read(paths):
    silent = paths[0].with_name("silent.parquet")
    pq.write_table(pq.read_table(paths[0]), silent, write_statistics=False, row_group_size=10)
    some = pa.array([pq.read_table(silent)["pair_id"][17].as_py()])
    rows = row_groups.rows_about([silent], some, ("pair_id",), SCHEMA)
    assert rows.num_rows == 1
