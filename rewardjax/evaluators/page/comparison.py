"""Several models side by side: paired tests on the same examples, corrected for their number.

Models that were trained alike but for their seed are folded into one (`Arm`). The page, JSON,
Markdown, CSV and LaTeX all show the rows that are computed here, once.
"""

import dataclasses
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax import evaluators, fingerprint
from rewardjax.evaluators import compare
from rewardjax.evaluators.page import figures
from rewardjax.evaluators.page.cells import between, percent, points, small
from rewardjax.evaluators.page.drawing import Draw
from rewardjax.evaluators.page.evaluation import Evaluation
from rewardjax.evaluators.stored_rewards import Scores
from rewardjax.reporting.page import Section
from rewardjax.stats import intervals
from rewardjax.stats.tests import holm


class Arm(NamedTuple):
    """The models of one way of training, one for each seed; a model by itself mostly."""

    name: str
    models: Sequence[Evaluation]
    seeds: Sequence[Any]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Every two arms on every benchmark that both were scored on, on the same examples.

    rows: those of `compare.models` with "benchmark" (the config's name), "title" and "p_holm".
    notes: sentences about what could not be compared.
    """

    models: Sequence[Evaluation]
    rows: Sequence[dict[str, Any]]
    notes: Sequence[str]

    @property
    def correction(self) -> str:
        """What the corrected p-values are corrected for."""
        tests = sum("p" in row for row in self.rows)
        return (
            f"Holm (1979) over one family, all {tests:,} tests of this comparison: every two "
            "models on every benchmark"
        )

    @property
    def arms(self) -> list[Arm]:
        """The models, those of one run's workdir and those of other seeds of it together."""
        return _arms(self.models)

    @property
    def titles(self) -> dict[str, str]:
        """Titles of the benchmarks of any model, as the first model that has it calls it."""
        titles: dict[str, str] = {}
        for model in self.models:
            for name in model.results:
                titles.setdefault(name, model.title(name))
        return titles


def _arms(models: Sequence[Evaluation]) -> list[Arm]:
    arms: list[Arm] = []
    for group in _trained_alike(models):
        if _has_seed_twice(group):
            arms += [Arm(model.name, [model], [_seed(model)]) for model in group]
            continue
        # So that the seeds of two arms meet where they are the same.
        group = sorted(group, key=lambda model: str(_seed(model)))
        name = ", ".join(model.name for model in group)
        arms.append(Arm(name, group, [_seed(model) for model in group]))
    return arms


def _trained_alike(models: Sequence[Evaluation]) -> list[list[Evaluation]]:
    """The models, those that differ in their seed alone together; others by themselves."""
    alike: dict[str, list[Evaluation]] = {}
    for model in models:
        key = model.name
        if trained := model.record.get("trained"):
            # How it was evaluated counts too: dtype and length change scores as a setting does.
            evaluated = [model.record[field] for field in ("dtype", "max_length", "over_long")]
            key = fingerprint.of_json([trained["setting"], evaluated])
        alike.setdefault(key, []).append(model)
    return list(alike.values())


def _has_seed_twice(group: Sequence[Evaluation]) -> bool:
    """Whether two models are of one seed, which is no second draw of it."""
    return len({str(_seed(model)) for model in group}) < len(group)


def _seed(model: Evaluation) -> Any:
    """The seed that a model was trained with, None where nobody knows."""
    return (model.record.get("trained") or {}).get("seed")


def compare_all(models: Sequence[Evaluation]) -> Comparison:
    """The comparison of evaluations, whose models have different names."""
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for group in _trained_alike(models):
        if _has_seed_twice(group):
            names = ", ".join(model.name for model in group)
            notes.append(f"{names} are of one experiment, some with the same seed, and not folded")
    empty = Comparison(models, (), ())
    if len(empty.arms) < 2 <= len(models):
        notes.append("The models differ in their seed alone, so that there is nothing to test")
    seeds = {arm.name: arm.seeds for arm in empty.arms}
    for name, title in empty.titles.items():
        same_data, partial = _by_data(empty.arms, name)
        if len(same_data) > 1:
            sets = "; ".join(", ".join(group) for group in same_data)
            notes.append(
                f"{title}: the models were not scored on the same data, so that only those are "
                f"compared which were: {sets}"
            )
        for arm in partial:
            notes.append(
                f"{title}: {arm} are not compared, since not all of these seeds were scored on it "
                "with the same data"
            )
        for by_arm in same_data:
            if len(by_arm) < 2:
                continue
            benchmark = evaluators.get(next(iter(by_arm.values()))[0].meta["benchmark"])
            for row in compare.models(benchmark, by_arm, seeds):
                rows.append({"benchmark": name, "title": title, **row})
    _take_away_headlines(empty.arms, rows)
    tested = [row for row in rows if "p" in row]
    for row, corrected in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = corrected
    return Comparison(models, rows, notes)


def _by_data(arms: Sequence[Arm], name: str) -> tuple[list[dict[str, list[Scores]]], list[str]]:
    """Scores by arm, arms together that were scored on the same examples; and arms in part."""
    groups: dict[str, dict[str, list[Scores]]] = {}
    partial: list[str] = []
    for arm in arms:
        scores = [model.scores[name] for model in arm.models if name in model.scores]
        data = {of_seed.meta["data"] for of_seed in scores}
        if not scores:
            continue
        if len(scores) < len(arm.models) or len(data) > 1:
            partial.append(arm.name)
            continue
        groups.setdefault(data.pop(), {})[arm.name] = scores
    return list(groups.values()), partial


def folded(comparison: Comparison) -> list[dict[str, Any]]:
    """A row for each arm of several seeds and each benchmark: the mean of its headlines.

    "low" and "high" are the ends of Student's 95% interval of the mean over "n" seeds; benchmarks
    that not all of its models have a headline of are left out.
    """
    rows = []
    for arm in comparison.arms:
        for name, title in comparison.titles.items():
            results = [model.results[name] for model in arm.models if name in model.results]
            values = [result.headline for result in results if result.headline is not None]
            if len(values) < len(arm.models) or len(values) < 2:
                continue
            low, high = intervals.student(values)
            row = {"benchmark": title, "models": arm.name, "n": len(values)}
            rows.append(row | {"headline": statistics.fmean(values), "low": low, "high": high})
    return rows


def _take_away_headlines(arms: Sequence[Arm], rows: Sequence[dict[str, Any]]) -> None:
    """No difference of headlines where a model has none, as over too few examples."""
    headless: set[tuple[str, str]] = set()
    for arm in arms:
        for model in arm.models:
            names = [name for name, result in model.results.items() if result.headline is None]
            headless |= {(arm.name, name) for name in names}
    for row in rows:
        pair = {(row[f"{order} model"], row["benchmark"]) for order in ("first", "second")}
        if pair & headless:
            row |= dict.fromkeys(("headline_difference", "headline_low", "headline_high"))


# ------------------------------------------------------------------ on the page


def section(comparison: Comparison, draw: Draw) -> Section:
    """The table of all tests, and a forest plot for each two models."""
    text = [
        "Headlines differ by the same draws of prompts for both. The other columns are over single "
        "examples, each scored by the benchmark's own rule: the interval draws whole prompts "
        "again; p is McNemar's exact test of the examples that one model gets more of than the "
        f"other. The corrected p is {comparison.correction}; intervals are those of one "
        "comparison alone.",
        *(f"{note}." for note in comparison.notes),
    ]
    means = [folded_row(row) for row in folded(comparison)]
    if means:
        text.append(
            "Models that were trained alike but for their seed are one: its headline is the mean "
            "over the seeds, an example counts by the share of seeds that get it, and the "
            "intervals of differences draw seeds and prompts again (Sellam et al. 2022, The "
            "MultiBERTs), which with two or three seeds is too narrow; McNemar's test is of single "
            "models."
        )
    shown = {}
    forests = forests_of(comparison.rows)
    if forests:
        caption = "Differences of the headlines"
        shown[caption] = draw("differences", figures.differences, forests)
    rows = [table_row(row) for row in comparison.rows]
    tables = {"": rows, "Means over seeds, Student's interval": means}
    return Section("Comparison of models", text, shown, tables)


def folded_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `folded` as cells."""
    return {
        "benchmark": row["benchmark"],
        "models": row["models"],
        "seeds": row["n"],
        "mean, %": percent(row["headline"]),
        "95 % interval": between(row["low"], row["high"]),
    }


def forests_of(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """By pair of models the rows of a forest plot, one per benchmark."""
    forests: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        # A forest plot is about intervals: a difference without one is in the table only.
        if row["headline_low"] is None:
            continue
        pair = (row["first model"], row["second model"])
        forests.setdefault(pair, []).append(
            {
                "label": row["title"],
                "difference": row["headline_difference"],
                "low": row["headline_low"],
                "high": row["headline_high"],
            }
        )
    return forests


def table_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a `Comparison` as cells, None where both have no example with a score."""
    return dict(_cells(row))


def _cells(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    # The p-values are what the table is read for: they come before the counts.
    yield "benchmark", row["title"]
    yield "first", row["first model"]
    yield "second", row["second model"]
    yield "headline, points", points(row["headline_difference"])
    yield "95 % interval", between(row["headline_low"], row["headline_high"])
    yield "p", small(row.get("p"))
    yield "p, Holm", small(row.get("p_holm"))
    yield "per example, points", points(row.get("difference"))
    yield "its interval", between(row.get("low"), row.get("high"))
    yield "more by first", row.get("first_only")
    yield "by second", row.get("second_only")
    yield "examples", row["n"]
    yield "prompts", row["prompts"]
