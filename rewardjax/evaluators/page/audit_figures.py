"""Figures of the audits: what reward goes with, what choosing by it does, what empty changes do."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rewardjax.evaluators.audits import style
from rewardjax.evaluators.page.drawing import (
    DARK,
    Path,
    arms,
    label_rows,
    log2_ticks,
    series_style,
)
from rewardjax.reporting.labels import legend_below, wrapped
from rewardjax.reporting.plots import BLUE, COLORS, GRAY, VERMILION, figure

# Fields of `bias.summary` that a panel shows for each feature, top to bottom. Color tells the set
# of responses apart, the face of the mark whether the other features are held fixed.
ASSOCIATIONS = (
    ("audit", "correlation", "as they are", BLUE, "o", BLUE),
    ("audit", "partial", "as they are, others fixed", BLUE, "D", "white"),
    ("selected", "correlation", "picked by best-of-n", VERMILION, "o", VERMILION),
    ("selected", "partial", "picked, others fixed", VERMILION, "D", "white"),
)


def bias(by_set: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """One panel per audit set from `bias.summary`: what reward goes with inside prompts.

    On the responses as they are, and on those that best-of-n picks: a bias that only the second
    shows comes back as soon as the model chooses.
    """
    names = list(style.FEATURES)
    with figure(path, 1, len(by_set), size=(4.0, 3.9)) as axes:
        for ax, (title, summary) in zip(axes[0], by_set.items(), strict=True):
            _associations(ax, summary["features"])
            ax.axvline(0, color=DARK, linewidth=1)
            ax.set_yticks(range(len(names)), [""] * len(names))
            ax.set_ylim(len(names) - 0.5, -0.5)
            ax.set_title(f"{wrapped(title, 34)}\n{summary['prompts']:,} prompts", fontsize=9)
            ax.set_xlabel("correlation with reward within prompts")
            ax.xaxis.set_major_locator(MaxNLocator(5))
        axes[0, 0].set_yticks(range(len(names)), names)
        legend_below(axes[0, 0], *axes[0, 0].get_legend_handles_labels())


def _associations(ax: Axes, features: Mapping[str, Any]) -> None:
    for k, (responses, field, label, color, marker, face) in enumerate(ASSOCIATIONS):
        mark: dict[str, Any] = {"color": color, "marker": marker, "markerfacecolor": face}
        for i, name in enumerate(style.FEATURES):
            entry = features[name][responses]
            # Nothing is selected from two responses, and a feature that nobody has is undefined.
            if entry is None or entry[field] is None:
                continue
            value = entry[field]
            reach = arms(value, entry[f"{field}_low"], entry[f"{field}_high"])
            height = i + 0.18 * (k - 1.5)
            ax.errorbar(value, height, xerr=reach, capsize=2, linewidth=1.2, **mark)
        # An empty line stands for the series in the legend, also where it has no point.
        ax.plot([], [], label=label, **mark)


def selection(by_set: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """How far best-of-K moves each feature from the average response, by K: one line per audit set.

    Dashed: the same when picking by the label, which is the part that quality asks for.
    """
    with figure(path, 1, len(style.FEATURES), size=(2.3, 2.7)) as axes:
        for ax, name in zip(axes[0], style.FEATURES, strict=True):
            shifts = {
                title: summary["features"][name]["shift"] for title, summary in by_set.items()
            }
            _shift_lines(ax, shifts)
            ax.axhline(0, color=DARK, linewidth=0.8)
            log2_ticks(ax, _powers_of_two(shifts))
            ax.set_title(name, fontsize=9)
            ax.set_xlabel("best of K")
        axes[0, 0].set_ylabel("shift, standard deviations")
        legend_below(axes[0, 0], *axes[0, 0].get_legend_handles_labels())


def _shift_lines(ax: Axes, shifts: Mapping[str, Mapping[str, Any]]) -> None:
    """shifts: by audit set, {"ks", "value", "low", "high", "by_quality"} of one feature."""
    for i, (title, shift) in enumerate(shifts.items()):
        ks, color = shift["ks"], COLORS[i % len(COLORS)]
        # A feature that does not vary has no standard deviation to be measured in.
        if shift["value"][0] is None:
            continue
        ax.plot(ks, shift["value"], label=title, **series_style(i))
        ax.fill_between(ks, shift["low"], shift["high"], color=color, alpha=0.15, linewidth=0)
        if shift["by_quality"]:
            ax.plot(ks, shift["by_quality"], color=color, linestyle="--", linewidth=1)


def _powers_of_two(shifts: Mapping[str, Mapping[str, Any]]) -> list[int]:
    """The values of K that get a tick: the last K of a set may be any number."""
    ks: set[int] = set()
    for shift in shifts.values():
        ks |= {k for k in shift["ks"] if k & (k - 1) == 0}
    return sorted(ks)


def counterfactual(by_set: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Shift of the reward and share of flipped pairs, by change, from `counterfactual.summary`.

    Left in standard deviations of the reward, right as a share; one color per set.
    """
    changes: list[str] = []
    for summary in by_set.values():
        changes += [change for change in summary if change not in changes]
    with figure(path, 1, 2, size=(5.0, 1.0 + 0.42 * len(changes))) as axes:
        left, right = axes[0]
        for k, (title, summary) in enumerate(by_set.items()):
            color = COLORS[k % len(COLORS)]
            # The sets share a change's row: each has its own place in the middle 80 % of it.
            offset = 0.8 * ((k + 0.5) / len(by_set) - 0.5)
            for i, change in enumerate(changes):
                entry = summary.get(change)
                if entry is None or entry["shift"] is None or entry["shift_sd"] is None:
                    continue
                _reward_shift(left, i + offset, entry, color)
                _flip_rates(right, i + offset, entry, color, height=0.7 / len(by_set))
            left.plot([], [], color=color, marker="o", label=title)
        _say_nothing_to_change(left, changes, by_set)
        for ax in (left, right):
            label_rows(ax, len(changes))
        left.axvline(0, color=DARK, linewidth=1)
        left.set_yticks(range(len(changes)), changes)
        right.set_yticks(range(len(changes)), [""] * len(changes))
        left.set(
            title="Shift of the reward", xlabel="standard deviations of the reward, 95 % interval"
        )
        right.set(
            title="Preferences that flip",
            xlabel="changing the lower response alone (tick: changing both)",
            xlim=(0, 1.03),
        )
        right.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        legend_below(left, *left.get_legend_handles_labels())


def _reward_shift(ax: Axes, height: float, entry: Mapping[str, Any], color: str) -> None:
    shift = entry["shift_sd"]
    # The interval is stored in units of the reward; a shift of exactly zero leaves its scale open.
    scale = 0.0
    if entry["shift"]:
        scale = shift / entry["shift"]
    reach = arms(shift, entry["shift_low"] * scale, entry["shift_high"] * scale)
    ax.errorbar(shift, height, xerr=reach, color=color, marker="o", capsize=2)


def _flip_rates(
    ax: Axes, place: float, entry: Mapping[str, Any], color: str, height: float
) -> None:
    """A bar for changing the lower response: what a policy would gain. A tick for changing both."""
    if entry["loser"]:
        flips = entry["loser"]
        ax.barh(place, flips["rate"], height=height, color=color, alpha=0.75)
        reach = arms(flips["rate"], flips["low"], flips["high"])
        ax.errorbar(
            flips["rate"], place, xerr=reach, fmt="none", ecolor=DARK, elinewidth=1, capsize=2
        )
    if entry["both"]:
        ax.plot(
            entry["both"]["rate"],
            place,
            color=DARK,
            marker="|",
            markersize=9,
            markeredgewidth=1.6,
            linestyle="none",
        )


def _say_nothing_to_change(
    ax: Axes, changes: Sequence[str], by_set: Mapping[str, Mapping[str, Any]]
) -> None:
    """An empty row would read as no effect."""
    for i, change in enumerate(changes):
        if any(summary.get(change, {}).get("responses") for summary in by_set.values()):
            continue
        ax.text(
            0.02,
            i,
            "nothing to change",
            transform=ax.get_yaxis_transform(),
            va="center",
            fontsize=8,
            color=GRAY,
        )
