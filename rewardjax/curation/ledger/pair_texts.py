"""The texts of pairs, as cleaning reads them: every field of every message that somebody wrote."""

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from rewardjax.curation.ledger.rows import PairText
from rewardjax.curation.ledger.store import Store
from rewardjax.data.groups import NO_CONTENT, Message

# Rows that are in memory at once while shards are read.
BATCH = 2**11
# Of a message: shown apart, or no text at all.
_NO_TEXT = ("role", "content", NO_CONTENT)


class Texts(NamedTuple):
    """The texts of a pair."""

    pair_id: str
    prompt: list[Message]
    response_a: list[Message]
    response_b: list[Message]
    tools: list[dict[str, Any]] | None


# The fields of `Texts` that people or models wrote, in the order in which evidence names them.
SIDES = ("prompt", "response_a", "response_b")


def of_shards(
    store: Store, shards: Sequence[tuple[str, str]]
) -> Iterator[tuple[tuple[str, str], list[Texts]]]:
    """Each of these shards of `pairs` (stage and unit) with its pairs by pair_id.

    In no order: shards that lie in one pack come out of one pass through it, since its rows are
    sorted by pair and each shard has some in all parts of the file.
    """
    manifests = [store.manifest("pairs", stage, unit) for stage, unit in shards]
    for together in store.by_file("pairs", manifests):
        # Only the shards of this file: a condition on stage and unit would read all the others too.
        with store.connect(together, ledgers=("pairs",)) as connection:
            rows = connection.sql("from pairs order by stage, unit, pair_id")
            batches = rows.to_arrow_reader(BATCH)
            by_shard = itertools.groupby(_texts(batches), key=lambda row: row[0])
            waiting = {(m["stage"], m["unit"]) for m in together}
            for shard, pairs in by_shard:
                waiting.remove(shard)
                yield shard, [pair for _, pair in pairs]
        # A shard without rows.
        for shard in sorted(waiting):
            yield shard, []


def _texts(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[tuple[str, str], Texts]]:
    """The pairs in rows of `pairs`, each with the stage and the unit of its shard."""
    for batch in batches:
        for row in batch.to_pylist():
            prompt, a, b = (json.loads(row[name]) for name in SIDES)
            # Shards of earlier versions have no such column.
            tools = json.loads(row.get("tools") or "null")
            yield (row["stage"], row["unit"]), Texts(row["pair_id"], prompt, a, b, tools)


def of_row(row: PairText) -> Texts:
    """A pair as `Store.texts` gives it."""
    return Texts(row["pair_id"], row["prompt"], row["response_a"], row["response_b"], row["tools"])


def text(messages: Sequence[Message]) -> str:
    """All that the messages say: contents, and other fields (calls of tools, reasoning) as JSON."""
    parts = []
    for message in messages:
        parts.append(message["content"])
        # Two calls of a function differ in their arguments alone, and an argument may be an e-mail.
        more = {key: value for key, value in message.items() if key not in _NO_TEXT}
        if more:
            parts.append(json.dumps(more, ensure_ascii=False, sort_keys=True))
    return "\n".join(parts)


def of_users(prompt: Sequence[Message]) -> str:
    """The turns of people only: what a model said before may quote anything."""
    return text([message for message in prompt if message["role"] == "user"])


def compared(pair: Texts) -> tuple[str, str, str]:
    """What makes a pair the pair that it is: its prompt with the tools offered, each response."""
    prompt = text(pair.prompt)
    if pair.tools is not None:
        prompt += "\n" + json.dumps(pair.tools, ensure_ascii=False, sort_keys=True)
    return prompt, text(pair.response_a), text(pair.response_b)
