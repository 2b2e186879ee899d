"""Rewards of a benchmark's examples: computed once, stored with the score contract, enough to recompute any rule without the model."""

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rewardjax.data.pack import TokenGroup
from rewardjax.evaluators.benchmark import Item

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
    ]
)
META = b"rewardjax"  # key of the schema's metadata


@dataclasses.dataclass(frozen=True)
class Scores:
    """A benchmark's items with what a model gave each of their responses, all lists in the order of the items.

    rewards: float32 [K], NaN without a score. tokens, characters: int [K], of each response alone. prompt_tokens: of the prompt, which all
    responses share. unscored: {id, response, reason, detail} for each NaN. meta: plain JSON: benchmark, data, model, contract."""

    items: list[Item]
    rewards: list[np.ndarray]
    tokens: list[np.ndarray]
    characters: list[np.ndarray]
    prompt_tokens: list[int]
    unscored: list[dict[str, Any]]
    meta: dict[str, Any]


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
        }
        for item, rewards, tokens, characters, prompt_tokens in zip(
            scores.items, scores.rewards, scores.tokens, scores.characters, scores.prompt_tokens, strict=True
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
        unscored=meta.pop("unscored"),
        meta=meta,
    )
