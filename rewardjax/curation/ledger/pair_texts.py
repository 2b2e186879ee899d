"""The texts of pairs, as cleaning reads them: every field of every message that somebody wrote."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from rewardjax.curation.ledger.rows import PairText
from rewardjax.curation.ledger.store import Store
from rewardjax.data.groups import NO_CONTENT, Message

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


def of_shard(store: Store, stage: str, unit: str) -> list[Texts]:
    """The pairs of a shard of `pairs`, by pair_id."""
    # Of this shard alone: a condition on stage and unit would read all shards for each of them.
    shard = store.manifest("pairs", stage, unit)
    pairs = []
    for row in store.query("select * from pairs order by pair_id", shards=[shard]).to_pylist():
        prompt, a, b = (json.loads(row[name]) for name in SIDES)
        # Shards of earlier versions have no such column.
        tools = json.loads(row.get("tools") or "null")
        pairs.append(Texts(row["pair_id"], prompt, a, b, tools))
    return pairs


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
