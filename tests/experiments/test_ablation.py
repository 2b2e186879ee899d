"""The ablation in miniature: an arm of each kind on a handful of pairs, whose ledger, labels and figures must agree."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from tiny import ROOT

from experiments import arm, curation_ablation, lab, measures, voters
from rewardjax import config as config_lib
from rewardjax.curation.ledger import decisions, stage_names
from rewardjax.curation.ledger.cross_fit import OwnTrainingPair
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.overview import soundness
from rewardjax.curation.reward_models import seats
from rewardjax.curation.stages import stage1
from rewardjax.curation.workspace import open_workspace
from rewardjax.parallel.mesh import AXES
from rewardjax.sweeps import trials

CONFIG = f"{ROOT / 'configs/curation/ablation.py'}:scale=0.3"


@pytest.fixture(scope="module")
def opened(exported, tmp_path_factory):
    with jax.set_mesh(jax.make_mesh((1, 1, 1), AXES, devices=jax.devices()[:1])):
        yield lab.open_lab(tmp_path_factory.mktemp("models"), str(exported))


def config(**overrides):
    return config_lib.load(CONFIG, {"loop.stage1.iterations": 1, **overrides})


@pytest.fixture(scope="module")
def with_people(opened, tmp_path_factory):
    folder = tmp_path_factory.mktemp("people") / "workspace"
    return arm.run(opened, config(), folder), Store(folder / "store")


@pytest.fixture(scope="module")
def settled(opened, tmp_path_factory):
    """A workspace of an arm after iteration 0, not to be written to: how to open it elsewhere."""
    settings = config()
    seeds = {"unverified": 1, "wild": 2}
    oracle = voters.of_world(1, settings.unverified.num) | voters.of_world(2, settings.wild.num)
    plugins = arm.plugins(opened, lab.Recipe(**settings.model), settings, oracle)
    folder = tmp_path_factory.mktemp("settled")
    with open_workspace(folder, arm.of_loop(settings, seeds), plugins) as ws:
        stage1.prepare(ws)
        first = stage1.iterate(ws, 0)
    return folder, first, lambda copy: open_workspace(copy, arm.of_loop(settings, seeds), plugins)


@pytest.fixture
def workspace(settled, tmp_path):
    """A workspace after iteration 0."""
    folder, _, open_copy = settled
    shutil.copytree(folder, tmp_path / "w")
    with open_copy(tmp_path / "w") as ws:
        yield ws


def test_an_arm_with_people(with_people):
    measured, store = with_people
    assert [stage["stage"] for stage in measured["stages"]] == ["seed", "iteration 1", "stage 2"]
    for stage in measured["stages"]:
        assert stage["filtered"]["pairs"] <= stage["flipped"]["pairs"] <= stage["original"]["pairs"]
        for name in ("original", "filtered", "flipped"):
            assert 0 <= stage[name]["accuracy"] <= 1
    seed, first, last = measured["stages"]
    wild = len(measures.decided(_Reading(store), stage_names.decided_wild(2)))
    assert (seed["original"]["pairs"], first["original"]["pairs"]) == (22, 40)
    assert last["original"]["pairs"] == 40 + wild
    # The labels that models were trained on are those that follow from the ledger.
    labeled = set(store.query("select pair_id from picks").column("pair_id").to_pylist())
    rows = decisions.recompute(store, stage_names.decided_wild(2)).to_pylist()
    for row in decisions.recompute(store, stage_names.decided(1)).to_pylist():
        if row["pair_id"] in labeled:
            rows.append(row)
    actions = [row["action"] for row in rows]
    assert last["filtered"]["pairs"] == actions.count("keep")
    assert last["flipped"]["pairs"] == actions.count("keep") + actions.count("flip")
    assert soundness.problems(store) == []


@dataclasses.dataclass
class _Reading:
    """As much of a workspace as reading its ledger takes."""

    store: Store


def test_precision_is_of_every_wild_pair(with_people):
    measured, store = with_people
    wild = len(measures.decided(_Reading(store), stage_names.decided_wild(2)))
    assert sum(row["pairs"] for row in measured["votes"]) == wild
    for precision in measured["precision"].values():
        assert precision["keep"]["pairs"] + precision["flip"]["pairs"] <= wild
    # Without judges, both reward models keep no more than either of them alone.
    kept = {name: figures["keep"]["pairs"] for name, figures in measured["precision"].items()}
    assert kept["both"] <= min(kept["gold RM"], kept["best RM"])


def test_finished_models_are_not_trained_again_and_give_the_same_figures(
    opened, with_people, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        lab, "parameters_after", lambda *_: pytest.fail("a finished model is trained again")
    )
    again = arm.run(opened, config(), tmp_path / "workspace")
    assert json.loads(json.dumps(again)) == json.loads(json.dumps(with_people[0]))


def test_an_arm_without_people_is_labeled_by_judges_in_their_place(opened, tmp_path):
    overrides = {
        "people": False,
        "loop.stage2.table": "no_human",
        "measure": "last",
        "sets": ("filtered",),
    }
    settings = config(**overrides)
    arm.run(opened, settings, tmp_path)
    store = Store(tmp_path / "store")
    seeds = (arm.UNVERIFIED + settings.seed, arm.WILD + settings.seed)
    oracle = voters.of_world(seeds[0], settings.unverified.num)
    panel = voters.Judges(oracle, settings.voters.judges)
    votes = store.query("select pair_id, value from votes where kind = 'human'").to_pylist()
    assert votes
    for vote in votes:
        opinions = panel.opinions(vote["pair_id"])
        assert opinions.count(vote["value"]) >= 2
    # What the gold seat says decides nothing by this table.
    gold = store.query("select distinct rule from decisions where stage = 'stage2-final-2'")
    assert not any("gold" in rule for rule in gold.column("rule").to_pylist())


def test_a_model_may_not_judge_its_own_pairs(workspace):
    training = seats.fit(workspace, "best", 1, "silver")
    with pytest.raises(OwnTrainingPair):
        seats.score(
            workspace, training, "best", list(training.labels), stage_names.scored_wild("best", 1)
        )


@pytest.mark.parametrize("select", ["random", "uncertainty", "diversity", "retrieval"])
def test_every_selection_fills_the_budget_with_new_pairs(settled, workspace, select):
    with workspace.config.unlocked():
        workspace.config.stage1.select = select
    first, second = settled[1], stage1.iterate(workspace, 1)
    assert (first.people + first.judges, second.people + second.judges) == (22, 18)
    assert first.unspent == second.unspent == 0
    picks = workspace.store.query("select pair_id from picks").column("pair_id").to_pylist()
    assert len(set(picks)) == len(picks) == 40


def test_voters_are_as_good_as_they_are_said_to_be():
    oracle = voters.of_world(seed=5, num=1000)

    def right(spec):
        return [voters.opinion(truth, spec, "x") == truth.better for truth in oracle.values()]

    assert all(right("honest")) and abs(np.mean(right("random:0.2")) - 0.8) < 0.04
    stylish = [truth for truth in oracle.values() if truth.styles[1] > truth.styles[0]]
    assert all(voters.opinion(truth, "style:1", "x") != truth.better for truth in stylish)
    assert len(stylish) > 200
    assert abs(np.mean([truth.better == "a" for truth in oracle.values()]) - 0.5) < 0.06


def test_the_oracle_agrees_with_the_worlds():
    from rewardjax.data import world

    oracle = voters.of_world(seed=7, num=200)
    for text in arm.texts_of_world(7, 200, "train"):
        truth = oracle[text["pair_id"]]
        response = text["response_a"] if truth.better == "a" else text["response_b"]
        assert response[-1]["content"] == world.oracle(text["record_id"])


def test_a_model_learns_from_the_better_response(opened):
    tokens = lab.tokens_of(opened, arm.texts_of_world(3, 4, "train"))
    pair = next(iter(tokens.values()))
    assert lab.towards(pair, "a") is pair
    assert lab.towards(pair, "b").suffixes[0] is pair.suffixes[1]


def test_intervals_and_sweeps():
    mean, low, high = curation_ablation.interval([0.7, 0.8, 0.9])
    assert (
        mean == pytest.approx(0.8)
        and high - mean == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-5)
        and mean - low == high - mean
    )
    for name in curation_ablation.SWEEPS:
        assert len(trials.plan(CONFIG, name)) % 6 == 0


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
    summary = curation_ablation.summary({"curves": trials})
    assert summary["original"][0][:2] == ["stage 0", pytest.approx(0.52)]
    assert summary["no_human"][1][1] == pytest.approx(0.51) and summary["no_human_flipped"][1][
        1
    ] == pytest.approx(0.61)
    assert summary["kept_precision"]["both"] == pytest.approx((0.9, 0.9, 0.9)) and summary[
        "flipped_precision"
    ]["both"] == (None, None, None)
    claims = summary["claims"]
    grown = claims["uncurated: Stage 2 adds nothing over the last iteration"]
    assert grown["difference"][0] == pytest.approx(-0.01) and grown["holds"] is True
    assert claims["flip: both RMs more precise than the gold RM"] == {
        "difference": [None, None, None],
        "holds": None,
    }
    json.dumps(summary, allow_nan=False)
