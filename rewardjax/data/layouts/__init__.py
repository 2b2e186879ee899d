"""Every layout that is read without conversion, in the order in which they are tried.

The first that fits reads the record: a group of responses may have columns chosen and rejected
beside it, and a pair may repeat one of its responses as `messages`.
"""

from rewardjax.data.layouts import argilla, best, conversations, pairs, ranked, trees, verdicts
from rewardjax.data.layouts.layout import Layout

LAYOUTS: tuple[Layout, ...] = (
    *trees.LAYOUTS,
    *argilla.LAYOUTS,
    *ranked.LAYOUTS,
    *pairs.LAYOUTS,
    *verdicts.LAYOUTS,
    *best.LAYOUTS,
    verdicts.UNLABELED,
    *conversations.LAYOUTS,
)
