"""Rewards of a benchmark's examples: computed once, stored with the score contract, enough to recompute any rule without the model."""

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rewardjax import fingerprint
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import BadRow, Group, check_text
from rewardjax.data.pack import TokenGroup
from rewardjax.data.tokenize import split_prefix, tokenize_group
from rewardjax.evaluators.benchmark import Examples, Item

Score = Callable[[list[TokenGroup]], list[np.ndarray]]

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("subset", pa.string()),
        ("label", pa.string()),  # JSON
        ("rewards", pa.list_(pa.float32())),  # null where there is no score
        ("tokens", pa.list_(pa.int32())),  # of each response, without the prompt
        ("characters", pa.list_(pa.int32())),
        ("prompt_tokens", pa.int32()),
        ("prompt", pa.string()),  # fingerprint
    ]
)
META = b"rewardjax"  # key of the schema's metadata
WINDOW = 512  # items tokenised and scored at a time


@dataclasses.dataclass(frozen=True)
class Scores:
    """A benchmark's items with what a model gave each of their responses, all lists in the order of the items.

    rewards: float32 [K], NaN without a score. tokens, characters: int [K], of each response alone, -1 where it cannot be encoded.
    prompt_tokens: of the prompt, which all responses share; prompts: its fingerprint, equal for items of one prompt. unscored: {id, response, reason, detail} for each NaN. meta: plain JSON: benchmark, data, model, contract."""

    items: list[Item]
    rewards: list[np.ndarray]
    tokens: list[np.ndarray]
    characters: list[np.ndarray]
    prompt_tokens: list[int]
    prompts: list[str]
    unscored: list[dict[str, Any]]
    meta: dict[str, Any]


def compute(
    examples: Examples,
    tokenizer: ChatTokenizer,
    score: Score,
    *,
    max_length: int,
    over_long: str,
    meta: dict[str, Any],
    advance: Callable[[int], Any] = lambda items: None,
) -> Scores:
    """Score every response; `max_length` and `over_long` as for `tokenize.prepare`. What does not fit, or is no text that can be encoded,
    has no score and is listed; an empty response is scored like any other, as the reference implementations do.

    `advance` is told how many items each window finished."""
    rewards, tokens, prompt_tokens, unscored = [], [], [], []
    for first in range(0, len(examples.groups), WINDOW):
        window = [_tokenize(group, tokenizer, max_length, over_long) for group in examples.groups[first : first + WINDOW]]
        found = iter(score([one.tokens for one in window if one.tokens is not None]))
        for one in window:
            values = np.full(len(one.lengths), np.nan, np.float32)
            if one.tokens is not None:
                values[one.fits] = next(found)
            rewards.append(values)
            tokens.append(one.lengths)
            prompt_tokens.append(one.prompt_tokens)
            unscored += one.bad
        advance(len(window))
    characters = [np.array([len(response[-1]["content"]) for response in group.responses], np.int32) for group in examples.groups]
    meta = {"benchmark": examples.name, "data": examples.fingerprint, **meta}
    prompts = [fingerprint.of_json(group.prompt) for group in examples.groups]
    return Scores(examples.items, rewards, tokens, characters, prompt_tokens, prompts, unscored, meta)


class _Tokenized(NamedTuple):
    tokens: TokenGroup | None  # of the responses that fit
    fits: list[int]
    lengths: np.ndarray  # [K] tokens of each response, -1 where it cannot be encoded
    prompt_tokens: int  # -1 where it cannot be encoded
    bad: list[dict[str, Any]]


def _tokenize(group: Group, tokenizer: ChatTokenizer, max_length: int, over_long: str) -> _Tokenized:
    """A group's responses that can be scored, and a line for each of the others."""
    conversations, fits, bad = [], [], []
    lengths, prompt_tokens = np.full(len(group.responses), -1, np.int32), -1
    for k, response in enumerate(group.responses):
        try:
            check_text(group.prompt, "prompt")
            check_text(response, f"responses[{k}]")
            prompt_tokens = len(tokenizer.encode(group.prompt))
            tokens = np.asarray(tokenizer.encode(group.prompt + response), np.int32)
            lengths[k] = len(tokens) - prompt_tokens
            if len(tokens) > max_length:
                tokens = tokenize_group(dataclasses.replace(group, responses=[response]), tokenizer, max_length, over_long).prefix
            conversations.append(tokens)
            fits.append(k)
        except BadRow as error:
            bad.append({"id": group.id, "response": k, "reason": error.reason, "detail": error.detail})
    return _Tokenized(split_prefix(conversations) if fits else None, fits, lengths, prompt_tokens, bad)


def write(scores: Scores, path: str | pathlib.Path) -> None:
    """Write the scores to a Parquet file that appears only when it is whole."""
    rows = [
        {
            "id": item.id,
            "subset": item.subset,
            "label": json.dumps(item.label),
            "rewards": [None if np.isnan(reward) else reward for reward in rewards],
            "tokens": tokens,
            "characters": characters,
            "prompt_tokens": prompt_tokens,
            "prompt": prompt,
        }
        for item, rewards, tokens, characters, prompt_tokens, prompt in zip(
            scores.items, scores.rewards, scores.tokens, scores.characters, scores.prompt_tokens, scores.prompts, strict=True
        )
    ]
    meta = {META: json.dumps(scores.meta | {"unscored": scores.unscored}).encode()}
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA.with_metadata(meta)), partial)
    partial.replace(path)


def read(path: str | pathlib.Path) -> Scores:
    """The scores that `write` wrote. Raises ValueError for a file of another kind."""
    table = pq.read_table(path)
    if META not in (table.schema.metadata or {}):
        raise ValueError(f"{path}: no scores of rewardjax.evaluate (the Parquet metadata has no {META.decode()!r})")
    meta = json.loads(table.schema.metadata[META])
    rows = table.to_pylist()
    return Scores(
        items=[Item(row["id"], row["subset"], json.loads(row["label"])) for row in rows],
        rewards=[np.array(row["rewards"], np.float32) for row in rows],
        tokens=[np.array(row["tokens"], np.int32) for row in rows],
        characters=[np.array(row["characters"], np.int32) for row in rows],
        prompt_tokens=[row["prompt_tokens"] for row in rows],
        prompts=[row["prompt"] for row in rows],
        unscored=meta.pop("unscored"),
        meta=meta,
    )
