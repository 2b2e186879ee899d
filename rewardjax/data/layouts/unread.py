"""Data sets that hold no labels of whole responses, or not where they can be found.

Their records would be refused all the same; here each gets the one sentence that helps.
"""

from collections.abc import Callable
from typing import NamedTuple

from rewardjax.data.layouts.fields import Record


class Unread(NamedTuple):
    """One kind of record that is not read: how it is recognized, and what to do."""

    fits: Callable[[Record], bool]
    remedy: str


def _is_label_studio(record: Record) -> bool:
    return isinstance(record.get("data"), dict) and isinstance(record.get("annotations"), list)


def _is_step_labels(record: Record) -> bool:
    label = record.get("label")
    return isinstance(label, dict) and "steps" in label


def _is_step_list(record: Record) -> bool:
    return isinstance(record.get("steps"), list) and "label" in record


UNREAD = (
    Unread(
        _is_label_studio,
        "tasks of Label Studio: which of the texts is `left` is not in this file; export JSON-MIN "
        "and name its columns, as in data.columns={response_1: answer1, response_2: answer2, "
        "winner: comparison} with data.labels={left: first, right: second}",
    ),
    Unread(
        _is_step_labels,
        "labels of single steps (PRM800K): rewards are of whole responses here; write one record "
        "per problem with `prompt`, `responses` and `correct`",
    ),
    Unread(
        _is_step_list,
        "labels of single steps (ProcessBench): rewards are of whole responses here; write one "
        "record per problem with `prompt`, `responses` and `correct`",
    ),
)


def remedy(record: Record) -> str | None:
    """What to do with a record of one of these kinds; None for any other."""
    for kind in UNREAD:
        if kind.fits(record):
            return kind.remedy
    return None
