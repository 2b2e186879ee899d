"""How well people do: checks with a known answer, and pairs that several people answered."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rewardjax.curation.ledger.rows import VoteRow
from rewardjax.curation.ledger.store import Store
from rewardjax.stats import agreement
from rewardjax.stats.intervals import wilson

# Of the ledger `votes`: what people were paid for. Gold that a team owned was there before.
PAID = "kind in ('human', 'check', 'suspended') and iteration >= 0"


class Checks(NamedTuple):
    """An annotator's answers to checks whose pair others have labeled."""

    right: int
    total: int

    @property
    def accuracy(self) -> float:
        """The share that says what most others said."""
        return self.right / self.total


def votes(store: Store, but_of: str = "") -> list[VoteRow]:
    """Every vote of a person in the ledger, the earlier first, but those of the stage `but_of`."""
    return store.query(
        "select * from votes where kind in ('human', 'check', 'suspended') and stage <> ? "
        "order by iteration, stage, unit, pair_id, voter, sample",
        [but_of],
    ).to_pylist()


def _opinions(rows: Iterable[VoteRow]) -> dict[str, dict[str, str]]:
    """pair_id -> voter -> value; of several votes by one person the last counts."""
    opinions: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        if row["kind"] == "human":
            opinions[row["pair_id"]][row["voter"]] = row["value"]
    return opinions


def checks(rows: Iterable[VoteRow]) -> dict[str, Checks]:
    """Annotator -> how the checks went, for those who had any that can be measured."""
    rows = list(rows)
    opinions = _opinions(rows)
    matches: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        if row["kind"] != "check":
            continue
        # Not the person's own word: it would be measured against itself.
        by_voter = opinions.get(row["pair_id"], {})
        others = Counter(value for voter, value in by_voter.items() if voter != row["voter"])
        if others:
            # Where opinions are split evenly, each of them will do.
            matches[row["voter"]].append(others[row["value"]] == max(others.values()))
    return {
        voter.removeprefix("human:"): Checks(sum(right), len(right))
        for voter, right in matches.items()
    }


def suspended(rows: Iterable[VoteRow], below: float | None, after: int) -> dict[str, Checks]:
    """Those whose accuracy on checks is `below` that, after at least so many; None: nobody."""
    if below is None:
        return {}
    return {
        name: measured
        for name, measured in checks(rows).items()
        if measured.total >= after and measured.accuracy < below
    }


def tables(rows: Iterable[VoteRow]) -> dict[str, list[dict[str, Any]]]:
    """How well people do, by heading.

    "People": for each annotator the answers, those that do not count because the person was
    suspended, the checks among them whose pair others labeled, and the share of these that say
    what most others said, with its interval (Wilson, 95%). "People who answered the same pair":
    `agreement.compare` of the first two, empty where nobody did.
    """
    rows = list(rows)
    measured = checks(rows)
    answers = Counter(row["voter"] for row in rows)
    not_counted = Counter(row["voter"] for row in rows if row["kind"] == "suspended")
    people = []
    for voter in sorted(answers):
        name = voter.removeprefix("human:")
        row: dict[str, Any] = {"annotator": name, "answers": answers[voter]}
        if not_counted:
            row["not counted"] = not_counted[voter]
        row |= {"checks": 0, "right": None, "low": None, "high": None}
        if name in measured:
            row |= {"checks": measured[name].total, "right": measured[name].accuracy}
            row["low"], row["high"] = wilson(measured[name].right, measured[name].total)
        people.append(row)
    return {"People": people, "People who answered the same pair": _overlap(_opinions(rows))}


def _overlap(opinions: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    first, second = [], []
    for _, by_voter in sorted(opinions.items()):
        if len(by_voter) > 1:
            # The first two by name; a third opinion is rare.
            voter, another = sorted(by_voter)[:2]
            first.append(by_voter[voter])
            second.append(by_voter[another])
    if not first:
        return []
    return [dict(agreement.compare(first, second))]
