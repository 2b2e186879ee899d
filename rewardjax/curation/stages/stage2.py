"""Stage 2: the wild pool, without people but for an audit (paper, section 1.6).

Gold RM and best RM score it, the decision table says where judges are needed, and decides. Between
these steps stand gates (`stages/gates.py`): nothing turns a label before it is shown to be better
than chance.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from rewardjax.curation.ledger import decisions, erasure, pools, stage_names, write_pairs
from rewardjax.curation.ledger.decisions import HELD
from rewardjax.curation.ledger.pools import labels
from rewardjax.curation.ledger.stage_names import ASKING, DECIDING, PairIds, as_of
from rewardjax.curation.reward_models import gold_errors, seats
from rewardjax.curation.stages import cleaning, gates, labeling, report
from rewardjax.curation.workspace import Training, Workspace


def run(ws: Workspace) -> dict[str, int]:
    """Decide the wild pool; how many pairs got which action. Resumes; may raise Paused.

    Where Stage 1 went on after an earlier Stage 2, all of the pool is decided anew.
    """
    cleaning.clean_new(ws)
    iteration = number(ws)
    stage = stage_names.decided_wild(iteration)
    decided = [m for m in ws.store.manifests("decisions") if m["stage"] == stage]
    # Once decided, what was imported since waits for another Stage 2.
    if decided:
        settings = decided[0]["inputs"]["settings"]
        counts = decisions.decide(ws.store, stage, round=DECIDING, iteration=iteration, **settings)
    else:
        counts = _ask_and_decide(ws, iteration)
    report.write(ws, iteration, report.stage2_page(iteration))
    write_sets(ws)
    return counts


def _ask_and_decide(ws: Workspace, iteration: int) -> dict[str, int]:
    # Others may be imported beside the run, and wait for another Stage 2: nobody has looked through
    # them or scored them.
    pairs = decisions.pairs_seen(ws.store)
    trained, temperatures = train(ws, iteration)
    settings = {
        "table": ws.config.stage2.table,
        "band": ws.config.stage2.band,
        "entry": "wild",
        **temperatures,
    }
    decided = decisions.checked(**settings)
    # Before the pool is scored: at real sizes that costs more than training did.
    gates.pass_or_pause(ws, stage_names.GATES_SCORE, iteration, decided)
    score_wild(ws, trained, iteration)
    gates.pass_or_pause(ws, stage_names.GATES_ASK, iteration, decided)
    # The table is asked twice: before the judges, where it may say "annotate", and after them. Of
    # the first only these are stored: a keep or flip would count as decided while a gate waits.
    at = {"iteration": iteration, **settings}
    asking = stage_names.asked_wild(iteration)
    decisions.decide(ws.store, asking, round=ASKING, only="annotate", pairs=pairs, **at)
    # On resuming they are those that the first start saw.
    pairs = decisions.pairs_seen(ws.store, asking)
    # Nobody is asked about a pair whose text was erased since.
    sql = f"""
        select pair_id from decisions where stage = ? and action = 'annotate'
            and pair_id not in ({erasure.ERASED_PAIRS})
        order by pair_id"""
    label(ws, ws.store.query(sql, [asking]).column("pair_id"), iteration)
    gates.pass_or_pause(ws, stage_names.GATES_DECIDE, iteration, decided)
    return decisions.decide(
        ws.store, stage_names.decided_wild(iteration), round=DECIDING, pairs=pairs, **at
    )


def number(ws: Workspace) -> int:
    """The iteration that Stage 2 counts as: the one after Stage 1's last."""
    return ws.config.stage1.iterations + 1


def undecided(ws: Workspace) -> int:
    """Pairs of the wild pool that came too late for Stage 2."""
    return pools.sizes(ws.store)["wild"]


def train(ws: Workspace, iteration: int) -> tuple[dict[str, Training], dict[str, Any]]:
    """Train both reward models and measure them on gold.

    Returns the trainings by seat, and the temperatures by which the table divides their margins:
    those of both are fitted, or neither, so that `stage2.band` means the same for both.
    """
    # Where nobody was asked there is no gold: no gold RM, and no errors to fit a temperature on.
    has_gold = bool(seats.sided_labels(ws, "gold", iteration))
    if has_gold and ws.config.stage2.folds:
        seats.pause_without_folds(ws, iteration, "gold", ws.config.stage2.folds)
    best = seats.fit(ws, "best", iteration, "silver", choose_on="gold")
    trained, temperatures = {"best": best}, {}
    if not has_gold:
        return trained, temperatures
    errors = seats.errors_on_gold(ws, best, iteration)
    trained["gold"] = seats.fit(ws, "gold", iteration, "gold")
    if ws.config.stage2.folds:
        margin = gold_margins(ws, iteration)
        if ws.config.calibrate:
            temperatures["best_temperature"] = errors["temperature"]
            temperatures["gold_temperature"] = gold_errors.fit_temperature(margin)
    return trained, temperatures


def score_wild(ws: Workspace, trained: dict[str, Training], iteration: int) -> None:
    """Have both reward models score the wild pool."""
    wild = _to_score(ws, iteration)
    # Neither model has learned from the wild pool, so both may judge all of it.
    for seat, training in trained.items():
        seats.score(ws, training, seat, wild, stage_names.scored_wild(seat, iteration))


def _to_score(ws: Workspace, iteration: int) -> pa.ChunkedArray:
    """The pairs that came as wild and that no model may have learned from, in order."""
    # Also what an earlier Stage 2 decided, with models that knew less; but not what people then
    # said of an audit's sample, which is gold.
    sql = f"""
        select pair_id from ({pools.sql(as_of(iteration))}) anti join ({HELD}) using (pair_id)
        where entry = 'wild' and pool in ('wild', 'curated', 'discarded') order by pair_id"""
    return ws.store.query(sql).column("pair_id")


def gold_margins(ws: Workspace, iteration: int) -> np.ndarray:
    """The gold RM's margins on gold [n], by cross-fitting: it would be too sure of its own pairs.

    Positive where it prefers what the gold label does.
    """
    stages = seats.cross_fit(ws, "gold", iteration, "gold", ws.config.stage2.folds)
    rows = []
    for stage in stages:
        rows += stage.rows(ws.store, "scores")
    gold = seats.sided_labels(ws, "gold", iteration)
    _, margin, _ = gold_errors.margins(gold, rows)
    return margin


def label(ws: Workspace, pair_ids: PairIds, iteration: int) -> None:
    """Have judges describe and label wild pairs, shown the nearest gold pairs."""
    if ws.config.tag:
        labeling.tag(ws, pair_ids, stage_names.tag_wild(iteration))
    labeling.embed(ws, pair_ids, stage_names.embed_wild(iteration))
    labeling.judge(
        ws,
        pair_ids,
        stage_names.judges_wild(iteration),
        stage_names.panel_wild(iteration),
        labels(ws.store, "gold", as_of(iteration)),
    )


def write_sets(ws: Workspace) -> dict[str, dict[str, int]]:
    """Write the data sets that the paper compares into `data/`; returns counts by fate.

    Everything that was looked at with its original label, the curated pairs without the flipped
    ones, and with them.
    """
    curated = ("gold", "silver", "curated")
    # The first with what was discarded: it is what curation has to beat.
    variants = {
        "original": dict(pools=(*curated, "wild", "discarded"), labels="original"),
        "filtered": dict(pools=curated, flips=False),
        "flipped": dict(pools=curated),
    }
    counts = {}
    for name, options in variants.items():
        counts[name] = write_pairs.export(
            ws.store, ws.folder / "data" / f"{name}.parquet", **options
        )
    return counts
