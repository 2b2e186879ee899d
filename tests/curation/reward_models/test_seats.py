"""Seats over a store written by hand: what is recorded, what is refused, what cannot be scored."""

import json

import pytest
from hand_made import Cast, add_labels, add_pairs, ids, right, workspace
from tasks_here import run_here

from rewardjax.curation.ledger import stage_names
from rewardjax.curation.ledger.cross_fit import OwnTrainingPair, fold_of
from rewardjax.curation.reward_models import seats
from rewardjax.data.groups import BadRecord

GOLD, SILVER, POOL = ids("north", 0, 6), ids("south", 0, 6), ids("east", 0, 4)


def prepare(ws):
    add_pairs(ws, GOLD + SILVER + POOL)
    add_labels(ws, gold=right(GOLD), silver=right(SILVER))


def test_a_seat_is_trained_on_what_was_labeled_before_its_iteration(tmp_path):
    cast = Cast()
    with workspace(tmp_path, cast) as ws:
        prepare(ws)
        add_labels(ws, gold=right(POOL[:1]), silver=right(POOL[1:2]), iteration=1)
        training = seats.fit(ws, "best", 1, "silver", choose_on="gold")
        assert training.labels == right(SILVER) and training.choose_on == right(GOLD)
        assert training.folder == tmp_path / "models/best-1"
        rows = stage_names.trained("best", 1).rows(ws.store, "training")
        assert {row["pair_id"]: row["value"] for row in rows} == right(SILVER)
        assert {row["model"] for row in rows} == {"weights of best-1"}


def test_ties_teach_nothing(tmp_path):
    with workspace(tmp_path, Cast()) as ws:
        prepare(ws)
        add_labels(ws, gold={POOL[0]: "tie"}, silver={}, iteration=1)
        assert seats.sided_labels(ws, "gold", 2) == right(GOLD)


def test_a_model_is_trained_once(tmp_path):
    cast = Cast()
    with workspace(tmp_path, cast) as ws:
        prepare(ws)
        first = seats.fit(ws, "gold", 1, "gold")
        cast.trained.clear()
        assert seats.fit(ws, "gold", 1, "gold") == first and not cast.trained


def test_an_empty_pool_trains_nobody(tmp_path):
    with workspace(tmp_path, Cast()) as ws:
        prepare(ws)
        with pytest.raises(ValueError, match="gold-0: the gold pool has no labeled pair"):
            seats.fit(ws, "gold", 0, "gold")


def test_a_model_is_not_asked_about_its_own_training_pairs(tmp_path):
    class Counting(Cast):
        asked = 0

        def load(self, ws, training):
            model = super().load(ws, training)

            def rewards(pairs):
                Counting.asked += 1
                return model.rewards(pairs)

            return model._replace(rewards=rewards)

    with workspace(tmp_path, Counting()) as ws:
        prepare(ws)
        training = seats.fit(ws, "gold", 1, "gold")
        with pytest.raises(OwnTrainingPair, match="2 of the pairs .* such as north00"):
            seats.score(ws, training, "gold", POOL + GOLD[:2], stage_names.scored_wild("gold", 1))
        assert Counting.asked == 0


def test_what_cannot_be_scored_is_a_finding_with_its_reason(tmp_path):
    class Refusing(Cast):
        def load(self, ws, training):
            refuse = lambda pairs: [
                (1.0, 0.0) if row["pair_id"] != POOL[0] else BadRecord("over_long", "513 tokens")
                for row in pairs
            ]
            return super().load(ws, training)._replace(rewards=refuse)

    with workspace(tmp_path, Refusing()) as ws:
        prepare(ws)
        training = seats.fit(ws, "gold", 1, "gold")
        stage = stage_names.scored_wild("gold", 1)
        seats.score(ws, training, "gold", POOL, stage)
        assert [row["pair_id"] for row in stage.rows(ws.store, "scores")] == POOL[1:]
        (finding,) = stage.rows(ws.store, "findings")
        assert (finding["pair_id"], finding["action"]) == (POOL[0], "flag")
        assert json.loads(finding["evidence"]) == {"reason": "over_long"}


def test_tasks_on_other_machines_score_a_pool_as_this_process_does(tmp_path, monkeypatch):
    run_here(monkeypatch)
    monkeypatch.setattr(stage_names, "UNIT", 2)
    monkeypatch.setattr(seats, "OTHER_MACHINES", ("local",))

    class Forgetful(Cast):
        loads = 0

        def load(self, ws, training):
            Forgetful.loads += 1
            refuse = lambda pairs: [
                (0.5, 0.0) if row["pair_id"] != POOL[2] else BadRecord("over_long", "513 tokens")
                for row in pairs
            ]
            return super().load(ws, training)._replace(rewards=refuse)

    shards, loads = [], []
    for name, engine in (("here", ""), ("elsewhere", "local")):
        changes = {"engine__name": engine, "engine__tasks": 2}
        with workspace(tmp_path / name, Forgetful(), **changes) as ws:
            prepare(ws)
            training = seats.fit(ws, "gold", 1, "gold")
            Forgetful.loads = 0
            seats.score(ws, training, "gold", POOL, stage_names.scored_wild("gold", 1))
            shards.append(ws.store.manifests())
            loads.append(Forgetful.loads)
            with pytest.raises(OwnTrainingPair):
                seats.score(ws, training, "gold", GOLD[:1], stage_names.scored_gold(1))
    assert shards[0] == shards[1]
    # Once by each task that had a unit, and not by the owner of the workspace.
    assert loads == [1, 2]


def test_errors_on_gold_are_compared_with_the_model_before(tmp_path):
    cast = Cast(margins={"best": {GOLD[0]: -1.0}})
    with workspace(tmp_path, cast) as ws:
        prepare(ws)
        first = seats.errors_on_gold(ws, seats.fit(ws, "best", 1, "silver"), 1)
        assert first["correct"] == {pair_id: pair_id != GOLD[0] for pair_id in GOLD}
        cast.margins = {}
        second = seats.errors_on_gold(ws, seats.fit(ws, "best", 2, "silver"), 2)
        assert all(second["correct"].values())
        assert (second["against_previous"]["gained"], second["against_previous"]["lost"]) == (1, 0)


def test_folds_partition_a_pool_and_do_not_move():
    pair_ids = [f"{i:016x}" for i in range(3000)]
    folds = [fold_of(pair_id, 3) for pair_id in pair_ids]
    assert set(folds) == {0, 1, 2}
    assert min(folds.count(fold) for fold in range(3)) > 900
    assert [fold_of(pair_id, 3) for pair_id in pair_ids[::-1]] == folds[::-1]
    with pytest.raises(ValueError, match="at least 2"):
        fold_of("x", 1)
