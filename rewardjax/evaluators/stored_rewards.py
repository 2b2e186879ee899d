"""Rewards of a benchmark's examples: computed once, stored with the score contract, enough to recompute any rule without the model."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rewardjax import files, fingerprint
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import Group
from rewardjax.data.pack import TokenGroup
from rewardjax.evaluators.records import Examples, Item
from rewardjax.scoring.prepare import prepare

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
WINDOW = 512  # items tokenized and scored at a time


@dataclasses.dataclass(frozen=True)
class Scores:
    """A benchmark's items with what a model gave each of their responses, all lists in the order of the items.

    rewards: float32 [K], NaN without a score. tokens, characters: int [K], of each response alone, -1 where it cannot be encoded.
    prompt_tokens: of the prompt, which all responses share. prompts: its fingerprint, equal for items of one prompt. unscored:
    {id, response, reason, detail} for each NaN. meta: plain JSON: benchmark, data, model, contract."""

    items: list[Item]
    rewards: list[np.ndarray]
    tokens: list[np.ndarray]
    characters: list[np.ndarray]
    prompt_tokens: list[int]
    prompts: list[str]
    unscored: list[dict[str, Any]]
    meta: dict[str, Any]


class Tokenized(NamedTuple):
    """A group's responses that can be scored, and why the others cannot."""

    tokens: TokenGroup | None  # of those that fit, None where none does
    fits: list[int]
    lengths: np.ndarray  # [K] tokens of each response, -1 where it cannot be encoded
    prompt_tokens: int  # -1 where it cannot be encoded
    unscored: list[dict[str, Any]]


def tokenize(group: Group, tokenizer: ChatTokenizer, max_length: int, over_long: str) -> Tokenized:
    """One group of a benchmark, ready to be scored; an empty response is encoded like any other.

    max_length, over_long: as for `data.tokenize.prepare`.
    """
    prepared = prepare(group, tokenizer, max_length, over_long, as_published=True)
    unscored = [
        {"id": group.id, "response": k, "reason": error.reason, "detail": error.detail}
        for k, error in prepared.refused.items()
    ]
    encoded = prepared.lengths >= 0  # [K]
    if not encoded.any():
        return Tokenized(None, [], prepared.lengths, -1, unscored)
    prompt_tokens = len(tokenizer.encode(group.prompt))
    lengths = np.where(encoded, prepared.lengths - prompt_tokens, -1).astype(np.int32)
    return Tokenized(prepared.tokens, prepared.fits, lengths, prompt_tokens, unscored)


def rewards_of(tokenized: Sequence[Tokenized], score: Score) -> list[np.ndarray]:
    """Rewards float32 [K] of all responses of each group, NaN for those that cannot be scored."""
    scorable = [one.tokens for one in tokenized if one.tokens is not None]
    found = iter(score(scorable) if scorable else [])
    rewards = [np.full(len(one.lengths), np.nan, np.float32) for one in tokenized]
    for one, values in zip(tokenized, rewards, strict=True):
        if one.tokens is not None:
            values[one.fits] = next(found)
    return rewards


def compute(
    examples: Examples,
    tokenizer: ChatTokenizer,
    score: Score,
    *,
    max_length: int,
    over_long: str,
    meta: dict[str, Any],
    parts: pathlib.Path | None = None,
    advance: Callable[[int], Any] = lambda items: None,
) -> Scores:
    """Score every response of a benchmark, a window of items at a time; `advance` is told how many items each window finished.

    parts: a folder to keep finished windows in, so that a run which is killed goes on; whoever starts anew has removed it."""
    tokenized: list[Tokenized] = []
    rewards: list[np.ndarray] = []
    for first in range(0, len(examples.groups), WINDOW):
        window = [
            tokenize(group, tokenizer, max_length, over_long)
            for group in examples.groups[first : first + WINDOW]
        ]
        file = parts / f"{first:08d}.npy" if parts is not None else None
        if file is not None and file.exists():
            whole = np.load(file)
            found = np.split(whole, np.cumsum([len(one.lengths) for one in window])[:-1])
        else:
            found = rewards_of(window, score)
            if file is not None and jax.process_index() == 0:
                file.parent.mkdir(parents=True, exist_ok=True)
                # By handle: given a name, np.save would add .npy to it.
                with files.replacing(file) as part, open(part, "wb") as opened:
                    np.save(opened, np.concatenate(found))
        tokenized += [one._replace(tokens=None) for one in window]
        rewards += found
        advance(len(window))
    return Scores(
        items=examples.items,
        rewards=rewards,
        tokens=[one.lengths for one in tokenized],
        characters=[
            np.array([len(response[-1]["content"]) for response in group.responses], np.int32)
            for group in examples.groups
        ],
        prompt_tokens=[one.prompt_tokens for one in tokenized],
        prompts=[fingerprint.of_json(group.prompt) for group in examples.groups],
        unscored=[entry for one in tokenized for entry in one.unscored],
        meta={"benchmark": examples.name, "data": examples.fingerprint, **meta},
    )


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
            scores.items,
            scores.rewards,
            scores.tokens,
            scores.characters,
            scores.prompt_tokens,
            scores.prompts,
            strict=True,
        )
    ]
    meta = {META: json.dumps(scores.meta | {"unscored": scores.unscored}).encode()}
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as part:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA.with_metadata(meta)), part)


def read(path: str | pathlib.Path) -> Scores:
    """The scores that `write` wrote. Raises ValueError for a file of another kind."""
    table = pq.read_table(path)
    if META not in (table.schema.metadata or {}):
        raise ValueError(
            f"{path}: no scores of rewardjax.evaluate (the Parquet metadata has no {META.decode()!r})"
        )
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
