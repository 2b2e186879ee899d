"""What a lead must know first, in a few sentences: fates, gates, money, what is waited for."""

from collections.abc import Sequence

from rewardjax.curation.ledger import gates
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.overview import fates
from rewardjax.curation.overview.fates import Course
from rewardjax.curation.overview.money import Money

_WORDS = {
    fates.KEPT: "kept",
    fates.FLIPPED: "flipped",
    fates.FIRST_LABEL: "labeled for the first time",
    fates.TIE: "found equal",
    fates.DISCARDED: "discarded",
    fates.HELD: "held for review",
    fates.ANNOTATE: "waiting for judges",
    fates.OPEN: "not labeled",
}


def sentences(
    store: Store,
    ways: list[Course],
    spent: Money,
    *,
    waiting: Sequence[str] = (),
    lost: Sequence[str] = (),
) -> list[str]:
    """The verdict, a sentence for each matter.

    Args:
        store: has the gates.
        ways: `fates.courses`.
        spent: money so far.
        waiting: what is waited for, of `waiting.sentences` or of a run that paused.
        lost: which judges left questions without an answer.
    """
    lines = [_pairs(ways), _gates(store), f"Money: {spent.sentence()}."]
    if waiting:
        lines.append(f"Waiting for: {'; '.join(waiting)}.")
    else:
        lines.append("Nothing is waited for.")
    if lost:
        lines.append(f"Lost: {'; '.join(lost)}.")
    return lines


def _pairs(ways: list[Course]) -> str:
    counts = fates.counts(ways)
    # Zeros would hide what there is in a row of eight figures.
    amounts = [f"{count:,} {_WORDS[fate]}" for fate, count in counts.items() if count]
    return f"Of {sum(counts.values()):,} pairs: {', '.join(amounts) or 'none yet'}."


def _gates(store: Store) -> str:
    rows = gates.latest(store)
    if not rows:
        return "Gates: none measured yet."
    failed = [row["gate"] for row in rows if row["verdict"] == "failed"]
    by_verdict = dict.fromkeys(("passed", "failed", "nothing to judge", "off"), 0)
    for row in rows:
        by_verdict[row["verdict"]] += 1
    amounts = [f"{count} {verdict}" for verdict, count in by_verdict.items() if count]
    # By name: the sentence of a failed gate is what a lead acts on.
    if failed:
        amounts.append(f"failed: {', '.join(failed)}")
    return f"Gates: {', '.join(amounts)}."
