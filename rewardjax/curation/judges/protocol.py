"""What LLM judges and taggers are asked about a pair, and what their answers come to.

report = asking.ask(items, [Judge(...), ...], ledger)      pays for what the ledger lacks rows =
protocol.votes(items, [Judge(...), ...], ledger)    rows for the store's votes; never pays rows =
protocol.tags(items, [Judge(...), ...], ledger)     rows for the store's attributes

Between "what to ask next" and "what was answered" lies one pure function, `settle`, which reads the
ledger: so a run that was killed, a run that is repeated and a batch file read back (batch_files.py)
all come to the same votes.
"""

import dataclasses
import functools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from rewardjax import fingerprint
from rewardjax.curation.judges import aggregate, prompts
from rewardjax.curation.judges import attributes as attributes_lib
from rewardjax.curation.judges.answers import Unreadable, read
from rewardjax.curation.judges.attributes import Attributes
from rewardjax.curation.judges.client import Judge, body
from rewardjax.curation.judges.prompts import Item, Verdict
from rewardjax.curation.judges.requests import fitting
from rewardjax.curation.judges.requests.completion import REFUSALS
from rewardjax.curation.judges.requests.dialect import Dialect
from rewardjax.curation.ledger.rows import AttributesRow, Shown, VoteRow
from rewardjax.curation.servers.paid_calls import CallLedger, Ending
from rewardjax.curation.servers.requests import Request
from rewardjax.data.groups import Message


@dataclasses.dataclass(frozen=True)
class Task:
    """What an answer is, and how the prompt asks for it."""

    answer: type[Verdict] | type[Attributes]
    instruction: str

    @functools.cached_property
    def schema(self) -> dict[str, Any]:
        """The JSON schema that a server is sent."""
        schema = self.answer.model_json_schema()
        # Our docstring is no part of the question: editing it must not ask everything again.
        schema.pop("description", None)
        return schema


TASKS = {
    "judge": Task(Verdict, prompts.JUDGE_ANSWER),
    "tag": Task(Attributes, prompts.TAG_ANSWER),
}


# ------------------------------------------------------------------ one question


@dataclasses.dataclass(frozen=True)
class Question:
    """One sample asked of one judge."""

    judge: Judge
    item: Item
    task: str  # judge | tag
    sample: int
    shown: Shown
    purpose: str = ""

    def messages(self) -> list[Message]:
        """What the judge is sent first."""
        if self.task == "tag":
            return prompts.tag_messages(self.item)
        return prompts.judge_messages(self.item, self.shown, self.judge.prompt_text)

    def with_examples(self, count: int) -> "Question":
        """The same question with the first of its gold examples alone."""
        item = dataclasses.replace(self.item, examples=self.item.examples[:count])
        return dataclasses.replace(self, item=item)

    @property
    def characters(self) -> int:
        """Of all that the judge is sent first."""
        return sum(len(message["content"]) for message in self.messages())


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a question came to.

    state: how it ended. value: a Verdict or Attributes where it was answered, or None with the
    reason in `problem`. calls: keys of the requests behind it, the last one being that of the
    answer. examples: pair_ids of the gold pairs that were shown. mercies: liberties that reading
    the answer took.
    """

    state: Literal["answered", "unreadable", "refused", "open"]
    value: Verdict | Attributes | None
    problem: str
    calls: tuple[str, ...]
    examples: tuple[str, ...] = ()
    mercies: tuple[str, ...] = ()


def questions(
    item: Item, judge: Judge, task: str = "judge", purpose: str = ""
) -> Iterator[Question]:
    """What to ask a judge about a pair.

    `judge.samples` judgments, half of them in each order, an odd one in an order that depends on
    the pair; one question where attributes are wanted.
    """
    # Attributes are about both responses alike, so one order serves.
    if task == "tag":
        yield Question(judge, item, task, 0, "ab", purpose)
        return
    if judge.shots is not None:
        item = dataclasses.replace(item, examples=item.examples[: judge.shots])
    # A hash and not a counter: a pair is shown in the same order in whichever batch it is asked
    # about.
    first = int(fingerprint.of_json(item.pair_id), 16) % 2
    orders: tuple[Shown, Shown] = ("ab", "ba")
    for sample in range(judge.samples):
        yield Question(judge, item, task, sample, orders[(sample + first) % 2], purpose)


def question_count(judge: Judge, task: str) -> int:
    """How many questions `questions` has per pair."""
    if task == "tag":
        return 1
    return judge.samples


def settle(question: Question, dialect: Dialect, ledger: CallLedger) -> Outcome | Request:
    """The next request that this question needs, or its outcome if the ledger has the answers.

    An answer that cannot be read is answered in turn by what is wrong with it; if that fails too,
    the question is asked afresh, and so on until `judge.asks` requests are spent. One that is too
    long for the server is asked with fewer gold examples (`fitting`), down to none.
    """
    calls: tuple[str, ...] = ()
    while True:
        step = _settle_as_it_is(question, dialect, ledger)
        if isinstance(step, Request):
            return step
        calls += step.calls
        examples = question.item.examples
        if step.state == "refused" and examples and fitting.is_too_long(step.problem):
            characters = [question.with_examples(k).characters for k in range(len(examples) + 1)]
            question = question.with_examples(fitting.fewer_examples(step.problem, characters))
            continue
        shown = tuple(example.pair_id for example in examples)
        return dataclasses.replace(step, calls=calls, examples=shown)


def _settle_as_it_is(question: Question, dialect: Dialect, ledger: CallLedger) -> Outcome | Request:
    """`settle` with all of the question's examples."""
    task, judge, problem = TASKS[question.task], question.judge, ""
    opening = question.messages()
    calls: list[str] = []
    follow_up: list[Message] = []
    for attempt in range(judge.asks):
        messages = opening + follow_up
        request = Request(
            voter=judge.voter,
            body=body(judge, messages, task.schema, dialect, question.sample, attempt),
            revision=judge.revision,
            price=judge.price,
            sample=question.sample,
            attempt=attempt,
            shown=question.shown,
            subject=question.item.pair_id,
            purpose=question.purpose,
        )
        answer = ledger.lookup(request)
        if answer is None:
            return request
        calls.append(answer.key)
        if answer.status == "rejected":
            return Outcome("refused", None, f"rejected: {answer.text}", tuple(calls))
        if answer.finish in REFUSALS:
            return Outcome("refused", None, f"refused: {answer.finish}", tuple(calls))
        try:
            reading = read(answer, task.answer)
        except Unreadable as error:
            problem = str(error)
        else:
            mercies = reading.mercies
            return Outcome("answered", reading.value, "", tuple(calls), mercies=mercies)
        # Asked again within the same limit it would be cut off again, and paid again.
        if answer.finish == "length":
            problem += f" (max_tokens = {judge.max_tokens})"
            break
        # At most one bad answer is shown: a model that sees several of its own tends to go on like
        # that.
        if follow_up:
            follow_up = []
        else:
            ask_again = prompts.ASK_AGAIN.format(problem=problem, answer=task.instruction)
            follow_up = [
                {"role": "assistant", "content": answer.text or "(empty)"},
                {"role": "user", "content": ask_again},
            ]
    return Outcome("unreadable", None, problem, tuple(calls))


def dialect_in(judge: Judge, ledger: CallLedger) -> Dialect | None:
    """How the judge is asked; None where that is to be found out and was not yet."""
    if judge.answer_format != "auto":
        return judge.dialect
    remembered = ledger.dialect_of(judge.cache_name)
    if remembered is None:
        return None
    return Dialect.read(remembered)


# ------------------------------------------------------------------ what was answered


def outcomes(
    items: Iterable[Item],
    judges: Sequence[Judge],
    ledger: CallLedger,
    *,
    task: str = "judge",
    purpose: str = "",
) -> Iterator[tuple[Question, Outcome]]:
    """Every question with its outcome, from the ledger alone, which keeps how each one ended."""
    dialects = {judge.name: dialect_in(judge, ledger) for judge in judges}
    for item in items:
        for judge in judges:
            dialect = dialects[judge.name]
            # A judge that was never asked a first question was never asked anything.
            if dialect is None:
                continue
            for question in questions(item, judge, task, purpose):
                outcome = settle(question, dialect, ledger)
                if isinstance(outcome, Request):
                    outcome = Outcome("open", None, ledger.last_failure(outcome.key), ())
                _note(question, outcome, ledger)
                yield question, outcome


def _note(question: Question, outcome: Outcome, ledger: CallLedger) -> None:
    ledger.note_ending(
        purpose=question.purpose,
        voter=question.judge.voter,
        task=question.task,
        subject=question.item.pair_id,
        sample=question.sample,
        ending=Ending(outcome.state, outcome.problem, outcome.mercies),
    )


def votes(
    items: Iterable[Item], judges: Sequence[Judge], ledger: CallLedger, purpose: str = ""
) -> Iterator[VoteRow]:
    """Rows for the store's `votes`, one per judgment that could be read.

    `value` speaks of the canonical responses; `shown` is the order. The evidence names the prompt
    with its hash, the gold pairs that were shown, and a hash of all settings that an answer depends
    on.
    """
    settings = {judge.name: settings_fingerprint(judge) for judge in judges}
    versions = {judge.name: prompts.judge_version(judge.prompt_text) for judge in judges}
    for question, outcome in outcomes(items, judges, ledger, purpose=purpose):
        verdict, judge = outcome.value, question.judge
        if not isinstance(verdict, Verdict):
            continue
        evidence = {
            "call": outcome.calls[-1],
            "asked": len(outcome.calls),
            "model": judge.model,
            "prompt": versions[judge.name],
            "prompt_name": judge.prompt,
            "settings": settings[judge.name],
            "examples": list(outcome.examples),
            "rationale": verdict.rationale,
        }
        if outcome.mercies:
            evidence["mercies"] = list(outcome.mercies)
        yield VoteRow(
            pair_id=question.item.pair_id,
            voter=judge.voter,
            kind="judge",
            value=prompts.canonical_value(verdict.preferred, question.shown),
            sample=question.sample,
            confidence=None,
            shown=question.shown,
            evidence=json.dumps(evidence, sort_keys=True),
        )


def settings_fingerprint(judge: Judge) -> str:
    """The hash of all that a judge's answers depend on: model, prompt, and how it is asked."""
    names = ("model", "revision", "shots", "samples", "asks", "seed", "extra")
    sampling = ("temperature", "top_p", "max_tokens")
    settings = {name: getattr(judge, name) for name in (*names, *sampling)}
    return fingerprint.of_json(settings | {"prompt": prompts.judge_version(judge.prompt_text)})


def panel(
    rows: Iterable[VoteRow], method: str = "consistency", **options: Any
) -> Iterator[VoteRow]:
    """Rows for the store's `votes` that merge the judges' (those of `votes`), one per pair.

    Voter "panel". method and options: one of `aggregate.METHODS` and its keyword arguments; an
    option that is None or empty means the method's default.
    """
    votes = list(rows)
    for merged in panel_in_parts(lambda: [votes], method, **options):
        yield from merged


def panel_in_parts(
    parts: aggregate.Parts, method: str = "consistency", **options: Any
) -> Iterator[list[VoteRow]]:
    """`panel` part by part: for more votes than memory holds."""
    options = {name: value for name, value in options.items() if value not in (None, {})}
    settings = fingerprint.of_json({"method": method, **options})
    for merged in aggregate.merge(parts, method, **options):
        rows = []
        for pair_id, outcome in merged.items():
            evidence = {"method": method, **options, "settings": settings}
            evidence["judges"] = outcome.by_voter
            rows.append(
                VoteRow(
                    pair_id=pair_id,
                    voter="panel",
                    kind="panel",
                    value=outcome.value,
                    sample=0,
                    confidence=outcome.confidence,
                    shown=None,
                    evidence=json.dumps(evidence, sort_keys=True),
                )
            )
        yield rows


class _Tag(NamedTuple):
    """One tagger's attributes of a pair, and the key of the request behind them."""

    voter: str
    attributes: Attributes
    call: str


def tags(
    items: Iterable[Item], judges: Sequence[Judge], ledger: CallLedger, purpose: str = ""
) -> Iterator[AttributesRow]:
    """Rows for the store's `attributes`: one per readable answer.

    Where several judges tagged a pair, one more by "panel" merges them.
    """
    by_pair: dict[str, list[_Tag]] = {}
    for question, outcome in outcomes(items, judges, ledger, task="tag", purpose=purpose):
        if isinstance(outcome.value, Attributes):
            answer = _Tag(question.judge.voter, outcome.value, outcome.calls[-1])
            by_pair.setdefault(question.item.pair_id, []).append(answer)
    for pair_id, answers in by_pair.items():
        for answer in answers:
            yield _tag_row(pair_id, answer.voter, answer.attributes, {"call": answer.call})
        if len(answers) > 1:
            merged = attributes_lib.merge([answer.attributes for answer in answers])
            voters = [answer.voter for answer in answers]
            yield _tag_row(pair_id, "panel", merged, {"voters": voters})


def _tag_row(
    pair_id: str, voter: str, attributes: Attributes, evidence: dict[str, Any]
) -> AttributesRow:
    evidence = {"prompt": prompts.TAG_VERSION, **evidence}
    return AttributesRow(
        pair_id=pair_id,
        voter=voter,
        kind="judge",
        evidence=json.dumps(evidence, sort_keys=True),
        **attributes.model_dump(),
    )
