"""Means are over what is there, and pools weigh by examples."""

from rewardjax.evaluators import rules
from rewardjax.evaluators.records import Part


def test_pooling_weighs_by_examples():
    pooled = rules.pool([Part(1.0, 3, 1), Part(0.0, 1, 2, unscored=5), Part(None, 0)])
    assert (pooled.value, pooled.n, pooled.ties, pooled.unscored) == (0.75, 4, 3, 5)
    assert rules.pool([]).value is None and rules.average([None]) is None
