"""What curation costs, what a budget still buys, and when another round is not worth it (paper, appendix F)."""

from collections.abc import Mapping

PRICES = {
    "gold": 0.50,
    "silver": 0.05,
    "stage2": 0.01,
}  # dollars a pair: a person's label, judges in Stage 1, judges in Stage 2
STOP_BELOW = 0.3  # average points gained for each further million pairs


def cost(counts: Mapping[str, int], prices: Mapping[str, float] = PRICES) -> float:
    """Dollars: c_H * gold + c_L1 * silver + c_L2 * stage2. Raises KeyError for a count without a price."""
    return sum(prices[name] * count for name, count in counts.items())


def affordable(wanted: int, price: float, left: float | None) -> int:
    """How many of `wanted` items at `price` dollars fit into what is `left` (None: no limit)."""
    if left is None or price == 0:
        return wanted
    return max(0, min(wanted, int(left / price + 1e-9)))


def gain_per_million(points: float, points_before: float, pairs: int, pairs_before: int) -> float:
    """Average points gained for each million pairs added. Raises ValueError where none was added."""
    if pairs <= pairs_before:
        raise ValueError(
            f"pairs went from {pairs_before} to {pairs}: a gain per pair needs more pairs"
        )
    return (points - points_before) / (pairs - pairs_before) * 1e6


def should_stop(
    points: float, points_before: float, pairs: int, pairs_before: int, below: float = STOP_BELOW
) -> bool:
    """The paper's rule: stop when the last round gained less than `below` points for each million pairs it added."""
    return gain_per_million(points, points_before, pairs, pairs_before) < below
