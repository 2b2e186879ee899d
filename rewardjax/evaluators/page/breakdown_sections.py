"""The page's sections behind the headlines: categories, decided pairs, and what is missing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rewardjax.evaluators.benchmarks.pairs import pair_metrics
from rewardjax.evaluators.page import figures, pair_figures
from rewardjax.evaluators.page.cells import between, percent
from rewardjax.evaluators.page.drawing import Draw
from rewardjax.evaluators.page.evaluation import Evaluation
from rewardjax.evaluators.preferences import Pairs
from rewardjax.reporting.page import Section

# Two lines of panels; benchmarks with fewer pairs, whose bins are the noisiest, are in the table.
PANELS = 8


# ------------------------------------------------------------------ categories


def categories(model: Evaluation, draw: Draw) -> Section | None:
    """Each benchmark's parts, which make its headline, and its subsets."""
    shown, rows = {}, []
    for name, result in model.results.items():
        # Both: subsets need not divide the parts, as JudgeBench's Claude pairs do not.
        parts = result.parts | result.subsets
        intervals = model.intervals[name]["parts"] | model.intervals[name]["subsets"]
        bars: dict[str, dict[str, Any]] = {}
        for key, part in parts.items():
            if part.value is not None:
                shown_with = {"value": part.value, "n": part.n, "chance": result.chance_of(key)}
                bars[key] = shown_with | intervals[key]
        # A single bar would repeat the headline.
        if len(bars) > 1:
            title = f"{model.title(name)}: by category"
            shown[title] = draw(f"categories_{name}", figures.categories, bars, title=title)
        for key, part in parts.items():
            rows.append(
                {
                    "benchmark": model.title(name),
                    "part": key,
                    "score, %": percent(part.value),
                    "95 % interval": between(intervals[key]["low"], intervals[key]["high"]),
                    "chance, %": percent(result.chance_of(key)),
                    "examples": part.n,
                    "published": part.expected,
                    "ties": part.ties,
                    "unscored": part.unscored,
                }
            )
    if not rows:
        return None
    text = [
        "Intervals of the bars are Wilson's, which takes examples for independent; scores that are "
        "no share of examples have none."
    ]
    return Section("By category", text, shown, {"": rows})


# ------------------------------------------------------------------ decided pairs


def pairs(model: Evaluation, draw: Draw) -> Section | None:
    """Calibration, margins and length over the pairs that the benchmarks' labels decide."""
    if not model.pairs:
        return None
    rows = [_pair_row(title, decided) for title, decided in model.pairs.items()]
    shown_pairs = _largest(model.pairs, PANELS)
    shown = {
        "Calibration: how often the label agrees against the confidence of the preference, in bins "
        "of equal mass": draw("calibration", pair_figures.calibration, shown_pairs),
        "Margins: reward of the better response less that of the worse (dashed: mean)": draw(
            "margins", pair_figures.margins, shown_pairs
        ),
        "Margin against difference of lengths, within pairs (black: means with standard error)": (
            draw("length", pair_figures.length, shown_pairs)
        ),
    }
    text = [
        "All pairs of a better and a worse response that a benchmark's labels hold, each counting "
        "once. Reward per 100 tokens is the slope within pairs beyond what being better explains."
    ]
    return Section("Calibration, margins and length", text, shown, {"": rows})


def _pair_row(title: str, decided: Pairs) -> dict[str, Any]:
    # In these terms the better response is the chosen one, as in a training set.
    metrics = pair_metrics(
        decided.better,
        decided.worse,
        chosen_length=decided.better_length,
        rejected_length=decided.worse_length,
    )
    return {
        "benchmark": title,
        "pairs": metrics["pairs"],
        "accuracy, %": percent(metrics["accuracy"]),
        "ties, %": percent(metrics["ties"]),
        "mean margin": metrics["margin_mean"],
        "negative log likelihood": metrics["nll"],
        "Brier": metrics["brier"],
        "calibration error": metrics["ece"],
        "reward per 100 tokens": metrics["length_slope"],
        "preferring the longer, %": percent(metrics["length_accuracy"]),
    }


def _largest(by_title: Mapping[str, Pairs], most: int) -> dict[str, Pairs]:
    """The `most` benchmarks with the most pairs, in the order of the page."""
    by_size = sorted(by_title, key=lambda title: -len(by_title[title].better))
    return {title: by_title[title] for title in by_title if title in by_size[:most]}


# ------------------------------------------------------------------ what is missing


def incomplete(models: Sequence[Evaluation]) -> Section | None:
    """Everything that a number does not cover, with the first case of each kind as an example."""
    tables: dict[str, list[dict[str, Any]]] = {
        "Missing benchmarks": [],
        "Records that could not be read": [],
        "Responses without a score": [],
        "Notes": [],
    }
    # By name here, by heading on the page; the lists are the same ones.
    missing, unread, unscored, notes = tables.values()
    for model in models:
        missing += _missing_rows(model)
        unread += _unread_rows(model)
        unscored += _unscored_rows(model)
        notes += _note_rows(model)
    if not any(tables.values()):
        return None
    return Section("What is missing", [], {}, tables)


def _missing_rows(model: Evaluation) -> Iterator[dict[str, Any]]:
    for name, remedy in model.record["missing"].items():
        yield {"model": model.name, "benchmark": name, "how to get it": remedy}


def _unread_rows(model: Evaluation) -> Iterator[dict[str, Any]]:
    for name, records in model.record["left_out"].items():
        first = records[0]
        yield {
            "model": model.name,
            "benchmark": model.title(name),
            "records": len(records),
            "first": f"{first['where']}: {first['reason']}: {first['detail']}",
        }


def _unscored_rows(model: Evaluation) -> Iterator[dict[str, Any]]:
    for name, scores in model.scores.items():
        if not scores.unscored:
            continue
        first = scores.unscored[0]
        yield {
            "model": model.name,
            "benchmark": model.title(name),
            "responses": len(scores.unscored),
            "first": f"{first['id']}: {first['reason']}",
        }


def _note_rows(model: Evaluation) -> Iterator[dict[str, Any]]:
    for name, result in model.results.items():
        for note in result.notes:
            yield {"model": model.name, "benchmark": model.title(name), "note": note}
