"""Shards made by the tasks of an engine are those that one process makes."""

import pytest
from tasks_here import run_here
from tiny_chat import make_tokenizer, pair_record, write_source

from rewardjax.data.cache import building
from rewardjax.data.prepare import prepare
from rewardjax.engine import tokenizing
from rewardjax.engine.executors import Engine

CHAT = make_tokenizer()


def prepared(source, cache, **changes):
    return prepare(source=source, cache=cache, tokenizer=CHAT, max_length=200, shards=10, **changes)


def source_of(folder, bad=0):
    lines = [pair_record(f"question {i}", "a" * (i % 9 + 1), "b") for i in range(60 - bad)]
    broken = [pair_record(f"broken {i}", " ", "b") for i in range(bad)]
    return write_source(folder / "a.jsonl", broken + lines)


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def on_engine():
    return tokenizing.spread_over(Engine("local", tasks=3))


def without_owner(files):
    return {name: files[name] for name in files if not name.startswith("owner.")}


def test_lost_tasks_are_made_up_for_and_the_files_are_the_same(tmp_path, monkeypatch):
    # Of three tasks two are lost, then one.
    counts = run_here(monkeypatch)
    counts += [1, 2]
    source = source_of(tmp_path)
    alone = prepared(source, tmp_path / "alone")
    spread = prepared(source, tmp_path / "spread", spread=on_engine())
    assert counts == [] and not (spread.folder / building.TASKS).exists()
    assert without_owner(files_of(alone.folder)) == without_owner(files_of(spread.folder))


def test_a_task_has_neighbors_and_reads_its_part_in_one_pass(tmp_path, monkeypatch):
    run_here(monkeypatch)
    parts, build = [], building.build

    def watched(job, numbers):
        parts.append(list(numbers))
        return build(job, numbers)

    monkeypatch.setattr(building, "build", watched)
    prepared(source_of(tmp_path), tmp_path / "cache", spread=on_engine())
    assert parts == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]


def test_tasks_that_do_nothing_end_with_what_to_do(tmp_path, monkeypatch):
    run_here(monkeypatch)

    def fail(*arguments):
        raise RuntimeError("no memory")

    source = source_of(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(building, "build", fail)
        with pytest.raises(tokenizing.Waits, match="10 units are not done.*no memory"):
            prepared(source, tmp_path / "cache", spread=on_engine())
    assert len(prepared(source, tmp_path / "cache", spread=on_engine())) == 60


def test_what_a_task_refuses_is_told_as_this_process_tells_it(tmp_path, monkeypatch):
    run_here(monkeypatch)
    monkeypatch.setattr("rewardjax.data.accounting.EARLY", 10)
    source = source_of(tmp_path, bad=30)
    sentences = []
    for name, spread in (("alone", None), ("engine", on_engine())):
        with pytest.raises(ValueError, match="100% of 10 records are unusable") as refused:
            prepared(source, tmp_path / name, spread=spread)
        sentences.append(str(refused.value))
    assert sentences[0] == sentences[1]
