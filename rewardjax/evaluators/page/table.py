"""Results as tables: the paper's row beside the rows it published, and every number with what it is made of. Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rewardjax import evaluators
from rewardjax.evaluators.records import Part, Result, average

# arXiv 2507.01352, the table of seven benchmarks, in the order of evaluators.PAPER. Averages are plain means and are computed here.
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
CHANCE = (50.0, 20.8, 50.0, 50.0, 40.5, 50.0, 50.0)


def paper_row(results: Mapping[str, Result]) -> tuple[list[float | None], float | None]:
    """Headlines in percent in the order of the paper's columns, None where there is none; and their mean if all seven are there."""
    found = [results[name].headline if name in results else None for name in evaluators.PAPER]
    percent = [None if value is None else 100 * value for value in found]
    return percent, None if None in percent else average(percent)


def paper_table(model: str, results: Mapping[str, Result]) -> str:
    """The model's row, chance, and the published rows. A star marks a number over less than the whole benchmark, and says below of what."""
    values, mean = paper_row(results)
    partial = {
        name: results[name]
        for name in evaluators.PAPER
        if name in results and results[name].partial
    }
    mark = lambda name, value: (
        "–" if value is None else f"{value:.1f}" + ("*" if name in partial else "")
    )
    row = [
        f"**{model}**",
        *map(mark, evaluators.PAPER, values),
        "–" if mean is None else f"{mean:.1f}" + ("*" if partial else ""),
    ]
    published = [
        [name, *(f"{x:.1f}" for x in (*given, average(given)))]
        for name, given in {"(chance)": CHANCE, **PUBLISHED}.items()
    ]
    titles = [evaluators.get(name).TITLE for name in evaluators.PAPER]
    lines = [markdown(["model", *titles, "average"], [row, *published])]
    lines += [
        f"\\* {evaluators.get(name).TITLE}: partial, over {result.denominators}"
        for name, result in partial.items()
    ]
    if mean is None:
        lines.append(
            f"No average: {sum(value is None for value in values)} of the seven benchmarks have no number."
        )
    return "\n\n".join(lines)


def page(
    model: str, results: Mapping[str, Result], missing: Mapping[str, str], facts: Mapping[str, Any]
) -> str:
    """The whole of results.md."""
    sections = [f"# {model}", paper_table(model, results)]
    sections += [section(name, result) for name, result in results.items()]
    if missing:
        sections += [
            "## Missing",
            "\n".join(f"- **{name}**: {why}" for name, why in missing.items()),
        ]
    sections += [
        "## How it was scored",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()),
    ]
    return "\n\n".join(sections) + "\n"


def section(name: str, result: Result) -> str:
    """One benchmark: headline, parts, subsets, other numbers, notes."""
    score = lambda value: "–" if value is None else f"{100 * value:.1f}"
    label = f", partial: over {result.denominators}" if result.partial else ""
    chance = "" if result.chance is None else f", chance {score(result.chance)}"
    title = evaluators.get(result.name).TITLE + (f" ({name})" if name != result.name else "")
    lines = [
        f"## {title}: {score(result.headline)}{label}",
        f"{result.rule[0].upper()}{result.rule[1:]}{chance}.",
    ]
    lines.append(_parts("part", result.parts))
    if result.subsets:
        lines.append(_parts("subset", result.subsets))
    if scalars := dict(_scalars(result.other)):
        lines.append(
            markdown(
                ["figure", "value"], [[name, f"{value:.4g}"] for name, value in scalars.items()]
            )
        )
    lines += [f"Note: {note}." for note in result.notes]
    return "\n\n".join(lines)


def _parts(kind: str, parts: Mapping[str, Part]) -> str:
    columns = [kind, "score", "examples", "published", "ties", "unscored", "unused"]
    cells = lambda part: (part.n, part.expected, part.ties, part.unscored, part.unused)
    show = lambda value: "–" if value is None else f"{value:,}"
    rows = [
        [name, "–" if p.value is None else f"{100 * p.value:.1f}", *map(show, cells(p))]
        for name, p in parts.items()
    ]
    return markdown(columns, rows)


def _scalars(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, float]]:
    """Numbers in nested dicts, by the path to them; curves and matrices are for the report."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{name}: ")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{prefix}{name}", value


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left, the others to the right."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
