"""Questions to judges that came to no answer, in words: nothing is lost without being told."""

from collections import Counter

from rewardjax.curation.servers.paid_calls import CallLedger

LOST = ("unreadable", "refused", "open")  # how a question ends that brings no vote


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
