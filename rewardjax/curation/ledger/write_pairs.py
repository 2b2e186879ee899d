"""The ledger -> a Hugging Face data set of preference pairs, with where each label came from."""

import collections
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rewardjax import files
from rewardjax.curation.ledger import pools as pools_lib
from rewardjax.curation.ledger.store import Store

ROWS = 5_000  # written at a time
LABELS = ("current", "original")
_PROVENANCE = ("pair_id", "source", "pool", "original_label", "reason", "since", "record_id")


def export(
    store: Store,
    output: pathlib.Path,
    *,
    pools: Sequence[str] = pools_lib.POOLS[:-1],
    labels: str = "current",
    flips: bool = True,
    iteration: int | None = None,
    judges: str = "panel",
) -> dict[str, int]:
    """Write the pairs of `pools` to the Parquet file `output`; returns counts by fate.

    Columns: prompt, chosen, rejected (message lists), and pair_id, source, pool, original_label ("kept", "flipped", or "none" where the
    pair came without one), reason, since, record_id. labels: "current" as curation stands (after `iteration`), or "original" as the pairs
    came. flips: False leaves out the pairs whose current label is not the original one: the paper's "filtered" against
    "filtered + flipped"; with labels="original" it has the same pairs with the labels they came with.
    Left out, and counted: pairs held for review, ties, pairs without a label, flips where they are not wanted, pairs with tool calls
    (which a table of messages cannot hold). Rows are ordered by pair_id, which is a hash: shuffled, and always the same way."""
    if unknown := set(pools) - set(pools_lib.POOLS):
        raise ValueError(f"pools: {sorted(unknown)[0]!r}, not one of {', '.join(pools_lib.POOLS)}")
    if labels not in LABELS:
        raise ValueError(f"labels = {labels!r}, not one of {', '.join(LABELS)}")
    counts: collections.Counter[str] = collections.Counter()
    chosen = [row for row in _labeled(store, pools, labels, flips, iteration, judges, counts)]
    reasoning = store.query(
        """select count(*) from pairs where concat(prompt, response_a, response_b) like '%"reasoning_content":%'"""
    )
    message = {"role": pa.string(), "content": pa.string()} | (
        {"reasoning_content": pa.string()} if reasoning.column(0)[0].as_py() else {}
    )
    messages = pa.list_(pa.struct(list(message.items())))
    schema = pa.schema(
        [(name, messages) for name in ("prompt", "chosen", "rejected")]
        + [(name, pa.string()) for name in _PROVENANCE]
    )
    schema = schema.set(schema.get_field_index("since"), pa.field("since", pa.int32()))
    output.parent.mkdir(parents=True, exist_ok=True)
    with (
        files.replacing(output) as part,
        pq.ParquetWriter(part, schema, compression="zstd") as writer,
    ):
        for first in range(0, len(chosen), ROWS):
            rows = list(_records(store, chosen[first : first + ROWS], counts))
            writer.write_table(pa.Table.from_pylist(rows, schema))
    return dict(counts)


def _labeled(
    store: Store,
    pools: Sequence[str],
    labels: str,
    flips: bool,
    iteration: int | None,
    judges: str,
    counts: collections.Counter,
) -> Iterator[dict[str, Any]]:
    """Rows of `pools` with the label they are exported with; the others are counted."""
    for row in pools_lib.pools(store, iteration, judges).to_pylist():
        if row["pool"] not in pools:
            continue
        turned = (
            row["original"] in ("a", "b")
            and row["value"] in ("a", "b")
            and row["original"] != row["value"]
        )
        label = row["value"] if labels == "current" else row["original"]
        fate = (
            "held"
            if row["reason"] == pools_lib.HELD_BACK
            else "flip"
            if turned and not flips
            else "tie"
            if label == "tie"
            else "no label"
            if label is None
            else "written"
        )
        if fate == "written":
            original = (
                "none"
                if row["original"] not in ("a", "b")
                else "kept"
                if label == row["original"]
                else "flipped"
            )
            yield row | {"label": label, "original_label": original}
        else:
            counts[fate] += 1


def _records(
    store: Store, rows: Sequence[dict[str, Any]], counts: collections.Counter
) -> Iterator[dict[str, Any]]:
    for row, text in zip(rows, store.texts([row["pair_id"] for row in rows]), strict=True):
        sides = [text["response_a"], text["response_b"]]
        if any(message.get("tool_calls") for message in (*text["prompt"], *sides[0], *sides[1])):
            counts["tool calls"] += 1
            continue
        counts["written"] += 1
        chosen, rejected = sides if row["label"] == "a" else sides[::-1]
        provenance = {name: (row | text)[name] for name in _PROVENANCE}
        yield {"prompt": text["prompt"], "chosen": chosen, "rejected": rejected} | provenance
