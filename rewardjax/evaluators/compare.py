"""Are two models different, or were the examples? Paired comparisons on the same examples.

Exact where there is a test (McNemar), else by resampling whole prompts: the responses of one prompt
share its difficulty, so that they are not independent.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from rewardjax.evaluators.benchmarks import Benchmark, HasResampling, Resampling
from rewardjax.evaluators.records import Item, Rewards
from rewardjax.evaluators.stored_rewards import Scores
from rewardjax.stats import bootstrap
from rewardjax.stats.tests import mcnemar

# Of a headline's bootstrap: its standard error is then known to 5 % of itself.
RESAMPLES = 200
# A subset of fewer prompts is drawn together with the other small ones: a single prompt, drawn
# from itself, would never vary.
LEAST_PROMPTS = 5

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


def headline(module: Benchmark, scores: Scores) -> dict[str, float | None]:
    """A benchmark's "headline" with its 95 % interval, "low" and "high"; see `estimate`."""
    of_all, replicates = _replicates(_resampling(module, scores), scores)
    of_headline = _interval(of_all, replicates)
    return {"headline": of_headline.value, "low": of_headline.low, "high": of_headline.high}


class Estimate(NamedTuple):
    """A number with its 95 % interval; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None


def estimate(statistic: Statistic, scores: Scores) -> Estimate:
    """A statistic with its interval by a stratified bootstrap over prompts (Efron 1979).

    Within each subset as many prompts are drawn again, with replacement, as it has, and the
    benchmark's rule is applied to them; value +- 1.96 standard deviations of RESAMPLES such values.
    Subsets keep their sizes because a benchmark's sizes are chosen, not sampled.
    """
    return _interval(*_replicates(_by_rule(statistic, scores), scores))


def _resampling(module: Benchmark, scores: Scores) -> Resampling:
    """The benchmark's own, or its rule on the items that were drawn."""
    if isinstance(module, HasResampling):
        return module.resampling(scores.items, scores.rewards)
    return _by_rule(lambda items, rewards: module.summarize(items, rewards).headline, scores)


def _by_rule(statistic: Statistic, scores: Scores) -> Resampling:
    def of_drawn(drawn: np.ndarray) -> float | None:
        return statistic([scores.items[i] for i in drawn], [scores.rewards[i] for i in drawn])

    return Resampling(of_drawn)


def _replicates(resampling: Resampling, scores: Scores) -> tuple[float | None, np.ndarray]:
    """The statistic of all examples, and [R] of those drawn again, NaN where undefined.

    All NaN where there are fewer than two prompts. The draws depend on subsets and prompts alone,
    so that two models have the same ones.
    """
    clusters = resampling.clusters
    if clusters is None:
        clusters = scores.prompts
    value = resampling.headline(np.arange(len(scores.items)))
    strata = _strata(scores.items, clusters)
    if sum(map(len, strata)) < 2 or value is None:
        return value, np.full(RESAMPLES, np.nan)
    random = np.random.default_rng(0)
    replicates = np.empty(RESAMPLES)
    for r in range(RESAMPLES):
        drawn = []
        for members in strata:
            drawn += [members[i] for i in random.integers(len(members), size=len(members))]
        again = resampling.headline(np.concatenate(drawn))
        replicates[r] = np.nan if again is None else again
    return value, replicates


def _strata(items: Sequence[Item], clusters: Sequence[str]) -> list[list[np.ndarray]]:
    """By subset, the indices of the items of each cluster."""
    by_subset: dict[str, dict[str, list[int]]] = {}
    for i, (item, cluster) in enumerate(zip(items, clusters, strict=True)):
        by_subset.setdefault(item.subset, {}).setdefault(cluster, []).append(i)
    strata, small = [], []
    for by_cluster in by_subset.values():
        members = [np.array(indices) for indices in by_cluster.values()]
        if len(members) < LEAST_PROMPTS:
            small += members
        else:
            strata.append(members)
    if small:
        strata.append(small)
    return strata


def _interval(value: float | None, replicates: np.ndarray) -> Estimate:
    """replicates: [R]."""
    if value is None or np.isnan(replicates).any():
        return Estimate(value, None, None)
    # The normal interval: its ends need no 2,000 draws, as quantiles would.
    reach = float(stats.norm.ppf(0.975) * replicates.std(ddof=1))
    return Estimate(value, value - reach, value + reach)


def models(module: Benchmark, by_model: Mapping[str, Scores]) -> list[dict[str, Any]]:
    """Every two models on one benchmark: the difference of their headlines, and `paired` credits.

    One row per pair of models: "first model", "second model", "headline_difference" (first -
    second) with "headline_low" and "headline_high" (as `estimate`), and the fields of `paired`,
    whose means are over the examples that both have, clustered by prompt.

    Raises ValueError where the benchmark's data differ between the models.
    """
    data = {name: scores.meta["data"] for name, scores in by_model.items()}
    if len(set(data.values())) > 1:
        raise ValueError(
            "compare: the models were not scored on the same data; "
            f"the fingerprints of their data are {data}"
        )
    headlines = {
        name: _replicates(_resampling(module, scores), scores) for name, scores in by_model.items()
    }
    credit = {name: credits(module, scores) for name, scores in by_model.items()}
    rows = []
    for a, b in itertools.combinations(by_model, 2):
        (first, first_again), (second, second_again) = headlines[a], headlines[b]
        difference = None
        if first is not None and second is not None:
            difference = first - second
        # Replicate by replicate: both models have the same prompts, whose difficulty cancels.
        estimate = _interval(difference, first_again - second_again)
        row = {
            "first model": a,
            "second model": b,
            "headline_difference": estimate.value,
            "headline_low": estimate.low,
            "headline_high": estimate.high,
        }
        rows.append(row | paired(credit[a], credit[b], by_model[a].prompts))
    return rows
