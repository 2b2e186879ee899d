"""Where people's work waits: the tasks dealt to them, and their answers until a step closes.

One SQLite file of the workspace, `annotation.sqlite`, with a write-ahead log and full
synchronization: `curate answers` writes beside a run, several at a time, and what was committed
survives a kill and a power cut. The answers are only ever added; the view `standing_answers` has
the last one of each person about each pair of a step, unless it was taken back, and is all that
becomes votes. The ledger learns of a step when it closes, once: until then everything here may be
corrected.

The file wants a local disk (SQLite's write-ahead log does not work on network file systems).
"""

import contextlib
import json
import math
import pathlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rewardjax.curation.people import Answer, Task
from rewardjax.curation.transactions import transaction

FILE = "annotation.sqlite"
# The choice of an answer that takes back the person's earlier one.
RETRACTED = "retracted"
# Seconds that a writer waits for another one.
PATIENCE = 60.0

_TABLES = f"""
create table if not exists steps (
    step text primary key,
    quota real not null,
    closed integer not null default 0
);
create table if not exists tasks (
    task text primary key,
    step text not null references steps,
    place integer not null,
    pair_id text not null,
    annotator text not null,
    shown text not null,
    is_check integer not null,
    withdrawn integer not null default 0
);
create table if not exists answers (
    number integer primary key autoincrement,
    task text not null references tasks,
    annotator text not null,
    choice text not null,
    confidence real,
    seconds real,
    edits text
);
create view if not exists standing_answers as
    select step, pair_id, place, answers.* from answers join tasks using (task)
    where choice != '{RETRACTED}' and number in (
        select max(number) from answers join tasks using (task)
        group by step, pair_id, answers.annotator
    );
"""


class StepClosed(ValueError):
    """The step's answers are in the ledger, or on their way: nothing about it changes any more."""


class Step(NamedTuple):
    """A step of the loop that people work on."""

    name: str
    # Share of its tasks that must be answered before it closes by itself.
    quota: float
    is_closed: bool


class Desk:
    """The tasks and answers of one workspace. Close it, or use `open_desk`."""

    def __init__(self, folder: str | pathlib.Path):
        # Explicit transactions: what is read and what is written from it must be one.
        self._database = sqlite3.connect(
            pathlib.Path(folder) / FILE, timeout=PATIENCE, isolation_level=None
        )
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = full")
        self._database.executescript(_TABLES)

    def close_file(self) -> None:
        """Let go of the file."""
        self._database.close()

    # ------------------------------------------------------------------ tasks

    def deal(self, step: str, tasks: Sequence[Task], quota: float) -> None:
        """These are the tasks of a step from now on; those with an answer stay, come what may.

        Nothing happens where the step is closed.
        """
        with transaction(self._database):
            if self._is_closed(step):
                return
            self._database.execute(
                "insert into steps (step, quota) values (?, ?) "
                "on conflict (step) do update set quota = excluded.quota",
                [step, quota],
            )
            # Withdrawn and not deleted: the people who were sent such a task may still answer it,
            # and are to be told why it is not taken.
            self._database.execute(
                "update tasks set withdrawn = 1 "
                "where step = ? and task not in (select task from answers)",
                [step],
            )
            for place, task in enumerate(tasks):
                self._database.execute(
                    "insert into tasks values (?, ?, ?, ?, ?, ?, ?, 0) "
                    "on conflict (task) do update set place = excluded.place, withdrawn = 0",
                    [task.id, step, place, task.pair_id, task.annotator, task.shown, task.check],
                )

    def steps(self) -> list[Step]:
        """Every step that was dealt, in the order of dealing."""
        rows = self._database.execute("select step, quota, closed from steps order by rowid")
        return [Step(name, quota, bool(closed)) for name, quota, closed in rows]

    def tasks(self, step: str, *, withdrawn: bool = False) -> list[Task]:
        """The tasks of a step in their order: those that count, or those withdrawn."""
        rows = self._database.execute(
            "select task, pair_id, annotator, shown, is_check from tasks "
            "where step = ? and withdrawn = ? order by place, task",
            [step, withdrawn],
        )
        return [
            Task(id, pair_id, annotator, shown, bool(is_check))
            for id, pair_id, annotator, shown, is_check in rows
        ]

    # ------------------------------------------------------------------ answers

    def take(self, step: str, answers: Iterable[Answer]) -> None:
        """Add answers to a step, all of them or none.

        Raises:
            StepClosed: where it closed in the meantime.
        """
        with transaction(self._database):
            if self._is_closed(step):
                raise StepClosed(f"{step} is closed: its answers are in the ledger")
            for answer in answers:
                edits = None
                if answer.edits:
                    edits = json.dumps(dict(answer.edits), sort_keys=True)
                self._database.execute(
                    "insert into answers (task, annotator, choice, confidence, seconds, edits) "
                    "values (?, ?, ?, ?, ?, ?)",
                    [
                        answer.task,
                        answer.annotator,
                        answer.choice,
                        answer.confidence,
                        answer.seconds,
                        edits,
                    ],
                )

    def retract(self, step: str, answers: Iterable[Answer]) -> None:
        """Take answers back, all of them or none: they stay in the file, and stand no more.

        Raises:
            StepClosed: where it closed in the meantime.
        """
        self.take(
            step, [Answer(each.task, RETRACTED, annotator=each.annotator) for each in answers]
        )

    def answers(self, step: str) -> list[Answer]:
        """The current answers of a step, in the order of its tasks."""
        # In no order of time: what enters the ledger must not depend on who was first.
        rows = self._database.execute(
            "select task, choice, confidence, seconds, edits, annotator from standing_answers "
            "where step = ? order by place, task, annotator",
            [step],
        )
        return [
            Answer(task, choice, confidence, seconds, json.loads(edits or "null"), annotator)
            for task, choice, confidence, seconds, edits, annotator in rows
        ]

    def missing(self, step: str) -> list[Task]:
        """The tasks of a step that nobody answered yet."""
        answered = {answer.task for answer in self.answers(step)}
        return [task for task in self.tasks(step) if task.id not in answered]

    def erase(self, pair_ids: Sequence[str]) -> None:
        """Erase what people wrote about pairs, and ask nobody about them any more."""
        self._database.execute("pragma secure_delete = on")
        with transaction(self._database):
            for pair_id in pair_ids:
                self._database.execute(
                    "update answers set edits = null where task in "
                    "(select task from tasks where pair_id = ?)",
                    [pair_id],
                )
                self._database.execute(
                    "update tasks set withdrawn = 1 "
                    "where pair_id = ? and task not in (select task from answers)",
                    [pair_id],
                )
        self._database.execute("vacuum")
        self._database.execute("pragma wal_checkpoint(truncate)")

    # ------------------------------------------------------------------ closing

    def close(self, step: str) -> None:
        """Close a step as it stands; a second time changes nothing.

        Raises:
            ValueError: where it has no answer: nothing would ever be asked about its pairs again.
        """
        with transaction(self._database):
            if not self.answers(step):
                raise ValueError(f"{step} has no answer yet, so it stays open")
            self._database.execute("update steps set closed = 1 where step = ?", [step])

    def close_where_met(self, step: str) -> bool:
        """Close a step whose quota is met; whether it is closed now."""
        with transaction(self._database):
            # In one transaction: an answer that comes in between must be in, or be refused.
            if not self._is_closed(step) and self.open_tasks(step) == 0:
                self._database.execute("update steps set closed = 1 where step = ?", [step])
            return self._is_closed(step)

    def open_tasks(self, step: str) -> int:
        """How many more answers a step needs before it closes by itself."""
        (quota,) = self._database.execute(
            "select quota from steps where step = ?", [step]
        ).fetchone()
        tasks, missing = len(self.tasks(step)), len(self.missing(step))
        # Without the 1e-9, 0.07 of 100 tasks would be 8: floats multiply to 7.000000000000001. At
        # least one answer, whatever the quota: a step without any must not close by itself.
        needed = max(1, math.ceil(quota * tasks - 1e-9))
        return max(0, min(tasks, needed) - (tasks - missing))

    def _is_closed(self, step: str) -> bool:
        row = self._database.execute("select closed from steps where step = ?", [step]).fetchone()
        return bool(row and row[0])


@contextlib.contextmanager
def open_desk(folder: str | pathlib.Path) -> Iterator[Desk]:
    """The desk of the workspace in `folder`, made where there is none."""
    desk = Desk(folder)
    try:
        yield desk
    finally:
        desk.close_file()


def has_desk(folder: str | pathlib.Path) -> bool:
    """Whether people were ever given tasks in this workspace."""
    return (pathlib.Path(folder) / FILE).exists()
