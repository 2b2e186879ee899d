"""Best-of-N: how good is the response that a reward model picks out of K? Exact expectations, no sampling."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rewardjax.data import formats, sources
from rewardjax.data.groups import BadRow, Group
from rewardjax.evaluators import records
from rewardjax.evaluators.benchmarks import majority
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards

TITLE = "Best of N"
SOURCE = "groups of your own with `responses` and `correct`, in any format of data/formats.py"


@functools.lru_cache(maxsize=4096)
def _all_below(N: int, K: int) -> np.ndarray:
    """[N + 1]: entry i is C(N - i, K) / C(N, K), the chance that K drawn of N without replacement avoid the best i."""
    return np.array([math.comb(N - i, K) / math.comb(N, K) for i in range(N + 1)])


def expected_best(rewards, correct, ks: Sequence[int]) -> np.ndarray:
    """Expected label [len(ks)] of the highest-reward response among K drawn without replacement from one prompt's N; equal rewards share.

    With responses sorted by reward, a run of equal rewards at places i..j-1 holds the maximum with probability (C(N-i,K) - C(N-j,K)) /
    C(N,K) and then contributes its mean label (the best-of-K score of PPE, arXiv 2410.14872, computed exactly)."""
    rewards, correct = np.asarray(rewards, np.float64), np.asarray(correct, np.float64)
    if rewards.ndim != 1 or rewards.shape != correct.shape:
        raise ValueError(
            f"expected one reward and one label a response, got shapes {list(rewards.shape)} and {list(correct.shape)}"
        )
    bad = int(np.sum(~np.isfinite(rewards)) + np.sum(~np.isfinite(correct)))
    if bad:
        raise ValueError(f"{bad} rewards or labels are not finite")
    if len(ks) and not 1 <= min(ks) <= max(ks) <= len(rewards):
        raise ValueError(
            f"K must lie between 1 and the {len(rewards)} responses there are, got {list(ks)}"
        )
    order = np.argsort(-rewards, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(rewards[order]) != 0])
    ends = np.r_[starts[1:], len(rewards)]
    labels = np.add.reduceat(correct[order], starts) / (ends - starts)
    return np.array(
        [
            (_all_below(len(rewards), K)[starts] - _all_below(len(rewards), K)[ends]) @ labels
            for K in ks
        ]
    )


def curve(
    rewards: Sequence[Any],
    correct: Sequence[Any],
    ks: Sequence[int] | None = None,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Best-of-K curve of a scorer over prompts: lists of rewards [N_i] and labels [N_i] (0/1 or graded), one entry a prompt.

    Returns lists over `ks` (default 1, 2, 4, ... up to the smallest N_i, which is included): "score" (mean over prompts of
    `expected_best`), "low" and "high" (percentile bootstrap over prompts), "oracle" (the labels as rewards), "random" (a random pick: K
    makes no difference); and "prompts". Any scorer goes in as `rewards`: lengths for a length-only baseline, vote shares for majority
    voting. Raises ValueError naming the prompt."""
    if len(rewards) != len(correct) or not len(rewards):
        raise ValueError(
            f"best_of_n: needs as many lists of rewards as of labels and at least one, got {len(rewards)} and {len(correct)}"
        )
    if ks is None:
        smallest = min(len(labels) for labels in correct)
        ks = [2**i for i in range(smallest.bit_length())]
        ks += [smallest] if smallest and ks[-1] != smallest else []
    ks = [int(K) for K in ks]
    score, oracle = np.empty((len(rewards), len(ks))), np.empty((len(rewards), len(ks)))
    for i, (prompt_rewards, labels) in enumerate(zip(rewards, correct, strict=True)):
        try:
            score[i], oracle[i] = (
                expected_best(prompt_rewards, labels, ks),
                expected_best(labels, labels, ks),
            )
        except ValueError as error:
            raise ValueError(f"best_of_n: prompt {i}: {error}") from error
    prompts = len(rewards)
    times_drawn = np.random.default_rng(seed).multinomial(
        prompts, np.full(prompts, 1 / prompts), size=resamples
    )
    low, high = np.quantile(
        times_drawn @ score / prompts, [(1 - level) / 2, (1 + level) / 2], axis=0
    )
    random = float(np.mean([np.mean(labels) for labels in correct]))
    return {
        "ks": ks,
        "prompts": prompts,
        "score": score.mean(0).tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
        "oracle": oracle.mean(0).tolist(),
        "random": [random] * len(ks),
    }


def load(path: str, split: tuple[float, float] = (0.0, 1.0), least: int = 1) -> Examples:
    """Whatever `data/sources.py` opens, an item a group with correctness; split: the fraction of prompts to keep, as for training; least:
    groups with fewer responses are left out, so that the curve reaches that far."""
    source = sources.open_source(path)

    def read(record: dict[str, Any]) -> tuple[Item, Group]:
        group = formats.to_group(record, 0, source.name)
        if group.correct is None:
            raise BadRow("bad_schema", "no `correct`: which responses are right?")
        if len(group.responses) < least:
            raise BadRow("bad_schema", f"{len(group.responses)} responses, least = {least}")
        subset = str(record.get("subset") or record.get("category") or "all")
        answers = [majority.final_answer(response[-1]["content"]) for response in group.responses]
        return Item(
            group.id,
            subset,
            {"correct": [int(right) for right in group.correct], "answers": answers},
        ), group

    return records.collect("best_of_n", records.groups_of(source, split), read, [source])


def summarize(items: Sequence[Item], rewards: Rewards) -> Result:
    """How often the best of all responses is right, by subset below; `other`: the curve. Prompts whose responses are all right or all wrong
    say nothing about a scorer and are unused."""
    subsets = {name: _part(rows) for name, rows in records.by_subset(items, rewards).items()}
    rows = [
        (item, np.asarray(found, np.float64)) for item, found in zip(items, rewards, strict=True)
    ]
    part, told = _part(rows), _telling(rows)
    labels = [item.label["correct"] for item, _ in told]
    other = {"curve": curve([found for _, found in told], labels)} if told else {}
    chance = float(np.mean([np.mean(label) for label in labels])) if told else None
    rule = "expected correctness of the response with the highest reward"
    return Result(
        "best_of_n",
        part.value,
        rule,
        chance,
        {"prompts": part},
        subsets if len(subsets) > 1 else {},
        other,
    )


def _telling(rows: Sequence[tuple[Item, np.ndarray]]) -> list[tuple[Item, np.ndarray]]:
    """Items with both right and wrong responses, all of them scored."""
    return [
        (item, found)
        for item, found in rows
        if len(set(item.label["correct"])) == 2 and records.is_scored(found)
    ]


def _part(rows: Sequence[tuple[Item, np.ndarray]]) -> Part:
    """ties: prompts in which several responses share the highest reward."""
    told = _telling(rows)
    picked = [
        float(expected_best(found, item.label["correct"], [len(found)])[0]) for item, found in told
    ]
    ties = sum(int(np.sum(found == found.max()) > 1) for _, found in told)
    unscored = sum(not records.is_scored(found) for _, found in rows)
    return Part(
        float(np.mean(picked)) if told else None,
        len(told),
        ties,
        None,
        unscored,
        len(rows) - len(told) - unscored,
    )
