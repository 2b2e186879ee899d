"""What a held-out set allows at best, where somebody knows which responses are right.

Labels that are wrong cannot be learned, and a model that is always right scores what share of them
is right. Of most data nobody knows that share, and nothing is said; the preference world does.
"""

from rewardjax.data import world
from rewardjax.data.token_cache import TokenizedPairs


def of_set(source: str, pairs: TokenizedPairs) -> float | None:
    """Share of the labels of pairs of `source` that prefer the right response; None: not known."""
    if not source.startswith("world:"):
        return None
    numbers = pairs.source_record[pairs.record].tolist()
    honest = world.open_world(source).right_labels(numbers)
    return sum(honest) / len(honest)
