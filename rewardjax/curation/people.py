"""People as labelers: a queue of tasks, votes from their answers, and how well they do.

A task is one pair for one annotator, its two responses shown left and right in an order drawn for
the task. The answer names a side and becomes a vote for `a` or `b`, with the order that was shown.
Tasks are a function of what they are about and a seed: making the queue again gives the same tasks,
so that only answers have to be kept (`people_files`).
"""

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rewardjax import fingerprint
from rewardjax.curation.judges.attributes import FIELDS
from rewardjax.curation.ledger.rows import AttributesRow, Kind, Shown, Value, VoteRow, other
from rewardjax.curation.ledger.store import Store
from rewardjax.stats import agreement

SIDES = ("left", "right")
CHOICES = (*SIDES, "no_preference", "cannot_decide")
# Of the choices that are not a side.
VALUES: dict[str, Value] = {"no_preference": "tie", "cannot_decide": "undecided"}
CONTROVERSY = {"Low": 0, "Medium": 1, "High": 2}


@dataclasses.dataclass(frozen=True)
class Task:
    """One pair for one annotator."""

    id: str
    pair_id: str
    annotator: str
    # "ab": response a is on the left.
    shown: Shown
    # Whether its answer is known, and it is there to see how well the annotator does.
    check: bool


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back for a task."""

    task: str
    # One of CHOICES.
    choice: str
    # The annotator's own, where the annotator was asked.
    confidence: float | None = None
    seconds: float | None = None
    # Attributes as the annotator corrected them.
    edits: Mapping[str, str] | None = None


# ------------------------------------------------------------------ the queue


def priority(attributes: Mapping[str, AttributesRow]) -> Callable[[str], tuple[int, int]]:
    """Sort key of pair ids: objective pairs first, then the less controversial (paper 2.2).

    Pairs without attributes come last.
    """

    def key(pair_id: str) -> tuple[int, int]:
        row = attributes.get(pair_id)
        if row is None:
            return 2, 2
        is_subjective = row["objectivity"] != "Objective"
        return int(is_subjective), CONTROVERSY.get(row["controversiality"], 2)

    return key


def queue(
    store: Store,
    pair_ids: Sequence[str],
    annotators: Sequence[str],
    *,
    overlap: float = 0.1,
    checks: float = 0.05,
    gold: Sequence[str] = (),
    seed: int = 0,
) -> list[Task]:
    """Tasks, annotator by annotator, in the order in which each should do them.

    Args:
        store: has the attributes of the pairs.
        pair_ids: the pairs to label; ordered by `priority`, and as given where that is equal.
        annotators: their names. A pair goes to one of them.
        overlap: share of the pairs that go to two, for agreement.
        checks: for each annotator so many tasks more, as a share of the others, spread evenly.
        gold: pairs with a label that people gave already, from which checks are drawn.
        seed: of the draws.

    Raises:
        ValueError: without annotators, or for shares outside [0, 1].
    """
    distinct = bool(annotators) and len(set(annotators)) == len(annotators)
    if not distinct or not (0 <= overlap <= 1 and 0 <= checks <= 1):
        raise ValueError(
            f"annotators = {list(annotators)}, overlap = {overlap}, checks = {checks}: "
            "distinct names, and shares in [0, 1]"
        )
    ordered = sorted(dict.fromkeys(pair_ids), key=priority(_attributes(store)))
    work: dict[str, list[str]] = {name: [] for name in annotators}
    for pair_id in ordered:
        # Each decision from a draw of its own, so that adding pairs moves no other pair.
        first = int(_draw(seed, "annotator", pair_id) * len(annotators))
        work[annotators[first]].append(pair_id)
        if len(annotators) > 1 and _draw(seed, "overlap", pair_id) < overlap:
            # The next one: another person for certain.
            work[annotators[(first + 1) % len(annotators)]].append(pair_id)
    candidates = set(gold) - set(ordered)
    tasks = []
    for name, own in work.items():
        drawn = sorted(candidates, key=lambda pair_id: _draw(seed, "check", name, pair_id))
        own_checks = drawn[: round(checks * len(own))]
        for pair_id, is_check in _with_checks(own, own_checks):
            shown: Shown = "ab"
            if _draw(seed, "side", name, pair_id) >= 0.5:
                shown = "ba"
            id = fingerprint.of_json([pair_id, name, seed])
            tasks.append(Task(id, pair_id, name, shown, is_check))
    return tasks


def _with_checks(pair_ids: list[str], checks: list[str]) -> list[tuple[str, bool]]:
    """The pairs of an annotator with checks among them: (pair_id, whether it is a check)."""
    items = [(pair_id, False) for pair_id in pair_ids]
    places = [round((i + 0.5) * len(items) / len(checks)) for i in range(len(checks))]
    # The last first, so that an insertion does not shift the places that follow.
    for place, pair_id in reversed(list(zip(places, checks, strict=True))):
        items.insert(place, (pair_id, True))
    return items


def _attributes(store: Store) -> dict[str, AttributesRow]:
    return {row["pair_id"]: row for row in store.current_attributes().to_pylist()}


def _draw(*parts: Any) -> float:
    """A number in [0, 1) that depends on `parts` alone."""
    digest = fingerprint.eight_bytes(json.dumps(parts).encode())
    return int.from_bytes(digest, "big") / 2**64


# ------------------------------------------------------------------ answers -> rows


def votes(tasks: Iterable[Task], answers: Iterable[Answer]) -> tuple[list[VoteRow], list[str]]:
    """Rows of the ledger `votes`, and a sentence for each answer that cannot be one.

    Refused are answers to an unknown task, second answers, a choice that is not one of CHOICES and
    a confidence that is not a probability.
    """
    task_of = {task.id: task for task in tasks}
    rows: list[VoteRow] = []
    refused: list[str] = []
    answered: set[str] = set()
    for answer in answers:
        reason = _refusal(answer, task_of, answered)
        if reason is not None:
            refused.append(f"task {answer.task}: {reason}")
            continue
        answered.add(answer.task)
        rows.append(_vote(task_of[answer.task], answer))
    return rows, refused


def _refusal(answer: Answer, task_of: Mapping[str, Task], answered: set[str]) -> str | None:
    """Why an answer cannot be a vote."""
    if answer.task not in task_of:
        return "not in the queue"
    if answer.task in answered:
        return "answered a second time"
    if answer.choice not in CHOICES:
        return f"choice = {answer.choice!r}, not one of {', '.join(CHOICES)}"
    if answer.confidence is not None and not 0 <= answer.confidence <= 1:
        return f"confidence = {answer.confidence}, not a probability"
    return None


def _vote(task: Task, answer: Answer) -> VoteRow:
    # A check has a kind of its own: it measures the person, and no query for people's votes sees
    # it.
    kind: Kind = "human"
    if task.check:
        kind = "check"
    evidence: dict[str, Any] = {"task": task.id, "check": task.check}
    if answer.seconds is not None:
        evidence["seconds"] = answer.seconds
    return VoteRow(
        pair_id=task.pair_id,
        voter=f"human:{task.annotator}",
        kind=kind,
        value=_value(task, answer.choice),
        sample=0,
        confidence=answer.confidence,
        shown=task.shown,
        evidence=json.dumps(evidence, sort_keys=True),
    )


def _value(task: Task, choice: str) -> Value:
    """What a choice says about the responses, wherever they were shown."""
    if choice in VALUES:
        return VALUES[choice]
    side: Any = task.shown[SIDES.index(choice)]
    return side


def edited_attributes(
    store: Store, tasks: Iterable[Task], answers: Iterable[Answer]
) -> list[AttributesRow]:
    """Rows of the ledger `attributes`: the current ones with the edits of those who made any.

    (Paper 2.2: people correct the attributes too.)

    Raises:
        ValueError: for a field that is not an attribute.
    """
    task_of = {task.id: task for task in tasks}
    current = _attributes(store)
    rows: dict[tuple[str, str], AttributesRow] = {}
    for answer in answers:
        if not answer.edits or answer.task not in task_of:
            continue
        task = task_of[answer.task]
        unknown = set(answer.edits) - set(FIELDS)
        if unknown:
            raise ValueError(
                f"task {answer.task}: {min(unknown)!r} is not an attribute; "
                f"there are {', '.join(FIELDS)}"
            )
        values: dict[str, Any] = dict.fromkeys(FIELDS, "")
        if task.pair_id in current:
            values = {name: current[task.pair_id][name] for name in FIELDS}
        row = AttributesRow(
            pair_id=task.pair_id,
            voter=f"human:{task.annotator}",
            kind="human",
            **(values | dict(answer.edits)),
            evidence=json.dumps({"task": task.id}),
        )
        # A second edit of the same pair by the same person replaces the first.
        rows[task.pair_id, task.annotator] = row
    return list(rows.values())


# ------------------------------------------------------------------ simulation, quality


def simulate(
    tasks: Iterable[Task],
    truth: Callable[[str], str],
    *,
    accuracy: float,
    p_undecided: float = 0.0,
    seed: int = 0,
) -> list[Answer]:
    """Answers of people of a known accuracy; the same task always gets the same answer.

    Args:
        tasks: to answer.
        truth: pair_id -> "a", "b" or "tie".
        accuracy: probability of a right answer. A wrong one is the other side (of a tie: a side).
        p_undecided: probability of "cannot_decide".
        seed: of the draws.
    """
    answers = []
    for task in tasks:
        better = truth(task.pair_id)
        is_right = _draw(seed, "right", task.annotator, task.pair_id) < accuracy
        if _draw(seed, "undecided", task.annotator, task.pair_id) < p_undecided:
            choice = "cannot_decide"
        elif better == "tie" and is_right:
            choice = "no_preference"
        elif better == "tie":
            choice = "left"
        else:
            picked = better
            if not is_right:
                picked = other(better)
            choice = SIDES[task.shown.index(picked)]
        answers.append(Answer(task.id, choice))
    return answers


def quality(store: Store) -> dict[str, list[dict[str, Any]]]:
    """How well people do, as tables by heading.

    "People": for each annotator the answers, the checks among them whose pair other votes know, and
    the share of these that say what most people said about the pair. "People who answered the same
    pair": `agreement.compare` of the first two, empty where nobody did.
    """
    rows: list[VoteRow] = store.query(
        "select * from votes where kind in ('human', 'check') order by iteration, stage, unit"
    ).to_pylist()
    # pair_id -> voter -> value; of several votes by one person the last counts.
    opinions: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        if row["kind"] == "human":
            opinions[row["pair_id"]][row["voter"]] = row["value"]
    answers: Counter[str] = Counter(row["voter"] for row in rows)
    matches: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "check" and row["pair_id"] in opinions:
            counts = Counter(opinions[row["pair_id"]].values())
            # Where opinions are split evenly, each of them will do.
            matches[row["voter"]].append(counts[row["value"]] == max(counts.values()))
    people = []
    for voter in sorted(answers):
        checks = matches[voter]
        right = None
        if checks:
            right = sum(checks) / len(checks)
        people.append(
            {
                "annotator": voter.removeprefix("human:"),
                "answers": answers[voter],
                "checks": len(checks),
                "right": right,
            }
        )
    first, second = [], []
    for _, by_voter in sorted(opinions.items()):
        if len(by_voter) > 1:
            # The first two by name; a third opinion is rare.
            voter, another = sorted(by_voter)[:2]
            first.append(by_voter[voter])
            second.append(by_voter[another])
    both = []
    if first:
        both.append(agreement.compare(first, second))
    return {"People": people, "People who answered the same pair": both}
