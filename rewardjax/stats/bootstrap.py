"""Intervals for figures about responses that share prompts: whole prompts are drawn again.

scipy.stats.bootstrap draws single observations, which would make responses to one prompt look
independent, and the intervals too narrow; hence own code.

Letters: n values, C clusters, R resamples (r of them at a time).
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

# (Resample, cluster) weights at a time: 32 MB.
CELLS = 4_000_000


def weights(clusters: int, resamples: int, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each cluster is in a draw of as many clusters, with replacement.

    Yields pieces float64 [r, C] of `resamples` draws in all.
    """
    random = np.random.default_rng(seed)
    at_once = max(1, CELLS // max(clusters, 1))
    for first in range(0, resamples, at_once):
        size = min(at_once, resamples - first)
        even = np.full(clusters, 1 / clusters)
        yield random.multinomial(clusters, even, size=size).astype(np.float64)


def sums(values, clusters: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Sums [C, ...] and counts [C] of `values` [n, ...] by cluster.

    Args:
        values: any number per response.
        clusters: [n], the cluster of each; by default every value is a cluster of its own.

    Raises:
        ValueError: where their lengths differ.
    """
    values = np.asarray(values, np.float64)
    if clusters is None:
        return values, np.ones(len(values))
    if len(clusters) != len(values):
        raise ValueError(f"clusters: {len(clusters)} for {len(values)} values")
    # Clusters may be named by anything that sorts, such as hashes of prompts.
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
    """Percentile interval (low, high) of a statistic that depends on clusters through sums alone.

    NaN where the statistic is undefined in more than half of the resamples.

    Args:
        of_sums: (total [r, ...], count [r]) -> the statistic [r, ...] of each resample.
        total: [C, ...] as `sums` gives them.
        counts: [C] as `sums` gives them.
        resamples: R.
        level: of the interval.
        seed: of the draws.
    """
    flat = total.reshape(len(total), -1)
    pieces = []
    for draw in weights(len(total), resamples, seed):
        # A resample's sums are a product of matrices: the values are not copied R times.
        redrawn = (draw @ flat).reshape(len(draw), *total.shape[1:])
        pieces.append(of_sums(redrawn, draw @ counts))
    statistic = np.concatenate(pieces)
    is_undefined = np.mean(np.isnan(statistic), axis=0) > 0.5
    # Zeros instead of NaN, as nanquantile warns of slices that are NaN throughout.
    statistic = np.where(is_undefined, 0.0, statistic)
    bounds = np.nanquantile(statistic, [(1 - level) / 2, (1 + level) / 2], axis=0)
    low, high = np.where(is_undefined, np.nan, bounds)
    return low, high


def mean_interval(values, clusters: Any = None, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of the mean of `values` [n, ...] over clusters drawn again.

    Settings are those of `interval`.
    """

    def mean(total: np.ndarray, count: np.ndarray) -> np.ndarray:
        return total / count.reshape(-1, *[1] * (total.ndim - 1))

    total, counts = sums(values, clusters)
    return interval(mean, total, counts, **settings)
