"""Rewards of a benchmark's examples, computed once and stored with the score contract.

They are enough to recompute any rule without the model.
"""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rewardjax import fingerprint
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import REASONS, BadRecord, Group, costing_one_record
from rewardjax.data.pack import TokenGroup
from rewardjax.evaluators import windows
from rewardjax.evaluators.records import Examples, Item
from rewardjax.io import files
from rewardjax.scoring.prepare import prepare

# Token groups -> rewards [K] of the responses of each.
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
# Key of the schema's metadata, where the contract travels with the rewards in one file.
META = b"rewardjax"
# Items tokenized and scored at a time: a killed run repeats at most so many, and between two
# windows it can say how far it is.
WINDOW = 128


@dataclasses.dataclass(frozen=True)
class Scores:
    """A benchmark's items with what a model gave each of their K responses.

    All lists are in the order of the items. rewards: float32 [K], NaN without a score. tokens,
    characters: int [K], of each response alone, -1 where it cannot be encoded. prompt_tokens: of
    the prompt, which all responses share. prompts: its fingerprint, equal for items of one prompt.
    unscored: {id, response, reason, detail} for each NaN. meta: plain JSON, of which this module
    writes `benchmark` and `data`; the rest is the caller's.
    """

    items: list[Item]
    rewards: list[np.ndarray]
    tokens: list[np.ndarray]
    characters: list[np.ndarray]
    prompt_tokens: list[int]
    prompts: list[str]
    unscored: list[dict[str, Any]]
    meta: dict[str, Any]


class Tokenized(NamedTuple):
    """A group's K responses: those that can be scored, and why the others cannot.

    tokens: the conversations of `fits`, None where none can be scored. lengths: [K] tokens of each
    response alone, and prompt_tokens of the prompt; -1 where it cannot be encoded. control_example:
    a control string among the texts, which was read as text; "" where there is none. unprinted:
    fields of the group that the chat template does not print.
    """

    tokens: TokenGroup | None
    fits: list[int]
    lengths: np.ndarray
    prompt_tokens: int
    unscored: list[dict[str, Any]]
    control_example: str = ""
    unprinted: Sequence[str] = ()


def tokenize(group: Group, tokenizer: ChatTokenizer, max_length: int, over_long: str) -> Tokenized:
    """One group of a benchmark, ready to be scored; an empty response is encoded like any other.

    max_length, over_long: as for `data.prepare.prepare`. What cannot be scored has its reason.
    """
    try:
        with costing_one_record("the example cannot be tokenized"):
            return _tokenize(group, tokenizer, max_length, over_long)
    except BadRecord as error:
        why = {"reason": error.reason, "detail": error.detail}
        unscored = []
        for k in range(len(group.responses)):
            unscored.append({"id": group.id, "response": k, **why})
        return Tokenized(None, [], np.full(len(group.responses), -1, np.int32), -1, unscored)


def _tokenize(group: Group, tokenizer: ChatTokenizer, max_length: int, over_long: str) -> Tokenized:
    prepared = prepare(group, tokenizer, max_length, over_long, as_published=True)
    unscored = [
        {"id": group.id, "response": k, "reason": error.reason, "detail": error.detail}
        for k, error in prepared.refused.items()
    ]
    encoded = prepared.lengths >= 0  # [K]
    if not encoded.any():
        return Tokenized(None, [], prepared.lengths, -1, unscored)
    prompt_tokens = len(tokenizer.encode(group.prompt, group.tools))
    lengths = np.where(encoded, prepared.lengths - prompt_tokens, -1).astype(np.int32)
    return Tokenized(
        prepared.tokens,
        prepared.fits,
        lengths,
        prompt_tokens,
        unscored,
        prepared.control_example,
        tokenizer.unprinted(group),
    )


def rewards_of(tokenized: Sequence[Tokenized], score: Score) -> list[np.ndarray]:
    """Rewards float32 [K] of all responses of each group, NaN for those that cannot be scored."""
    scorable = [group.tokens for group in tokenized if group.tokens is not None]
    # A model is not asked about nothing: it could not tell how long its rows are to be.
    scored = iter(score(scorable) if scorable else [])
    rewards = []
    for group in tokenized:
        rewards_of_group = np.full(len(group.lengths), np.nan, np.float32)
        if group.tokens is not None:
            rewards_of_group[group.fits] = next(scored)
        rewards.append(rewards_of_group)
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
    """Score every response of a benchmark, a window of items at a time.

    max_length, over_long: as for `data.prepare.prepare`. meta: goes into the `meta` of the result.
    parts: a folder to keep finished windows in, so that a run which is killed goes on and others
    can take part (`windows`); whoever starts anew has removed it. advance: called with the number
    of items of each finished window.
    """
    by_window: dict[int, list[Tokenized]] = {}

    def tokenize_window(window: int) -> list[Tokenized]:
        groups = examples.groups[window * WINDOW : (window + 1) * WINDOW]
        tokenized = [tokenize(group, tokenizer, max_length, over_long) for group in groups]
        # Token ids are the bulk of it, and nobody needs them again.
        by_window[window] = [group._replace(tokens=None) for group in tokenized]
        return tokenized

    def score_window(window: int) -> np.ndarray:
        return np.concatenate(rewards_of(tokenize_window(window), score))

    count = -(-len(examples.groups) // WINDOW)
    if parts is None:
        done = ((window, score_window(window)) for window in range(count))
    else:
        done = windows.scored(parts, count, score_window)
    rewards_by_window: dict[int, list[np.ndarray]] = {}
    for window, flat in done:
        # One that others have scored: its lengths and its reasons are a matter of tokens.
        if window not in by_window:
            tokenize_window(window)
        ends = np.cumsum([len(group.lengths) for group in by_window[window]])
        rewards_by_window[window] = np.split(flat, ends[:-1])
        advance(len(ends))
    tokenized: list[Tokenized] = []
    rewards: list[np.ndarray] = []
    for window in range(count):
        tokenized += by_window[window]
        rewards += rewards_by_window[window]
    unscored: list[dict[str, Any]] = []
    controls: list[str] = []
    unprinted: collections.Counter[str] = collections.Counter()
    for item, group, of_group in zip(examples.items, tokenized, rewards, strict=True):
        unscored += group.unscored
        # Of those that could be encoded, the model has no number for these.
        for k in group.fits:
            if np.isnan(of_group[k]):
                why = {"reason": "not_finite", "detail": REASONS["not_finite"]}
                unscored.append({"id": item.id, "response": k, **why})
        unprinted.update(group.unprinted)
        if group.control_example:
            controls.append(f"example {item.id}, {group.control_example!r}")
    about: dict[str, Any] = {"benchmark": examples.name, "data": examples.fingerprint}
    # Scores of a benchmark without any stay what they were.
    if controls:
        about |= {"control_records": len(controls), "control_example": controls[0]}
    if unprinted:
        about["unprinted"] = dict(unprinted)
    return Scores(
        items=examples.items,
        rewards=rewards,
        tokens=[group.lengths for group in tokenized],
        characters=[_characters(group) for group in examples.groups],
        prompt_tokens=[group.prompt_tokens for group in tokenized],
        prompts=[fingerprint.of_json(group.prompt) for group in examples.groups],
        unscored=unscored,
        meta={**about, **meta},
    )


def _characters(group: Group) -> np.ndarray:
    """[K]: of each response's last turn."""
    return np.array([len(response[-1]["content"]) for response in group.responses], np.int32)


def write(scores: Scores, path: str | pathlib.Path) -> None:
    """Write the scores to a Parquet file that appears only when it is whole."""
    rows = []
    for i, item in enumerate(scores.items):
        rows.append(
            {
                "id": item.id,
                "subset": item.subset,
                "label": json.dumps(item.label),
                # Null, since readers of Parquet disagree about what a NaN means.
                "rewards": [None if np.isnan(reward) else reward for reward in scores.rewards[i]],
                "tokens": scores.tokens[i],
                "characters": scores.characters[i],
                "prompt_tokens": scores.prompt_tokens[i],
                "prompt": scores.prompts[i],
            }
        )
    meta = {META: json.dumps(scores.meta | {"unscored": scores.unscored}).encode()}
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of several evaluations that share the work each may come to write it.
    with files.replacing(path, many_writers=True) as part:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA.with_metadata(meta)), part)


def read(path: str | pathlib.Path) -> Scores:
    """The scores that `write` wrote. Raises ValueError for a file of another kind."""
    table = pq.read_table(path)
    if META not in (table.schema.metadata or {}):
        raise ValueError(
            f"{path} is not a file of scores of rewardjax.evaluate: "
            f"the Parquet metadata has no {META.decode()!r}"
        )
    meta = json.loads(table.schema.metadata[META])
    rows = table.to_pylist()
    return Scores(
        items=[Item(row["id"], row["subset"], json.loads(row["label"])) for row in rows],
        # None becomes NaN on the way.
        rewards=[np.array(row["rewards"], np.float32) for row in rows],
        tokens=[np.array(row["tokens"], np.int32) for row in rows],
        characters=[np.array(row["characters"], np.int32) for row in rows],
        prompt_tokens=[row["prompt_tokens"] for row in rows],
        prompts=[row["prompt"] for row in rows],
        unscored=meta.pop("unscored"),
        meta=meta,
    )
