"""People as labelers: a queue of tasks, votes from their answers, and how well they do.

A task is one pair for one annotator, its two responses shown left and right in an order drawn for
the task. The answer names a side and becomes a vote for `a` or `b`, with the order that was shown.
Tasks are a function of what they are about and a seed: making the queue again gives the same tasks,
so that an answer names the task that it is about (`annotation`). How well people do is measured in
`people_quality`.
"""

import dataclasses
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rewardjax import fingerprint
from rewardjax.curation.ledger.rows import AttributesRow, Kind, Shown, Value, VoteRow, other
from rewardjax.curation.ledger.store import Store

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
    # Who gave it; None: whom the task was given to.
    annotator: str | None = None


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
    most: int | None = None,
) -> list[Task]:
    """Tasks, annotator by annotator, in the order in which each should do them.

    Args:
        store: has the attributes of the pairs.
        pair_ids: the pairs to label; ordered by `priority`, and as given where that is equal.
        annotators: their names. A pair goes to one of them.
        overlap: share of the pairs that go to two, for agreement.
        checks: for each annotator so many tasks more, as a share of the others, spread evenly.
        gold: pairs with a label that people gave already, from which checks are drawn; an annotator
            is never asked again about a pair that they answered themselves.
        seed: of the draws.
        most: of tasks, over all annotators: pairs are then taken by priority until that many tasks
            are dealt. None: no limit.

    Raises:
        ValueError: without annotators, or for shares outside [0, 1].
    """
    distinct = bool(annotators) and len(set(annotators)) == len(annotators)
    if not distinct or not (0 <= overlap <= 1 and 0 <= checks <= 1):
        raise ValueError(
            f"annotators = {list(annotators)}, overlap = {overlap}, checks = {checks}: "
            "distinct names, and shares in [0, 1]"
        )
    ordered = sorted(dict.fromkeys(pair_ids), key=priority(attributes_of(store, pair_ids)))
    candidates = set(gold) - set(ordered)
    answered = _answered(store)
    work: dict[str, list[str]] = {name: [] for name in annotators}
    own_checks: dict[str, list[str]] = {}
    for name in annotators:
        unseen = candidates - answered.get(f"human:{name}", set())
        own_checks[name] = sorted(unseen, key=lambda i, name=name: _draw(seed, "check", name, i))

    def checks_of(name: str, pairs: int) -> int:
        return min(round(checks * pairs), len(own_checks[name]))

    dealt = 0
    for pair_id, name in _assignments(ordered, annotators, overlap, seed):
        pairs = len(work[name])
        # A check that becomes due with this pair is paid for like every other answer.
        dealt += 1 + checks_of(name, pairs + 1) - checks_of(name, pairs)
        if most is not None and dealt > most:
            break
        work[name].append(pair_id)
    tasks = []
    for name, own in work.items():
        due = own_checks[name][: checks_of(name, len(own))]
        for pair_id, is_check in _with_checks(own, due):
            tasks.append(_task(pair_id, name, seed, is_check))
    return tasks


def _assignments(
    pair_ids: Sequence[str], annotators: Sequence[str], overlap: float, seed: int
) -> Iterator[tuple[str, str]]:
    """(pair, annotator) in the order of the pairs; some pairs go to two."""
    for pair_id in pair_ids:
        # Each decision from a draw of its own, so that adding pairs moves no other pair.
        first = int(_draw(seed, "annotator", pair_id) * len(annotators))
        yield pair_id, annotators[first]
        if len(annotators) > 1 and _draw(seed, "overlap", pair_id) < overlap:
            # The next one: another person for certain.
            yield pair_id, annotators[(first + 1) % len(annotators)]


def _task(pair_id: str, name: str, seed: int, is_check: bool) -> Task:
    shown: Shown = "ab"
    if _draw(seed, "side", name, pair_id) >= 0.5:
        shown = "ba"
    return Task(fingerprint.of_json([pair_id, name, seed]), pair_id, name, shown, is_check)


def _answered(store: Store) -> dict[str, set[str]]:
    """Voter -> the pairs about which that person has said something."""
    answered: dict[str, set[str]] = defaultdict(set)
    sql = "select pair_id, voter from votes where kind in ('human', 'check', 'suspended')"
    for row in store.query(sql).to_pylist():
        answered[row["voter"]].add(row["pair_id"])
    return answered


def reassigned(
    tasks: Sequence[Task],
    answers: Iterable[Answer],
    suspended: Collection[str],
    annotators: Sequence[str],
    *,
    seed: int,
    most: int | None = None,
) -> list[Task]:
    """The tasks without the open ones of suspended people, whose pairs go to others.

    Also a pair that a suspended person has answered goes to somebody else: that answer is kept, and
    does not count. Where nobody is left, or `most` tasks are reached, such pairs are left out.

    Args:
        tasks: as they were dealt.
        answers: to them, so far.
        suspended: names of those whose votes do not count.
        annotators: all names.
        seed: of the draws.
        most: of tasks, those that suspended people have answered included.
    """
    if not suspended:
        return list(tasks)
    answered, covered = set(), set()
    task_of = {task.id: task for task in tasks}
    for answer in answers:
        task = task_of[answer.task]
        answered.add(task.id)
        if (answer.annotator or task.annotator) not in suspended:
            covered.add(task.pair_id)
    kept = []
    for task in tasks:
        if task.annotator not in suspended or task.id in answered:
            kept.append(task)
        if task.annotator not in suspended:
            covered.add(task.pair_id)
    others = [name for name in annotators if name not in suspended]
    for task in tasks:
        is_full = most is not None and len(kept) >= most
        if task.check or task.pair_id in covered or not others or is_full:
            continue
        covered.add(task.pair_id)
        name = others[int(_draw(seed, "replacement", task.pair_id) * len(others))]
        kept.append(_task(task.pair_id, name, seed, is_check=False))
    return kept


def _with_checks(pair_ids: list[str], checks: list[str]) -> list[tuple[str, bool]]:
    """The pairs of an annotator with checks among them: (pair_id, whether it is a check)."""
    items = [(pair_id, False) for pair_id in pair_ids]
    places = [round((i + 0.5) * len(items) / len(checks)) for i in range(len(checks))]
    # The last first, so that an insertion does not shift the places that follow.
    for place, pair_id in reversed(list(zip(places, checks, strict=True))):
        items.insert(place, (pair_id, True))
    return items


def attributes_of(store: Store, pair_ids: Sequence[str]) -> dict[str, AttributesRow]:
    """pair_id -> the attributes that count, of those of these pairs that have any."""
    return {row["pair_id"]: row for row in store.current_attributes(pair_ids).to_pylist()}


def _draw(*parts: Any) -> float:
    """A number in [0, 1) that depends on `parts` alone."""
    digest = fingerprint.eight_bytes(json.dumps(parts).encode())
    return int.from_bytes(digest, "big") / 2**64


# ------------------------------------------------------------------ answers -> rows


def votes(
    tasks: Iterable[Task], answers: Iterable[Answer], suspended: Collection[str] = ()
) -> tuple[list[VoteRow], list[str]]:
    """Rows of the ledger `votes`, and a sentence for each answer that cannot be one.

    Refused are answers to an unknown task, a person's second answer about a pair, a choice that is
    not one of CHOICES and a confidence that is not a probability.

    Args:
        tasks: that were dealt.
        answers: to them.
        suspended: the people whose votes are kept and do not count.
    """
    task_of = {task.id: task for task in tasks}
    rows: list[VoteRow] = []
    refused: list[str] = []
    answered: set[tuple[str, str]] = set()
    for answer in answers:
        reason = _refusal(answer, task_of, answered)
        if reason is not None:
            refused.append(f"task {answer.task}: {reason}")
            continue
        task = task_of[answer.task]
        name = answer.annotator or task.annotator
        answered.add((task.pair_id, name))
        rows.append(_vote(task, answer, name, is_suspended=name in suspended))
    return rows, refused


def _refusal(
    answer: Answer, task_of: Mapping[str, Task], answered: Collection[tuple[str, str]]
) -> str | None:
    """Why an answer cannot be a vote."""
    if answer.task not in task_of:
        return "not in the queue"
    task = task_of[answer.task]
    if (task.pair_id, answer.annotator or task.annotator) in answered:
        return "answered a second time"
    if answer.choice not in CHOICES:
        return f"choice = {answer.choice!r}, not one of {', '.join(CHOICES)}"
    if answer.confidence is not None and not 0 <= answer.confidence <= 1:
        return f"confidence = {answer.confidence}, not a probability"
    return None


def _vote(task: Task, answer: Answer, name: str, *, is_suspended: bool) -> VoteRow:
    kind: Kind = "human"
    if is_suspended:
        kind = "suspended"
    # A check has a kind of its own: it measures the person, and no query for people's votes sees
    # it. Also of a suspended person, who is still measured by it.
    if task.check:
        kind = "check"
    evidence: dict[str, Any] = {"task": task.id, "check": task.check}
    if answer.seconds is not None:
        evidence["seconds"] = answer.seconds
    return VoteRow(
        pair_id=task.pair_id,
        voter=f"human:{name}",
        kind=kind,
        value=value(task, answer.choice),
        sample=0,
        confidence=answer.confidence,
        shown=task.shown,
        evidence=json.dumps(evidence, sort_keys=True),
    )


def value(task: Task, choice: str) -> Value:
    """What a choice says about the responses, wherever they were shown."""
    if choice in VALUES:
        return VALUES[choice]
    side: Any = task.shown[SIDES.index(choice)]
    return side


# ------------------------------------------------------------------ simulation


def simulate(
    tasks: Iterable[Task],
    truth: Callable[[str], Value],
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
