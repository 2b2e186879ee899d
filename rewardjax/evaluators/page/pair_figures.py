"""Figures of decided pairs: is the confidence right, how wide are the margins, and does length pay?

One panel per set of pairs. `margin` is the reward of the better response less that of the worse,
so left of (or below) zero the model contradicts the label.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rewardjax.evaluators.benchmarks.pairs import reliability
from rewardjax.evaluators.page.drawing import DARK, Path, panels
from rewardjax.evaluators.preferences import Pairs
from rewardjax.reporting.labels import wrapped
from rewardjax.reporting.plots import BLUE, GRAY, VERMILION
from rewardjax.stats.intervals import wilson


def _title(ax: Axes, title: str, *below: str) -> None:
    ax.set_title("\n".join([wrapped(title, 30), *below]), fontsize=9)


def calibration(by_set: Mapping[str, Pairs], path: Path) -> None:
    """Reliability diagrams with Wilson intervals; below the diagonal is over-confident."""
    with panels(path, len(by_set), size=(2.8, 2.9), ylabel="label agrees") as axes:
        for ax, (title, pairs) in zip(axes, by_set.items(), strict=True):
            _reliability_panel(ax, pairs)
            _title(ax, title, f"{len(pairs.better):,} pairs")


def _reliability_panel(ax: Axes, pairs: Pairs) -> None:
    # With fewer than 25 pairs per bin [B] the intervals are wider than what they should tell apart.
    bins = min(10, max(1, len(pairs.better) // 25))
    # Bins of equal mass, not width: a good model has few pairs near one half.
    diagram = reliability(pairs.better, pairs.worse, bins=bins)
    confidence, frequency = diagram["confidence"], diagram["frequency"]
    low, high = _wilson(frequency, diagram["count"])
    reach = (np.maximum(frequency - low, 0), np.maximum(high - frequency, 0))
    ax.plot([0.5, 1], [0.5, 1], color=GRAY, linestyle="--", linewidth=1)
    ax.errorbar(confidence, frequency, yerr=reach, color=BLUE, marker="o", linewidth=1, capsize=2)
    # The confidence of the preferred response is never below one half.
    ax.set(xlim=(0.48, 1.02), ylim=(min(0.28, low.min() - 0.03), 1.03), xlabel="confidence")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    ax.set_xticks([0.5, 0.75, 1])


def _wilson(frequency: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Wilson intervals [2, B] of frequencies [B] over counts [B] of pairs."""
    # Pairs with equal rewards agree by half, so that the number of agreements is rounded.
    agreements = [round(f * n) for f, n in zip(frequency, count.tolist(), strict=True)]
    intervals = [wilson(k, n) for k, n in zip(agreements, count.tolist(), strict=True)]
    return np.array(intervals).T


def margins(by_set: Mapping[str, Pairs], path: Path) -> None:
    """Distributions of the margin; left of zero is wrong, the dashed line is the mean."""
    with panels(path, len(by_set), size=(2.8, 2.4), ylabel="pairs") as axes:
        for ax, (title, pairs) in zip(axes, by_set.items(), strict=True):
            margin = pairs.better - pairs.worse
            edges, width = _edges_with_zero(margin)
            counts, _ = np.histogram(margin, edges)
            right_side = edges[:-1] > -width / 2
            colors = np.where(right_side, BLUE, VERMILION).tolist()
            ax.bar(edges[:-1], counts, np.diff(edges), align="edge", color=colors, alpha=0.75)
            ax.axvline(0, color=DARK, linewidth=1)
            ax.axvline(margin.mean(), color=DARK, linewidth=1, linestyle="--")
            _title(ax, title, f"mean {margin.mean():.2f}")
            ax.set_xlabel("margin")
            ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
            ax.xaxis.set_major_locator(MaxNLocator(5))


def _edges_with_zero(margin: np.ndarray) -> tuple[np.ndarray, float]:
    """Edges [B + 1] of equal bins over margins [N], and their width.

    Zero is an edge: a bin around it would mix right and wrong pairs, and each bar has one color.
    """
    # Equal margins have no range; any width will do.
    span = np.ptp(margin) or 1.0
    # About the square root of their number, as histograms take it, within what a panel shows.
    width = span / min(40, max(8, int(np.sqrt(len(margin)))))
    first, last = np.floor(margin.min() / width), np.ceil(margin.max() / width)
    return width * np.arange(first, last + 1.5), width


def length(by_set: Mapping[str, Pairs], path: Path, most: int = 1500) -> None:
    """Margin against the difference of lengths within pairs: paying for length shows as a slope.

    Every k-th pair where there are more than `most`. The black line is the mean in up to eight bins
    of equal mass, of all pairs, with its standard error.
    """
    with panels(path, len(by_set), size=(2.9, 2.7), ylabel="margin") as axes:
        for ax, (title, pairs) in zip(axes, by_set.items(), strict=True):
            _length_panel(ax, pairs, most)
            _title(ax, title)


def _length_panel(ax: Axes, pairs: Pairs, most: int) -> None:
    longer, margin = pairs.better_length - pairs.worse_length, pairs.better - pairs.worse
    # Every k-th instead of a random sample: the same page from the same scores.
    shown = slice(None, None, -(-len(margin) // most))
    colors = np.where(margin > 0, BLUE, VERMILION)
    ax.scatter(longer[shown], margin[shown], s=6, c=colors[shown], alpha=0.35, edgecolors="none")
    center, mean, error = _binned_means(longer, margin)
    ax.errorbar(
        center,
        mean,
        yerr=error,
        color="black",
        marker="s",
        markersize=3,
        capsize=2,
        linewidth=1.2,
    )
    ax.axhline(0, color=DARK, linewidth=0.8)
    ax.axvline(0, color=DARK, linewidth=0.8)
    ax.set_xlabel("better - worse, tokens")
    ax.xaxis.set_major_locator(MaxNLocator(5))


def _binned_means(x: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float], list[float]]:
    """Mean of x [N], mean of y [N] and its standard error, in up to eight bins of equal mass of x.

    Bins are cut at quantiles, and equal x share one, so there may be fewer than eight.
    """
    bins = max(1, min(8, len(x) // 8))
    cuts = np.unique(np.quantile(x, np.arange(1, bins) / bins))
    bin_of = np.searchsorted(cuts, x, side="right")
    center, mean, error = [], [], []
    for b in np.unique(bin_of):
        inside = y[bin_of == b]
        center.append(x[bin_of == b].mean())
        mean.append(inside.mean())
        error.append(inside.std() / np.sqrt(len(inside)))
    return center, mean, error
