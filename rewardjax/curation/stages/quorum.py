"""Whether enough judges answered: labels of half a panel are not those of the panel.

Every question ends as answered, unreadable, refused or open (`CallLedger.endings`). A judge whose
answers can hardly be read, or a stage in which many pairs lack a quorum, stops the run before its
votes become labels: what is wrong is easier to mend before than after.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rewardjax.curation.judges.client import Judge
from rewardjax.curation.ledger.rows import VoteRow
from rewardjax.curation.ledger.stage_names import Stage
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.stages import panels
from rewardjax.curation.workspace import Paused, Workspace

LOST = ("unreadable", "refused", "open")  # how a question ends that brings no vote


def needed(judges: Sequence[Judge], quorum: int | None) -> int:
    """How many judges must have answered about a pair; `quorum` None: half of them."""
    if quorum is None:
        return (len(judges) + 1) // 2
    return quorum


def with_quorum(votes: Iterable[VoteRow], quorum: int) -> list[VoteRow]:
    """The votes about pairs that at least `quorum` voters answered about."""
    rows = list(votes)
    voters: dict[str, set[str]] = {}
    for row in rows:
        voters.setdefault(row["pair_id"], set()).add(row["voter"])
    return [row for row in rows if len(voters[row["pair_id"]]) >= quorum]


def shortfall(
    calls: CallLedger, purpose: str, task: str, *, quorum: int, readable: float, covered: float
) -> str | None:
    """What is missing of the answers to a stage's questions, and what to do; None if enough.

    Args:
        calls: the ledger of calls.
        purpose: the stage's name.
        task: judge or tag.
        quorum: judges that must have answered about a pair.
        readable: the least share of its questions that each judge must have answered.
        covered: the least share of pairs with a quorum.
    """
    for row in calls.endings(purpose, task):
        total = row["answered"] + row["unreadable"] + row["refused"] + row["open"]
        if row["answered"] < readable * total:
            return f"{_counts(row, total)}; {_remedy(row)}, or lower judging.readable = {readable}"
    pairs = calls.voters_per_pair(purpose, task)
    enough = sum(voters >= quorum for voters in pairs)
    if enough < covered * len(pairs):
        return (
            f"{enough} of {len(pairs)} pairs have answers of {quorum} judges or more; look at "
            f"`curate status`, or lower judging.quorum or judging.covered = {covered}"
        )
    return None


def pause_if_short(ws: Workspace, stage: Stage, task: str) -> None:
    """Raise Paused where `shortfall` says so of a stage, by the config's section `judging`."""
    settings = ws.config.judging
    # One description of a pair is enough: nobody merges what nobody wrote.
    quorum = 1
    if task == "judge":
        quorum = needed(panels.members(ws, stage, task), settings.quorum)
    why = shortfall(
        ws.calls,
        stage.name,
        task,
        quorum=quorum,
        readable=settings.readable,
        covered=settings.covered,
    )
    if why is not None:
        raise Paused(f"{stage.name}: {why}")


def lost_answers(calls: CallLedger) -> list[str]:
    """A sentence for each judge some of whose questions came to no answer, over all stages."""
    totals: dict[str, Counter[str]] = {}
    for row in calls.endings():
        states = {state: row[state] for state in ("answered", *LOST)}
        totals.setdefault(row["voter"], Counter()).update(states)
    sentences = []
    for voter, counts in totals.items():
        if counts["answered"] < counts.total():
            lost = ", ".join(f"{counts[state]} {state}" for state in LOST if counts[state])
            sentences.append(f"{voter} answered {counts['answered']} of {counts.total()}: {lost}")
    return sentences


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
