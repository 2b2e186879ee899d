"""What a run would do from here: each step with its pairs, requests and dollars.

It walks through the same stages in the same order as `loop.run`, by the names that they write.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from rewardjax.curation.judges import protocol
from rewardjax.curation.judges.client import Judge
from rewardjax.curation.judges.prompts import Item
from rewardjax.curation.judges.protocol import Outcome
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.ledger.pools import labels
from rewardjax.curation.ledger.rows import ENTRIES
from rewardjax.curation.ledger.stage_names import Stage
from rewardjax.curation.servers.paid_calls import Request
from rewardjax.curation.stages import budget, labeling, panels, rules
from rewardjax.curation.workspace import Workspace
from rewardjax.data import spelling
from rewardjax.data.sources import open_named

# Pairs whose requests are written out to see what they can cost.
SAMPLE = 20

Step = dict[str, Any]


class Duty(NamedTuple):
    """A judge or tagger and what it is asked for: "judge" or "tag"."""

    task: str
    judge: Judge

    @property
    def questions(self) -> int:
        """How many per pair."""
        return protocol.question_count(self.judge, self.task)


class Asking(NamedTuple):
    """A step at which judges or taggers are asked, before it has a price."""

    step: str
    done: bool
    pairs: int
    duties: Sequence[Duty]
    # Of the config's `prices`, per pair, where there are no token prices.
    price: str = "silver"


def plan(ws: Workspace) -> list[Step]:
    """List the steps in order: step, state ("done", "to do"), pairs, requests, labels, dollars.

    Pairs and dollars of what comes later are upper bounds: how many pairs Stage 2 asks about
    depends on models that are not trained yet. Judges cost what their token prices make of the
    longest possible answers, or, without token prices, the price per pair of the config; nothing is
    asked to find out.
    """
    sample = _sample(ws)
    steps = []
    for step in _steps(ws):
        if isinstance(step, Asking):
            steps.append(_priced(ws, step, sample))
        else:
            steps.append(step)
    total: Step = {"step": "left to do, at most", "state": "", "pairs": None}
    for column in ("requests", "labels", "judges $", "people $"):
        total[column] = sum(step[column] for step in steps if step["state"] == "to do")
    return [*steps, total]


def questions_left(ws: Workspace) -> Counter[tuple[str, str]]:
    """How many questions the plan has left to ask, at most, by task and name."""
    counts: Counter[tuple[str, str]] = Counter()
    for step in _steps(ws):
        if isinstance(step, Asking) and not step.done:
            for duty in step.duties:
                counts[duty.task, duty.judge.name] += step.pairs * duty.questions
    return counts


def _steps(ws: Workspace) -> Iterator[Step | Asking]:
    entered = _entered(ws)
    yield from _prepare(ws, entered)
    yield from _stage1(ws, entered["unverified"])
    if ws.config.stage2.table:
        yield from _stage2(ws, entered["wild"])


def _duties(ws: Workspace, stage: Stage, task: str) -> list[Duty]:
    return [Duty(task, judge) for judge in panels.members(ws, stage, task)]


def _prepare(ws: Workspace, entered: dict[str, int]) -> Iterator[Step | Asking]:
    for name, source in ws.config.sources.items():
        done = stage_names.imported(name).has(ws.store, "00000")
        records = open_named(source, spelling.of_entry(f"sources.{name}"))
        yield _step(f"import {name}", done, pairs=len(records))
    yield _step("clean", bool(ws.store.manifests("findings")), pairs=sum(entered.values()))
    if ws.config.tag:
        pairs = entered["unverified"] + entered["gold"]
        done = stage_names.TAG.finished(ws.store, pairs)
        duties = _duties(ws, stage_names.TAG, "tag")
        yield Asking("describe the unverified pool and gold", done, pairs, duties)


def _stage1(ws: Workspace, unverified: int) -> Iterator[Step | Asking]:
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
        duties = _duties(ws, stage_names.judges(i), "judge")
        yield Asking(f"iteration {i}: judges", done, picks - to_people, duties)


def _stage2(ws: Workspace, wild: int) -> Iterator[Step | Asking]:
    iteration = ws.config.stage1.iterations + 1
    done = stage_names.trained("gold", iteration).has(ws.store)
    yield _step("Stage 2: gold RM, best RM, rewards of the wild pool", done, pairs=wild)
    duties = _duties(ws, stage_names.judges_wild(iteration), "judge")
    if ws.config.tag:
        duties += _duties(ws, stage_names.tag_wild(iteration), "tag")
    done = stage_names.panel_wild(iteration).has(ws.store)
    yield Asking("Stage 2: judges, at most", done, wild, duties, "stage2")
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


def _priced(ws: Workspace, step: Asking, sample: Sequence[Item]) -> Step:
    per_pair = _dollars_per_pair(ws, step.duties, sample)
    if per_pair is None:
        per_pair = ws.config.prices[step.price]
    requests = step.pairs * sum(duty.questions for duty in step.duties)
    dollars = step.pairs * per_pair
    return _step(step.step, step.done, pairs=step.pairs, requests=requests, judges=dollars)


def _answers(ws: Workspace, pairs: int) -> int:
    """How many answers people are paid for: overlap and checks are on top of the pairs."""
    settings = ws.config.people
    return round(pairs * (1 + settings.overlap) * (1 + settings.checks))


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


def _sample(ws: Workspace) -> list[Item]:
    """Some pairs, to see what requests about them can cost."""
    rows = ws.store.query("select pair_id from pairs order by pair_id limit ?", [SAMPLE])
    return labeling.as_items(ws, rows.column("pair_id").to_pylist())


def _dollars_per_pair(
    ws: Workspace, duties: Sequence[Duty], sample: Sequence[Item]
) -> float | None:
    """What asking everyone about a pair can cost at most, on average over the sample.

    None without token prices, or without pairs to write out a request of.
    """
    if not duties:
        return 0.0
    if not any(duty.judge.price_input or duty.judge.price_output for duty in duties):
        return None
    dollars, seen = 0.0, False
    for duty in duties:
        bounds = []
        for item in sample:
            request = _first_request(ws, item, duty)
            # An answer that the ledger of calls has costs nothing any more.
            if isinstance(request, Request):
                bounds.append(request.most())
        if bounds:
            seen = True
            dollars += duty.questions * sum(bounds) / len(bounds)
    if not seen:
        return None
    return dollars


def _first_request(ws: Workspace, item: Item, duty: Duty) -> Request | Outcome:
    """The first request about a pair, or the outcome where it was made and answered."""
    judge = duty.judge
    # Which dialect the server takes is not known before it was asked; this is the longest.
    dialect = protocol.dialect_in(judge, ws.calls) or judge.dialect
    question = next(iter(protocol.questions(item, judge, duty.task)))
    return protocol.settle(question, dialect, ws.calls)
