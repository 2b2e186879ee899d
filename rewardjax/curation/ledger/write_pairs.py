"""The ledger -> a Hugging Face data set of preference pairs, with where each label came from."""

import collections
import json
import operator
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rewardjax.curation.cleaning import coverage, personal_data
from rewardjax.curation.ledger import pools as pools_lib
from rewardjax.curation.ledger.store import Store
from rewardjax.data.groups import NO_CONTENT
from rewardjax.io import files

ROWS = 5_000  # written at a time
LABELS = ("current", "original")
PERSONAL = ("keep", "leave_out", "mask")
SIDES = ("a", "b")
CONVERSATIONS = ("prompt", "chosen", "rejected")
# Fields of messages that a table cannot hold: calls of different functions have other arguments.
TEXT_ONLY = ("tool_calls", "tool_call_id", "name")
_PROVENANCE = {
    "pair_id": pa.string(),
    "source": pa.string(),
    "pool": pa.string(),
    "original_label": pa.string(),
    "reason": pa.string(),
    "since": pa.int32(),
    "record_id": pa.string(),
}


def export(
    store: Store,
    output: pathlib.Path,
    *,
    pools: Sequence[str] = pools_lib.POOLS[:-1],
    labels: str = "current",
    flips: bool = True,
    iteration: int | None = None,
    judges: str = "panel",
    personal: str = "keep",
) -> dict[str, int]:
    """Write the pairs of `pools` to the Parquet file `output`; returns counts by fate.

    Columns: prompt, chosen, rejected (message lists), tools (JSON, where a pair has any), pair_id,
    source, pool, original_label ("kept", "flipped", or "none" where the pair came without one),
    reason, since, record_id. Rows are ordered by pair_id, which is a hash: shuffled, and always the
    same way.

    Left out, and counted: pairs held for review, ties, pairs without a label, flips and personal
    data where they are not wanted. Where a pair of the store calls tools, messages are JSON texts,
    which training reads as well: a table has the same fields for all calls.

    Args:
        store: the ledger.
        output: the file; it appears when it is whole.
        pools: which pairs.
        labels: "current" as curation stands, or "original" as the pairs came.
        flips: False leaves out the pairs whose current label is not the original one: the paper's
            "filtered" against "filtered + flipped"; with labels="original" it has the same pairs
            with the labels they came with.
        iteration: as things stood after it.
        judges: the voter whose merged votes count.
        personal: of pairs in which cleaning found personal data: "keep" writes them, and counts
            them as "personal data"; "leave_out" does not. "mask" replaces what the patterns of
            `personal_data` find in any text, and counts the pairs as "masked".

    Raises:
        ValueError: for an unknown pool, kind of labels or of `personal`; where "leave_out" meets
            pairs that were never looked through.
    """
    for pool in pools:
        if pool not in pools_lib.POOLS:
            raise ValueError(f"pools: {pool!r} is not one of {', '.join(pools_lib.POOLS)}")
    if labels not in LABELS:
        raise ValueError(f"labels = {labels!r} is not one of {', '.join(LABELS)}")
    if personal not in PERSONAL:
        raise ValueError(f"personal = {personal!r} is not one of {', '.join(PERSONAL)}")
    counts: collections.Counter[str] = collections.Counter()

    def labeled() -> Iterator[list[dict[str, Any]]]:
        """The rows that are written, some thousand at a time; counts the others."""
        sql = f"""
            select standing.*, seen.pair_id is not null as is_seen,
                personal.pair_id is not null as has_personal_data
            from ({pools_lib.sql(iteration, judges)}) as standing
            left join ({coverage.looked_at_sql(store, "pii")}) as seen using (pair_id)
            left join ({coverage.open_findings_sql("pii")}) as personal using (pair_id)
            order by pair_id"""
        with store.stream(sql, rows=ROWS) as batches:
            for batch in batches:
                rows = []
                for row in batch.to_pylist():
                    if row["pool"] not in pools:
                        continue
                    label = row["value"]
                    if labels == "original":
                        label = row["original"]
                    fate = _fate(row, label, flips)
                    if fate != "written":
                        counts[fate] += 1
                        continue
                    if personal == "leave_out" and not row["is_seen"]:
                        raise ValueError(
                            f"personal = 'leave_out': pair {row['pair_id']} was never looked "
                            "through for personal data; let `curate run` clean it with clean.pii "
                            "set, or mask"
                        )
                    if row["has_personal_data"]:
                        counts["personal data"] += 1
                        if personal == "leave_out":
                            continue
                    against = _against_original(row, label)
                    rows.append(row | {"label": label, "original_label": against})
                yield rows

    written = _write(store, output, labeled(), _PROVENANCE, masking=personal == "mask")
    return dict(counts + written)


def write_labels(store: Store, output: pathlib.Path, labels: Mapping[str, str]) -> None:
    """Write pairs with these labels, pair_id -> "a" or "b", to the Parquet file `output`.

    What a reward model is trained on: prompt, chosen, rejected and pair_id, ordered by pair_id.
    """
    ids = sorted(labels)
    slices = (ids[start : start + ROWS] for start in range(0, len(ids), ROWS))
    rows = ([{"pair_id": i, "label": labels[i]} for i in part] for part in slices)
    _write(store, output, rows, {"pair_id": pa.string()})


def _fate(row: Mapping[str, Any], label: str | None, flips: bool) -> str:
    """What becomes of a pair of the pools that are exported: "written", or why it is left out."""
    if row["reason"] == pools_lib.HELD_BACK:
        return "held"
    was_flipped = {row["original"], row["value"]} == set(SIDES)
    if was_flipped and not flips:
        return "flip"
    if label is None:
        return "no label"
    if label not in SIDES:
        return "tie"
    return "written"


def _against_original(row: Mapping[str, Any], label: str) -> str:
    if row["original"] not in SIDES:
        return "none"
    if label == row["original"]:
        return "kept"
    return "flipped"


def _write(
    store: Store,
    output: pathlib.Path,
    parts: Iterable[Sequence[dict[str, Any]]],
    about: Mapping[str, Any],
    *,
    masking: bool = False,
) -> collections.Counter[str]:
    """Write rows, given in parts, with `pair_id`, `label` and the columns `about`; the counts."""
    counts: collections.Counter[str] = collections.Counter()
    as_text = _mentions(store, *TEXT_ONLY)
    messages = pa.list_(pa.struct(_message_fields(store)))
    if as_text:
        messages = pa.string()
    columns: dict[str, pa.DataType] = dict.fromkeys(CONVERSATIONS, messages)
    if _have_tools(store):
        # As text: schemas of different functions have no common columns.
        columns["tools"] = pa.string()
    columns |= dict(about)
    schema = pa.schema(list(columns.items()))
    output.parent.mkdir(parents=True, exist_ok=True)
    with (
        files.replacing(output) as part,
        pq.ParquetWriter(part, schema, compression="zstd") as writer,
    ):
        for rows in parts:
            records = list(_records(store, rows, about))
            if masking:
                bare = [_masked(record) for record in records]
                counts["masked"] += sum(map(operator.ne, bare, records))
                records = bare
            if as_text:
                records = [_with_texts(record) for record in records]
            counts["written"] += len(records)
            writer.write_table(pa.Table.from_pylist(records, schema))
    return counts


def _message_fields(store: Store) -> list[tuple[str, pa.DataType]]:
    """The fields of a message: a thinking model's, only where the store has any of it.

    The trainer reads a column that is always null as well as none, but people open these files.
    """
    fields = [("role", pa.string()), ("content", pa.string())]
    if _mentions(store, "reasoning_content"):
        fields.append(("reasoning_content", pa.string()))
    return fields


def _have_tools(store: Store) -> bool:
    """Whether some pair may call tools. Shards of earlier versions have no such column."""
    columns = store.query("select * from pairs limit 0").column_names
    return "tools" in columns and _any_pair(store, "tools is not null")


def _mentions(store: Store, *fields: str) -> bool:
    """Whether messages of some pair have one of these fields."""
    # Quotes inside a text are escaped, so that only keys match.
    keys = [f"""concat(prompt, response_a, response_b) like '%"{name}":%'""" for name in fields]
    return _any_pair(store, " or ".join(keys))


def _any_pair(store: Store, condition: str) -> bool:
    """Whether some pair of the store meets a condition in SQL."""
    return store.query(f"select count(*) from pairs where {condition}").column(0)[0].as_py() > 0


def _records(
    store: Store, rows: Sequence[dict[str, Any]], about: Iterable[str]
) -> Iterator[dict[str, Any]]:
    texts = store.texts([row["pair_id"] for row in rows])
    for row, text in zip(rows, texts, strict=True):
        chosen, rejected = text["response_a"], text["response_b"]
        if row["label"] == "b":
            chosen, rejected = rejected, chosen
        provenance = {name: {**text, **row}[name] for name in about}
        record: dict[str, Any] = {"prompt": text["prompt"], "chosen": chosen, "rejected": rejected}
        if text["tools"] is not None:
            record["tools"] = json.dumps(text["tools"], ensure_ascii=False)
        yield record | provenance


def _masked(record: dict[str, Any]) -> dict[str, Any]:
    """A record without personal data in any text of its conversations."""
    masked = {name: _masked_value(record[name]) for name in CONVERSATIONS}
    return record | masked


def _masked_value(value: Any) -> Any:
    # Arguments of calls are nested, and sometimes JSON in a text.
    if isinstance(value, str):
        return personal_data.masked(value)
    if isinstance(value, list):
        return [_masked_value(item) for item in value]
    if isinstance(value, dict):
        return {key: _masked_value(item) for key, item in value.items()}
    return value


def _with_texts(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose conversations are JSON texts, as the source had them."""
    texts = {}
    for name in CONVERSATIONS:
        messages = []
        for message in record[name]:
            if message.get(NO_CONTENT):
                message = {**message, "content": None}
            messages.append({key: message[key] for key in message if key != NO_CONTENT})
        texts[name] = json.dumps(messages, ensure_ascii=False)
    return record | texts
