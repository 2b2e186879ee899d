"""A workspace whose files were damaged says which, whatever a library makes of them."""

import json
import os
import shutil

import pytest

from benchmarks.bad_row_cases import good
from rewardjax import curate


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A workspace of a few pairs."""
    folder = tmp_path_factory.mktemp("workspace")
    source = folder / "pairs.jsonl"
    source.write_text("".join(json.dumps(good(n)) + "\n" for n in range(8)))
    options = ["--source", str(source), "--name", "a", "--entry", "wild"]
    assert curate.main(["import", str(folder / "ws"), *options]) == 0
    return folder / "ws"


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def replace_by_folder(path):
    path.unlink()
    path.mkdir()


def replace_by_pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "damage",
    [cut, lambda path: path.write_bytes(b""), lambda path: path.unlink(), replace_by_folder],
)
def test_a_damaged_shard_is_named_with_what_to_do(imported, tmp_path, capsys, damage):
    folder = shutil.copytree(imported, tmp_path / "ws")
    shard = next((folder / "store" / "pairs").glob("*.parquet"))
    damage(shard)
    capsys.readouterr()
    assert curate.main(["status", str(folder)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"rewardjax.curate status: {shard}: missing or changed since")
    assert "run import-a again" in line


@pytest.mark.parametrize("name", ["store.json", "pairs/import-a.00000.json"])
@pytest.mark.parametrize("text", ["", "{", "[]", "\0"])
def test_a_damaged_record_is_named(imported, tmp_path, capsys, name, text):
    folder = shutil.copytree(imported, tmp_path / "ws")
    (folder / "store" / name).write_text(text)
    capsys.readouterr()
    assert curate.main(["status", str(folder)]) == 2
    assert f"{name} is not what was written" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pairs/import-a.00000.parquet", "store.json"])
def test_a_pipe_in_a_workspace_is_not_waited_for(imported, tmp_path, capsys, name):
    folder = shutil.copytree(imported, tmp_path / "ws")
    replace_by_pipe(folder / "store" / name)
    assert curate.main(["status", str(folder)]) == 2
    assert "a pipe, not a file" in capsys.readouterr().err


def test_an_error_of_a_sound_workspace_keeps_its_traceback(imported, monkeypatch):
    def fail(*args):
        raise curate.duckdb.BinderException("no such column")

    monkeypatch.setattr(curate.pools_lib, "sizes", fail)
    with pytest.raises(curate.duckdb.BinderException):
        curate.main(["status", str(imported)])
