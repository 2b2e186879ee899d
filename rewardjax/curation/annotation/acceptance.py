"""Answers of files against the tasks that were dealt: which count, and why the others do not.

Nothing is stored here: the outcome is a preview, and `Desk.take` is given what it accepts. Each
record costs itself alone. Where one person says two things about a pair neither counts, because the
order of lines and files says nothing about which was meant.
"""

import json
import math
import pathlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax.curation import people, people_edits, people_files
from rewardjax.curation.annotation import answer_files, choices, exports
from rewardjax.curation.annotation.answer_files import Unread
from rewardjax.curation.annotation.desk import Desk
from rewardjax.curation.annotation.exports import Given
from rewardjax.curation.annotation.meanings import Names
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.people import Answer, Task

TEXTS = ("prompt", "left", "right")
# A spreadsheet that took an id for a number: 4e5e65675b193745 never looks like this.
SCIENTIFIC = re.compile(r"\d(\.\d+)?e[+-]?\d+|\d+\.0", re.IGNORECASE)


class Dealt(NamedTuple):
    """A task as it stands on the desk."""

    task: Task
    step: str
    is_closed: bool
    is_withdrawn: bool


# Begins the reason of a record that nobody answered yet, which is no mistake of the file.
UNANSWERED = "no answer: "


class Refusal(NamedTuple):
    """A record that is no answer, and why."""

    file: str
    place: str
    reason: str

    @property
    def is_unanswered(self) -> bool:
        """Whether nobody answered it, so that there is nothing to put right."""
        return self.reason.startswith(UNANSWERED)


class Accepted(NamedTuple):
    """An answer that counts if it is stored."""

    file: str
    place: str
    step: str
    pair_id: str
    answer: Answer
    # What it says about the pair, wherever the responses were shown.
    value: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Of what each person has one answer: (step, pair, person)."""
        return self.step, self.pair_id, str(self.answer.annotator)

    @property
    def content(self) -> tuple[Any, ...]:
        """What two answers must share to say the same."""
        edits = json.dumps(dict(self.answer.edits or {}), sort_keys=True)
        return self.value, self.answer.confidence, edits


class Outcome(NamedTuple):
    """What became of the records of some files."""

    # To be stored, new answers and corrections; or to be taken back.
    accepted: list[Accepted]
    # Of these, what they replace: "left -> right".
    corrections: list[Refusal]
    # Answers that are stored already, or that another line repeats.
    repeated: list[Refusal]
    refused: list[Refusal]


def read(store: Store, desk: Desk, paths: Sequence[str | pathlib.Path], names: Names) -> Outcome:
    """Read files of answers and compare them with the desk.

    Args:
        store: has the texts that the tasks show.
        desk: the tasks and what was answered so far.
        paths: the files.
        names: of persons and choices.

    Raises:
        OSError: for a file that is not there.
    """
    single, checks, outcome = _understood(store, desk, paths, names)
    for candidate in single:
        _against_stored(candidate, checks, outcome)
    return outcome


def read_retraction(
    store: Store, desk: Desk, paths: Sequence[str | pathlib.Path], names: Names
) -> Outcome:
    """Which stored answers say what the files say, and can be taken back: arguments as of `read`.

    An answer that was corrected since is another one, and stays.

    Raises:
        OSError: for a file that is not there.
    """
    single, checks, outcome = _understood(store, desk, paths, names)
    for candidate in single:
        stored = checks.stored.get(candidate.key)
        reason = None
        if stored is None or stored.content != candidate.content:
            reason = f"task {candidate.answer.task}: no such answer is stored"
        elif checks.dealt[candidate.answer.task].is_closed:
            reason = _closed(candidate.step)
        if reason is None:
            outcome.accepted.append(candidate)
        else:
            outcome.refused.append(Refusal(candidate.file, candidate.place, reason))
    return outcome


def _understood(
    store: Store, desk: Desk, paths: Sequence[str | pathlib.Path], names: Names
) -> tuple[list[Accepted], "_Checks", Outcome]:
    """The answers that stand alone in the files, and an outcome with those that do not."""
    refused: list[Refusal] = []
    records: list[tuple[str, Given]] = []
    for path in paths:
        for answer in _records(path):
            if isinstance(answer, Unread):
                refused.append(Refusal(str(path), answer.place, answer.reason))
            else:
                records.append((str(path), answer))
    checks = _Checks(store, desk, names, [answer for _, answer in records])
    candidates: list[Accepted] = []
    for file, answer in records:
        try:
            candidates.append(checks.accepted(file, answer))
        except ValueError as error:
            refused.append(Refusal(file, answer.place, str(error)))
    single, repeated, contradicting = _one_per_person(candidates)
    return single, checks, Outcome([], [], repeated, refused + contradicting)


def _records(path: str | pathlib.Path) -> Iterator[Given | Unread]:
    for raw in answer_files.read(path):
        if isinstance(raw, Unread):
            yield raw
        else:
            yield from exports.answers(raw)


def _one_per_person(
    candidates: Iterable[Accepted],
) -> tuple[list[Accepted], list[Refusal], list[Refusal]]:
    """The answers that stand alone, those that repeat one, and those that contradict each other."""
    by_key: dict[tuple[str, str, str], list[Accepted]] = defaultdict(list)
    for candidate in candidates:
        by_key[candidate.key].append(candidate)
    single, repeated, contradicting = [], [], []
    for same in by_key.values():
        if len({candidate.content for candidate in same}) == 1:
            single.append(same[0])
            for again in same[1:]:
                repeated.append(
                    Refusal(again.file, again.place, "says again what another one says")
                )
            continue
        # Lines of two files may have one number.
        is_one_file = len({candidate.file for candidate in same}) == 1
        different = [
            f"{each.answer.choice} ({_where(each, with_file=not is_one_file)})" for each in same
        ]
        reason = (
            f"task {same[0].answer.task}: contradicting answers, {', '.join(different)}: keep one"
        )
        contradicting += [Refusal(each.file, each.place, reason) for each in same]
    return single, repeated, contradicting


def _where(candidate: Accepted, *, with_file: bool) -> str:
    if with_file:
        return f"{candidate.file}, {candidate.place}"
    return candidate.place


def _closed(step: str) -> str:
    """Why an answer to a closed step is not taken."""
    return (
        f"{step} is closed, and its answers are in the ledger: "
        "nothing is added to it or corrected any more"
    )


def _against_stored(candidate: Accepted, checks: "_Checks", outcome: Outcome) -> None:
    """Put an answer where it belongs, given what the desk has of the same person and pair."""
    stored = checks.stored.get(candidate.key)
    where = candidate.file, candidate.place
    if stored is not None and stored.content == candidate.content:
        outcome.repeated.append(Refusal(*where, "is stored already"))
    elif checks.dealt[candidate.answer.task].is_closed:
        outcome.refused.append(Refusal(*where, _closed(candidate.step)))
    else:
        if stored is not None:
            change = f"task {candidate.answer.task}: {stored.answer.choice}"
            if stored.answer.choice != candidate.answer.choice:
                change += f" -> {candidate.answer.choice}"
            else:
                change += ", with another confidence or other edits"
            outcome.corrections.append(Refusal(*where, change))
        outcome.accepted.append(candidate)


# ------------------------------------------------------------------ one record


class _Checks:
    """What a record is checked against, read once."""

    def __init__(self, store: Store, desk: Desk, names: Names, given: Sequence[Given]):
        self.names = names
        self.dealt: dict[str, Dealt] = {}
        self.annotators: dict[str, list[str]] = {}
        for step in desk.steps():
            for is_withdrawn in (True, False):
                for task in desk.tasks(step.name, withdrawn=is_withdrawn):
                    self.dealt[task.id] = Dealt(task, step.name, step.is_closed, is_withdrawn)
            tasks = [dealt.task for dealt in self.dealt.values() if dealt.step == step.name]
            self.annotators[step.name] = sorted({task.annotator for task in tasks})
        # (step, pair, person) -> the person's own task about the pair
        self.own_task: dict[tuple[str, str, str], str] = {}
        for dealt in self.dealt.values():
            if not dealt.is_withdrawn:
                key = dealt.step, dealt.task.pair_id, dealt.task.annotator
                self.own_task[key] = dealt.task.id
        self.stored: dict[tuple[str, str, str], Accepted] = {}
        for step in desk.steps():
            for answer in desk.answers(step.name):
                kept = self._of(self.dealt[answer.task], answer, "", "")
                self.stored[kept.key] = kept
        named = [str(answer.values.get("task", "")).strip() for answer in given]
        pair_ids = sorted({self.dealt[id].task.pair_id for id in named if id in self.dealt})
        self.texts = {text["pair_id"]: text for text in store.texts(pair_ids)}
        # pair_id -> the attributes that its task shows
        attributes = store.current_attributes(pair_ids).to_pylist()
        self.attributes = {row["pair_id"]: row for row in attributes}

    def accepted(self, file: str, given: Given) -> Accepted:
        """The answer that a record is. Raises ValueError with the reason where it is none."""
        dealt = self._task(given)
        if given.unanswered:
            raise ValueError(f"{UNANSWERED}{given.unanswered}")
        choice = given.values.get("choice")
        if choices.is_blank(choice):
            why = "its choice is empty"
            if isinstance(choice, str) and choice.strip():
                why = f"choice = {choices.short(choice)} says nothing"
            raise ValueError(f"{UNANSWERED}{why}")
        if dealt.is_withdrawn:
            raise ValueError(
                f"the task was withdrawn from {dealt.task.annotator}, whose answers to checks are "
                "wrong too often (people.suspend_below)"
            )
        annotator = self._person(given, dealt)
        answer = Answer(
            dealt.task.id,
            choices.read(choice, self.names.words),
            confidence=_number(given.values, "confidence", 1.0),
            seconds=_number(given.values, "seconds", math.inf),
            edits=self._edits(given, dealt.task.pair_id),
            annotator=annotator,
        )
        if not self.names.ignores_texts:
            self._refuse_other_texts(given, dealt.task)
        return self._of(dealt, answer, file, given.place)

    def _of(self, dealt: Dealt, answer: Answer, file: str, place: str) -> Accepted:
        value = people.value(dealt.task, answer.choice)
        return Accepted(file, place, dealt.step, dealt.task.pair_id, answer, value)

    def _task(self, given: Given) -> Dealt:
        value = given.values.get("task")
        id = str(value).strip()
        if id in self.dealt:
            return self.dealt[id]
        if SCIENTIFIC.fullmatch(id) or isinstance(value, float):
            raise ValueError(
                f"task {id} is an id that a spreadsheet took for a number: "
                "import the column as text"
            )
        raise ValueError(f"task {choices.short(id)} is in no queue of this workspace")

    def _person(self, given: Given, dealt: Dealt) -> str:
        """Who answered, as an annotator of the step."""
        owner, annotators = dealt.task.annotator, self.annotators[dealt.step]
        if not given.people:
            return owner
        names = []
        for each in given.people:
            name = self.names.persons.get(each, each)
            if name in annotators or each in self.names.persons:
                names.append(name)
        distinct = list(dict.fromkeys(names))
        if len(distinct) > 1:
            raise ValueError(f"it names different people, {' and '.join(distinct)}: keep one")
        if not distinct:
            who = given.people[0]
            # What would move the cursor of a terminal, or cannot be printed at all.
            if not who.isprintable():
                who = "WHO"
            raise ValueError(
                f"{' or '.join(map(choices.short, given.people))} is not an annotator "
                f"({', '.join(annotators)}): say who it is with --person {who}=NAME"
            )
        (name,) = distinct
        if name == owner:
            return owner
        if not given.is_shared:
            raise ValueError(f"the task is {owner}'s, and the answer is {name}'s")
        # Where anybody may answer any task, another person's answer is one opinion more. But of one
        # person one opinion about a pair counts, and that is the one to the task of their own.
        own = self.own_task.get((dealt.step, dealt.task.pair_id, name))
        if own is not None:
            raise ValueError(f"{name} has a task about the same pair, {own}: answer that one")
        if name not in annotators:
            raise ValueError(f"{name} is not an annotator of {dealt.step}")
        return name

    def _edits(self, given: Given, pair_id: str) -> Mapping[str, str] | None:
        edits = given.values.get("edits")
        if choices.is_blank(edits) or edits == {}:
            edits = None
        elif not isinstance(edits, dict):
            raise ValueError("edits is not an object of attribute and value")
        else:
            people_edits.check(edits, is_described=pair_id in self.attributes)
        return edits

    def _refuse_other_texts(self, given: Given, task: Task) -> None:
        """Refuse an answer about other texts than the task showed.

        Somebody may have corrected a response, or a spreadsheet sorted one column without the
        others: the answer is then about something else than the pair.
        """
        shown = people_files.shown_texts(task, self.texts[task.pair_id])
        for name in TEXTS:
            value = given.values.get(name)
            if value is not None and not _says(value, shown[name]):
                raise ValueError(
                    f"{name} is not what the task showed: restore it, or give --ignore-texts where "
                    "only the copy in the file differs"
                )
        attributes = given.values.get("attributes")
        if isinstance(attributes, dict):
            current = self.attributes.get(task.pair_id, {})
            # A correction that would be lost: only `edits` are read.
            if any(current.get(field) != value for field, value in attributes.items()):
                raise ValueError(
                    "attributes were changed in place: put {field: value} into `edits` instead"
                )


def _number(values: Mapping[str, Any], name: str, most: float) -> float | None:
    """The number of a field, None where it is blank. Raises ValueError outside [0, most]."""
    value = values.get(name)
    if choices.is_blank(value):
        return None
    number = math.nan
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            pass
    if not 0 <= number <= most or math.isinf(number):
        limits = "a number of seconds"
        if most == 1.0:
            limits = "a number between 0 and 1"
        raise ValueError(f"{name} = {choices.short(value)} is not {limits}")
    return number


def _says(value: Any, text: Any) -> bool:
    """Whether a value of a file is the text that a task showed, messages or plain."""
    if isinstance(value, str):
        parsed = exports.parsed(value)
        return _plain(value) == _plain(people_files.plain(text)) or parsed == text
    return value == text


def _plain(text: str) -> str:
    # Spreadsheets and forms change line ends and blanks, which nobody reads differently.
    return " ".join(text.split())
