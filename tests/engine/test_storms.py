"""The stages on a real Ray and a real Slurm of two nodes on this machine; tasks are killed."""

import contextlib
import json
import os
import signal
import threading
import time

import pytest
from cleaning_texts import small_store
from clusters import ray, slurm
from labeled import PAIRS, judged_workspace, label_all, scripted
from tiny_chat import make_tokenizer, pair_record, write_source

from rewardjax.curation.cleaning.clean import clean
from rewardjax.curation.ledger import pools, stage_names
from rewardjax.curation.reward_models import seats
from rewardjax.curation.workspace import Training
from rewardjax.data.prepare import prepare
from rewardjax.engine import tasks, tokenizing
from rewardjax.engine.executors import Engine

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def local():
    """Two processes of this machine."""
    yield Engine("local", tasks=4, options={"workers": 2})


@pytest.fixture(params=[local, ray, slurm], ids=["local", "ray", "slurm"], scope="module")
def engine(request):
    with request.param() as cluster:
        yield cluster


def test_token_caches_are_the_same_bytes_though_a_task_is_killed(tmp_path, engine, monkeypatch):
    monkeypatch.setattr(tasks, "LOST_AFTER", 15.0)
    # Enough for seconds of work: a task shall be in the middle of it when it is killed.
    text = "Words that make it a conversation of some length. " * 40
    lines = [
        pair_record(f"question {i}", f"right {i} {text}", f"wrong {text}") for i in range(4000)
    ]
    source = write_source(tmp_path / "a.jsonl", lines)
    arguments = {"source": source, "tokenizer": make_tokenizer(), "max_length": 4000}
    alone = prepare(cache=tmp_path / "alone", shards=40, **arguments)
    killed = []
    spread = tmp_path / "spread"
    killer = threading.Thread(target=_kill_one_of_a_build, args=[spread, killed], daemon=True)
    killer.start()
    on_engine = tokenizing.spread_over(engine)
    made = prepare(cache=spread, shards=40, spread=on_engine, **arguments)
    killer.join()
    assert killed
    for path in alone.folder.glob("*-of-*"):
        assert path.read_bytes() == (made.folder / path.name).read_bytes()
    assert made.manifest == alone.manifest


def test_cleaning_finds_the_same(tmp_path, engine):
    stores = [small_store(tmp_path / name) for name in "xy"]
    counts = clean(stores[0], near=0.8)
    assert clean(stores[1], near=0.8, engine=engine) == counts
    assert stores[0].manifests() == stores[1].manifests()


def test_tags_vectors_and_votes_are_the_same_though_a_task_is_killed(tmp_path, engine, monkeypatch):
    monkeypatch.setattr(stage_names, "UNIT", 2)
    monkeypatch.setattr(tasks, "LOST_AFTER", 15.0)
    with scripted() as server, judged_workspace(tmp_path / "here", server) as ws:
        label_all(ws)
        here = ws.store.manifests(), ws.calls.endings()
    killed = []
    # Slow enough that a task is in the middle of its units when it is killed.
    with (
        scripted(latency=1.0) as server,
        judged_workspace(tmp_path / "there", server, engine) as ws,
    ):
        killer = threading.Thread(
            target=_kill_one, args=[ws.store.folder / "work", killed], daemon=True
        )
        killer.start()
        label_all(ws)
        killer.join()
        assert (ws.store.manifests(), ws.calls.endings()) == here
        # What the killed task had in flight is asked again; nothing else, but for first questions.
        lost = ws.judges[0].max_in_flight
        assert server.stats()["answered"] <= 3 * PAIRS + 1 + engine.tasks + lost
    assert killed


def test_pools_are_scored_the_same(tmp_path, engine, tiny_run, monkeypatch):
    monkeypatch.setattr(stage_names, "UNIT", 4)
    manifests = []
    for name, where in (("here", Engine()), ("there", engine)):
        with scripted() as server, judged_workspace(tmp_path / name, server, where) as ws:
            ids = pools.ids(ws.store, "unverified", stage_names.IMPORTED)
            training = Training(stage_names.trained("gold", 1), {}, {}, tiny_run[0])
            learned = {"pair_id": "another", "model": "its weights", "value": "a"}
            training.stage.append(ws.store, "training", [learned])
            seats.score(ws, training, "gold", ids, stage_names.scored_wild("gold", 1))
            manifests.append(ws.store.manifests())
    assert manifests[0] == manifests[1]
    assert sum(m["rows"] for m in manifests[0] if m["ledger"] == "scores") == PAIRS


def _kill_one(work, killed):
    """Kill the first task of a workspace that has done a unit and has others to do."""
    _kill_one_of(work, "*/round-*/task-*/beat", killed)


def _kill_one_of_a_build(cache, killed):
    """Kill the first task of a token cache that has made a shard and has others to make."""
    _kill_one_of(cache, "*/tasks/round-*/task-*/beat", killed)


def _kill_one_of(folder, beats, killed):
    while not killed:
        for beat in sorted(folder.glob(beats)):
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
                state, _, process, _ = json.loads(beat.read_text())
                if state == "works" and list(beat.parent.glob("*.parquet")):
                    os.kill(process, signal.SIGKILL)
                    killed.append(process)
                    return
        time.sleep(0.05)
