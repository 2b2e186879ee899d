"""Files of scores: all formats hold the same rows, also of texts that are hard to write."""

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from rewardjax.data import formats, sources
from rewardjax.data.sources.tables import read_csv
from rewardjax.scoring.passes import tables
from rewardjax.scoring.units import text_of

HOSTILE = ['a "b", c', "line\nbreak", "carriage\rreturn", "=1+1", "é 好 \u2028", "", "  ", "1e5"]


def rows(texts, first=0):
    drawn = np.random.default_rng(0).normal(size=len(texts)).astype(np.float32)
    written = []
    for k, text in enumerate(texts):
        place = {"id": f"id {k}", "row": first + k, "response_index": 0}
        written.append(place | {"reward": float(drawn[k]), "prompt": text, "response": text})
    return written


def read(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return list(map(json.loads, path.read_text().split("\n")[:-1]))
    with open(path, newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    numbers = {"row": int, "response_index": int, "reward": float}
    for row in table:
        row |= {name: number(row[name]) for name, number in numbers.items()}
    return table


@pytest.mark.parametrize("suffix", tables.WRITERS)
@pytest.mark.parametrize("texts", [False, True])
def test_parts_are_joined_and_counted_with_nothing_changed(suffix, texts, tmp_path):
    columns = tables.schema(texts)
    parts = []
    wanted = []
    # An empty part: a unit of which nothing could be scored.
    for number, of_part in enumerate((rows(HOSTILE), [], rows(HOSTILE, first=9))):
        of_part = [{name: row[name] for name in columns.names} for row in of_part]
        parts.append(tmp_path / f"part-{number}{suffix}")
        with tables.WRITERS[suffix](parts[-1], columns) as write:
            write(of_part)
        wanted += of_part
    tables.join(parts, suffix, whole := tmp_path / f"out{suffix}")
    assert tables.count(whole) == len(wanted) == 2 * len(HOSTILE)
    for row, expected in zip(read(whole), wanted, strict=True):
        assert np.float32(row.pop("reward")) == np.float32(expected.pop("reward"))
        assert row == expected


def test_texts_of_scores_are_read_back_as_the_conversations_they_were(tmp_path):
    turns = [
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "content": 'Say "x",\nplease'},
        {"role": "user", "content": "Bye."},
    ]
    answer = [{"role": "assistant", "content": "Good\rbye."}]
    path = tmp_path / "scores.csv"
    (row,) = rows([""])
    with tables.WRITERS[".csv"](path, tables.schema(True)) as write:
        write([row | {"prompt": text_of(turns), "response": text_of(answer)}])
    (record,) = read_csv(path)
    group = formats.to_group({name: record[name] for name in ("prompt", "response")}, 0, "in")
    assert group.prompt == turns and group.responses == [answer]
    assert sources.open_source(str(path)).name == "scores"
