"""Between instruments and decisions: measure the gates, record them, and pause where one fails.

What is measured is `ledger/gates.py`'s; here people are asked about the audit's sample, and a gate
that fails stops the run before its decisions are in the ledger. Every try is a shard of the ledger
`gates`: what failed, and with which threshold it then passed, stays visible.
"""

from collections.abc import Mapping
from typing import Any

from rewardjax.config import Config
from rewardjax.curation.ledger import gates
from rewardjax.curation.ledger.decisions import contents
from rewardjax.curation.ledger.pools import labels
from rewardjax.curation.ledger.rows import GateRow
from rewardjax.curation.ledger.stage_names import (
    GATES_ASK,
    GATES_DECIDE,
    GATES_SCORE,
    as_of,
    asked_wild,
    audited,
    decided_wild,
)
from rewardjax.curation.stages import people_steps
from rewardjax.curation.workspace import Paused, Workspace

# The decisions behind each point, of an iteration.
GUARDED = {GATES_SCORE: asked_wild, GATES_ASK: asked_wild, GATES_DECIDE: decided_wild}

# What helps besides another threshold, by gate.
REMEDIES = {
    "best_accuracy": "more labels (stage1) or more training (train) would help",
    "gold_accuracy": "more people's labels (stage1) or more training (train) would help",
    "agreement.people": "read what `curate status` says about each annotator, or raise "
    "people.overlap where too few pairs were answered by two",
    "agreement.models": "the two models contradict each other about as often as chance would",
    "agreement.judges": "look at the judges with `curate judges check`",
    "agreement.flips": "the judges contradict the reward models: read some of the flips, or let "
    "stage2.table discard them",
    "flipped": "either the labels of the pool or what judges them may be reversed",
    "audit.keep": "people contradict the decisions, or too few of them answered: a larger "
    "gates.audit.pairs asks about more",
    "audit.flip": "people contradict the decisions, or too few of them answered: a larger "
    "gates.audit.pairs asks about more",
}


def thresholds(config: Config) -> dict[str, float | None]:
    """The threshold of every gate by its name, from the config's section `gates`; None: off."""
    by_gate = {}
    for name in gates.MEANS:
        value: Any = config
        for field in name.split("."):
            value = value[field]
        by_gate[name] = value
    # Nobody is asked, so there is nothing that people could confirm.
    if not config.audit.pairs:
        by_gate |= {"audit.keep": None, "audit.flip": None}
    return by_gate


def check(config: Config) -> None:
    """Raise ValueError, naming the field, for a threshold that is not a share."""
    for name, value in thresholds(config).items():
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"gates.{name} = {value} is not in [0, 1]; None turns the gate off")
    if config.audit.pairs < 0:
        raise ValueError(f"gates.audit.pairs = {config.audit.pairs} is negative; 0 asks nobody")


def pass_or_pause(ws: Workspace, point: str, iteration: int, decided: Mapping[str, Any]) -> None:
    """Measure the gates of a point, and append what they say; nothing where it is passed already.

    Args:
        ws: the workspace.
        point: of `gates.POINTS`.
        iteration: of Stage 2.
        decided: of `decisions.checked`: how the wild pool will be decided.

    Raises:
        Paused: where a gate fails, or people have not answered about the audit's sample.
    """
    # Its decisions are made: nothing that is measured now could have stood before them.
    behind = GUARDED[point](iteration)
    if any(m["stage"] == behind for m in ws.store.manifests("decisions")):
        return
    settings = {
        "iteration": iteration,
        "decisions": decided,
        "thresholds": thresholds(ws.config.gates),
        "audit": ws.config.gates.audit.pairs,
    }
    if point == GATES_DECIDE and settings["audit"]:
        _ask_people(ws, settings)
    shards = gates.sources(ws.store, point, iteration)
    inputs = {"settings": settings, "shards": contents(shards)}
    rows = gates.measure(ws.store, shards, point, settings)
    tries = [m for m in ws.store.manifests("gates") if m["stage"] == point]
    # The same measurement again is the same try: a run that was killed, or started in vain.
    if not tries or tries[-1]["inputs"] != inputs:
        unit = f"{len(tries):05d}"
        ws.store.append("gates", point, unit, rows, iteration=iteration, inputs=inputs)
    failed = [sentence(row) for row in rows if row["verdict"] == "failed"]
    if failed:
        raise Paused(f"{point}: {'; '.join(failed)}")


def _ask_people(ws: Workspace, settings: Mapping[str, Any]) -> None:
    """Have people label the audit's sample, as far as they have not. May raise Paused."""
    iteration, size = settings["iteration"], settings["audit"]
    stage = audited(iteration, size)
    shards = gates.sources(ws.store, GATES_DECIDE, iteration)
    sample = gates.outcome(ws.store, shards, settings["decisions"], size).sample
    # Not this step's own votes, which are there already where a run was killed after them: the same
    # people must be asked about the same pairs.
    with ws.store.connect([m for m in shards if m["stage"] != stage.name]) as connection:
        answered = gates.human_verdicts(connection)
    # Keeps and flips in one order, by id: nobody shall see from the place what was decided.
    drawn = sorted([*sample["keep"], *sample["flip"]])
    missing = [pair_id for pair_id in drawn if pair_id not in answered]
    if missing:
        checks = list(labels(ws.store, "gold", as_of(iteration)))
        people_steps.ask(ws, missing, stage, checks)


def sentence(row: GateRow) -> str:
    """What failed, and what to do."""
    measured = f"{row['hits']} of {row['pairs']}"
    share, low, high = row.get("share"), row.get("low"), row.get("high")
    # Without pairs there is no share.
    if share is not None:
        measured += f", {share:.3f} (95% interval {low:.3f} - {high:.3f})"
    relation = "not shown to be above"
    if row["gate"] in gates.AT_MOST:
        relation = "more than"
    return (
        f"gates.{row['gate']}: {gates.MEANS[row['gate']]}: {measured}, {relation} "
        f"{row.get('threshold')}; {REMEDIES[row['gate']]}; to go on knowingly, set "
        f"gates.{row['gate']} to another value, or to None, and run again"
    )
