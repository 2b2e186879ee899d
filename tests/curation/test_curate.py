"""The whole pipeline in miniature: real HTTP judges, simulated people, reward models too small to learn; killed anywhere, the same store."""

import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
from tiny import ROOT

from rewardjax import curate
from rewardjax import config as config_lib
from rewardjax.curation import decide
from rewardjax.curation import pools as pools_lib
from rewardjax.curation.judge_server import Behaviour, serve, truth_of
from rewardjax.curation.store import Store
from rewardjax.data.sources import open_source

CONFIG = ROOT / "configs/curation/world.py"


@contextlib.contextmanager
def scripted_judges():
    """A judge server that knows the truth of the tiny config's pairs; yields the config's argument."""
    config = config_lib.load(f"{CONFIG}:tiny")
    truth = {}
    for source in config.sources.values():
        truth |= truth_of(open_source(source.source))
    behaviours = {"sharp": Behaviour(accuracy=0.9), "longwinded": Behaviour(length_bias=0.3), "lopsided": Behaviour(position_bias=0.3, malformed=0.1)}
    with serve(behaviours, truth) as server:
        yield server, f"{CONFIG}:tiny,url={server.url}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(workspace, config, judge server) of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("curate") / "whole"
    with scripted_judges() as (server, config):
        assert curate.main(["run", str(folder), "--config", config]) == 0
        yield folder, config, server


def test_every_pair_ends_in_one_pool_and_every_decision_follows_from_the_ledger(finished, capsys):
    folder, config, _ = finished
    store = Store(folder / "store")
    sizes = pools_lib.sizes(pools_lib.pools(store))
    assert sum(sizes.values()) == store.query("select count(*) from pairs").column(0)[0].as_py()
    assert sizes["gold"] > 5 and sizes["silver"] > 5 and sizes["curated"] > 0
    assert curate.main(["audit", str(folder)]) == 0
    assert "sound" in capsys.readouterr().out
    assert decide.audit(store, "stage2-final") == []
    picked = store.query("select pair_id, count(*) from picks group by pair_id having count(*) > 1")
    assert picked.num_rows == 0
    retrieved = store.query("select evidence from picks where stage = 'pick-1'").column(0).to_pylist()
    gold = set(store.query("select pair_id from votes where kind = 'human' and iteration = 0").column(0).to_pylist())
    assert retrieved and all(json.loads(why)["by"] == "retrieval" and json.loads(why)["gold"] in gold for why in retrieved)


def test_reports_and_sets_are_written(finished):
    folder, _, _ = finished
    for iteration in range(3):
        page = (folder / f"reports/iteration-{iteration}.html").read_text()
        assert "Pools" in page and "Judges: position and length" in page and "judge:lopsided" in page
    assert "Gold errors of the best RM" in page and "gold and best RM agree" in page
    rows = {name: pq.read_table(folder / f"data/{name}.parquet").to_pylist() for name in ("original", "filtered", "flipped")}
    kept = {row["pair_id"]: row["chosen"] for row in rows["filtered"]}
    assert kept.items() <= {row["pair_id"]: row["chosen"] for row in rows["original"]}.items().__class__ and len(kept) > 5
