"""The page about an evaluation, and about several models side by side: report.html.

    python -m rewardjax.evaluators.page.report --folders runs/eval/A runs/eval/B --output B.html

Everything is computed from results.json and the stored scores of output folders of
`rewardjax.evaluate`; no model is needed. The first folder is the model that the page is about.
"""

import argparse
import dataclasses
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rewardjax import evaluators
from rewardjax.evaluators import compare
from rewardjax.evaluators.benchmarks import best_of_n, majority
from rewardjax.evaluators.page import (
    audit_sections,
    breakdown_sections,
    figures,
    headline_sections,
)
from rewardjax.evaluators.page.cells import between, percent
from rewardjax.evaluators.page.drawing import Draw, draw_into
from rewardjax.evaluators.page.evaluation import Evaluation, read
from rewardjax.evaluators.records import Result
from rewardjax.evaluators.stored_rewards import Scores
from rewardjax.reporting import page
from rewardjax.reporting.page import Section

# Sections about all models, then those about the first, whose detail would drown a comparison.
OF_ALL = (headline_sections.headlines, headline_sections.comparison)
OF_THE_FIRST = (
    breakdown_sections.categories,
    breakdown_sections.pairs,
    audit_sections.bias,
    audit_sections.counterfactual,
    audit_sections.overlap,
)
# Fields of the evaluation's record that say how its numbers came about.
FACTS = ("path", "weights", "dtype", "max_length", "over_long", "seconds")


def write(folders: Sequence[str | pathlib.Path], output: str | pathlib.Path) -> None:
    """Write the page about the evaluations in `folders`, and its figures to `plots` beside it.

    Models of the same name get a number. Raises FileNotFoundError for a folder without an
    evaluation.
    """
    models = _numbered([read(folder) for folder in folders])
    first = models[0]
    draw = draw_into(pathlib.Path(output).parent / "plots")
    sections = [section(models, draw) for section in (*OF_ALL, _rm_bench, _best_of_n)]
    sections += [section(first, draw) for section in OF_THE_FIRST]
    sections.append(breakdown_sections.incomplete(models))
    facts = {key: first.record[key] for key in FACTS}
    facts["score contract"] = first.record["contract"]["fingerprint"]
    page.write_report(
        output,
        "Evaluation: " + " and ".join(model.name for model in models),
        facts,
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


# Easy, normal and hard on RM-Bench as arXiv 2507.01352 prints them, in percent.
RM_BENCH = {
    "V2-Llama-3.1-8B-40M": (97.6, 96.9, 93.5),
    "V2-Llama-3.1-8B": (97.0, 95.0, 86.5),
    "V2-Qwen3-8B": (91.9, 85.7, 70.1),
    "V2-Qwen3-0.6B": (90.3, 78.0, 54.8),
    "INF-ORM-70B": (92.1, 80.0, 54.0),
    "Skywork-Reward-27B-v0.2": (88.9, 71.9, 42.1),
}


def _rm_bench(models: list[Evaluation], draw: Draw) -> Section | None:
    levels = ("easy", "normal", "hard")
    found, matrices, rows = {}, {}, []
    for model in models:
        for name, result in model.results.items():
            if result.name != "rm_bench" or result.headline is None:
                continue
            values = {level: result.other[level] for level in levels}
            for level in levels:
                whole = compare.headline(_Level(level), model.scores[name])
                values |= {f"{level}_low": whole["low"], f"{level}_high": whole["high"]}
            found[model.name] = {
                key: np.nan if value is None else value for key, value in values.items()
            }
            matrices[model.name] = np.mean(list(result.other["matrix"].values()), axis=0)
            gap = {"easy - hard, points": f"{100 * (values['easy'] - values['hard']):.1f}"}
            rows.append(
                {"model": model.name, **{level: percent(values[level]) for level in levels}, **gap}
            )
    if not found:
        return None
    rows += [
        {
            "model": f"{n} (published)",
            **dict(zip(levels, v, strict=True)),
            "easy - hard, points": f"{v[0] - v[2]:.1f}",
        }
        for n, v in RM_BENCH.items()
    ]
    rows = [
        {key: f"{value:.1f}" if isinstance(value, float) else value for key, value in row.items()}
        for row in rows
    ]
    text = [
        "Hard: the right response is written more plainly than the wrong one, so a model that pays for style falls from easy to hard. Gray "
        "lines are published. Above the diagonal of the matrix is hard, below it easy."
    ]
    shown = {
        "Accuracy by difficulty, and by style of both responses": draw(
            "rm_bench", figures.difficulty, found, RM_BENCH, matrices
        )
    }
    return Section("RM-Bench: the difficulty gap", text, shown, {"": rows})


@dataclasses.dataclass(frozen=True)
class _Level:
    """RM-Bench with one level of difficulty as its headline."""

    level: str

    def summarize(self, items: Any, rewards: Any) -> Result:
        result = evaluators.get("rm_bench").summarize(items, rewards)
        return dataclasses.replace(result, headline=result.other[self.level])


# ------------------------------------------------------------------ best of N


def _best_of_n(models: Sequence[Evaluation], draw: Draw) -> Section | None:
    """Curves of every set of prompts with correctness, beside scorers that need no model."""
    curves = _curves_by_prompts(models)
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


def _curves_by_prompts(models: Sequence[Evaluation]) -> dict[str, dict[str, Any]]:
    """{title of the prompts: {scorer: its `best_of_n.curve`}}, models before baselines."""
    curves: dict[str, dict[str, Any]] = {}
    for model in models:
        for name, result in model.results.items():
            for title, curve in _curves(model.title(name), result):
                by_scorer = curves.setdefault(title, {})
                by_scorer[model.name] = curve
                # The baselines score no text by a model, so those of the first are those of all.
                if len(by_scorer) == 1 and result.name == "best_of_n":
                    by_scorer |= baselines(model.scores[name], curve["ks"])
    return curves


def _picks(title: str, by_scorer: dict[str, Any]) -> Iterable[dict[str, Any]]:
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


def _curves(title: str, result: Result) -> Iterable[tuple[str, dict[str, Any]]]:
    """Best-of-K curves that a result holds, by the title of their prompts."""
    if result.name == "best_of_n" and result.other.get("curve"):
        yield title, result.other["curve"]
    if result.name == "ppe_correctness":
        for part, figures_of in result.other.items():
            yield f"PPE {part}", figures_of["best-of-K"]


def baselines(scores: Scores, ks: Sequence[int]) -> dict[str, Any]:
    """Curves of scorers that need no model: the shortest response, and the majority of answers.

    The majority vote only where at least half of the responses have a final answer: with fewer, it
    would mostly be a vote among a few.
    """
    # The prompts that the model's own curve is over, so that the curves can be compared.
    decided = []
    for i, item in enumerate(scores.items):
        right_and_wrong = len(set(item.label["correct"])) == 2
        if right_and_wrong and np.isfinite(scores.rewards[i]).all():
            decided.append(i)
    correct = [scores.items[i].label["correct"] for i in decided]
    # Best-of-K picks the highest number: that of the shortest response.
    brevity = [-scores.tokens[i] for i in decided]
    curves = {"shortest response": best_of_n.curve(brevity, correct, ks)}
    answers = [scores.items[i].label.get("answers", []) for i in decided]
    answered: list[bool] = []
    for of_prompt in answers:
        answered += [answer is not None for answer in of_prompt]
    if answered and np.mean(answered) >= 0.5:
        curves["majority vote"] = majority.curve(answers, correct, ks)
    return curves


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m rewardjax.evaluators.page.report",
        description="The page about one or more evaluations.",
    )
    parser.add_argument(
        "--folders",
        nargs="+",
        required=True,
        help="output folders of rewardjax.evaluate, the model in question first",
    )
    parser.add_argument("--output", required=True, help="the page: a name ending with .html")
    args = parser.parse_args()
    write(args.folders, args.output)
    print(args.output)


if __name__ == "__main__":
    main()
