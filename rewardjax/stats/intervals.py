"""Intervals of a proportion."""

from scipy import stats


def wilson(correct: float, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927): unlike the normal one, it stays within [0, 1] and is honest for small counts."""
    interval = stats.binomtest(int(correct), total).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)
