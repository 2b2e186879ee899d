"""Whether rewards order the labeled pairs of the data as their labels do, and where they least do.

Figures of parts of a data set add up to those of the whole, so that each unit of a pass has its
own.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax.command.terminal import on_one_line
from rewardjax.data.groups import BadRecord, Group, Message, Pair, check
from rewardjax.reporting import text_table
from rewardjax.stats.intervals import wilson

WORST = 5  # pairs that are shown
SHOWN = 48  # characters of each of their texts


class Preference(NamedTuple):
    """A labeled pair: the places of the better and the worse response in the group of a row.

    prompt, better_text, worse_text: how their last messages begin.
    """

    id: str
    row: int
    better: int
    worse: int
    prompt: str
    better_text: str
    worse_text: str


class Preferences(NamedTuple):
    """What the labels of some records say: pairs with a preference, and how many are without one.

    unusable: pairs of equal responses, or with one at fault.
    """

    pairs: list[Preference]
    label_ties: int
    unusable: int


class Agreement(NamedTuple):
    """Counts of labeled pairs, and the pairs that the rewards order most wrongly.

    pairs: with a preference, and a reward for both responses. right: of these, those whose better
    response has the higher reward. ties: those of equal rewards, which are not right. label_ties,
    unusable: as in `Preferences`; unscored: the other pairs, in which a response has no reward.
    worst: at most WORST rows of `Preference` with `difference`, the reward of the better response
    less that of the worse one, the lowest first.
    """

    pairs: int = 0
    right: int = 0
    ties: int = 0
    label_ties: int = 0
    unusable: int = 0
    unscored: int = 0
    worst: Sequence[Mapping[str, Any]] = ()


def preferences(group: Group, row: int) -> Preferences:
    """What the labels of one record say."""
    # Its texts need not be checked a second time, as scoring does it.
    if not group.pairs:
        return Preferences([], 0, 0)
    try:
        checked, faults = check(group)
    except BadRecord:
        # Nothing of it can be compared; why is in the quarantine.
        return Preferences([], 0, len(group.pairs))
    pairs = []
    for pair in checked.pairs:
        if not pair.tie and pair.target != 0.5:
            pairs.append(_preference(group, row, pair))
    return Preferences(pairs, len(checked.pairs) - len(pairs), len(faults))


def _preference(group: Group, row: int, pair: Pair) -> Preference:
    better, worse = pair.chosen, pair.rejected
    # The label prefers the response that came as the rejected one.
    if pair.target < 0.5:
        better, worse = worse, better
    texts = group.prompt, group.responses[better], group.responses[worse]
    return Preference(group.id, row, better, worse, *map(_beginning, texts))


def _beginning(messages: Sequence[Message]) -> str:
    text = " ".join(messages[-1]["content"].split())
    if len(text) > SHOWN:
        return text[: SHOWN - 3] + "..."
    return text


def agreement(stated: Sequence[Preferences], rewards: Mapping[tuple[int, int], float]) -> Agreement:
    """How far the labels of some records and `rewards`, by (row, place), agree."""
    differences, unscored = [], 0
    for of_record in stated:
        for pair in of_record.pairs:
            places = (pair.row, pair.better), (pair.row, pair.worse)
            if rewards.keys() >= set(places):
                better, worse = (rewards[place] for place in places)
                differences.append(pair._asdict() | {"difference": better - worse})
            else:
                unscored += 1
    return Agreement(
        pairs=len(differences),
        right=sum(row["difference"] > 0 for row in differences),
        ties=sum(row["difference"] == 0 for row in differences),
        label_ties=sum(of_record.label_ties for of_record in stated),
        unusable=sum(of_record.unusable for of_record in stated),
        unscored=unscored,
        worst=_worst(differences),
    )


def _worst(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    wrong = [row for row in rows if row["difference"] <= 0]
    return sorted(wrong, key=lambda row: row["difference"])[:WORST]


def total(parts: Sequence[Agreement]) -> Agreement:
    """The figures of several parts of a data set, in the order of the input, as one."""
    worst: list[Mapping[str, Any]] = []
    for part in parts:
        worst += part.worst
    counts = {
        name: sum(getattr(part, name) for part in parts)
        for name in Agreement._fields
        if name != "worst"
    }
    return Agreement(**counts, worst=_worst(worst))


def figures(agreed: Agreement) -> dict[str, Any]:
    """Accuracy and its 95% interval (Wilson 1927), none where no pair was compared."""
    if not agreed.pairs:
        return {}
    low, high = wilson(agreed.right, agreed.pairs)
    return {
        "pairs": agreed.pairs,
        "accuracy": agreed.right / agreed.pairs,
        "wilson_low": low,
        "wilson_high": high,
        "ties": agreed.ties,
    }


def sentences(agreed: Agreement) -> list[str]:
    """What is told of it: nothing of data without a labeled pair."""
    if not any((agreed.pairs, agreed.label_ties, agreed.unusable, agreed.unscored)):
        return []
    lines = [f"{_accuracy(agreed)}{_left_out(agreed)}"]
    if agreed.worst:
        lines.append("the labeled pairs that the rewards order most wrongly:")
        lines.append(text_table.table([_shown(row) for row in agreed.worst]))
    return lines


def _accuracy(agreed: Agreement) -> str:
    measured = figures(agreed)
    if not measured:
        return "no labeled pair could be compared"
    interval = f"{measured['wilson_low']:.3f}-{measured['wilson_high']:.3f}"
    return (
        f"accuracy {measured['accuracy']:.3f} ({interval}): {agreed.right:,} of "
        f"{agreed.pairs:,} labeled pairs have the higher reward on the better response"
    )


def _left_out(agreed: Agreement) -> str:
    parts = []
    if agreed.ties:
        parts.append(f"{agreed.ties:,} of them have equal rewards, which count as wrong")
    without = {
        "that are labeled as ties": agreed.label_ties,
        "of equal or unusable responses": agreed.unusable,
        "without a reward for both responses": agreed.unscored,
    }
    listed = [f"{count:,} {reason}" for reason, count in without.items() if count]
    if listed:
        parts.append(f"left out are pairs: {', '.join(listed)}")
    return "".join(f"; {part}" for part in parts)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    place = {name: row[name] for name in ("row", "better", "worse")}
    texts = {
        "prompt": row["prompt"],
        "better response": row["better_text"],
        "worse response": row["worse_text"],
    }
    difference = f"{row['difference']:+.3f}"
    return place | {"difference": difference} | {k: on_one_line(v) for k, v in texts.items()}
