"""Which pairs of a pool to label next: what retrieval has to beat at the same budget.

All return `budget` distinct rows of the pool, int64, in the order they were chosen. Raise
ValueError for a budget over the pool's size.
"""

import numpy as np


def at_random(rows: int, budget: int, seed: int) -> np.ndarray:
    """Any of `rows` rows."""
    _check(rows, budget)
    return np.random.default_rng(seed).permutation(rows)[:budget]


def most_uncertain(p: np.ndarray, budget: int) -> np.ndarray:
    """The rows whose p [rows] is nearest to 1/2, ties to the lower row.

    p is a reward model's, of either response.
    """
    p = np.asarray(p, np.float64)
    _check(len(p), budget)
    return np.argsort(np.abs(p - 0.5), kind="stable")[:budget]


def most_diverse(vectors: np.ndarray, budget: int, seed: int) -> np.ndarray:
    """k-center greedy (Gonzalez 1985; arXiv 1708.00489).

    After a random row always the row that is farthest from all rows chosen so far. vectors
    [rows, D], lengths about 1; distance is 1 - similarity, ties to the lower row. Takes `budget`
    passes over the pool.
    """
    vectors = np.asarray(vectors, np.float32)
    _check(len(vectors), budget)
    if budget == 0:
        return np.array([], np.int64)
    chosen = [int(np.random.default_rng(seed).integers(len(vectors)))]
    # To the most similar row chosen so far.
    similarity = np.full(len(vectors), -np.inf, np.float32)
    while len(chosen) < budget:
        similarity = np.maximum(similarity, vectors @ vectors[chosen[-1]])
        # A duplicate of a chosen row may have similarity 1 too; the row itself must never return.
        similarity[chosen[-1]] = np.inf
        chosen.append(int(np.argmin(similarity)))
    return np.array(chosen, np.int64)


def _check(rows: int, budget: int) -> None:
    if not 0 <= budget <= rows:
        raise ValueError(f"selection: a budget of {budget} from a pool of {rows} pairs")
