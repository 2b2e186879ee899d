"""Every kind of file and folder gives the same records, and says what it is not."""

import csv
import gzip
import json
import pathlib
import random
import sys
import tracemalloc
import types

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

import rewardjax.data
from rewardjax.data.sources import json_files, open_named, open_source, tables

RECORDS = [
    {
        "id": f"r{i}",
        "prompt": [{"role": "user", "content": f"é {i}\n🙂"}],
        "chosen": "a",
        "rejected": "b",
        "margin": i / 2,
    }
    for i in range(600)
]


def lines(records) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def write_arrow(folder, shards) -> None:
    """As datasets' save_to_disk writes it: stream files, named in order by state.json."""
    folder.mkdir(parents=True)
    names = [f"data-{i:05}-of-{len(shards):05}.arrow" for i in range(len(shards))]
    for name, records in zip(names, shards, strict=True):
        table = pa.Table.from_pylist(records)
        with pa.ipc.new_stream(folder / name, table.schema) as stream:
            stream.write_table(table, max_chunksize=100)
    (folder / "state.json").write_text(
        json.dumps(
            {"_data_files": [{"filename": name} for name in names], "_indices_data_files": None}
        )
    )
    (folder / "dataset_info.json").write_text("{}")


def write(kind: str, folder) -> str:
    """RECORDS as `kind` under `folder`; the path to open."""
    folder.mkdir(exist_ok=True)
    if kind == "jsonl":
        (folder / "r.jsonl").write_text(lines(RECORDS) + "\n \n", encoding="utf-8")
    elif kind == "jsonl.gz":
        (folder / "r.jsonl.gz").write_bytes(gzip.compress(lines(RECORDS).encode()))
    elif kind == "jsonl.zst":
        packed = pa.compress(lines(RECORDS).encode(), codec="zstd", asbytes=True)
        (folder / "r.jsonl.zst").write_bytes(packed)
    elif kind == "feather":
        pa.feather.write_feather(pa.Table.from_pylist(RECORDS), folder / "r.feather", chunksize=90)
    elif kind == "data in .json":
        (folder / "r.json").write_text(json.dumps({"version": [1], "data": RECORDS, "n": 600}))
        return str(folder / "r.json")
    elif kind == "json":
        (folder / "r.json").write_text("\n " + json.dumps(RECORDS, indent=1))
    elif kind == "json.gz":
        (folder / "r.json.gz").write_bytes(gzip.compress(json.dumps(RECORDS).encode()))
    elif kind == "lines in .json":
        (folder / "r.json").write_text(lines(RECORDS), encoding="utf-8")
        return str(folder / "r.json")
    elif kind == "parquet":
        pa.parquet.write_table(
            pa.Table.from_pylist(RECORDS), folder / "r.parquet", row_group_size=170
        )
    elif kind == "glob":
        (folder / "a.jsonl").write_text(lines(RECORDS[:250]), encoding="utf-8")
        pa.parquet.write_table(pa.Table.from_pylist(RECORDS[250:]), folder / "b.parquet")
        return str(folder / "*.*")
    elif kind == "arrow folder":
        write_arrow(folder / "saved", [RECORDS[:250], RECORDS[250:]])
        return str(folder / "saved")
    elif kind == "repository folder":
        (folder / "data").mkdir()
        (folder / "README.md").write_text("---\n---\n")
        for i, part in enumerate((RECORDS[:250], RECORDS[250:])):
            pa.parquet.write_table(
                pa.Table.from_pylist(part), folder / "data" / f"train-{i:05}-of-00002.parquet"
            )
        return str(folder)
    return str(folder / f"r.{kind}")


KINDS = [
    "jsonl",
    "jsonl.gz",
    "jsonl.zst",
    "data in .json",
    "feather",
    "json",
    "json.gz",
    "lines in .json",
    "parquet",
    "glob",
    "arrow folder",
    "repository folder",
]


def test_a_source_is_read_file_by_file(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text(f'{{"n": "{name}"}}\n')
    source = open_source(f"{tmp_path}/*.jsonl")
    by_file = [(name, list(read())) for name, read in source.by_file()]
    assert by_file == [("a.jsonl", [{"n": "a"}]), ("b.jsonl", [{"n": "b"}])]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_records_again_and_again(kind, tmp_path):
    source = open_source(write(kind, tmp_path))
    assert len(source) == len(RECORDS)
    assert list(source) == RECORDS == list(source)
    assert source.name == {
        "arrow folder": "saved",
        "glob": tmp_path.name,
        "repository folder": tmp_path.name,
    }.get(kind, "r")
    assert open_source(write(kind, tmp_path / "again"), name="mine").name == "mine"


def test_one_record_is_read_without_the_rest(tmp_path, monkeypatch):
    parsed = []
    monkeypatch.setattr(
        json_files, "_parse_line", lambda data, *where: parsed.append(data) or json.loads(data)
    )
    assert next(iter(open_source(write("jsonl", tmp_path)))) == RECORDS[0] and len(parsed) == 1
    monkeypatch.setattr(tables, "RECORDS_AT_ONCE", 100)
    for kind in ("parquet", "arrow folder"):
        source, made = open_source(write(kind, tmp_path)), []
        batches = pa.parquet.ParquetFile.iter_batches if kind == "parquet" else tables.arrow_batches
        spy = lambda *args, batches=batches, made=made: (
            made.append(batch) or batch for batch in batches(*args)
        )  # noqa: B023
        monkeypatch.setattr(
            *(
                (pa.parquet.ParquetFile, "iter_batches")
                if kind == "parquet"
                else (tables, "arrow_batches")
            ),
            spy,
        )
        assert next(iter(source)) == RECORDS[0] and len(made) == 1 and made[0].num_rows <= 100


def test_fingerprint_follows_the_content_only(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.jsonl").write_text(lines(RECORDS))
    first, second = (open_source(tmp_path / name / f"{name}.jsonl").fingerprint() for name in "ab")
    assert first == second
    (tmp_path / "b" / "b.jsonl").write_text(lines(RECORDS[::-1]))
    assert open_source(tmp_path / "b" / "b.jsonl").fingerprint() != first


def test_splits_of_a_repository_folder(tmp_path):
    files = {
        "data/train-00000-of-00001.jsonl": "train",
        "data/test_prefs-00000-of-00001.jsonl": "test_prefs",
        "my-dev.jsonl": "validation",
        "evaluation/part.jsonl": "test",
        "trainer.jsonl": "train",
        ".cache/test.jsonl": None,
    }
    for i, name in enumerate(files):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(lines([{"n": i}]))
    with pytest.raises(
        ValueError,
        match="the splits test, test_prefs, train, validation; choose one, as in data.split=",
    ):
        open_source(tmp_path)
    with pytest.raises(ValueError, match="split = 'nope'"):
        open_source(tmp_path, split="nope")
    for split in ("train", "test_prefs", "validation", "test"):
        found = {list(files)[record["n"]] for record in open_source(tmp_path, split=split)}
        assert found == {name for name, belongs in files.items() if belongs == split}


def test_a_split_is_also_named_by_its_file(tmp_path):
    for name in ("train_prefs", "train_sft", "test_prefs"):
        (tmp_path / f"{name}.jsonl").write_text(lines([{"of": name}]))
    of = lambda split: [record["of"] for record in open_source(tmp_path, split=split)]
    assert of("train") == ["train_prefs", "train_sft"] and of("train_sft") == ["train_sft"]


def test_an_entry_of_a_config_names_a_source_and_maybe_a_split(tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text(lines([{"of": name}]))
    assert list(open_named({"source": str(tmp_path), "split": "test"})) == [{"of": "test"}]
    for entry in (str(tmp_path / "train.jsonl"), {"source": str(tmp_path / "train.jsonl")}):
        assert list(open_named(entry)) == [{"of": "train"}]


def test_a_fraction_is_not_a_split(tmp_path):
    for path in (write("jsonl", tmp_path), "world:train?num=4"):
        with pytest.raises(ValueError, match=r"split = \(0.0, 0.95\) is not .* data\.part="):
            open_source(path, split=(0.0, 0.95))
    with pytest.raises(ValueError, match="world:train.* names its split itself"):
        open_source("world:train?num=4", split="train")


def test_splits_of_a_saved_dataset_dict(tmp_path):
    write_arrow(tmp_path / "train", [RECORDS[:5]])
    write_arrow(tmp_path / "test", [RECORDS[5:9]])
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    assert list(open_source(tmp_path, split="test")) == RECORDS[5:9]
    with pytest.raises(ValueError, match="the splits train, test; choose one"):
        open_source(tmp_path)
    with pytest.raises(ValueError, match="without splits"):
        open_source(tmp_path / "train", split="train")
    state = {"_data_files": [], "_indices_data_files": [{"filename": "indices.arrow"}]}
    (tmp_path / "train" / "state.json").write_text(json.dumps(state))
    with pytest.raises(ValueError, match="flatten_indices"):
        open_source(tmp_path, split="train")


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.jsonl", b'{"x": 1}\n\n{"x": }\n', r"a\.jsonl:3: bad JSON at column 7"),
        ("a.jsonl", b'{"x": 1}\n[1]\n', r"a\.jsonl:2: a record is a JSON object"),
        ("a.jsonl", b'{"x": 1}\n{"x": "\xff"}\n', r"a\.jsonl:2: not UTF-8 at byte 8"),
        ("a.json", b'[{"x": 1},\n {"x": oops}]', r"a\.json:2: bad JSON at column 8"),
        ("a.json", b'[{"x": 1},\n {"x": "\xff"}]', r"a\.json:2: not UTF-8 at byte 9"),
        ("a.json", b'[{"x": 1}, 7]', r"a\.json\[1\]: a record is a JSON object"),
        ("a.jsonl", b'{"x": 1}\n{"x": ' + b"9" * 5000 + b"}", r"a\.jsonl:2: Exceeds the limit"),
        ("a.json", b'[\n{"x": ' + b"9" * 5000 + b"}]", r"a\.json:2: .*Exceeds the limit"),
        ("a.jsonl", b'{"x": 1}\n{"x": ' + b"[" * 200_000, r"a\.jsonl:2: maximum recursion"),
        ("a.json", b'[\n{"x": ' + b"[" * 200_000, r"a\.json:2: .*maximum recursion"),
        ("a.json", b'[{"x": 1},\n{"x": 2', r"a\.json:2: bad JSON at column 8.* the file ends here"),
        ("a.json", b'[{"x": 1}]\n[2]', r"a\.json:2: bad JSON at column 1: Extra data"),
        ("a.json", b'{\n"x": 1,\n"y": 2', r"a\.json:3: .* the file ends here"),
        ("a.json", b'{\n"x": 1}\n[2]', r"a\.json\[1\]: a record is a JSON object"),
        ("a.csv", b"x,x\n1,2\n", r"a\.csv:1: the header names a column twice"),
        ("a.csv", b"x,y\n1,2\n1,2,3\n", r"a\.csv:3: 3 cells, the header has 2 columns"),
        ("a.csv", b'x,y\n1,"2\n3,4\n', r"a\.csv:3: bad CSV: unexpected end of data"),
        ("a.csv", b"x,y\n1,\xe9\n", r"a\.csv:2: not UTF-8; .*iconv -f WINDOWS-1252"),
        ("a.parquet", b"PAR1 and no end", r"a\.parquet: not a whole parquet file"),
        ("a.arrow", b"ARROW1\0\0 and no end", r"a\.arrow: not a whole arrow file"),
    ],
)
def test_bad_files_are_named_with_their_line(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(open_source(tmp_path / name))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json.gz", "a.parquet", "a.csv", "a.arrow"])
@pytest.mark.parametrize(
    "content, message",
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS.*git lfs pull"),
        (b"\n<!DOCTYPE html>\n<html>", "web page .*/resolve/"),
    ],
)
def test_what_came_in_place_of_the_data_is_named_with_its_remedy(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    for use in (list, len):
        with pytest.raises(ValueError, match=rf"{name}: a {message}"):
            use(open_source(tmp_path / name))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.jsonl.gz"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le", "utf-32"])
def test_wide_characters_are_refused_with_the_command_that_converts_them(name, encoding, tmp_path):
    data = '{"prompt": "é"}\n'.encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    message = f"{name}: UTF-.*iconv -f {encoding.upper().replace('-BE', 'BE').replace('-LE', 'LE')}"
    with pytest.raises(ValueError, match=message):
        list(open_source(tmp_path / name))


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_a_compressed_file_that_is_cut_off_is_named(kind, tmp_path):
    whole = pathlib.Path(write(f"jsonl.{kind}", tmp_path))
    cut = tmp_path / f"cut.jsonl.{kind}"
    cut.write_bytes(whole.read_bytes()[:2000])
    for use in (list, len):
        with pytest.raises(ValueError, match=r"cut\.jsonl.*: cut off or damaged .*again"):
            use(open_source(cut))


def test_compression_is_seen_in_the_bytes_not_in_the_name(tmp_path):
    (tmp_path / "a.jsonl.gz").write_text(lines(RECORDS), encoding="utf-8")
    (tmp_path / "b.jsonl").write_bytes(gzip.compress(lines(RECORDS).encode()))
    assert list(open_source(tmp_path / "a.jsonl.gz")) == RECORDS
    assert list(open_source(tmp_path / "b.jsonl")) == RECORDS


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "b.json", "c.json", "a.csv"])
def test_a_byte_order_mark_is_no_part_of_the_data(name, tmp_path):
    text = {
        "a.jsonl": '{"x": "é"}\n\ufeff{"x": "b"}\n',
        "a.json": '{"x": "é"}\n{"x": "b"}\n',
        "b.json": '\n[{"x": "é"},\n {"x": "b"}]',
        "c.json": '{"data": [{"x": "é"}, {"x": "b"}]}',
        "a.csv": "x\né\nb\n",
    }[name]
    (tmp_path / name).write_text("\ufeff" + text, encoding="utf-8")
    source = open_source(tmp_path / name)
    assert list(source) == [{"x": "é"}, {"x": "b"}] and len(source) == 2


def test_tables_of_text(tmp_path):
    rows = [{"prompt": 'a, "b"\nc', "chosen": "5", "note": None}, {"prompt": "d" * 200_000}]
    rows[1] |= {"chosen": "t\tt", "note": "x"}
    for name, delimiter in (("a.csv", ","), ("a.tsv", "\t")):
        with open(tmp_path / name, "w", newline="") as file:
            writer = csv.DictWriter(file, ["prompt", "chosen", "note"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
        source = open_source(tmp_path / name)
        assert list(source) == rows and len(source) == 2


def test_an_array_is_read_in_pieces_wherever_they_end(tmp_path, monkeypatch):
    records = [{"x": "é\n\\u00e9" * 30, "y": [1.5e-3, True, None, {"z": []}]}, {}, {"x": "🙂"}]
    for form in (records, {"meta": {"data": 1}, "data": records, "after": [1]}):
        for indent in (None, 2):
            text = json.dumps(form, indent=indent)
            (tmp_path / "a.json").write_text(text)
            for chunk in (1, 2, 3, 7, 64, 5000):
                monkeypatch.setattr(json_files, "CHUNK", chunk)
                if isinstance(form, dict) and indent is None and chunk < len(text):
                    continue  # a line that is longer than a chunk is judged by its beginning
                assert list(json_files._read_document(tmp_path / "a.json")) == records


def test_an_array_is_not_held_as_a_whole(tmp_path):
    record = {"prompt": "p" * 1000, "chosen": "c" * 1000, "rejected": "r" * 1000}
    (tmp_path / "a.json").write_text("[" + ", ".join([json.dumps(record)] * 10_000) + "]")
    tracemalloc.start()
    assert sum(1 for _ in open_source(tmp_path / "a.json")) == 10_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6  # of 30e6 bytes


def test_an_error_in_an_array_is_told_before_the_rest_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(json_files, "CHUNK", 100)
    read = []
    real = json_files._Text._more
    monkeypatch.setattr(json_files._Text, "_more", lambda self: read.append(1) or real(self))
    (tmp_path / "a.json").write_text('[{"x": 1},\n{"x": oops},' + '{"x": 1},' * 1000)
    with pytest.raises(ValueError, match=r"a\.json:2: bad JSON at column 7"):
        list(open_source(tmp_path / "a.json"))
    assert len(read) < 5


def test_one_record_in_a_json_file_is_a_record(tmp_path):
    for record in ({"prompt": "p", "chosen": "c"}, {"data": ["a"]}, {"data": {"a": 1}}):
        (tmp_path / "a.json").write_text(json.dumps(record))
        assert list(open_source(tmp_path / "a.json")) == [record]


def test_the_hub_viewer_s_rows_are_unwrapped(tmp_path):
    rows = [{"row_idx": i, "row": {"x": i}, "truncated_cells": []} for i in range(3)]
    dump = {"features": [{"name": "x"}], "rows": rows, "num_rows_total": 3}
    (tmp_path / "a.json").write_text(json.dumps(dump, indent=1))
    assert list(open_source(tmp_path / "a.json")) == [{"x": i} for i in range(3)]


def test_what_cannot_be_opened(tmp_path):
    (tmp_path / "a.xlsx").write_text("x")
    for path in (tmp_path / "missing.jsonl", tmp_path / "*.jsonl", tmp_path):
        with pytest.raises(FileNotFoundError):
            open_source(path)
    with pytest.raises(ValueError, match=r"a\.xlsx: .* not one of \.jsonl"):
        open_source(tmp_path / "a.xlsx")
    with pytest.raises(ValueError, match="which has no splits"):
        open_source(write("jsonl", tmp_path), split="train")


def test_what_is_not_here_is_looked_for_at_the_hub_unless_it_is_written_as_a_file(monkeypatch):
    """The hub itself is in tests/test_hub.py."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for name in ("hf://org/name", "org/name", "org/name@v1"):
        with pytest.raises(ImportError, match=r"org/name.*rewardjax\[hub\]"):
            open_source(name)
    with pytest.raises(FileNotFoundError, match="no such file"):
        open_source("org/name.jsonl")


def test_a_card_says_which_files_are_which_split(tmp_path):
    for name in ("a/one", "a/two", "b/one", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.jsonl").write_text(lines([{"of": name}]))
    of = lambda split: [record["of"] for record in open_source(tmp_path, split=split)]
    card = (
        "---\nconfigs:\n- {config_name: a, data_dir: a, data_files: '*.jsonl'}\n- config_name: b\n"
        "  data_files:\n  - {split: held, path: [/b/one.jsonl, c.jsonl]}\n---\n---"
    )
    (tmp_path / "README.md").write_text(card)
    assert of("a/train") == ["a/one", "a/two"] and of("b/held") == ["b/one", "c"]
    with pytest.raises(ValueError, match="the splits a/train, b/held; choose one"):
        open_source(tmp_path)
    # One configuration needs no name, and one without files leaves them to their names.
    (tmp_path / "README.md").write_text("---\nconfigs: [{data_files: [c.jsonl]}]\n---")
    assert of("train") == ["c"]
    for card in ("---\nconfigs: [{config_name: x}]\n---", "# Mine", "---\n- [\n---", "---\n3\n---"):
        (tmp_path / "README.md").write_text(card)
        assert of("train") == ["a/one", "a/two", "b/one", "c"]


def test_tfds_missing_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"rewardjax\[tfds\]"):
        open_source("tfds:anything")


def test_the_world_is_opened_by_its_own_module(monkeypatch):
    opened = lambda spec: types.SimpleNamespace(spec=spec)
    world = types.SimpleNamespace(open_world=opened)
    monkeypatch.setitem(sys.modules, "rewardjax.data.world", world)
    monkeypatch.setattr(rewardjax.data, "world", world, raising=False)
    assert open_source("world:train?labels=honest").spec == "world:train?labels=honest"


def test_a_row_group_is_not_read_whole(tmp_path):
    """Writers put a million rows into one; only pages of it are in memory."""
    generator = random.Random(0)  # no two texts alike, or compression would hide them
    texts = [generator.randbytes(300).hex() for _ in range(30_000)]
    pa.parquet.write_table(pa.table({"x": texts}), tmp_path / "a.parquet")
    del texts
    before, most = pa.total_allocated_bytes(), 0
    for i, _ in enumerate(open_source(tmp_path / "a.parquet")):
        if i % 1000 == 0:
            most = max(most, pa.total_allocated_bytes() - before)
    assert 0 < most < 6e6  # of 18e6 bytes


@pytest.mark.skipif(not pathlib.Path("/proc/self/smaps").exists(), reason="Linux only")
def test_pages_of_an_arrow_file_that_were_read_are_given_back(tmp_path):
    """A mapped file would count as the process's memory by the end of it."""
    write_arrow(tmp_path / "saved", [[{"x": "x" * 5000} for _ in range(2000)]])
    resident = []
    for i, _ in enumerate(open_source(tmp_path / "saved")):
        if i % 250 == 249:
            resident.append(_resident_kib("data-00000"))
    assert max(resident) < 3000  # KiB of 10,000, with what the kernel reads ahead


def _resident_kib(name: str) -> int:
    """KiB of mapped files of that name which are in this process's memory."""
    total, counts = 0, False
    for line in pathlib.Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            counts = name in line
        elif first == "Rss:" and counts:
            total += int(rest[0])
    return total


@pytest.mark.parametrize("text", ['{"a": 1, "b": {"c": 1, "c": 2}}\n', '[\n{"c": 1, "c": 2}]'])
def test_a_field_that_an_object_has_twice_is_named(tmp_path, text):
    (tmp_path / "twice.json").write_text(text)
    with pytest.raises(ValueError, match="twice.json:[12].* an object has two fields called 'c'"):
        list(open_source(tmp_path / "twice.json"))


@pytest.mark.parametrize(
    "path, message",
    [
        ("", "names no data: a file, a glob"),
        (" ", "names no data"),
        ("s3://bucket/pairs.jsonl", "of addresses only gs:// and hf://ORG/NAME are read"),
        ("https://example.org/pairs.jsonl", "download it and name the file"),
    ],
)
def test_what_is_no_path_is_not_taken_for_one(path, message):
    with pytest.raises(FileNotFoundError, match=message):
        open_source(path)


def test_a_name_that_tfds_does_not_have_is_one_line():
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(FileNotFoundError, match="tfds:no_such_set: TFDS has no such data") as error:
        open_source("tfds:no_such_set", split="train")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("description", ["{}", "[]", "{", '{"version": "1.0.0"}'])
def test_a_folder_that_tfds_cannot_read_is_one_line(tmp_path, description):
    pytest.importorskip("tensorflow_datasets")
    (tmp_path / "features.json").write_text("[]")
    (tmp_path / "dataset_info.json").write_text(description)
    with pytest.raises(ValueError, match="TFDS data set|no split") as error:
        open_source(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("above", ["", "pairs"])
def test_a_folder_above_a_tfds_data_set_is_told_from_its_version(tmp_path, above):
    version = tmp_path / "pairs" / "1.0.0"
    version.mkdir(parents=True)
    for name in ("features.json", "dataset_info.json"):
        (version / name).write_text("{}")
    with pytest.raises(FileNotFoundError, match=f"name its version's folder, {version}"):
        open_source(str(tmp_path / above))
