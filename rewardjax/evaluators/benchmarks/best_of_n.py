"""Best-of-N: how good is the response that a reward model picks out of K? Exact expectations, no sampling."""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rewardjax.data import formats, sources
from rewardjax.data.groups import BadRow, Group
from rewardjax.evaluators import records
from rewardjax.evaluators.benchmarks import Evaluated, majority
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards
from rewardjax.evaluators.stored_rewards import Scores

TITLE = "Best of N"
SOURCE = "groups of your own with `responses` and `correct`, in any format of data/formats.py"
HUB = None
CHANCE = None  # the share of right responses, which differs from data set to data set


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


def better(item: Item, responses: int) -> list[tuple[int, int]]:
    """Every right response over every wrong one."""
    correct = item.label["correct"]
    return [
        (i, j)
        for i, j in itertools.product(range(responses), repeat=2)
        if correct[i] and not correct[j]
    ]


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


def curves(evaluated: Sequence[Evaluated]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The curve of each model, and those of `baselines`, which all models share."""
    by_title: dict[str, dict[str, Mapping[str, Any]]] = {}
    for one in evaluated:
        curve_of_model = one.result.other.get("curve")
        if curve_of_model is None:
            continue
        if one.title not in by_title:
            by_title[one.title] = {one.model: curve_of_model}
            by_title[one.title] |= baselines(one.scores, curve_of_model["ks"])
        else:
            by_title[one.title][one.model] = curve_of_model
    return by_title


def baselines(scores: Scores, ks: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Curves of scorers that need no model: the shortest response, and the majority of answers.

    The majority vote only where at least half of the responses have a final answer: with fewer, it
    would mostly be a vote among a few.
    """
    # The prompts that the model's own curve is over, so that the curves can be compared.
    telling = []
    for i, item in enumerate(scores.items):
        right_and_wrong = len(set(item.label["correct"])) == 2
        if right_and_wrong and np.isfinite(scores.rewards[i]).all():
            telling.append(i)
    correct = [scores.items[i].label["correct"] for i in telling]
    # Best-of-K picks the highest number: that of the shortest response.
    brevity = [-scores.tokens[i] for i in telling]
    by_scorer = {"shortest response": curve(brevity, correct, ks)}
    answers = [scores.items[i].label.get("answers", []) for i in telling]
    answered: list[bool] = []
    for answers_of_prompt in answers:
        answered += [answer is not None for answer in answers_of_prompt]
    if answered and np.mean(answered) >= 0.5:
        by_scorer["majority vote"] = majority.curve(answers, correct, ks)
    return by_scorer


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
