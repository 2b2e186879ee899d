"""What a budget buys, and when another round is not worth it (paper, appendix F)."""

from rewardjax.config import Config

# Average points gained for each further million pairs.
STOP_BELOW = 0.3


def pairs(stage1: Config, iteration: int) -> int:
    """Pairs that an iteration of Stage 1 is to have labeled, of which the pool may have fewer."""
    if iteration == 0:
        return stage1.first
    return stage1.budget


def affordable(wanted: int, price: float, left: float | None) -> int:
    """How many of `wanted` items at `price` dollars fit into what is `left` (None: no limit)."""
    if left is None or price == 0:
        return wanted
    # Without the 1e-9, 0.3 dollars would buy only two labels at 0.1: floats divide to 2.9999....
    return max(0, min(wanted, int(left / price + 1e-9)))


def gain_per_million(points: float, points_before: float, pairs: int, pairs_before: int) -> float:
    """Average points gained per million pairs added. Raises ValueError where none was added."""
    if pairs <= pairs_before:
        raise ValueError(
            f"pairs went from {pairs_before} to {pairs}: a gain per pair needs more pairs"
        )
    return (points - points_before) / (pairs - pairs_before) * 1e6


def should_stop(
    points: float, points_before: float, pairs: int, pairs_before: int, below: float = STOP_BELOW
) -> bool:
    """Whether the last round gained too little: under `below` points per million pairs it added."""
    return gain_per_million(points, points_before, pairs, pairs_before) < below
