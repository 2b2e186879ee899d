"""Named sets of held-out pairs, and benchmarks, scored and measured during training.

They are read and tokenized before there is a model, so that what is wrong with them is said before
the first step.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from rewardjax import evaluators
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.pack import TokenGroup
from rewardjax.data.token_cache import TokenizedPairs
from rewardjax.evaluators import stored_rewards
from rewardjax.evaluators.benchmarks.pairs import pair_metrics

# groups -> rewards [K] of each group's responses
Score = Callable[[list[TokenGroup]], list[np.ndarray]]


class HeldOut:
    """Pairs in memory, since the sets are small, and the rewards that the model last gave them.

    Attributes:
        groups: one per pair, with two suffixes: chosen, rejected.
        lengths: [pairs, 2] tokens of the two suffixes.
        rewards: [pairs, 2] of chosen and rejected, None before the set was scored.
    """

    def __init__(self, name: str, pairs: TokenizedPairs):
        self.name, self.pairs = name, pairs
        self.groups = pairs.load(np.arange(len(pairs)))
        self.lengths = np.array([list(map(len, group.suffixes)) for group in self.groups])
        self.rewards: np.ndarray | None = None

    def conversation_lengths(self) -> np.ndarray:
        """[pairs]: tokens of the longer one of a pair's two conversations."""
        lengths = self.pairs.lengths  # [pairs, 3]: prefix, rest of chosen, rest of rejected
        return lengths[:, 0] + lengths[:, 1:].max(axis=1)

    def last_rewards(self) -> np.ndarray:
        """[pairs, 2]: chosen, rejected. The set must have been scored."""
        assert self.rewards is not None, f"{self.name} was never scored"
        return self.rewards

    def metrics(self, score: Score) -> dict[str, float]:
        """Score the set; figures of `pair_metrics`, prefixed by the set's name."""
        self.rewards = np.stack(score(self.groups))
        figures = pair_metrics(
            *self.rewards.T,
            chosen_length=self.lengths[:, 0],
            rejected_length=self.lengths[:, 1],
            target=self.pairs.target,
            tie=self.pairs.tie,
        )
        return {f"{self.name}/{figure}": value for figure, value in figures.items()}


class HeldOutBenchmark:
    """A benchmark in memory, tokenized once. benchmark, kwargs: as for `evaluators.load`."""

    def __init__(
        self,
        name: str,
        tokenizer: ChatTokenizer,
        max_length: int,
        *,
        benchmark: str,
        **kwargs: Any,
    ):
        self.name, self.module = name, evaluators.get(benchmark)
        examples = self.module.load(**kwargs)
        self.items = examples.items
        # "left", whatever the training data do: a benchmark counts every example, so none may be
        # dropped for its length.
        self.tokenized = [
            stored_rewards.tokenize(group, tokenizer, max_length, "left")
            for group in examples.groups
        ]

    def metrics(self, score: Score) -> dict[str, float | None]:
        """Score it; figures prefixed by the benchmark's name.

        They are the headline and its parts (None without examples), ties and unscored examples.
        """
        rewards = stored_rewards.rewards_of(self.tokenized, score)
        result = self.module.summarize(self.items, rewards)
        figures = {"headline": result.headline}
        for name, part in result.parts.items():
            figures[name.lower().replace(" ", "_")] = part.value
        figures["ties"] = result.ties
        figures["unscored"] = sum(part.unscored for part in result.parts.values())
        return {f"{self.name}/{figure}": value for figure, value in figures.items()}
