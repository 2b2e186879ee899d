"""Which response of an example is better than which, in every benchmark: for calibration, length and bias, which none of them scores."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rewardjax.evaluators.records import Item
from rewardjax.evaluators.stored_rewards import Scores


def of(benchmark: str, item: Item, responses: int) -> list[tuple[int, int]]:
    """Pairs (better, worse) of an item's responses by its label; none where the label is a tie."""
    label = item.label
    if benchmark == "pairs":
        return [
            (i, j) if target > 0.5 else (j, i)
            for i, j, target, tie in label["pairs"]
            if not tie and target != 0.5
        ]
    if benchmark == "ppe_preference":
        return {1.0: [(0, 1)], 0.0: [(1, 0)]}.get(label["winner"], [])
    if benchmark == "judgebench":
        return [(0, 1) if label["label"] == "A>B" else (1, 0)]
    if benchmark == "ppe_correctness":
        return [(i, j) if label["correct"][i] else (j, i) for i, j in label["pairs"]]
    if benchmark == "best_of_n":
        right = [bool(value) for value in label["correct"]]
        return [
            (i, j)
            for i, j in itertools.product(range(responses), repeat=2)
            if right[i] and not right[j]
        ]
    better = {"rm_bench": 3, "rewardbench2": label.get("correct", 1)}.get(benchmark, 1)
    return list(itertools.product(range(better), range(better, responses)))


def quality(benchmark: str, item: Item, responses: int) -> np.ndarray:
    """What the label says of each response [K]: its correctness where there is one, else of how many others it is better less worse."""
    correct = item.label.get("correct")
    if isinstance(correct, list):
        return np.array(correct, np.float64)
    value = np.zeros(responses)
    for better, worse in of(benchmark, item, responses):
        value[better] += 1
        value[worse] -= 1
    return value


class Pairs(NamedTuple):
    """Rewards and lengths in tokens [n] of pairs that a label decides and of which both have a reward; `prompts` [n] says which belong
    together."""

    better: np.ndarray
    worse: np.ndarray
    better_length: np.ndarray
    worse_length: np.ndarray
    prompts: Sequence[str]


def pairs(scores: Scores) -> Pairs:
    """All pairs of a benchmark."""
    rows, prompts = [], []
    for item, rewards, tokens, prompt in zip(
        scores.items, scores.rewards, scores.tokens, scores.prompts, strict=True
    ):
        for i, j in of(scores.meta["benchmark"], item, len(rewards)):
            if np.isfinite(rewards[i]) and np.isfinite(rewards[j]):
                rows.append((rewards[i], rewards[j], tokens[i], tokens[j]))
                prompts.append(prompt)
    better, worse, better_length, worse_length = np.array(rows, np.float64).reshape(-1, 4).T
    return Pairs(better, worse, better_length, worse_length, prompts)
