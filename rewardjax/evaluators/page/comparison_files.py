"""A comparison of several models as files: comparison.json, .md, .csv, .tex, and headlines.csv."""

import pathlib
from collections.abc import Sequence
from typing import Any

from rewardjax import config as config_lib
from rewardjax.evaluators.page import results_files
from rewardjax.evaluators.page.cells import DASH, between, count, percent, points, small, star
from rewardjax.evaluators.page.comparison import Comparison, folded, folded_row, table_row
from rewardjax.evaluators.page.evaluation import Evaluation
from rewardjax.evaluators.uncertainty import METHODS
from rewardjax.io import files
from rewardjax.reporting.table_formats import csv_text, latex, markdown

TEST = "McNemar's exact test of the examples that one model gets more of than the other"


def write(comparison: Comparison, folder: pathlib.Path) -> None:
    """Write all of them into `folder`, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    headlines: list[dict[str, Any]] = []
    for model in comparison.models:
        headlines += [
            row for row in results_files.number_rows(model) if row["number"] == "headline"
        ]
    texts = {
        "comparison.md": to_markdown(comparison),
        "comparison.csv": csv_text(list(comparison.rows)),
        "comparison.tex": to_latex(comparison),
        "headlines.csv": csv_text(headlines),
    }
    for name, text in texts.items():
        with files.replacing(folder / name) as part:
            part.write_text(text, encoding="utf-8")
    config_lib.write_json(folder / "comparison.json", to_record(comparison))


def to_record(comparison: Comparison) -> dict[str, Any]:
    """All that the other files show, with all digits."""
    models = []
    headlines: dict[str, dict[str, Any]] = {name: {} for name in comparison.titles}
    for model in comparison.models:
        facts = {field: model.record.get(field) for field in ("path", "weights")}
        models.append({"name": model.name, **facts})
        for name, interval in model.intervals.items():
            headlines[name][model.name] = {field: interval[field] for field in _HEADLINE}
    return {
        "models": models,
        "headlines": headlines,
        "folded": folded(comparison),
        "test": TEST,
        "correction": comparison.correction,
        "interval_methods": METHODS,
        "differences": list(comparison.rows),
        "notes": list(comparison.notes),
    }


_HEADLINE = ("headline", "low", "high", "partial")


def to_markdown(comparison: Comparison) -> str:
    """The headlines side by side, then every test."""
    names = " and ".join(model.name for model in comparison.models)
    paragraphs = [f"# {names}", side_by_side(comparison)]
    if comparison.rows:
        rows = [table_row(row) for row in comparison.rows]
        cells = [[_cell(value) for value in row.values()] for row in rows]
        paragraphs.append("## Differences")
        paragraphs.append(markdown(list(rows[0]), cells))
        paragraphs.append(f"p: {TEST}. Corrected: {comparison.correction}.")
    paragraphs.append(f"Intervals: {METHODS['headline']}; of a difference, on the same draws.")
    paragraphs += [f"Note: {note}." for note in comparison.notes]
    for model in comparison.models:
        for note in results_files.partial_notes(model):
            # Escaped, since two stars of a paragraph would make what is between them italic.
            paragraphs.append(f"{model.name}: {note}".replace("*", "\\*"))
    return "\n\n".join(paragraphs) + "\n"


def side_by_side(comparison: Comparison) -> str:
    """Headlines in percent with intervals, a benchmark per line and a column per model.

    Below them means over seeds, where models were trained alike but for their seed.
    """
    rows = []
    for name, title in comparison.titles.items():
        rows.append([title, *(_headline_cell(model, name) for model in comparison.models)])
    headlines = markdown(["benchmark", *(model.name for model in comparison.models)], rows)
    means = [folded_row(row) for row in folded(comparison)]
    if not means:
        return headlines
    cells = [[_cell(value) for value in row.values()] for row in means]
    return f"{headlines}\n\n{markdown(list(means[0]), cells)}"


def _headline_cell(model: Evaluation, benchmark: str) -> str:
    if benchmark not in model.results:
        return DASH
    result, interval = model.results[benchmark], model.intervals[benchmark]
    cell = percent(result.headline, star(result.partial)) or DASH
    reach = between(interval["low"], interval["high"])
    if reach is None:
        return cell
    return f"{cell} ({reach})"


def _cell(value: str | int | None) -> str:
    if isinstance(value, str):
        return value
    return count(value)


# ------------------------------------------------------------------ LaTeX


def to_latex(comparison: Comparison) -> str:
    """Headlines by benchmark, then every test; models by number, whose names are in the first."""
    number = {model.name: f"{i}" for i, model in enumerate(comparison.models, 1)}
    for arm in comparison.arms:
        number[arm.name] = " + ".join(number[model.name] for model in arm.models)
    headlines = [_headline_rows(comparison, name, number) for name in comparison.titles]
    notes = [f"Intervals: {METHODS['headline']}."]
    for model in comparison.models:
        notes += [f"{number[model.name]}: {note}" for note in results_files.partial_notes(model)]
    columns = ["Benchmark", "Model", *results_files.HEADLINE_COLUMNS]
    paragraphs = [results_files.NEEDS, latex(columns, headlines, notes, left=2)]
    if comparison.rows:
        by_benchmark: dict[str, list[list[str]]] = {}
        for row in comparison.rows:
            rows = by_benchmark.setdefault(row["benchmark"], [])
            first, second = number[row["first model"]], number[row["second model"]]
            rows.append(
                [
                    # Named once, as in the first table.
                    "" if rows else row["title"],
                    f"{first} less {second}",
                    points(row["headline_difference"]) or DASH,
                    between(row["headline_low"], row["headline_high"]) or DASH,
                    small(row.get("p")) or DASH,
                    small(row.get("p_holm")) or DASH,
                ]
            )
        columns = ["Benchmark", "Models", "Points", "95 % interval", "p", "p, corrected"]
        notes = [f"p: {TEST}.", f"Corrected: {comparison.correction}.", *comparison.notes]
        paragraphs.append(latex(columns, by_benchmark.values(), notes, left=2))
    return "\n\n".join(paragraphs) + "\n"


def _headline_rows(
    comparison: Comparison, name: str, number: dict[str, str]
) -> Sequence[Sequence[str]]:
    """One row per model that has the benchmark, whose title stands in the first."""
    rows: list[list[str]] = []
    title = comparison.titles[name]
    for model in comparison.models:
        if name in model.results:
            label = f"{number[model.name]}: {model.name}"
            rows.append([title, label, *results_files.headline_cells(model, name)])
            title = ""
    return rows
