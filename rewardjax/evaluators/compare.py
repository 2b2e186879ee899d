"""Are two models different, or were the examples? Paired comparisons on the same examples.

Exact where there is a test (McNemar), else by resampling whole prompts: the responses of one prompt
share its difficulty, so that they are not independent.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rewardjax.evaluators import uncertainty
from rewardjax.evaluators.benchmarks import Benchmark
from rewardjax.evaluators.stored_rewards import Scores
from rewardjax.stats import bootstrap
from rewardjax.stats.tests import McNemar, mcnemar


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


def paired_over_seeds(
    first: Any, second: Any, clusters: Sequence[Any] | None = None, *, same_seeds: bool = False
) -> dict[str, Any]:
    """`paired` for two ways of training, each with the credits [S, N] of the models of its S seeds.

    An example's credits are averaged over the seeds, and "difference" is that of the averages. With
    one seed each this is `paired`. With more there is no `mcnemar`, which would take the seeds that
    were drawn for all there are; the interval draws both again, seeds and prompts, each as a whole:
    the Multi-Bootstrap (Sellam et al. 2022, The MultiBERTs, section 4). Of S seeds S - 1 are drawn,
    with which the variance of their mean has no bias (Rao and Wu 1988, Resampling Inference with
    Complex Survey Data), while drawing S would make it (S - 1) / S of that. Percentiles of two or
    three seeds are too narrow all the same, and a way with one seed adds none of its variance.

    clusters: [N] as for `paired`. same_seeds: the rows of both are of the same seeds in the same
    order, and are drawn together, since a seed's order of the data is common to both.

    Raises ValueError where the numbers of examples differ.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    result = paired(first.mean(axis=0), second.mean(axis=0), clusters)
    if len(first) == len(second) == 1 or not result["n"]:
        return result
    for field in McNemar.__annotations__:
        del result[field]
    both = ~np.isnan(first.mean(axis=0) - second.mean(axis=0))  # [N]
    prompts = np.arange(len(both))
    if clusters is not None:
        prompts = np.asarray(clusters)
    credit = np.concatenate([first, -second])[:, both].T  # [n, S + T], signed
    total, counts = bootstrap.sums(credit, prompts[both])  # [C, S + T], [C]
    seeds = len(first), len(second)
    random = np.random.default_rng(0)

    def difference(total: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Of resamples: sums [r, S + T] and numbers [r] of examples -> [r]."""
        shares = _shares_of_both(seeds, len(total), same_seeds, random)
        return (total * shares).sum(axis=1) / count

    low, high = bootstrap.interval(difference, total, counts)
    return result | {"low": float(low), "high": float(high)}


def _shares_of_both(
    seeds: tuple[int, int], resamples: int, same_seeds: bool, random: np.random.Generator
) -> np.ndarray:
    """What each of S and T seeds counts in its mean, [r, S + T]; see `paired_over_seeds`."""
    first = _seed_shares(seeds[0], resamples, random)
    second = first
    if not same_seeds:
        second = _seed_shares(seeds[1], resamples, random)
    return np.concatenate([first, second], axis=1)


def _seed_shares(seeds: int, resamples: int, random: np.random.Generator) -> np.ndarray:
    """What each of S seeds counts in resamples of S - 1 of them, [r, S]; one seed counts always."""
    if seeds == 1:
        return np.ones((resamples, 1))
    drawn = random.multinomial(seeds - 1, np.full(seeds, 1 / seeds), size=resamples)
    return drawn / (seeds - 1)


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


def models(
    module: Benchmark,
    by_model: Mapping[str, Sequence[Scores]],
    seeds: Mapping[str, Sequence[Any]] | None = None,
) -> list[dict[str, Any]]:
    """Every two models on one benchmark: the difference of their headlines, and paired credits.

    A model has scores for each seed that it was trained with, mostly one; its headline is the mean
    over them. One row per pair of models: "first model", "second model", "headline_difference"
    (first - second) with "headline_low" and "headline_high" (as `uncertainty.estimate`, with seeds
    drawn again too), and the fields of `paired_over_seeds`, whose means are over the examples that
    both have, clustered by prompt. seeds: of each model, in the order of its scores.

    Raises ValueError where the benchmark's data differ between the models.
    """
    data = {name: [scores.meta["data"] for scores in each] for name, each in by_model.items()}
    if len(set(itertools.chain(*data.values()))) > 1:
        raise ValueError(
            "compare: the models were not scored on the same data; "
            f"the fingerprints of their data are {data}"
        )
    headlines = {}
    credit = {}
    for name, each in by_model.items():
        headlines[name] = [uncertainty.headline_replicates(module, scores) for scores in each]
        credit[name] = np.stack([credits(module, scores) for scores in each])
    rows = []
    for a, b in itertools.combinations(by_model, 2):
        same_seeds = seeds is not None and list(seeds[a]) == list(seeds[b])
        estimate = _headline_difference(headlines[a], headlines[b], same_seeds)
        row = {
            "first model": a,
            "second model": b,
            "headline_difference": estimate.value,
            "headline_low": estimate.low,
            "headline_high": estimate.high,
        }
        prompts = by_model[a][0].prompts
        rows.append(row | paired_over_seeds(credit[a], credit[b], prompts, same_seeds=same_seeds))
    return rows


def _headline_difference(
    first: Sequence[tuple[float | None, np.ndarray]],
    second: Sequence[tuple[float | None, np.ndarray]],
    same_seeds: bool,
) -> uncertainty.Estimate:
    """The difference of mean headlines, each of S or T seeds with its R replicates."""
    values = [[value for value, _ in each if value is not None] for each in (first, second)]
    difference = None
    if len(values[0]) == len(first) and len(values[1]) == len(second):
        difference = float(np.mean(values[0]) - np.mean(values[1]))
    # Replicate by replicate: all models have the same prompts, whose difficulty cancels.
    again = np.stack([*(again for _, again in first), *(-again for _, again in second)], axis=1)
    seeds = len(first), len(second)
    shares = _shares_of_both(seeds, len(again), same_seeds, np.random.default_rng(0))
    return uncertainty.interval(difference, (again * shares).sum(axis=1))
