"""What the gold set says about a reward model: where it errs, how sure it is, and whether it errs less than the one before.

Everything here is about margins: the reward of the response that the gold label prefers minus the reward of the other. A gold pair whose
label is a tie has none and is left out, counted.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import optimize, special

from rewardjax.curation.judges.attributes import TAXONOMIES
from rewardjax.stats import tests
from rewardjax.stats.intervals import paired_difference, wilson

FAR = 1e3  # a temperature stays within 1/FAR and FAR times the margins' median size


def margins(
    labels: Mapping[str, str], scores: Iterable[Mapping[str, Any]]
) -> tuple[list[str], np.ndarray, int]:
    """(pair ids, margins [n], number of pairs left out): gold labels "a" or "b" by pair id, and rows of `scores` of one model.

    Left out are gold pairs with any other label ("tie", "undecided") and those without a score. Pairs are in the order of their ids.
    Raises ValueError where a pair is scored twice."""
    found: dict[str, float] = {}
    for row in scores:
        if row["pair_id"] in found:
            raise ValueError(
                f"gold: pair {row['pair_id']} is scored twice; give the scores of one model"
            )
        found[row["pair_id"]] = row["reward_a"] - row["reward_b"]
    ids = sorted(
        pair_id for pair_id, label in labels.items() if label in ("a", "b") and pair_id in found
    )
    signed = np.array(
        [found[pair_id] if labels[pair_id] == "a" else -found[pair_id] for pair_id in ids],
        np.float64,
    )
    return ids, signed, len(labels) - len(ids)


def fit_temperature(margin: np.ndarray) -> float:
    """T > 0 that minimizes the mean of -log sigmoid(margin / T) (Guo et al. 2017, for two classes); margin [n].

    Convex in 1 / T. Where all margins have one sign the best T is 0 or infinity, and the nearest bound (FAR) is returned.
    Raises ValueError without a finite margin other than 0."""
    margin = np.asarray(margin, np.float64)
    if not np.isfinite(margin).all():
        raise ValueError(
            f"temperature: {np.sum(~np.isfinite(margin))} of {len(margin)} margins are not finite"
        )
    sizes = np.abs(margin[margin != 0])
    if not len(sizes):
        raise ValueError(
            f"temperature: all {len(margin)} margins are 0; a model that prefers nothing has no temperature"
        )
    unit = float(np.median(sizes))
    loss = lambda log_inverse: float(
        np.mean(np.logaddexp(0, -margin / unit * math.exp(log_inverse)))
    )
    found = optimize.minimize_scalar(
        loss, bounds=(-math.log(FAR), math.log(FAR)), method="bounded", options={"xatol": 1e-10}
    )
    return unit * math.exp(-float(found.x))  # pyright: ignore[reportAttributeAccessIssue]


def probability(margin: np.ndarray, temperature: float) -> np.ndarray:
    """p = sigmoid(margin / temperature) [n]: how likely the model holds the gold label to be; p > 1/2 whatever the temperature where it
    agrees with it."""
    return special.expit(np.asarray(margin, np.float64) / temperature)


def error_table(p: np.ndarray, attributes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """One row for all pairs and one for each value of each attribute, most errors first within an attribute.

    p [n]; attributes: name -> [n] values (None: not known). An error is p <= 1/2. Rows: {"attribute", "value", "pairs", "errors", "error",
    "low", "high" (Wilson), "mean_p"}. Raises ValueError for an attribute of another length."""
    p = np.asarray(p, np.float64)
    cells = [("all", "all", np.ones(len(p), bool))]
    for name, values in attributes.items():
        if len(values) != len(p):
            raise ValueError(f"error_table: {name} has {len(values)} values for {len(p)} pairs")
        of_attribute = [
            (name, value, np.array([other == value for other in values])) for value in set(values)
        ]
        cells += sorted(
            of_attribute, key=lambda cell: (-int(np.sum(p[cell[2]] <= 0.5)), str(cell[1]))
        )
    return [
        _error_row(attribute, value, p[members])
        for attribute, value, members in cells
        if members.any()
    ]


def _error_row(attribute: str, value: Any, p: np.ndarray) -> dict[str, Any]:
    errors = int(np.sum(p <= 0.5))
    low, high = wilson(errors, len(p))
    shown = "unknown" if value is None else value
    counts = {"pairs": len(p), "errors": errors, "error": errors / len(p), "low": low, "high": high}
    return {"attribute": attribute, "value": shown, **counts, "mean_p": float(p.mean())}


def worst(p: np.ndarray, pair_ids: Sequence[str], most: int = 20) -> list[dict[str, Any]]:
    """The pairs that the model gets most wrong, lowest p first: {"pair_id", "p"}; only errors (p <= 1/2), equal p by id."""
    order = sorted(range(len(pair_ids)), key=lambda i: (float(p[i]), pair_ids[i]))
    return [{"pair_id": pair_ids[i], "p": float(p[i])} for i in order[:most] if p[i] <= 0.5]


def mcnemar(
    now: Mapping[str, bool], before: Mapping[str, bool], level: float = 0.95
) -> dict[str, Any]:
    """Is one model better than the one before on the same gold pairs? now, before: pair id -> is it right; pairs that only one has do
    not count ("unmatched").

    p_value: exact two-sided McNemar (1947): of the pairs on which just one is right, how surprising is this split of a fair coin.
    difference: accuracy now minus before, with the adjusted Wald interval of Bonett and Price (2012). None where no pair is shared."""
    shared = sorted(now.keys() & before.keys())
    found = tests.mcnemar(
        [now[pair_id] for pair_id in shared], [before[pair_id] for pair_id in shared]
    )
    gained, lost, n = found["first_only"], found["second_only"], len(shared)
    both_right = sum(now[pair_id] and before[pair_id] for pair_id in shared)
    result = {
        "pairs": n,
        "unmatched": len(now.keys() ^ before.keys()),
        "both_right": both_right,
        "gained": gained,
        "lost": lost,
        "both_wrong": n - both_right - gained - lost,
    }
    if not n:
        return result | dict.fromkeys(("difference", "low", "high", "p_value"))
    low, high = paired_difference(gained, lost, n, level)
    interval = {"low": low, "high": high}
    return result | {"difference": (gained - lost) / n, **interval, "p_value": found["p"]}


def report(
    labels: Mapping[str, str],
    scores: Iterable[Mapping[str, Any]],
    attributes: Mapping[str, Mapping[str, Any]],
    previous: Mapping[str, bool] | None = None,
    most: int = 20,
) -> dict[str, Any]:
    """Everything this file knows about one model on the gold set: what an iteration reports, and what retrieval starts from.

    labels: gold label by pair id; scores: rows of the ledger, of that model; attributes: a row of the ledger by pair id (missing ones are
    "unknown"); previous: the `correct` of the last iteration's report. Returns {"pairs", "left_out", "temperature", "accuracy", "p": by
    pair id, "correct": by pair id, "errors": error_table, "worst", "against_previous"}. Raises ValueError where no gold pair is scored."""
    ids, signed, left_out = margins(labels, scores)
    if not ids:
        raise ValueError(
            f"gold: none of the {len(labels)} gold pairs has both a label a or b and a score"
        )
    temperature = fit_temperature(signed)
    p = probability(signed, temperature)
    correct = {pair_id: bool(one > 0.5) for pair_id, one in zip(ids, p, strict=True)}
    columns = {
        name: [attributes.get(pair_id, {}).get(name) for pair_id in ids] for name in TAXONOMIES
    }
    return {
        "pairs": len(ids),
        "left_out": left_out,
        "temperature": temperature,
        "accuracy": float(np.mean(p > 0.5)),
        "p": dict(zip(ids, p.tolist(), strict=True)),
        "correct": correct,
        "errors": error_table(p, columns),
        "worst": worst(p, ids, most),
        "against_previous": None if previous is None else mcnemar(correct, previous),
    }
