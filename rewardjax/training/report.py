"""What a finished training run leaves for the eye: PNG plots and one static report.html."""

import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rewardjax.data import accounting
from rewardjax.data.chat import ChatTokenizer
from rewardjax.evaluators.benchmarks import pairs as pair_evaluator
from rewardjax.reporting import metric_names, page, plots, time_plot
from rewardjax.training import goodput, metrics
from rewardjax.training.held_out import HeldOut

EXAMPLES = 6  # half of them the model's worst pairs, half its best


def write(
    workdir: pathlib.Path,
    summary: dict[str, Any],
    held_out_sets: Sequence[HeldOut],
    tokenizer: ChatTokenizer,
    time_spent: goodput.Account,
    names: Mapping[str, str],
) -> None:
    """Plots into `workdir/plots`, and `workdir/report.html` with all of them.

    names: of sets, with where their examples come from (`console.names_of`).
    """
    folder = workdir / "plots"
    figures = {"Training": folder / "curves.png"}
    plots.curves(metrics.read_metrics(workdir), figures["Training"])
    for held_out in held_out_sets:
        figures |= draw(held_out, folder)
    figures["Time"] = folder / "time.png"
    time_plot.spent(time_spent.seconds, figures["Time"], "Where the time went, over all starts")
    examples = []
    if held_out_sets:
        examples = hardest_and_easiest(held_out_sets[0], tokenizer)
    run = json.loads((workdir / "run.json").read_text())
    data = run.pop("data")
    page.write_report(
        workdir / "report.html",
        f"Reward model: {workdir.name}",
        run
        | {name: summary[name] for name in ("steps", "pairs", "seconds")}
        | {"time": time_spent.sentence()},
        {
            "Held-out sets": table(summary, [each.name for each in held_out_sets], names),
            "Data": read_as(data),
            "Time": times(time_spent),
        },
        figures,
        examples,
        json.loads((workdir / "config.json").read_text()),
        parts=[page.Section("Result", text=list(verdicts(summary, names)))],
    )


def verdicts(summary: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    """What came out, a sentence for each set."""
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
                f"{100 * high:.1f}%), {chance}."
            )
        elif headline is not None:
            yield f"On {shown} its headline is {headline:.3f}."
        else:
            yield f"On {shown} nothing could be measured: no pair there has a preference."
    if not names:
        yield "How good the model is was not measured: the run has no held-out set."


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


def read_as(data: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One row per file of every data set: what it was read as, and what became of its records."""
    rows = []
    for name, records in data.items():
        for file in accounting.from_record(records):
            rows.append({"set": name, "file": file.sentence()})
    return rows


def times(time_spent: goodput.Account) -> list[dict[str, Any]]:
    """One row per kind of time, in seconds and as a share of all of it."""
    rows = []
    for kind, seconds in time_spent.seconds.items():
        share = f"{100 * seconds / max(time_spent.wall_seconds, 1e-9):.1f}%"
        rows.append(
            {"spent on": kind.replace("_", " "), "seconds": round(seconds, 1), "share": share}
        )
    return rows


def table(
    summary: Mapping[str, Any], sets: Sequence[str], names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """One row per figure with what it means, and one column per set."""
    rows: dict[str, dict[str, Any]] = {}
    for key, value in summary.items():
        name, slash, figure = key.partition("/")
        if slash and name in sets:
            row = {"figure": figure.replace("_", " "), "what it is": metric_names.PAIRS[figure]}
            rows.setdefault(figure, row)[names[name]] = value
    return list(rows.values())


def hardest_and_easiest(held_out: HeldOut, tokenizer: ChatTokenizer) -> list[dict[str, Any]]:
    """The pairs of a set with the lowest and the highest margins, as text."""
    chosen, rejected = held_out.last_rewards().T
    order = np.argsort(chosen - rejected).tolist()
    # As keys: in a set of fewer than EXAMPLES pairs the two ends overlap.
    selected = dict.fromkeys([*order[: EXAMPLES // 2], *order[-(EXAMPLES // 2) :]])
    examples = []
    for index in selected:
        group = held_out.groups[index]
        examples.append(
            {
                "prompt": tokenizer.decode(group.prefix),
                "chosen": tokenizer.decode(group.suffixes[0]),
                "rejected": tokenizer.decode(group.suffixes[1]),
                "chosen_reward": float(chosen[index]),
                "rejected_reward": float(rejected[index]),
            }
        )
    return examples
