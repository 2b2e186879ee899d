"""What a reward model pays for besides quality: length, lists, markdown, hedging, flattering openers, within prompts.

Two sets of responses are looked at. The audit set is the responses as they are. The selected set is what best-of-n makes of them: a
response counts with the probability that it is the pick, which is what a policy tuned on this reward drifts to, and where a model that was
cured of one bias on the audit set can show another (reward bias substitution, arXiv 2605.27996). No number needs the text again:
`annotate` puts the measures of style.py into the items' labels.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from rewardjax.evaluators.audits import style
from rewardjax.evaluators.benchmarks.best_of_n import expected_best
from rewardjax.evaluators.records import Examples, Item, Rewards
from rewardjax.stats import bootstrap

N = 4  # of the best-of-n that selects


def annotate(examples: Examples) -> Examples:
    """The examples with the measures of each response in its item's label, as "style" [K, 5]."""
    measured = [
        [style.features(response[-1]["content"]).tolist() for response in group.responses]
        for group in examples.groups
    ]
    items = [
        item._replace(label=item.label | {"style": rows})
        for item, rows in zip(examples.items, measured, strict=True)
    ]
    return dataclasses.replace(examples, items=items)


def summary(
    items: Sequence[Item],
    rewards: Rewards,
    quality: Sequence[Any] | None = None,
    n: int = N,
    **settings: Any,
) -> dict[str, Any]:
    """Bias of rewards (one [K] an item) over items of `annotate`; responses without a reward are left out, prompts with fewer than 2 too.

    quality: a label [K] an item (`preferences.quality`) to hold fixed in `partial` and to give the shift of picking by label.
    Returns "prompts", "responses", "n", "selected_prompts" (those with more than n responses), and
    "features": for each, "mean" and "share" (of responses that have any of it); "audit" and "selected", each with

    correlation  between reward and feature, both centered within prompts, every prompt weighing the same; with `_low` and `_high`
    partial      the same with the other features and `quality` held fixed: standardized coefficient of the joint regression;
                 with `_low` and `_high`
    pooled       correlation over all responses without centering: what differs between prompts is in it, so read the other ones

    and "shift": how far the pick of best-of-K is from the average response, in within-prompt standard deviations, for K = 2, 4, ...:
    "ks", "value", "low", "high", "by_quality" (of picking by label). None where undefined. settings: of `bootstrap.interval`."""
    prompts = []
    for i, (item, found) in enumerate(zip(items, rewards, strict=True)):
        scored = np.isfinite(np.asarray(found, np.float64))
        if scored.sum() > 1:
            label = np.zeros(0) if quality is None else np.asarray(quality[i], np.float64)[scored]
            prompts.append(
                _Prompt(
                    np.asarray(found, np.float64)[scored],
                    np.asarray(item.label["style"])[scored],
                    label,
                )
            )
    larger = [prompt for prompt in prompts if len(prompt.rewards) > n]
    result: dict[str, Any] = {
        "prompts": len(prompts),
        "responses": sum(len(p.rewards) for p in prompts),
        "n": n,
    }
    result |= {"selected_prompts": len(larger), "features": {}}
    if not prompts:
        return result
    every = np.concatenate([prompt.style for prompt in prompts])
    audit = associations(
        prompts, [np.full(len(p.rewards), 1 / len(p.rewards)) for p in prompts], **settings
    )
    selected = (
        associations(larger, [selection(p.rewards, n) for p in larger], **settings)
        if larger
        else {}
    )
    moved = shifts(prompts, **settings)
    for j, name in enumerate(style.FEATURES):
        result["features"][name] = {
            "mean": float(every[:, j].mean()),
            "share": float(np.mean(every[:, j] > 0)),
            "audit": audit[name],
            "selected": selected.get(name),
            "shift": moved[name],
        }
    return result


@dataclasses.dataclass(frozen=True)
class _Prompt:
    rewards: np.ndarray  # [K]
    style: np.ndarray  # [K, F]
    quality: np.ndarray  # [K], or [0] where unknown


def selection(rewards, n: int) -> np.ndarray:
    """[K]: the probability that each response is the one with the highest reward among n drawn without replacement; equal rewards share."""
    each = np.eye(len(rewards))
    return np.array([expected_best(rewards, one, [n])[0] for one in each])


def associations(
    prompts: Sequence[_Prompt], weights: Sequence[np.ndarray], **settings: Any
) -> dict[str, dict[str, float | None]]:
    """Correlations by feature, of responses weighted within their prompt by `weights` (each summing to 1)."""
    moments, raw = zip(
        *(_moments(prompt, weight) for prompt, weight in zip(prompts, weights, strict=True)),
        strict=True,
    )
    total = np.array(moments)
    values = _correlations(total.sum(0)[None])[0]
    low, high = bootstrap.interval(
        lambda sums, _: _correlations(sums), total, np.ones(len(total)), **settings
    )
    raw = np.sum(raw, axis=0)
    mean = raw[0] / raw[0, 0]
    covariance = raw / raw[0, 0] - np.outer(mean, mean)
    pooled = covariance[1:-1, -1] / _root(np.diag(covariance)[1:-1] * covariance[-1, -1])
    fields = {"correlation": 0, "partial": 1}
    return {
        name: {
            **{
                f"{field}{suffix}": _plain(array[row, j])
                for field, row in fields.items()
                for suffix, array in (("", values), ("_low", low), ("_high", high))
            },
            "pooled": _plain(pooled[j]),
        }
        for j, name in enumerate(style.FEATURES)
    }


def _moments(prompt: _Prompt, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted second moments of a prompt's columns (features, quality where known, reward): centered [D, D], and of (1, features,
    reward) as they are [F + 2, F + 2]."""
    known = [prompt.quality[:, None]] if len(prompt.quality) else []
    columns = np.concatenate([prompt.style, *known, prompt.rewards[:, None]], axis=1)
    centered = columns - weight @ columns
    plain = np.concatenate(
        [np.ones((len(weight), 1)), prompt.style, prompt.rewards[:, None]], axis=1
    )
    return (centered * weight[:, None]).T @ centered, (plain * weight[:, None]).T @ plain


def _correlations(moments: np.ndarray) -> np.ndarray:
    """[R, 2, F]: plain and partial standardized association of each feature with the last column, from moments [R, D, D]."""
    scale = _root(np.diagonal(moments, axis1=1, axis2=2))
    with np.errstate(invalid="ignore"):
        matrix = moments / (scale[:, :, None] * scale[:, None, :])
    F = len(style.FEATURES)
    constant = np.isnan(
        scale[:, :-1]
    )  # no variation: no association, and no part in the regression
    inner, outer = np.nan_to_num(matrix[:, :-1, :-1]), np.nan_to_num(matrix[:, :-1, -1])
    partial = np.einsum("rij,rj->ri", np.linalg.pinv(inner, hermitian=True), outer)
    undefined = constant | np.isnan(scale[:, -1:])
    both = np.stack([outer, partial], axis=1)
    return np.where(undefined[:, None, :], np.nan, both)[:, :, :F]


def _root(variance: np.ndarray) -> np.ndarray:
    """Standard deviations, NaN for (numerically) none."""
    return np.sqrt(np.where(variance > 1e-12, variance, np.nan))


def shifts(prompts: Sequence[_Prompt], **settings: Any) -> dict[str, dict[str, Any]]:
    """By feature, the mean over prompts of E[feature of the pick of best-of-K] - mean feature, over the pooled within-prompt standard
    deviation; K = 2, 4, ... up to the fewest responses of a prompt, which is included (the prompts must all have that many)."""
    fewest = min(len(prompt.rewards) for prompt in prompts)
    ks = [2**i for i in range(1, fewest.bit_length())]
    ks += [fewest] if ks[-1] != fewest else []
    spread = _root(np.mean([prompt.style.var(axis=0) for prompt in prompts], axis=0))  # [F]
    moved = (
        np.array([_moved(prompt, prompt.rewards, ks) for prompt in prompts]) / spread[:, None]
    )  # [prompts, F, ks]
    known = all(len(prompt.quality) for prompt in prompts)
    by_quality = (
        np.mean([_moved(p, p.quality, ks) for p in prompts], axis=0) / spread[:, None]
        if known
        else None
    )
    low, high = bootstrap.mean_interval(moved, **settings)
    value = moved.mean(0)
    return {
        name: {
            "ks": ks,
            **{
                key: [_plain(x) for x in array[j]]
                for key, array in (("value", value), ("low", low), ("high", high))
            },
            "by_quality": None if by_quality is None else [_plain(x) for x in by_quality[j]],
        }
        for j, name in enumerate(style.FEATURES)
    }


def _moved(prompt: _Prompt, by: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """[F, ks]: expected feature of the pick by `by`, less the mean."""
    return np.array([expected_best(by, column, ks) - column.mean() for column in prompt.style.T])


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
