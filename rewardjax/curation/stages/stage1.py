"""Stage 1: people anchor, judges multiply, and the reward model's errors on gold say what to label next (paper, section 1.3).

    iteration 0       pairs of the unverified pool at random
    iteration i       best RM on silver, its checkpoint chosen on gold -> errors on gold -> the unverified pairs most like them
    each iteration    the first `human_share` of the picks to people (gold), the rest to judges shown the nearest gold pairs (silver)

Every step writes a shard and is skipped where the shard is there: killed at any point, the same call leaves the same store.
"""

import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from rewardjax import config as config_lib
from rewardjax.curation.ledger import decisions
from rewardjax.curation.ledger.clean import clean
from rewardjax.curation.ledger.intake import take_in
from rewardjax.curation.ledger.pools import labels
from rewardjax.curation.retrieval import search, selection
from rewardjax.curation.reward_models import gold_errors as gold
from rewardjax.curation.reward_models import seats
from rewardjax.curation.stages import labeling, report
from rewardjax.curation.workspace import Workspace
from rewardjax.data.sources import open_source
from rewardjax.parallel.mesh import make_mesh


def prepare(ws: Workspace) -> None:
    """Import and clean every source; describe and embed the unverified pool."""
    for name, source in ws.config.sources.items():
        take_in(ws.store, open_source(source.source), entry=source.entry, name=name)
    settings = ws.config.clean.to_dict()
    clean(ws.store, **settings)
    ids = list(labels(ws.store, "unverified", -1))
    if ws.config.tag:
        labeling.tag(ws, ids, "tag", 0)
    labeling.embed(ws, ids, "embed", 0)


def iterate(ws: Workspace, iteration: int) -> None:
    """Pick pairs, have them labeled, and report."""
    picks = pick(ws, iteration)
    labeling.people(
        ws,
        picks["people"],
        f"people-{iteration}",
        iteration,
        list(labels(ws.store, "gold", iteration - 1)),
    )
    labeling.judge(
        ws, picks["judges"], f"label-{iteration}", iteration, labels(ws.store, "gold", iteration)
    )
    decisions.decide(
        ws.store, f"stage1-{iteration}", table="stage1", entry="unverified", iteration=iteration
    )
    report.write(ws, iteration)


# ---------------------------------------------------------------------------------------------------------------- picking


def pick(ws: Workspace, iteration: int) -> dict[str, list[str]]:
    """The pairs to label in an iteration, by labeler and in order, from the ledger once they are there."""
    stage = f"pick-{iteration}"
    if not ws.store.has("picks", stage, "all"):
        chosen = _choose(ws, iteration)
        share = round(ws.config.stage1.human_share * len(chosen))
        rows = [
            {
                "pair_id": i,
                "labeller": "people" if n < share else "judges",
                "place": n,
                "evidence": json.dumps(why),
            }
            for n, (i, why) in enumerate(chosen)
        ]
        ws.store.append("picks", stage, "all", rows, iteration=iteration)
    rows = ws.store.query("select * from picks where stage = ? order by place", [stage]).to_pylist()
    return {
        name: [row["pair_id"] for row in rows if row["labeller"] == name]
        for name in ("people", "judges")
    }


def _choose(ws: Workspace, iteration: int) -> list[tuple[str, dict[str, Any]]]:
    """Pairs that nobody has looked at, in the order in which they should be labeled, each with why."""
    settings = ws.config.stage1
    left = list(labels(ws.store, "unverified", iteration - 1))
    budget = min(len(left), settings.first if iteration == 0 else settings.budget)
    seed = ws.config.seed + iteration
    if iteration == 0 or settings.select == "random":
        return [
            (left[row], {"by": "random"}) for row in selection.at_random(len(left), budget, seed)
        ]
    if settings.select == "diversity":
        chosen = selection.most_diverse(
            labeling.vectors(ws, left).astype(np.float32) / search.GRID, budget, seed
        )
        return [(left[row], {"by": "diversity"}) for row in chosen]
    best = seats.fit(ws, "best", iteration, "silver", choose_on="gold")
    if settings.select == "uncertainty":
        seats.score(ws, best, "best", iteration, left, f"uncertain-{iteration}")
        p = _p_a(ws, left, iteration)
        return [
            (left[row], {"by": "uncertainty", "p": round(float(p[row]), 6)})
            for row in selection.most_uncertain(p, budget)
        ]
    if settings.select == "retrieval":
        return _retrieve(ws, best, left, budget, iteration)
    raise ValueError(
        f"stage1.select = {settings.select!r}: random, diversity, uncertainty or retrieval"
    )


def _p_a(ws: Workspace, pair_ids: Sequence[str], iteration: int) -> np.ndarray:
    """P(a is better) by the best RM of an iteration; 0.5 where it could not score the pair."""
    sql = "select pair_id, reward_a - reward_b as margin from scores where scorer = 'best' and iteration = ?"
    rows = ws.store.query(sql, [iteration]).to_pylist()
    margin = {row["pair_id"]: row["margin"] for row in rows}
    return gold.probability(np.array([margin.get(pair_id, 0.0) for pair_id in pair_ids]), 1.0)


def _retrieve(
    ws: Workspace, best: Any, left: list[str], budget: int, iteration: int
) -> list[tuple[str, dict[str, Any]]]:
    """What the gold pairs pull by the k(p) rule (paper, section 1.3), the best RM's errors first."""
    if not any(labels(ws.store, "gold", iteration - 1).values()):
        raise ValueError(
            "stage1.select = 'retrieval' needs gold pairs, and there are none: raise stage1.human_share, or select otherwise"
        )
    p_of = gold_errors(ws, best, iteration)["p"]
    known = sorted(p_of)
    k_max = ws.config.stage1.k_max
    with jax.set_mesh(make_mesh()):
        near, similarity = search.nearest(
            labeling.vectors(ws, known), labeling.vectors(ws, left), min(k_max, len(left))
        )
    if near.shape[1] < k_max:  # fewer pairs are left than one gold pair may pull
        near, similarity = (
            np.pad(x, ((0, 0), (0, k_max - x.shape[1])), constant_values=-1)
            for x in (near, similarity)
        )
    pulled = search.pull(np.array([p_of[i] for i in known]), near, similarity, k_max, budget)
    why = [
        {"by": "retrieval", "gold": known[q], "p": round(p_of[known[q]], 6), "rank": int(r)}
        for q, r in zip(pulled.query.tolist(), pulled.rank.tolist(), strict=True)
    ]
    return [(left[row], reason) for row, reason in zip(pulled.row.tolist(), why, strict=True)]


def gold_errors(ws: Workspace, best: Any, iteration: int) -> dict[str, Any]:
    """The best RM on the gold pairs as they stood before the iteration: gold.report, compared with the one before; kept as a file."""
    known = {
        pair_id: label
        for pair_id, label in labels(ws.store, "gold", iteration - 1).items()
        if label
    }
    seats.score(ws, best, "best", iteration, list(known), f"gold-{iteration}")
    rows = ws.store.query("select * from scores where stage = ?", [f"gold-{iteration}"]).to_pylist()
    attributes = {row["pair_id"]: row for row in ws.store.current_attributes().to_pylist()}
    last = ws.folder / "reports" / f"gold-{iteration - 1}.json"
    found = gold.report(
        known, rows, attributes, json.loads(last.read_text())["correct"] if last.exists() else None
    )
    last.parent.mkdir(exist_ok=True)
    config_lib.write_json(last.with_name(f"gold-{iteration}.json"), found)
    return found
