"""Results in Markdown: the paper's table with the model's row, and what every number is made of."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rewardjax import evaluators
from rewardjax.evaluators import reading
from rewardjax.evaluators.page.cells import DASH, between, count, percent, star
from rewardjax.evaluators.page.evaluation import Evaluation
from rewardjax.evaluators.records import Part, Result
from rewardjax.evaluators.rules import average
from rewardjax.evaluators.uncertainty import METHODS
from rewardjax.reporting.table_formats import markdown

# arXiv 2507.01352, the table of seven benchmarks, in the order of evaluators.PAPER, in percent.
# Its averages are plain means, which are computed here.
PUBLISHED = {
    "Llama-3-OffsetBias-RM-8B": (89.0, 64.8, 59.2, 64.1, 57.8, 71.3, 63.5),
    "ArmoRM-Llama3-8B": (90.4, 66.5, 60.6, 60.6, 64.6, 69.2, 59.7),
    "InternLM2-20B-reward": (90.2, 56.3, 61.0, 63.0, 62.9, 72.1, 64.3),
    "Skywork-Reward-Llama-3.1-8B-v0.2": (93.1, 71.8, 62.2, 62.5, 66.6, 64.7, 62.9),
    "Skywork-Reward-Gemma-2-27B-v0.2": (94.3, 75.3, 63.6, 61.9, 69.4, 67.6, 66.5),
    "LDL-Reward-Gemma-2-27B": (95.0, 72.5, 62.4, 63.9, 67.9, 71.0, 64.2),
    "Llama-3.1-Nemotron-70B": (93.9, 76.7, 64.2, 63.2, 64.9, 72.2, 65.8),
    "INF-ORM-Llama3.1-70B": (95.1, 76.5, 64.2, 64.4, 70.5, 75.4, 70.2),
    "GPT-4o": (86.7, 64.9, 67.7, 67.1, 73.8, 73.1, 59.8),
    "Claude-3.5-Sonnet": (84.2, 64.7, 67.3, 69.2, 70.6, 74.5, 64.8),
    "Skywork-Reward-V2-Qwen3-0.6B": (85.2, 61.3, 65.3, 68.3, 74.5, 74.4, 67.6),
    "Skywork-Reward-V2-Qwen3-1.7B": (90.3, 68.3, 67.6, 70.5, 78.1, 78.7, 72.9),
    "Skywork-Reward-V2-Qwen3-4B": (93.4, 75.5, 69.5, 74.7, 80.6, 81.6, 69.3),
    "Skywork-Reward-V2-Qwen3-8B": (93.7, 78.2, 70.6, 75.1, 81.2, 82.6, 73.4),
    "Skywork-Reward-V2-Llama-3.2-1B": (89.9, 64.3, 66.6, 67.4, 76.7, 76.4, 65.0),
    "Skywork-Reward-V2-Llama-3.2-3B": (93.0, 74.7, 69.1, 72.1, 80.5, 81.1, 69.2),
    "Skywork-Reward-V2-Llama-3.1-8B": (96.4, 84.1, 77.3, 83.4, 86.4, 92.8, 80.0),
    "Skywork-Reward-V2-Llama-3.1-8B-40M": (97.8, 86.5, 79.8, 87.2, 89.3, 96.0, 83.4),
}


def chance_row() -> tuple[float, ...]:
    """What a scorer that knows nothing gets on each of the paper's benchmarks, in percent."""
    row = []
    for name in evaluators.PAPER:
        chance = evaluators.get(name).CHANCE
        assert chance is not None, f"{name} is in the paper's table and has a fixed chance level"
        row.append(100 * chance)
    return tuple(row)


def comparable(models: Sequence[Mapping[str, Result]]) -> list[bool]:
    """For each of the paper's benchmarks, whether published numbers may stand beside ours."""
    beside = []
    for name in evaluators.PAPER:
        results = [results_of[name] for results_of in models if name in results_of]
        beside.append(all(result.comparable for result in results))
    return beside


def reference_rows(comparable: Sequence[bool]) -> dict[str, list[float | None]]:
    """Chance, and the published rows where they may stand beside ours, None elsewhere."""
    rows: dict[str, list[float | None]] = {"(chance)": [*chance_row()]}
    if any(comparable):
        for name, scores in PUBLISHED.items():
            rows[name] = [
                score if beside else None for score, beside in zip(scores, comparable, strict=True)
            ]
    return rows


def whole_average(scores: Sequence[float | None]) -> float | None:
    """The mean of all seven; over fewer benchmarks it is another quantity than the paper's."""
    if None in scores:
        return None
    return average(scores)


def paper_row(results: Mapping[str, Result]) -> tuple[list[float | None], float | None]:
    """Headlines in percent in the order of the paper's columns, and their mean.

    None where there is no headline.
    """
    scores: list[float | None] = []
    for name in evaluators.PAPER:
        result = results.get(name)
        if result is None or result.headline is None:
            scores.append(None)
        else:
            scores.append(100 * result.headline)
    return scores, whole_average(scores)


def paper_table(model: str, results: Mapping[str, Result]) -> str:
    """The model's row, chance, and the published rows where they may stand beside it.

    A star marks a number over less than the whole benchmark; below the table it is said of what.
    """
    partial = [name for name in evaluators.PAPER if name in results and results[name].partial]
    scores, mean = paper_row(results)
    cells = [
        _decimal(score, starred=name in partial)
        for name, score in zip(evaluators.PAPER, scores, strict=True)
    ]
    rows = [[f"**{model}**", *cells, _decimal(mean, starred=bool(partial))]]
    for name, reference in reference_rows(comparable([results])).items():
        rows.append([name, *map(_decimal, reference), _decimal(whole_average(reference))])
    titles = [evaluators.get(name).TITLE for name in evaluators.PAPER]
    paragraphs = [markdown(["model", *titles, "average"], rows)]
    for name in partial:
        title, denominators = evaluators.get(name).TITLE, results[name].denominators
        # Escaped, since a star at the start of a line is a bullet.
        paragraphs.append(f"\\* {title}: partial, over {denominators}")
    if mean is None:
        missing = scores.count(None)
        paragraphs.append(f"No average: {missing} of the seven benchmarks have no number.")
    return "\n\n".join(paragraphs)


def headline_table(model: Evaluation) -> str:
    """One row per benchmark, the paper's or not, with the interval of its headline."""
    rows = []
    for name, result in model.results.items():
        interval = model.intervals[name]
        rows.append(
            [
                model.title(name),
                percent(result.headline, star(result.partial)) or DASH,
                between(interval["low"], interval["high"]) or DASH,
                percent(result.chance) or DASH,
                result.denominators,
            ]
        )
    return markdown(["benchmark", "score, %", "95 % interval", "chance, %", "over"], rows)


def tables(model: Evaluation) -> str:
    """The row of every benchmark, and the paper's table where one of its benchmarks is there."""
    paragraphs = [headline_table(model)]
    # Without any of the seven it would be a line of dashes above eighteen published ones.
    if set(model.results) & set(evaluators.PAPER):
        paragraphs.append(paper_table(model.name, model.results))
    return "\n\n".join(paragraphs)


def page(model: Evaluation) -> str:
    """The whole of results.md."""
    paragraphs = [f"# {model.name}", tables(model)]
    paragraphs += [_section(model, name) for name in model.results]
    missing = model.record["missing"]
    if missing:
        paragraphs.append("## Missing")
        paragraphs.append("\n".join(f"- **{name}**: {why}" for name, why in missing.items()))
    left_out = {}
    for name, rows in model.record["left_out"].items():
        left_out[name] = reading.unread(rows)
    methods = {f"intervals of the {name}": method for name, method in METHODS.items()}
    facts = {**model.facts, **methods, **left_out}
    paragraphs.append("## How it was scored")
    paragraphs.append("\n".join(f"- {name}: {value}" for name, value in facts.items()))
    return "\n\n".join(paragraphs) + "\n"


def _section(model: Evaluation, name: str) -> str:
    """One benchmark: headline with its interval, parts, subsets, other numbers, notes."""
    result, intervals = model.results[name], model.intervals[name]
    heading = f"{model.title(name)}: {percent(result.headline) or DASH}"
    reach = between(intervals["low"], intervals["high"])
    if reach is not None:
        heading += f" ({reach})"
    if result.partial:
        heading += f", partial: over {result.denominators}"
    rule = result.rule[0].upper() + result.rule[1:]
    if result.chance is not None:
        rule += f", chance {percent(result.chance)}"
    paragraphs = [f"## {heading}", f"{rule}."]
    for number, parts in (("parts", result.parts), ("subsets", result.subsets)):
        if parts:
            paragraphs.append(_parts(number.removesuffix("s"), parts, intervals[number]))
    scalars = [[path, f"{value:.4g}"] for path, value in _scalars(result.other)]
    if scalars:
        paragraphs.append(markdown(["figure", "value"], scalars))
    paragraphs += [f"Note: {note}." for note in result.notes]
    return "\n\n".join(paragraphs)


def _parts(
    kind: str, parts: Mapping[str, Part], intervals: Mapping[str, Mapping[str, float | None]]
) -> str:
    """A table of parts or subsets with all their counts: a score without its n says nothing."""
    rows = []
    for name, part in parts.items():
        reach = between(intervals[name]["low"], intervals[name]["high"])
        counts = (part.n, part.expected, part.ties, part.unscored, part.unused)
        rows.append([name, percent(part.value) or DASH, reach or DASH, *map(count, counts)])
    columns = [kind, "score", "95 % interval"]
    return markdown([*columns, "examples", "published", "ties", "unscored", "unused"], rows)


def _scalars(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Numbers in nested dicts, by the path to them; curves and matrices are for the report."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{name}: ")
        # True and False are integers to Python, but no figures.
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{prefix}{name}", value


def _decimal(percentage: float | None, starred: bool = False) -> str:
    if percentage is None:
        return DASH
    return f"{percentage:.1f}{star(starred)}"
