"""A few pairs that were kept, flipped and discarded, for a look at whether that was right."""

from collections.abc import Sequence
from typing import Any

from rewardjax.curation.ledger.store import Store
from rewardjax.curation.overview import fates
from rewardjax.data.groups import Message

SHOWN = 8
CHARACTERS = 600  # of a text
HEADINGS = {
    fates.FLIPPED: "Labels that were flipped",
    fates.KEPT: "Labels that were kept",
    fates.DISCARDED: "Pairs that were discarded",
}

# Whoever reviewed a finding has seen that there is nothing to hide.
_PERSONAL = """
    select pair_id from findings where finding = 'pii' group by pair_id
    having not bool_or(action = 'restore')"""


def tables(store: Store, iteration: int, *, personal: bool) -> dict[str, list[dict[str, Any]]]:
    """By heading, pairs whose fate the iteration decided: id, pool, reason and texts.

    personal: whether pairs in which personal data were found may be among them; a page is sent to
    people who may not see it.
    """
    by_heading = {}
    for fate, heading in HEADINGS.items():
        sql = f"select * from ({fates.sql(iteration)}) where fate = ? and since = ?"
        if not personal:
            sql += f" and pair_id not in ({_PERSONAL})"
        by_heading[heading] = _first(store, sql, [fate, iteration], SHOWN)
    return by_heading


def flipped(store: Store, count: int) -> list[dict[str, Any]]:
    """At most `count` pairs whose label was turned at any time, as in `tables`."""
    return _first(store, f"select * from ({fates.sql()}) where fate = ?", [fates.FLIPPED], count)


def _first(store: Store, sql: str, values: list[Any], count: int) -> list[dict[str, Any]]:
    # The first by pair_id, which is a hash: a sample at random, and always the same.
    rows = store.query(f"{sql} order by pair_id limit {count}", values).to_pylist()
    texts = store.texts([row["pair_id"] for row in rows])
    return [_shown(*both) for both in zip(rows, texts, strict=True)]


def _shown(row: dict[str, Any], text: Any) -> dict[str, Any]:
    responses = {"a": _clipped(text["response_a"]), "b": _clipped(text["response_b"])}
    sides = {"response a": responses["a"], "response b": responses["b"]}
    # A discarded pair has no label, and one that came with a tie never had a chosen response.
    if row["value"] in responses and row["original"] in responses:
        other = {"a": "b", "b": "a"}[row["value"]]
        sides = {"now chosen": responses[row["value"]], "now rejected": responses[other]}
    shown = {"pair": row["pair_id"], "pool": row["pool"], "because": row["reason"]}
    return shown | {"prompt": _clipped(text["prompt"])} | sides


def _clipped(messages: Sequence[Message]) -> str:
    return "\n".join(message["content"] for message in messages)[:CHARACTERS]
