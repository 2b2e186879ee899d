"""Whether enough judges answered: labels of half a panel are not those of the panel.

Every question ends as answered, unreadable, refused or open (`CallLedger.endings`). A judge whose
answers can hardly be read, or a stage in which many pairs lack a quorum, stops the run before its
votes become labels: what is wrong is easier to mend before than after.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rewardjax.curation.judges.lost import LOST
from rewardjax.curation.ledger.stage_names import Stage
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.stages import panels
from rewardjax.curation.workspace import Paused, Workspace


def needed(asked: int, quorum: int | None) -> int:
    """How many of the judges that were asked about a pair must have answered.

    `quorum` None: half of them.
    """
    if quorum is None:
        return (asked + 1) // 2
    return quorum


def with_quorum(
    votes: Iterable[Mapping[str, Any]], judges_of_unit: Mapping[str, int], quorum: int | None
) -> list[Any]:
    """The votes about pairs that enough voters answered about (`needed`).

    Args:
        votes: rows of the ledger.
        judges_of_unit: how many judges were asked in each unit of the stage.
        quorum: the config's `judging.quorum`.
    """
    rows = list(votes)
    voters: dict[str, set[str]] = {}
    first_unit: dict[str, str] = {}
    for row in rows:
        pair_id, unit = row["pair_id"], row["unit"]
        voters.setdefault(pair_id, set()).add(row["voter"])
        # Later units only ask again what an earlier one was left without.
        first_unit[pair_id] = min(unit, first_unit.get(pair_id, unit))
    enough = set()
    for pair_id, unit in first_unit.items():
        if len(voters[pair_id]) >= needed(judges_of_unit[unit], quorum):
            enough.add(pair_id)
    return [row for row in rows if row["pair_id"] in enough]


def shortfall(
    calls: CallLedger,
    purpose: str,
    task: str,
    *,
    voters: Sequence[str],
    quorum: int | None,
    readable: float,
    covered: float,
) -> str | None:
    """What is missing of the answers to a stage's questions, and what to do; None if enough.

    Args:
        calls: the ledger of calls.
        purpose: the stage's name.
        task: judge or tag.
        voters: the judges of today; what others left open is nobody's any more.
        quorum: judges that must have answered about a pair; None: half of those asked.
        readable: the least share of its questions that each judge must have answered.
        covered: the least share of pairs with a quorum.
    """
    for row in calls.endings(purpose, task):
        total = row["answered"] + row["unreadable"] + row["refused"] + row["open"]
        if row["voter"] in voters and row["answered"] < readable * total:
            return f"{_counts(row, total)}; {_remedy(row)}, or lower judging.readable = {readable}"
    pairs = calls.voters_per_pair(purpose, task, voters)
    enough = sum(answered >= needed(judges, quorum) for judges, answered in pairs)
    if enough < covered * len(pairs):
        most = needed(max(judges for judges, _ in pairs), quorum)
        return (
            f"{enough} of {len(pairs)} pairs have answers of {most} judges or more; look at "
            f"`curate status`, or lower judging.quorum or judging.covered = {covered}"
        )
    return None


def pause_if_short(ws: Workspace, stage: Stage, task: str) -> None:
    """Raise Paused where `shortfall` says so of a stage, by the config's section `judging`."""
    judging = ws.config.judging
    # One description of a pair is enough: nobody merges what nobody wrote.
    quorum = 1
    if task == "judge":
        quorum = judging.quorum
    why = shortfall(
        ws.calls,
        stage.name,
        task,
        voters=[judge.voter for judge in panels.members(ws, stage, task)],
        quorum=quorum,
        readable=judging.readable,
        covered=judging.covered,
    )
    if why is not None:
        raise Paused(f"{stage.name}: {why}")


def _counts(row: dict[str, Any], total: int) -> str:
    lost = [f"{row[state]} {state}" for state in LOST if row[state]]
    problem = ""
    if row["problem"]:
        problem = f" (most often: {row['problem']})"
    return f"{row['voter']} answered {row['answered']} of {total}: {', '.join(lost)}{problem}"


def _remedy(row: dict[str, Any]) -> str:
    """What asks again what got no answer, and nothing else."""
    if "max_tokens" in row["problem"]:
        return "raise its max_tokens and run again"
    if row["unreadable"] >= max(row["refused"], row["open"]):
        return "raise its asks, or give it another prompt or revision, and run again"
    if row["refused"] >= row["open"]:
        return "mend its settings, give it another revision and run again"
    return "run again when it answers"
