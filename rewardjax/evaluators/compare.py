"""Are two models different, or were the examples? Paired comparisons on the same examples, exact or by resampling whole prompts."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from rewardjax.evaluators import bootstrap
from rewardjax.evaluators.scores import Scores


def mcnemar(first, second) -> dict[str, Any]:
    """McNemar's exact test (1947) of credits [n] that two models earned on the same examples: only examples that they differ on speak.

    Returns "first_only" and "second_only" (how often each earned more than the other; with credits 0 and 1: was the only one right) and
    "p", two-sided binomial at 1/2; 1 where they never differ."""
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    wins, losses = int(np.sum(difference > 0)), int(np.sum(difference < 0))
    p = float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    return {"first_only": wins, "second_only": losses, "p": p}


def paired(first, second, clusters: Any = None, **settings: Any) -> dict[str, Any]:
    """Two models' credits [n] on the same examples: means, their difference first - second with its interval, and `mcnemar`.

    NaN in either leaves the example out (`left_out`). clusters [n]: the prompt of each example, drawn as a whole (default: each its own);
    McNemar's p takes the examples for independent, so with several to a prompt the interval is the one to trust. settings: of
    `bootstrap.interval`. Raises ValueError where the lengths differ."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"paired: credits of the same examples, got shapes {list(first.shape)} and {list(second.shape)}")
    both = ~(np.isnan(first) | np.isnan(second))
    names = np.arange(len(first)) if clusters is None else np.asarray(clusters)
    first, second, names = first[both], second[both], names[both]
    result: dict[str, Any] = {"n": len(first), "left_out": int((~both).sum()), "prompts": len(np.unique(names))}
    if not len(first):
        return result
    low, high = bootstrap.mean_interval(first - second, names, **settings)
    means = {"first": float(first.mean()), "second": float(second.mean()), "difference": float(np.mean(first - second))}
    return result | means | {"low": float(low), "high": float(high)} | mcnemar(first, second)


def credits(module: Any, scores: Scores) -> np.ndarray:
    """What each example alone would score [n]: the benchmark's own rule on that example, so that the two cannot disagree; NaN for none.

    module: of `evaluators.get`. The mean of these is the micro average, which most headlines are not."""
    found = [module.summarize([item], [rewards]).headline for item, rewards in zip(scores.items, scores.rewards, strict=True)]
    return np.array([np.nan if value is None else value for value in found], np.float64)


def models(module: Any, by_model: Mapping[str, Scores]) -> list[dict[str, Any]]:
    """`paired` of every two models on the examples that both have scores of, which must be of the same data; one row a pair of models.

    Examples are matched by id and clustered by prompt. Raises ValueError where the benchmark's data differ between the models."""
    data = {name: scores.meta["data"] for name, scores in by_model.items()}
    if len(set(data.values())) > 1:
        raise ValueError(f"compare: the models were not scored on the same data, their fingerprints are {data}")
    earned = {
        name: dict(zip((item.id for item in scores.items), credits(module, scores), strict=True)) for name, scores in by_model.items()
    }
    prompt_of = {item.id: prompt for scores in by_model.values() for item, prompt in zip(scores.items, scores.prompts, strict=True)}
    rows = []
    for a, b in itertools.combinations(by_model, 2):
        ids = [id for id in earned[a] if id in earned[b]]
        found = paired([earned[a][id] for id in ids], [earned[b][id] for id in ids], [prompt_of[id] for id in ids])
        rows.append({"first model": a, "second model": b} | found)
    return rows
