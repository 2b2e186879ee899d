"""Intervals of proportions, and of the difference of two on the same examples."""

import math

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
