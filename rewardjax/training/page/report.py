"""What a finished training run leaves for the eye: PNG plots and one static report.html."""

import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rewardjax import evaluators
from rewardjax.data import accounting
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.token_cache import TokenizedPairs
from rewardjax.evaluators.benchmarks import pairs as pair_evaluator
from rewardjax.reporting import learning_curve, metric_names, page, plots, time_plot
from rewardjax.reporting.learning_curve import Curve
from rewardjax.training import goodput, metrics
from rewardjax.training.held_out import HeldOut
from rewardjax.training.page import ceiling, hardest


def write(
    workdir: pathlib.Path,
    summary: dict[str, Any],
    held_out_sets: Sequence[HeldOut],
    tokenized: Mapping[str, TokenizedPairs],
    tokenizer: ChatTokenizer,
    time_spent: goodput.Account,
    names: Mapping[str, str],
) -> None:
    """Plots into `workdir/plots`, and `workdir/report.html` with all of them.

    tokenized: data sets by their names in the config. names: of sets, with where their examples
    come from (`console.names_of`).
    """
    config = json.loads((workdir / "config.json").read_text())
    run = json.loads((workdir / "run.json").read_text())
    # The page has a section for it.
    del run["data"]
    parts = [
        result(workdir, config, summary, held_out_sets, names),
        *hardest_pairs(held_out_sets, tokenizer, names),
        page.Section(
            "What was dropped, and why",
            tables={"": what_was_dropped(tokenized), "As the files were read": read_as(tokenized)},
        ),
    ]
    if names:
        parts.append(page.Section("Held-out sets", tables=figure_tables(summary, names)))
    parts += [curves_and_rewards(workdir, held_out_sets), where_time_went(workdir, time_spent)]
    page.write_report(
        workdir / "report.html",
        f"Reward model: {workdir.name}",
        run | {name: summary[name] for name in ("steps", "pairs", "seconds")},
        config=config,
        parts=parts,
    )


# ------------------------------------------------------------------ what came out


def result(
    workdir: pathlib.Path,
    config: Mapping[str, Any],
    summary: Mapping[str, Any],
    held_out_sets: Sequence[HeldOut],
    names: Mapping[str, str],
) -> page.Section:
    """What came out, in sentences and as curves from before the first step."""
    rows = metrics.read_metrics(workdir)
    ceilings = {}
    for held_out in held_out_sets:
        source = config["evals"][held_out.name]["source"]
        ceilings[held_out.name] = ceiling.of_set(source, held_out.pairs)
    text = [*verdicts(summary, names, rows), *label_errors(ceilings, names)]
    panels = learning_curve.measured(rows, learning_curves(config, names, ceilings))
    if not panels:
        return page.Section("Result", text)
    figure = workdir / "plots" / "learning.png"
    learning_curve.draw(rows, panels, figure)
    caption = (
        "Learning curves from before the first step, with 95% intervals. Dashed: what guessing "
        "scores. Dotted, where the right responses are known: what a model scores that always "
        "prefers them. A new reward head begins in a random direction, and may be far from chance "
        "on either side before the first step."
    )
    return page.Section("Result", text, {caption: figure})


def learning_curves(
    config: Mapping[str, Any],
    names: Mapping[str, str],
    ceilings: Mapping[str, float | None],
) -> dict[str, list[Curve]]:
    """Title of a panel -> its curves: a held-out set each, a benchmark each."""
    of_sets, of_benchmarks = [], []
    for name in config["evals"]:
        of_sets.append(
            Curve(f"{name}/accuracy", names[name], pair_evaluator.CHANCE, ceilings[name])
        )
    for name, section in config["benchmarks"].items():
        # Guessing scores a quarter where one of four responses is right.
        chance = evaluators.get(section["benchmark"]).CHANCE
        of_benchmarks.append(Curve(f"{name}/headline", names[name], chance))
    return {"Held-out accuracy": of_sets, "Benchmarks": of_benchmarks}


def verdicts(
    summary: Mapping[str, Any],
    names: Mapping[str, str],
    rows: Sequence[Mapping[str, Any]] = (),
) -> Iterator[str]:
    """What came out, a sentence for each set; `rows` of metrics say where it began."""
    for name, shown in names.items():
        accuracy, headline = summary.get(f"{name}/accuracy"), summary.get(f"{name}/headline")
        if accuracy is not None:
            low, high = summary[f"{name}/wilson_low"], summary[f"{name}/wilson_high"]
            chance = "which is better than chance, 50%"
            if low <= 0.5 <= high:
                chance = "which cannot be told from chance, 50%"
            elif high < 0.5:
                chance = "which is worse than chance, 50%: are the labels the wrong way round?"
            yield (
                f"On {shown} the model prefers the right response in {100 * accuracy:.1f}% of "
                f"{summary[f'{name}/pairs']:,} pairs (95% interval {100 * low:.1f} to "
                f"{100 * high:.1f}%), {chance}.{_before(rows, f'{name}/accuracy', '.1%')}"
            )
        elif headline is not None:
            before = _before(rows, f"{name}/headline", ".3f")
            yield f"On {shown} its headline is {headline:.3f}.{before}"
        else:
            yield f"On {shown} nothing could be measured: no pair there has a preference."
    if not names:
        yield "How good the model is was not measured: the run has no held-out set."


def _before(rows: Sequence[Mapping[str, Any]], figure: str, digits: str) -> str:
    """A sentence about the model before training, "" where nobody measured it."""
    for row in rows:
        if row["step"] == 0 and row.get(figure) is not None:
            return f" Before the first step it was {row[figure]:{digits}}."
    return ""


def label_errors(ceilings: Mapping[str, float | None], names: Mapping[str, str]) -> Iterator[str]:
    """What wrong labels in a set keep every model from, where that is known."""
    for name, share in ceilings.items():
        if share is not None and share < 1:
            yield (
                f"Of the labels of {names[name]}, {100 * share:.1f}% prefer the right response, by "
                "the oracle of the preference world: a model that is always right scores that much."
            )


def hardest_pairs(
    held_out_sets: Sequence[HeldOut], tokenizer: ChatTokenizer, names: Mapping[str, str]
) -> Iterator[page.Section]:
    """A section for the first set that has pairs with a preference, and none without one."""
    for held_out in held_out_sets:
        examples = hardest.hardest_and_surest(held_out, tokenizer)
        if examples:
            text = (
                f"From {names[held_out.name]}. Chosen is the response that the label prefers. Read "
                "some before believing a number: a label may be wrong."
            )
            yield page.Section("Hardest pairs", [text], examples=examples)
            return


# ------------------------------------------------------------------ what went in


def what_was_dropped(tokenized: Mapping[str, TokenizedPairs]) -> list[dict[str, Any]]:
    """A row for each data set."""
    rows = []
    for name, pairs in tokenized.items():
        row = {"set": name.removeprefix("evals.")}
        rows.append(row | {"what became of it": accounting.losses(pairs.manifest)})
    return rows


def read_as(tokenized: Mapping[str, TokenizedPairs]) -> list[dict[str, Any]]:
    """A row for each file of every set: what it was read as, and what became of its records."""
    rows = []
    for name, pairs in tokenized.items():
        for file in accounting.from_record(pairs.manifest["files"]):
            rows.append({"set": name.removeprefix("evals."), "file": file.sentence()})
    return rows


# ------------------------------------------------------------------ figures and time


def figure_tables(
    summary: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """A table for each held-out set and benchmark: figures, their values and what they mean."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for key, value in summary.items():
        name, slash, figure = key.partition("/")
        if not slash or name not in names:
            continue
        row = {"figure": metric_names.title(figure), "value": value}
        row["what it is"] = metric_names.meaning(figure, f"{name}/headline" in summary)
        tables.setdefault(names[name], []).append(row)
    return tables


def curves_and_rewards(workdir: pathlib.Path, held_out_sets: Sequence[HeldOut]) -> page.Section:
    """Curves of training, and three pictures of each held-out set."""
    folder = workdir / "plots"
    figures = {"Training": folder / "curves.png"}
    plots.curves(metrics.read_metrics(workdir), figures["Training"])
    for held_out in held_out_sets:
        figures |= draw(held_out, folder)
    return page.Section("Figures", figures=figures)


def draw(held_out: HeldOut, folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The three pictures of a held-out set: caption -> file."""
    name = held_out.name
    histogram, calibration, length = (
        folder / f"{name}_{picture}.png" for picture in ("rewards", "calibration", "length")
    )
    chosen, rejected = held_out.last_rewards().T
    plots.reward_histogram(chosen, rejected, histogram)
    decided = held_out.pairs.tie == 0  # a tie has no side to agree with
    bins = pair_evaluator.reliability(
        chosen[decided], rejected[decided], target=held_out.pairs.target[decided]
    )
    plots.reliability_diagram(bins, calibration)
    plots.reward_against_length(
        chosen, rejected, held_out.lengths[:, 0], held_out.lengths[:, 1], length
    )
    return {
        f"{name}: rewards": histogram,
        f"{name}: calibration": calibration,
        f"{name}: reward against length": length,
    }


def where_time_went(workdir: pathlib.Path, time_spent: goodput.Account) -> page.Section:
    """The account of the time, in a sentence, a picture and a table."""
    figure = workdir / "plots" / "time.png"
    time_plot.spent(time_spent.seconds, figure, "Where the time went, over all starts")
    return page.Section(
        "Time", [time_spent.sentence() + "."], {"Time": figure}, {"": times(time_spent)}
    )


def times(time_spent: goodput.Account) -> list[dict[str, Any]]:
    """One row per kind of time, in seconds and as a share of all of it."""
    rows = []
    for kind, seconds in time_spent.seconds.items():
        share = f"{100 * seconds / max(time_spent.wall_seconds, 1e-9):.1f}%"
        rows.append(
            {"spent on": kind.replace("_", " "), "seconds": round(seconds, 1), "share": share}
        )
    return rows
