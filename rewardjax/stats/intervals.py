"""Intervals of proportions, of the difference of two on the same examples, and of a mean."""

import math
import statistics
from collections.abc import Sequence

from scipy import stats


def wilson(correct: float, total: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval (low, high) of the proportion correct / total (Wilson 1927).

    Unlike the normal approximation it stays within [0, 1], and it holds for small counts too.

    Raises:
        ValueError: for a total of 0 or more correct than there are.
    """
    interval = stats.binomtest(int(correct), total).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def paired_difference(
    gained: int, lost: int, total: int, level: float = 0.95
) -> tuple[float, float]:
    """Adjusted Wald interval (low, high) of (gained - lost) / total (Bonett and Price 2012).

    Of `total` examples, `gained` are right now and were not before, and `lost` the other way round.
    """
    # One example more of each kind: without it the interval has no width where nothing was lost.
    up, down = (gained + 1) / (total + 2), (lost + 1) / (total + 2)
    variance = (up + down - (up - down) ** 2) / (total + 2)
    half = float(stats.norm.ppf((1 + level) / 2)) * math.sqrt(variance)
    return max(-1.0, up - down - half), min(1.0, up - down + half)


def student(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Student's t interval (low, high) of the mean of `values` [n], drawn alike and independent.

    Raises:
        ValueError: for fewer than two, which have no spread.
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} values have no spread; an interval needs at least two")
    mean = statistics.fmean(values)
    error = statistics.stdev(values) / math.sqrt(len(values))
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * error
    return mean - half, mean + half
