"""Paired tests: do two models differ on the same examples, and does any pair of several?"""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from scipy import stats


class McNemar(TypedDict):
    """On how many examples one of two models alone did well, and how likely that is by chance."""

    first_only: int
    second_only: int
    p: float


def mcnemar(first, second) -> McNemar:
    """McNemar's exact test (1947) of credits [n] that two models earned on the same examples.

    Only examples on which they differ count. "first_only" and "second_only": how often each earned
    more than the other (with credits 0 and 1: was the only one right). "p": two-sided binomial at
    1/2; 1 where they never differ.
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    wins, losses = int(np.sum(difference > 0)), int(np.sum(difference < 0))
    p = 1.0
    if wins + losses:
        # Exact and not the chi-squared statistic, which is off for the few dozen disagreements
        # that benchmarks of some hundred examples have.
        p = float(stats.binomtest(wins, wins + losses).pvalue)
    return McNemar(first_only=wins, second_only=losses, p=p)


def holm(p: Sequence[float]) -> list[float]:
    """P-values of one family of tests, corrected so that all of them together err at most at 5 %.

    Step-down (Holm 1979): the smallest of m is multiplied by m, the next by m - 1, and so on, none
    falls below an earlier one, and 1 is the most. It holds for tests that depend on each other, as
    those of models on the same examples do.
    """
    corrected = [1.0] * len(p)
    largest = 0.0
    for rank, place in enumerate(np.argsort(p, kind="stable")):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        corrected[place] = largest
    return corrected
