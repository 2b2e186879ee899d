"""The whole loop, as `curate run` and every experiment run it."""

from rewardjax.config import Config
from rewardjax.curation.judges import aggregate
from rewardjax.curation.ledger import decision_tables
from rewardjax.curation.ledger.rows import ENTRIES
from rewardjax.curation.stages import gates, panels, product, rules, stage1, stage2
from rewardjax.curation.workspace import Paused, Workspace
from rewardjax.engine import executors


def check(config: Config) -> None:
    """Raise ValueError, naming the field, for a setting that would fail only after money is spent.

    A misspelt preset of Stage 2 must not be found out after Stage 1's labels were paid for.
    """
    if config.stage2.table:
        _check_stage2(config)
    if config.stage2.folds == 1 or config.stage2.folds < 0:
        raise ValueError(
            f"stage2.folds = {config.stage2.folds}: cross-fitting needs at least 2; 0 turns it off"
        )
    if not 0 <= config.stage1.human_share <= 1:
        raise ValueError(f"stage1.human_share = {config.stage1.human_share} is not in [0, 1]")
    for name in ("quota", "suspend_below"):
        share = config.people[name]
        if share is not None and not 0 <= share <= 1:
            raise ValueError(f"people.{name} = {share} is not in [0, 1]")
    _one_of("stage1.select", config.stage1.select, rules.SELECTIONS)
    product.check_embedder(config.embedder)
    executors.check(executors.Engine(**config.engine.to_dict()))
    _one_of("people.kind", config.people.kind, product.PEOPLE)
    _one_of("panel.method", config.panel.method, tuple(aggregate.METHODS))
    for name, source in config.sources.items():
        _one_of(f"sources.{name}.entry", source.entry, ENTRIES)
    panels.check(config)


def _check_stage2(config: Config) -> None:
    """Raise ValueError for a table that cannot decide, and for gates that cannot be measured."""
    seats = decision_tables.seats_of(config.stage2.table)
    actions = {rule["then"] for rule in decision_tables.rules(config.stage2.table)}
    if "judges" in seats and "annotate" not in actions:
        # Every pair would fall through to the last rule, which as a rule discards.
        raise ValueError(
            "stage2.table has rules about judges, but no rule says `annotate`, so that no judge is "
            "ever asked; begin with {'judges': 'none', 'then': 'annotate', 'rule': 'ask judges'}"
        )
    gates.check(config.gates)
    if "gold" not in seats or config.stage2.folds:
        return
    if config.gates.gold_accuracy is not None:
        raise ValueError(
            f"gates.gold_accuracy = {config.gates.gold_accuracy} needs stage2.folds >= 2, as the "
            f"gold RM is measured by cross-fitting; set the folds, or the gate to None"
        )
    if config.stage2.band and config.calibrate:
        raise ValueError(
            f"stage2.band = {config.stage2.band} with calibrate needs stage2.folds >= 2, which fit "
            f"the gold RM's temperature; set the folds, or calibrate to False"
        )


def _one_of(field: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise ValueError(f"{field} = {value!r} is not one of {', '.join(legal)}")


def run(ws: Workspace) -> None:
    """Both stages from wherever the workspace stands, saying what it is at. May raise Paused."""
    try:
        _run(ws)
    except Paused as error:
        ws.running.pause(str(error))
        raise
    ws.running.end()


def _run(ws: Workspace) -> None:
    # Steps of their own speak inside of these; the rest, such as decisions, would be silent.
    last = ws.config.stage1.iterations
    parts = last + 2
    if ws.config.stage2.table:
        parts += 1
    with ws.running.step("sources and cleaning", part=f"1/{parts}"):
        stage1.prepare(ws)
    for iteration in range(last + 1):
        part = f"{iteration + 2}/{parts}"
        print(f"[{part}] Stage 1, iteration {iteration} of {last}", flush=True)
        with ws.running.step(f"iteration {iteration}", part=part):
            labeled = stage1.iterate(ws, iteration)
        if labeled.unspent:
            print(f"  {labeled.unspent} pairs of the budget are unspent: nothing more to pick")
    # No table, no Stage 2: an experiment may be about Stage 1 alone.
    if ws.config.stage2.table:
        print(f"[{parts}/{parts}] Stage 2", flush=True)
        with ws.running.step("Stage 2", part=f"{parts}/{parts}"):
            stage2.run(ws)
        late = stage2.undecided(ws)
        if late:
            print(
                f"  {late} wild pairs came after Stage 2 had begun and are not decided; raise "
                "stage1.iterations, and they are with the next Stage 2"
            )
