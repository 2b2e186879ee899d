"""A bucket in the place of a disk: the same operations, with the same promises."""

import importlib.util
import os
import pathlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from rewardjax.io import files, storage

CREATE = """
import sys
from rewardjax.io import files
sys.stdin.read(1)
print(files.create(sys.argv[1], sys.argv[2]))
"""


def test_of_two_processes_that_create_at_once_exactly_one_wins(anywhere):
    path = f"{anywhere}/commit.json"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", CREATE, path, f"text {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    # Each waits for a byte, so that both begin when both have started.
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("x")
        racer.stdin.flush()
    answers = [racer.communicate()[0].strip() for racer in racers]
    assert sorted(answers) == ["False", "True"]
    winner = answers.index("True")
    assert storage.path_of(path).read_text() == f"text {winner}"


def test_the_client_asks_no_control_plane():
    # Each open would ask Google's servers, and wait for them, whatever server is named; also where
    # somebody else has imported the client before.
    code = """
import fsspec, gcsfs
from rewardjax.io import storage
storage.path_of("gs://bucket/x")
for name in ("gs", "gcs"):
    assert fsspec.get_filesystem_class(name).__module__ == "gcsfs.core", name
"""
    pytest.importorskip("gcsfs", reason="the extra gcs")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_of_many_threads_that_create_at_once_exactly_one_wins(anywhere):
    with ThreadPoolExecutor(8) as threads:
        for number in range(10):
            path = f"{anywhere}/{number}.json"
            texts = [f"writer {writer}" for writer in range(8)]
            made = list(threads.map(files.create, [path] * 8, texts))
            assert made.count(True) == 1
            assert storage.path_of(path).read_text() == texts[made.index(True)]


def test_a_create_whose_answer_was_lost_is_known_as_ones_own(bucket_folder):
    path = storage.path_of(bucket_folder) / "commit.json"
    # What the client does when the connection breaks behind an upload that has succeeded.
    assert storage.create(path, b"mine") and storage.create(path, b"mine")
    assert not storage.create(path, b"another one's")


def test_a_file_is_written_whole_or_not_at_all(anywhere):
    path = storage.path_of(anywhere) / "x.txt"
    with files.replacing(path) as part:
        part.write_text("old")
    with pytest.raises(KeyError), files.replacing(path, many_writers=True) as part:
        part.write_text("new")
        raise KeyError
    assert path.read_text() == "old" and storage.names_in(path.parent) == ["x.txt"]
    with files.replacing(path) as part:
        part.write_text("new")
    assert path.read_text() == "new"


def test_a_folder_is_written_with_all_that_is_in_it(anywhere):
    folder = storage.path_of(anywhere) / "model"
    with files.replacing(folder) as part:
        (part / "tokenizer").mkdir(parents=True)
        (part / "weights").write_text("1")
        (part / "tokenizer" / "vocabulary").write_text("2")
    assert (folder / "tokenizer" / "vocabulary").read_text() == "2"
    assert storage.names_in(folder) == ["tokenizer", "weights"]


def test_names_with_brackets_are_names_and_no_patterns(anywhere):
    folder = storage.path_of(anywhere) / "a [1-2]"
    files.make_folder(folder)
    other = storage.path_of(anywhere) / "a 1"
    files.make_folder(other)
    files.create(folder / "x", "1")
    files.create(other / "x", "2")
    assert storage.names_in(folder) == ["x"]
    files.remove(folder)
    assert not folder.exists() and (other / "x").read_text() == "2"


def test_what_is_not_there_is_empty_and_can_be_removed(anywhere):
    folder = storage.path_of(anywhere) / "nothing"
    assert storage.names_in(folder) == [] and storage.version(folder / "x") is None
    files.remove(folder)


def test_the_version_changes_with_the_content(anywhere):
    path = storage.path_of(anywhere) / "x.txt"
    with files.replacing(path) as part:
        part.write_text("old")
    before = storage.version(path)
    assert before is not None and before == storage.version(path)
    with files.replacing(path) as part:
        part.write_text("new")
    assert storage.version(path) != before


def test_a_file_is_read_as_a_stream_and_as_a_copy(anywhere, tmp_path):
    path = storage.path_of(anywhere) / "x.bin"
    with files.replacing(path) as part:
        part.write_bytes(b"0123456789")
    with storage.opened(path) as stream:
        assert stream.read(3) == b"012"
        stream.seek(8)
        assert stream.read() == b"89"
    copies = tmp_path / "copies"
    copies.mkdir()
    with storage.on_disk(path, copies) as copy:
        assert pathlib.Path(copy).read_bytes() == b"0123456789"
    assert not os.listdir(copies)


def test_whether_a_folder_can_be_written_is_asked_of_the_server(bucket_folder):
    assert files.unwritable(bucket_folder, addresses=True) is None
    assert storage.names_in(storage.path_of(bucket_folder)) == []
    reason = files.unwritable("gs://no-such-bucket/run", addresses=True)
    assert reason is not None and "there is no bucket no-such-bucket" in reason


@pytest.mark.parametrize(
    "address, words",
    [
        ("s3://bucket/run", "only gs://"),
        ("https://x.org/run", "only gs://"),
        ("gs:/bucket/run", "only gs://"),
        ("gs://", "names no bucket"),
        ("gs:///run", "names no bucket"),
    ],
)
def test_other_addresses_are_refused_in_one_line(address, words):
    with pytest.raises(ValueError, match=words):
        storage.path_of(address)
    assert words in (files.unwritable(address, addresses=True) or "")


def test_without_the_client_the_extra_to_install_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'pip install "rewardjax\[gcs\]"'):
        storage.path_of("gs://bucket/run")
