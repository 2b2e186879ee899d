"""The seeds of a setting folded into mean and interval, settings ranked, as rows of a table."""

import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from rewardjax.reporting import text_table
from rewardjax.stats import intervals
from rewardjax.sweeps import names, outcomes
from rewardjax.sweeps.outcomes import Outcome
from rewardjax.sweeps.trials import Trial, values_of, varied

# The field that repeats a measurement, where all others make another one.
SEED = "seed"


class Spread(NamedTuple):
    """A figure over the seeds of a setting; the ends of the interval are None for one seed."""

    mean: float
    low: float | None
    high: float | None
    n: int


class Setting(NamedTuple):
    """What varies between trials, apart from the seed, and the trials that have it."""

    values: dict[str, Any]
    outcomes: list[Outcome]

    def measured(self, figure: str) -> list[float]:
        """The values [n] of a figure, one for each seed that ended."""
        return [each.figures[figure] for each in self.outcomes if figure in each.figures]

    def spread(self, figure: str) -> Spread | None:
        """Mean and 95% interval of Student's t over the seeds that ended, None without any."""
        values = self.measured(figure)
        if not values:
            return None
        low, high = None, None
        # One seed says nothing of its spread: no interval is better than one of no width.
        if len(values) > 1:
            low, high = intervals.student(values)
        return Spread(statistics.fmean(values), low, high, len(values))


def fields(trials: Sequence[Trial]) -> list[str]:
    """What varies apart from the seed."""
    return [key for key in varied(trials) if key != SEED]


def figures(read: Sequence[Outcome]) -> list[str]:
    """Names of what was measured, without the seconds; settings are ranked by the first."""
    ordered: dict[str, None] = {}
    for outcome in read:
        for name in outcomes.headlines(outcome.trial):
            if name in outcome.figures:
                ordered[name] = None
    return list(ordered)


def grouped(trials: Sequence[Trial], read: Sequence[Outcome]) -> list[Setting]:
    """All settings in the order of the plan.

    `trials` are those that say what varies, `read` the outcomes of all or some of them.
    """
    # Not the fields of `read` alone: of a single trial nothing varies.
    keys = fields(trials)
    by_values: dict[str, Setting] = {}
    for outcome in read:
        values = values_of(outcome.trial, keys)
        setting = by_values.setdefault(names.as_key(values), Setting(values, []))
        setting.outcomes.append(outcome)
    return list(by_values.values())


def settings(trials: Sequence[Trial], read: Sequence[Outcome]) -> list[Setting]:
    """The settings with a finished trial, best first."""
    finished = [each for each in grouped(trials, read) if _any_done(each)]
    measured = figures(read)
    if not measured:
        return finished

    def rank(setting: Setting) -> float:
        spread = setting.spread(measured[0])
        # Where nothing was measured, or NaN, a setting comes last and in the plan's order.
        if spread is None or math.isnan(spread.mean):
            return math.inf
        return -spread.mean

    return sorted(finished, key=rank)


def rows(trials: Sequence[Trial], read: Sequence[Outcome]) -> list[dict[str, str]]:
    """A row per setting, best first: what varies, then what was measured."""
    measured = figures(read)
    short = names.short_fields(fields(trials))
    table = []
    for rank, setting in enumerate(settings(trials, read), 1):
        ended = [each for each in setting.outcomes if each.status == outcomes.DONE]
        row = {"rank": str(rank), "trials": ", ".join(str(each.trial.number) for each in ended)}
        row |= {short[key]: names.text_of(value) for key, value in setting.values.items()}
        if SEED in varied(trials):
            row["n"] = str(len(ended))
        for figure in measured:
            row[figure] = shown(setting.spread(figure))
        seconds = setting.spread(outcomes.SECONDS)
        if seconds is not None:
            row["seconds"] = f"{seconds.mean:.3g}"
        table.append(row)
    return table


def failures(read: Sequence[Outcome]) -> list[dict[str, str]]:
    """A row per failed trial: its folder, how it ended and what it said."""
    return [
        {
            "failed trial": each.home.name,
            "exit code": str(each.exit_code),
            "said": each.sentence,
        }
        for each in read
        if each.status == outcomes.FAILED
    ]


def unfinished(read: Sequence[Outcome]) -> str:
    """Which trials have neither ended nor failed, or "" where there are none."""
    lines = []
    for status in (outcomes.UNFINISHED, outcomes.NOT_RUN):
        numbers = [str(each.trial.number) for each in read if each.status == status]
        if numbers:
            lines.append(f"{status}: trial {', '.join(numbers)}")
    return "; ".join(lines)


def reading(trials: Sequence[Trial], read: Sequence[Outcome]) -> str:
    """How to read the table."""
    measured = figures(read)
    if not measured:
        return "Nothing was measured: no trial with a held-out set or a benchmark has ended."
    sentence = f"Ranked by {measured[0]}, best first."
    if SEED in varied(trials):
        sentence += (
            " In brackets the 95% interval of the mean (Student's t) over the n seeds that ended;"
            " one seed has none."
        )
    return sentence


def shown(spread: Spread | None) -> str:
    """`0.712 (0.650 to 0.774)`, without the brackets for a single seed, a dash for nothing."""
    if spread is None:
        return "–"
    if spread.low is None or spread.high is None:
        return number(spread.mean)
    return f"{number(spread.mean)} ({number(spread.low)} to {number(spread.high)})"


def number(value: float) -> str:
    """Three decimals for what may be a proportion, else four significant digits."""
    if abs(value) < 10:
        return f"{value:.3f}"
    return f"{value:.4g}"


def text(trials: Sequence[Trial], read: Sequence[Outcome]) -> str:
    """The table of settings and what is to be said beside it, for a terminal."""
    blocks = []
    table = rows(trials, read)
    if table:
        blocks.append(text_table.table(table))
    blocks.append(reading(trials, read))
    for failure in failures(read):
        trial, code, sentence = failure.values()
        blocks.append(f"failed: {trial} (exit code {code}): {sentence}")
    if unfinished(read):
        blocks.append(unfinished(read))
    return "\n".join(blocks)


def _any_done(setting: Setting) -> bool:
    return any(each.status == outcomes.DONE for each in setting.outcomes)
