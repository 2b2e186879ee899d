"""Means over examples that do not hide what is missing, and what scoring rules have in common.

A reward that is not there is NaN on the way in, and a count of unscored examples on the way out.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rewardjax.evaluators.records import Item, Part, Rewards


def average(values: Iterable[float | None]) -> float | None:
    """The plain mean of the values that are there, None where none is."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    return float(np.mean(present))


def mean_part(credit: Any, ties: Any, expected: int | None = None) -> Part:
    """The mean of `credit` [N], NaN for an example without a score.

    ties: [N] bool; counted among the examples that have a score.
    """
    credit = np.asarray(credit, np.float64)
    scored = ~np.isnan(credit)
    return Part(
        value=average(credit[scored]),
        n=int(scored.sum()),
        ties=int(np.asarray(ties)[scored].sum()),
        expected=expected,
        unscored=int((~scored).sum()),
    )


def pool(parts: Iterable[Part], expected: int | None = None) -> Part:
    """The parts as one: the mean over all their examples."""
    parts = list(parts)
    n = sum(part.n for part in parts)
    value = None
    if n:
        value = sum(part.value * part.n for part in parts if part.value is not None) / n
    return Part(
        value=value,
        n=n,
        ties=sum(part.ties for part in parts),
        expected=expected,
        unscored=sum(part.unscored for part in parts),
        unused=sum(part.unused for part in parts),
    )


def breakdown(subsets: dict[str, Part]) -> dict[str, Part]:
    """The subsets, unless there is but one, which would repeat the headline."""
    if len(subsets) > 1:
        return subsets
    return {}


def strict_wins(chosen: Any, rejected: Any) -> tuple[np.ndarray, np.ndarray]:
    """Credit and ties, both [N], of N pairs of rewards.

    1.0 where chosen > rejected, else 0.0, also for equal rewards; NaN where a reward is NaN.
    """
    chosen, rejected = np.asarray(chosen, np.float64), np.asarray(rejected, np.float64)
    # A comparison with NaN is False, which would count an unscored pair as wrong.
    credit = np.where(np.isnan(chosen) | np.isnan(rejected), np.nan, chosen > rejected)
    return credit, chosen == rejected


def is_scored(rewards: np.ndarray) -> bool:
    """Whether every response of an item has a reward, of rewards [K]."""
    return not np.isnan(rewards).any()


def every_pair(right: Iterable[int], wrong: Iterable[int]) -> list[tuple[int, int]]:
    """Pairs (better, worse): each of the responses `right` over each of those `wrong`."""
    return list(itertools.product(right, wrong))


def first_better(right: int, responses: int) -> list[tuple[int, int]]:
    """Pairs (better, worse) of K `responses`, of which the first `right` beat all others."""
    return every_pair(range(right), range(right, responses))


def by_subset(items: Sequence[Item], rewards: Rewards) -> dict[str, list[tuple[Item, np.ndarray]]]:
    """Items with their rewards [K] (float64), by subset, in order."""
    subsets: dict[str, list[tuple[Item, np.ndarray]]] = {}
    for item, rewards_of_item in zip(items, rewards, strict=True):
        row = (item, np.asarray(rewards_of_item, np.float64))
        subsets.setdefault(item.subset, []).append(row)
    return subsets
