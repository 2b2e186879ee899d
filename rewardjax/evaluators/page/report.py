"""The page about an evaluation, and about several models side by side: report.html.

    python -m rewardjax.evaluate compare runs/eval/A runs/eval/B --output both/report.html

Everything is computed from results.json and the stored scores of output folders of
`rewardjax.evaluate`; no model is needed. The first folder is the model that the page is about.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rewardjax import evaluators
from rewardjax.command import errors
from rewardjax.evaluators import baselines, output_folder
from rewardjax.evaluators.benchmarks import (
    Benchmark,
    Draw,
    Evaluated,
    HasCurves,
    HasSections,
    majority,
)
from rewardjax.evaluators.page import (
    audit_sections,
    breakdown_sections,
    comparison,
    comparison_files,
    figures,
    headline_sections,
    mistake_section,
)
from rewardjax.evaluators.page.cells import between, percent
from rewardjax.evaluators.page.drawing import draw_into
from rewardjax.evaluators.page.evaluation import Evaluation, read
from rewardjax.io import files
from rewardjax.reporting import page
from rewardjax.reporting.page import Section

# Sections about the first model, whose detail would drown a comparison, after those about all.
OF_THE_FIRST = (
    breakdown_sections.categories,
    breakdown_sections.pairs,
    mistake_section.mistakes,
    audit_sections.bias,
    audit_sections.counterfactual,
    audit_sections.overlap,
)
LONGEST_NAME = 150


def write(folders: Sequence[str | pathlib.Path], output: str | pathlib.Path) -> None:
    """Write the page about the evaluations in `folders`, and its figures to `plots` beside it.

    With several, the files of `comparison_files` too. Models of the same name get a number. Raises
    FileNotFoundError for a folder without an evaluation.
    """
    write_about(_read_all(folders), pathlib.Path(output))


def _read_all(folders: Sequence[str | pathlib.Path]) -> comparison.Comparison:
    return comparison.compare_all(_numbered([read(folder) for folder in folders]))


def write_about(compared: comparison.Comparison, output: pathlib.Path) -> None:
    """`write` for evaluations that were read."""
    models, first = compared.models, compared.models[0]
    draw = draw_into(output.parent / "plots")
    sections: list[Section | None] = [headline_sections.headlines(models, draw)]
    if len(models) > 1:
        comparison_files.write(compared, output.parent)
        sections.append(comparison.section(compared, draw))
    sections += _own_sections(models, draw)
    sections.append(_best_of_n(models, draw))
    sections += [section(first, draw) for section in OF_THE_FIRST]
    sections.append(breakdown_sections.incomplete(models))
    page.write_report(
        output,
        "Evaluation: " + " and ".join(model.name for model in models),
        first.facts,
        # A section is None where the evaluation has nothing to say about its subject.
        parts=[section for section in sections if section is not None],
    )


def _numbered(models: Sequence[Evaluation]) -> list[Evaluation]:
    """The models with different names: tables and legends would mix up two of the same name."""
    distinct: list[Evaluation] = []
    times: dict[str, int] = {}
    for model in models:
        times[model.name] = times.get(model.name, 0) + 1
        if times[model.name] > 1:
            model = dataclasses.replace(model, name=f"{model.name} ({times[model.name]})")
        distinct.append(model)
    return distinct


# ------------------------------------------------------------------ what benchmarks show themselves


def _by_benchmark(models: Sequence[Evaluation]) -> list[tuple[Benchmark, list[Evaluated]]]:
    """What was evaluated on each benchmark, by all models, in the order of `evaluators.NAMES`."""
    evaluated: dict[str, list[Evaluated]] = {}
    for model in models:
        for name, result in model.results.items():
            entry = Evaluated(model.name, model.title(name), result, model.scores[name])
            evaluated.setdefault(result.name, []).append(entry)
    names = sorted(evaluated, key=evaluators.position)
    return [(evaluators.get(name), evaluated[name]) for name in names]


def _own_sections(models: Sequence[Evaluation], draw: Draw) -> list[Section]:
    """The sections that benchmarks draw themselves."""
    sections: list[Section] = []
    for module, evaluated in _by_benchmark(models):
        if isinstance(module, HasSections):
            sections += module.sections(evaluated, draw)
    return sections


# ------------------------------------------------------------------ best of N


def _best_of_n(models: Sequence[Evaluation], draw: Draw) -> Section | None:
    """Curves of every set of prompts with correctness, beside scorers that need no model."""
    curves: dict[str, dict[str, Mapping[str, Any]]] = {}
    for module, evaluated in _by_benchmark(models):
        if isinstance(module, HasCurves):
            curves |= module.curves(evaluated)
    if not curves:
        return None
    rows: list[dict[str, Any]] = []
    for title, by_scorer in curves.items():
        rows += _picks(title, by_scorer)
    text = [
        "Expected correctness of the pick among K responses drawn without replacement, exact; "
        "prompts with only right or only wrong responses are left out."
    ]
    if any("majority vote" in by_scorer for by_scorer in curves.values()):
        text.append(f"The majority vote is over final numbers, by {majority.DRAWS} draws a prompt.")
    shown = {"Best-of-N curves": draw("best_of_n", figures.best_of_n, curves)}
    return Section("Best of N", text, shown, {"": rows})


def _picks(title: str, by_scorer: Mapping[str, Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """One row per scorer at the largest K, then the best and the blind pick."""
    any_curve = next(iter(by_scorer.values()))
    prompts = {"set": title, "prompts": any_curve["prompts"], "responses": any_curve["ks"][-1]}
    for scorer, curve in by_scorer.items():
        yield {
            **prompts,
            "picked by": scorer,
            "right, %": percent(curve["score"][-1]),
            "95 % interval": between(curve["low"][-1], curve["high"][-1]),
        }
    for scorer in ("oracle", "random"):
        yield {**prompts, "picked by": scorer, "right, %": percent(any_curve[scorer][-1])}


def arguments(argv: Sequence[str]) -> tuple[list[str], pathlib.Path]:
    """The folders and files that `evaluate compare` is to compare, and its page."""
    parser = errors.ArgumentParser(
        prog="python -m rewardjax.evaluate compare",
        description="Evaluations or training runs side by side: a table here, the rest on a page.",
    )
    parser.add_argument(
        "outputs",
        nargs="+",
        help="output folders of rewardjax.evaluate, the model in question first, "
        "and files of scores that others published; or workdirs of training runs",
    )
    parser.add_argument(
        "--output",
        help="the page, or a folder for its report.html, with the same numbers as files beside "
        "it where evaluations are compared (default: "
        "runs/eval/compare/A-and-B/report.html, after the folders' names)",
    )
    args = parser.parse_args(argv)
    # Taken for a path, an address would be a folder here.
    files.refuse_address(args.output or "")
    output = pathlib.Path(args.output or _default_output(args.outputs))
    if output.suffix != ".html":
        output /= "report.html"
    return args.outputs, output


def compare(outputs: Sequence[str], output: pathlib.Path) -> str:
    """Write the page about output folders and files of scores; returns the table of headlines."""
    first, *others = outputs
    compared = _read_all([first, *baselines.folders(first, others, output.parent)])
    write_about(compared, output)
    return comparison_files.side_by_side(compared)


def _default_output(folders: Sequence[str]) -> pathlib.Path:
    """A page of their own for every set of evaluations, so that none overwrites another."""
    name = "-and-".join(output_folder.model_name(folder) for folder in folders)
    # File systems end a name at 255 bytes, which five models pass.
    if len(name) > LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = f"{name[:LONGEST_NAME]}-{digest}"
    return output_folder.ROOT / "compare" / name / "report.html"
