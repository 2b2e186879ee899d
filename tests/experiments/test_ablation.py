"""The ablation in miniature:

one arm of each kind on a handful of pairs, whose ledger, labels and figures must agree with each
other.
"""

import json

import jax
import numpy as np
import pytest
from tiny import ROOT

from experiments import curation_ablation
from experiments.ablation import models, pipeline, world
from rewardjax import config as config_lib
from rewardjax import sweep
from rewardjax.curation.ledger import decisions
from rewardjax.curation.ledger.cross_fit import OwnTrainingPair
from rewardjax.curation.ledger.store import Store
from rewardjax.parallel.mesh import AXES

CONFIG = f"{ROOT / 'configs/curation/ablation.py'}:scale=0.3"


@pytest.fixture(scope="module")
def lab(exported, tmp_path_factory):
    with jax.set_mesh(jax.make_mesh((1, 1, 1), AXES, devices=jax.devices()[:1])):
        yield models.open_lab(tmp_path_factory.mktemp("models"), str(exported))


def config(**overrides):
    return config_lib.load(CONFIG, {"stage1.iterations": 1, **overrides})


@pytest.fixture(scope="module")
def with_people(lab, tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    return pipeline.run(lab, config(), folder), Store(folder)


def test_an_arm_with_people(lab, with_people):
    found, store = with_people
    assert [stage["stage"] for stage in found["stages"]] == ["seed", "iteration 1", "stage 2"]
    for stage in found["stages"]:
        assert stage["filtered"]["pairs"] <= stage["flipped"]["pairs"] <= stage["original"]["pairs"]
        assert all(
            0 <= stage[name]["accuracy"] <= 1 for name in ("original", "filtered", "flipped")
        )
    seed, first, last = found["stages"]
    assert (seed["original"]["pairs"], first["original"]["pairs"]) == (22, 40) and last["original"][
        "pairs"
    ] == 112
    # the labels that models were trained on are those of the ledger
    again = {
        row["pair_id"]: row
        for row in decisions.recompute(store, "stage1-1").to_pylist()
        + decisions.recompute(store, "stage2").to_pylist()
    }
    counts = {
        action: sum(row["action"] == action for row in again.values())
        for action in ("keep", "flip")
    }
    assert (last["filtered"]["pairs"], last["flipped"]["pairs"]) == (
        counts["keep"],
        counts["keep"] + counts["flip"],
    )
    assert store.verify() == []


def test_precision_is_of_the_decisions(with_people):
    found, store = with_people
    pools = store.query("select pair_id, record_id from pairs where entry = 'wild'").to_pylist()
    assert sum(row["pairs"] for row in found["votes"]) == len(pools)
    for name, table in pipeline.AUDITED.items():
        actions = store.query(
            "select action, count(*) as n from decisions where stage = ? group by action",
            [f"audit-{table}"],
        ).to_pylist()
        counts = {row["action"]: row["n"] for row in actions}
        assert found["precision"][name]["keep"]["pairs"] == counts.get("keep", 0)
        assert found["precision"][name]["flip"]["pairs"] == counts.get("flip", 0)


def test_finished_models_are_not_trained_again_and_give_the_same_figures(
    lab, with_people, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        models, "fit", lambda *_, **__: pytest.fail("a finished model is trained again")
    )
    assert json.loads(json.dumps(pipeline.run(lab, config(), tmp_path))) == json.loads(
        json.dumps(with_people[0])
    )


def test_an_arm_without_people_has_neither_their_votes_nor_a_gold_model(lab, tmp_path):
    overrides = {
        "people": False,
        "stage2.table": "no_human",
        "measure": "last",
        "sets": ("filtered",),
    }
    found = pipeline.run(lab, config(**overrides), tmp_path)
    store = Store(tmp_path)
    assert set(found["rm"]) == {"best"} and "precision" not in found
    assert store.query("select count(*) from votes where kind = 'human'").column(0)[0].as_py() == 0
    assert (
        store.query("select count(*) from scores where scorer = 'gold'").column(0)[0].as_py() == 0
    )


def test_a_model_may_not_judge_its_own_pairs(lab, tmp_path):
    arm = pipeline.Arm(lab, config(), tmp_path)
    pipeline.pick(arm, 0)
    model = arm.fit(arm.labeled(arm.silver))
    rows = [
        {"pair_id": item.pair_id, "model": model.name, "value": value}
        for item, value in arm.labeled(arm.silver)
    ]
    arm.store.append("training", "best", "all", rows)
    with pytest.raises(OwnTrainingPair):
        pipeline.score(arm, model, arm.unverified, "best", 1)


@pytest.mark.parametrize("select", ["random", "uncertainty", "diversity", "retrieval"])
def test_every_selection_fills_the_budget_with_new_pairs(lab, tmp_path, select):
    arm = pipeline.Arm(lab, config(**{"stage1.select": select}), tmp_path)
    pipeline.pick(arm, 0)
    pipeline.pick(arm, 1)
    assert (
        len(set(arm.seen)) == len(arm.seen) == 40 and len(arm.gold) == 16 and len(arm.silver) == 24
    )


def test_voters_are_as_good_as_they_are_said_to_be(lab):
    items = world.items(lab.tokenizer, seed=5, num=1000)
    right = lambda spec, voter: np.mean(
        [world.opinion(item, spec, voter) == item.truth for item in items]
    )
    assert right("honest", "x") == 1 and abs(right("random:0.2", "x") - 0.8) < 0.04
    stylish = [item for item in items if item.styles[1] > item.styles[0]]
    assert all(world.opinion(item, "style:1", "x") != item.truth for item in stylish)
    assert abs(np.mean([item.truth == "a" for item in items]) - 0.5) < 0.06 and len(stylish) > 200
    for item in items[:50]:
        prefix, (first, second) = item.tokens
        right_text = item.record["chosen"][0]["content"]
        assert right_text in lab.tokenizer.decode(
            np.concatenate([prefix, first if item.truth == "a" else second])
        )


def test_intervals_and_sweeps():
    mean, low, high = curation_ablation.interval([0.7, 0.8, 0.9])
    assert (
        mean == pytest.approx(0.8)
        and high - mean == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-5)
        and mean - low == high - mean
    )
    for name in curation_ablation.SWEEPS:
        assert len(sweep.plan(CONFIG, name)) % 6 == 0


def trial(people, *accuracies, precision=0.8):
    stages = [
        {
            "stage": f"stage {i}",
            **{
                name: {"accuracy": value + shift, "labels_right": 0.7, "against_style": 0.4}
                for name, shift in (("original", 0), ("filtered", 0.1), ("flipped", 0.2))
            },
        }
        for i, value in enumerate(accuracies)
    ]
    of = {action: {"precision": precision} for action in ("keep", "flip")}
    audits = {
        "gold RM": of,
        "best RM": of,
        "both": {"keep": {"precision": 0.9}, "flip": {"precision": None}},
    }
    return {
        "overrides": {"people": people},
        "stages": stages,
        "precision": audits,
        "rm": {"gold": 0.8, "best": 0.7},
        "votes": [],
    }


def test_summary_and_claims_by_hand():
    trials = [
        trial(True, 0.5, 0.5),
        trial(True, 0.54, 0.52),
        trial(False, 0.5, 0.4),
        trial(False, 0.5, 0.42),
    ]
    found = curation_ablation.summary({"curves": trials})
    assert found["original"][0][:2] == ["stage 0", pytest.approx(0.52)]
    assert found["no_human"][1][1] == pytest.approx(0.51) and found["no_human_flipped"][1][
        1
    ] == pytest.approx(0.61)
    assert found["kept_precision"]["both"] == pytest.approx((0.9, 0.9, 0.9)) and found[
        "flipped_precision"
    ]["both"] == (None, None, None)
    claims = found["claims"]
    grown = claims["uncurated: Stage 2 adds nothing over the last iteration"]
    assert grown["difference"][0] == pytest.approx(-0.01) and grown["holds"] is True
    assert claims["flip: both RMs more precise than the gold RM"] == {
        "difference": [None, None, None],
        "holds": None,
    }
    json.dumps(found, allow_nan=False)
