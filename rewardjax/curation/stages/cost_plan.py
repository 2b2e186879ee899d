"""What a run would do from here: each step with its pairs, requests and dollars.

It walks through the same stages in the same order as `loop.run`, by the names that they write.
"""

from collections.abc import Iterator
from typing import Any

from rewardjax.curation.judges import protocol
from rewardjax.curation.judges.client import Judge
from rewardjax.curation.judges.paid_calls import Request
from rewardjax.curation.judges.prompts import Item
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.ledger.pools import labels
from rewardjax.curation.ledger.rows import ENTRIES
from rewardjax.curation.stages import budget, labeling, rules
from rewardjax.curation.workspace import Workspace
from rewardjax.data import spelling
from rewardjax.data.sources import open_named

# Pairs whose requests are written out to see what they can cost.
SAMPLE = 20

Step = dict[str, Any]


def plan(ws: Workspace) -> list[Step]:
    """List the steps in order: step, state ("done", "to do"), pairs, requests, labels, dollars.

    Pairs and dollars of what comes later are upper bounds: how many pairs Stage 2 asks about
    depends on models that are not trained yet. Judges cost what their token prices make of the
    longest possible answers, or, without token prices, the price per pair of the config; nothing is
    asked to find out.
    """
    entered = _entered(ws)
    request = _dollars_per_request(ws)
    steps = [
        *_prepare(ws, entered, request),
        *_stage1(ws, entered["unverified"], request),
    ]
    if ws.config.stage2.table:
        steps += _stage2(ws, entered["wild"], request)
    total: Step = {"step": "left to do, at most", "state": "", "pairs": None}
    for column in ("requests", "labels", "judges $", "people $"):
        total[column] = sum(step[column] for step in steps if step["state"] == "to do")
    return [*steps, total]


def _prepare(ws: Workspace, entered: dict[str, int], request: float | None) -> Iterator[Step]:
    for name, source in ws.config.sources.items():
        done = stage_names.imported(name).has(ws.store, "00000")
        records = open_named(source, spelling.of_entry(f"sources.{name}"))
        yield _step(f"import {name}", done, pairs=len(records))
    yield _step("clean", bool(ws.store.manifests("findings")), pairs=sum(entered.values()))
    if ws.config.tag:
        pairs = entered["unverified"] + entered["gold"]
        done = stage_names.TAG.finished(ws.store, pairs)
        yield _ask(
            ws, "describe the unverified pool and gold", done, pairs, len(ws.judges), request
        )


def _stage1(ws: Workspace, unverified: int, request: float | None) -> Iterator[Step]:
    stage1, remaining = ws.config.stage1, unverified
    for i in range(stage1.iterations + 1):
        picks = min(remaining, budget.pairs(stage1, i))
        remaining -= picks
        to_people = rules.to_people(picks, stage1.human_share)
        if i:
            done = stage_names.trained("best", i).has(ws.store)
            yield _step(f"iteration {i}: best RM", done, pairs=None)
        answers = _answers(ws, to_people)
        yield _step(
            f"iteration {i}: people",
            stage_names.people(i).has(ws.store),
            pairs=to_people,
            labels=answers,
            people=answers * ws.config.prices.gold,
        )
        done = stage_names.panel(i).has(ws.store)
        to_judges = picks - to_people
        yield _ask(ws, f"iteration {i}: judges", done, to_judges, _samples(ws), request)


def _stage2(ws: Workspace, wild: int, request: float | None) -> Iterator[Step]:
    iteration = ws.config.stage1.iterations + 1
    done = stage_names.trained("gold", iteration).has(ws.store)
    yield _step("Stage 2: gold RM, best RM, rewards of the wild pool", done, pairs=wild)
    samples = _samples(ws)
    if ws.config.tag:
        samples += len(ws.judges)
    done = stage_names.panel_wild(iteration).has(ws.store)
    yield _ask(ws, "Stage 2: judges, at most", done, wild, samples, request, "stage2")
    size = ws.config.gates.audit.pairs
    if size:
        # So many of each, keeps and flips.
        pairs = min(wild, 2 * size)
        answers = _answers(ws, pairs)
        yield _step(
            "Stage 2: people's audit, at most",
            stage_names.audited(iteration, size).has(ws.store),
            pairs=pairs,
            labels=answers,
            people=answers * ws.config.prices.gold,
        )


def _step(
    step: str,
    done: bool,
    *,
    pairs: int | None,
    requests: int = 0,
    labels: int = 0,
    judges: float = 0.0,
    people: float = 0.0,
) -> Step:
    return {
        "step": step,
        "state": ("to do", "done")[done],
        "pairs": pairs,
        "requests": requests,
        "labels": labels,
        "judges $": round(judges, 4),
        "people $": round(people, 4),
    }


def _ask(
    ws: Workspace,
    step: str,
    done: bool,
    pairs: int,
    samples: int,
    request: float | None,
    price: str = "silver",
) -> Step:
    requests = pairs * samples
    if not ws.judges:
        dollars = 0.0
    elif request is None:
        dollars = pairs * ws.config.prices[price]
    else:
        dollars = requests * request
    return _step(step, done, pairs=pairs, requests=requests, judges=dollars)


def _answers(ws: Workspace, pairs: int) -> int:
    """How many answers people are paid for: overlap and checks are on top of the pairs."""
    settings = ws.config.people
    return round(pairs * (1 + settings.overlap) * (1 + settings.checks))


def _samples(ws: Workspace) -> int:
    return sum(judge.samples for judge in ws.judges)


def _entered(ws: Workspace) -> dict[str, int]:
    """Pairs by the pool they enter: in the store, or in the sources before anything is imported."""
    entered = dict.fromkeys(ENTRIES, 0)
    rows = ws.store.query("select entry, count(*) as pairs from pairs group by entry").to_pylist()
    if not rows:
        for source in ws.config.sources.values():
            entered[source.entry] += len(open_named(source))
        return entered
    for row in rows:
        entered[row["entry"]] = row["pairs"]
    # Cleaning held some of them back: nobody will be asked about those.
    for pool in ("unverified", "gold"):
        entered[pool] = len(labels(ws.store, pool, stage_names.IMPORTED))
    return entered


def _dollars_per_request(ws: Workspace) -> float | None:
    """What one request can cost at most, on average over some pairs and the judges.

    None without token prices, or without pairs to write out a request of.
    """
    if not any(judge.price_input or judge.price_output for judge in ws.judges):
        return None
    sample = ws.store.query("select pair_id from pairs order by pair_id limit ?", [SAMPLE])
    bounds = []
    for item in labeling.as_items(ws, sample.column("pair_id").to_pylist()):
        for judge in ws.judges:
            request = _first_request(ws, item, judge)
            # An answer that the ledger of calls has costs nothing any more.
            if isinstance(request, Request):
                bounds.append(request.most())
    if not bounds:
        return None
    return sum(bounds) / len(bounds)


def _first_request(ws: Workspace, item: Item, judge: Judge) -> Any:
    """The first request about a pair, or the outcome where it was made and answered."""
    # Which dialect the server takes is not known before it was asked; this is the longest.
    dialect = protocol.dialect_in(judge, ws.calls) or judge.dialect
    question = next(iter(protocol.questions(item, judge)))
    return protocol.settle(question, dialect, ws.calls)
