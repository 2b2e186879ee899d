"""LLM judges and taggers: several models at once, half of the samples in each order, every answer checked, everything in the ledger.

    report = judges.ask(items, [Judge(...), ...], ledger)                  pays for what the ledger lacks
    rows = judges.votes(items, [Judge(...), ...], ledger)                  rows for the store's votes; never pays
    rows = judges.tags(items, [Judge(...), ...], ledger)                   rows for the store's attributes

Between "what to ask next" and "what was said" lies one pure function, `settle`, which reads the ledger: so a run that was killed, a run
that is repeated and a batch file read back (batch.py) all come to the same votes.
"""

import asyncio
import concurrent.futures
import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import pydantic
from tqdm import tqdm

from rewardjax import fingerprint
from rewardjax.curation.judges import aggregate, prompts
from rewardjax.curation.judges import attributes as attributes_lib
from rewardjax.curation.judges.attributes import Attributes
from rewardjax.curation.judges.client import Endpoint, Judge, JudgeDown, Purse, body, known_as
from rewardjax.curation.judges.paid_calls import Answer, BudgetExceeded, CallLedger, Request
from rewardjax.curation.judges.prompts import Item, Verdict

T = TypeVar("T")


def _json_schema(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    """What a server is sent: without our docstring, which would change the request whenever it is edited."""
    return {key: value for key, value in model.model_json_schema().items() if key != "description"}


# task -> (what an answer is, its JSON schema, how the prompt asks for it)
TASKS = {
    "judge": (Verdict, _json_schema(Verdict), prompts.JUDGE_ANSWER),
    "tag": (Attributes, _json_schema(Attributes), prompts.TAG_ANSWER),
}


# ---------------------------------------------------------------------------------------------------------------- one question


@dataclasses.dataclass(frozen=True)
class Question:
    """One sample asked of one judge."""

    judge: Judge
    item: Item
    task: str  # judge | tag
    sample: int
    shown: str  # ab | ba
    purpose: str = ""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a question came to: a Verdict or Attributes, or None with the reason why there is none. `calls`: keys of the requests behind."""

    value: Verdict | Attributes | None
    problem: str
    calls: tuple[str, ...]


def questions(
    item: Item, judge: Judge, task: str = "judge", purpose: str = ""
) -> Iterator[Question]:
    """What to ask a judge about a pair: `judge.samples` judgments, half of them in each order (an odd one in an order that depends on the
    pair); one question where attributes are wanted, in canonical order, since they are about both responses alike."""
    if task == "tag":
        yield Question(judge, item, task, 0, "ab", purpose)
        return
    first = int(fingerprint.of_json(item.pair_id), 16) % 2
    for sample in range(judge.samples):
        yield Question(judge, item, task, sample, ("ab", "ba")[(sample + first) % 2], purpose)


def settle(question: Question, format: str, ledger: CallLedger) -> Outcome | Request:
    """The next request that this question needs, or its outcome if the ledger has the answers.

    An answer that cannot be read is answered in turn by what is wrong with it; if that fails too, the question is asked afresh, and so on
    until `judge.asks` requests are spent."""
    schema, json_schema, instruction = TASKS[question.task]
    messages = (
        prompts.judge_messages(question.item, question.shown)
        if question.task == "judge"
        else prompts.tag_messages(question.item)
    )
    judge, problem, calls, answered = question.judge, "", [], []
    for attempt in range(judge.asks):
        request = Request(
            voter=judge.voter,
            body=body(judge, messages + answered, json_schema, format, question.sample, attempt),
            revision=judge.revision,
            price=judge.price,
            sample=question.sample,
            attempt=attempt,
            shown=question.shown,
            subject=question.item.pair_id,
            purpose=question.purpose,
        )
        answer = ledger.lookup(request.key)
        if answer is None:
            return request
        calls.append(request.key)
        if answer.status == "rejected":
            return Outcome(None, f"rejected: {answer.text}", tuple(calls))
        try:
            return Outcome(read(answer, schema), "", tuple(calls))
        except Unreadable as error:
            problem = str(error)
        again = prompts.ASK_AGAIN.format(problem=problem, answer=instruction)
        answered = (
            []
            if answered
            else [
                {"role": "assistant", "content": answer.text or "(empty)"},
                {"role": "user", "content": again},
            ]
        )
    return Outcome(None, f"unreadable: {problem}", tuple(calls))


# ---------------------------------------------------------------------------------------------------------------- reading an answer


class Unreadable(Exception):
    """An answer that is none: cut off, no JSON object of the schema, or two that disagree."""


def read(answer: Answer, schema: type[pydantic.BaseModel]) -> Any:
    """The one object of `schema` in an answer, bare or inside other text; what stands before `</think>` is not part of it.

    Raises Unreadable, whose text tells a model what to mend."""
    if answer.finish == "length":
        raise Unreadable("it was cut off at the maximum length")
    text = answer.text.rpartition("</think>")[2]
    found, problem = [], "there is no JSON object in it"
    for candidate in _objects(text):
        try:
            found.append(schema.model_validate(candidate))
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False)[0]
            problem = f"{'.'.join(map(str, first['loc'])) or 'the object'}: {first['msg']}"
    if not found:
        raise Unreadable(problem)
    decided = {getattr(one, "preferred", None) or one for one in found}
    if len(decided) > 1:
        raise Unreadable("it holds several answers that differ")
    return found[0]


def _objects(text: str) -> Iterator[dict]:
    """Every outermost JSON object in `text`."""
    decoder, at = json.JSONDecoder(), 0
    while (at := text.find("{", at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError):
            at += 1
            continue
        yield value


# ---------------------------------------------------------------------------------------------------------------- asking


def ask(
    items: Sequence[Item],
    judges: Sequence[Judge],
    ledger: CallLedger,
    *,
    task: str = "judge",
    purpose: str = "",
) -> dict[str, Any]:
    """Put every question about `items` to every judge, paying only for what `ledger` lacks; all judges work at the same time.

    Returns "questions", "settled", "unreadable" (settled without a value), "stopped" (server -> why it took no more; the others went on),
    "out_of_budget" (a sentence, or None) and "dollars" booked in all. Call it again to go on where it stopped. Raises ValueError for a
    pair or a judge's name given twice."""
    _refuse_repeats("pair", [item.pair_id for item in items])
    _refuse_repeats("judge", [judge.name for judge in judges])
    return _run(_ask(items, judges, ledger, task, purpose))


async def _ask(
    items: Sequence[Item], judges: Sequence[Judge], ledger: CallLedger, task: str, purpose: str
) -> dict[str, Any]:
    purse, counts = Purse(ledger), Counter()
    report: dict[str, Any] = {
        "questions": 0,
        "settled": 0,
        "unreadable": 0,
        "stopped": {},
        "out_of_budget": None,
    }
    report["questions"] = len(items) * sum(
        judge.samples if task == "judge" else 1 for judge in judges
    )
    with tqdm(total=report["questions"], unit="question", disable=not sys.stderr.isatty()) as bar:

        async def unless_stopped(endpoint: Endpoint, working: Awaitable[T]) -> T | None:
            try:
                return await working
            except JudgeDown as error:
                report["stopped"].setdefault(endpoint.url, str(error))
            except BudgetExceeded as error:
                report["out_of_budget"] = report["out_of_budget"] or str(error)

        async def work(endpoint: Endpoint, waiting: Iterator[Question], format: str) -> None:
            for question in waiting:  # shared by the judge's workers: each takes the next one
                step = settle(question, format, ledger)
                while isinstance(step, Request) and ledger.out(step.key) is None:
                    if report["out_of_budget"] or endpoint.url in report["stopped"]:
                        break  # pay no more; what is in flight is paid for and is waited for
                    if await unless_stopped(endpoint, endpoint.call(step, purse)) is None:
                        break
                    step = settle(question, format, ledger)
                if isinstance(step, Outcome):
                    counts["unreadable" if step.value is None else "readable"] += 1
                bar.update()
                bar.set_postfix_str(f"{ledger.spent():.4f} dollars", refresh=False)
                await asyncio.sleep(
                    0
                )  # answers from the ledger come without a pause in which others could work

        async def serve(judge: Judge) -> None:
            endpoints = [Endpoint(judge, url, ledger) for url in judge.urls]
            waiting = (
                question for item in items for question in questions(item, judge, task, purpose)
            )
            try:
                if format := await unless_stopped(endpoints[0], endpoints[0].answer_format(purse)):
                    await asyncio.gather(
                        *(
                            work(one, waiting, format)
                            for one in endpoints
                            for _ in range(judge.max_in_flight)
                        )
                    )
            finally:
                await asyncio.gather(*(endpoint.close() for endpoint in endpoints))

        await asyncio.gather(*map(serve, judges))
    report |= {
        "settled": counts.total(),
        "unreadable": counts["unreadable"],
        "dollars": ledger.spent(),
    }
    return report


def _run(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, also inside a notebook, whose own loop is running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def _refuse_repeats(what: str, names: Sequence[str]) -> None:
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"judges: {what} {repeated[0]} is given twice")


# ---------------------------------------------------------------------------------------------------------------- what was said


def outcomes(
    items: Iterable[Item],
    judges: Sequence[Judge],
    ledger: CallLedger,
    *,
    task: str = "judge",
    purpose: str = "",
) -> Iterator[tuple[Question, Outcome]]:
    """Every settled question with its outcome, from the ledger alone."""
    formats = {judge.name: format_in(judge, ledger) for judge in judges}
    for item in items:
        for judge in judges:
            if (format := formats[judge.name]) is None:
                continue
            for question in questions(item, judge, task, purpose):
                if isinstance(found := settle(question, format, ledger), Outcome):
                    yield question, found


def votes(
    items: Iterable[Item], judges: Sequence[Judge], ledger: CallLedger
) -> Iterator[dict[str, Any]]:
    """Rows for the store's `votes`: one a judgment that could be read. `value` speaks of the canonical responses; `shown` is the order."""
    for question, found in outcomes(items, judges, ledger):
        if not isinstance(found.value, Verdict):
            continue
        evidence = {
            "call": found.calls[-1],
            "asked": len(found.calls),
            "model": question.judge.model,
            "prompt": prompts.JUDGE_VERSION,
            "examples": [example.pair_id for example in question.item.examples],
            "rationale": found.value.rationale,
        }
        yield {
            "pair_id": question.item.pair_id,
            "voter": question.judge.voter,
            "kind": "judge",
            "value": prompts.said(found.value.preferred, question.shown),
            "sample": question.sample,
            "confidence": None,
            "shown": question.shown,
            "evidence": json.dumps(evidence, sort_keys=True),
        }


def panel(
    rows: Iterable[dict[str, Any]], method: str = "consistency", **options: Any
) -> Iterator[dict[str, Any]]:
    """Rows for the store's `votes` that merge the judges' (those of `votes`): voter "panel", one a pair, by `aggregate.METHODS[method]`."""
    for pair_id, merged in aggregate.METHODS[method](rows, **options).items():
        evidence = {"method": method, **options, "judges": merged.by_voter}
        yield {
            "pair_id": pair_id,
            "voter": "panel",
            "kind": "panel",
            "value": merged.value,
            "sample": 0,
            "confidence": merged.confidence,
            "shown": None,
            "evidence": json.dumps(evidence, sort_keys=True),
        }


def tags(
    items: Iterable[Item], judges: Sequence[Judge], ledger: CallLedger
) -> Iterator[dict[str, Any]]:
    """Rows for the store's `attributes`: one a readable answer, and where several judges tagged a pair, one by "panel" that merges them."""
    by_pair: dict[str, list[tuple[str, Attributes, str]]] = {}
    for question, found in outcomes(items, judges, ledger, task="tag"):
        if isinstance(found.value, Attributes):
            by_pair.setdefault(question.item.pair_id, []).append(
                (question.judge.voter, found.value, found.calls[-1])
            )
    for pair_id, given in by_pair.items():
        if len(given) > 1:
            merged = attributes_lib.merge([value for _, value, _ in given])
            given = [*given, ("panel", merged, "")]
        for voter, value, call in given:
            evidence = {"prompt": prompts.TAG_VERSION} | (
                {"call": call} if call else {"voters": [voter for voter, *_ in given[:-1]]}
            )
            row = {
                "pair_id": pair_id,
                "voter": voter,
                "kind": "judge",
                "evidence": json.dumps(evidence, sort_keys=True),
            }
            yield row | value.model_dump()


def format_in(judge: Judge, ledger: CallLedger) -> str | None:
    """How the judge is asked for JSON; None where that is to be found out and was not yet."""
    return (
        ledger.format_of(known_as(judge)) if judge.answer_format == "auto" else judge.answer_format
    )
