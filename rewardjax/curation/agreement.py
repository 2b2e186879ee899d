"""Agreement between two sources of labels (a human and a judge, a label source and the oracle): how often, and beyond chance."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from scipy import stats

Label = Hashable


def confusion(
    a: Sequence[Label | None], b: Sequence[Label | None], labels: Sequence[Label] | None = None
) -> tuple[list[Label], np.ndarray]:
    """Counts [labels, labels]: entry (i, j) is how often `a` said label i where `b` said label j. None is "no vote" and is left out.

    `labels` fixes which labels there are and their order (default: those seen, sorted). Raises ValueError for lists of different length
    or a label that `labels` lacks."""
    if len(a) != len(b):
        raise ValueError(f"agreement: the sources have {len(a)} and {len(b)} labels; they must be about the same items")
    both = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    seen = {label for pair in both for label in pair}
    labels = sorted(seen, key=lambda label: (str(type(label)), label)) if labels is None else list(labels)
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
    redrawn = np.random.default_rng(seed).multinomial(items, table.ravel() / items, size=resamples).reshape(-1, *table.shape)
    kappa, kappas = float(kappa_of(table)), kappa_of(redrawn)
    kappas = kappas[np.isfinite(kappas)]
    low, high = np.quantile(kappas, [(1 - level) / 2, (1 + level) / 2]) if np.isfinite(kappa) else (None, None)
    values = (agree / items, interval.low, interval.high, kappa if np.isfinite(kappa) else None, low, high)
    return result | {key: None if value is None else float(value) for key, value in zip(keys, values, strict=True)}


def by_cell(a: Sequence[Label | None], b: Sequence[Label | None], cells: Sequence[Hashable], **options) -> dict[Hashable, dict[str, Any]]:
    """`compare` within each cell (a task category, a (category, objectivity) tuple, ...); cells [items], result by size, largest first.

    Options are those of `compare`."""
    if len(cells) != len(a) or len(a) != len(b):
        raise ValueError(f"agreement: {len(a)} and {len(b)} labels but {len(cells)} cells; give one of each an item")
    items_of: dict[Hashable, list[int]] = {}
    for i, cell in enumerate(cells):
        items_of.setdefault(cell, []).append(i)
    largest_first = sorted(items_of, key=lambda cell: (-len(items_of[cell]), str(cell)))
    return {cell: compare([a[i] for i in items_of[cell]], [b[i] for i in items_of[cell]], **options) for cell in largest_first}
