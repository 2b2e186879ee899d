"""Steps whose loss or gradient is not finite: left out, listed, and no more of them than allowed.

`step.make_step` leaves parameters and moments as they were where anything of an update is not
finite. One such batch is bad luck or a bad pair; many are a run that has come apart.
"""

import math
from collections.abc import Iterable, Mapping

from rewardjax.command import errors
from rewardjax.command.exit_codes import ExitCode

SKIPPED = "skipped"  # the metric of a step: 1 where its update was left out
LISTED = 20  # records that a message names


class NotFinite(errors.Ending):
    """More steps were not finite than the budget allows."""

    code = ExitCode.NOT_FINITE


class SkipBudget:
    """Counts the steps that were left out.

    Args:
        total_steps: of the run.
        in_a_row: how many may follow each other.
        share: of all steps that may be left out, beside the `in_a_row` that any run may.
        skipped: how many were, before the run was resumed.
    """

    def __init__(
        self, total_steps: int, *, in_a_row: int = 3, share: float = 0.001, skipped: int = 0
    ):
        self.skipped = skipped
        self._in_a_row = in_a_row
        self._allowed = in_a_row + math.floor(share * total_steps)
        self._run = 0

    def counts(self, values: Mapping[str, float]) -> bool:
        """Count a step by its metrics; whether its update was left out."""
        if not values[SKIPPED]:
            self._run = 0
            return False
        self.skipped += 1
        self._run += 1
        return True

    def explain(self, step: int, values: Mapping[str, float], records: Iterable[int]) -> str:
        """A sentence about a step that was just counted as left out.

        records: numbers, in the data's source, of those that the step was taken on.

        Raises:
            NotFinite: where the budget is spent.
        """
        broken = [name for name, value in values.items() if not math.isfinite(value)]
        what = ", ".join(broken) or "the update"
        sentence = f"step {step}: {what} is not finite, so its update was left out"
        if self._run <= self._in_a_row and self.skipped <= self._allowed:
            return f"{sentence}; it was taken on {_some(records)}"
        raise NotFinite(
            f"{sentence}, the {self._run}. in a row and {self.skipped} of the run, where "
            f"skips.in_a_row allows {self._in_a_row} and all together may be {self._allowed}; "
            "lower schedule.peak, set optimizer.clip_norm, or look at what the step was taken on: "
            f"{_some(records)}"
        )


def _some(records: Iterable[int]) -> str:
    numbers = sorted(set(records))
    text = "the data's records " + ", ".join(map(str, numbers[:LISTED]))
    if len(numbers) > LISTED:
        text += f" and {len(numbers) - LISTED} more (metrics.jsonl has all)"
    return text
