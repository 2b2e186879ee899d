"""A token cache in a bucket: built once, and copied to each machine that reads it."""

import json
import tempfile

import numpy as np
import pytest
from tiny_chat import make_tokenizer, pair_record, write_source

from rewardjax.data import token_cache
from rewardjax.data.cache import building, in_bucket
from rewardjax.data.prepare import prepare
from rewardjax.io import storage

CHAT = make_tokenizer()
RECORDS = [pair_record(f"question {i}", "a" * (i + 1), "b") for i in range(20)]


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / "pairs.jsonl", RECORDS)


@pytest.fixture
def on_machine(tmp_path, monkeypatch):
    """Makes this process one of a machine of the given name, with a disk of its own."""

    def be(name):
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))

    return be


def prepared(source, cache, **changes):
    arguments = {"tokenizer": CHAT, "max_length": 200, "shards": 3} | changes
    return prepare(source=source, cache=cache, **arguments)


def place_of(pairs, cache):
    return storage.path_of(cache) / pairs.fingerprint


def lines(pairs):
    loaded = pairs.load(np.arange(len(pairs)))
    return [[list(ids) for ids in (pair.prefix, *pair.suffixes)] for pair in loaded]


def test_another_machine_copies_what_one_has_built(
    source, bucket_folder, on_machine, capsys, tmp_path, monkeypatch
):
    on_machine("builder")
    built = prepared(source, bucket_folder)
    assert f"to {place_of(built, bucket_folder)}" in capsys.readouterr().err
    # The same files as in a cache on a disk, which has the lock of its owner besides.
    local = prepared(source, tmp_path / "cache")
    names = {path.name for path in local.folder.iterdir()} - {"owner.lock"}
    assert set(storage.names_in(place_of(built, bucket_folder))) == names

    monkeypatch.setattr(building, "make", None)  # nothing is tokenized from here on
    on_machine("trainer")
    capsys.readouterr()
    copied = prepared(source, bucket_folder)
    told = capsys.readouterr().err
    assert f"MB, of {place_of(built, bucket_folder)} to {copied.folder}" in told
    assert copied.folder != built.folder and lines(copied) == lines(built) == lines(local)
    assert copied.fingerprint == local.fingerprint
    # Once per machine.
    assert lines(prepared(source, bucket_folder)) == lines(built)
    assert "copied" not in capsys.readouterr().err


def test_what_is_damaged_in_the_bucket_is_made_anew_and_copied_there(
    source, bucket_folder, on_machine, capsys
):
    on_machine("builder")
    built = prepared(source, bucket_folder)
    place = place_of(built, bucket_folder)
    groups = next(name for name in storage.names_in(place) if name.endswith(token_cache.GROUPS))
    whole = (place / groups).read_bytes()
    flipped = whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]
    for number, damage in enumerate([flipped, whole[:-9], None]):
        (place / groups).unlink()
        if damage is not None:
            (place / groups).write_bytes(damage)
        on_machine(f"trainer-{number}")
        assert lines(prepared(source, bucket_folder)) == lines(built)
        assert f"{place}: {groups} is damaged or not there" in capsys.readouterr().err
        assert (place / groups).read_bytes() == whole


@pytest.mark.parametrize("manifest", ["{", "[]", '{"inputs": {}}'])
def test_a_manifest_that_is_not_one_is_replaced(
    manifest, source, bucket_folder, on_machine, capsys
):
    on_machine("builder")
    built = prepared(source, bucket_folder)
    path = place_of(built, bucket_folder) / token_cache.MANIFEST
    whole = path.read_bytes()
    path.write_text(manifest)
    on_machine("trainer")
    assert lines(prepared(source, bucket_folder)) == lines(built)
    assert "manifest.json is damaged or of something else" in capsys.readouterr().err
    assert path.read_bytes() == whole


def test_a_copy_that_was_damaged_on_this_machine_is_copied_again(
    source, bucket_folder, on_machine, monkeypatch
):
    on_machine("builder")
    built = prepared(source, bucket_folder)
    expected = lines(built)
    monkeypatch.setattr(building, "make", None)
    groups = next(built.folder.glob(f"*{token_cache.GROUPS}"))
    groups.write_bytes(b"\0" * groups.stat().st_size)
    assert lines(prepared(source, bucket_folder)) == expected


def test_an_upload_that_was_cut_off_is_finished_by_the_next_start(
    source, bucket_folder, on_machine, monkeypatch
):
    on_machine("builder")
    upload, sent = storage.upload, []

    def cut_off(path, address):
        if path.name == token_cache.MANIFEST:
            raise OSError("the machine is gone")
        sent.append(path.name)
        upload(path, address)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "upload", cut_off)
        with pytest.raises(OSError, match="gone"):
            prepared(source, bucket_folder)
    assert sent, "its files were copied before the manifest"
    # On another machine it is as if there were none.
    on_machine("trainer")
    pairs = prepared(source, bucket_folder)
    assert json.loads((place_of(pairs, bucket_folder) / token_cache.MANIFEST).read_text())


def test_an_engine_needs_a_disk_that_all_see(source, bucket_folder, on_machine):
    on_machine("builder")
    with pytest.raises(ValueError, match="name a cache on a file system that all of them have"):
        prepared(source, bucket_folder, spread=building.here)


def test_a_disk_is_used_as_it_is(tmp_path):
    assert in_bucket.disk_of(str(tmp_path)) == tmp_path
    one, same, other = map(in_bucket.disk_of, ("gs://b/c", "gs://b/c/", "gs://b/d"))
    assert one == same != other
