"""Intervals for figures about responses that share prompts: whole prompts are drawn again, never single responses."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

CELLS = 4_000_000  # of (resample, cluster) weights at a time: 32 MB


def weights(clusters: int, resamples: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Pieces [r, clusters] of `resamples` draws in all: how often each cluster is in a draw of as many clusters, with replacement."""
    generator = np.random.default_rng(seed)
    at_once = max(1, CELLS // max(clusters, 1))
    for first in range(0, resamples, at_once):
        yield generator.multinomial(
            clusters, np.full(clusters, 1 / clusters), size=min(at_once, resamples - first)
        ).astype(np.float64)


def sums(values, clusters: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Sums [C, ...] and counts [C] of `values` [n, ...] by cluster; without `clusters` [n] every value is its own."""
    values = np.asarray(values, np.float64)
    if clusters is None:
        return values, np.ones(len(values))
    if len(clusters) != len(values):
        raise ValueError(f"clusters: {len(clusters)} for {len(values)} values")
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    total = np.zeros((index.max(initial=-1) + 1, *values.shape[1:]))
    np.add.at(total, index, values)
    return total, np.bincount(index).astype(np.float64)


def interval(
    of_sums: Callable[[np.ndarray, np.ndarray], np.ndarray],
    total: np.ndarray,
    counts: np.ndarray,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval (low, high) of a statistic that depends on clusters through sums alone: `of_sums(total [r, ...], count [r])`.

    total [C, ...], counts [C]: as `sums` gives them. NaN where the statistic is undefined in more than half of the resamples."""
    flat = total.reshape(len(total), -1)
    found = [
        of_sums((draw @ flat).reshape(len(draw), *total.shape[1:]), draw @ counts)
        for draw in weights(len(total), resamples, seed)
    ]
    statistic = np.concatenate(found)
    undefined = np.mean(np.isnan(statistic), axis=0) > 0.5
    bounds = np.nanquantile(
        np.where(undefined, 0.0, statistic), [(1 - level) / 2, (1 + level) / 2], axis=0
    )
    low, high = np.where(undefined, np.nan, bounds)
    return low, high


def mean_interval(values, clusters: Any = None, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of the mean of `values` [n, ...] over clusters drawn again; settings of `interval`."""
    total, counts = sums(values, clusters)
    return interval(lambda s, n: s / n.reshape(-1, *[1] * (s.ndim - 1)), total, counts, **settings)
