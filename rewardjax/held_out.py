"""A named set of held-out pairs, scored and measured during training."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rewardjax.data.pack import TokenGroup
from rewardjax.data.store import TokenizedPairs
from rewardjax.evaluators.pairs import pair_metrics

Score = Callable[[Any, list[TokenGroup]], list[np.ndarray]]  # (params, groups) -> rewards of each group's responses


class HeldOut:
    """Pairs in memory (held-out sets are small), and the rewards [pairs, 2] of chosen and rejected that the model last gave them."""

    def __init__(self, name: str, pairs: TokenizedPairs, score: Score):
        self.name, self.pairs, self.score = name, pairs, score
        self.groups = pairs.load(np.arange(len(pairs)))  # two suffixes each: chosen, rejected
        self.lengths = np.array([[len(suffix) for suffix in group.suffixes] for group in self.groups])
        self.rewards: np.ndarray | None = None

    def last_rewards(self) -> np.ndarray:
        """[pairs, 2]: chosen, rejected. The set must have been scored."""
        assert self.rewards is not None, f"{self.name} was never scored"
        return self.rewards

    def metrics(self, params: Any) -> dict[str, float]:
        """Score the set with `params`; every figure of `pair_metrics`, prefixed by the set's name."""
        self.rewards = np.stack(self.score(params, self.groups))
        figures = pair_metrics(
            *self.rewards.T,
            chosen_length=self.lengths[:, 0],
            rejected_length=self.lengths[:, 1],
            target=self.pairs.target,
            tie=self.pairs.tie,
        )
        return {f"{self.name}/{key}": value for key, value in figures.items()}
