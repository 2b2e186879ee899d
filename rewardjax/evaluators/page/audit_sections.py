"""The page's sections about bias, counterfactual changes and overlap with the training data."""

from collections.abc import Iterator, Mapping
from typing import Any

from rewardjax.evaluators.audits import style
from rewardjax.evaluators.page import audit_figures
from rewardjax.evaluators.page.cells import between, percent, signed
from rewardjax.evaluators.page.drawing import COLUMNS, Draw
from rewardjax.evaluators.page.evaluation import Evaluation
from rewardjax.reporting.page import Section

# ------------------------------------------------------------------ bias


def bias(model: Evaluation, draw: Draw) -> Section | None:
    """What reward goes with inside prompts, as the responses are and as best-of-n picks them."""
    summaries = {
        model.title(name): summary
        for name, summary in model.record["bias"].items()
        if summary["features"]
    }
    if not summaries:
        return None
    rows: list[dict[str, Any]] = []
    for title, summary in summaries.items():
        rows += _bias_rows(title, summary)
    text = [
        "What reward goes with inside a prompt, on the responses as they are and on those that "
        "best-of-n picks: a bias that is absent from the first and present in the second comes "
        "back as soon as the model is used to choose. Filled marks are plain correlations; hollow "
        "ones hold the other features, and correctness where it is known, fixed. Intervals are "
        "95 %, prompts drawn again.",
        "Shift: the pick of best-of-K less the average response, in standard deviations within "
        "prompts; dashed: the same when picking by the label, which is the part that quality asks "
        "for.",
        *(f"{name}: {meaning}." for name, meaning in style.FEATURES.items()),
    ]
    # One row of panels: first the sets that have both kinds of marks, then the largest ones.
    rank = lambda title: (summaries[title]["selected_prompts"] > 0, summaries[title]["prompts"])
    best = sorted(summaries, key=rank, reverse=True)[:COLUMNS]
    shown_sets = {title: summaries[title] for title in best}
    shown = {
        "Reward and style within prompts": draw("bias", audit_figures.bias, shown_sets),
        "What choosing by reward does to style": draw(
            "selection", audit_figures.selection, shown_sets
        ),
    }
    return Section("Bias", text, shown, {"": rows})


def _bias_rows(title: str, summary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One row per feature of a `bias.summary`."""
    for feature, entry in summary["features"].items():
        row = {"set": title, "feature": feature, "has any, %": percent(entry["share"])}
        row |= _association_cells(entry["audit"], "as they are")
        row |= _association_cells(entry["selected"], f"picked of {summary['n']}")
        # Of the largest K, the far end of the line in the figure.
        row["shift of the pick"] = signed(entry["shift"]["value"][-1])
        row["K"] = entry["shift"]["ks"][-1]
        yield row


def _association_cells(association: Mapping[str, Any] | None, label: str) -> dict[str, str | None]:
    # No association where a set has no prompt with more responses than best-of-n draws.
    fields = association or {}
    return {
        f"correlation, {label}": signed(fields.get("correlation")),
        f"others fixed, {label}": signed(fields.get("partial")),
        f"interval, {label}": between(fields.get("partial_low"), fields.get("partial_high"), 1, 2),
    }


# ------------------------------------------------------------------ counterfactual changes


def counterfactual(model: Evaluation, draw: Draw) -> Section | None:
    """What changes that say nothing do to rewards and preferences."""
    summaries = {
        model.title(name): summary for name, summary in model.record["counterfactual"].items()
    }
    if not summaries:
        return None
    rows = []
    # Sets below one another, so that one change's row can be compared with the others of its set.
    for title, summary in summaries.items():
        for change, entry in summary.items():
            rows.append({"set": title, "change": change, **_change_cells(entry)})
    text = [
        "Each change leaves what the response says as it is (rules on text, no language model; the "
        "paraphrase swaps set phrases only). A flip is a pair of responses to a prompt whose order "
        "no longer holds. Answer order changes no text, only which response is scored first: "
        "anything but zero there is numerical noise or a fault."
    ]
    shown = {
        "What changes that say nothing do": draw(
            "counterfactual", audit_figures.counterfactual, summaries
        )
    }
    return Section("Counterfactual changes", text, shown, {"": rows})


def _change_cells(entry: Mapping[str, Any]) -> dict[str, Any]:
    cells = {
        "responses": entry["responses"],
        "mean shift": signed(entry["shift"]),
        "interval": between(entry["shift_low"], entry["shift_high"], 1, 2),
        "shift in sd": signed(entry["shift_sd"]),
    }
    # None where no pair had a response that the change applied to on that side.
    for side, label in (("loser", "lower"), ("winner", "higher"), ("both", "both")):
        flips = entry[side] or {}
        cells[f"flips, {label} changed, %"] = percent(flips.get("rate"))
    return cells | {"pairs": (entry["loser"] or {}).get("pairs")}


# ------------------------------------------------------------------ overlap


# Columns of the evidence; the file `overlap.jsonl` has the rest.
EVIDENCE_COLUMNS = ("benchmark", "item", "source", "row", "shared", "coverage", "ngram")


def overlap(model: Evaluation, draw: Draw) -> Section | None:
    """Flags of benchmark prompts in the training data, with evidence; nothing to draw."""
    audit = model.record.get("overlap")
    if audit is None:
        return None
    counts = []
    for row in audit["counts"]:
        # Benchmarks without results have flags too, but no title.
        title = row["benchmark"]
        if title in model.results:
            title = model.title(title)
        counts.append(row | {"benchmark": title, "share": f"{percent(row['share'])} %"})
    evidence = []
    for row in audit["evidence"]:
        evidence.append({column: row[column] for column in EVIDENCE_COLUMNS})
    text = [
        f"{audit['records']:,} training records were looked at, {audit['unread']:,} of them are no "
        f"group. A prompt is found where a turn of the user in the training data shares "
        f"{audit['n']} words in a row with it, or equals it where it is shorter than that. These "
        f"are flags for a person to judge, not verdicts: boilerplate has a low coverage."
    ]
    tables = {"Counts": counts, "Evidence, highest coverage first": evidence}
    return Section("Overlap with the training data", text, {}, tables)
