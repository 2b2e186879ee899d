"""What a reward model pays for besides quality: length, lists, markdown, hedging, openers.

Everything is looked at within prompts, on two sets of responses. The audit set is the responses as
they are. The selected set is what best-of-n makes of them: a response counts with the probability
that it is the pick. That is what a policy tuned on this reward drifts to, and where a model that
was cured of one bias on the audit set can show another (reward bias substitution, arXiv
2605.27996).

No number needs the text again: `annotate` puts the measures of style.py into the items' labels.

Letters of shapes: K responses of a prompt, F features of style.FEATURES, D = F + 1 columns of a
regression (features and reward) or F + 2 with quality, R resamples, P prompts.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from rewardjax.evaluators.audits import style
from rewardjax.evaluators.records import Examples, Item, Rewards
from rewardjax.stats import bootstrap
from rewardjax.stats.best_of_n import expected_best

# Of the best-of-n that selects: few enough that most benchmarks have prompts with more responses,
# without which nothing is left to correlate.
N = 4


def annotate(examples: Examples) -> Examples:
    """The examples with the measures of each response in its item's label, as "style" [K, F]."""
    items = []
    for item, group in zip(examples.items, examples.groups, strict=True):
        # The last turn is the answer; what went before it is the same conversation for all.
        answers = [response[-1]["content"] for response in group.responses]
        measures = [style.features(answer).tolist() for answer in answers]
        items.append(item._replace(label=item.label | {"style": measures}))
    return dataclasses.replace(examples, items=items)


@dataclasses.dataclass(frozen=True)
class _Prompt:
    """The responses of a prompt that have a reward; two or more, or there is nothing to compare."""

    rewards: np.ndarray  # [K]
    style: np.ndarray  # [K, F]
    quality: np.ndarray  # [K], or [0] where unknown


def summary(
    items: Sequence[Item],
    rewards: Rewards,
    quality: Sequence[Any] | None = None,
    n: int = N,
    **settings: Any,
) -> dict[str, Any]:
    """Bias of rewards (one [K] per item) over items of `annotate`.

    Responses without a reward are left out, and so are prompts with fewer than two others.

    quality: a label [K] per item (`preferences.quality`), to hold fixed in `partial` and to give
    the shift of picking by label. settings: of `bootstrap.interval`.

    Returns "prompts", "responses", "n", "selected_prompts" (those with more than n responses), and
    "features": for each, "mean" and "share" (of responses that have any of it); "audit" and
    "selected", each with

    correlation  between reward and feature, both centered within prompts, every prompt weighing the
                 same; with `_low` and `_high`
    partial      the same with the other features and `quality` held fixed: standardized coefficient
                 of the joint regression; with `_low` and `_high`
    pooled       correlation over all responses without centering: what differs between prompts is
                 in it, so read the other ones

    and "shift": how far the pick of best-of-K is from the average response, in within-prompt
    standard deviations, for K = 2, 4, ...: "ks", "value", "low", "high", "by_quality" (of picking
    by label). None where undefined.
    """
    prompts = _scored_prompts(items, rewards, quality)
    # Best-of-n of n responses always picks the same one: no variation, no correlation.
    selectable = [prompt for prompt in prompts if len(prompt.rewards) > n]
    result: dict[str, Any] = {
        "prompts": len(prompts),
        "responses": sum(len(prompt.rewards) for prompt in prompts),
        "n": n,
        "selected_prompts": len(selectable),
        "features": {},
    }
    if not prompts:
        return result
    uniform = [np.full(len(prompt.rewards), 1 / len(prompt.rewards)) for prompt in prompts]
    audit = associations(prompts, uniform, **settings)
    selected: dict[str, Any] = {}
    if selectable:
        chances = [selection(prompt.rewards, n) for prompt in selectable]
        selected = associations(selectable, chances, **settings)
    shift = shifts(prompts, **settings)
    style_of_all = np.concatenate([prompt.style for prompt in prompts])  # [responses, F]
    for j, name in enumerate(style.FEATURES):
        result["features"][name] = {
            "mean": float(style_of_all[:, j].mean()),
            "share": float(np.mean(style_of_all[:, j] > 0)),
            "audit": audit[name],
            "selected": selected.get(name),
            "shift": shift[name],
        }
    return result


def _scored_prompts(
    items: Sequence[Item], rewards: Rewards, quality: Sequence[Any] | None
) -> list[_Prompt]:
    prompts = []
    for i, (item, rewards_of_item) in enumerate(zip(items, rewards, strict=True)):
        rewards_K = np.asarray(rewards_of_item, np.float64)
        scored = np.isfinite(rewards_K)
        if scored.sum() < 2:
            continue
        quality_K = np.zeros(0)
        if quality is not None:
            quality_K = np.asarray(quality[i], np.float64)[scored]
        style_KF = np.asarray(item.label["style"])[scored]
        prompts.append(_Prompt(rewards_K[scored], style_KF, quality_K))
    return prompts


def selection(rewards, n: int) -> np.ndarray:
    """Probability [K] of each response to be the pick of best-of-n, drawn without replacement.

    Equal rewards share.
    """
    # The expected label of the pick, if the label is 1 for one response and 0 for all others, is
    # the probability that it is picked.
    indicators = np.eye(len(rewards))
    return np.array([expected_best(rewards, indicator, [n])[0] for indicator in indicators])


# ------------------------------------------------------------------ what reward goes with


def associations(
    prompts: Sequence[_Prompt], weights: Sequence[np.ndarray], **settings: Any
) -> dict[str, dict[str, float | None]]:
    """Correlations by feature; responses are weighted within their prompt by `weights` [K].

    Each prompt's weights sum to 1, so that prompts weigh the same however many responses they have.
    """
    weighted = list(zip(prompts, weights, strict=True))
    # Correlations depend on the prompts through sums of moments alone, which is what makes two
    # thousand resamples of whole prompts cheap.
    centered = np.array([_centered_moments(prompt, weight) for prompt, weight in weighted])
    values = _correlations(centered.sum(0)[None])[0]
    low, high = bootstrap.interval(
        lambda sums, _: _correlations(sums), centered, np.ones(len(centered)), **settings
    )
    pooled = _pooled(np.sum([_raw_moments(prompt, weight) for prompt, weight in weighted], axis=0))
    by_feature: dict[str, dict[str, float | None]] = {}
    for j, name in enumerate(style.FEATURES):
        entry = by_feature[name] = {}
        for row, field in enumerate(("correlation", "partial")):
            entry[field] = _number(values[row, j])
            entry[f"{field}_low"] = _number(low[row, j])
            entry[f"{field}_high"] = _number(high[row, j])
        entry["pooled"] = _number(pooled[j])
    return by_feature


def _centered_moments(prompt: _Prompt, weight: np.ndarray) -> np.ndarray:
    """Weighted second moments [D, D] of features, quality where known, and reward.

    Each column is centered on the prompt's own mean: what makes prompts differ is not a bias.
    """
    columns = [prompt.style]
    if len(prompt.quality):
        columns.append(prompt.quality[:, None])
    # The reward comes last, for `_correlations`.
    columns_KD = np.concatenate([*columns, prompt.rewards[:, None]], axis=1)
    centered_KD = columns_KD - weight @ columns_KD
    return (centered_KD * weight[:, None]).T @ centered_KD


def _raw_moments(prompt: _Prompt, weight: np.ndarray) -> np.ndarray:
    """Weighted second moments [F + 2, F + 2] of (1, features, reward) as they are."""
    ones_K1 = np.ones((len(weight), 1))
    columns = np.concatenate([ones_K1, prompt.style, prompt.rewards[:, None]], axis=1)
    return (columns * weight[:, None]).T @ columns


def _pooled(moments: np.ndarray) -> np.ndarray:
    """Correlation [F] of each feature with the reward from summed `_raw_moments`."""
    # The first row holds the sum of weights and the sums of the columns.
    mean = moments[0] / moments[0, 0]
    covariance = moments / moments[0, 0] - np.outer(mean, mean)
    variance = np.diag(covariance)
    return covariance[1:-1, -1] / _root(variance[1:-1] * variance[-1])


def _correlations(moments: np.ndarray) -> np.ndarray:
    """Plain and partial association [R, 2, F] of each feature with the last column.

    From moments [R, D, D]. The partial one is the standardized coefficient of the regression on all
    columns but the last. NaN for a feature that does not vary.
    """
    scale_RD = _root(np.diagonal(moments, axis1=1, axis2=2))
    with np.errstate(invalid="ignore"):
        matrix_RDD = moments / (scale_RD[:, :, None] * scale_RD[:, None, :])
    # A column without variation has no association, and takes no part in the regression: zeros, and
    # a pseudo-inverse that leaves them out.
    constant = np.isnan(scale_RD[:, :-1])
    between_columns = np.nan_to_num(matrix_RDD[:, :-1, :-1])
    with_reward = np.nan_to_num(matrix_RDD[:, :-1, -1])
    inverse = np.linalg.pinv(between_columns, hermitian=True)
    partial = np.einsum("rij,rj->ri", inverse, with_reward)
    undefined = constant | np.isnan(scale_RD[:, -1:])
    plain_and_partial = np.stack([with_reward, partial], axis=1)
    # Behind the features is quality, which is held fixed and not reported.
    features = slice(len(style.FEATURES))
    return np.where(undefined[:, None, :], np.nan, plain_and_partial)[:, :, features]


def _root(variance: np.ndarray) -> np.ndarray:
    """Standard deviations, NaN where the variance is numerically zero."""
    return np.sqrt(np.where(variance > 1e-12, variance, np.nan))


# ------------------------------------------------------------------ what choosing by reward does


def shifts(prompts: Sequence[_Prompt], **settings: Any) -> dict[str, dict[str, Any]]:
    """Mean over prompts of E[feature of the pick of best-of-K] - mean feature, by feature and K.

    In units of the pooled within-prompt standard deviation; K = 2, 4, ... up to the fewest
    responses of a prompt, which is included (beyond that, prompts would drop out and the curve
    would bend).
    """
    fewest = min(len(prompt.rewards) for prompt in prompts)
    ks = [2**i for i in range(1, fewest.bit_length())]
    if ks[-1] != fewest:
        ks.append(fewest)
    spread_F = _root(np.mean([prompt.style.var(axis=0) for prompt in prompts], axis=0))
    moved = [_moved(prompt, prompt.rewards, ks) for prompt in prompts]
    shift_PFK = np.array(moved) / spread_F[:, None]
    low, high = bootstrap.mean_interval(shift_PFK, **settings)
    value = shift_PFK.mean(0)
    by_quality = None
    if all(len(prompt.quality) for prompt in prompts):
        moved = [_moved(prompt, prompt.quality, ks) for prompt in prompts]
        by_quality = np.mean(moved, axis=0) / spread_F[:, None]
    by_feature: dict[str, dict[str, Any]] = {}
    for j, name in enumerate(style.FEATURES):
        entry = by_feature[name] = {
            "ks": ks,
            "value": _numbers(value[j]),
            "low": _numbers(low[j]),
            "high": _numbers(high[j]),
            "by_quality": None,
        }
        if by_quality is not None:
            entry["by_quality"] = _numbers(by_quality[j])
    return by_feature


def _moved(prompt: _Prompt, scores: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """Expected feature of the pick by `scores` [K], less the prompt's mean: [F, len(ks)]."""
    return np.array(
        [expected_best(scores, column, ks) - column.mean() for column in prompt.style.T]
    )


def _number(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    if np.isnan(value):
        return None
    return float(value)


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in values]
