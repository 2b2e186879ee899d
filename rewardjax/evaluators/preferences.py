"""Labels as pairs of a better and a worse response, for what no benchmark itself measures.

Calibration, length and bias are computed from these pairs, over all benchmarks alike; which
response is better is for the benchmark's own module to say.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rewardjax import evaluators
from rewardjax.evaluators.records import Item
from rewardjax.evaluators.stored_rewards import Scores


def quality(benchmark: str, item: Item, responses: int) -> np.ndarray:
    """What the label says of each of an item's K responses: [K], higher is better.

    Its correctness where the label lists one per response, else how many responses it is better
    than, less how many are better than it. Raises ValueError for an unknown benchmark.
    """
    correct = item.label.get("correct")
    # RewardBench 2 has a number there: of the right responses, which come first.
    if isinstance(correct, list):
        return np.array(correct, np.float64)
    net_wins = np.zeros(responses)
    for better, worse in evaluators.get(benchmark).better(item, responses):
        net_wins[better] += 1
        net_wins[worse] -= 1
    return net_wins


class Pairs(NamedTuple):
    """Pairs that a label decides and of which both responses have a reward.

    better, worse: rewards [n]. better_length, worse_length: tokens [n] of the responses.
    prompts: [n] fingerprints; pairs of one prompt are not independent.
    """

    better: np.ndarray
    worse: np.ndarray
    better_length: np.ndarray
    worse_length: np.ndarray
    prompts: Sequence[str]


def pairs(scores: Scores) -> Pairs:
    """All decided pairs of a benchmark. Raises ValueError for an unknown benchmark."""
    module = evaluators.get(scores.meta["benchmark"])
    table: list[tuple[float, float, int, int]] = []  # columns as the first four of Pairs
    prompts: list[str] = []
    for item, rewards, tokens, prompt in zip(
        scores.items, scores.rewards, scores.tokens, scores.prompts, strict=True
    ):
        for i, j in module.better(item, len(rewards)):
            if np.isfinite(rewards[i]) and np.isfinite(rewards[j]):
                table.append((rewards[i], rewards[j], tokens[i], tokens[j]))
                prompts.append(prompt)
    # Without a pair, np.array has no second axis to transpose.
    better, worse, better_length, worse_length = np.array(table, np.float64).reshape(-1, 4).T
    return Pairs(better, worse, better_length, worse_length, prompts)
