"""Tokenized once:

every record accounted for, nothing stale or half-built ever used, ids exactly the tokenizer's.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_chat
from pyarrow import feather
from tiny_chat import pair_record, write_source

from rewardjax.command import errors
from rewardjax.command.exit_codes import ExitCode
from rewardjax.data import formats, pack, pipeline, token_cache
from rewardjax.data.cache import shards
from rewardjax.data.groups import BadRecord
from rewardjax.data.prepare import prepare
from rewardjax.data.tokenize import Settings, tokenize_group

CHAT = tiny_chat.make_tokenizer()
BOS_CHAT = tiny_chat.make_tokenizer(bos=True)
GOOD = [pair_record(f"question {i}", f"right {i} " + "x" * i, f"wrong {i}") for i in range(8)]


def prepared(source, cache, tokenizer=CHAT, **changes):
    return prepare(
        **{"source": source, "tokenizer": tokenizer, "cache": cache, "max_length": 200} | changes
    )


def conversation(record, side, tokenizer=CHAT):
    return tokenizer.encode(
        [
            {"role": "user", "content": record["prompt"]},
            {"role": "assistant", "content": record[side]},
        ]
    )


def stored(pairs) -> list[list[list[int]]]:
    """Both conversations of every pair as read back."""
    return [
        [[*pair.prefix, *suffix] for suffix in pair.suffixes]
        for pair in pairs.load(range(len(pairs)))
    ]


def test_what_is_read_back_is_what_the_tokenizer_says(tmp_path):
    pairs = prepared(write_source(tmp_path / "a.jsonl", GOOD), tmp_path / "cache")
    assert stored(pairs) == [
        [conversation(record, "chosen"), conversation(record, "rejected")] for record in GOOD
    ]
    for pair, lengths in zip(pairs.load(range(8)), pairs.lengths.tolist(), strict=True):
        assert [len(pair.prefix), *map(len, pair.suffixes)] == lengths
        assert pack.common_prefix(*pair.suffixes) == 0  # the shared prefix is the longest there is
    backwards = pairs.load([5, 2, 5])
    assert [pair.prefix.tolist() for pair in backwards] == [
        pairs.load([i])[0].prefix.tolist() for i in (5, 2, 5)
    ]
    assert pairs.load([]) == [] and pairs.pad_id == CHAT.pad_id


def test_every_record_and_pair_is_accounted_for(tmp_path, capsys):
    records = [
        *GOOD,
        pair_record("same", "text", "text"),
        pair_record("empty", " ", "text"),
        pair_record("long", "y" * 300, "text"),
        pair_record("broken", "\ud800", "text"),
        {"unknown": 1},
        pair_record("q", "a", "b", id="twice"),
        pair_record("r", "a", "b", id="twice"),
        {"prompt": "all right", "responses": ["a", "b"], "correct": [True, True]},
        {
            "prompt": "k",
            "responses": ["a", "b", "z" * 300, "d"],
            "correct": [True, True, False, False],
        },
        pair_record("a <|im_end|> in the text", "a", "b"),
    ]
    source = write_source(tmp_path / "a.jsonl", records)
    pairs = prepared(source, tmp_path / "cache", max_dropped=0.2)
    manifest = json.loads((pairs.folder / token_cache.MANIFEST).read_text())
    assert manifest["records"] == {
        "in": 18,
        "kept": 12,
        "outside_part": 0,
        "without_pairs": 1,
        "dropped": 5,
    }
    assert (
        manifest["pairs"] == {"in": 17, "kept": 13, "sampled_out": 0, "dropped": 4}
        and len(pairs) == 13
    )
    counts = {
        reason: (entry["records"], entry["pairs"]) for reason, entry in manifest["dropped"].items()
    }
    assert counts == {
        "equal": (1, 1),
        "empty": (1, 0),
        "over_long": (1, 3),
        "bad_text": (1, 0),
        "bad_schema": (1, 0),
    }
    # One id with other responses is another pair.
    (file,) = manifest["files"]
    assert (file["records"], file["kept"], file["without_pairs"]) == (18, 12, 1)
    assert file["dropped"] == {
        "equal": 1,
        "empty": 1,
        "over_long": 1,
        "bad_text": 1,
        "bad_schema": 1,
    }
    assert [row for row, _ in manifest["dropped"]["over_long"]["examples"]] == [10, 16, 16]
    assert manifest["tokens"]["shared"] == pairs.lengths.sum()
    assert manifest["neutralized"] == 2  # once in each conversation
    (number,) = [i for i, record in enumerate(records) if "<|im_end|>" in json.dumps(record)]
    assert file["control_records"] == 1 and f"record {number}, " in file["control_example"]
    (sentence,) = [line for line in capsys.readouterr().err.splitlines() if "records kept" in line]
    assert "texts of 1 records hold control tokens" in sentence and "<|im_end|>" in sentence
    assert pairs.source_record[pairs.record].tolist() == [
        *range(8),
        *(13, 14, 16, 16, 17),
    ]
    chosen, rejected = stored(pairs)[
        11
    ]  # the over-long response is gone, and the others are numbered anew
    assert chosen == conversation({"prompt": "k", "r": "b"}, "r") and rejected == conversation(
        {"prompt": "k", "r": "d"}, "r"
    )


def test_tool_schemas_are_tokens(tmp_path):
    reads_tools = tiny_chat.make_tokenizer("{{ tools | tojson if tools }}" + tiny_chat.TEMPLATE)
    record = pair_record("What time is it?", "Noon.", "One.", tools=[{"name": "get_time"}])
    group = formats.to_group(record, 0, "x")
    for over_long, length in (("drop", 1000), ("left", 60)):
        tokens = tokenize_group(group, reads_tools, length, over_long)
        ids = [*tokens.prefix, *tokens.suffixes[0]]
        whole = reads_tools.encode(group.prompt + group.responses[0], group.tools)
        assert ids == whole[-length:] and len(whole) > 60


def test_labels_are_kept(tmp_path):
    record = {"prompt": "k", "responses": ["a", "bb", "ccc"], "scores": [3.0, 3.0, 1.0]}
    pairs = prepared(write_source(tmp_path / "a.jsonl", [record]), tmp_path / "cache")
    values = zip(pairs.target, pairs.margin, pairs.tie, strict=True)
    labels = {
        tuple(map(tuple, sides)): label for sides, label in zip(stored(pairs), values, strict=True)
    }
    a, b, c = (tuple(conversation({"prompt": "k", "r": text}, "r")) for text in ("a", "bb", "ccc"))
    assert labels == {(a, b): (0.5, 0.0, 1.0), (a, c): (1.0, 2.0, 0.0), (b, c): (1.0, 2.0, 0.0)}
    assert (
        pairs.target.dtype == pairs.margin.dtype == pairs.tie.dtype == np.float32
        and pairs.lengths.dtype == np.int32
    )


def test_nothing_usable_is_an_error(tmp_path):
    source = write_source(tmp_path / "a.jsonl", GOOD)
    for _ in range(2):
        with pytest.raises(ValueError, match="no usable pair.*over_long"):
            prepared(source, tmp_path / "cache", max_length=10)
    assert not list((tmp_path / "cache").rglob(token_cache.MANIFEST))


@pytest.mark.parametrize("tokenizer", [CHAT, BOS_CHAT], ids=["no BOS", "BOS"])
def test_left_takes_the_oldest_prompt_tokens_and_nothing_else(tmp_path, tokenizer):
    record = pair_record("0123456789" * 10, "short", "somewhat longer")
    whole = [conversation(record, side, tokenizer) for side in ("chosen", "rejected")]
    source = write_source(tmp_path / "a.jsonl", [record])
    for max_length in (len(whole[0]) + 1, len(whole[0]), 60):
        (cut,) = stored(
            prepared(source, tmp_path / "cache", tokenizer, max_length=max_length, over_long="left")
        )
        for before, after in zip(whole, cut, strict=True):
            bos = [tokenizer.bos_id] if before[0] == tokenizer.bos_id else []
            assert after == (
                before
                if len(before) <= max_length
                else bos + before[len(before) - max_length + len(bos) :]
            )
    response = len(
        tiny_chat.make_tokenizer().encode([{"role": "assistant", "content": record["rejected"]}])
    )
    least = response + (tokenizer is BOS_CHAT)
    assert (
        len(prepared(source, tmp_path / "cache", tokenizer, max_length=least, over_long="left"))
        == 1
    )
    with pytest.raises(ValueError, match="over_long"):
        prepared(source, tmp_path / "cache", tokenizer, max_length=least - 1, over_long="left")


def test_a_conversation_is_cut_the_same_with_and_without_its_siblings():
    def tokens(responses):
        group = formats.to_group(
            {"prompt": "p" * 50, "responses": responses, "ranks": list(range(len(responses)))},
            0,
            "test",
        )
        prefix, suffixes = tokenize_group(group, CHAT, 70, "left")
        return [[*prefix, *suffix] for suffix in suffixes]

    together = tokens(["a", "bb" * 10, "c" * 15])
    assert together == [tokens([text])[0] for text in ("a", "bb" * 10, "c" * 15)]
    assert [len(conversation) for conversation in together] == [70, 70, 70]
    group = formats.to_group(
        {"prompt": "p" * 50, "responses": ["a", "b"], "ranks": [0, 1]}, 0, "test"
    )
    with pytest.raises(BadRecord, match="over_long"):
        tokenize_group(group, CHAT, 20, "drop")


def test_pairs_that_only_differ_in_what_was_cut_are_counted(tmp_path):
    # Without turn markers the longer response can end in what is left of the other one's prompt.
    bare = tiny_chat.make_tokenizer("{% for m in messages %}{{ m.content }}{% endfor %}<|im_end|>")
    records = [pair_record("ab" * 20, "ab", "abab"), pair_record("ab" * 20, "ab", "cd")]
    pairs = prepared(
        write_source(tmp_path / "a.jsonl", records),
        tmp_path / "cache",
        bare,
        max_length=30,
        over_long="left",
    )
    assert len(pairs) == 1 and pairs.manifest["dropped"]["equal_after_truncation"]["pairs"] == 1


def test_a_part_is_by_prompt_and_loses_nothing(tmp_path):
    records = [pair_record(f"question {i % 20}", f"right {i}", "wrong") for i in range(60)]
    source = write_source(tmp_path / "a.jsonl", records)
    parts = [prepared(source, tmp_path / "cache", part=part) for part in ((0.0, 0.6), (0.6, 1.0))]
    rows = [set(part.source_record.tolist()) for part in parts]
    assert rows[0] and rows[1] and rows[0] | rows[1] == set(range(60)) and not rows[0] & rows[1]
    assert not {row % 20 for row in rows[0]} & {row % 20 for row in rows[1]}
    assert parts[0].manifest["records"]["outside_part"] == len(rows[1])


def test_a_split_of_a_repository_is_tokenized_alone(tmp_path):
    repository = tmp_path / "repository"
    repository.mkdir()
    for split, count in (("train", 5), ("test", 3)):
        records = [pair_record(f"{split} {i}", "right", "wrong") for i in range(count)]
        write_source(repository / f"{split}.jsonl", records)
    of_split = lambda split: prepared(str(repository), tmp_path / "cache", split=split)
    assert len(of_split("train")) == 5 and len(of_split("test")) == 3
    with pytest.raises(ValueError, match="the splits test, train; choose one, as in data.split="):
        of_split(None)


def test_the_same_data_has_the_same_tokens_from_lines_and_from_tables(tmp_path):
    """A table has every field of every message and of every tool's arguments, null where absent."""
    call = lambda name, **arguments: {"function": {"name": name, "arguments": arguments}}
    turn = lambda role, content, **fields: {"role": role, "content": content, **fields}
    tools = [
        turn("user", "Weather in Bonn and 2 + 3?"),
        turn("assistant", "", tool_calls=[call("weather", city="Bonn", days=[1, 2])]),
        turn("tool", "rain", name="weather"),
        turn("assistant", "And", tool_calls=[call("add", a=2, b=3), call("weather", city="Ulm")]),
        turn("tool", "5"),
    ]
    records = [
        {"prompt": [turn("user", "Hi é")], "chosen": [turn("assistant", "a")]},
        {"prompt": tools, "chosen": [turn("assistant", "rain, 5", reasoning_content="so")]},
        {"prompt": [turn("system", "s"), turn("user", "q")], "chosen": [turn("assistant", "a")]},
    ]
    for record in records:
        record["rejected"] = [turn("assistant", "no")]
    template = "{% for m in messages %}<|im_start|>{{ m | tojson }}<|im_end|>{% endfor %}"
    tokenizer = tiny_chat.make_tokenizer(template)
    table = pa.Table.from_pylist(records)
    pq.write_table(table, tmp_path / "a.parquet")
    feather.write_feather(table, tmp_path / "a.feather")
    (tmp_path / "a.json").write_text(json.dumps(table.to_pylist()))
    write_source(tmp_path / "a.jsonl", records)
    tokens = {}
    for kind in ("jsonl", "json", "parquet", "feather"):
        cache = tmp_path / kind
        path = str(tmp_path / f"a.{kind}")
        tokens[kind] = stored(prepared(path, cache, tokenizer, max_length=2000))
    assert len(tokens["jsonl"]) == 3
    text = tokenizer.decode(tokens["jsonl"][1][0])
    assert '"city": "Ulm"' in text and "null" not in text
    assert tokens["jsonl"] == tokens["json"] == tokens["parquet"] == tokens["feather"]


def test_caches_of_older_versions_are_found_again(tmp_path):
    """The fingerprint of a part as it was when the field was called `split`."""
    assert Settings(max_length=8, part=(0.0, 0.5)).to_record() == {
        "max_length": 8,
        "over_long": "drop",
        "pairs_per_group": None,
        "split": [0.0, 0.5],
        "seed": 0,
    }


def test_a_sample_of_each_group_depends_on_the_seed_alone(tmp_path):
    records = [
        {"prompt": f"q{i}", "responses": [f"r{k}" for k in range(6)], "ranks": list(range(6))}
        for i in range(10)
    ]
    source = write_source(tmp_path / "a.jsonl", records)
    everything = {str(sides) for sides in stored(prepared(source, tmp_path / "cache"))}
    first, again, other = (
        prepared(source, tmp_path / name, pairs_per_group=4, seed=seed)
        for name, seed in (("a", 0), ("b", 0), ("a", 1))
    )
    assert stored(first) == stored(again) != stored(other)
    assert (
        np.bincount(first.record).tolist() == [4] * 10
        and {str(sides) for sides in stored(first)} < everything
    )
    assert first.manifest["pairs"] == {"in": 150, "kept": 40, "sampled_out": 110, "dropped": 0}


def test_a_second_call_builds_nothing_and_any_change_builds_anew(tmp_path, monkeypatch):
    source, cache = write_source(tmp_path / "a.jsonl", GOOD), tmp_path / "cache"
    first = prepared(source, cache)
    with monkeypatch.context() as patch:
        patch.setattr(formats.Reading, "to_group", lambda *_: pytest.fail("tokenized again"))
        assert prepared(source, cache).fingerprint == first.fingerprint
    other_tokenizer = tiny_chat.make_tokenizer(tiny_chat.TEMPLATE.replace("\n", " "))
    changed = [
        prepared(source, cache, max_length=199),
        prepared(source, cache, over_long="left"),
        prepared(source, cache, seed=1),
        prepared(source, cache, other_tokenizer),
        prepared(write_source(tmp_path / "a.jsonl", GOOD[:-1]), cache),
    ]
    assert len({first.fingerprint, *(pairs.fingerprint for pairs in changed)}) == 6
    assert stored(changed[3])[0][0] == conversation(GOOD[0], "chosen", other_tokenizer)
    assert len(changed[4]) == 7


FILES = {
    "groups": "groups-00000-of-00001.array_record",
    "index": "index-00000-of-00001.npz",
    "record": "shard-00000-of-00001.json",
    "manifest": token_cache.MANIFEST,
}


def flip(path, place=None) -> None:
    """Turn one bit of a file, in byte `place` or in the middle."""
    data = bytearray(path.read_bytes())
    if place is None:
        place = len(data) // 2
    data[place] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "no manifest": lambda pairs: (pairs.folder / FILES["manifest"]).unlink(),
    "other inputs": lambda pairs: (pairs.folder / FILES["manifest"]).write_text(
        json.dumps(pairs.manifest | {"inputs": {}})
    ),
    "another count": lambda pairs: (pairs.folder / FILES["manifest"]).write_text(
        json.dumps(pairs.manifest | {"neutralized": 7})
    ),
    "no list": lambda pairs: (pairs.folder / FILES["manifest"]).write_text("[]"),
    "short groups": lambda pairs: os.truncate(pairs.folder / FILES["groups"], 100),
    "no index": lambda pairs: (pairs.folder / FILES["index"]).unlink(),
    "a bit of the manifest": lambda pairs: flip(pairs.folder / FILES["manifest"]),
    "a bit of the groups": lambda pairs: flip(pairs.folder / FILES["groups"], 200),
    # The library's reader does not look at what fills a block up.
    "a bit behind the groups": lambda pairs: flip(pairs.folder / FILES["groups"], 60_000),
    "a bit of the index": lambda pairs: flip(pairs.folder / FILES["index"]),
    "a bit of the record": lambda pairs: flip(pairs.folder / FILES["record"]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_built_again_and_that_is_told_once(tmp_path, damage, capsys):
    source = write_source(tmp_path / "a.jsonl", GOOD)
    pairs = prepared(source, tmp_path / "cache")
    expected, whole = stored(pairs), contents(pairs.folder)
    DAMAGES[damage](pairs)
    capsys.readouterr()
    again = prepared(source, tmp_path / "cache")
    assert stored(again) == expected and contents(again.folder) == whole
    # A build that was killed before its manifest is no damage.
    assert ("damaged" in capsys.readouterr().err) == (damage != "no manifest")
    prepared(source, tmp_path / "cache")
    assert "damaged" not in capsys.readouterr().err


def contents(folder) -> dict[str, bytes]:
    """The files of a cache, without the lock's."""
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.name in FILES.values()
    }


def test_damage_that_is_found_while_groups_are_read_is_mended_by_the_next_start(
    tmp_path, monkeypatch
):
    # As in a cache of many gigabytes, which is not read whole at every start.
    monkeypatch.setattr(token_cache, "READ_WHOLE", 0)
    source = write_source(tmp_path / "a.jsonl", GOOD)
    expected = stored(prepared(source, tmp_path / "cache"))
    pairs = prepared(source, tmp_path / "cache")
    flip(pairs.folder / FILES["groups"], 200)
    pairs = prepared(source, tmp_path / "cache")
    with pytest.raises(token_cache.Damaged, match="groups-00000-of-00001.array_record is damaged"):
        pairs.load(range(8))
    assert stored(prepared(source, tmp_path / "cache")) == expected


def test_a_run_that_meets_damage_ends_with_a_sentence_and_the_users_exit_code(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(token_cache, "READ_WHOLE", 0)
    pairs = prepared(write_source(tmp_path / "a.jsonl", GOOD), tmp_path / "cache")
    flip(pairs.folder / FILES["groups"], 200)
    # In a thread of the data loader's, as in training.
    steps = pipeline.train_steps(
        pairs, pairs=4, row_length=256, pairs_per_row=4, rows=1, seed=0, num_steps=1
    )
    with pytest.raises(ValueError, match="was set aside") as caught:
        next(steps)
    steps.close()
    assert errors.exit_code(caught.value) == ExitCode.USER


def test_a_cache_of_an_earlier_version_is_read(tmp_path):
    source = write_source(tmp_path / "a.jsonl", GOOD)
    pairs = prepared(source, tmp_path / "cache")
    expected = stored(pairs)
    old = {FILES["groups"]: "groups.array_record", FILES["index"]: "index.npz"}
    for name, as_before in old.items():
        (pairs.folder / name).rename(pairs.folder / as_before)
    (pairs.folder / FILES["record"]).unlink()
    manifest = {name: pairs.manifest[name] for name in pairs.manifest if "checksum" not in name}
    manifest["bytes"] = {old[name]: pairs.manifest["bytes"][name] for name in old}
    (pairs.folder / token_cache.MANIFEST).write_text(json.dumps(manifest))
    again = prepared(source, tmp_path / "cache")
    assert stored(again) == expected and again.manifest == manifest
    flip(pairs.folder / "index.npz", 200)
    assert stored(prepared(source, tmp_path / "cache")) == expected
    assert not (pairs.folder / "index.npz").exists()


# When a shard's groups are there and its index is not; when all that is missing is the manifest.
@pytest.mark.parametrize("moment", ["files.os.replace", "finish"])
def test_a_killed_build_leaves_nothing_usable(tmp_path, moment):
    source, cache = write_source(tmp_path / "a.jsonl", GOOD), tmp_path / "cache"
    script = f"""
import os, sys
sys.path[:0] = {sys.path!r}
import tiny_chat
from rewardjax.data import sources, token_cache
from rewardjax.data.prepare import prepare
replace = os.replace
def die(*arguments):
    if {moment!r} == "files.os.replace" and "index" not in str(arguments[1]):
        return replace(*arguments)
    os.kill(os.getpid(), 9)
token_cache.{moment} = die
prepare(source=sources.open_source({str(source.files[0])!r}), tokenizer=tiny_chat.make_tokenizer(),
        cache={str(cache)!r}, max_length=200)
"""
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert killed.returncode == -9, killed.stderr
    (folder,) = cache.iterdir()
    names = {path.name for path in folder.iterdir()}
    assert token_cache.MANIFEST not in names and FILES["groups"] in names
    assert len(prepared(source, cache)) == 8
    assert {path.name for path in folder.iterdir()} == {*FILES.values(), "owner.lock"}


def test_two_builders_at_once_build_once(tmp_path, monkeypatch):
    source, built, to_group = write_source(tmp_path / "a.jsonl", GOOD), [], formats.Reading.to_group
    monkeypatch.setattr(
        formats.Reading,
        "to_group",
        lambda *arguments: built.append(time.sleep(0.01)) or to_group(*arguments),
    )
    threads = [
        threading.Thread(target=prepared, args=(source, tmp_path / "cache")) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == len(GOOD)


def test_worker_processes_change_nothing(tmp_path):
    records = GOOD + [
        pair_record(f"more {i}", "<|im_end|> a", "b" * (i % 300 + 1), id=str(i // 2))
        for i in range(200)
    ]
    source = write_source(tmp_path / "a.jsonl", records)
    alone, helped = (
        prepared(source, tmp_path / f"{workers}", workers=workers) for workers in (0, 2)
    )
    assert alone.manifest == helped.manifest and stored(alone) == stored(helped)


def test_of_several_processes_one_builds_and_all_read(tmp_path):
    source = write_source(tmp_path / "a.jsonl", GOOD)
    script = f"""
import sys
sys.path[:0] = {sys.path!r}
address, process, cache = sys.argv[1], int(sys.argv[2]), sys.argv[3]
import jax
jax.distributed.initialize(address, 2, process)
import tiny_chat
from rewardjax.data import formats, sources
from rewardjax.data.prepare import prepare
if process == 1:
    del formats.Reading.to_group
arguments = dict(source=sources.open_source({str(source.files[0])!r}), tokenizer=tiny_chat.make_tokenizer(), max_length=200)
print(prepare(cache=cache, **arguments).load([3])[0].prefix.tolist())
try:
    print(len(prepare(cache=cache + "-of-" + str(process), **arguments)))  # a cache that the other process does not see
except FileNotFoundError as error:
    print(error)
"""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    environment = os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, address, str(i), str(tmp_path / "cache")],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for i in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=100) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], outputs
    first, second = (
        [line for line in output.splitlines() if not line.startswith("[Gloo]")]
        for output, _ in outputs
    )
    here = prepared(source, tmp_path / "elsewhere").load([3])[0].prefix.tolist()
    assert first == [str(here), "8"]
    assert second[0] == str(here) and "cache must be on storage that all hosts share" in second[1]


def test_records_survive_encoding():
    for suffixes in ([[]], [[1, 2], []], [[3], [4, 5], [6]]):
        group = pack.TokenGroup(
            np.array([7, 8], np.int32), [np.array(suffix, np.int32) for suffix in suffixes]
        )
        again = token_cache.decode(token_cache.encode(group))
        assert (
            again.prefix.tolist() == [7, 8]
            and [suffix.tolist() for suffix in again.suffixes] == suffixes
        )


def test_groups_of_other_data_are_noticed(tmp_path):
    a = prepared(write_source(tmp_path / "a.jsonl", GOOD), tmp_path / "cache")
    b = prepared(write_source(tmp_path / "b.jsonl", GOOD[::-1]), tmp_path / "cache")
    shutil.copy(b.folder / FILES["groups"], a.folder / FILES["groups"])
    with pytest.raises(token_cache.Damaged, match="tokenizes what it held anew"):
        a.load([0])


def test_pairs_that_no_row_would_hold_are_counted(tmp_path):
    source = write_source(tmp_path / "a.jsonl", GOOD)
    lengths = pack.bundle_lengths(prepared(source, tmp_path / "cache").lengths)
    limit = int(np.sort(lengths)[-3])
    fitting = prepared(source, tmp_path / "cache", max_pair_length=limit)
    assert pack.bundle_lengths(fitting.lengths).tolist() == lengths[lengths <= limit].tolist()
    assert fitting.manifest["dropped"]["over_long"]["pairs"] == np.sum(lengths > limit) > 0


@pytest.mark.parametrize(
    "setting",
    [
        {"over_long": "right"},
        {"part": (0.5, 0.5)},
        {"max_length": 0},
        {"max_pair_length": 0},
        {"pairs_per_group": 0},
    ],
)
def test_senseless_settings_are_refused(tmp_path, setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        prepared(None, tmp_path, **setting)


def test_what_the_writer_keeps_is_gone_before_the_index_comes(tmp_path, monkeypatch):
    """Each is some 50 bytes per record: together they would be a fifth of a run's memory."""
    writers, alive = [], []
    make = shards.ArrayRecordWriter

    def remember(*arguments):
        writer = Writer(make(*arguments))
        writers.append(weakref.ref(writer))
        return writer

    savez = np.savez

    def look(*arguments, **columns):
        alive.extend(reference() for reference in writers)
        savez(*arguments, **columns)

    monkeypatch.setattr(shards, "ArrayRecordWriter", remember)
    monkeypatch.setattr(np, "savez", look)
    prepared(write_source(tmp_path / "a.jsonl", GOOD), tmp_path / "cache")
    assert alive == [None]


class Writer:
    """A writer that can be watched, which those of the library cannot."""

    def __init__(self, writer):
        self.write, self.close = writer.write, writer.close
