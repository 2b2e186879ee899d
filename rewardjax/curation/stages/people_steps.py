"""A step that people answer: who is asked what, within the budget, and whose votes count.

    the pairs -> tasks by priority, until the money ends -> answers (`product.people`)
    checks wrong too often -> suspended: the pairs go to others, the votes are kept and do not count
    all there -> votes, and the attributes that people corrected, into the ledger

What was dealt and answered so far is on the desk (`annotation.desk`): the same call goes on.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rewardjax.curation import people as people_lib
from rewardjax.curation import people_edits, people_quality
from rewardjax.curation.annotation import desk as desk_lib
from rewardjax.curation.ledger.rows import VoteRow
from rewardjax.curation.ledger.stage_names import WHOLE, Stage
from rewardjax.curation.people import Answer, Task
from rewardjax.curation.people_quality import Checks
from rewardjax.curation.planning.budget import affordable
from rewardjax.curation.workspace import Paused, Workspace
from rewardjax.reporting import text_table


def ask(ws: Workspace, pair_ids: Sequence[str], stage: Stage, gold: Sequence[str]) -> None:
    """Have people label pairs, within their budget, skipped where the ledger has it.

    May raise Paused.

    Args:
        ws: the workspace.
        pair_ids: which pairs, in order.
        stage: of their votes, and of the attributes that they correct.
        gold: pairs that people have labeled already, of which some are asked again as checks.
    """
    if stage.has(ws.store):
        return
    desk = _on_desk(ws, stage)
    out = _suspended(ws, stage, desk.tasks, desk.answers)
    tasks = desk.tasks
    # Of a closed step nothing is asked any more, whoever was found to err in the meantime.
    if not desk.is_closed:
        tasks = _tasks(ws, pair_ids, stage, gold, desk.tasks, out)
    answers = desk.answers
    while True:
        if not desk.is_closed:
            tasks = _without_suspended(ws, stage, tasks, answers, out)
        answers = ws.plugins.people(ws, tasks, stage)
        # The last answers may show that somebody errs too often, whose pairs others then get.
        errs = _suspended(ws, stage, tasks, answers)
        if desk.is_closed or errs.keys() <= out.keys():
            break
        out |= errs
    rows, refused = people_lib.votes(tasks, answers, out)
    # The plug-ins answer what they were asked; anything else is lost, and is said.
    for line in refused:
        print(f"warning: {stage.name}: not counted: {line}", file=sys.stderr)
    if out:
        lost = sum(row["kind"] == "suspended" for row in rows)
        print(
            f"warning: {stage.name}: suspended: {_told(out)}; {lost} votes of theirs are kept and "
            "do not count",
            file=sys.stderr,
        )
    if ws.config.people.kind == "files":
        _tell_quality(ws, stage, rows)
    stage.append(ws.store, "votes", rows)
    # The last, as the queue and what is edited depend on the attributes: killed before it, the same
    # call finds them as they were.
    by = {task.id: task.annotator for task in tasks}
    counted = [answer for answer in answers if (answer.annotator or by[answer.task]) not in out]
    edited = people_edits.edited_attributes(ws.store, tasks, counted)
    stage.append(ws.store, "attributes", edited, WHOLE)


class _OnDesk(NamedTuple):
    """What `annotation.sqlite` has of a step."""

    tasks: list[Task]
    answers: Sequence[Answer]
    is_closed: bool


def _on_desk(ws: Workspace, stage: Stage) -> _OnDesk:
    if not desk_lib.has_desk(ws.folder):
        return _OnDesk([], [], is_closed=False)
    with desk_lib.open_desk(ws.folder) as desk:
        closed = {step.name for step in desk.steps() if step.is_closed}
        return _OnDesk(desk.tasks(stage.name), desk.answers(stage.name), stage.name in closed)


def _seed(ws: Workspace, stage: Stage) -> int:
    # Each iteration draws anew: with one seed the same gold pairs would be the checks of every
    # iteration, and a task of the second would have the id of one of the first.
    return ws.config.seed + stage.iteration


def _tasks(
    ws: Workspace,
    pair_ids: Sequence[str],
    stage: Stage,
    gold: Sequence[str],
    dealt: list[Task],
    suspended: Mapping[str, Checks],
) -> list[Task]:
    """What people are asked in a step: the tasks that they have, and those of pairs without one."""
    settings = ws.config.people
    # What was dealt stays: people may be at work on it. Only pairs that nobody has are new.
    covered = {task.pair_id for task in dealt}
    new = [pair_id for pair_id in pair_ids if pair_id not in covered]
    annotators = [name for name in settings.annotators if name not in suspended]
    # Where everybody is suspended, there is nobody to ask: `_without_suspended` pauses.
    if not new or not annotators:
        return dealt
    most = _most(ws, stage)
    if most is not None:
        most = max(0, most - len(dealt))
    queued = people_lib.queue(
        ws.store,
        new,
        annotators,
        overlap=settings.overlap,
        checks=settings.checks,
        gold=[pair_id for pair_id in gold if pair_id not in covered],
        seed=_seed(ws, stage),
        most=most,
    )
    left_out = set(new) - {task.pair_id for task in queued}
    if left_out:
        print(
            f"warning: {stage.name}: budget.people pays {len(dealt) + len(queued)} answers, and "
            f"{len(left_out)} of {len(pair_ids)} pairs get none",
            file=sys.stderr,
        )
    return dealt + queued


def _suspended(
    ws: Workspace, stage: Stage, tasks: Sequence[Task], answers: Sequence[Answer]
) -> dict[str, Checks]:
    """Who errs too often on checks, by the ledger and by what was answered in this step."""
    settings = ws.config.people
    if settings.suspend_below is None:
        return {}
    # Not this step's own votes, which are there already where a run was killed after them.
    before = people_quality.votes(ws.store, but_of=stage.name)
    rows, _ = people_lib.votes(tasks, answers)
    return people_quality.suspended(
        [*before, *rows], settings.suspend_below, settings.suspend_after
    )


def _without_suspended(
    ws: Workspace,
    stage: Stage,
    tasks: list[Task],
    answers: Sequence[Answer],
    suspended: Mapping[str, Checks],
) -> list[Task]:
    """The tasks after those of suspended people went to others, which is said on the screen.

    Raises Paused where nobody is left who could do them.
    """
    if suspended and suspended.keys() >= set(ws.config.people.annotators):
        raise Paused(
            f"{stage.name}: every annotator is suspended ({_told(suspended)}): "
            "lower people.suspend_below, or set it to None"
        )
    remaining = people_lib.reassigned(
        tasks,
        answers,
        suspended,
        ws.config.people.annotators,
        seed=_seed(ws, stage),
        most=_most(ws, stage),
    )
    if remaining != tasks:
        counting = [task for task in remaining if task.annotator not in suspended]
        pairs = {task.pair_id for task in tasks if not task.check}
        lost = pairs - {task.pair_id for task in counting}
        print(
            f"warning: {stage.name}: suspended: {_told(suspended)}; "
            f"{len(set(remaining) - set(tasks))} of their pairs go to others, and {len(lost)} are "
            "left out",
            file=sys.stderr,
        )
    return remaining


def _told(suspended: Mapping[str, Checks]) -> str:
    """Who is suspended, and why."""
    return ", ".join(
        f"{name} ({measured.right} of {measured.total} checks right)"
        for name, measured in sorted(suspended.items())
    )


def _tell_quality(ws: Workspace, stage: Stage, rows: Sequence[VoteRow]) -> None:
    """Print how well people did, where there is something to see."""
    before = people_quality.votes(ws.store, but_of=stage.name)
    tables = people_quality.tables([*before, *rows])
    for heading, table in tables.items():
        if table:
            print(f"{heading}\n{text_table.table(table)}", flush=True)


def _most(ws: Workspace, stage: Stage) -> int | None:
    """How many answers of this step the people's budget pays; None: no limit."""
    if ws.config.budget.people is None:
        return None
    # Not this step's own votes, which are there already where a run was killed after them.
    sql = f"select count(*) from votes where {people_quality.PAID} and stage <> ?"
    paid = ws.store.query(sql, [stage.name]).column(0)[0].as_py()
    price = ws.config.prices.gold
    if not price:
        return None
    return affordable(sys.maxsize, price, ws.config.budget.people - paid * price)
