"""Are two models different, or were the examples? Paired comparisons on the same examples, exact or by resampling whole prompts."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from rewardjax.evaluators.stored_rewards import Scores
from rewardjax.stats import bootstrap
from rewardjax.stats.tests import mcnemar

GROUPS = 20  # of prompts, for the interval of a headline


def paired(first, second, clusters: Any = None, **settings: Any) -> dict[str, Any]:
    """Two models' credits [n] on the same examples: means, their difference first - second with its interval, and `mcnemar`.

    NaN in either leaves the example out (`left_out`). clusters [n]: the prompt of each example, drawn as a whole (default: each its own);
    McNemar's p takes the examples for independent, so with several to a prompt the interval is the one to trust. settings: of
    `bootstrap.interval`. Raises ValueError where the lengths differ."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(
            f"paired: credits of the same examples, got shapes {list(first.shape)} and {list(second.shape)}"
        )
    both = ~(np.isnan(first) | np.isnan(second))
    names = np.arange(len(first)) if clusters is None else np.asarray(clusters)
    first, second, names = first[both], second[both], names[both]
    result: dict[str, Any] = {
        "n": len(first),
        "left_out": int((~both).sum()),
        "prompts": len(np.unique(names)),
    }
    if not len(first):
        return result
    low, high = bootstrap.mean_interval(first - second, names, **settings)
    means = {
        "first": float(first.mean()),
        "second": float(second.mean()),
        "difference": float(np.mean(first - second)),
    }
    return result | means | {"low": float(low), "high": float(high)} | mcnemar(first, second)


def credits(module: Any, scores: Scores) -> np.ndarray:
    """What each example alone would score [n]: the benchmark's own rule on that example, so that the two cannot disagree; NaN for none.

    module: of `evaluators.get`. The mean of these is the micro average, which most headlines are not."""
    found = [
        module.summarize([item], [rewards]).headline
        for item, rewards in zip(scores.items, scores.rewards, strict=True)
    ]
    return np.array([np.nan if value is None else value for value in found], np.float64)


def headline(module: Any, scores: Scores, groups: int = GROUPS) -> dict[str, Any]:
    """A benchmark's "headline" with a 95 % interval, "low" and "high": the delete-a-group jackknife (Quenouille 1956) over prompts.

    The prompts are dealt into `groups`; the headline is computed without each in turn by the benchmark's own rule, whatever that is, and
    the interval is headline +- t(groups - 1) * sqrt((G - 1) / G * sum of (replicate - mean)^2). None where undefined."""
    value, replicates = _replicates(module, scores, groups)
    return {"headline": value, **_jackknife(value, replicates)}


def _replicates(module: Any, scores: Scores, groups: int) -> tuple[float | None, np.ndarray]:
    """The headline of all, and [G] without each group of prompts; NaN where there is none. Same prompts, same groups."""
    _, prompt = np.unique(scores.prompts, return_inverse=True)
    value = module.summarize(scores.items, scores.rewards).headline
    found = []
    for group in range(min(groups, prompt.max(initial=-1) + 1)):
        rest = np.flatnonzero(prompt % groups != group)
        left = (
            module.summarize(
                [scores.items[i] for i in rest], [scores.rewards[i] for i in rest]
            ).headline
            if len(rest)
            else None
        )
        found.append(np.nan if left is None else left)
    return value, np.array(found)


def _jackknife(value: float | None, replicates: np.ndarray) -> dict[str, float | None]:
    G = len(replicates)
    if value is None or G < 2 or np.isnan(replicates).any():
        return {"low": None, "high": None}
    error = np.sqrt((G - 1) / G * np.sum((replicates - replicates.mean()) ** 2))
    reach = float(stats.t.ppf(0.975, G - 1) * error)
    return {"low": value - reach, "high": value + reach}


def models(module: Any, by_model: Mapping[str, Scores]) -> list[dict[str, Any]]:
    """Every two models on one benchmark: the difference of their headlines, and `paired` credits of the examples that both have.

    One row a pair: "first model", "second model", "headline_difference" (first - second) with "headline_low" and "headline_high"
    (`headline`'s jackknife, of the difference), and the fields of `paired`, whose means are over examples, clustered by prompt.
    Raises ValueError where the benchmark's data differ between the models."""
    data = {name: scores.meta["data"] for name, scores in by_model.items()}
    if len(set(data.values())) > 1:
        raise ValueError(
            f"compare: the models were not scored on the same data, their fingerprints are {data}"
        )
    found = {name: _replicates(module, scores, GROUPS) for name, scores in by_model.items()}
    earned = {name: credits(module, scores) for name, scores in by_model.items()}
    rows = []
    for a, b in itertools.combinations(by_model, 2):
        (first, without_first), (second, without_second) = found[a], found[b]
        difference = None if first is None or second is None else first - second
        interval = _jackknife(difference, without_first - without_second)
        row = {"first model": a, "second model": b, "headline_difference": difference}
        row |= {f"headline_{side}": value for side, value in interval.items()}
        rows.append(row | paired(earned[a], earned[b], by_model[a].prompts))
    return rows
