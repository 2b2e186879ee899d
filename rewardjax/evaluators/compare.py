"""Are two models different, or were the examples? Paired comparisons on the same examples.

Exact where there is a test (McNemar), else by resampling whole prompts: the responses of one prompt
share its difficulty, so that they are not independent.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from rewardjax.evaluators.benchmarks import Benchmark
from rewardjax.evaluators.records import Item, Rewards
from rewardjax.evaluators.stored_rewards import Scores
from rewardjax.stats import bootstrap
from rewardjax.stats.tests import mcnemar

# Of prompts, for the jackknife: more would recompute the benchmark's rule as often, and the
# interval's t distribution with 19 degrees of freedom is close to normal already.
GROUPS = 20

# (items, rewards) -> a number that a benchmark gives a model, None where it is undefined.
Statistic = Callable[[Sequence[Item], Rewards], float | None]


def paired(
    first: Any, second: Any, clusters: Sequence[Any] | None = None, **settings: Any
) -> dict[str, Any]:
    """Two models' credits [N] on the same N examples: means, their difference, and `mcnemar`.

    "difference" is first - second, with its interval "low" and "high". A NaN in either leaves the
    example out (`left_out`). clusters: [N] the prompt of each example, drawn as a whole; each its
    own if not given. McNemar's p takes the examples for independent, so with several per prompt the
    interval is the one to trust. settings: of `bootstrap.interval`.

    Raises ValueError where the lengths differ.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(
            "paired: expected credits of the same examples, "
            f"got shapes {list(first.shape)} and {list(second.shape)}"
        )
    prompts = np.arange(len(first))
    if clusters is not None:
        prompts = np.asarray(clusters)
    both = ~(np.isnan(first) | np.isnan(second))
    first, second, prompts = first[both], second[both], prompts[both]
    result: dict[str, Any] = {
        "n": len(first),
        "left_out": int((~both).sum()),
        "prompts": len(np.unique(prompts)),
    }
    if not len(first):
        return result
    low, high = bootstrap.mean_interval(first - second, prompts, **settings)
    result |= {
        "first": float(first.mean()),
        "second": float(second.mean()),
        "difference": float(np.mean(first - second)),
        "low": float(low),
        "high": float(high),
    }
    return result | mcnemar(first, second)


def credits(module: Benchmark, scores: Scores) -> np.ndarray:
    """What each example alone would score, [N]; NaN where it has no score.

    The benchmark's own rule is applied to that example, so that the two cannot disagree. The mean
    of these is the micro average, which most headlines are not.
    """
    credit = np.full(len(scores.items), np.nan)
    for i, (item, rewards) in enumerate(zip(scores.items, scores.rewards, strict=True)):
        headline_alone = module.summarize([item], [rewards]).headline
        if headline_alone is not None:
            credit[i] = headline_alone
    return credit


def headline(module: Benchmark, scores: Scores, groups: int = GROUPS) -> dict[str, float | None]:
    """A benchmark's "headline" with its 95 % interval, "low" and "high"; see `jackknife`."""
    estimate = jackknife(_headline_of(module), scores, groups)
    return {"headline": estimate.value, "low": estimate.low, "high": estimate.high}


def _headline_of(module: Benchmark) -> Statistic:
    return lambda items, rewards: module.summarize(items, rewards).headline


class Estimate(NamedTuple):
    """A number with its 95 % interval; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None


def jackknife(statistic: Statistic, scores: Scores, groups: int = GROUPS) -> Estimate:
    """A statistic with its delete-a-group jackknife interval (Quenouille 1956) over prompts.

    The prompts are dealt into G `groups`, the statistic is computed without each in turn, and the
    interval is value +- t(G - 1) * sqrt((G - 1) / G * sum of (replicate - mean)^2). It takes G
    evaluations of the rule, where a bootstrap over a rule of any form takes thousands.
    """
    value, replicates = _replicates(statistic, scores, groups)
    return _interval(value, replicates)


def _replicates(
    statistic: Statistic, scores: Scores, groups: int
) -> tuple[float | None, np.ndarray]:
    """The statistic of all examples, and [G] without each group of prompts, NaN where undefined.

    Groups go by the fingerprint of the prompt, so that two models have the same ones.
    """
    _, prompt = np.unique(scores.prompts, return_inverse=True)  # [N]
    replicates = []
    for group in range(min(groups, prompt.max(initial=-1) + 1)):
        rest = np.flatnonzero(prompt % groups != group)
        without = None
        if len(rest):
            without = statistic([scores.items[i] for i in rest], [scores.rewards[i] for i in rest])
        replicates.append(np.nan if without is None else without)
    return statistic(scores.items, scores.rewards), np.array(replicates)


def _interval(value: float | None, replicates: np.ndarray) -> Estimate:
    """replicates: [G]."""
    G = len(replicates)
    if value is None or G < 2 or np.isnan(replicates).any():
        return Estimate(value, None, None)
    error = np.sqrt((G - 1) / G * np.sum((replicates - replicates.mean()) ** 2))
    reach = float(stats.t.ppf(0.975, G - 1) * error)
    return Estimate(value, value - reach, value + reach)


def models(module: Benchmark, by_model: Mapping[str, Scores]) -> list[dict[str, Any]]:
    """Every two models on one benchmark: the difference of their headlines, and `paired` credits.

    One row per pair of models: "first model", "second model", "headline_difference" (first -
    second) with "headline_low" and "headline_high" (`jackknife` of the difference), and the fields
    of `paired`, whose means are over the examples that both have, clustered by prompt.

    Raises ValueError where the benchmark's data differ between the models.
    """
    data = {name: scores.meta["data"] for name, scores in by_model.items()}
    if len(set(data.values())) > 1:
        raise ValueError(
            "compare: the models were not scored on the same data; "
            f"the fingerprints of their data are {data}"
        )
    statistic = _headline_of(module)
    headlines = {name: _replicates(statistic, scores, GROUPS) for name, scores in by_model.items()}
    credit = {name: credits(module, scores) for name, scores in by_model.items()}
    rows = []
    for a, b in itertools.combinations(by_model, 2):
        (first, without_first), (second, without_second) = headlines[a], headlines[b]
        difference = None
        if first is not None and second is not None:
            difference = first - second
        # Replicate by replicate: both models lose the same prompts, whose difficulty cancels.
        estimate = _interval(difference, without_first - without_second)
        row = {
            "first model": a,
            "second model": b,
            "headline_difference": estimate.value,
            "headline_low": estimate.low,
            "headline_high": estimate.high,
        }
        rows.append(row | paired(credit[a], credit[b], by_model[a].prompts))
    return rows
