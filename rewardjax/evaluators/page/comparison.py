"""Several models side by side: paired tests on the same examples, corrected for their number.

The page, JSON, Markdown, CSV and LaTeX all show the rows that are computed here, once.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rewardjax import evaluators
from rewardjax.evaluators import compare
from rewardjax.evaluators.page import figures
from rewardjax.evaluators.page.cells import between, points, small
from rewardjax.evaluators.page.drawing import Draw
from rewardjax.evaluators.page.evaluation import Evaluation
from rewardjax.evaluators.stored_rewards import Scores
from rewardjax.reporting.page import Section
from rewardjax.stats.tests import holm


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Every two models on every benchmark that both were scored on, on the same examples.

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
    def titles(self) -> dict[str, str]:
        """Titles of the benchmarks of any model, as the first model that has it calls it."""
        titles: dict[str, str] = {}
        for model in self.models:
            for name in model.results:
                titles.setdefault(name, model.title(name))
        return titles


def compare_all(models: Sequence[Evaluation]) -> Comparison:
    """The comparison of evaluations, whose models have different names."""
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for name, title in Comparison(models, (), ()).titles.items():
        having = [model for model in models if name in model.scores]
        same_data = _by_data(having, name)
        if len(same_data) > 1:
            sets = "; ".join(", ".join(group) for group in same_data)
            notes.append(
                f"{title}: the models were not scored on the same data, so that only those are "
                f"compared which were: {sets}"
            )
        for by_model in same_data:
            if len(by_model) < 2:
                continue
            benchmark = evaluators.get(next(iter(by_model.values())).meta["benchmark"])
            for row in compare.models(benchmark, by_model):
                rows.append({"benchmark": name, "title": title, **row})
    _take_away_headlines(models, rows)
    tested = [row for row in rows if "p" in row]
    for row, corrected in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = corrected
    return Comparison(models, rows, notes)


def _by_data(models: Sequence[Evaluation], name: str) -> list[dict[str, Scores]]:
    """Scores by model, models together that were scored on the same examples."""
    groups: dict[str, dict[str, Scores]] = {}
    for model in models:
        scores = model.scores[name]
        groups.setdefault(scores.meta["data"], {})[model.name] = scores
    return list(groups.values())


def _take_away_headlines(models: Sequence[Evaluation], rows: Sequence[dict[str, Any]]) -> None:
    """No difference of headlines where a model has none, as over too few examples."""
    headless: set[tuple[str, str]] = set()
    for model in models:
        for name, result in model.results.items():
            if result.headline is None:
                headless.add((model.name, name))
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
    shown = {}
    forests = forests_of(comparison.rows)
    if forests:
        caption = "Differences of the headlines"
        shown[caption] = draw("differences", figures.differences, forests)
    rows = [table_row(row) for row in comparison.rows]
    return Section("Comparison of models", text, shown, {"": rows})


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
