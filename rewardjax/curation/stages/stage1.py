"""Stage 1: people anchor, judges multiply, and errors on gold say what to label next.

    iteration 0       pairs of the unverified pool at random
    iteration i       best RM on silver, its checkpoint chosen on gold -> its errors on gold
                      -> the unverified pairs most like them
    each iteration    the first `human_share` of the picks to people (gold), the rest to judges
                      who are shown the nearest gold pairs (silver)

(paper, section 1.3). Every step reads the ledger, applies a rule and writes a shard, and is skipped
where the shard is there: killed at any point, the same call leaves the same store.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from rewardjax.curation.intake.intake import take_in
from rewardjax.curation.ledger import decisions, erasure, pools, stage_names
from rewardjax.curation.ledger.pools import labels
from rewardjax.curation.ledger.stage_names import as_of
from rewardjax.curation.planning import budget
from rewardjax.curation.retrieval import search, selection
from rewardjax.curation.reward_models import gold_errors, seats
from rewardjax.curation.stages import (
    cleaning,
    labeling,
    people_steps,
    report,
    rules,
)
from rewardjax.curation.workspace import Training, Workspace
from rewardjax.data import spelling
from rewardjax.data.sources import open_named

# Pairs on which training settings are tried: a sample, and the longest by bytes of text, which are
# near enough to the longest by tokens.
REHEARSED, LONGEST = 1000, 100

# What else `intake.take_in` counts, in words.
FATES = {
    "duplicates": "repeat a pair",
    "rejects": "are no pair (`curate status` has the reasons)",
    "votes": "votes of people",
}


def prepare(ws: Workspace) -> None:
    """Import and clean every source; describe and embed the unverified pool and gold."""
    for name, source in ws.config.sources.items():
        opened = open_named(source, spelling.of_entry(f"sources.{name}"))
        meaning = {field: source.get(field) for field in ("columns", "labels")}
        counts = take_in(
            ws.store, opened, entry=source.entry, name=name, running=ws.running, **meaning
        )
        print(taken_in(name, counts))
    # Before judges are paid: what cleaning holds back is never described or labeled.
    cleaning.clean_new(ws)
    for name in ws.config.sources:
        # After cleaning, which reads shard by shard. From here on pairs are read by their ids, of
        # which every shard of an import has some: in one file they are neighbors.
        ws.store.compact("pairs", stage_names.imported(name).name, least=2)
    describe(ws)


def taken_in(name: str, counts: Mapping[str, int]) -> str:
    """One line about an import: what became of the rows of its source."""
    line = f"import {name}: {counts['rows']} rows, {counts['pairs']} pairs"
    for fate, words in FATES.items():
        if counts.get(fate):
            line += f", {counts[fate]} {words}"
    return line


def describe(ws: Workspace) -> None:
    """Have the unverified pool and gold described, and embed them. May raise Paused."""
    # Gold that the team owns is shown to judges from the first iteration on, as examples.
    entered = [pools.ids(ws.store, pool, stage_names.IMPORTED) for pool in ("unverified", "gold")]
    ids = pa.chunked_array(entered[0].chunks + entered[1].chunks, pa.string())
    rehearse(ws, ids)
    if ws.config.tag:
        labeling.tag(ws, ids, stage_names.TAG)
    # After the attributes, which are part of the text that is embedded.
    labeling.embed(ws, ids, stage_names.EMBED)


def rehearse(ws: Workspace, pool: pa.ChunkedArray) -> None:
    """Have the training settings tried on the pool, unless no model is left to train."""
    stage1 = ws.config.stage1
    last = stage1.iterations
    # Selections that ask no model train none.
    if stage1.select in ("random", "diversity"):
        last = 0
    # Stage 2 trains once more.
    if ws.config.stage2.table:
        last = stage1.iterations + 1
    if not len(pool) or last == 0 or stage_names.trained("best", last).has(ws.store):
        return
    # Ids are hashes: the first ones are a sample at random, and always the same.
    sample = pool[:REHEARSED].to_pylist()
    sql = f"""
        select pair_id from pairs join ({pools.sql(stage_names.IMPORTED)}) using (pair_id)
        where pool in ('unverified', 'gold')
        order by strlen(prompt) + strlen(response_a) + strlen(response_b) desc, pair_id
        limit {LONGEST}"""
    longest = ws.store.query(sql).column("pair_id").to_pylist()
    picks = min(len(pool), stage1.first)
    silver = picks - rules.to_people(picks, stage1.human_share)
    ws.plugins.rehearse(ws, sample, longest, silver)


class Labeled(NamedTuple):
    """What an iteration had labeled: pairs by people and by judges, and its budget's rest."""

    people: int
    judges: int
    # Pairs of the budget for which the rule had no candidate, or the pool no pair.
    unspent: int


def iterate(ws: Workspace, iteration: int) -> Labeled:
    """Clean what came in since, pick pairs, have them labeled, decide, and report.

    May raise Paused.
    """
    # Pairs may be imported beside a run: nobody is to label what nobody has looked through.
    if cleaning.clean_new(ws):
        describe(ws)
    picks = pick(ws, iteration)
    checks = list(labels(ws.store, "gold", as_of(iteration)))
    people_steps.ask(ws, picks["people"], stage_names.people(iteration), checks)
    # Judges are shown what people said in this very iteration: they label after them.
    gold = labels(ws.store, "gold", iteration)
    labeling.judge(
        ws, picks["judges"], stage_names.judges(iteration), stage_names.panel(iteration), gold
    )
    decisions.decide(
        ws.store,
        stage_names.decided(iteration),
        table="stage1",
        entry="unverified",
        iteration=iteration,
    )
    report.write(ws, iteration, report.stage1_page(iteration))
    people, judges = len(picks["people"]), len(picks["judges"])
    return Labeled(people, judges, budget.pairs(ws.config.stage1, iteration) - people - judges)


# ------------------------------------------------------------------ picking


class Pick(NamedTuple):
    """A pair to label, and why, as JSON values."""

    pair_id: str
    evidence: dict[str, Any]


def pick(ws: Workspace, iteration: int) -> dict[str, list[str]]:
    """The pairs to label by labeler, in order; from the ledger once they are there."""
    # In the ledger before anybody is asked: after a kill the pools have moved on, and people and
    # judges must be given the same pairs.
    stage = stage_names.picks(iteration)
    if not stage.has(ws.store):
        picks = _choose(ws, iteration)
        to_people = rules.to_people(len(picks), ws.config.stage1.human_share)
        rows = []
        for place, (pair_id, evidence) in enumerate(picks):
            row = {"pair_id": pair_id, "place": place, "evidence": json.dumps(evidence)}
            rows.append(row | {"labeller": rules.labeler(place, to_people)})
        stage.append(ws.store, "picks", rows)
    by_labeler: dict[str, list[str]] = {"people": [], "judges": []}
    # Nobody is asked about a pair whose text was erased since it was picked.
    gone = erasure.erased(ws.store)
    for row in stage.rows(ws.store, "picks", order="place"):
        if row["pair_id"] not in gone:
            by_labeler[row["labeller"]].append(row["pair_id"])
    return by_labeler


def _choose(ws: Workspace, iteration: int) -> list[Pick]:
    """Pairs that nobody has looked at, in the order in which they should be labeled."""
    # What was imported beside the run since it was last looked through waits for the next pick.
    sql = f"""
        select pair_id from ({pools.sql(as_of(iteration))})
        where pool = 'unverified' and pair_id in (select pair_id from embeddings)
        order by pair_id"""
    pool = ws.store.query(sql).column("pair_id")
    size = min(len(pool), budget.pairs(ws.config.stage1, iteration))
    # Each iteration draws anew: with one seed the second would take up where the first one ended.
    seed = ws.config.seed + iteration
    select = ws.config.stage1.select
    # There is no reward model yet to say what to label first.
    if iteration == 0 or select == "random":
        rows = selection.at_random(len(pool), size, seed)
        return [Pick(pair_id, {"by": "random"}) for pair_id in pool.take(rows).to_pylist()]
    if select == "diversity":
        vectors = labeling.vectors(ws, pool).astype(np.float32) / search.GRID
        rows = selection.most_diverse(vectors, size, seed)
        return [Pick(pair_id, {"by": "diversity"}) for pair_id in pool.take(rows).to_pylist()]
    best = seats.fit(ws, "best", iteration, "silver", choose_on="gold")
    if select == "uncertainty":
        return _most_uncertain(ws, best, pool, size, iteration)
    if select == "retrieval":
        return _retrieve(ws, best, pool, size, iteration)
    raise ValueError(f"stage1.select = {select!r} is not one of {', '.join(rules.SELECTIONS)}")


def _most_uncertain(
    ws: Workspace, best: Training, pool: pa.ChunkedArray, size: int, iteration: int
) -> list[Pick]:
    """The pairs on which the best RM is nearest to even."""
    stage = stage_names.uncertainty(iteration)
    seats.score(ws, best, "best", pool, stage)
    # A pair that it could not score is one that it knows nothing about: p = 1/2.
    margin = seats.margins(ws, stage, pool, missing=0.0)
    p = gold_errors.probability(margin, 1.0)  # [pool] that a is better
    rows = selection.most_uncertain(p, size)
    picks = []
    for pair_id, share in zip(pool.take(rows).to_pylist(), p[rows].tolist(), strict=True):
        picks.append(Pick(pair_id, {"by": "uncertainty", "p": round(share, 6)}))
    return picks


def _retrieve(
    ws: Workspace, best: Training, pool: pa.ChunkedArray, size: int, iteration: int
) -> list[Pick]:
    """What the gold pairs pull by the k(p) rule, the best RM's errors first (`rules.retrieve`)."""
    if not seats.sided_labels(ws, "gold", iteration):
        raise ValueError(
            "stage1.select = 'retrieval' needs gold pairs, and there are none: raise "
            "stage1.human_share, or select otherwise"
        )
    p_of = seats.errors_on_gold(ws, best, iteration)["p"]
    # By id: of equal p the rule takes the lower place, which must not depend on how rows were read.
    gold = sorted(p_of)
    p = np.array([p_of[pair_id] for pair_id in gold])
    neighbors = rules.neighbors_in(labeling.vectors(ws, gold), labeling.vectors(ws, pool))
    pulled = rules.retrieve(p, neighbors, len(pool), ws.config.stage1.k_max, size)
    picks = []
    ids = pool.take(pulled.row).to_pylist()
    for pair_id, query, rank in zip(ids, pulled.query.tolist(), pulled.rank.tolist(), strict=True):
        # p is rounded: its last digits differ between platforms, and the ledger's bytes shall not.
        evidence = {
            "by": "retrieval",
            "gold": gold[query],
            "p": round(p_of[gold[query]], 6),
            "rank": rank,
            "k_max": pulled.k_max,
        }
        picks.append(Pick(pair_id, evidence))
    return picks
