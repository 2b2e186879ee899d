"""What a set of labeled pairs says about a reward model.

Accuracy, calibration, spread, and how much of it is length.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from rewardjax.data import sources
from rewardjax.data.groups import BadRecord, Group, check
from rewardjax.evaluators import reading, rules
from rewardjax.evaluators.benchmarks import Published
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards
from rewardjax.stats.intervals import wilson

TITLE = "Held-out pairs"
SOURCE = "preference pairs of your own, in any format of data/formats.py"
HUB = None
CHANCE = 0.5
CALIBRATION_BINS = 10


# ------------------------------------------------------------------ figures of pairs


def pair_metrics(
    chosen: Any,
    rejected: Any,
    *,
    chosen_length: Any = None,
    rejected_length: Any = None,
    target: Any = None,
    tie: Any = None,
) -> dict[str, Any]:
    """Metrics of rewards [N] of chosen and rejected responses, for one named set of N pairs.

    target: [N] P(chosen is better) by the label; 1 if not given, below 1/2 the label prefers the
    rejected one. tie: [N] bool, the label is "no preference". chosen_length, rejected_length: [N]
    tokens. Label ties (tie, or target = 1/2) are counted as `label_ties` and left out of everything
    else. Plain numbers, None where undefined; with d = chosen - rejected:

    pairs               pairs with a preference; all figures below are of these
    accuracy            the response that the label prefers scores strictly higher: equal scores are
                        wrong (`ties`: their fraction)
    accuracy_ties_half  equal scores count one half
    wilson_low/_high    95 % interval of `accuracy`
    margin_mean/_std    of d, signed towards the preferred response
    nll, brier          -log likelihood and squared error of sigma(d) against target (Brier 1950);
                        ln 2 and 1/4 without any knowledge
    ece                 mean |confidence - frequency| over the bins of `reliability`, weighted by
                        count (biased upwards for small sets)
    chosen_*, rejected_*  mean, std, min, max of the rewards
    length_slope        see `length_slope`
    length_accuracy     what preferring the longer response would score (equal lengths: half)

    Exchanging chosen and rejected (with targets as they were) maps accuracy a to 1 - a - ties.
    Raises ValueError for shapes that differ and for values that are not finite, saying how many.
    """
    chosen = _finite("chosen", chosen)
    N = len(chosen)
    rejected = _finite("rejected", rejected, N)
    target = _targets(target, N)
    if (chosen_length is None) != (rejected_length is None):
        raise ValueError("pair_metrics: give both chosen_length and rejected_length, or neither")
    decided = target != 0.5  # [N]
    if tie is not None:
        decided &= ~np.asarray(tie, bool)
    counts = {"pairs": int(decided.sum()), "label_ties": int(N - decided.sum())}
    if not decided.any():
        return counts

    chosen, rejected, target = chosen[decided], rejected[decided], target[decided]
    delta = chosen - rejected
    # +1 where the label prefers the chosen response, -1 where it prefers the rejected one.
    towards = np.where(target > 0.5, 1.0, -1.0)
    result: dict[str, Any] = (
        counts | _accuracy(delta * towards) | _calibration(chosen, rejected, target)
    )
    for name, rewards in (("chosen", chosen), ("rejected", rejected)):
        for statistic in ("mean", "std", "min", "max"):
            result[f"{name}_{statistic}"] = float(getattr(np, statistic)(rewards))
    if chosen_length is not None:
        chosen_length = _finite("chosen_length", chosen_length, N)[decided]
        rejected_length = _finite("rejected_length", rejected_length, N)[decided]
        longer = (chosen_length - rejected_length) * towards
        result["length_slope"] = length_slope(delta * towards, longer)
        result["length_accuracy"] = float(np.mean((1 + np.sign(longer)) / 2))
    return result


def figure_names() -> list[str]:
    """What `pair_metrics` calls its figures where all of them are defined."""
    lengths = {"chosen_length": [1, 3], "rejected_length": [2, 9]}
    return list(pair_metrics([1.0, 0.0], [0.0, 2.0], **lengths))


def _accuracy(margin: np.ndarray) -> dict[str, float]:
    """margin: [N] reward of the response that the label prefers, less that of the other."""
    right, ties = int(np.sum(margin > 0)), float(np.mean(margin == 0))
    # Wilson's interval, since accuracies near 1 are what this is read for.
    low, high = wilson(right, len(margin))
    return {
        "accuracy": right / len(margin),
        "ties": ties,
        "accuracy_ties_half": right / len(margin) + ties / 2,
        "wilson_low": low,
        "wilson_high": high,
        "margin_mean": float(np.mean(margin)),
        "margin_std": float(np.std(margin)),
    }


def _calibration(chosen: np.ndarray, rejected: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Likelihood, Brier score and calibration error of the Bradley-Terry probabilities, all [N]."""
    delta = chosen - rejected
    # log(1 + exp(-d)) by logaddexp: exp overflows for margins that reward models do reach.
    nll = target * np.logaddexp(0, -delta) + (1 - target) * np.logaddexp(0, delta)
    bins = reliability(chosen, rejected, target=target)
    gap = np.abs(bins["confidence"] - bins["frequency"])
    return {
        "nll": float(np.mean(nll)),
        "brier": float(np.mean((special.expit(delta) - target) ** 2)),
        "ece": float(np.sum(bins["count"] * gap) / len(delta)),
    }


def reliability(
    chosen: Any, rejected: Any, *, target: Any = None, bins: int = CALIBRATION_BINS
) -> dict[str, np.ndarray]:
    """Confidence against frequency in B bins of equal mass: "confidence", "frequency", "count".

    Each [B]. chosen, rejected: rewards [N]; target: [N] as for `pair_metrics`. The confidence of a
    pair is sigma(|d|), d = chosen - rejected, the Bradley-Terry probability of the response that
    the model prefers, so it lies in [1/2, 1]; the frequency is how often the label prefers it too
    (equal scores: half). Bins are cut at quantiles of the confidence and equal confidences share
    one, so the order of the pairs does not matter and B can be smaller than `bins`.
    """
    chosen = _finite("chosen", chosen)
    rejected = _finite("rejected", rejected, len(chosen))
    target = _targets(target, len(chosen))
    delta = chosen - rejected
    confidence = special.expit(np.abs(delta))
    agrees = np.select([delta > 0, delta < 0], [target, 1 - target], 0.5)
    edges = np.empty(0)  # np.quantile refuses an empty array
    if len(delta):
        # Unique, since equal confidences would else be split over bins by the order of the pairs.
        edges = np.unique(np.quantile(confidence, np.arange(1, bins) / bins))
    bin_of = np.searchsorted(edges, confidence, side="right")  # [N]
    count = np.bincount(bin_of, minlength=len(edges) + 1)
    used = count > 0
    return {
        "confidence": np.bincount(bin_of, confidence, minlength=len(count))[used] / count[used],
        "frequency": np.bincount(bin_of, agrees, minlength=len(count))[used] / count[used],
        "count": count[used],
    }


def length_slope(reward_difference: Any, length_difference: Any) -> float | None:
    """Reward per 100 tokens of response, within pairs, beyond what being preferred explains.

    Both differences [N] are preferred - other. The slope of an ordinary least-squares line, with
    intercept, of the difference of rewards on the difference of lengths: in reward = (something of
    the prompt) + a * [is preferred] + b * length, differencing removes the prompt, a is the
    intercept, and this is 100 b. None where all differences of length are equal.
    """
    rewards = np.asarray(reward_difference, np.float64)
    lengths = np.asarray(length_difference, np.float64)
    if len(lengths) < 2 or np.ptp(lengths) == 0:
        return None
    centered = lengths - lengths.mean()
    return float(100 * (centered @ (rewards - rewards.mean())) / (centered @ centered))


def _targets(target: Any, size: int) -> np.ndarray:
    """P(chosen is better) [size]; certain where the labels say no more than which is better."""
    if target is None:
        return np.ones(size)
    return _finite("target", target, size)


def _finite(name: str, values: Any, size: int | None = None) -> np.ndarray:
    """The values as float64 [size]; raises ValueError for another shape, NaN or infinity."""
    # Rewards are float32, in which means over many pairs would lose digits.
    values = np.asarray(values, np.float64)
    if values.ndim != 1:
        raise ValueError(f"{name}: expected shape [pairs], got {list(values.shape)}")
    if size is not None and len(values) != size:
        raise ValueError(f"{name}: expected shape [{size}], got {list(values.shape)}")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(
            f"{name}: {len(bad)} of {len(values)} values are not finite, the first at pair {bad[0]}"
        )
    return values


# ------------------------------------------------------------------ the benchmark


def load(
    path: str,
    split: str | None = None,
    part: tuple[float, float] = (0.0, 1.0),
    columns: Any = None,
    labels: Any = None,
    max_dropped: float = 0.2,
) -> Examples:
    """Whatever `data/sources/` opens, one item per group with labeled pairs.

    split: one of the source's. part: the fraction of prompts to keep, by hash, as for training.
    columns, labels: what the source's columns and verdicts mean, as for training. max_dropped: the
    share of the records that may be unusable.
    """
    source = sources.open_source(path, split=split, spelling=reading.SPELLING)

    def read(preferences: reading.Preferences) -> tuple[Item, Group]:
        # `check` takes pairs of equal responses away, whose rewards can only be equal.
        group, _ = check(preferences.group())
        if not group.pairs:
            raise BadRecord("equal", "no pair of different responses with a label")
        pairs = [[pair.chosen, pair.rejected, pair.target, pair.tie] for pair in group.pairs]
        record = preferences.record
        subset = str(record.get("subset") or record.get("category") or "all")
        return Item(group.id, subset, {"pairs": pairs}), group

    of_part = reading.groups_of(source, part, columns, labels, max_dropped)
    return reading.collect("pairs", of_part, read, [source])


def better(item: Item, responses: int) -> list[tuple[int, int]]:
    """The response that each labeled pair prefers; a pair that is labeled as a tie is left out."""
    decided = []
    for i, j, target, tie in item.label["pairs"]:
        if tie or target == 0.5:
            continue
        if target > 0.5:
            decided.append((i, j))
        else:
            decided.append((j, i))
    return decided


def summarize(items: Sequence[Item], rewards: Rewards) -> Result:
    """Accuracy as the headline, by subset below; `other` has all of `pair_metrics` but lengths.

    Everything counts pairs, not items; pairs labeled as ties are unused.
    """
    by_subset = rules.by_subset(items, rewards)
    subsets = {name: _part(_pair_table(scored)) for name, scored in by_subset.items()}
    table = _pair_table(list(zip(items, rewards, strict=True)))
    part = _part(table)
    return Result(
        "pairs",
        part.value,
        "accuracy over labeled pairs",
        CHANCE,
        {"pairs": part},
        rules.breakdown(subsets),
        _figures(table),
    )


def _pair_table(scored: Sequence[tuple[Item, np.ndarray]]) -> np.ndarray:
    """[N, 4]: of each pair the rewards of chosen and rejected, NaN without one, target, tie."""
    table = []
    for item, rewards in scored:
        for chosen, rejected, target, tie in item.label["pairs"]:
            table.append((rewards[chosen], rewards[rejected], target, tie))
    return np.array(table, np.float64).reshape(-1, 4)


def _figures(table: np.ndarray) -> dict[str, Any]:
    """`pair_metrics` of the pairs of `_pair_table` that have both rewards."""
    chosen, rejected, target, tie = table[~np.isnan(table).any(axis=1)].T
    return pair_metrics(chosen, rejected, target=target, tie=tie)


def _part(table: np.ndarray) -> Part:
    """The accuracy of a `_pair_table`, and what became of its pairs."""
    figures = _figures(table)
    n = figures["pairs"]
    return Part(
        value=figures.get("accuracy"),
        n=n,
        # `ties` is the fraction of pairs with equal rewards, absent where no pair is decided.
        ties=round(figures.get("ties", 0) * n),
        unscored=int(np.isnan(table).any(axis=1).sum()),
        unused=figures["label_ties"],
    )


def published(record: dict[str, Any]) -> Published | None:
    """A row of scores.parquet of Evaluation_Runs of the repository iNeil77/Themis.

    Of pairs with `chosen` and `rejected`, such as hf://project-themis/Themis-CodeRewardBench.
    """
    if not {"id", "chosen_score", "rejected_score"} <= set(record):
        return None
    scores = [reading.number(record, name) for name in ("chosen_score", "rejected_score")]
    return Published(str(record["id"]), scores, record.get("model"))
