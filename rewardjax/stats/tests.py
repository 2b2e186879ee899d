"""Paired tests: do two models differ on the same examples?"""

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
