"""What a curation is worth, read from its ledger: its labels, and models trained on them.

The oracle knows the better response of every pair; the ledger never holds it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.lab import Lab, Recipe, fit, rewards, tokens_of
from experiments.voters import Oracle
from rewardjax.curation.ledger import decision_tables, stage_names
from rewardjax.curation.ledger.decision_tables import NEITHER, SILENT, A, B, Rule, Sides
from rewardjax.curation.ledger.rows import ACTIONS
from rewardjax.curation.ledger.stage_names import Stage
from rewardjax.curation.reward_models import seats
from rewardjax.curation.stages import stage2
from rewardjax.curation.workspace import Workspace
from rewardjax.data.pack import TokenGroup

SIDE_OF_VOTE = {"a": A, "b": B, "tie": NEITHER, None: SILENT}


class HeldOut(NamedTuple):
    """Pairs that no model is trained on."""

    oracle: Oracle
    tokens: Mapping[str, TokenGroup]


@dataclasses.dataclass(frozen=True)
class Arm:
    """What the labels of one curation are measured with."""

    lab: Lab
    recipe: Recipe
    # About every pair that the curation may label.
    oracle: Oracle
    heldout: HeldOut


# ------------------------------------------------------------------ what the ledger says


class Decision(NamedTuple):
    """What became of a pair, and the label it goes on with."""

    pair_id: str
    action: str
    value: str | None


def decided(ws: Workspace, stage: str) -> list[Decision]:
    """The decisions of a stage, by pair_id."""
    rows = ws.store.query(
        "select pair_id, action, value from decisions where stage = ? order by pair_id", [stage]
    )
    return [Decision(**row) for row in rows.to_pylist()]


def picked(ws: Workspace, iteration: int) -> list[Decision]:
    """The decisions about the pairs that Stage 1 has had labeled so far."""
    rows = ws.store.query("select pair_id from picks where iteration <= ?", [iteration])
    labeled = set(rows.column("pair_id").to_pylist())
    all_decisions = decided(ws, stage_names.decided(iteration))
    return [decision for decision in all_decisions if decision.pair_id in labeled]


def original_labels(ws: Workspace) -> dict[str, str]:
    """The label that each pair came with."""
    rows = ws.store.query("select pair_id, value from votes where kind = 'original'").to_pylist()
    return {row["pair_id"]: row["value"] for row in rows}


def label_sets(ws: Workspace, pairs: Sequence[Decision]) -> dict[str, dict[str, str]]:
    """Labels by pair_id to train on: all original ones, those kept, those kept or flipped."""
    original = original_labels(ws)
    sets: dict[str, dict[str, str]] = {"original": {}, "filtered": {}, "flipped": {}}
    for pair_id, action, value in pairs:
        sets["original"][pair_id] = original[pair_id]
        if action == "keep":
            sets["filtered"][pair_id] = str(value)
        if action in ("keep", "flip"):
            sets["flipped"][pair_id] = str(value)
    return sets


# ------------------------------------------------------------------ what labels are worth


def figures(
    arm: Arm, labels: Mapping[str, str], tokens: Mapping[str, TokenGroup]
) -> dict[str, Any]:
    """What a set of labels is like, and the held-out accuracy of a model that is trained on it.

    `against_style` is the share of pairs whose better response shows less style: these teach a
    model not to look at it.
    """
    truths = {pair_id: arm.oracle[pair_id] for pair_id in labels}
    right = [truths[pair_id].better == value for pair_id, value in labels.items()]
    plain = [truth.styles[0] < truth.styles[1] for truth in truths.values()]
    return {
        "pairs": len(labels),
        "labels_right": float(np.mean(right)),
        "against_style": float(np.mean(plain)),
        "accuracy": accuracy(arm, fit(arm.lab, arm.recipe, labels, tokens)),
    }


def of_sets(
    ws: Workspace, arm: Arm, sets: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, Any]]:
    """`figures` of each set of labels of the workspace's pairs."""
    # Each pair is tokenized once, however many sets it is in.
    tokens = tokens_of(arm.lab, ws.store.texts(sorted(set().union(*sets.values()))))
    return {name: figures(arm, labels, tokens) for name, labels in sets.items()}


def accuracy(arm: Arm, model: str) -> float:
    """Share of held-out pairs whose better response has the higher reward; equal is wrong."""
    right = []
    for pair_id, (reward_a, reward_b) in rewards(arm.lab, model, arm.heldout.tokens).items():
        margin = reward_a - reward_b
        if arm.heldout.oracle[pair_id].better == "b":
            margin = -margin
        right.append(margin > 0)
    return float(np.mean(right))


def accuracy_by_seat(ws: Workspace, arm: Arm) -> dict[str, float]:
    """Held-out accuracy of the reward models that decided in Stage 2."""
    iteration = stage2.number(ws)
    trained = {"best": seats.fit(ws, "best", iteration, "silver", choose_on="gold")}
    # Where nobody was asked there is no gold, and nobody has that seat.
    if seats.sided_labels(ws, "gold", iteration):
        trained["gold"] = seats.fit(ws, "gold", iteration, "gold")
    return {
        seat: accuracy(arm, ws.plugins.load(ws, training).name)
        for seat, training in trained.items()
    }


# ------------------------------------------------------------------ who would have decided what


def votes_in(ws: Workspace, stage: Stage) -> dict[str, str]:
    """What a stage's votes say, by pair_id: one vote per pair, as of the judges merged."""
    return {row["pair_id"]: row["value"] for row in stage.rows(ws.store, "votes")}


def wild_sides(ws: Workspace, pair_ids: Sequence[str], judged: Mapping[str, str]) -> Sides:
    """Who speaks for which response of wild pairs [n]; nobody asked people about these.

    judged: what the judges say, by pair_id, of those pairs about which they were asked.
    """
    iteration = stage2.number(ws)
    original = original_labels(ws)
    margins = {}
    for seat in ("gold", "best"):
        stage = stage_names.scored_wild(seat, iteration)
        margins[seat] = seats.margins(ws, stage, pair_ids, missing=SILENT)
    return Sides(
        original=np.array([SIDE_OF_VOTE[original[pair_id]] for pair_id in pair_ids]),
        judges=np.array([SIDE_OF_VOTE[judged.get(pair_id)] for pair_id in pair_ids]),
        humans=np.full(len(pair_ids), SILENT),
        **margins,
    )


def actions(table: str | Sequence[Rule], sides: Sides) -> list[str]:
    """What a table would do with pairs [n]."""
    outcome = decision_tables.decide(decision_tables.rules(table), sides)
    return [ACTIONS[number] for number in outcome.action.tolist()]
