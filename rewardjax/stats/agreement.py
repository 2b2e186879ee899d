"""Agreement between sources of labels (a human and a judge, two reward models, a source and the oracle): how often, and beyond chance."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from rewardjax.stats.intervals import wilson

Label = Hashable


def confusion(
    a: Sequence[Label | None], b: Sequence[Label | None], labels: Sequence[Label] | None = None
) -> tuple[list[Label], np.ndarray]:
    """Counts [labels, labels]: entry (i, j) is how often `a` said label i where `b` said label j. None is "no vote" and is left out.

    `labels` fixes which labels there are and their order (default: those seen, sorted). Raises ValueError for lists of different length
    or a label that `labels` lacks."""
    if len(a) != len(b):
        raise ValueError(
            f"agreement: the sources have {len(a)} and {len(b)} labels; they must be about the same items"
        )
    both = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    seen = {label for pair in both for label in pair}
    labels = (
        sorted(seen, key=lambda label: (str(type(label)), label))
        if labels is None
        else list(labels)
    )
    unknown = seen - set(labels)
    if unknown:
        raise ValueError(f"agreement: labels {sorted(map(repr, unknown))} are not among {labels}")
    index = {label: i for i, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), np.int64)
    for x, y in both:
        table[index[x], index[y]] += 1
    return labels, table


def kappa_of(table) -> np.ndarray:
    """Cohen's kappa (Cohen 1960) of tables [..., labels, labels]: (observed - expected) / (1 - expected).

    Expected is the agreement of independent sources with these marginals. NaN where it is 1: both always say one and the same label."""
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
) -> dict[str, Any]:
    """Observed agreement (Wilson interval) and Cohen's kappa (percentile bootstrap over items) of two sources about the same items.

    Returns "items" (with both votes), "missing" (without), "agreement", "agreement_low", "agreement_high", "kappa", "kappa_low",
    "kappa_high"; None where undefined: nothing in common, or for kappa both sources always say one and the same label."""
    _, table = confusion(a, b, labels)
    items = int(table.sum())
    result: dict[str, Any] = {"items": items, "missing": len(a) - items}
    keys = ("agreement", "agreement_low", "agreement_high", "kappa", "kappa_low", "kappa_high")
    if not items:
        return result | dict.fromkeys(keys)
    agree = int(np.trace(table))
    interval = stats.binomtest(agree, items).proportion_ci(level, method="wilson")
    # Items are exchangeable, so resampling them is drawing a new table from the observed one.
    redrawn = (
        np.random.default_rng(seed)
        .multinomial(items, table.ravel() / items, size=resamples)
        .reshape(-1, *table.shape)
    )
    kappa, kappas = float(kappa_of(table)), kappa_of(redrawn)
    kappas = kappas[np.isfinite(kappas)]
    low, high = (
        np.quantile(kappas, [(1 - level) / 2, (1 + level) / 2])
        if np.isfinite(kappa)
        else (None, None)
    )
    values = (
        agree / items,
        interval.low,
        interval.high,
        kappa if np.isfinite(kappa) else None,
        low,
        high,
    )
    return result | {
        key: None if value is None else float(value)
        for key, value in zip(keys, values, strict=True)
    }


def by_cell(
    a: Sequence[Label | None], b: Sequence[Label | None], cells: Sequence[Hashable], **options
) -> dict[Hashable, dict[str, Any]]:
    """`compare` within each cell (a task category, a (category, objectivity) tuple, ...); cells [items], result by size, largest first.

    Options are those of `compare`."""
    if len(cells) != len(a) or len(a) != len(b):
        raise ValueError(
            f"agreement: {len(a)} and {len(b)} labels but {len(cells)} cells; give one of each an item"
        )
    items_of: dict[Hashable, list[int]] = {}
    for i, cell in enumerate(cells):
        items_of.setdefault(cell, []).append(i)
    largest_first = sorted(items_of, key=lambda cell: (-len(items_of[cell]), str(cell)))
    return {
        cell: compare([a[i] for i in items_of[cell]], [b[i] for i in items_of[cell]], **options)
        for cell in largest_first
    }


# ---------------------------------------------------------------------------------------------------- reward models, and everybody


def votes_of(reward_a, reward_b) -> list[str | None]:
    """A reward model's votes [n] from its rewards: "a", "b", "tie" where they are equal, None where it has none (NaN)."""
    difference = np.asarray(reward_a, np.float64) - np.asarray(reward_b, np.float64)
    return [None if np.isnan(d) else "tie" if d == 0 else "a" if d > 0 else "b" for d in difference]


def margin_correlation(first, second) -> dict[str, Any]:
    """How alike two models' margins (reward a - reward b, [n], NaN: none) are: Pearson, and Spearman, which no rescaling changes.

    Returns {"items", "pearson", "spearman"}; None where one of the two does not vary or fewer than 3 items have both."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    both = np.isfinite(first) & np.isfinite(second)
    first, second = first[both], second[both]
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return {"items": len(first), "pearson": None, "spearman": None}
    pearson, spearman = (
        np.corrcoef(first, second)[0, 1],
        np.corrcoef(stats.rankdata(first), stats.rankdata(second))[0, 1],
    )
    return {"items": len(first), "pearson": float(pearson), "spearman": float(spearman)}


def dual(
    gold: tuple[Sequence[float], Sequence[float]],
    best: tuple[Sequence[float], Sequence[float]],
    cells: Mapping[str, Sequence[Hashable]],
    **options,
) -> list[dict[str, Any]]:
    """Gold RM against best RM: one row for all pairs, one for each value of each of `cells` (source, category, ...), largest first.

    gold, best: rewards of responses a and of responses b, each [n] (NaN: not scored). A row is {"by", "value"}, the figures of `compare`,
    and "pearson" and "spearman" of the margins. Options are those of `compare`."""
    a, b = votes_of(*gold), votes_of(*best)
    margins = [
        np.asarray(rewards[0], np.float64) - np.asarray(rewards[1], np.float64)
        for rewards in (gold, best)
    ]
    members: dict[tuple[str, Hashable], list[int]] = {("all", "all"): list(range(len(a)))}
    for name, values in cells.items():
        if len(values) != len(a):
            raise ValueError(f"agreement: {name} has {len(values)} values for {len(a)} pairs")
        of_value: dict[tuple[str, Hashable], list[int]] = {}
        for i, value in enumerate(values):
            of_value.setdefault((name, value), []).append(i)
        members |= sorted(of_value.items(), key=lambda item: (-len(item[1]), str(item[0][1])))
    rows = []
    for (name, value), rows_of in members.items():
        alike = margin_correlation(margins[0][rows_of], margins[1][rows_of])
        figures = compare([a[i] for i in rows_of], [b[i] for i in rows_of], **options)
        rows.append(
            {
                "by": name,
                "value": value,
                **figures,
                "pearson": alike["pearson"],
                "spearman": alike["spearman"],
            }
        )
    return rows


def vote_table(
    votes: Mapping[str, Sequence[Label | None]],
    decision: Sequence[str] | None = None,
    audit: Sequence[Label | None] | None = None,
) -> list[dict[str, Any]]:
    """Every combination of votes that occurs, most frequent first: {"original": "a", "gold": "b", ..., "pairs"}; None is "no vote".

    votes: voter -> [n]. With `decision` [n] (keep, flip, ...) a row also counts each of them. With `audit` [n], a trusted label where
    there is one, it has "audited" and for each voter "VOTER right", the share of audited pairs on which its vote is the audit's (None
    without any). Raises ValueError for lists of different length."""
    sizes = {
        name: len(values)
        for name, values in {**votes, "decision": decision or (), "audit": audit or ()}.items()
        if len(values)
    }
    if len(set(sizes.values())) > 1:
        raise ValueError(f"vote_table: lists of different length: {sizes}")
    items_of: dict[tuple[Label | None, ...], list[int]] = {}
    for i, combination in enumerate(zip(*votes.values(), strict=True)):
        items_of.setdefault(combination, []).append(i)
    actions = sorted(set(decision or ()))
    rows = []
    for combination, items in sorted(
        items_of.items(), key=lambda item: (-len(item[1]), str(item[0]))
    ):
        row: dict[str, Any] = {**dict(zip(votes, combination, strict=True)), "pairs": len(items)}
        if decision is not None:
            counts = Counter(decision[i] for i in items)
            row |= {action: counts[action] for action in actions}
        if audit is not None:
            known = [audit[i] for i in items if audit[i] is not None]
            row["audited"] = len(known)
            row |= {
                f"{name} right": sum(label == vote for label in known) / len(known)
                if known
                else None
                for name, vote in zip(votes, combination, strict=True)
            }
        rows.append(row)
    return rows


def decision_precision(
    original: Sequence[Label | None], decision: Sequence[str], audit: Sequence[Label | None]
) -> dict[str, dict[str, Any]]:
    """Audited precision of "keep" (the audit has the original label) and of "flip" (it has the other one), as in the paper's table of
    human agreement with the filter (section 1.6): {"keep": {"pairs", "audited", "right", "precision", "low", "high"}, "flip": ...}.

    original [n]: "a" or "b"; audit [n]: a trusted "a", "b", or None. An audited tie is right for neither. None where nothing is audited."""
    other = {"a": "b", "b": "a"}
    result = {}
    for action, wanted in (
        ("keep", lambda label: label),
        ("flip", lambda label: other.get(str(label))),
    ):
        items = [i for i, one in enumerate(decision) if one == action]
        audited = [i for i in items if audit[i] is not None]
        right = sum(audit[i] == wanted(original[i]) for i in audited)
        interval = dict(
            zip(
                ("low", "high"),
                wilson(right, len(audited)) if audited else (None, None),
                strict=True,
            )
        )
        precision = right / len(audited) if audited else None
        result[action] = {
            "pairs": len(items),
            "audited": len(audited),
            "right": right,
            "precision": precision,
            **interval,
        }
    return result
