"""What the gold set says about a reward model: where it errs, how sure it is, what it gained.

Everything here is about margins: the reward of the response that the gold label prefers minus the
reward of the other. A gold pair whose label is a tie has none and is left out, counted.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import optimize, special

from rewardjax.curation.judges.attributes import TAXONOMIES
from rewardjax.stats import tests
from rewardjax.stats.intervals import paired_difference, wilson

# A temperature stays within 1 / FAR and FAR times the median size of the margins.
FAR = 1e3


def margins(
    labels: Mapping[str, str], scores: Iterable[Mapping[str, Any]]
) -> tuple[list[str], np.ndarray, int]:
    """How much a model prefers what the gold labels prefer, for each pair.

    Args:
        labels: gold label by pair id; other ones than "a" and "b" are left out.
        scores: rows of the ledger, of one model.

    Returns:
        Pair ids in order, margins [n], and how many gold pairs were left out, for their label or
        for want of a score.

    Raises:
        ValueError: where a pair is scored twice.
    """
    margin_of_a: dict[str, float] = {}
    for row in scores:
        if row["pair_id"] in margin_of_a:
            raise ValueError(
                f"gold: pair {row['pair_id']} is scored twice; give the scores of one model"
            )
        margin_of_a[row["pair_id"]] = row["reward_a"] - row["reward_b"]
    ids = []
    for pair_id, label in labels.items():
        if label in ("a", "b") and pair_id in margin_of_a:
            ids.append(pair_id)
    # Sums of floats depend on their order: the same gold set is to give the same temperature.
    ids.sort()
    prefers_a = np.array([labels[pair_id] == "a" for pair_id in ids], bool)
    sign = np.where(prefers_a, 1.0, -1.0)
    margin = sign * np.array([margin_of_a[pair_id] for pair_id in ids], np.float64)
    return ids, margin, len(labels) - len(ids)


def fit_temperature(margin: np.ndarray) -> float:
    """T > 0 that minimizes the mean of -log sigmoid(margin / T) over margins [n].

    Temperature scaling (Guo et al. 2017), for two classes. The mean is convex in 1 / T. Where all
    margins have one sign the best T is 0 or infinity, and the nearest bound (FAR) is returned; of a
    model that prefers nothing every T says p = 1/2, and 1 is returned. Raises ValueError for a
    margin that is not finite.
    """
    margin = np.asarray(margin, np.float64)
    if not np.isfinite(margin).all():
        raise ValueError(
            f"temperature: {np.sum(~np.isfinite(margin))} of {len(margin)} margins are not finite"
        )
    sizes = np.abs(margin[margin != 0])
    # Not refused: such a model is what the gates are there to name, before it decides anything.
    if not len(sizes):
        return 1.0
    # In units of the median size and on a log scale, so that one tolerance fits every model.
    unit = float(np.median(sizes))

    def loss(log_inverse: float) -> float:
        return float(np.mean(np.logaddexp(0, -margin / unit * math.exp(log_inverse))))

    bounds = (-math.log(FAR), math.log(FAR))
    best = optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-10})
    return unit * math.exp(-float(best.x))  # pyright: ignore[reportAttributeAccessIssue]


def probability(margin: np.ndarray, temperature: float) -> np.ndarray:
    """P = sigmoid(margin / temperature) [n]: how likely the model holds the gold label to be.

    p > 1/2, whatever the temperature, exactly where the model agrees with the label.
    """
    return special.expit(np.asarray(margin, np.float64) / temperature)


# ------------------------------------------------------------------ the error table


def error_table(p: np.ndarray, attributes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """One row for all pairs, and one for each value of each attribute, most errors first.

    Args:
        p: [n] probability of each gold label; an error is p <= 1/2.
        attributes: name -> [n] values (None: not known).

    Returns:
        Rows of "attribute", "value", "pairs", "errors", "error" (their share), "low", "high" (its
        Wilson interval), "mean_p".

    Raises:
        ValueError: for an attribute of another length.
    """
    p = np.asarray(p, np.float64)
    rows = []
    # No pairs have no share of errors.
    if len(p):
        rows.append(_error_row("all", "all", p))
    for name, values in attributes.items():
        if len(values) != len(p):
            raise ValueError(f"error_table: {name} has {len(values)} values for {len(p)} pairs")
        of_attribute = []
        for value in set(values):
            members = np.array([other == value for other in values])
            of_attribute.append(_error_row(name, value, p[members]))
        rows += sorted(of_attribute, key=lambda row: (-row["errors"], row["value"]))
    return rows


def _error_row(attribute: str, value: Any, p: np.ndarray) -> dict[str, Any]:
    errors = int(np.sum(p <= 0.5))
    low, high = wilson(errors, len(p))
    name = str(value)
    if value is None:
        name = "unknown"
    return {
        "attribute": attribute,
        "value": name,
        "pairs": len(p),
        "errors": errors,
        "error": errors / len(p),
        "low": low,
        "high": high,
        "mean_p": float(p.mean()),
    }


def worst(p: np.ndarray, pair_ids: Sequence[str], most: int = 20) -> list[dict[str, Any]]:
    """The errors (p <= 1/2) that the model is surest of, lowest p first, equal p by id.

    Rows of "pair_id" and "p", at most `most`; p [n] are those of pair_ids [n].
    """
    order = sorted(range(len(pair_ids)), key=lambda i: (float(p[i]), pair_ids[i]))
    return [{"pair_id": pair_ids[i], "p": float(p[i])} for i in order[:most] if p[i] <= 0.5]


def mcnemar(
    now: Mapping[str, bool], before: Mapping[str, bool], level: float = 0.95
) -> dict[str, Any]:
    """Whether one model is better than the one before on the gold pairs that both judged.

    Args:
        now: pair id -> whether the new model is right.
        before: the same of the old one; pairs that only one has are counted as "unmatched".
        level: of the interval.

    Returns:
        Counts; "p_value", exact two-sided McNemar (1947): of the pairs on which just one is right,
        how surprising is this split of a fair coin; "difference", accuracy now minus before, with
        "low" and "high", the adjusted Wald interval of Bonett and Price (2012). The last four are
        None where no pair is shared.
    """
    shared = sorted(now.keys() & before.keys())
    test = tests.mcnemar(
        [now[pair_id] for pair_id in shared], [before[pair_id] for pair_id in shared]
    )
    gained, lost, n = test["first_only"], test["second_only"], len(shared)
    both_right = sum(now[pair_id] and before[pair_id] for pair_id in shared)
    counts = {
        "pairs": n,
        "unmatched": len(now.keys() ^ before.keys()),
        "both_right": both_right,
        "gained": gained,
        "lost": lost,
        "both_wrong": n - both_right - gained - lost,
    }
    if not n:
        return counts | dict.fromkeys(("difference", "low", "high", "p_value"))
    low, high = paired_difference(gained, lost, n, level)
    return counts | {
        "difference": (gained - lost) / n,
        "low": low,
        "high": high,
        "p_value": test["p"],
    }


# ------------------------------------------------------------------ all of it


def report(
    labels: Mapping[str, str],
    scores: Iterable[Mapping[str, Any]],
    attributes: Mapping[str, Mapping[str, Any]],
    previous: Mapping[str, bool] | None = None,
    most: int = 20,
    *,
    calibrate: bool = True,
) -> dict[str, Any]:
    """Everything this file knows about one model on the gold set.

    An iteration's page shows it, and retrieval starts from its p.

    Args:
        labels: gold label by pair id.
        scores: rows of the ledger, of that model.
        attributes: a row of the ledger by pair id; missing ones are "unknown".
        previous: the `correct` of the last iteration's report.
        most: how many errors `worst` lists.
        calibrate: whether p is sigmoid(margin / T) with a fitted T; False: T = 1, the raw sigmoid
            from which the paper takes k(p).

    Returns:
        JSON values: "pairs", "left_out", "temperature", "accuracy", "p" and "correct" by pair id,
        "errors" (`error_table`), "worst", "against_previous" (`mcnemar`, or None).

    Raises:
        ValueError: where no gold pair is scored.
    """
    ids, margin, left_out = margins(labels, scores)
    if not ids:
        raise ValueError(
            f"gold: none of the {len(labels)} gold pairs has both a label a or b and a score"
        )
    temperature = 1.0
    if calibrate:
        temperature = fit_temperature(margin)
    p = probability(margin, temperature)
    # At p = 1/2 the model prefers neither response, which is an error too.
    correct = dict(zip(ids, (p > 0.5).tolist(), strict=True))
    columns = {}
    for name in TAXONOMIES:
        columns[name] = [attributes.get(pair_id, {}).get(name) for pair_id in ids]
    against_previous = None
    if previous is not None:
        against_previous = mcnemar(correct, previous)
    return {
        "pairs": len(ids),
        "left_out": left_out,
        "temperature": temperature,
        "accuracy": float(np.mean(p > 0.5)),
        "p": dict(zip(ids, p.tolist(), strict=True)),
        "correct": correct,
        "errors": error_table(p, columns),
        "worst": worst(p, ids, most),
        "against_previous": against_previous,
    }
