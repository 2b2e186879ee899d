"""Data in a bucket, read where they are."""

import bz2
import gzip
import json
import pathlib
import pickle

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from rewardjax.data.sources import open_source
from rewardjax.io import files, storage

RECORDS = [
    {"prompt": f"question {number}", "chosen": "yes", "rejected": "no"} for number in range(40)
]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()


def _zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(data)
    return sink.getvalue().to_pybytes()


def _csv(path: pathlib.Path) -> None:
    rows = [",".join(RECORDS[0]), *(",".join(record.values()) for record in RECORDS)]
    path.write_text("\n".join(rows) + "\n")


WRITERS = {
    "x.jsonl": lambda path: path.write_bytes(LINES),
    "x.json": lambda path: path.write_text(json.dumps(RECORDS)),
    "x.jsonl.gz": lambda path: path.write_bytes(gzip.compress(LINES)),
    "x.jsonl.bz2": lambda path: path.write_bytes(bz2.compress(LINES)),
    "x.jsonl.zst": lambda path: path.write_bytes(_zstd(LINES)),
    "x.csv": _csv,
    "x.parquet": lambda path: pq.write_table(pa.Table.from_pylist(RECORDS), path, row_group_size=7),
    "x.feather": lambda path: pyarrow.feather.write_feather(
        pa.Table.from_pylist(RECORDS), str(path)
    ),
}


def _put(place: str, name: str, write=WRITERS["x.jsonl"]) -> None:
    path = storage.path_of(place) / name
    files.make_folder(path.parent)
    with files.replacing(path) as part:
        write(part)


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_is_read_from_a_bucket_as_from_a_disk(name, bucket_folder, tmp_path):
    _put(bucket_folder, name, WRITERS[name])
    WRITERS[name](tmp_path / name)
    source = open_source(f"{bucket_folder}/{name}")
    assert list(source) == RECORDS and len(source) == 40
    # Data that moved are the same data.
    assert source.fingerprint() == open_source(tmp_path / name).fingerprint()
    assert source.name == "x"
    # A record in the middle is found without those before it.
    ((_, read_from),) = source.by_file()
    assert next(read_from(33)) == RECORDS[33]


def test_globs_and_folders_with_splits(anywhere):
    for name in ("train-0.jsonl", "train-1.jsonl", "test-0.jsonl", "README.md"):
        _put(anywhere, f"data/{name}")
    assert len(open_source(f"{anywhere}/data/train-*.jsonl")) == 80
    assert len(open_source(f"{anywhere}/data", split="train")) == 80
    assert len(open_source(f"{anywhere}/data", split="test")) == 40
    with pytest.raises(ValueError, match="split"):
        open_source(f"{anywhere}/data")


def test_the_card_of_a_folder_says_what_the_splits_are(anywhere):
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: old, path: a*.jsonl}\n---\n"
    _put(anywhere, "data/README.md", lambda path: path.write_text(card))
    _put(anywhere, "data/a1.jsonl")
    _put(anywhere, "data/b1.jsonl")
    assert len(open_source(f"{anywhere}/data", split="old")) == 40


def test_what_saved_data_sets_hold(anywhere):
    table = pa.Table.from_pylist(RECORDS)

    def stream(path: pathlib.Path) -> None:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)

    _put(anywhere, "saved/data-00000-of-00001.arrow", stream)
    state = json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]})
    _put(anywhere, "saved/state.json", lambda path: path.write_text(state))
    assert list(open_source(f"{anywhere}/saved")) == RECORDS


def test_data_that_change_while_they_are_read_are_refused(anywhere):
    _put(anywhere, "x.jsonl")
    source = open_source(f"{anywhere}/x.jsonl")
    _put(anywhere, "x.jsonl", lambda path: path.write_bytes(LINES + LINES))
    with pytest.raises(ValueError, match="changed while it was read"):
        list(source)


def test_a_torn_line_is_named_by_its_address(bucket_folder):
    _put(bucket_folder, "x.jsonl", lambda path: path.write_bytes(LINES + b'{"prompt": \n'))
    with pytest.raises(ValueError, match=rf"{bucket_folder}/x.jsonl:41: bad JSON"):
        list(open_source(f"{bucket_folder}/x.jsonl"))


def test_what_is_cut_off_is_refused_in_one_line(bucket_folder):
    for name in ("x.jsonl.gz", "x.jsonl.zst", "x.parquet"):
        _put(bucket_folder, name, WRITERS[name])
        path = storage.path_of(bucket_folder) / name
        whole = path.read_bytes()
        with files.replacing(path) as part:
            part.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match="download"):
            list(open_source(f"{bucket_folder}/{name}"))


def test_workers_read_the_same_source(bucket_folder):
    _put(bucket_folder, "x.jsonl")
    source = pickle.loads(pickle.dumps(open_source(f"{bucket_folder}/x.jsonl")))
    assert list(source) == RECORDS


def test_what_is_not_there_is_refused_in_one_line(bucket_folder):
    with pytest.raises(ValueError, match="there is no bucket no-bucket"):
        open_source("gs://no-bucket/x.jsonl")
    for place in (f"{bucket_folder}/none.jsonl", f"{bucket_folder}/*.jsonl"):
        with pytest.raises(FileNotFoundError, match="no such object, folder or match"):
            open_source(place)
    _put(bucket_folder, "set/1.0.0/features.json")
    with pytest.raises(ValueError, match="a TFDS data set"):
        open_source(f"{bucket_folder}/set")
    _put(bucket_folder, "x.jsonl")
    with pytest.raises(ValueError, match="has no splits"):
        open_source(f"{bucket_folder}/x.jsonl", split="train")
