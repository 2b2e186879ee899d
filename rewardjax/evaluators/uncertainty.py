"""How far would a number move with other prompts? 95 % intervals of headlines and of their parts.

Whole prompts are drawn again: the responses of one prompt share its difficulty, so that they are
not independent.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from rewardjax.evaluators.benchmarks import Benchmark, HasResampling, Resampling
from rewardjax.evaluators.records import Item, Part, Result, Rewards
from rewardjax.evaluators.stored_rewards import Scores
from rewardjax.stats import intervals

# Of a headline's bootstrap: its standard error is then known to 5 % of itself.
RESAMPLES = 200
# A subset of fewer prompts is drawn together with the other small ones: a single prompt, drawn
# from itself, would never vary.
LEAST_PROMPTS = 5

# How the intervals came about, for whoever reads results.json or a table without this code.
METHODS = {
    "headline": f"stratified bootstrap over prompts, {RESAMPLES} draws, 95 %",
    "parts": "Wilson, 95 %, examples taken for independent; none where a score is no count of them",
}

# (items, rewards) -> a number that a benchmark gives a model, None where it is undefined.
Statistic = Callable[[Sequence[Item], Rewards], float | None]


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
    return interval(*_replicates(_by_rule(statistic, scores), scores))


def headline(module: Benchmark, scores: Scores) -> dict[str, float | None]:
    """A benchmark's "headline" with its 95 % interval, "low" and "high"; see `estimate`."""
    of_headline = interval(*headline_replicates(module, scores))
    return {"headline": of_headline.value, "low": of_headline.low, "high": of_headline.high}


def headline_replicates(module: Benchmark, scores: Scores) -> tuple[float | None, np.ndarray]:
    """The headline of all examples, and [R] of those drawn again, NaN where undefined."""
    return _replicates(_resampling(module, scores), scores)


def of_result(module: Benchmark, result: Result, scores: Scores) -> dict[str, Any]:
    """All intervals of a result: "headline", "low", "high", and of "parts" and "subsets" by name.

    This is what results.json keeps; tables and figures show these and compute none of their own.
    """
    # A headline that was taken away, as over too few examples, has no interval either.
    of_headline: dict[str, Any] = {"headline": None, "low": None, "high": None}
    if result.headline is not None:
        of_headline = headline(module, scores)
    for name, parts in (("parts", result.parts), ("subsets", result.subsets)):
        of_headline[name] = {key: _bounds(part, result.least) for key, part in parts.items()}
    return of_headline


def _bounds(part: Part, least: float) -> dict[str, float | None]:
    # A correlation may happen to be a count of n examples, and is none all the same.
    if least < 0:
        return {"low": None, "high": None}
    of_part = wilson(part)
    return {"low": of_part.low, "high": of_part.high}


def wilson(part: Part) -> Estimate:
    """A part's value with its Wilson interval.

    That is of a count of n examples; a score that is none (a correlation, a mean of half points)
    has no interval.
    """
    if part.value is None or not part.n:
        return Estimate(part.value, None, None)
    successes = part.value * part.n
    if not 0 <= part.value <= 1 or abs(successes - round(successes)) > 1e-6:
        return Estimate(part.value, None, None)
    return Estimate(part.value, *intervals.wilson(round(successes), part.n))


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


def interval(value: float | None, replicates: np.ndarray) -> Estimate:
    """A value with its normal interval, from `replicates` [R] of draws."""
    if value is None or np.isnan(replicates).any():
        return Estimate(value, None, None)
    # The normal interval: its ends need no 2,000 draws, as quantiles would.
    reach = float(stats.norm.ppf(0.975) * replicates.std(ddof=1))
    # No score and no difference of two is beyond 1.
    return Estimate(value, max(value - reach, -1.0), min(value + reach, 1.0))
