"""What a set of labeled pairs says about a reward model: accuracy, calibration, spread, and how much of it is length."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from rewardjax.data import formats, sources
from rewardjax.data.groups import BadRow, Group, check
from rewardjax.evaluators import records
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards
from rewardjax.stats.intervals import wilson

TITLE = "Held-out pairs"
SOURCE = "preference pairs of your own, in any format of data/formats.py"
HUB = None
CHANCE = 0.5
CALIBRATION_BINS = 10


def _checked(name: str, values, size: int | None = None) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or (size is not None and len(values) != size):
        raise ValueError(
            f"{name}: expected shape [{'pairs' if size is None else size}], got {list(values.shape)}"
        )
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(
            f"{name}: {len(bad)} of {len(values)} values are not finite, the first at pair {bad[0]}"
        )
    return values


def reliability(
    chosen, rejected, *, target=None, bins: int = CALIBRATION_BINS
) -> dict[str, np.ndarray]:
    """Confidence against frequency, in bins of equal mass: {"confidence", "frequency", "count"}, each [bins used].

    The confidence of a pair is sigma(|d|), d = chosen - rejected, the Bradley-Terry probability of the response that the model prefers,
    so it lies in [1/2, 1]; the frequency is how often the label prefers it too (equal scores: half). Bins are cut at quantiles of the
    confidence and equal confidences share one, so the order of the pairs does not matter and there can be fewer bins than asked for."""
    chosen = _checked("chosen", chosen)
    rejected = _checked("rejected", rejected, len(chosen))
    target = np.ones(len(chosen)) if target is None else _checked("target", target, len(chosen))
    delta = chosen - rejected
    confidence = special.expit(np.abs(delta))
    agrees = np.select([delta > 0, delta < 0], [target, 1 - target], 0.5)
    edges = (
        np.unique(np.quantile(confidence, np.arange(1, bins) / bins)) if len(delta) else np.empty(0)
    )
    bin_of = np.searchsorted(edges, confidence, side="right")
    count = np.bincount(bin_of, minlength=len(edges) + 1)
    used = count > 0
    mean = lambda values: np.bincount(bin_of, values, minlength=len(count))[used] / count[used]
    return {"confidence": mean(confidence), "frequency": mean(agrees), "count": count[used]}


def length_slope(reward_difference, length_difference) -> float | None:
    """Reward per 100 tokens of response, within pairs, beyond what being preferred explains; both differences [n] are preferred - other.

    The slope of an ordinary least-squares line, with intercept, of the difference of rewards on the difference of lengths: in
    reward = (something of the prompt) + a * [is preferred] + b * length, differencing removes the prompt, a is the intercept, and this
    is 100 b. None when all differences of length are equal."""
    rewards, lengths = (
        np.asarray(reward_difference, np.float64),
        np.asarray(length_difference, np.float64),
    )
    if len(lengths) < 2 or np.ptp(lengths) == 0:
        return None
    centered = lengths - lengths.mean()
    return float(100 * (centered @ (rewards - rewards.mean())) / (centered @ centered))


def pair_metrics(
    chosen, rejected, *, chosen_length=None, rejected_length=None, target=None, tie=None
) -> dict[str, Any]:
    """Metrics of rewards [n] of chosen and rejected responses as plain numbers (None where undefined), for one named set of pairs.

    target [n]: P(chosen is better) by the label (default 1; below 1/2 the label prefers the rejected one). tie [n]: the label is "no
    preference". Label ties (tie, or target = 1/2) are counted as `label_ties` and left out of everything else. With d = chosen -
    rejected:

    pairs               pairs with a preference; all figures below are of these
    accuracy            the response that the label prefers scores strictly higher: equal scores are wrong (`ties`: their fraction)
    accuracy_ties_half  equal scores count one half
    wilson_low/_high    95 % interval of `accuracy`
    margin_mean/_std    of d, signed towards the preferred response
    nll, brier          -log likelihood and squared error of sigma(d) against target (Brier 1950); ln 2 and 1/4 without any knowledge
    ece                 mean |confidence - frequency| over the bins of `reliability`, weighted by count (biased upwards for small sets)
    chosen_*, rejected_*  mean, std, min, max of the rewards
    length_slope        see `length_slope`; length_accuracy: what preferring the longer response would score (equal lengths: half)

    Exchanging chosen and rejected (with targets as they were) maps accuracy a to 1 - a - ties. Raises ValueError for shapes that differ
    and for values that are not finite, saying how many."""
    chosen = _checked("chosen", chosen)
    n = len(chosen)
    rejected = _checked("rejected", rejected, n)
    target = np.ones(n) if target is None else _checked("target", target, n)
    keep = (target != 0.5) & ~(np.zeros(n, bool) if tie is None else np.asarray(tie, bool))
    if (chosen_length is None) != (rejected_length is None):
        raise ValueError("pair_metrics: give both chosen_length and rejected_length, or neither")
    result: dict[str, Any] = {"pairs": int(keep.sum()), "label_ties": int(n - keep.sum())}
    if not keep.any():
        return result

    chosen, rejected, target = chosen[keep], rejected[keep], target[keep]
    delta = chosen - rejected
    towards = np.where(target > 0.5, 1.0, -1.0)
    correct, ties = int(np.sum(delta * towards > 0)), float(np.mean(delta == 0))
    result["accuracy"], result["ties"] = correct / len(delta), ties
    result["accuracy_ties_half"] = result["accuracy"] + ties / 2
    result["wilson_low"], result["wilson_high"] = wilson(correct, len(delta))
    result["margin_mean"], result["margin_std"] = (
        float(np.mean(delta * towards)),
        float(np.std(delta * towards)),
    )
    result["nll"] = float(
        np.mean(target * np.logaddexp(0, -delta) + (1 - target) * np.logaddexp(0, delta))
    )
    result["brier"] = float(np.mean((special.expit(delta) - target) ** 2))
    bins = reliability(chosen, rejected, target=target)
    result["ece"] = float(
        np.sum(bins["count"] * np.abs(bins["confidence"] - bins["frequency"])) / len(delta)
    )
    for name, rewards in (("chosen", chosen), ("rejected", rejected)):
        for statistic in ("mean", "std", "min", "max"):
            result[f"{name}_{statistic}"] = float(getattr(np, statistic)(rewards))
    if chosen_length is not None:
        chosen_length = _checked("chosen_length", chosen_length, n)[keep]
        rejected_length = _checked("rejected_length", rejected_length, n)[keep]
        longer = (chosen_length - rejected_length) * towards
        result["length_slope"] = length_slope(delta * towards, longer)
        result["length_accuracy"] = float(np.mean((1 + np.sign(longer)) / 2))
    return result


def load(path: str, split: tuple[float, float] = (0.0, 1.0)) -> Examples:
    """Whatever `data/sources.py` opens, an item a group with labeled pairs; split: the fraction of prompts to keep, as for training."""
    source = sources.open_source(path)

    def read(record: dict[str, Any]) -> tuple[Item, Group]:
        group, _ = check(formats.to_group(record, 0, source.name))
        if not group.pairs:
            raise BadRow("equal", "no pair of different responses with a label")
        pairs = [[pair.chosen, pair.rejected, pair.target, pair.tie] for pair in group.pairs]
        subset = str(record.get("subset") or record.get("category") or "all")
        return Item(group.id, subset, {"pairs": pairs}), group

    return records.collect("pairs", records.groups_of(source, split), read, [source])


def better(item: Item, responses: int) -> list[tuple[int, int]]:
    """The response that each labeled pair prefers; pairs labeled as ties are no pairs."""
    return [
        (i, j) if target > 0.5 else (j, i)
        for i, j, target, tie in item.label["pairs"]
        if not tie and target != 0.5
    ]


def summarize(items: Sequence[Item], rewards: Rewards) -> Result:
    """Accuracy as the headline, by subset below, and `other`: all of `pair_metrics` but lengths. Pairs labeled as ties are unused."""
    subsets = {name: _part(rows) for name, rows in records.by_subset(items, rewards).items()}
    rows = [
        (item, np.asarray(found, np.float64)) for item, found in zip(items, rewards, strict=True)
    ]
    part, figures = _part(rows), _figures(rows)
    rule = "accuracy over labeled pairs"
    return Result(
        "pairs",
        part.value,
        rule,
        CHANCE,
        {"pairs": part},
        subsets if len(subsets) > 1 else {},
        figures,
    )


def _table(rows: Sequence[tuple[Item, np.ndarray]]) -> np.ndarray:
    """[pairs, 4]: reward of chosen, of rejected, target, tie; NaN where a response has no score."""
    table = [
        (found[i], found[j], target, tie)
        for item, found in rows
        for i, j, target, tie in item.label["pairs"]
    ]
    return np.array(table, np.float64).reshape(-1, 4)


def _figures(rows: Sequence[tuple[Item, np.ndarray]]) -> dict[str, Any]:
    table = _table(rows)
    chosen, rejected, target, tie = table[~np.isnan(table).any(1)].T
    return pair_metrics(chosen, rejected, target=target, tie=tie)


def _part(rows: Sequence[tuple[Item, np.ndarray]]) -> Part:
    """n, ties, unscored and unused count pairs."""
    figures, unscored = _figures(rows), int(np.isnan(_table(rows)).any(1).sum())
    ties = round(figures.get("ties", 0) * figures["pairs"])
    return Part(
        figures.get("accuracy"), figures["pairs"], ties, None, unscored, figures["label_ties"]
    )
