"""The page's sections about headlines: the paper's table, and what every number is made of."""

from collections.abc import Iterator, Sequence
from typing import Any

from rewardjax import evaluators
from rewardjax.evaluators.page import figures, table
from rewardjax.evaluators.page.cells import between, percent, star
from rewardjax.evaluators.page.drawing import Draw
from rewardjax.evaluators.page.evaluation import Evaluation
from rewardjax.reporting.page import Section

# Published rows that the figure shows, the paper's models and the best of the others: all eighteen
# would leave no room for a bar. The table has all of them.
SHOWN = (
    "Skywork-Reward-V2-Llama-3.1-8B-40M",
    "Skywork-Reward-V2-Llama-3.1-8B",
    "Skywork-Reward-V2-Qwen3-8B",
    "Skywork-Reward-V2-Qwen3-0.6B",
    "Skywork-Reward-Llama-3.1-8B-v0.2",
    "ArmoRM-Llama3-8B",
    "GPT-4o",
)


# ------------------------------------------------------------------ the paper's table


def headlines(models: Sequence[Evaluation], draw: Draw) -> Section:
    """The seven benchmarks of the paper beside its published rows, and every number's making."""
    text = []
    for model in models:
        scores, mean = table.paper_row(model.results)
        if mean is None:
            missing = scores.count(None)
            text.append(
                f"{model.name} has no average: {missing} of the seven benchmarks have no number."
            )
    if any(_partial(model) for model in models):
        text.append(
            "A star marks a number over less than the published benchmark. The next table says of "
            "what."
        )
    comparable = table.comparable([model.results for model in models])
    without = [title for title, beside in zip(_titles(), comparable, strict=True) if not beside]
    if without:
        text.append(
            f"No published numbers stand beside {', '.join(without)}: what was evaluated there is "
            "a part of the benchmark, and easier or harder than the whole."
        )
    text.append(
        "Intervals are 95 %, by drawing the prompts of each subset again (stratified bootstrap)."
    )

    titles = _titles()
    rows = [_evaluated_row(model, titles) for model in models]
    rows += _published_rows(titles, comparable)
    details: list[dict[str, Any]] = []
    for model in models:
        details += _details(model, several=len(models) > 1)
    shown = {}
    # Without any of the paper's benchmarks, every panel would only say "missing".
    if any(set(evaluators.PAPER) & set(model.results) for model in models):
        caption = "Headline of each benchmark"
        if any(comparable):
            caption += " beside published rows of arXiv 2507.01352 (SR: Skywork-Reward)"
        shown[caption] = draw("headlines", _draw_headlines, models, titles, comparable)
    tables = {"The paper's benchmarks, %": rows, "What each number is made of": details}
    return Section("Benchmarks", text, shown, tables)


def _titles() -> list[str]:
    return [evaluators.get(name).TITLE for name in evaluators.PAPER]


def _partial(model: Evaluation) -> list[str]:
    """The paper's benchmarks whose headline is over a part of the published examples."""
    names = []
    for name in evaluators.PAPER:
        result = model.results.get(name)
        if result is not None and result.partial and result.headline is not None:
            names.append(name)
    return names


def _evaluated_row(model: Evaluation, titles: Sequence[str]) -> dict[str, Any]:
    scores, mean = table.paper_row(model.results)
    partial = _partial(model)
    # An average of numbers of which one is partial is no more comparable than that one. It comes
    # before the seven: at the end of the row a narrow window would hide it.
    row = {"model": model.name, "average": _with_star(mean, starred=bool(partial))}
    for name, title, score in zip(evaluators.PAPER, titles, scores, strict=True):
        row[title] = _with_star(score, starred=name in partial)
    return row


def _with_star(score: float | None, starred: bool) -> str | None:
    """score: in percent."""
    if score is None:
        return None
    return f"{score:.1f}{star(starred)}"


def _published_rows(titles: Sequence[str], comparable: Sequence[bool]) -> Iterator[dict[str, Any]]:
    # Chance is a row, since it differs from benchmark to benchmark.
    for name, scores in table.reference_rows(comparable).items():
        cells = {
            title: _with_star(score, False) for title, score in zip(titles, scores, strict=True)
        }
        yield {"model": name, "average": _with_star(table.whole_average(scores), False), **cells}


def _draw_headlines(
    models: Sequence[Evaluation], titles: Sequence[str], comparable: Sequence[bool], path: Any
) -> None:
    intervals = {}
    for model in models:
        intervals[model.name] = [model.intervals.get(name) for name in evaluators.PAPER]
    # The full names would take more room than the first panel.
    rows = table.reference_rows(comparable)
    published = {
        name.replace("Skywork-Reward-", "SR-"): rows[name] for name in SHOWN if name in rows
    }
    figures.headlines(intervals, published, table.chance_row(), titles, path)


def _details(model: Evaluation, several: bool) -> Iterator[dict[str, Any]]:
    """One row per benchmark, in the paper or not; the model's name only where there are several."""
    for name, result in model.results.items():
        interval = model.intervals[name]
        row: dict[str, Any] = {}
        if several:
            row["model"] = model.name
        yield row | {
            "benchmark": model.title(name),
            "score, %": percent(result.headline, star(result.partial)),
            "95 % interval": between(interval["low"], interval["high"]),
            "chance, %": percent(result.chance),
            "ties": result.ties,
            "over": result.denominators,
            "rule": result.rule,
        }
