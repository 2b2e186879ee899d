"""Attributes as people correct them (paper 2.2): checked before they enter the ledger."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rewardjax.curation.judges import attributes
from rewardjax.curation.judges.attributes import FIELDS
from rewardjax.curation.ledger.rows import AttributesRow
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.people import Answer, Task, attributes_of


def check(edits: Mapping[Any, Any], *, is_described: bool) -> None:
    """Raise ValueError for an edit that would not be one of the attributes' legal values.

    Args:
        edits: attribute -> the person's value.
        is_described: whether the pair has attributes; where it has none, an edit must give all of
            them, since a row of the ledger has them all.
    """
    problem = attributes.problem(edits, complete=not is_described)
    if problem is not None:
        raise ValueError(f"edits: {problem}")


def edited_attributes(
    store: Store, tasks: Iterable[Task], answers: Iterable[Answer]
) -> list[AttributesRow]:
    """Rows of the ledger `attributes`: the current ones with the edits of those who made any.

    Raises:
        ValueError: for an edit that `check` refuses: one illegal value in the ledger would
            stop every later step that reads attributes.
    """
    task_of = {task.id: task for task in tasks}
    current = attributes_of(store, [task.pair_id for task in task_of.values()])
    rows: dict[tuple[str, str], AttributesRow] = {}
    for answer in answers:
        if not answer.edits or answer.task not in task_of:
            continue
        task = task_of[answer.task]
        try:
            check(answer.edits, is_described=task.pair_id in current)
        except ValueError as error:
            raise ValueError(f"task {answer.task}: {error}") from None
        values: dict[str, Any] = {}
        if task.pair_id in current:
            values = {name: current[task.pair_id][name] for name in FIELDS}
        name = answer.annotator or task.annotator
        row = AttributesRow(
            pair_id=task.pair_id,
            voter=f"human:{name}",
            kind="human",
            **(values | dict(answer.edits)),
            evidence=json.dumps({"task": task.id}),
        )
        # A second edit of the same pair by the same person replaces the first.
        rows[task.pair_id, name] = row
    return list(rows.values())
