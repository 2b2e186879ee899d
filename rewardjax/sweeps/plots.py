"""Plots of a sweep: slices, parallel coordinates, the interaction of two fields, curves."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from rewardjax.reporting import labels
from rewardjax.reporting.plots import BLUE, COLORS, GRAY, MARKERS, VERMILION, figure
from rewardjax.sweeps import names
from rewardjax.sweeps.ranking import Setting

# Told apart in gray, and with any kind of color blindness.
# Dark is more: a light line on white is hard to follow.
MAP = matplotlib.colormaps["cividis_r"]
# A learning rate is swept over decades, a number of steps rarely.
DECADE = 10
TICK_LETTERS = 24


class Scale:
    """Where the values of a field stand on an axis, and what is written there."""

    def __init__(self, values: Sequence[Any]):
        """`values`: of all settings, with repetitions; numbers are ordered, others as they come."""
        by_key = {names.as_key(value): value for value in values}
        distinct = list(by_key.values())
        self.numeric = all(_is_number(value) for value in distinct)
        if self.numeric:
            distinct.sort()
        self.logarithmic = (
            self.numeric and min(distinct) > 0 and max(distinct) >= DECADE * min(distinct)
        )
        self.ticks = [labels.wrapped(text, TICK_LETTERS) for text in names.short_values(distinct)]
        self.order = {names.as_key(value): place for place, value in enumerate(distinct)}
        self.distinct = distinct

    def place(self, value: Any) -> float:
        """Where a value stands: itself if it is a number, else its place in the order."""
        if self.numeric:
            return float(value)
        return float(self.order[names.as_key(value)])

    def share(self, value: Any) -> float:
        """The same from 0 at the bottom of an axis to 1 at its top."""
        if len(self.distinct) < 2:
            return 0.5
        low, here, high = map(self.place, (self.distinct[0], value, self.distinct[-1]))
        if self.logarithmic:
            low, here, high = np.log([low, here, high])
        return float((here - low) / (high - low))


def slices(settings: Sequence[Setting], name: str, path: str | pathlib.Path) -> None:
    """A panel for each field: the figure `name` of every trial against the field's value.

    The line joins the means of the values; where other fields vary too, it averages over them.
    """
    keys = list(settings[0].values)
    columns = min(len(keys), 3)
    with figure(path, -(-len(keys) // columns), columns, size=(4.2, 3.2)) as axes:
        for ax, key in zip(axes.flat, keys, strict=False):
            _draw_slice(ax, settings, key, name)
        for ax in list(axes.flat)[len(keys) :]:
            ax.set_axis_off()


def _draw_slice(ax: Axes, settings: Sequence[Setting], key: str, name: str) -> None:
    scale = Scale([setting.values[key] for setting in settings])
    by_place: dict[float, list[float]] = {}
    for setting in settings:
        by_place.setdefault(scale.place(setting.values[key]), []).extend(setting.measured(name))
    places = sorted(place for place, values in by_place.items() if values)
    ax.plot(places, [np.mean(by_place[place]) for place in places], color=GRAY, label="mean")
    for place in places:
        values = by_place[place]
        ax.plot([place] * len(values), values, "o", color=BLUE, alpha=0.7)
    if scale.logarithmic:
        ax.set_xscale("log")
        # Ticks stand at the values that were tried, and nowhere else.
        ax.minorticks_off()
    ax.set_xticks([scale.place(value) for value in scale.distinct], scale.ticks)
    if not scale.numeric:
        ax.set_xlim(-0.5, len(scale.distinct) - 0.5)
    ax.set(title=key, ylabel=name)


def parallel(settings: Sequence[Setting], name: str, path: str | pathlib.Path) -> None:
    """A line for each setting through its values, which ends at its mean of the figure `name`.

    Settings are ranked: the first is drawn last, on top.
    """
    keys = list(settings[0].values)
    scales = {}
    for key in keys:
        scales[key] = Scale([setting.values[key] for setting in settings])
    means = [float(np.mean(setting.measured(name))) for setting in settings]
    low, high = min(means), max(means)
    # Equal means have no order to color.
    width = (high - low) or 1.0
    with figure(path, size=(1.9 * (len(keys) + 1) + 1.5, 3.6)) as axes:
        ax = axes[0, 0]
        ax.grid(False)
        # A light line over the dark ones would hide what is looked for.
        for setting, mean in zip(settings[::-1], means[::-1], strict=True):
            share = (mean - low) / width
            heights = [scales[key].share(setting.values[key]) for key in keys]
            ax.plot(range(len(keys) + 1), [*heights, share], color=shade(share), alpha=0.9)
        for column, key in enumerate(keys):
            ax.axvline(column, color=GRAY, linewidth=0.8)
            scale = scales[key]
            for value, tick in zip(scale.distinct, scale.ticks, strict=True):
                _write_beside(ax, column, scale.share(value), tick)
        ax.axvline(len(keys), color=GRAY, linewidth=0.8)
        for share in (0.0, 1.0):
            _write_beside(ax, len(keys), share, f"{low + share * (high - low):.3f}")
        titles = [labels.wrapped(text, TICK_LETTERS) for text in [*keys, name]]
        ax.set_xticks(range(len(keys) + 1), titles)
        ax.set_yticks([])
        ax.set_xlim(-0.2, len(keys) + 0.6)
        ax.spines[["left", "bottom"]].set_visible(False)


def shade(share: float) -> tuple[float, float, float, float]:
    """The color of a line, 0 for the worst and 1 for the best, which is the darkest."""
    # Without the lightest tenth, which is hardly seen on white.
    red, green, blue, opacity = MAP(0.1 + 0.9 * share)
    return red, green, blue, opacity


def _write_beside(ax: Axes, column: int, height: float, text: str) -> None:
    # Lines pass behind the text, which has to be read all the same.
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    ax.text(column + 0.04, height, text, va="center", fontsize=8, bbox=box)


def interaction(settings: Sequence[Setting], name: str, path: str | pathlib.Path) -> None:
    """The mean of the figure `name` for each pair of values of the two fields that vary."""
    down, across = settings[0].values
    rows = Scale([setting.values[down] for setting in settings])
    columns = Scale([setting.values[across] for setting in settings])
    # [rows, columns]; NaN where no trial has ended.
    means = np.full((len(rows.distinct), len(columns.distinct)), np.nan)
    for setting in settings:
        cell = (
            rows.order[names.as_key(setting.values[down])],
            columns.order[names.as_key(setting.values[across])],
        )
        means[cell] = np.mean(setting.measured(name))
    size = (2.2 + 0.9 * means.shape[1], 1.4 + 0.5 * means.shape[0])
    with figure(path, size=size) as axes:
        ax = axes[0, 0]
        ax.grid(False)
        image = ax.imshow(means, cmap=MAP, aspect="auto")
        middle = (np.nanmin(means) + np.nanmax(means)) / 2
        for (row, column), mean in np.ndenumerate(means):
            if np.isnan(mean):
                continue
            # White on the dark half of the map.
            color = "black"
            if mean > middle:
                color = "white"
            ax.text(column, row, f"{mean:.3f}", ha="center", va="center", color=color)
        ax.set_xticks(range(len(columns.ticks)), columns.ticks)
        ax.set_yticks(range(len(rows.ticks)), rows.ticks)
        ax.set(xlabel=across, ylabel=down)
        ax.figure.colorbar(image, ax=ax, label=name)


def curves(
    lines: Mapping[str, Sequence[Sequence[tuple[int, float]]]], name: str, path: str | pathlib.Path
) -> None:
    """The figure `name` over steps: setting -> a curve of points (step, value) for each seed.

    The first setting is the best. Where there are more than colors, the others are gray behind it.
    """
    with figure(path, size=(6.4, 3.8)) as axes:
        ax = axes[0, 0]
        styles: list[dict[str, Any]] = []
        for color, marker in zip(COLORS, MARKERS, strict=True):
            styles.append({"color": color, "marker": marker, "alpha": 0.9})
        if len(lines) > len(COLORS):
            others = {"color": GRAY, "linewidth": 0.8, "alpha": 0.6}
            styles = [{"color": VERMILION, "marker": "o"}] + [others] * (len(lines) - 1)
        handles = []
        # The best is drawn last, on top.
        for seeds, style in reversed(list(zip(lines.values(), styles, strict=False))):
            for points in seeds:
                steps, values = zip(*points, strict=True)
                (handle,) = ax.plot(steps, values, **style)
            handles.append(handle)
        ax.set(xlabel="step", ylabel=name)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        texts = list(lines)
        if len(lines) > len(COLORS):
            texts = [f"best: {texts[0]}", f"the other {len(texts) - 1} settings"]
            handles = [handles[0], handles[-1]]
        labels.legend_below(ax, handles[::-1], texts)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
