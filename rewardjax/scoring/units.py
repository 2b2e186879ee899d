"""Some records of a source, tokenized and scored; what cannot be scored has a reason.

Tokenizing needs no device, so that the next unit can be tokenized while this one is scored.
"""

import collections
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rewardjax.data import accounting, formats
from rewardjax.data.formats import Record
from rewardjax.data.groups import BadRecord, Group, Message
from rewardjax.data.pack import TokenGroup
from rewardjax.scoring import agreement
from rewardjax.scoring import model as scorer
from rewardjax.scoring.prepare import prepare

# Whose single message is a plain text of its prompt or response.
PLAIN = ("user", "assistant")


class Scorable(NamedTuple):
    """The responses of one group that can be scored, by their indices.

    texts: what a row of scores says beside the reward: the prompt and the response of each of
    them where texts are wanted.
    """

    group_id: str
    row: int
    indices: list[int]
    tokens: TokenGroup
    texts: list[dict[str, str]]


class Tokenized(NamedTuple):
    """The records of a unit as far as they can be scored, and why the others cannot.

    controls: of the records whose texts hold control tokens, read as text, each one such place.
    unprinted: how many records have a field that the chat template does not print. shortened: how
    many lost the oldest tokens of their prompt. late_columns: those of their columns that are not
    used and not among their file's first records, with the first record of each. preferences: what
    the labels of each group say.
    """

    records: int
    ready: list[Scorable]
    quarantine: list[dict[str, Any]]
    controls: list[str]
    unprinted: collections.Counter[str]
    shortened: int
    late_columns: dict[str, int]
    preferences: list[agreement.Preferences]


class Account(NamedTuple):
    """What became of records: counts that can be added, and what is told of them.

    agreement: the fields of `agreement.Agreement`; None in accounts of earlier versions.
    """

    counts: dict[str, int]
    reasons: dict[str, int]  # why records or responses have no score
    first: str  # the first of these
    control_example: str
    unprinted: dict[str, int]
    late_columns: dict[str, int]
    agreement: dict[str, Any] | None = None


def tokenize(
    records: Sequence[tuple[int, int, Record]],
    by_file: Sequence[formats.Reading],
    source: str,
    model: scorer.Scorer,
    texts: bool = False,
) -> Tokenized:
    """The tokens of `records`, each with its number and that of its file (`formats.numbered`).

    Every response of every record is in exactly one of `ready` and `quarantine`; a record that is
    not a group has one quarantine entry, with response_index -1. texts: whether what is scored
    comes with its prompt and its response.
    """
    limits = model.tokenizer, model.contract.max_length, model.contract.over_long
    ready: list[Scorable] = []
    quarantine: list[dict[str, Any]] = []
    controls: list[str] = []
    unprinted: collections.Counter[str] = collections.Counter()
    shortened, late_columns = 0, {}
    preferences: list[agreement.Preferences] = []
    for row, file, record in records:
        try:
            group = by_file[file].to_group(record, row)
            preferences.append(agreement.preferences(group, row))
            prepared = prepare(group, *limits)
            for column in by_file[file].late_columns(record, row):
                late_columns.setdefault(column, row)
        except BadRecord as error:
            name = record.get("id")
            if name is None:
                name = f"{source}:{row}"
            quarantine.append(_quarantine(error, str(name), row, -1))
            continue
        unprinted.update(model.tokenizer.unprinted(group))
        if prepared.control_example:
            controls.append(f"record {row}, {prepared.control_example!r}")
        # Of a response that fits only once it is cut.
        shortened += any(prepared.lengths[k] > model.contract.max_length for k in prepared.fits)
        if prepared.tokens is not None:
            shown = _texts(group, prepared.fits, texts)
            ready.append(Scorable(group.id, row, prepared.fits, prepared.tokens, shown))
        for k, error in prepared.refused.items():
            quarantine.append(_quarantine(error, group.id, row, k))
    return Tokenized(
        len(records),
        ready,
        quarantine,
        controls,
        unprinted,
        shortened,
        late_columns,
        preferences,
    )


def _texts(group: Group, indices: Sequence[int], wanted: bool) -> list[dict[str, str]]:
    if not wanted:
        return [{} for _ in indices]
    prompt = text_of(group.prompt)
    return [{"prompt": prompt, "response": text_of(group.responses[k])} for k in indices]


def text_of(messages: Sequence[Message]) -> str:
    """The text of a prompt or response of one plain message, else its messages as JSON.

    Both are read back as what they were where they are the `prompt` and `response` of a record.
    """
    first = messages[0]
    if len(messages) == 1 and first.keys() == {"role", "content"} and first["role"] in PLAIN:
        return first["content"]
    return json.dumps(messages, ensure_ascii=False)


def score(model: scorer.Scorer, ready: Sequence[Scorable]) -> tuple[list[dict], list[dict]]:
    """Rows `{id, row, response_index, reward}`, and quarantine entries of what has no number.

    With texts the rows have `prompt` and `response` too.
    """
    rows: list[dict[str, Any]] = []
    quarantine: list[dict[str, Any]] = []
    if not ready:
        return rows, quarantine
    rewards = scorer.finite_rewards(model, [group.tokens for group in ready])
    for group, rewards_K in zip(ready, rewards, strict=True):
        for k, reward, texts in zip(group.indices, rewards_K, group.texts, strict=True):
            if np.isfinite(reward):
                place = {"id": group.group_id, "row": group.row, "response_index": k}
                rows.append(place | {"reward": float(reward)} | texts)
                continue
            # NaN in a table of scores would be sorted somewhere, and is no JSON.
            quarantine.append(_quarantine(scorer.not_finite(), group.group_id, group.row, k))
    return rows, quarantine


def account(tokenized: Tokenized, rows: Sequence[dict], quarantine: Sequence[dict]) -> Account:
    """The account of a unit that gave these rows and quarantine entries."""
    counts = {
        "records": tokenized.records,
        "scored": len(rows),
        "quarantined": len(quarantine),
        "unreadable": sum(map(_is_unreadable, quarantine)),
        "with_control_strings": len(tokenized.controls),
        "shortened": tokenized.shortened,
    }
    first = ""
    for entry in quarantine[:1]:
        first = f"record {entry['row']}, {entry['detail']}"
    reasons = collections.Counter(entry["reason"] for entry in quarantine)
    example = "".join(tokenized.controls[:1])
    rewards = {(row["row"], row["response_index"]): row["reward"] for row in rows}
    return Account(
        counts,
        dict(reasons),
        first,
        example,
        dict(tokenized.unprinted),
        tokenized.late_columns,
        agreement.agreement(tokenized.preferences, rewards)._asdict(),
    )


def total(accounts: Sequence[Account]) -> Account:
    """The account of several units, in the order of the input."""
    counts: collections.Counter[str] = collections.Counter()
    reasons: collections.Counter[str] = collections.Counter()
    unprinted: collections.Counter[str] = collections.Counter()
    first = example = ""
    late_columns: dict[str, int] = {}
    for one in accounts:
        counts.update(one.counts)
        reasons.update(one.reasons)
        unprinted.update(one.unprinted)
        first, example = first or one.first, example or one.control_example
        late_columns = one.late_columns | late_columns
    return Account(
        dict(counts),
        dict(reasons),
        first,
        example,
        dict(unprinted),
        late_columns,
        _agreement([one.agreement for one in accounts]),
    )


def _agreement(parts: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """The agreement of all parts, which is not there where an earlier version made one of them."""
    measured = [agreement.Agreement(**part) for part in parts if part is not None]
    if len(measured) < len(parts):
        return None
    return agreement.total(measured)._asdict()


def _is_unreadable(entry: dict[str, Any]) -> bool:
    """Whether a whole record says that the data is not what it is taken for."""
    # Empty texts are what a model wrote, and long ones what `max_length` is too short for.
    is_record = entry["response_index"] == -1
    return is_record and entry["reason"] not in ("empty", *accounting.APART)


def _quarantine(error: BadRecord, group_id: str, row: int, index: int) -> dict[str, Any]:
    return {
        "id": group_id,
        "row": row,
        "response_index": index,
        "reason": error.reason,
        "detail": error.detail,
    }
