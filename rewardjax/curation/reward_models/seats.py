"""The seats of reward models: who is trained on which pool, and asked about which pairs.

A seat is a reward model's place in decisions: "best", trained on silver with its checkpoint chosen
on gold, and "gold", trained on all that people verified (paper, section 1.2). Each function reads
the ledger, lets a plug-in work, and appends; what is in the ledger is not done again.
"""

import functools
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from rewardjax import config as config_lib
from rewardjax.curation import units
from rewardjax.curation.ledger import cross_fit as cross_fit_lib
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.ledger.pools import labels
from rewardjax.curation.ledger.stage_names import PairIds, Stage, as_array
from rewardjax.curation.reward_models import gold_errors, score_pairs
from rewardjax.curation.workspace import Paused, RewardModel, Training, Workspace
from rewardjax.engine.executors import Engine
from rewardjax.engine.tasks import Unit
from rewardjax.io import own_files

# The engines whose tasks score pools. Processes of this machine would fight over its accelerators,
# and on CPU one model uses all cores.
OTHER_MACHINES = ("slurm", "ray")

# ------------------------------------------------------------------ training


def fit(
    ws: Workspace, seat: str, iteration: int, pool: str, *, choose_on: str | None = None
) -> Training:
    """Train the model that has `seat` in `iteration`, on the labels that `pool` had before it.

    Args:
        ws: the workspace.
        seat: "best" or "gold".
        iteration: in which the model works.
        pool: whose labels it learns.
        choose_on: the pool on which its best checkpoint is chosen (paper: the gold set chooses the
            best RM); without one, or where it has no labels, the last checkpoint counts.

    Raises:
        ValueError: where the pool has no label to learn from.
    """
    choice = {}
    if choose_on:
        choice = sided_labels(ws, choose_on, iteration)
    stage = stage_names.trained(seat, iteration)
    return _fitted(ws, stage, pool, sided_labels(ws, pool, iteration), choice)


def sided_labels(ws: Workspace, pool: str, iteration: int) -> dict[str, str]:
    """The labels "a" and "b" of a pool as the work of `iteration` may see it."""
    # A tie teaches a pairwise loss nothing.
    current = labels(ws.store, pool, stage_names.as_of(iteration))
    return {pair_id: value for pair_id, value in current.items() if value in ("a", "b")}


def _fitted(
    ws: Workspace,
    stage: Stage,
    pool: str,
    learned: Mapping[str, str],
    choice: Mapping[str, str],
) -> Training:
    if not learned:
        raise ValueError(
            f"{stage.name}: the {pool} pool has no labeled pair after iteration {stage.as_of}; "
            f"label more of it first"
        )
    training = Training(stage, learned, choice, ws.folder / "models" / stage.name)
    if not stage.has(ws.store):
        with ws.running.step(stage.name):
            ws.plugins.train(ws, training)
        # Under the fingerprint of its weights: what a seat was trained on must not depend on its
        # name, which the next iteration's model has too.
        model = ws.plugins.load(ws, training).name
        # As Arrow: a row as a Python dict takes ten times the memory, and silver may be millions.
        rows = {
            "pair_id": pa.array(learned.keys(), pa.string()),
            "model": pa.repeat(pa.scalar(model), len(learned)),
            "value": pa.array(learned.values(), pa.string()),
        }
        stage.append(ws.store, "training", pa.table(rows))
    return training


# ------------------------------------------------------------------ asking


def score(ws: Workspace, training: Training, seat: str, pair_ids: PairIds, stage: Stage) -> None:
    """Put rewards of both responses of every pair into the ledger: pairs in, shards out.

    The one place where pools are scored: in this process, or by tasks of an engine on other
    machines. What cannot be scored becomes a finding with its reason. Raises OwnTrainingPair,
    before anything is computed, where the model was trained on one of the pairs.
    """
    todo = stage.open_units(ws.store, pair_ids)
    first = next(todo, None)
    if first is None:
        return
    engine = Engine(**ws.config.engine.to_dict())
    if engine.name in OTHER_MACHINES:
        _refuse_own_training_pairs(ws, _name_of(ws, training), pair_ids)
        # Not the labels, which may be millions: `load` needs what training left in the folder.
        to_load = training._replace(labels={}, choose_on={})
        asker = functools.partial(_scoring, training=to_load, seat=seat)
        join = functools.partial(_join, ws, stage)
        units.ask_tasks(ws, engine, pair_ids, stage, asker, join)
        return
    # Once for all units: loading takes longer than scoring one.
    model = ws.plugins.load(ws, training)
    _refuse_own_training_pairs(ws, model.name, pair_ids)
    sql = "select count(*) from scores where stage = ?"
    done = ws.store.query(sql, [stage.name]).column(0)[0].as_py()
    opinions_on = _scoring(ws, training, seat, model)
    with ws.running.step(stage.name, len(pair_ids), done=done) as step:
        for name, ids in itertools.chain([first], todo):
            _join(ws, stage, Unit(name, ids), opinions_on(ids))
            step.advance(len(ids))


def _scoring(
    ws: Workspace, training: Training, seat: str, model: RewardModel | None = None
) -> Callable[[Sequence[str]], pa.Table]:
    """What pairs are scored with; a task of an engine, which has no model yet, loads it."""
    used = model or ws.plugins.load(ws, training)

    def opinions(ids: Sequence[str]) -> pa.Table:
        return score_pairs.score_pairs(used, ws.store.texts(ids), seat=seat)

    return opinions


def _join(ws: Workspace, stage: Stage, unit: Unit, opinions: pa.Table) -> None:
    """Put one unit's opinions into the ledger; what has no rewards is a finding."""
    findings = [
        {
            "pair_id": pair_id,
            "finding": "unscorable",
            "action": "flag",
            "evidence": json.dumps({"reason": reason}),
        }
        for pair_id, reason in score_pairs.unscorable(opinions).items()
    ]
    # Also where there are none: a unit is done when each of its ledgers has a shard.
    stage.append(ws.store, "findings", findings, unit.name)
    scored = score_pairs.scored(opinions)
    stage.append(ws.store, "scores", scored, unit.name, about=unit.about)


def _name_of(ws: Workspace, training: Training) -> str:
    """The name of a trained model, without loading it."""
    sql = "select any_value(model) from training where stage = ?"
    return ws.store.query(sql, [training.stage.name]).column(0)[0].as_py()


def _refuse_own_training_pairs(ws: Workspace, model: str, pair_ids: PairIds) -> None:
    # The store would refuse the rewards too, but only after a pool was scored in vain.
    models = pa.repeat(pa.scalar(model), len(pair_ids))
    about = {"pair_id": as_array(pair_ids), "model": models}
    with ws.store.connect(ledgers=["training"]) as connection:
        connection.register("to_judge", pa.table(about))
        cross_fit_lib.refuse_own_training_pairs(connection, "to_judge")


def margins(ws: Workspace, stage: Stage, pair_ids: PairIds, missing: float) -> np.ndarray:
    """reward_a - reward_b [n] of pairs by a stage, `missing` for those that it could not score."""
    # A join gives no order: the place says where a row belongs.
    places = pa.table({"pair_id": as_array(pair_ids), "place": np.arange(len(pair_ids))})
    sql = """
        select coalesce(reward_a::double - reward_b, $missing::double) as margin
        from places left join (select * from scores where stage = $stage) using (pair_id)
        order by place"""
    with ws.store.connect(ledgers=["scores"]) as connection:
        connection.register("places", places)
        rows = connection.sql(sql, params={"missing": missing, "stage": stage.name})
        return rows.to_arrow_table().column("margin").to_numpy()


def errors_on_gold(ws: Workspace, best: Training, iteration: int) -> dict[str, Any]:
    """What the gold pairs say about the best RM: `gold_errors.report`, kept as a file.

    The gold pairs are those from before the iteration, which the model, trained on silver, has not
    seen; the report before it is compared with.
    """
    gold = sided_labels(ws, "gold", iteration)
    stage = stage_names.scored_gold(iteration)
    score(ws, best, "best", list(gold), stage)
    rows = stage.rows(ws.store, "scores")
    described = ws.store.current_attributes(list(gold)).to_pylist()
    attributes = {row["pair_id"]: row for row in described}
    reports = ws.folder / "reports"
    # Whether the model gained is asked on the pairs that both have judged: gold grows.
    previous = None
    before = reports / f"gold-{stage.as_of}.json"
    if before.exists():
        previous = own_files.read(before, ["correct"])["correct"]
    calibrate = ws.config.calibrate
    report = gold_errors.report(gold, rows, attributes, previous, calibrate=calibrate)
    reports.mkdir(exist_ok=True)
    config_lib.write_json(reports / f"gold-{iteration}.json", report)
    return report


def pause_without_folds(ws: Workspace, iteration: int, pool: str, folds: int) -> None:
    """Raise Paused where all labeled pairs of a pool are in one fold, so that nothing is learned.

    To be asked before any model learns the pool: what comes in afterwards is in no model of it.
    """
    learned = sided_labels(ws, pool, iteration)
    if len({cross_fit_lib.fold_of(pair_id, folds) for pair_id in learned}) < 2:
        raise Paused(
            f"the {pool} RM cannot be measured: the {len(learned)} labeled pairs of the {pool} "
            f"pool are all in one of stage2.folds = {folds} parts, and a model of the others would "
            "have nothing to learn from; label more pairs, or import some with `curate import "
            f"--entry {pool}`, and run again"
        )


def cross_fit(ws: Workspace, seat: str, iteration: int, pool: str, folds: int) -> list[Stage]:
    """Have a seat's kind of model score its own training pool, each pair by a model without it.

    The pool is split into folds by hash (`cross_fit.fold_of`); a model of each fold's complement
    scores the fold. Returns the stages whose `scores` these are. Raises ValueError for fewer than 2
    folds, or where a complement has nothing to learn from.
    """
    learned = sided_labels(ws, pool, iteration)
    fold_of = {pair_id: cross_fit_lib.fold_of(pair_id, folds) for pair_id in learned}
    stages = []
    for fold in range(folds):
        others = {i: value for i, value in learned.items() if fold_of[i] != fold}
        held_out = [i for i in learned if fold_of[i] == fold]
        stage = stage_names.trained(seat, iteration, fold)
        # Its last checkpoint: one that was chosen on the fold would have seen it.
        training = _fitted(ws, stage, pool, others, {})
        stages.append(stage_names.cross_fitted(seat, iteration, fold))
        score(ws, training, seat, held_out, stages[-1])
    return stages
