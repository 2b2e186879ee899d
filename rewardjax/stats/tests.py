"""Paired tests: do two models differ on the same examples?"""

from typing import Any

import numpy as np
from scipy import stats


def mcnemar(first, second) -> dict[str, Any]:
    """McNemar's exact test (1947) of credits [n] that two models earned on the same examples: only examples that they differ on speak.

    Returns "first_only" and "second_only" (how often each earned more than the other; with credits 0 and 1: was the only one right) and
    "p", two-sided binomial at 1/2; 1 where they never differ."""
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    wins, losses = int(np.sum(difference > 0)), int(np.sum(difference < 0))
    p = float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    return {"first_only": wins, "second_only": losses, "p": p}
