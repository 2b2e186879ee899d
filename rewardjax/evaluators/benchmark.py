"""What a benchmark of your own imports: `from rewardjax.evaluators import benchmark`.

A module outside of this package that defines TITLE, `load` and `summarize` with these is evaluated
by `benchmark="DIR/NAME.py"`; docs/evaluation.md has an example.
"""

from rewardjax.evaluators.reading import (
    collect,
    example,
    files_in,
    numbered,
    text,
    texts,
    turns,
    user,
)
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards
from rewardjax.evaluators.rules import (
    average,
    breakdown,
    by_subset,
    every_pair,
    first_better,
    is_scored,
    mean_part,
    pool,
    strict_wins,
)

__all__ = [
    "Examples",
    "Item",
    "Part",
    "Result",
    "Rewards",
    "average",
    "breakdown",
    "by_subset",
    "collect",
    "every_pair",
    "example",
    "files_in",
    "first_better",
    "is_scored",
    "mean_part",
    "numbered",
    "pool",
    "strict_wins",
    "text",
    "texts",
    "turns",
    "user",
]
