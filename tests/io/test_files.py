"""A path shows its old content or all of the new one."""

import os
import pathlib
import subprocess
import sys

import pytest

from rewardjax import config
from rewardjax.command import errors
from rewardjax.io import files


def test_the_old_content_stays_until_the_block_ends(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with files.replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old" and part.parent == path.parent
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_block_that_raises_changes_nothing(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(KeyError), files.replacing(path) as part:
        part.write_text("new")
        raise KeyError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_whole_and_does_not_replace_a_full_one(tmp_path):
    folder = tmp_path / "model"
    with files.replacing(folder) as part:
        part.mkdir()
        (part / "weights").write_text("1")
        assert not folder.exists()
    assert (folder / "weights").read_text() == "1"
    with pytest.raises(OSError), files.replacing(folder) as part:
        part.mkdir()
    assert (folder / "weights").exists() and list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("many_writers", [False, True])
def test_what_a_killed_process_left_is_not_in_the_way(tmp_path, many_writers):
    path = tmp_path / "x.txt"
    script = f"""
import os
from rewardjax.io import files
with files.replacing({str(path)!r}, many_writers={many_writers}) as part:
    part.write_text("half")
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", script], cwd=os.getcwd()).returncode == -9
    assert not path.exists() and len(list(tmp_path.iterdir())) == 1
    with files.replacing(path, many_writers=many_writers) as part:
        part.write_text("whole")
    assert path.read_text() == "whole"
    # The name of one writer is used again; of many writers each has its own, which stays.
    assert len(list(tmp_path.iterdir())) == 1 + many_writers


def test_writers_with_the_same_process_number_do_not_share_a_part(tmp_path, monkeypatch):
    """As on two hosts, or in two containers, over one folder."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    path = tmp_path / "x.txt"
    with files.replacing(path, many_writers=True) as first:
        first.write_text("first")
        with files.replacing(path, many_writers=True) as second:
            second.write_text("second")
        assert path.read_text() == "second" and first.read_text() == "first"
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("", "names no folder"),
        ("  ", "names no folder"),
        (os.fsdecode(b"run\xff"), "the name is not UTF-8"),
        ("dangling", "a link to nowhere, which is not there"),
        ("loop", "a link to loop, which is not there"),
    ],
)
def test_what_is_no_name_for_a_folder_is_told(tmp_path, monkeypatch, name, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    assert sentence in (files.unwritable(name) or "")


def test_a_disk_that_is_full_is_told_with_the_file(tmp_path):
    refused = pytest.raises(OSError, match="No space left")
    with refused as full, files.replacing(tmp_path / "a"), open("/dev/full", "w") as file:
        file.write("x")
    assert errors.sentences(full.value) == [f"{tmp_path / 'a'}: No space left on device"]


@pytest.mark.parametrize("address", ["gs://bucket/run", "s3:/bucket/run", "https://x.org/run"])
def test_an_address_is_not_taken_for_a_folder_here(address):
    assert "mount the bucket" in (files.unwritable(address) or "")
    assert "mount the bucket" in (files.unwritable(pathlib.Path(address)) or "")
    with pytest.raises(ValueError, match="is an address and not a path"):
        files.refuse_address(address)
    for path in ("runs/a", "./gs:", "/gcs/bucket", "c:/run"):
        files.refuse_address(path)


def test_the_bytes_are_on_the_disk_before_the_name(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (calls.append("bytes"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda *names: (calls.append("name"), replace(*names)))
    config.write_json(tmp_path / "x.json", {"a": 1})
    assert calls == ["bytes", "name"]


@pytest.mark.parametrize(
    "place, reason", [("file", "is a file"), ("file/below", "is a file"), ("/proc/x/y", "/proc: ")]
)
def test_a_folder_that_cannot_be_written_is_known_without_writing(place, reason, tmp_path):
    (tmp_path / "file").touch()
    sentence = files.unwritable(tmp_path / place)
    assert sentence is not None and place in sentence and reason in sentence
    assert files.unwritable(tmp_path / "new" / "folder") is None
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_space_of_a_folder_that_does_not_exist_is_that_of_its_disk(tmp_path):
    assert files.free_bytes(tmp_path / "new" / "folder") > 0
