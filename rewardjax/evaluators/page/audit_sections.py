"""The report's sections about bias, counterfactual changes and overlap, from an evaluation's record."""

import pathlib
from collections.abc import Callable

from rewardjax.evaluators.audits import style
from rewardjax.evaluators.page import figures
from rewardjax.evaluators.page.evaluation import Evaluation, between, percent, signed
from rewardjax.reporting.page import Section

Draw = Callable[
    ..., pathlib.Path
]  # (name of the file, drawing function, its arguments) -> the file


def bias(model: Evaluation, draw: Draw) -> Section | None:
    """What reward goes with inside prompts, as the responses are and as best-of-n picks them."""
    found = {
        model.title(name): one for name, one in model.record["bias"].items() if one["features"]
    }
    if not found:
        return None
    rank = lambda item: (item[1]["selected_prompts"] > 0, item[1]["prompts"])
    shown_sets = dict(sorted(found.items(), key=rank, reverse=True)[: figures.COLUMNS])
    rows = []
    for title, one in found.items():
        for feature, entry in one["features"].items():
            row = {"set": title, "feature": feature, "has any, %": percent(entry["share"])}
            for where, label in (("audit", "as they are"), ("selected", f"picked of {one['n']}")):
                here = entry[where] or {}
                row[f"correlation, {label}"] = signed(here.get("correlation"))
                row[f"others fixed, {label}"] = signed(here.get("partial"))
                row[f"interval, {label}"] = between(
                    here.get("partial_low"), here.get("partial_high"), 1, 2
                )
            shift = entry["shift"]
            row["shift of the pick"] = signed(shift["value"][-1])
            row["K"] = shift["ks"][-1]
            rows.append(row)
    text = [
        "What reward goes with inside a prompt, on the responses as they are and on those that best-of-n picks: a bias that is "
        "absent from the "
        "first and present in the second comes back as soon as the model is used to choose. Filled marks are plain correlations; "
        "hollow ones "
        "hold the other features, and correctness where it is known, fixed. Intervals are 95 %, prompts drawn again.",
        "Shift: the pick of best-of-K less the average response, in standard deviations within prompts; dashed: the same when "
        "picking by the "
        "label, which is the part that quality asks for.",
        *(f"{name}: {meaning}." for name, meaning in style.FEATURES.items()),
    ]
    shown = {
        "Reward and style within prompts": draw("bias", figures.bias, shown_sets),
        "What choosing by reward does to style": draw("selection", figures.selection, shown_sets),
    }
    return Section("Bias", text, shown, {"": rows})


def counterfactual(model: Evaluation, draw: Draw) -> Section | None:
    """What changes that say nothing do to rewards and preferences."""
    found = {model.title(name): one for name, one in model.record["counterfactual"].items()}
    if not found:
        return None
    rows = []
    for title, one in found.items():
        for change, entry in one.items():
            row = {
                "set": title,
                "change": change,
                "responses": entry["responses"],
                "mean shift": signed(entry["shift"]),
            }
            row["interval"] = between(entry["shift_low"], entry["shift_high"], 1, 2)
            row["shift in sd"] = signed(entry["shift_sd"])
            for side, label in (("loser", "lower"), ("winner", "higher"), ("both", "both")):
                row[f"flips, {label} changed, %"] = (
                    None if entry[side] is None else percent(entry[side]["rate"])
                )
            rows.append(
                row | {"pairs": None if entry["loser"] is None else entry["loser"]["pairs"]}
            )
    text = [
        "Each change leaves what the response says as it is (rules on text, no language model; the paraphrase swaps set phrases "
        "only). A flip is "
        "a pair of responses to a prompt whose order no longer holds. Answer order changes no text, only which response is scored first: "
        "anything but zero there is numerical noise or a fault."
    ]
    return Section(
        "Counterfactual changes",
        text,
        {"What changes that say nothing do": draw("counterfactual", figures.counterfactual, found)},
        {"": rows},
    )


def overlap(model: Evaluation, draw: Draw) -> Section | None:
    """Flags of benchmark prompts in the training data, with evidence."""
    found = model.record.get("overlap")
    if found is None:
        return None
    titles = {name: model.title(name) for name in model.results}
    counts = [
        row
        | {
            "benchmark": titles.get(row["benchmark"], row["benchmark"]),
            "share": f"{100 * row['share']:.1f} %",
        }
        for row in found["counts"]
    ]
    shown = ("benchmark", "item", "source", "row", "shared", "coverage", "ngram")
    evidence = [{key: row[key] for key in shown} for row in found["evidence"]]
    text = [
        f"{found['records']:,} training records were looked at, {found['unread']:,} of them are no group. A prompt is found where a "
        f"turn of the user "
        f"in the training data shares {found['n']} words in a row with it, or equals it where it is shorter than that. These are "
        f"flags for a "
        "person to judge, not verdicts: boilerplate has a low coverage."
    ]
    return Section(
        "Overlap with the training data",
        text,
        {},
        {"Counts": counts, "Evidence, highest coverage first": evidence},
    )
