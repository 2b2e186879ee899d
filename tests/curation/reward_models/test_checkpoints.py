"""The product's reward models: which checkpoint is loaded, and what the trainer is given."""

import json
import types

import numpy as np
import pyarrow.parquet as pq
import pytest
from hand_made import Cast, add_pairs, ids, right, workspace

from rewardjax.curation.ledger import stage_names
from rewardjax.curation.reward_models import checkpoints
from rewardjax.curation.workspace import Training
from rewardjax.data.groups import BadRecord


def run_folder(folder, accuracy, kept):
    """The workdir of a run that measured these accuracies, step -> value, and kept these steps."""
    for step in kept:
        (folder / "checkpoints" / str(step)).mkdir(parents=True)
    rows = [{"start_step": 0}]
    rows += [{"step": step, "choice/accuracy": value} for step, value in accuracy.items()]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize(
    "accuracy, kept, step",
    [
        ({10: 0.6, 20: 0.9, 30: 0.7}, [10, 20, 30], 20),
        ({10: 0.9, 20: 0.6, 30: 0.7}, [20, 30], 30),  # the best one is gone
        ({10: 0.8, 20: 0.8, 30: 0.7}, [10, 20, 30], 20),  # of equal ones the later
        ({}, [10, 20], None),  # nothing was measured: the newest
    ],
)
def test_the_best_kept_checkpoint_on_gold_is_loaded(tmp_path, accuracy, kept, step, monkeypatch):
    folder = run_folder(tmp_path / "run", accuracy, kept)
    assert checkpoints.best_step(folder) == step
    loaded = {}

    def load(folder, step):
        loaded.update(folder=folder, step=step)
        raise KeyboardInterrupt  # what a loaded model is needed for comes after

    monkeypatch.setattr(checkpoints.scorer, "load", load)
    training = Training(stage_names.trained("best", 1), {}, {}, folder)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.load(None, training)
    assert loaded == {"folder": folder, "step": step}


def test_the_trainer_is_given_the_labels_and_the_choice(tmp_path, monkeypatch):
    runs = []
    monkeypatch.setattr(checkpoints.loop, "run", lambda config, folder: runs.append(config))
    learned, choice = ids("north", 0, 3) + ids("south", 0, 2), ids("east", 0, 2)
    with workspace(tmp_path, Cast()) as ws:
        add_pairs(ws, learned + choice)
        stage = stage_names.trained("best", 1)
        checkpoints.train(ws, Training(stage, right(learned), right(choice), tmp_path / "m"))
        checkpoints.train(ws, Training(stage, right(learned), {}, tmp_path / "m"))
    chosen, last = runs
    table = pq.read_table(chosen.data.source).to_pylist()
    assert [row["pair_id"] for row in table] == sorted(learned)
    for row in table:  # response a says x, response b says y
        text = {"a": "x", "b": "y"}[right(learned)[row["pair_id"]]]
        assert row["chosen"] == [{"role": "assistant", "content": text}]
    assert chosen.checkpoint.keep.best == "choice/accuracy"
    held_out = pq.read_table(chosen.evals.choice.source).column("pair_id").to_pylist()
    assert held_out == sorted(choice)
    assert not last.evals and last.checkpoint.keep.best != "choice/accuracy"


def test_a_pair_is_scored_with_the_tools_that_it_came_with(monkeypatch):
    seen = []

    def refuse(group, *_):
        seen.append(group)
        raise BadRecord("empty", "not scored here")

    monkeypatch.setattr(checkpoints, "prepare_whole", refuse)
    limits = types.SimpleNamespace(max_length=8, over_long="drop")
    model = types.SimpleNamespace(tokenizer=None, contract=limits)
    turns = [{"role": "user", "content": "When?"}]
    tools = [{"type": "function", "function": {"name": "tides"}}]
    pair = {"pair_id": "p", "prompt": turns, "response_a": [], "response_b": [], "tools": tools}
    checkpoints.rewards(model, [pair])
    assert seen[0].tools == tools


def test_a_pair_without_a_finite_reward_has_a_reason(monkeypatch):
    turns = [{"role": "user", "content": "When?"}]
    pair = {"pair_id": "p", "prompt": turns, "response_a": [], "response_b": [], "tools": None}
    model = types.SimpleNamespace(
        tokenizer=None, contract=types.SimpleNamespace(max_length=8, over_long="drop")
    )
    monkeypatch.setattr(checkpoints, "prepare_whole", lambda *_: None)
    found = [np.array([1.0, 2.0]), np.array([np.nan, 0.0])]
    monkeypatch.setattr(checkpoints.scorer, "finite_rewards", lambda *_: found)
    scored, without = checkpoints.rewards(model, [pair, pair])
    assert scored == (1.0, 2.0) and without.reason == "not_finite"
