"""Attributes as people correct them (paper 2.2): checked before they enter the ledger."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rewardjax.curation.judges.attributes import FIELDS, TAXONOMIES
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
    for name, edited in edits.items():
        if name not in FIELDS:
            raise ValueError(f"edits: {name!r} is not an attribute; there are {', '.join(FIELDS)}")
        legal = TAXONOMIES.get(name)
        if legal and edited not in legal:
            raise ValueError(f"edits: {name} = {edited!r} is not one of {', '.join(legal)}")
        if not isinstance(edited, str) or not edited.strip():
            raise ValueError(f"edits: {name} = {edited!r} is not a text")
        # Half of a character pair cannot be stored as UTF-8.
        if any("\ud800" <= character <= "\udfff" for character in edited):
            raise ValueError(f"edits: {name} holds a lone surrogate, which is not a character")
    missing = [name for name in FIELDS if name not in edits]
    if missing and not is_described:
        raise ValueError(
            f"edits: the pair has no attributes yet, and {', '.join(missing)} are missing: give "
            "all of them, or none"
        )


def edited_attributes(
    store: Store, tasks: Iterable[Task], answers: Iterable[Answer]
) -> list[AttributesRow]:
    """Rows of the ledger `attributes`: the current ones with the edits of those who made any.

    Raises:
        ValueError: for an edit that `check` refuses: one illegal value in the ledger would
            stop every later step that reads attributes.
    """
    task_of = {task.id: task for task in tasks}
    current = attributes_of(store)
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
