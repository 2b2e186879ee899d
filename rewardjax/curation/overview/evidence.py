"""What stands behind a pair's label: how sure which model was, what judges replied, which gates.

`overview/explain.py` prints the rows of the ledger; here they are put beside what they were worth,
and beside the ledger of calls, which has every reply word for word.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rewardjax.command.terminal import indented
from rewardjax.curation.ledger import gates
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.reward_models.gold_errors import probability
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.io import own_files
from rewardjax.stats.intervals import wilson

Rows = Sequence[Mapping[str, Any]]


def lines(folder: pathlib.Path, store: Store, explained: Mapping[str, Any]) -> list[str]:
    """Three parts, each with a heading: reward models, gates, replies; those without lines miss.

    Args:
        folder: the workspace.
        store: its ledger.
        explained: of `explain.explain`.
    """
    parts = {
        "reward models:": list(_models(folder, store, explained["scores"])),
        "gates before its decision:": list(_gates(store, explained["decisions"])),
        "replies, word for word:": list(_replies(folder, explained["pair"]["pair_id"])),
    }
    text = []
    for heading, of_part in parts.items():
        if of_part:
            text += [heading, *(f"  {line}" for line in of_part)]
    return text


def _models(folder: pathlib.Path, store: Store, scores: Rows) -> Iterator[str]:
    """For each model that scored the pair its p, and how often it is right on gold."""
    for row in scores:
        iteration, seat = row["iteration"], row["scorer"]
        margin = row["reward_a"] - row["reward_b"]
        temperature, accuracy = 1.0, "its accuracy on gold was not measured"
        measured = _on_gold(folder, store, seat, iteration)
        if measured is not None:
            temperature = measured["temperature"]
            low, high = wilson(measured["hits"], measured["pairs"])
            accuracy = (
                f"right about {measured['hits']} of {measured['pairs']} gold pairs, "
                f"{measured['hits'] / measured['pairs']:.3f} (95% interval {low:.3f} - {high:.3f})"
            )
        p = float(probability(margin, temperature))
        yield (
            f"{seat} RM in iteration {iteration}: p(a) = {p:.3f}, from a margin of {margin:.4g} at "
            f"temperature {temperature:.4g}; {accuracy}"
        )


def _on_gold(
    folder: pathlib.Path, store: Store, seat: str, iteration: int
) -> dict[str, Any] | None:
    """The hits, pairs and temperature of a seat's model on gold; None where nobody measured it."""
    if seat == "best":
        # What `seats.errors_on_gold` keeps of each iteration.
        path = folder / "reports" / f"gold-{iteration}.json"
        if not path.exists():
            return None
        report = own_files.read(path, ("correct", "pairs", "temperature"))
        hits = sum(report["correct"].values())
        return {"hits": hits, "pairs": report["pairs"], "temperature": report["temperature"]}
    sql = "select * from gates where gate = ? and iteration = ? and pairs > 0 order by unit desc"
    rows = store.query(sql, [f"{seat}_accuracy", iteration]).to_pylist()
    if not rows:
        return None
    settings = {}
    for manifest in store.manifests("gates"):
        if manifest["iteration"] == iteration:
            settings = manifest["inputs"]["settings"]["decisions"]
    temperature = settings.get(f"{seat}_temperature", 1.0)
    return {"hits": rows[0]["hits"], "pairs": rows[0]["pairs"], "temperature": temperature}


def _gates(store: Store, decisions: Rows) -> Iterator[str]:
    """The gates of the iterations that decided the pair, as they stood last."""
    iterations = {row["iteration"] for row in decisions}
    for row in gates.latest(store):
        if row["iteration"] in iterations:
            share = ""
            if row["share"] is not None:
                share = f", {row['share']:.3f} (95% interval {row['low']:.3f} - {row['high']:.3f})"
            against = ""
            if row["threshold"] is not None:
                against = f"; threshold {row['threshold']:g}"
            yield (
                f"{row['point']}: {row['gate']} {row['verdict']}: {row['hits']} of {row['pairs']}"
                f"{share}{against}: {gates.MEANS[row['gate']]}"
            )


def _replies(folder: pathlib.Path, pair_id: str) -> Iterator[str]:
    """Every request about the pair with what came back."""
    with contextlib.closing(CallLedger(folder / "calls.sqlite")) as calls:
        for call in calls.about(pair_id):
            shown = ""
            if call["shown"]:
                shown = f", shown {call['shown']}"
            yield (
                f"{call['voter']}, {call['purpose']}, sample {call['sample']}, try "
                f"{call['attempt']}{shown}: {call['state']}, {call['prompt_tokens'] or 0} + "
                f"{call['completion_tokens'] or 0} tokens, ${call['dollars']:.6f}: "
                f"{indented(call['text'] or '(nothing)', '      ')}"
            )
