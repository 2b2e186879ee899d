"""Figures of an evaluation, in the style of plots.py: the model in color, published rows in gray, every interval shown."""

import contextlib
import pathlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rewardjax.evaluators.audits import style
from rewardjax.evaluators.benchmarks.pairs import reliability
from rewardjax.evaluators.preferences import Pairs
from rewardjax.reporting.plots import BLUE, COLORS, GRAY, MARKERS, VERMILION, figure
from rewardjax.stats.intervals import wilson

Path = str | pathlib.Path
LIGHT = "#c4c8ce"
DARK = "#333333"
COLUMNS = 4  # of a page of small panels


def headlines(
    models: Mapping[str, Sequence[Mapping[str, Any] | None]],
    published: Mapping[str, Sequence[float]],
    chance: Sequence[float],
    titles: Sequence[str],
    path: Path,
) -> None:
    """One panel a benchmark, one bar a model: the evaluated ones first, each a list of {"headline", "low", "high", "partial"} in [0, 1]
    or None, then published ones in percent. A star marks a partial number, the dotted line is chance."""
    names = [*models, *published]
    with figure(path, 1, len(titles), size=(2.0, 0.9 + 0.27 * len(names))) as axes:
        for column, (ax, title) in enumerate(zip(axes[0], titles, strict=True)):
            for row, name in enumerate(names):
                if name in published:
                    _bar(ax, row, published[name][column], LIGHT)
                elif (found := models[name][column]) is None or found["headline"] is None:
                    ax.text(
                        3, row, "missing", va="center", fontsize=7.5, color=GRAY, style="italic"
                    )
                else:
                    low, high = (
                        None if found[side] is None else 100 * found[side]
                        for side in ("low", "high")
                    )
                    star = "*" if found["partial"] else ""
                    _bar(
                        ax, row, 100 * found["headline"], COLORS[row % len(COLORS)], low, high, star
                    )
            ax.axvline(chance[column], color=DARK, linestyle=":", linewidth=1)
            ax.set(xlim=(0, 100), ylim=(len(names) - 0.4, -0.6))
            ax.set_title(title, fontsize=9)
            ax.set_yticks(range(len(names)), names if column == 0 else [""] * len(names))
            ax.tick_params(axis="y", length=0)
            ax.set_xticks([0, 50, 100])
            ax.grid(axis="y", visible=False)
            if len(models) < len(names):
                ax.axhline(len(models) - 0.5, color="#888888", linewidth=0.8)
        axes[0, len(titles) // 2].set_xlabel(
            "score, % (dotted: chance; * over part of the benchmark; 95 % intervals)"
        )


def _bar(
    ax: Axes,
    row: int,
    value: float,
    color: str,
    low: float | None = None,
    high: float | None = None,
    mark: str = "",
) -> None:
    ax.barh(row, max(value, 0), color=color, height=0.7)
    if low is not None and high is not None:
        ax.errorbar(
            value,
            row,
            xerr=[[value - low], [high - value]],
            fmt="none",
            ecolor=DARK,
            elinewidth=1,
            capsize=2,
        )
    weight = "normal" if color == LIGHT else "bold"
    ax.text(
        1.04,
        row,
        f"{value:.1f}{mark}",
        va="center",
        fontsize=7.5,
        color=DARK,
        weight=weight,
        transform=ax.get_yaxis_transform(),
    )


def categories(
    parts: Mapping[str, Mapping[str, Any]], path: Path, title: str, chance: float | None
) -> None:
    """One bar a part of a benchmark, best first: {"value", "low", "high", "n"}; low and high may be None."""
    names = sorted(
        (name for name in parts if parts[name]["value"] is not None),
        key=lambda name: parts[name]["value"],
    )
    with figure(path, size=(6.4, 0.95 + 0.24 * len(names))) as axes:
        ax = axes[0, 0]
        for row, name in enumerate(names):
            part = parts[name]
            ax.barh(row, max(part["value"], 0), color=BLUE, alpha=0.75, height=0.68)
            if part["low"] is not None:
                reach = [[part["value"] - part["low"]], [part["high"] - part["value"]]]
                ax.errorbar(
                    part["value"], row, xerr=reach, fmt="none", ecolor=DARK, elinewidth=1, capsize=2
                )
            ax.text(
                1.02,
                row,
                f"{100 * part['value']:.1f} %  (n = {part['n']:,})",
                va="center",
                fontsize=8,
                transform=ax.get_yaxis_transform(),
            )
        if chance is not None:
            ax.axvline(chance, color=DARK, linestyle=":", linewidth=1.2)
        ax.set_yticks(range(len(names)), names)
        ax.set(
            title=title,
            xlim=(0, 1),
            ylim=(-0.6, len(names) - 0.4),
            xlabel="score with 95 % interval" + (" (dotted: chance)" if chance else ""),
        )
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.grid(axis="y", visible=False)


def difficulty(
    models: Mapping[str, Mapping[str, float]],
    published: Mapping[str, Sequence[float]],
    matrices: Mapping[str, np.ndarray],
    path: Path,
) -> None:
    """RM-Bench: easy, normal and hard of evaluated models (in [0, 1]; `NAME_low`, `NAME_high` where known) and of published ones (percent)
    on the left; the 3 x 3 matrix of each evaluated model, averaged over domains, on the right."""
    levels = ("easy", "normal", "hard")
    styles = ("concise", "detailed", "markdown")
    with figure(path, 1, 1 + len(matrices), size=(4.4, 3.9)) as axes:
        ax = axes[0, 0]
        heights = _apart([values[2] for values in published.values()], 4.6)
        for (name, values), height in zip(published.items(), heights, strict=True):
            ax.plot(range(3), values, color=LIGHT, linewidth=1, zorder=1)
            ax.text(2.1, height, name, fontsize=6.5, color=GRAY, va="center")
        for i, (name, found) in enumerate(models.items()):
            values = np.array([100 * found[level] for level in levels])
            low, high = (
                np.array([100 * found.get(f"{level}_{side}", np.nan) for level in levels])
                for side in ("low", "high")
            )
            reach = None if np.isnan(low).any() else (values - low, high - values)
            place = np.arange(3) + 0.05 * (i - (len(models) - 1) / 2)
            ax.errorbar(
                place,
                values,
                yerr=reach,
                color=COLORS[i % len(COLORS)],
                marker=MARKERS[i % len(MARKERS)],
                capsize=2.5,
                label=name,
            )
        ax.plot([-0.2, 2.05], [50, 50], color=DARK, linestyle=":", linewidth=1)
        ax.set_xticks(range(3), levels)
        ax.set(
            title="Accuracy by difficulty",
            ylabel="accuracy, % (dotted: chance)",
            xlim=(-0.2, 3.25 if published else 2.2),
            ylim=(0, 102),
        )
        ax.legend(loc="lower left")
        for ax, (name, matrix) in zip(axes[0, 1:], matrices.items(), strict=True):
            ax.imshow(matrix, vmin=0, vmax=1, cmap="RdBu")
            for i, j in np.ndindex(3, 3):
                pale = 0.15 < matrix[i, j] < 0.85
                ax.text(
                    j,
                    i,
                    f"{100 * matrix[i, j]:.0f}",
                    ha="center",
                    va="center",
                    color=DARK if pale else "white",
                    fontsize=11,
                )
            ax.set_xticks(range(3), styles)
            ax.set_yticks(range(3), styles)
            ax.set(
                title=f"{name}: right beats wrong, %",
                xlabel="style of the wrong response",
                ylabel="style of the right response",
            )
            ax.grid(visible=False)


def _apart(values: Sequence[float], least: float) -> np.ndarray:
    """The values moved as little as needed, from the highest down, to be `least` apart: places for labels."""
    out, order = np.array(values, np.float64), np.argsort(values)[::-1]
    for above, below in zip(order[:-1], order[1:], strict=True):
        out[below] = min(out[below], out[above] - least)
    return out


def best_of_n(curves: Mapping[str, Mapping[str, Mapping[str, Any]]], path: Path) -> None:
    """One panel a set of prompts: curves of `best_of_n.curve` by the name of the scorer, with the oracle and the random pick."""
    names = list(dict.fromkeys(name for by_name in curves.values() for name in by_name))
    with _panels(path, len(curves), size=(3.1, 3.0)) as axes:
        for i, (ax, (title, by_name)) in enumerate(zip(axes, curves.items(), strict=True)):
            first = next(iter(by_name.values()))
            ticks = [k for k in (1, 2, 4, 8, 16, 32, 64, 128) if k <= max(first["ks"])]
            ax.plot(first["ks"], first["oracle"], color="black", linestyle="--", linewidth=1.2)
            for name, curve in by_name.items():
                k = names.index(name)
                marked = [
                    place
                    for place, K in enumerate(curve["ks"])
                    if K in ticks or K == curve["ks"][-1]
                ]
                ax.plot(
                    curve["ks"],
                    curve["score"],
                    color=COLORS[k % len(COLORS)],
                    marker=MARKERS[k % len(MARKERS)],
                    markevery=marked,
                )
                ax.fill_between(
                    curve["ks"],
                    curve["low"],
                    curve["high"],
                    color=COLORS[k % len(COLORS)],
                    alpha=0.15,
                    linewidth=0,
                )
            ax.plot(first["ks"], first["random"], color=GRAY, linestyle=":")
            ax.set_xscale("log", base=2)
            ax.set_xticks(ticks, [str(k) for k in ticks])
            ax.set_xticks([], minor=True)
            ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
            ax.set_title(f"{textwrap.fill(title, 32)}\n{first['prompts']:,} prompts", fontsize=9)
            ax.set_xlabel("responses to choose from")
            ax.set_ylabel("right picks, 95 % band" if i % COLUMNS == 0 else "")
        lines = [
            Line2D([], [], color="black", linestyle="--", label="oracle"),
            Line2D([], [], color=GRAY, linestyle=":", label="random pick"),
        ]
        for k, name in enumerate(names):
            lines.append(
                Line2D(
                    [],
                    [],
                    color=COLORS[k % len(COLORS)],
                    marker=MARKERS[k % len(MARKERS)],
                    label=name,
                )
            )
        axes[0].figure.legend(
            handles=lines, loc="outside lower center", ncols=min(6, 2 * len(axes))
        )


def calibration(by_set: Mapping[str, Pairs], path: Path) -> None:
    """Reliability diagrams with Wilson intervals, a panel a set of pairs; below the diagonal is over-confident."""
    with _panels(path, len(by_set), size=(2.8, 2.9)) as axes:
        for i, (ax, (title, pairs)) in enumerate(zip(axes, by_set.items(), strict=True)):
            bins = reliability(
                pairs.better, pairs.worse, bins=min(10, max(1, len(pairs.better) // 25))
            )
            middle, frequency = bins["confidence"], bins["frequency"]
            low, high = np.array(
                [
                    wilson(round(f * n), n)
                    for f, n in zip(frequency, bins["count"].tolist(), strict=True)
                ]
            ).T
            reach = (np.maximum(frequency - low, 0), np.maximum(high - frequency, 0))
            ax.plot([0.5, 1], [0.5, 1], color=GRAY, linestyle="--", linewidth=1)
            ax.errorbar(
                middle, frequency, yerr=reach, color=BLUE, marker="o", linewidth=1, capsize=2
            )
            ax.set(xlim=(0.48, 1.02), ylim=(min(0.28, low.min() - 0.03), 1.03), xlabel="confidence")
            ax.set_title(f"{textwrap.fill(title, 30)}\n{len(pairs.better):,} pairs", fontsize=9)
            ax.set_ylabel("label agrees" if i % COLUMNS == 0 else "")
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_formatter(PercentFormatter(1))
            ax.set_xticks([0.5, 0.75, 1])


def margins(by_set: Mapping[str, Pairs], path: Path) -> None:
    """Distributions of the margin, reward of the better response less that of the worse; left of zero is wrong."""
    with _panels(path, len(by_set), size=(2.8, 2.4)) as axes:
        for i, (ax, (title, pairs)) in enumerate(zip(axes, by_set.items(), strict=True)):
            margin = pairs.better - pairs.worse
            width = (np.ptp(margin) or 1.0) / min(40, max(8, int(np.sqrt(len(margin)))))
            edges = width * np.arange(
                np.floor(margin.min() / width), np.ceil(margin.max() / width) + 1.5
            )  # zero is an edge
            counts, _ = np.histogram(margin, edges)
            colors = [BLUE if left > -width / 2 else VERMILION for left in edges[:-1]]
            ax.bar(edges[:-1], counts, np.diff(edges), align="edge", color=colors, alpha=0.75)
            ax.axvline(0, color=DARK, linewidth=1)
            ax.axvline(margin.mean(), color=DARK, linewidth=1, linestyle="--")
            ax.set_title(f"{textwrap.fill(title, 30)}\nmean {margin.mean():.2f}", fontsize=9)
            ax.set_xlabel("margin")
            ax.set_ylabel("pairs" if i % COLUMNS == 0 else "")
            ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
            ax.xaxis.set_major_locator(MaxNLocator(5))


def length(by_set: Mapping[str, Pairs], path: Path, most: int = 1500) -> None:
    """Margin against the difference of lengths, within pairs: what a model that pays for length shows as a slope. Every k-th pair where
    there are more than `most`; the black line is the mean in up to eight bins of equal mass, of all pairs, with its standard error."""
    with _panels(path, len(by_set), size=(2.9, 2.7)) as axes:
        for i, (ax, (title, pairs)) in enumerate(zip(axes, by_set.items(), strict=True)):
            longer, margin = pairs.better_length - pairs.worse_length, pairs.better - pairs.worse
            stride = -(-len(margin) // most)
            colors = np.where(margin > 0, BLUE, VERMILION)
            ax.scatter(
                longer[::stride],
                margin[::stride],
                s=6,
                c=colors[::stride],
                alpha=0.35,
                edgecolors="none",
            )
            bins = max(1, min(8, len(margin) // 8))
            bin_of = np.searchsorted(
                np.unique(np.quantile(longer, np.arange(1, bins) / bins)), longer, side="right"
            )
            groups = [margin[bin_of == b] for b in np.unique(bin_of)]
            centers = [longer[bin_of == b].mean() for b in np.unique(bin_of)]
            error = [g.std() / np.sqrt(len(g)) for g in groups]
            ax.errorbar(
                centers,
                [g.mean() for g in groups],
                yerr=error,
                color="black",
                marker="s",
                markersize=3,
                capsize=2,
                linewidth=1.2,
            )
            ax.axhline(0, color=DARK, linewidth=0.8)
            ax.axvline(0, color=DARK, linewidth=0.8)
            ax.set_title(textwrap.fill(title, 30), fontsize=9)
            ax.set_xlabel("better - worse, tokens")
            ax.set_ylabel("margin" if i % COLUMNS == 0 else "")
            ax.xaxis.set_major_locator(MaxNLocator(5))


def differences(rows: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Forest plot of rows {"label", "difference", "low", "high"}, in [-1, 1]: which intervals leave out zero."""
    with figure(path, size=(6.4, 0.95 + 0.28 * len(rows))) as axes:
        ax = axes[0, 0]
        for i, row in enumerate(rows):
            value, low, high = (100 * row[key] for key in ("difference", "low", "high"))
            sure = low > 0 or high < 0
            color = (BLUE if value > 0 else VERMILION) if sure else GRAY
            ax.errorbar(
                value, i, xerr=[[value - low], [high - value]], color=color, marker="o", capsize=2.5
            )
            ax.text(
                1.02,
                i,
                f"{value:+.1f}  [{low:+.1f}, {high:+.1f}]",
                va="center",
                fontsize=8,
                transform=ax.get_yaxis_transform(),
            )
        ax.axvline(0, color=DARK, linewidth=1)
        ax.set_yticks(range(len(rows)), [row["label"] for row in rows])
        ax.set(
            title=title,
            xlabel="percentage points, 95 % interval (gray: may be zero)",
            ylim=(len(rows) - 0.5, -0.6),
        )
        ax.grid(axis="y", visible=False)


def bias(by_set: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """A panel an audit set from `bias.summary`: what reward goes with, on the responses as they are and on those that best-of-n picks."""
    names = list(style.FEATURES)
    kinds = (
        ("audit", "correlation", "as they are", BLUE, "o"),
        ("audit", "partial", "as they are, others fixed", BLUE, "D"),
    )
    kinds += (
        ("selected", "correlation", "picked by best-of-n", VERMILION, "o"),
        ("selected", "partial", "picked, others fixed", VERMILION, "D"),
    )
    with figure(path, 1, len(by_set), size=(4.3 if len(by_set) == 1 else 3.7, 3.9)) as axes:
        for column, (ax, (title, found)) in enumerate(zip(axes[0], by_set.items(), strict=True)):
            for k, (where, field, label, color, marker) in enumerate(kinds):
                for i, name in enumerate(names):
                    entry = found["features"][name][where]
                    if entry is None or entry[field] is None:
                        continue
                    value, low, high = (
                        entry[f"{field}{suffix}"] for suffix in ("", "_low", "_high")
                    )
                    reach = None if low is None else [[max(value - low, 0)], [max(high - value, 0)]]
                    face = color if field == "correlation" else "white"
                    ax.errorbar(
                        value,
                        i + 0.18 * (k - 1.5),
                        xerr=reach,
                        color=color,
                        marker=marker,
                        markerfacecolor=face,
                        capsize=2,
                        linewidth=1.2,
                    )
                ax.plot(
                    [],
                    [],
                    color=color,
                    marker=marker,
                    markerfacecolor=color if field == "correlation" else "white",
                    label=label,
                )
            ax.axvline(0, color=DARK, linewidth=1)
            ax.set_yticks(range(len(names)), names if column == 0 else [""] * len(names))
            ax.set_ylim(len(names) - 0.5, -0.5)
            ax.set_title(f"{textwrap.fill(title, 34)}\n{found['prompts']:,} prompts", fontsize=9)
            ax.set_xlabel("correlation with reward within prompts")
            ax.xaxis.set_major_locator(MaxNLocator(5))
        handles, labels = axes[0, 0].get_legend_handles_labels()
        axes[0, 0].figure.legend(
            handles, labels, loc="outside lower center", ncols=2 if len(by_set) == 1 else 4
        )


def selection(by_set: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """How far best-of-K moves each feature from the average response, by K: a line an audit set; dashed: picking by the label."""
    with figure(path, 1, len(style.FEATURES), size=(2.3, 2.7)) as axes:
        for ax, name in zip(axes[0], style.FEATURES, strict=True):
            for i, (title, found) in enumerate(by_set.items()):
                shift, color = found["features"][name]["shift"], COLORS[i % len(COLORS)]
                if shift["value"][0] is None:
                    continue
                ax.plot(
                    shift["ks"],
                    shift["value"],
                    color=color,
                    marker=MARKERS[i % len(MARKERS)],
                    label=title,
                )
                ax.fill_between(
                    shift["ks"], shift["low"], shift["high"], color=color, alpha=0.15, linewidth=0
                )
                if shift["by_quality"]:
                    ax.plot(
                        shift["ks"], shift["by_quality"], color=color, linestyle="--", linewidth=1
                    )
            ax.axhline(0, color=DARK, linewidth=0.8)
            ax.set_xscale("log", base=2)
            ticks = sorted(
                {
                    k
                    for found in by_set.values()
                    for k in found["features"][name]["shift"]["ks"]
                    if k & (k - 1) == 0
                }
            )
            ax.set_xticks(ticks, [str(k) for k in ticks])
            ax.set_xticks([], minor=True)
            ax.set_title(name, fontsize=9)
            ax.set_xlabel("best of K")
        axes[0, 0].set_ylabel("shift, standard deviations")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        axes[0, 0].figure.legend(handles, labels, loc="outside lower center", ncols=4)


def counterfactual(by_set: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Shift of the reward in standard deviations and share of flipped pairs, by change, from `counterfactual.summary`; a color a set."""
    names = list(dict.fromkeys(name for found in by_set.values() for name in found))
    place = lambda i, k: i + 0.8 * ((k + 0.5) / len(by_set) - 0.5)
    with figure(path, 1, 2, size=(5.0, 1.0 + 0.42 * len(names))) as axes:
        left, right = axes[0]
        for k, (title, found) in enumerate(by_set.items()):
            color = COLORS[k % len(COLORS)]
            for i, name in enumerate(names):
                entry = found.get(name)
                if entry is None or entry["shift"] is None or entry["shift_sd"] is None:
                    continue
                scale = entry["shift_sd"] / entry["shift"] if entry["shift"] else 0.0
                low, high = entry["shift_low"] * scale, entry["shift_high"] * scale
                reach = [[max(entry["shift_sd"] - low, 0)], [max(high - entry["shift_sd"], 0)]]
                left.errorbar(
                    entry["shift_sd"], place(i, k), xerr=reach, color=color, marker="o", capsize=2
                )
                if entry["loser"]:
                    rate = entry["loser"]
                    right.barh(
                        place(i, k), rate["rate"], height=0.7 / len(by_set), color=color, alpha=0.75
                    )
                    reach = [[rate["rate"] - rate["low"]], [rate["high"] - rate["rate"]]]
                    right.errorbar(
                        rate["rate"],
                        place(i, k),
                        xerr=reach,
                        fmt="none",
                        ecolor=DARK,
                        elinewidth=1,
                        capsize=2,
                    )
                if entry["both"]:
                    right.plot(
                        entry["both"]["rate"],
                        place(i, k),
                        color=DARK,
                        marker="|",
                        markersize=9,
                        markeredgewidth=1.6,
                        linestyle="none",
                    )
            left.plot([], [], color=color, marker="o", label=title)
        for i, name in enumerate(names):
            if not any(found.get(name, {}).get("responses") for found in by_set.values()):
                left.text(
                    0.02,
                    i,
                    "nothing to change",
                    transform=left.get_yaxis_transform(),
                    va="center",
                    fontsize=8,
                    color=GRAY,
                )
        for ax in (left, right):
            ax.set_ylim(len(names) - 0.5, -0.5)
            ax.grid(axis="y", visible=False)
        left.axvline(0, color=DARK, linewidth=1)
        left.set_yticks(range(len(names)), names)
        right.set_yticks(range(len(names)), [""] * len(names))
        left.set(
            title="Shift of the reward", xlabel="standard deviations of the reward, 95 % interval"
        )
        right.set(
            title="Preferences that flip",
            xlabel="changing the lower response alone (tick: changing both)",
            xlim=(0, 1.03),
        )
        right.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        left.figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)


@contextlib.contextmanager
def _panels(path: Path, count: int, size: tuple[float, float]) -> Iterator[list[Axes]]:
    """Axes of `count` panels, COLUMNS a row, as a flat list."""
    columns = min(count, COLUMNS)
    with figure(path, -(-count // columns), columns, size=size) as grid:
        axes = list(grid.flat)
        for ax in axes[count:]:
            ax.set_axis_off()
        yield axes[:count]
