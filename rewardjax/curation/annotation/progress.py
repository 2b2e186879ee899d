"""What people have done and what is missing, as tables and as the sentences of `curate answers`."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from rewardjax.curation import people
from rewardjax.curation.annotation.acceptance import Outcome, Refusal
from rewardjax.curation.annotation.desk import Desk
from rewardjax.curation.ledger.rows import VoteRow
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.people import Task

# Missing tasks that are named; the queue file has them all.
NAMED = 8


def table(desk: Desk) -> list[dict[str, Any]]:
    """For each step and annotator the tasks, how many are answered and missing, and the state."""
    rows = []
    for step in desk.steps():
        tasks = Counter(task.annotator for task in desk.tasks(step.name))
        missing = Counter(task.annotator for task in desk.missing(step.name))
        state = f"open until {step.quota:.0%} are answered"
        if not desk.open_tasks(step.name):
            state = "answered: the next run closes it"
        if step.is_closed:
            state = "closed"
        for name in sorted(tasks):
            rows.append(
                {
                    "step": step.name,
                    "annotator": name,
                    "tasks": tasks[name],
                    "answered": tasks[name] - missing[name],
                    "missing": missing[name],
                    "state": state,
                }
            )
    return rows


def waiting_votes(store: Store, desk: Desk) -> list[VoteRow]:
    """What the answers that the ledger does not have yet would be as votes."""
    rows: list[VoteRow] = []
    for step in desk.steps():
        if not store.has("votes", step.name, "all"):
            votes, _ = people.votes(desk.tasks(step.name), desk.answers(step.name))
            rows += votes
    return rows


def lines(outcome: Outcome, desk: Desk) -> list[str]:
    """What files of answers are, before they are stored: first a sentence per step, then details.

    Nothing is clipped but the names of missing tasks: what is not said is lost in silence.
    """
    sentences = []
    for step in desk.steps():
        if step.is_closed:
            continue
        tasks = desk.tasks(step.name)
        read = [each for each in outcome.accepted if each.step == step.name]
        now = {each.answer.task for each in read}
        missing = [task for task in desk.missing(step.name) if task.id not in now]
        sentences.append(
            f"{step.name}: {len(tasks)} tasks: {len(read)} read, {len(outcome.refused)} not; "
            f"missing: {_missing(missing)}"
        )
    return sentences + _details(outcome)


def retraction_lines(outcome: Outcome) -> list[str]:
    """What `--retract` takes back: a sentence per step, then what it does not, and why."""
    by_step = Counter(each.step for each in outcome.accepted)
    sentences = [f"{step}: {count} answers to take back" for step, count in by_step.items()]
    return sentences + _details(outcome)


def _details(outcome: Outcome) -> list[str]:
    """A line for each file and reason."""
    sentences = []
    for heading, refusals in (
        ("not read", outcome.refused),
        ("correction", outcome.corrections),
        ("nothing new", outcome.repeated),
    ):
        sentences += [f"  {heading}: {line}" for line in grouped(refusals)]
    return sentences


def _missing(tasks: Sequence[Task]) -> str:
    if not tasks:
        return "none"
    by_name = Counter(task.annotator for task in tasks)
    names = ", ".join(f"{name} {count}" for name, count in sorted(by_name.items()))
    ids = ", ".join(task.id for task in tasks[:NAMED])
    if len(tasks) > NAMED:
        ids += ", ..."
    return f"{len(tasks)} ({names}: {ids})"


def grouped(refusals: Iterable[Refusal]) -> list[str]:
    """One line per file and reason, with the places: `answers.csv, lines 3, 7-9: no answer`."""
    by_reason: dict[tuple[str, str], list[str]] = defaultdict(list)
    for refusal in refusals:
        by_reason[refusal.file, refusal.reason].append(refusal.place)
    return [f"{file}{_places(places)}: {reason}" for (file, reason), places in by_reason.items()]


def _places(places: Sequence[str]) -> str:
    """`, lines 3, 7-9` of "line 3", "line 7", "line 8" and "line 9"; "" for the file itself."""
    if not places[0]:
        return ""
    unit = places[0].split()[0]
    # One record may hold several answers, which are refused one by one.
    numbers = sorted({int(place.split()[1]) for place in places})
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    texts = []
    for first, last in ranges:
        texts.append(str(first))
        if last > first:
            texts[-1] += f"-{last}"
    plural = unit
    if len(numbers) > 1:
        plural += "s"
    return f", {plural} {', '.join(texts)}"
