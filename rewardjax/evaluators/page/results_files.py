"""The numbers of an evaluation as files: results.md to read, results.csv and results.tex to use.

All of them, results.json and the page show the same intervals, which `uncertainty` computes once.
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rewardjax.evaluators.page import table
from rewardjax.evaluators.page.cells import DASH, between, count, percent, star
from rewardjax.evaluators.page.evaluation import Evaluation
from rewardjax.evaluators.records import Part
from rewardjax.evaluators.uncertainty import METHODS
from rewardjax.io import files
from rewardjax.reporting.table_formats import csv_text, latex

# What a person needs to set the tables of a .tex file.
NEEDS = r"% needs \usepackage{booktabs}"
HEADLINE_COLUMNS = ("Score, %", "95 % interval", "Chance, %", "Examples")


def write(model: Evaluation, folder: pathlib.Path) -> None:
    """Write results.md, results.csv and results.tex, each whole or not at all."""
    texts = {
        "results.md": table.page(model),
        "results.csv": csv_text(list(number_rows(model))),
        "results.tex": to_latex(model),
    }
    for name, text in texts.items():
        with files.replacing(folder / name, many_writers=True) as part:
            part.write_text(text, encoding="utf-8")


# ------------------------------------------------------------------ CSV


def number_rows(model: Evaluation) -> Iterator[dict[str, Any]]:
    """One row per number: the headline of each benchmark, then its parts, then its subsets.

    Scores, intervals and chance in [0, 1] with all digits.
    """
    for name, result in model.results.items():
        intervals = model.intervals[name]
        place = {"model": model.name, "benchmark": name, "title": model.title(name)}
        parts = result.parts.values()
        yield {
            **place,
            "number": "headline",
            "name": "",
            "score": result.headline,
            "low": intervals["low"],
            "high": intervals["high"],
            "interval": METHODS["headline"],
            "chance": result.chance,
            "examples": sum(part.n for part in parts),
            "published": result.published,
            "ties": result.ties,
            "unscored": sum(part.unscored for part in parts),
            "unused": sum(part.unused for part in parts),
            "partial": result.partial,
        }
        for number, by_name in (("parts", result.parts), ("subsets", result.subsets)):
            for key, part in by_name.items():
                row = _part_row(part, intervals[number][key], result.chance_of(key))
                yield {**place, "number": number.removesuffix("s"), "name": key, **row}


def _part_row(
    part: Part, interval: Mapping[str, float | None], chance: float | None
) -> dict[str, Any]:
    return {
        "score": part.value,
        "low": interval["low"],
        "high": interval["high"],
        "interval": METHODS["parts"],
        "chance": chance,
        "examples": part.n,
        "published": part.expected,
        "ties": part.ties,
        "unscored": part.unscored,
        "unused": part.unused,
        "partial": part.partial,
    }


# ------------------------------------------------------------------ LaTeX


def to_latex(model: Evaluation) -> str:
    """Two tables: the headline of every benchmark, and the parts that they are made of."""
    headlines = [[model.title(name), *headline_cells(model, name)] for name in model.results]
    groups = [headlines]
    _, mean = table.paper_row(model.results)
    if mean is not None:
        groups.append([["Average of the paper's seven", f"{mean:.1f}", "", "", ""]])
    notes = [f"Intervals: {METHODS['headline']}.", *partial_notes(model)]
    paragraphs = [
        NEEDS,
        latex(["Benchmark", *HEADLINE_COLUMNS], groups, notes),
        latex(
            ["Benchmark", "Part", *HEADLINE_COLUMNS],
            [_part_cells(model, name) for name in model.results],
            [f"Intervals: {METHODS['parts']}."],
            left=2,
        ),
    ]
    return "\n\n".join(paragraphs) + "\n"


def headline_cells(model: Evaluation, name: str) -> list[str]:
    """Cells of HEADLINE_COLUMNS for a benchmark's headline."""
    result, interval = model.results[name], model.intervals[name]
    return [
        percent(result.headline, star(result.partial)) or DASH,
        between(interval["low"], interval["high"]) or DASH,
        percent(result.chance) or DASH,
        count(sum(part.n for part in result.parts.values())),
    ]


def _part_cells(model: Evaluation, name: str) -> list[list[str]]:
    """Rows of one benchmark's parts; the benchmark is named in the first alone."""
    result, rows = model.results[name], []
    title = model.title(name)
    for key, part in result.parts.items():
        interval = model.intervals[name]["parts"][key]
        rows.append(
            [
                title,
                key,
                percent(part.value, star(part.partial)) or DASH,
                between(interval["low"], interval["high"]) or DASH,
                percent(result.chance_of(key)) or DASH,
                count(part.n),
            ]
        )
        title = ""
    return rows


def partial_notes(model: Evaluation) -> Sequence[str]:
    """What each number with a star is over."""
    return [
        f"* {model.title(name)}: partial, over {result.denominators}"
        for name, result in model.results.items()
        if result.partial and result.headline is not None
    ]
