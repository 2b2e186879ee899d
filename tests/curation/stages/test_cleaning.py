"""Cleaning within the loop: repeated for what came in since, and told."""

import json

import pytest
from hand_made import Cast, add_pairs, ids, workspace

from rewardjax.curation.ledger.pools import sizes
from rewardjax.curation.stages import cleaning, report, stage1, stage2


@pytest.fixture
def bench(tmp_path):
    path = tmp_path / "bench.jsonl"
    # Prompts that are shorter than an n-gram are met by the same words.
    path.write_text(json.dumps({"prompt": "Question north05?"}) + "\n")
    return {"bench": str(path)}


def test_what_is_imported_between_iterations_is_cleaned_before_it_is_picked(
    tmp_path, bench, capsys, monkeypatch
):
    monkeypatch.setattr(report, "write", lambda ws, iteration, name: None)
    with workspace(tmp_path / "w", Cast(), stage1__select="random", stage1__budget=20) as ws:
        ws.config.clean.benchmarks = bench
        add_pairs(ws, ids("north", 0, 3))
        stage1.prepare(ws)
        stage1.iterate(ws, 0)
        assert "3 of 3 pairs looked at" in capsys.readouterr().out
        assert not cleaning.clean_new(ws)
        add_pairs(ws, ids("north", 3, 8), source="more")
        stage1.iterate(ws, 1)
        assert "cleaning: contaminated: 8 of 8 pairs looked at, 1 findings, 1 pairs held" in (
            capsys.readouterr().out
        )
        assert sizes(ws.store)["discarded"] == 1
        picks = ws.store.query("select pair_id from picks").column("pair_id").to_pylist()
        assert set(picks) == {*ids("north", 0, 8)} - {"north05"}


def test_stage_2_cleans_first(tmp_path, bench, monkeypatch):
    monkeypatch.setattr(stage2, "train", lambda ws, iteration: 1 / 0)
    with workspace(tmp_path / "w", Cast()) as ws:
        ws.config.clean.benchmarks = bench
        add_pairs(ws, ids("north", 3, 8))
        with pytest.raises(ZeroDivisionError):
            stage2.run(ws)
        assert sizes(ws.store)["discarded"] == 1
