"""What people call a data file: each kind is read rightly, or refused in one line with the remedy.

Both by the command that looks at data and by the path of training.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import pathlib
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet
import pytest
from tiny_chat import make_tokenizer

from rewardjax import check
from rewardjax.data.prepare import prepare
from rewardjax.data.sources import open_source

CHAT = make_tokenizer()
# U+2028 and U+0085 end lines for some readers, and stand in strings.
RECORDS = [
    {"prompt": f"Question\u2028{i}\x85?", "chosen": "yes", "rejected": "no"} for i in range(6)
]
LINES = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS)
TEXT = LINES.encode()
HALF = len("".join(LINES.splitlines(True)[:3]).encode())
PRINTED = "\n".join(json.dumps(record, indent=2) for record in RECORDS).encode()
TABLE = "prompt,chosen,rejected\n" + "".join(f"Question {i}?,yes,no\n" for i in range(6))


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


def archive(kind: str) -> bytes:
    data = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(data, "w") as file:
            file.writestr("a.jsonl", TEXT)
        return data.getvalue()
    with tarfile.open(fileobj=data, mode=f"w:{kind}") as file:
        member = tarfile.TarInfo("a.jsonl")
        member.size = len(TEXT)
        file.addfile(member, io.BytesIO(TEXT))
    return data.getvalue()


def parquet(folder: pathlib.Path, name: str) -> None:
    pa.parquet.write_table(pa.Table.from_pylist(RECORDS), folder / name)


READ = {
    "two gzip members": ("a.jsonl.gz", gzip.compress(TEXT[:HALF]) + gzip.compress(TEXT[HALF:])),
    "two zstd frames": ("a.jsonl.zst", zstd(TEXT[:HALF]) + zstd(TEXT[HALF:])),
    "zstd's own ending": ("a.jsonl.zstd", zstd(TEXT)),
    "xz": ("a.jsonl.xz", lzma.compress(TEXT)),
    "two bzip2 streams": ("a.jsonl.bz2", bz2.compress(TEXT[:HALF]) + bz2.compress(TEXT[HALF:])),
    "compressed under a plain name": ("a.json", lzma.compress(TEXT)),
    "compressed table": ("a.csv.xz", lzma.compress(TABLE.encode())),
    "CRLF": ("a.jsonl", TEXT.replace(b"\n", b"\r\n")),
    "mixed line ends": ("a.jsonl", TEXT[:HALF].replace(b"\n", b"\r\n") + TEXT[HALF:]),
    "no line end at the end": ("a.jsonl", TEXT.rstrip()),
    "lines in .json": ("a.json", TEXT),
    "an array in .jsonl": ("a.jsonl", json.dumps(RECORDS).encode()),
    "an array over lines in .jsonl": ("a.jsonl", json.dumps(RECORDS, indent=1).encode()),
    "a wrapped array in .jsonl": ("a.jsonl", json.dumps({"data": RECORDS}).encode()),
    "printed objects": ("a.json", PRINTED),
    "printed objects in .jsonl": ("a.jsonl", PRINTED),
    "ndjson": ("a.ndjson", TEXT),
    "an ending in capitals": ("A.JSONL", TEXT),
    "brackets, blanks and letters in the path": ("d\u00e9j\u00e0 [1] \U0001f642/a? b*.jsonl", TEXT),
    "a table with CR": ("a.csv", TABLE.replace("\n", "\r").encode()),
    "a table with semicolons": ("a.csv", TABLE.replace(",", ";").encode()),
    "a table with tabs called .csv": ("a.csv", TABLE.replace(",", "\t").encode()),
    "a table with commas called .tsv": ("a.tsv", TABLE.encode()),
}
REFUSED = {
    "zip": ("a.zip", archive("zip"), "an archive; unpack it"),
    "zip under the data's name": ("a.jsonl", archive("zip"), "a zip archive, .* unpack it"),
    "tar": ("a.tar.gz", archive("gz"), "an archive; unpack it"),
    "tar under the data's name": ("a.jsonl.gz", archive("gz"), "a tar archive, .* unpack it"),
    "another ending": ("a.xlsx", b"PK", r"told by its name's ending.*\.jsonl"),
    "git-annex pointer": ("a.jsonl", b"/annex/objects/SHA256E-s9--0a.jsonl\n", "git annex get"),
    "LFS pointer": ("a.csv", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "page without doctype": ("a.json", b"\n<head><title>404", "a web page"),
    "answer of a store": ("a.parquet", b"<Error><Code>AccessDenied</Code>", "a web page"),
    "answer in words": ("a.jsonl", b"Entry not found", "the line begins with 'Entry not found'"),
    "Parquet called .jsonl": ("a.jsonl", b"PAR1\x15\x04", "a Parquet file.*ends with .parquet"),
    "Arrow called .json": ("a.json", b"ARROW1\0\0", "an Arrow file.*ends with .arrow"),
    "lines called .parquet": ("a.parquet", TEXT, "not a Parquet file, it begins with"),
    "Latin-1": ("a.jsonl", '{"prompt": "caf\xe9?"}\n'.encode("latin-1"), "not UTF-8 .*iconv -f"),
    "UTF-16": ("a.jsonl", LINES.encode("utf-16"), "iconv -f UTF-16"),
    "zeros": ("a.jsonl", b"\0" * 4096, "nothing but zero bytes"),
    "CR alone": ("a.jsonl", TEXT.replace(b"\n", b"\r"), r"tr '\\r' '\\n' <"),
    "records in one line": ("a.jsonl", TEXT.replace(b"\n", b""), "several records: jq"),
    "commas": ("a.jsonl", TEXT.replace(b"\n", b",\n"), "commas stand between records"),
    "pandas' columns": ("a.json", b'{"prompt": {"0": "a?"}, "chosen": {"0": "b"}}', "orient="),
    "pandas' rows": ("a.json", b'{"0": {"prompt": "a?"}, "1": {"prompt": "c?"}}', "orient="),
    "cut gzip": ("a.jsonl.gz", gzip.compress(TEXT)[:-20], "cut off or damaged"),
    "cut xz": ("a.jsonl.xz", lzma.compress(TEXT)[:-20], "cut off or damaged"),
    "damaged xz": ("a.jsonl.xz", b"\xfd7zXZ\0" + TEXT, "cut off or damaged"),
    "cut bzip2": ("a.jsonl.bz2", bz2.compress(TEXT)[:-9], "cut off or damaged"),
    "empty": ("a.jsonl", b"", "no records"),
    "empty array": ("a.json", b"[]", "no records"),
    "header alone": ("a.csv", b"prompt,chosen,rejected\n", "no records"),
    "empty Parquet": ("a.parquet", b"", "a.parquet: empty"),
    "empty Arrow": ("a.arrow", b"", "a.arrow: empty"),
}


def train(path: pathlib.Path, cache: pathlib.Path) -> list[str]:
    """The prompts' questions that training would read."""
    prepare(source=str(path), tokenizer=CHAT, cache=cache, max_length=300)
    return [record["prompt"] for record in open_source(path)]


def write(folder: pathlib.Path, name: str, data: bytes) -> pathlib.Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", READ)
def test_a_kind_of_file_is_read(kind, tmp_path, capsys):
    path = write(tmp_path, *READ[kind])
    check.main([str(path)])
    assert "6 of 6 records can be used" in capsys.readouterr().out
    prompts = train(path, tmp_path / "cache")
    if ".csv" in path.name or ".tsv" in path.name:
        assert prompts == [f"Question {i}?" for i in range(6)]
    else:
        assert prompts == [record["prompt"] for record in RECORDS]
    assert len(open_source(path)) == 6


@pytest.mark.parametrize("kind", REFUSED)
def test_a_kind_of_file_is_refused_in_one_line(kind, tmp_path, capsys):
    name, data, message = REFUSED[kind]
    path = write(tmp_path, name, data)
    with pytest.raises(SystemExit) as ended:
        check.main([str(path)])
    out, err = capsys.readouterr()
    assert ended.value.code == 2 and len(err.strip().splitlines()) == 1
    with pytest.raises((ValueError, OSError), match=message) as error:
        train(path, tmp_path / "cache")
    # Of a file without records the report above says it, and the line that there is none.
    assert message in out or str(error.value) in err


def test_a_table_without_rows_has_no_records(tmp_path):
    pa.parquet.write_table(pa.Table.from_pylist(RECORDS).slice(0, 0), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="a.parquet: no records"):
        train(tmp_path / "a.parquet", tmp_path / "cache")


def test_a_link_without_its_content_is_refused(tmp_path):
    for target, message in (
        ("../.git/annex/objects/a/b", "git-annex link without its content; run `git annex get"),
        ("elsewhere.jsonl", "a link to elsewhere.jsonl, which is not there"),
    ):
        path = tmp_path / "a.jsonl"
        path.symlink_to(target)
        for where in (path, tmp_path):
            with pytest.raises(ValueError, match=message):
                train(where, tmp_path / "cache")
        path.unlink()


def test_a_link_that_leads_back_to_itself_is_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.symlink_to("a.jsonl")
    with pytest.raises(ValueError, match="a link to a.jsonl, which is not there"):
        list(open_source(path))


def test_a_name_that_no_report_could_hold_is_refused(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.jsonl")
    path.write_bytes(TEXT)
    with pytest.raises(ValueError, match=r"caf.*e9.jsonl: the name is not UTF-8; rename it"):
        open_source(path)
    with pytest.raises(ValueError, match=r"the name is not UTF-8; rename it"):
        open_source(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path):
    path = write(tmp_path, "below/a.jsonl", TEXT)
    for what in (path, path.parent):
        what.chmod(0)
        with pytest.raises(OSError, match="Permission denied"):
            train(tmp_path, tmp_path / "cache")
        what.chmod(0o755)


def test_a_folder_that_may_not_be_read_is_not_passed_over(tmp_path, monkeypatch):
    """Its data would be missing without a word; as above, but root may read everything."""
    write(tmp_path, "a.jsonl", TEXT)
    closed = write(tmp_path, "closed/b.jsonl", TEXT).parent
    scan = os.scandir

    def refuse(place):
        if pathlib.Path(place) == closed:
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(OSError, match="Permission denied.*closed"):
        open_source(tmp_path)


def test_a_folder_is_read_with_what_tools_put_beside_the_data(tmp_path):
    folder = tmp_path / "data set"
    for name in ("x/shard_0", "x/shard_1", ".cache", ".git", "__MACOSX"):
        (folder / name).mkdir(parents=True)
    parquet(folder, "x/shard_0/train-00000.parquet")
    (folder / "elsewhere").symlink_to(tmp_path / "linked")
    (folder / "x" / "loop").symlink_to(folder)
    write(tmp_path, "linked/part.jsonl", TEXT[:HALF])
    write(folder, "x/shard_1/part.jsonl", TEXT[HALF:])
    for name in (".cache/a.jsonl", ".git/b.json", "__MACOSX/._train.parquet", "._part.jsonl"):
        write(folder, name, b"\0\5\x16\7 not data")
    for name in ("dataset_infos.json", "README.md", "LICENSE", ".gitattributes", "_SUCCESS"):
        write(folder, name, b"{}")
    assert len(train(folder, tmp_path / "cache")) == 12


def test_settings_beside_the_data_are_refused_with_what_to_do(tmp_path):
    parquet(tmp_path, "train.parquet")
    write(tmp_path, "config.json", b'{"model_type": "x"}')
    with pytest.raises(ValueError, match=r"if config\.json is not data, name the other files"):
        train(tmp_path, tmp_path / "cache")
    # Where it is the only file, nothing else can be named.
    with pytest.raises(ValueError, match="config.json: cannot be read") as error:
        train(tmp_path / "config.json", tmp_path / "cache")
    assert "is not data" not in str(error.value)
