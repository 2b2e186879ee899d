"""Paired tests between training runs: is one way of training better, or were its pairs easier?

The held-out pairs of two runs are the same, so that what makes a pair hard cancels in the
difference of their accuracies, whose interval is several times narrower than those of the two. The
runs that differ in their seed alone are folded into one (`compare.paired_over_seeds`).
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rewardjax.evaluators import compare
from rewardjax.evaluators.page.cells import between, points, small
from rewardjax.stats.tests import holm
from rewardjax.sweeps.outcomes import Outcome
from rewardjax.sweeps.ranking import SEED, Setting
from rewardjax.training import pair_rewards
from rewardjax.training.pair_rewards import PairRewards

ACCURACY = "/accuracy"
REMEDY = (
    "evaluate each model with `rewardjax evaluate --model RUN --data FILE` and compare the output "
    "folders, whose page has the paired tests"
)


class Arm(NamedTuple):
    """A setting with what its runs, one for each seed, gave to the pairs of a set."""

    name: str
    seeds: list[Any]
    measured: list[PairRewards]


def tests(
    settings: Sequence[Setting], shown: Mapping[str, str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for every two settings on each held-out set of `shown`, and what is to be said of them.

    settings: best first, whose outcomes are runs that have ended. shown: figure -> its title.
    A row has the fields of `compare.paired_over_seeds` with "figure", "first runs", "second
    runs", and "p_holm" over all rows with a "p". Whatever has no row has a sentence that says why.
    """
    rows: list[dict[str, Any]] = []
    remarks: list[str] = []
    if len(settings) < 2:
        return rows, ["There is no paired test: the runs differ in their seed alone."]
    for figure, title in shown.items():
        if not figure.endswith(ACCURACY):
            remarks.append(
                f"There is no paired test of {title}, since a run keeps no rewards of a "
                f"benchmark's responses: {REMEDY}."
            )
            continue
        arms, missing = _arms(settings, figure.removesuffix(ACCURACY))
        if missing:
            remarks.append(
                f"There is no paired test of {title} with {' and '.join(missing)}, which kept no "
                "rewards of its pairs, as runs of earlier versions do not: start the command "
                f"that trained it again, which measures anew and trains nothing; or {REMEDY}."
            )
        for first, second in itertools.combinations(arms, 2):
            tested = _tested(first, second)
            if tested is None:
                remarks.append(
                    f"There is no paired test of {title} between {first.name} and {second.name}, "
                    f"which were not measured on the same pairs: {REMEDY}."
                )
            else:
                names = {"first runs": first.name, "second runs": second.name}
                rows.append({"figure": title, **names, **tested})
    # One family over all sets: whoever reads the table looks for its smallest p.
    with_p = [row for row in rows if "p" in row]
    for row, corrected in zip(with_p, holm([row["p"] for row in with_p]), strict=True):
        row["p_holm"] = corrected
    return rows, remarks


def table_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of `tests` as cells, None where there is none; without p where no row has one."""
    cells = [_cells(row) for row in rows]
    if not any("p" in row for row in rows):
        for row in cells:
            del row["p"], row["p, Holm"]
    return cells


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "accuracy on": row["figure"].removesuffix(" accuracy"),
        "first": row["first runs"],
        "second": row["second runs"],
        "difference, points": points(row.get("difference")),
        "95 % interval": between(row.get("low"), row.get("high")),
        "p": small(row.get("p")),
        "p, Holm": small(row.get("p_holm")),
        "pairs": row["n"],
    }


def reading(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How to read the table: sentences about what is in it."""
    sentences = [
        "Differences are first - second on the same pairs; the pairs of one record are drawn again "
        "together for the interval."
    ]
    single = sum("p" in row for row in rows)
    if single:
        sentences.append(
            "p is McNemar's exact test of the pairs that one of two runs alone gets right, also "
            "corrected for the number of such tests in this table (Holm 1979). It tells whether "
            "these two models differ, and not whether those of other seeds would."
        )
    if single < len(rows):
        sentences.append(
            "Where seeds are folded, a pair counts by the share of seeds that get it right, and "
            "the interval draws seeds and records again (Sellam et al. 2022): with two or three "
            "seeds it is too narrow, and a row with one seed on a side adds nothing for that "
            "side's training."
        )
    left_out = max((row["left_out"] for row in rows), default=0)
    if left_out:
        sentences.append(f"Pairs whose label is a tie are left out (at most {left_out:,}).")
    return sentences


def _arms(settings: Sequence[Setting], name: str) -> tuple[list[Arm], list[str]]:
    """The settings all of whose runs kept rewards of the set, and the runs that kept none."""
    arms, missing = [], []
    for setting in settings:
        kept: list[tuple[Outcome, PairRewards]] = []
        for outcome in setting.outcomes:
            rewards = pair_rewards.read(outcome.home, name)
            if rewards is None:
                missing.append(outcome.trial.name)
            else:
                kept.append((outcome, rewards))
        # Some seeds of a setting would be another sample of it than the table's.
        if len(kept) == len(setting.outcomes):
            # So that the seeds of two settings meet where they are the same.
            kept.sort(key=lambda each: str(_seed(each[0])))
            arms.append(
                Arm(
                    ", ".join(outcome.trial.name for outcome, _ in kept),
                    [_seed(outcome) for outcome, _ in kept],
                    [rewards for _, rewards in kept],
                )
            )
    return arms, missing


def _seed(outcome: Outcome) -> Any:
    return outcome.trial.resolved.get(SEED)


def _tested(first: Arm, second: Arm) -> dict[str, Any] | None:
    """`compare.paired_over_seeds` of two arms, None where their pairs are not the same."""
    reference, *others = [*first.measured, *second.measured]
    credits = [reference.correct()]  # [S + T] of [N]
    for other in others:
        aligned = _aligned(other, reference)
        if aligned is None:
            return None
        credits.append(aligned)
    seeds = len(first.measured)
    return compare.paired_over_seeds(
        np.stack(credits[:seeds]),
        np.stack(credits[seeds:]),
        # Pairs of a record share its prompt.
        reference.keys[:, 0].tolist(),
        same_seeds=first.seeds == second.seeds,
    )


def _aligned(rewards: PairRewards, reference: PairRewards) -> np.ndarray | None:
    """The correctness [N] of the pairs in the order of `reference`; None for other pairs."""
    if len(rewards.keys) != len(reference.keys):
        return None
    if not rewards.origin.is_that_of(reference.origin):
        return None
    # By record, then by its responses; the numbers name a pair, so that none is there twice.
    order, wanted = (np.lexsort(each.keys.T[::-1]) for each in (rewards, reference))
    if not np.array_equal(rewards.keys[order], reference.keys[wanted]):
        return None
    correct = np.empty(len(order))
    correct[wanted] = rewards.correct()[order]
    return correct
