"""Intervals of a proportion."""

from scipy import stats


def wilson(correct: float, total: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval (low, high) of the proportion correct / total (Wilson 1927).

    Unlike the normal approximation it stays within [0, 1], and it holds for small counts too.

    Raises:
        ValueError: for a total of 0 or more correct than there are.
    """
    interval = stats.binomtest(int(correct), total).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)
