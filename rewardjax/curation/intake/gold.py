"""Gold that a team owns: the votes of its people, and its attributes, as rows of the ledger.

A record of such a source may say who said what: `votes`, a list of {annotator, choice, confidence}
or an object {annotator: choice}, or columns annotator_1, annotator_2, ... Each is kept as the vote
of a person. Without them the record's own label is one vote, by the source.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rewardjax.curation.judges import attributes as attributes_lib
from rewardjax.curation.ledger.rows import AttributesRow, Label, Value, VoteRow, other
from rewardjax.data.groups import BadRecord, Group, Pair
from rewardjax.data.layouts import fields, verdicts
from rewardjax.data.layouts.fields import Record

# Columns of a vote; the first that is there counts.
WHO = ("annotator", "annotator_id", "user", "person")
WHAT = ("choice", "vote", "label", "preference", "verdict")
UNDECIDED = ("cannot_decide", "undecided")
TIES = ("no_preference", "no_difference")


def votes(
    record: Record,
    group: Group,
    pair: Pair,
    chosen: Label,
    labels: Mapping[str, str],
) -> list[VoteRow]:
    """The votes of people that a record holds about its pair; none: it holds no `votes`.

    Args:
        record: by our names of columns.
        group: that the record describes.
        pair: of the group.
        chosen: what the chosen response is called in the ledger.
        labels: `verdicts.word` of a choice -> "first", "second" or "tie", as the user said.

    Raises:
        BadRecord: for a vote that names nobody, no response, or that contradicts another vote of
            the same person; for votes about more than two responses.
    """
    unread = _said(record)
    if not unread:
        return []
    if len(group.responses) != 2:
        raise BadRecord("bad_schema", "votes are about two responses, and the record has others")
    first: Value = chosen
    if pair.chosen != 0:
        first = other(chosen)
    rows: dict[str, VoteRow] = {}
    for who, choice, confidence in unread:
        row = VoteRow(
            pair_id="",
            voter=f"human:{who}",
            kind="human",
            value=_value(record, choice, first, chosen, labels),
            sample=0,
            confidence=_confidence(confidence),
        )
        if rows.setdefault(who, row) != row:
            raise BadRecord("bad_schema", f"votes: {who!r} says two different things")
    return list(rows.values())


def _said(record: Record) -> list[tuple[str, Any, Any]]:
    """(who, choice, confidence) of each vote, unread."""
    column = fields.decoded(record.get("votes"), "votes")
    if column is None:
        names = verdicts.annotators(record)
        return [(name, record[name], None) for name in names]
    if isinstance(column, Mapping):
        return [(str(who).strip(), choice, None) for who, choice in column.items()]
    if not isinstance(column, Sequence) or isinstance(column, str):
        raise BadRecord("bad_schema", f"votes = {column!r:.40} is not a list of votes")
    unread = []
    for vote in column:
        if not isinstance(vote, Mapping):
            raise BadRecord("bad_schema", f"votes: {vote!r:.40} has no fields annotator and choice")
        who, choice = _first(vote, WHO), _first(vote, WHAT)
        if who is None or not str(who).strip():
            raise BadRecord("bad_schema", f"votes: {vote!r:.60} names no annotator")
        unread.append((str(who).strip(), choice, vote.get("confidence")))
    return unread


def _first(vote: Mapping[str, Any], names: Sequence[str]) -> Any:
    for name in names:
        if vote.get(name) is not None:
            return vote[name]
    return None


def _value(
    record: Record, choice: Any, first: Value, chosen: Label, labels: Mapping[str, str]
) -> Value:
    """What a choice says about `a` and `b`."""
    spelled = verdicts.word(choice)
    spelled = labels.get(spelled, spelled)
    if spelled in UNDECIDED:
        return "undecided"
    if spelled in TIES:
        return "tie"
    has_columns = verdicts.two_responses(record) is not None
    if not has_columns and spelled in ("chosen", "rejected"):
        if spelled == "chosen":
            return chosen
        return other(chosen)
    share = verdicts.known_share({**record, "choice": spelled}, "choice")
    # Beside chosen and rejected nothing says which of them "a" or "first" would be.
    if share is None or (share != 0.5 and not has_columns and spelled not in labels.values()):
        raise BadRecord(
            "bad_schema",
            f"votes: choice = {choice!r:.40}: which response is that? Name its column, or say it, "
            f"as in data.labels={{{choice!s:.40}: first, OTHER: second}}",
        )
    if share == 0.5:
        return "tie"
    if share == 1.0:
        return first
    return other(first)


def _confidence(value: Any) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or math.isnan(value) or not 0 <= value <= 1:
        raise BadRecord("bad_schema", f"votes: confidence = {value!r:.40} is not in [0, 1]")
    return float(value)


def attributes(record: Record, pair_id: str, name: str) -> AttributesRow | None:
    """The attributes that a record holds, in columns of their own or under `attributes`.

    Raises:
        BadRecord: where some are missing, or a value is not one of its taxonomy.
    """
    values = fields.decoded(record.get("attributes"), "attributes")
    if values is None:
        names = attributes_lib.FIELDS
        values = {field: record[field] for field in names if record.get(field) is not None}
    if not values:
        return None
    if not isinstance(values, Mapping):
        raise BadRecord("bad_schema", f"attributes = {values!r:.40} has no fields")
    problem = attributes_lib.problem(values, complete=True)
    if problem is not None:
        raise BadRecord("bad_schema", f"attributes: {problem}")
    return AttributesRow(
        pair_id=pair_id,
        voter=f"human:{name}",
        kind="human",
        **{field: values[field] for field in attributes_lib.FIELDS},
    )
