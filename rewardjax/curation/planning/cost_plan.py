"""What a run would do from here: each step with its pairs, requests and dollars.

Dollars are the most that pairs like a sample can cost, and what is to be expected
(`expected_cost`). It walks through the same stages in the same order as `loop.run`, by the names
that they write.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from rewardjax.curation.intake.intake import first_pairs
from rewardjax.curation.judges import protocol
from rewardjax.curation.judges.client import Judge
from rewardjax.curation.judges.prompts import Example, Item
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.ledger.pools import labels
from rewardjax.curation.ledger.rows import ENTRIES
from rewardjax.curation.ledger.stage_names import Stage
from rewardjax.curation.planning import budget, expected_cost
from rewardjax.curation.planning.expected_cost import Asked
from rewardjax.curation.servers.requests import Request
from rewardjax.curation.stages import labeling, panels, rules
from rewardjax.curation.workspace import Workspace
from rewardjax.data import spelling
from rewardjax.data.sources import open_named

# Pairs whose requests are written out to see what they can cost.
SAMPLE = 20

AT_MOST, EXPECTED = "judges $ at most", "judges $ expected"

Step = dict[str, Any]


class Duty(NamedTuple):
    """A judge or tagger, what it is asked for, and the stage by which its answers are booked."""

    task: Literal["judge", "tag"]
    judge: Judge
    stage: str

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
    # How many of the pairs are likely; None: all of them.
    likely: Asked | None = None


def plan(ws: Workspace) -> list[Step]:
    """List the steps in order: step, state ("done", "to do"), pairs, requests, labels, dollars.

    Pairs and "judges $ at most" of what comes later are upper bounds: how many pairs Stage 2 asks
    about depends on models that are not trained yet. Judges cost what their token prices make of
    the longest possible answers, or, without token prices, the price per pair of the config;
    nothing is asked to find out. "judges $ expected" is what is likely still to be paid, and
    "expected from" says how that is known; of a step that is done it is what was paid.
    """
    sample = _sample(ws)
    steps = []
    for step in _steps(ws):
        if isinstance(step, Asking):
            steps.append(_priced(ws, step, sample))
        else:
            steps.append(step)
    total: Step = {"step": "left to do", "state": "", "pairs": None}
    for column in ("requests", "labels", AT_MOST, EXPECTED, "people $"):
        amounts = [step[column] for step in steps if step["state"] == "to do"]
        total[column] = round(sum(amount for amount in amounts if amount is not None), 4)
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


def _duties(ws: Workspace, stage: Stage, task: Literal["judge", "tag"]) -> list[Duty]:
    return [Duty(task, judge, stage.name) for judge in panels.members(ws, stage, task)]


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
    likely = expected_cost.asked_of_wild(ws, wild, stage_names.asked_wild(iteration))
    yield Asking("Stage 2: judges, at most", done, wild, duties, "stage2", likely)
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
    expected: float | None = 0.0,
    source: str = "",
    people: float = 0.0,
) -> Step:
    if expected is not None:
        expected = round(expected, 4)
    return {
        "step": step,
        "state": ("to do", "done")[done],
        "pairs": pairs,
        "requests": requests,
        "labels": labels,
        AT_MOST: round(judges, 4),
        EXPECTED: expected,
        "people $": round(people, 4),
        # The last one, as it is a sentence.
        "expected from": source,
    }


def _priced(ws: Workspace, step: Asking, sample: Sequence[Item]) -> Step:
    per_pair = _dollars_per_pair(ws, step.duties, sample)
    if per_pair is None:
        per_pair = ws.config.prices[step.price]
    requests = step.pairs * sum(duty.questions for duty in step.duties)
    expected, source = _expected(ws, step, sample)
    return _step(
        step.step,
        step.done,
        pairs=step.pairs,
        requests=requests,
        judges=step.pairs * per_pair,
        expected=expected,
        source=source,
    )


def _expected(ws: Workspace, step: Asking, sample: Sequence[Item]) -> tuple[float | None, str]:
    """What is likely still to be paid for a step, and how that is known; None: it is not."""
    if step.done:
        stages = {duty.stage for duty in step.duties}
        paid = [row["dollars"] for row in ws.calls.costs() if row["purpose"] in stages]
        return sum(paid), "paid"
    pairs, sources = step.pairs, []
    if step.likely is not None:
        pairs = step.likely.pairs
        sources.append(step.likely.source)
    if not _has_token_prices(step.duties):
        price = ws.config.prices[step.price]
        return pairs * price, "; ".join([*sources, f"prices.{step.price} per pair"])
    dollars = 0.0
    for duty in step.duties:
        requests = _first_requests(ws, duty, sample)
        cost = expected_cost.per_question(ws.calls, duty.judge, duty.task, requests)
        if cost is None:
            return None, "there are no pairs"
        settled = expected_cost.answered(ws.calls, duty.stage, duty.task, duty.judge.voter)
        dollars += max(0, pairs * duty.questions - settled) * cost.dollars
        sources.append(cost.source)
    return dollars, "; ".join(dict.fromkeys(sources))


def _has_token_prices(duties: Sequence[Duty]) -> bool:
    return any(duty.judge.price_input or duty.judge.price_output for duty in duties)


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
    """Some pairs, to see what requests about them can cost, with as many examples as will be."""
    rows = ws.store.query("select pair_id from pairs order by pair_id limit ?", [SAMPLE])
    items = labeling.as_items(ws, rows.column("pair_id").to_pylist())
    if not items:
        items = _first_of_sources(ws)
    shots = max((judge.shots or 0 for judge in ws.judges), default=0)
    # Without a single person's label no judge is shown any.
    if not ws.config.stage1.human_share and not _entered(ws)["gold"]:
        shots = 0
    # Examples are most of what is sent. Which pairs they will be nobody knows: others of the
    # sample are as long.
    examples = [
        Example(item.pair_id, item.prompt, item.responses, "a", item.attributes, item.tools)
        for item in items
    ]
    shown = []
    for place, item in enumerate(items):
        others = (examples[place + 1 :] + examples[:place])[:shots]
        shown.append(dataclasses.replace(item, examples=tuple(others)))
    return shown


def _first_of_sources(ws: Workspace) -> list[Item]:
    """Pairs of the sources, before anything is imported: a plan is made to decide whether to."""
    items = []
    for name, source in ws.config.sources.items():
        opened = open_named(source, spelling.of_entry(f"sources.{name}"))
        meaning = {field: source.get(field) for field in ("columns", "labels")}
        count = max(1, SAMPLE // len(ws.config.sources))
        for row in first_pairs(opened, count, entry=source.entry, name=name, **meaning):
            responses = json.loads(row["response_a"]), json.loads(row["response_b"])
            tools = json.loads(row.get("tools") or "null")
            items.append(Item(row["pair_id"], json.loads(row["prompt"]), responses, tools=tools))
    return items


def _dollars_per_pair(
    ws: Workspace, duties: Sequence[Duty], sample: Sequence[Item]
) -> float | None:
    """What asking everyone about a pair can cost at most, on average over the sample.

    None without token prices, or without pairs to write out a request of.
    """
    if not duties:
        return 0.0
    if not _has_token_prices(duties):
        return None
    dollars, seen = 0.0, False
    for duty in duties:
        bounds = [request.most() for request in _first_requests(ws, duty, sample)]
        if bounds:
            seen = True
            dollars += duty.questions * sum(bounds) / len(bounds)
    if not seen:
        return None
    return dollars


def _first_requests(ws: Workspace, duty: Duty, sample: Sequence[Item]) -> list[Request]:
    """The first request about each pair of the sample, but those that were made and answered."""
    judge = duty.judge
    # Which dialect the server takes is not known before it was asked; this is the longest.
    dialect = protocol.dialect_in(judge, ws.calls) or judge.dialect
    requests = []
    for item in sample:
        question = next(iter(protocol.questions(item, judge, duty.task)))
        request = protocol.settle(question, dialect, ws.calls)
        # An answer that the ledger of calls has costs nothing any more.
        if isinstance(request, Request):
            requests.append(request)
    return requests
