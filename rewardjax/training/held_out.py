"""Named sets of held-out pairs, and benchmarks, scored and measured during training."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from rewardjax import evaluators
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.pack import TokenGroup
from rewardjax.data.token_cache import TokenizedPairs
from rewardjax.evaluators import stored_rewards
from rewardjax.evaluators.benchmarks.pairs import pair_metrics

Score = Callable[
    [Any, list[TokenGroup]], list[np.ndarray]
]  # (params, groups) -> rewards of each group's responses


class HeldOut:
    """Pairs in memory (held-out sets are small), and the rewards [pairs, 2] of chosen and rejected that the model last gave them."""

    def __init__(self, name: str, pairs: TokenizedPairs, score: Score):
        self.name, self.pairs, self.score = name, pairs, score
        self.groups = pairs.load(np.arange(len(pairs)))  # two suffixes each: chosen, rejected
        self.lengths = np.array(
            [[len(suffix) for suffix in group.suffixes] for group in self.groups]
        )
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


class HeldOutBenchmark:
    """A benchmark in memory, tokenized once. benchmark, kwargs: as for `evaluators.load`."""

    def __init__(
        self,
        name: str,
        tokenizer: ChatTokenizer,
        score: Score,
        max_length: int,
        *,
        benchmark: str,
        **kwargs: Any,
    ):
        self.name, self.score, self.module = name, score, evaluators.get(benchmark)
        examples = self.module.load(**kwargs)
        self.items = examples.items
        self.tokenized = [
            stored_rewards.tokenize(group, tokenizer, max_length, "left")
            for group in examples.groups
        ]

    def metrics(self, params: Any) -> dict[str, float | None]:
        """Score it with `params`; `name/headline` and the parts of the headline (None without examples), ties and unscored examples."""
        result = self.module.summarize(
            self.items,
            stored_rewards.rewards_of(self.tokenized, functools.partial(self.score, params)),
        )
        figures = {
            part.lower().replace(" ", "_"): found.value for part, found in result.parts.items()
        }
        figures |= {
            "ties": result.ties,
            "unscored": sum(part.unscored for part in result.parts.values()),
        }
        return {
            f"{self.name}/{key}": value
            for key, value in {"headline": result.headline, **figures}.items()
        }
