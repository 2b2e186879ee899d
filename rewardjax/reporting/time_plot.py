"""Where the time of a run went: one bar per kind of it."""

import pathlib
from collections.abc import Mapping

from rewardjax.reporting.plots import SKY, figure


def spent(seconds: Mapping[str, float], path: str | pathlib.Path, title: str) -> None:
    """Draw seconds by their kind, from the top down in the order given, each with its share."""
    # matplotlib draws from the bottom up.
    kinds = list(seconds)[::-1]
    values = [seconds[kind] for kind in kinds]
    # A run of no time at all has shares of 0, not of 0 / 0.
    total = sum(values) or 1.0
    with figure(path, size=(6.4, 0.9 + 0.3 * len(kinds))) as axes:
        ax = axes[0, 0]
        ax.barh([kind.replace("_", " ") for kind in kinds], values, color=SKY, height=0.65)
        for row, value in enumerate(values):
            text = f"{value:,.0f} s, {100 * value / total:.0f} %"
            ax.text(1.02, row, text, va="center", fontsize=8, transform=ax.get_yaxis_transform())
        ax.set(title=title, xlabel="seconds", xlim=(0, None), ylim=(-0.6, len(kinds) - 0.4))
        ax.grid(axis="y", visible=False)
