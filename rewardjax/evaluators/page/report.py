"""The page about an evaluation, and about several models side by side: report.html from output folders of `rewardjax.evaluate`.

    python -m rewardjax.evaluators.page.report --folders runs/eval/A runs/eval/B --output report.html

Everything is computed from results.json and the stored scores; no model is needed. The first folder is the model that the page is about.
"""

import argparse
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rewardjax import evaluators
from rewardjax.evaluators import compare
from rewardjax.evaluators.benchmarks import best_of_n, majority, pairs
from rewardjax.evaluators.page import audit_sections, figures, table
from rewardjax.evaluators.page.audit_sections import Draw
from rewardjax.evaluators.page.evaluation import Evaluation, between, percent, read
from rewardjax.evaluators.records import Part, Result
from rewardjax.evaluators.stored_rewards import Scores
from rewardjax.reporting import page
from rewardjax.reporting.page import Section
from rewardjax.stats import intervals

# Easy, normal and hard on RM-Bench as arXiv 2507.01352 prints them, in percent.
RM_BENCH = {
    "V2-Llama-3.1-8B-40M": (97.6, 96.9, 93.5),
    "V2-Llama-3.1-8B": (97.0, 95.0, 86.5),
    "V2-Qwen3-8B": (91.9, 85.7, 70.1),
    "V2-Qwen3-0.6B": (90.3, 78.0, 54.8),
    "INF-ORM-70B": (92.1, 80.0, 54.0),
    "Skywork-Reward-27B-v0.2": (88.9, 71.9, 42.1),
}
# Published rows that the figure of headlines shows; the table has all of them.
SHOWN = (
    "Skywork-Reward-V2-Llama-3.1-8B-40M",
    "Skywork-Reward-V2-Llama-3.1-8B",
    "Skywork-Reward-V2-Qwen3-8B",
    "Skywork-Reward-V2-Qwen3-0.6B",
    "Skywork-Reward-Llama-3.1-8B-v0.2",
    "ArmoRM-Llama3-8B",
    "GPT-4o",
)
MANY = 8  # panels of a figure; benchmarks with fewer pairs are left to the tables


def write(folders: Sequence[str | pathlib.Path], output: str | pathlib.Path) -> None:
    """Write the page about the evaluations in `folders` to `output`, and its figures to the folder `plots` beside it.

    Models of the same name get a number. Raises FileNotFoundError for a folder without an evaluation."""
    models = _distinct([read(folder) for folder in folders])
    plots = pathlib.Path(output).parent / "plots"
    draw = functools.partial(_draw, plots)
    first = models[0]
    made = [make(models, draw) for make in (_headlines, _comparison, _rm_bench, _best_of_n)]
    made += [
        make(first, draw)
        for make in (
            _categories,
            _pairs,
            audit_sections.bias,
            audit_sections.counterfactual,
            audit_sections.overlap,
        )
    ]
    made.append(_incomplete(models))
    facts = {
        key: first.record[key]
        for key in ("path", "weights", "dtype", "max_length", "over_long", "seconds")
    }
    facts |= {"score contract": first.record["contract"]["fingerprint"]}
    page.write_report(
        output,
        "Evaluation: " + " and ".join(model.name for model in models),
        facts,
        parts=[one for one in made if one],
    )


def _draw(
    folder: pathlib.Path, name: str, function: Callable[..., None], *args: Any, **kwargs: Any
) -> pathlib.Path:
    """The file that a drawing function, which takes `path`, has written."""
    path = folder / f"{name}.png"
    function(*args, path=path, **kwargs)
    return path


def _distinct(models: list[Evaluation]) -> list[Evaluation]:
    seen: dict[str, int] = {}
    out = []
    for model in models:
        seen[model.name] = seen.get(model.name, 0) + 1
        out.append(
            model
            if seen[model.name] == 1
            else dataclasses.replace(model, name=f"{model.name} ({seen[model.name]})")
        )
    return out


# ---------------------------------------------------------------------------------------------------------------- results


def _headlines(models: list[Evaluation], draw: Draw) -> Section:
    titles = [evaluators.get(name).TITLE for name in evaluators.PAPER]
    rows, text = [], []
    for model in models:
        values, mean = table.paper_row(model.results)
        partial = [
            name in model.results and model.results[name].partial for name in evaluators.PAPER
        ]
        cells = [
            percent(None if value is None else value / 100, "*" if star else "")
            for value, star in zip(values, partial, strict=True)
        ]
        average = percent(None if mean is None else mean / 100, "*" if any(partial) else "")
        rows.append(
            {"model": model.name, **dict(zip(titles, cells, strict=True)), "average": average}
        )
        if mean is None:
            text.append(
                f"{model.name} has no average: {values.count(None)} of the seven benchmarks have no number."
            )
    if any("*" in (cell or "") for row in rows for cell in row.values()):
        text.append(
            "A star marks a number over less than the published benchmark: it must not be set beside the others. The next table "
            "says of what."
        )
    published = {"(chance)": table.CHANCE, **table.PUBLISHED}
    rows += [
        {
            "model": name,
            **{title: f"{x:.1f}" for title, x in zip(titles, given, strict=True)},
            "average": f"{np.mean(given):.1f}",
        }
        for name, given in published.items()
    ]
    shown = {}
    if any(name in model.results for model in models for name in evaluators.PAPER):
        ours = {
            model.name: [model.intervals.get(name) for name in evaluators.PAPER] for model in models
        }
        some = {name.replace("Skywork-Reward-", "SR-"): table.PUBLISHED[name] for name in SHOWN}
        caption = "Headline of each benchmark beside published rows of arXiv 2507.01352 (SR: Skywork-Reward)"
        shown[caption] = draw("headlines", figures.headlines, ours, some, table.CHANCE, titles)
    details = [row for model in models for row in _details(model, len(models) > 1)]
    explained = "Intervals are 95 %, by leaving out one of 20 groups of prompts at a time."
    return Section(
        "Benchmarks",
        [*text, explained],
        shown,
        {"The paper's table, %": rows, "What each number is made of": details},
    )


def _details(model: Evaluation, named: bool) -> Iterable[dict[str, Any]]:
    for name, result in model.results.items():
        found = model.intervals[name]
        yield {
            **({"model": model.name} if named else {}),
            "benchmark": model.title(name),
            "score, %": percent(result.headline, "*" if result.partial else ""),
            "95 % interval": between(found["low"], found["high"]),
            "chance, %": percent(result.chance),
            "ties": result.ties,
            "over": result.denominators,
            "rule": result.rule,
        }


def _comparison(models: list[Evaluation], draw: Draw) -> Section | None:
    if len(models) < 2:
        return None
    rows, forest, apart = [], [], []
    for name in dict.fromkeys(name for model in models for name in model.results):
        having = {model.name: model.scores[name] for model in models if name in model.scores}
        if len(having) < 2:
            continue
        title = next(model.title(name) for model in models if name in model.results)
        try:
            found = compare.models(
                evaluators.get(next(iter(having.values())).meta["benchmark"]), having
            )
        except ValueError as error:
            apart.append(f"{title}: {error}.")
            continue
        for one in found:
            rows.append(_compared(title, one))
            if one["headline_low"] is not None:
                label = (
                    title
                    if len(models) == 2
                    else f"{title}: {one['first model']} - {one['second model']}"
                )
                interval = {"low": one["headline_low"], "high": one["headline_high"]}
                forest.append(
                    {"label": label, "difference": one["headline_difference"], **interval}
                )
    text = [
        "Headlines differ by the jackknife over prompts. The other columns are over single examples, each scored by the benchmark's "
        "own rule: "
        "the interval draws whole prompts again; p is McNemar's exact test of the examples that one model gets more of than the other.",
        *apart,
    ]
    title = (
        f"Headlines: {models[0].name} less {models[1].name}"
        if len(models) == 2
        else "Differences of the headlines"
    )
    shown = {title: draw("differences", figures.differences, forest, title=title)} if forest else {}
    return Section("Comparison of models", text, shown, {"": rows})


def _compared(title: str, one: Mapping[str, Any]) -> dict[str, Any]:
    row = {"benchmark": title, "first": one["first model"], "second": one["second model"]}
    difference = one["headline_difference"]
    row["headline, points"] = None if difference is None else f"{100 * difference:+.1f}"
    row["interval"] = between(one["headline_low"], one["headline_high"])
    if one["n"]:
        row |= {
            "examples": one["n"],
            "prompts": one["prompts"],
            "per example, points": f"{100 * one['difference']:+.1f}",
        }
        row |= {
            "its interval": between(one["low"], one["high"]),
            "more by first": one["first_only"],
            "by second": one["second_only"],
        }
        row["p"] = f"{one['p']:.2g}"
    return row


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


def _best_of_n(models: list[Evaluation], draw: Draw) -> Section | None:
    curves: dict[str, dict[str, Any]] = {}
    for model in models:
        for name, result in model.results.items():
            for title, curve in _curves(model.title(name), result):
                by_name = curves.setdefault(title, {})
                by_name[model.name] = curve
                if len(by_name) == 1 and result.name == "best_of_n":
                    by_name |= baselines(model.scores[name], curve["ks"])
    if not curves:
        return None
    rows = []
    for title, by_name in curves.items():
        first = next(iter(by_name.values()))
        line = {"set": title, "prompts": first["prompts"], "responses": first["ks"][-1]}
        for who, curve in by_name.items():
            interval = between(curve["low"][-1], curve["high"][-1])
            rows.append(
                {
                    **line,
                    "picked by": who,
                    "right, %": percent(curve["score"][-1]),
                    "95 % interval": interval,
                }
            )
        rows += [
            {**line, "picked by": who, "right, %": percent(first[who][-1])}
            for who in ("oracle", "random")
        ]
    text = [
        "Expected correctness of the pick among K responses drawn without replacement, exact; prompts with only right or only wrong "
        "responses are left out."
    ]
    if any("majority vote" in by_name for by_name in curves.values()):
        text.append(f"The majority vote is over final numbers, by {majority.DRAWS} draws a prompt.")
    return Section(
        "Best of N",
        text,
        {"Best-of-N curves": draw("best_of_n", figures.best_of_n, curves)},
        {"": rows},
    )


def _curves(title: str, result: Result) -> Iterable[tuple[str, dict[str, Any]]]:
    """Best-of-K curves that a result holds, by the title of their prompts."""
    if result.name == "best_of_n" and result.other.get("curve"):
        yield title, result.other["curve"]
    if result.name == "ppe_correctness":
        for part, figures_of in result.other.items():
            yield f"PPE {part}", figures_of["best-of-K"]


def baselines(found: Scores, ks: Sequence[int]) -> dict[str, Any]:
    """Curves of scorers that need no model: the shortest response, and the majority of final answers where at least half have one."""
    told = [
        i
        for i, item in enumerate(found.items)
        if len(set(item.label["correct"])) == 2 and np.isfinite(found.rewards[i]).all()
    ]
    correct = [found.items[i].label["correct"] for i in told]
    curves = {"shortest response": best_of_n.curve([-found.tokens[i] for i in told], correct, ks)}
    answers = [found.items[i].label.get("answers", []) for i in told]
    given = [answer is not None for row in answers for answer in row]
    if given and np.mean(given) >= 0.5:
        curves["majority vote"] = majority.curve(answers, correct, ks)
    return curves


# ---------------------------------------------------------------------------------------------------------------- breakdown


def _categories(model: Evaluation, draw: Draw) -> Section | None:
    shown, rows = {}, []
    for name, result in model.results.items():
        parts = result.subsets if len(result.subsets) > 1 else result.parts
        bars = {key: _bar(part) for key, part in parts.items() if part.value is not None}
        if len(bars) > 1:
            title = f"{model.title(name)}: by category"
            shown[title] = draw(
                f"categories_{name}", figures.categories, bars, title=title, chance=result.chance
            )
        for key, part in (result.parts | result.subsets).items():
            cells = {
                "score, %": percent(part.value),
                "examples": part.n,
                "published": part.expected,
                "ties": part.ties,
            }
            rows.append(
                {"benchmark": model.title(name), "part": key, **cells, "unscored": part.unscored}
            )
    text = [
        "Intervals of the bars are Wilson's, which takes examples for independent; scores that are no share of examples have none."
    ]
    return Section("By category", text, shown, {"": rows}) if rows else None


def _bar(part: Part) -> dict[str, Any]:
    """Value, n and interval of a part; the interval only where the value is (about) a count over n."""
    assert part.value is not None
    count = part.value * part.n
    low, high = (
        intervals.wilson(round(count), part.n)
        if 0 <= part.value <= 1 and abs(count - round(count)) < 1e-6
        else (None, None)
    )
    return {"value": part.value, "n": part.n, "low": low, "high": high}


def _pairs(model: Evaluation, draw: Draw) -> Section | None:
    if not model.pairs:
        return None
    rows = []
    for title, one in model.pairs.items():
        found = pairs.pair_metrics(
            one.better, one.worse, chosen_length=one.better_length, rejected_length=one.worse_length
        )
        row = {
            "benchmark": title,
            "pairs": found["pairs"],
            "accuracy, %": percent(found["accuracy"]),
            "ties, %": percent(found["ties"]),
        }
        row |= {
            "mean margin": found["margin_mean"],
            "negative log likelihood": found["nll"],
            "Brier": found["brier"],
        }
        row |= {"calibration error": found["ece"], "reward per 100 tokens": found["length_slope"]}
        rows.append(row | {"preferring the longer, %": percent(found["length_accuracy"])})
    most = dict(sorted(model.pairs.items(), key=lambda item: -len(item[1].better))[:MANY])
    most = {title: one for title, one in model.pairs.items() if title in most}
    shown = {
        "Calibration: how often the label agrees against the confidence of the preference, in bins of equal mass": draw(
            "calibration", figures.calibration, most
        ),
        "Margins: reward of the better response less that of the worse (dashed: mean)": draw(
            "margins", figures.margins, most
        ),
        "Margin against difference of lengths, within pairs (black: means with standard error)": draw(
            "length", figures.length, most
        ),
    }
    text = [
        "All pairs of a better and a worse response that a benchmark's labels hold, each counting once. Reward per 100 tokens is "
        "the slope within "
        "pairs beyond what being better explains."
    ]
    return Section("Calibration, margins and length", text, shown, {"": rows})


def _incomplete(models: list[Evaluation]) -> Section | None:
    missing = [
        {"model": m.name, "benchmark": name, "how to get it": why}
        for m in models
        for name, why in m.record["missing"].items()
    ]
    left_out = [
        {
            "model": m.name,
            "benchmark": m.title(name),
            "records": len(rows),
            "first": f"{rows[0]['where']}: {rows[0]['reason']}: {rows[0]['detail']}",
        }
        for m in models
        for name, rows in m.record["left_out"].items()
    ]
    unscored = [
        {
            "model": m.name,
            "benchmark": m.title(name),
            "responses": len(one.unscored),
            "first": f"{one.unscored[0]['id']}: {one.unscored[0]['reason']}",
        }
        for m in models
        for name, one in m.scores.items()
        if one.unscored
    ]
    notes = [
        {"model": m.name, "benchmark": m.title(name), "note": note}
        for m in models
        for name, one in m.results.items()
        for note in one.notes
    ]
    tables = {
        "Missing benchmarks": missing,
        "Records that could not be read": left_out,
        "Responses without a score": unscored,
        "Notes": notes,
    }
    return Section("What is missing", [], {}, tables) if any(tables.values()) else None


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
