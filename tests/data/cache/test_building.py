"""A token cache in shards: the same pairs however it is cut, gone on with wherever it was left."""

import errno
import json
import os

import numpy as np
import pytest
from tiny_chat import make_tokenizer, pair_record, write_source

from rewardjax import fingerprint
from rewardjax.data import formats, token_cache
from rewardjax.data import sources as sources_lib
from rewardjax.data.cache import building, file_hashes, local_processes, stretches
from rewardjax.data.cache import shards as shards_lib
from rewardjax.data.prepare import prepare

CHAT = make_tokenizer()
COLUMNS = ("record", "response", "lengths", "target", "margin", "tie", "source_record")


def prepared(source, cache, **changes):
    arguments = {"tokenizer": CHAT, "max_length": 200, "shards": 4} | changes
    return prepare(source=source, cache=cache, **arguments)


def records(count=40):
    """Pairs and groups, and whatever else is counted."""
    lines = []
    for i in range(count):
        lines.append(pair_record(f"question {i}", "a" * (i % 9 + 1), "b" * (i % 7 + 1)))
        if i % 10 == 1:
            lines[-1]["prompt"] = "x" * 300
        if i % 10 == 3:
            lines[-1]["chosen"] = "\0"
        if i % 10 == 5:
            lines[-1]["chosen"] = "a <|im_end|>"
        if i % 10 == 6:
            lines[-1]["chosen"] = lines[-1]["rejected"]
        if i % 10 == 9:
            lines[-1]["tools"] = [{"name": "search"}]
        if i > 30:
            lines[-1]["note"] = "not used, and late"
        if i % 10 == 7:
            scores = [3, 1, 2]
            lines[-1] = {"prompt": f"ask {i}", "responses": ["a", "bb", "c"], "scores": scores}
    return lines


def files_of(folder):
    """Bytes by name, without those of whoever owns the folder."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.startswith("owner.")
    }


def tokens_of(pairs):
    loaded = pairs.load(range(len(pairs)))
    return [[x.tolist() for x in (pair.prefix, *pair.suffixes)] for pair in loaded]


def without_files(manifest):
    return {name: manifest[name] for name in manifest if "checksum" not in name and name != "bytes"}


@pytest.mark.parametrize("shards", [1, 3, 7, 40])
def test_pairs_and_account_do_not_depend_on_the_number_of_shards(tmp_path, shards, monkeypatch):
    monkeypatch.setattr(formats, "SAMPLE", 20)
    source = write_source(tmp_path / "a.jsonl", records())
    cut = {"over_long": "left"}
    four = prepared(source, tmp_path / "4", shards=4, **cut)
    other = prepared(source, tmp_path / "other", shards=shards, **cut)
    (file,) = other.manifest["files"]
    assert file["shortened"] == file["unprinted"]["tools"] == file["control_records"] == 4
    assert file["dropped"] == {"bad_text": 4, "equal": 4} and file["late_columns"] == {"note": 31}
    for name in COLUMNS:
        assert np.array_equal(getattr(four, name), getattr(other, name)), name
    assert tokens_of(four) == tokens_of(other)
    assert without_files(four.manifest) == without_files(other.manifest)
    assert len(list(other.folder.glob("*.array_record"))) == shards


def test_files_of_several_kinds_are_cut_wherever_a_shard_ends(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    write_source(folder / "a.jsonl", records(11))
    (folder / "b.json").write_text(json.dumps(records(17)))
    rows = "".join(f"q{i},yes,no\n" for i in range(5))
    (folder / "c.csv").write_text("prompt,chosen,rejected\n" + rows)
    source = sources_lib.open_source(f"{folder}/*")
    one, ten = (prepared(source, tmp_path / str(n), shards=n) for n in (1, 10))
    assert tokens_of(one) == tokens_of(ten) and one.manifest["files"] == ten.manifest["files"]
    assert [file["records"] for file in ten.manifest["files"]] == [11, 17, 5]


def test_trees_of_messages_are_cut_between_their_answers(tmp_path):
    def tree(name):
        replies = [
            {"message_id": f"{name}{k}", "role": "assistant", "text": f"{name} {k}", "rank": k}
            for k in range(3)
        ]
        root = {"message_id": name, "role": "prompter", "text": f"Ask {name}?", "replies": replies}
        # What the user says next is answered too.
        replies[0]["replies"] = [{**root, "message_id": f"{name}-next", "replies": replies[1:]}]
        return {"message_tree_id": name, "prompt": root}

    source = write_source(tmp_path / "a.jsonl", [tree(name) for name in "abcde"])
    one, four = (prepared(source, tmp_path / str(n), shards=n) for n in (1, 4))
    assert tokens_of(one) == tokens_of(four) and one.manifest["records"]["in"] == 10
    assert np.array_equal(one.source_record, four.source_record)


# ------------------------------------------------------------------ going on


def interrupt_after(monkeypatch, count):
    """Let `count` records be tokenized; the list of those that were, to be emptied."""
    seen, tokenize = [], building.tokenize_record

    def counting(record, *arguments):
        if len(seen) == count:
            raise KeyboardInterrupt
        seen.append(record[0])
        return tokenize(record, *arguments)

    monkeypatch.setattr(building, "tokenize_record", counting)
    return seen


def test_an_interrupted_build_makes_the_missing_shards_and_the_same_files(tmp_path, monkeypatch):
    source = write_source(tmp_path / "a.jsonl", records())
    whole = files_of(prepared(source, tmp_path / "whole").folder)
    seen = interrupt_after(monkeypatch, 25)
    with pytest.raises(KeyboardInterrupt):
        prepared(source, tmp_path / "cache")
    seen.clear()
    pairs = prepared(source, tmp_path / "cache")
    assert seen == list(range(20, 40))
    assert files_of(pairs.folder) == whole


def test_an_unfinished_build_keeps_its_shards_and_says_so(tmp_path, monkeypatch, capsys):
    source = write_source(tmp_path / "a.jsonl", records())
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 25)
        prepared(source, tmp_path / "cache")
    pairs = prepared(source, tmp_path / "cache", shards=8)
    assert "going on with the 4 shards that it has" in capsys.readouterr().err
    assert len(list(pairs.folder.glob("*.array_record"))) == 4


def into_a_folder(path):
    path.unlink()
    (path / "in").mkdir(parents=True)


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"no more"), into_a_folder])
def test_of_a_damaged_cache_only_the_damaged_shard_is_made_anew(damage, tmp_path, monkeypatch):
    source = write_source(tmp_path / "a.jsonl", records())
    pairs = prepared(source, tmp_path / "cache")
    whole = files_of(pairs.folder)
    damage(pairs.folder / "groups-00001-of-00004.array_record")
    seen = interrupt_after(monkeypatch, -1)
    # As training does, which is not told how many shards it has.
    assert files_of(prepared(source, tmp_path / "cache", shards=None).folder) == whole
    assert seen == list(range(10, 20))


def into_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("damage", [into_a_pipe, into_a_folder])
def test_nobody_waits_at_what_is_in_place_of_a_file(damage, tmp_path):
    source = write_source(tmp_path / "a.jsonl", records())
    pairs = prepared(source, tmp_path / "cache")
    whole = files_of(pairs.folder)
    for name in whole:
        # Of a shard whose record is not to be believed all is made anew, whatever else is there.
        damage(pairs.folder / name)
        assert files_of(prepared(source, tmp_path / "cache", shards=None).folder) == whole, name


def test_a_damaged_plan_is_made_anew(tmp_path, monkeypatch):
    source = write_source(tmp_path / "a.jsonl", records())
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 25)
        prepared(source, tmp_path / "cache")
    (plan,) = tmp_path.glob(f"cache/*/{building.PLAN}")
    plan.write_text(plan.read_text().replace("[40]", "[39]"))
    assert prepared(source, tmp_path / "cache").manifest["records"]["in"] == 40


def test_a_file_that_does_not_hold_what_was_counted_is_refused(tmp_path):
    source = write_source(tmp_path / "a.jsonl", records())
    counted = stretches.files_of(source, formats.readings(source))
    for counts in ([39], [41]):
        with pytest.raises(ValueError, match=f"does not hold the {counts[0]} records"):
            list(stretches.records_of(counted, counts, 20, counts[0]))


# ------------------------------------------------------------------ who makes what


def test_neighbors_stay_together_and_none_is_lost():
    parts = local_processes.parts_of(list(range(10)), 4)
    assert [len(part) for part in parts] == [2, 3, 2, 3]
    assert sum(parts, []) == list(range(10))
    assert local_processes.parts_of([3, 5], 8) == [[3], [5]]
    assert building.runs_of([0, 1, 4, 5, 7]) == [[0, 1], [4, 5], [7]]


def test_a_process_that_is_killed_is_told_in_a_sentence(tmp_path):
    source = write_source(tmp_path / "a.jsonl", records())
    job = building.Build(tmp_path, source, CHAT, [], None, [40], 4, 0.2)
    with pytest.raises(ValueError, match="killed by signal 9.*makes only the shards"):
        local_processes._refuse_end(job, -9)
    (tmp_path / building.REFUSED).write_text("the data are no good")
    with pytest.raises(ValueError, match="^the data are no good$"):
        local_processes._refuse_end(job, 2)


def test_a_full_disk_is_told_in_a_sentence_and_costs_no_shard(tmp_path, monkeypatch):
    source = write_source(tmp_path / "a.jsonl", records())
    whole = files_of(prepared(source, tmp_path / "whole").folder)
    add, writes = shards_lib.Writer.add, []

    def fill(*arguments):
        writes.append(arguments)
        if len(writes) > 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        add(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(shards_lib.Writer, "add", fill)
        with pytest.raises(ValueError, match="no space left on the disk for the tokens of a;"):
            prepared(source, tmp_path / "cache")
    kept = list((tmp_path / "cache").glob("*/shard-*.json"))
    assert len(kept) == 2
    assert files_of(prepared(source, tmp_path / "cache").folder) == whole


@pytest.mark.slow
def test_what_a_process_refuses_is_told_as_this_one_tells_it(tmp_path):
    lines = "".join(json.dumps(record) + "\n" for record in records(3000))
    (tmp_path / "a.csv").write_text('prompt,chosen,rejected\n"a,b,c\n' + lines)
    sentences = []
    for workers in (0, 2):
        with pytest.raises(ValueError) as refused:
            prepared(str(tmp_path / "a.csv"), tmp_path / str(workers), workers=workers)
        sentences.append(str(refused.value))
    assert sentences[0] == sentences[1] and "a.csv" in sentences[0]


# ------------------------------------------------------------------ before a slice is rented


def test_more_than_may_be_tokenized_here_is_refused_with_the_command(tmp_path):
    source = write_source(tmp_path / "a.jsonl", records())
    expected = r"40 records are not tokenized, more than data.most_untokenized = 39; .*rewardjax.pr"
    with pytest.raises(ValueError, match=expected):
        prepared(source, tmp_path / "cache", most_untokenized=39)
    prepared(source, tmp_path / "cache", most_untokenized=40)
    # It is there, and no more needs to be done.
    prepared(source, tmp_path / "cache", most_untokenized=0)


def test_a_large_file_is_read_once_to_be_known(tmp_path, monkeypatch):
    monkeypatch.setattr(file_hashes, "LARGE", 0)
    source = write_source(tmp_path / "a.jsonl", records(300))
    expected = source.fingerprint()
    read, of_file = [], fingerprint.of_file
    monkeypatch.setattr(fingerprint, "of_file", lambda path: read.append(path) or of_file(path))
    for _ in range(2):
        assert file_hashes.of_source(source, tmp_path / "cache") == expected
    assert len(read) == 1
    # Moved, with its time, as a disk that is mounted elsewhere: the same data.
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a.jsonl").rename(tmp_path / "elsewhere" / "a.jsonl")
    moved = sources_lib.open_source(tmp_path / "elsewhere" / "a.jsonl")
    assert file_hashes.of_source(moved, tmp_path / "cache") == expected and len(read) == 1
    # Changed, but for its size and time.
    path = tmp_path / "elsewhere" / "a.jsonl"
    before = path.stat()
    path.write_text(path.read_text().replace("question 150", "question 950"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert file_hashes.of_source(moved, tmp_path / "cache") != expected
    (tmp_path / "cache" / file_hashes.FILE).write_text("[]")
    assert file_hashes.of_source(moved, tmp_path / "cache") == moved.fingerprint()


def test_an_owner_that_is_at_work_is_waited_for(tmp_path, monkeypatch, capsys):
    waits = []

    def leave(seconds):
        waits.append(seconds)
        other.close()

    source = write_source(tmp_path / "a.jsonl", records())
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 5)
        prepared(source, tmp_path / "cache")
    (folder,) = (tmp_path / "cache").iterdir()
    other = token_cache.contextlib.ExitStack()
    other.enter_context(token_cache.owner.owning(folder))
    monkeypatch.setattr(token_cache.time, "sleep", leave)
    prepared(source, tmp_path / "cache")
    assert waits == [1.0] and "works in this folder" in capsys.readouterr().err
