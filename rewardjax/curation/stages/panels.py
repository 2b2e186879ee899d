"""Who is asked at a stage: the judges, or the taggers, that serve its iteration.

The config has two lists, `judges` and `taggers`, of the same fields (`client.Judge`); where
`taggers` is empty the judges tag. An entry may serve some iterations only (`first`, `last`), so
that cheap models label early and dear ones late. Importing and tagging the unverified pool count as
iteration 0, Stage 2 as the one after Stage 1's last.
"""

from collections.abc import Sequence

from rewardjax.config import Config
from rewardjax.curation.judges.client import Judge, judges_of
from rewardjax.curation.ledger import decision_tables, stage_names
from rewardjax.curation.ledger.stage_names import Stage
from rewardjax.curation.planning import budget
from rewardjax.curation.stages import rules
from rewardjax.curation.workspace import Workspace


def members(ws: Workspace, stage: Stage, task: str) -> list[Judge]:
    """Who is asked at a stage; task: "judge" or "tag"."""
    return serving(_of_task(ws.judges, ws.taggers, task), stage.iteration)


def everyone(ws: Workspace) -> list[Judge]:
    """Judges and taggers, one that is both only once."""
    return list({judge.name: judge for judge in (*ws.judges, *ws.taggers)}.values())


def serving(judges: Sequence[Judge], iteration: int) -> list[Judge]:
    """Those that are asked in an iteration."""
    return [judge for judge in judges if judge.serves(iteration)]


def _of_task(judges: Sequence[Judge], taggers: Sequence[Judge], task: str) -> Sequence[Judge]:
    if task == "tag" and taggers:
        return taggers
    return judges


def check(config: Config) -> None:
    """Raise ValueError for an entry that cannot be read or never serves, and a stage without any.

    Found out at its stage, it would cost what all stages before were paid for.
    """
    judges = judges_of(config.judges, "judges", shots=config.shots)
    taggers = judges_of(config.taggers, "taggers", shots=config.shots)
    _check_names(judges, taggers)
    last = config.stage1.iterations
    if config.stage2.table:
        last += 1
    for judge in (*judges, *taggers):
        if judge.first > last:
            raise ValueError(
                f"judge {judge.name}: first = {judge.first}, but iteration {last} is the last one "
                "(stage1.iterations, and one more for Stage 2), so it would never be asked"
            )
    for stage, task in _stages_that_ask(config):
        field = "judges"
        if task == "tag" and taggers:
            field = "taggers"
        if not serving(_of_task(judges, taggers, task), stage.iteration):
            raise ValueError(
                f"stage {stage.name} asks in iteration {stage.iteration}, which none of "
                f"config.{field} serves: add one, or change their first and last"
            )


def _check_names(judges: Sequence[Judge], taggers: Sequence[Judge]) -> None:
    for field, entries in (("judges", judges), ("taggers", taggers)):
        names = [entry.name for entry in entries]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"config.{field}: {name!r} is given twice")
    # The ledgers know them by name: prices and costs of two models would be mixed up.
    judge_of = {judge.name: judge for judge in judges}
    for tagger in taggers:
        if judge_of.get(tagger.name, tagger) != tagger:
            raise ValueError(
                f"config.taggers: {tagger.name!r} is a judge with other settings; give the tagger "
                "a name of its own"
            )


def _stages_that_ask(config: Config) -> list[tuple[Stage, str]]:
    """The stages at which somebody is asked, and for what."""
    stages = []
    if config.tag:
        stages.append((stage_names.TAG, "tag"))
    for iteration in range(config.stage1.iterations + 1):
        picks = budget.pairs(config.stage1, iteration)
        if rules.to_people(picks, config.stage1.human_share) < picks:
            stages.append((stage_names.judges(iteration), "judge"))
    table = config.stage2.table
    if table and any(rule["then"] == "annotate" for rule in decision_tables.rules(table)):
        iteration = config.stage1.iterations + 1
        if config.tag:
            stages.append((stage_names.tag_wild(iteration), "tag"))
        stages.append((stage_names.judges_wild(iteration), "judge"))
    return stages
