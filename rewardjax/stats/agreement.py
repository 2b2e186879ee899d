"""Agreement between sources of labels: how often they say the same, and how far beyond chance.

Sources are people and judges, two reward models, a source and the oracle. None is "no vote".

Letters: n items, L labels.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from rewardjax.stats.intervals import wilson

Label = Hashable


class Comparison(TypedDict):
    """Two sources about the same items; None where a figure is undefined."""

    # With both votes, and without.
    items: int
    missing: int
    agreement: float | None
    agreement_low: float | None
    agreement_high: float | None
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None


def confusion(
    a: Sequence[Label | None], b: Sequence[Label | None], labels: Sequence[Label] | None = None
) -> tuple[list[Label], np.ndarray]:
    """The labels, and counts int64 [L, L]: how often `a` says label i where `b` says label j.

    Items without both votes are left out.

    Args:
        a: [n].
        b: [n].
        labels: which there are, in order; by default those that occur, sorted.

    Raises:
        ValueError: for lists of different length, or a label that `labels` lacks.
    """
    if len(a) != len(b):
        raise ValueError(
            f"agreement: the sources have {len(a)} and {len(b)} labels; "
            "they must be about the same items"
        )
    both = [pair for pair in zip(a, b, strict=True) if None not in pair]
    present: set[Any] = set().union(*both)
    if labels is None:
        # By type first: labels of different types have no order.
        labels = sorted(present, key=lambda label: (str(type(label)), label))
    unknown = present - set(labels)
    if unknown:
        raise ValueError(
            f"agreement: labels {sorted(map(repr, unknown))} are not among {list(labels)}"
        )
    index = {label: i for i, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), np.int64)
    for x, y in both:
        table[index[x], index[y]] += 1
    return list(labels), table


def kappa_of(table) -> np.ndarray:
    """Cohen's kappa (Cohen 1960) of tables [..., L, L]: (observed - expected) / (1 - expected).

    Expected is the agreement of independent sources with these marginals. NaN where it is 1: both
    always say one and the same label.
    """
    # Own code beside scikit-learn's cohen_kappa_score, which takes two lists of labels: the
    # bootstrap below needs thousands of tables at once. A test compares the two.
    table = np.asarray(table, np.float64)
    total = table.sum((-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = np.trace(table, axis1=-2, axis2=-1) / total
        expected = (table.sum(-1) * table.sum(-2)).sum(-1) / total**2
        return np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)


def compare(
    a: Sequence[Label | None],
    b: Sequence[Label | None],
    *,
    labels: Sequence[Label] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Observed agreement (Wilson interval) and Cohen's kappa (percentile bootstrap over items).

    Args:
        a: [n].
        b: [n].
        labels: of `confusion`.
        level: of the intervals.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    _, table = confusion(a, b, labels)
    missing = len(a) - int(table.sum())
    return compare_counts(table, missing, level=level, resamples=resamples, seed=seed)


def compare_counts(
    table: np.ndarray,
    missing: int = 0,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """`compare` of counts int64 [L, L], as `confusion` has them: for more items than memory holds.

    missing: items without both votes.
    """
    items = int(table.sum())
    result = Comparison(
        items=items,
        missing=missing,
        agreement=None,
        agreement_low=None,
        agreement_high=None,
        kappa=None,
        kappa_low=None,
        kappa_high=None,
    )
    if not items:
        return result
    same = int(np.trace(table))
    result["agreement"] = same / items
    result["agreement_low"], result["agreement_high"] = wilson(same, items, level)
    kappa = float(kappa_of(table))
    if np.isnan(kappa):
        return result
    # Items are exchangeable, so that drawing them again is drawing a table from the observed one.
    random = np.random.default_rng(seed)
    redrawn = random.multinomial(items, table.ravel() / items, size=resamples)
    kappas = kappa_of(redrawn.reshape(-1, *table.shape))
    # A draw of one label only has no kappa.
    low, high = np.nanquantile(kappas, [(1 - level) / 2, (1 + level) / 2])
    result["kappa"], result["kappa_low"], result["kappa_high"] = kappa, float(low), float(high)
    return result


# ------------------------------------------------------------------ reward models, and everybody


def votes_of(reward_a, reward_b) -> list[str | None]:
    """A reward model's votes [n] from its rewards [n].

    "a" or "b", "tie" where they are equal, None where one is missing (NaN).
    """
    difference = np.asarray(reward_a, np.float64) - np.asarray(reward_b, np.float64)
    vote_of_sign = {1.0: "a", -1.0: "b", 0.0: "tie"}
    # The sign of NaN is NaN, which is in no dictionary.
    return [vote_of_sign.get(sign) for sign in np.sign(difference).tolist()]


def vote_table(
    votes: Mapping[str, Sequence[Label | None]],
    decision: Sequence[str] | None = None,
    audit: Sequence[Label | None] | None = None,
) -> list[dict[str, Any]]:
    """Every combination of votes that occurs, most frequent first.

    A row is {"original": "a", "gold": "b", ..., "pairs"}.

    Args:
        votes: voter -> [n].
        decision: [n] (keep, flip, ...); a row also counts each of them.
        audit: [n], a trusted label where there is one. A row has "audited" and for each voter
            "VOTER right", the share of audited pairs on which its vote is the audit's (None
            without any).

    Raises:
        ValueError: for lists of different length.
    """
    sizes = {name: len(values) for name, values in votes.items()}
    if decision is not None:
        sizes["decision"] = len(decision)
    if audit is not None:
        sizes["audit"] = len(audit)
    if len(set(sizes.values())) > 1:
        raise ValueError(f"vote_table: lists of different length: {sizes}")
    items_of: dict[tuple[Label | None, ...], list[int]] = defaultdict(list)
    for i, combination in enumerate(zip(*votes.values(), strict=True)):
        items_of[combination].append(i)
    most_frequent_first = sorted(items_of, key=lambda votes: (-len(items_of[votes]), str(votes)))
    rows = []
    for combination in most_frequent_first:
        items = items_of[combination]
        by_voter = dict(zip(votes, combination, strict=True))
        row: dict[str, Any] = by_voter | {"pairs": len(items)}
        if decision is not None:
            counts = Counter(decision[i] for i in items)
            row |= {action: counts[action] for action in sorted(set(decision))}
        if audit is not None:
            row |= _audited(by_voter, [audit[i] for i in items if audit[i] is not None])
        rows.append(row)
    return rows


def _audited(
    by_voter: Mapping[str, Label | None], audited: list[Label | None]
) -> dict[str, int | float | None]:
    """How often each vote of a combination is the audit's."""
    row: dict[str, int | float | None] = {"audited": len(audited)}
    for name, vote in by_voter.items():
        row[f"{name} right"] = None
        if audited:
            row[f"{name} right"] = audited.count(vote) / len(audited)
    return row


class Precision(TypedDict):
    """How often a kind of decision is right; None where nothing is audited."""

    pairs: int
    audited: int
    right: int
    precision: float | None
    low: float | None
    high: float | None


def decision_precision(
    original: Sequence[Label | None], decision: Sequence[str], audit: Sequence[Label | None]
) -> dict[str, Precision]:
    """Audited precision of "keep" and "flip", as in the paper's table of human agreement (1.6).

    A pair that was kept is right where the audit has the original label, a flipped one where it has
    the other. An audited tie is right for neither.

    Args:
        original: [n], "a" or "b".
        decision: [n].
        audit: [n], a trusted "a" or "b", or None.
    """
    flipped: list[Label | None] = [{"a": "b", "b": "a"}.get(str(label)) for label in original]
    return {
        "keep": _precision("keep", original, decision, audit),
        "flip": _precision("flip", flipped, decision, audit),
    }


def _precision(
    action: str,
    labels: Sequence[Label | None],
    decision: Sequence[str],
    audit: Sequence[Label | None],
) -> Precision:
    """Precision of an action that gives pairs these labels [n]."""
    items = [i for i, decided in enumerate(decision) if decided == action]
    audited = [i for i in items if audit[i] is not None]
    right = sum(audit[i] == labels[i] for i in audited)
    result = Precision(
        pairs=len(items), audited=len(audited), right=right, precision=None, low=None, high=None
    )
    if audited:
        result["precision"] = right / len(audited)
        result["low"], result["high"] = wilson(right, len(audited))
    return result
