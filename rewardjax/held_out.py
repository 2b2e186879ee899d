"""A named set of held-out pairs, scored and measured during training."""
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from rewardjax.data import tokenize
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.pack import TokenGroup
from rewardjax.evaluators import pairs as pair_evaluator

Score = Callable[..., list[np.ndarray]]  # (params, groups) -> rewards of each group's responses


@dataclasses.dataclass
class HeldOut:
    """Tokenised pairs in memory (held-out sets are small) and what the model last gave them."""

    name: str
    pairs: tokenize.TokenizedPairs
    groups: list[TokenGroup]  # two suffixes each: chosen, rejected
    score: Score
    rewards: np.ndarray | None = None  # [pairs, 2]

    @classmethod
    def prepare(cls, name: str, tokenizer: ChatTokenizer, score: Score, **data: Any) -> "HeldOut":
        """Tokenise the set that `data`, the arguments of `tokenize.prepare`, names."""
        pairs = tokenize.prepare(tokenizer=tokenizer, **data)
        return cls(name, pairs, pairs.load(np.arange(len(pairs))), score)

    def metrics(self, params: Any) -> dict[str, float]:
        """Score the set with `params`; every figure of `pair_metrics`, prefixed by the set's name."""
        self.rewards = np.stack(self.score(params, self.groups))
        lengths = np.array([[len(suffix) for suffix in group.suffixes] for group in self.groups])
        figures = pair_evaluator.pair_metrics(
            self.rewards[:, 0], self.rewards[:, 1], chosen_length=lengths[:, 0], rejected_length=lengths[:, 1],
            target=self.pairs.target, tie=self.pairs.tie,
        )
        return {f"{self.name}/{key}": value for key, value in figures.items()}
