"""How far a judge's answers depend on what they should not: the position of a response, its length, its dress.

Votes are rows of the store's `votes` (several samples of a pair, in both orders). Position measures follow arXiv 2406.07791.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from scipy import stats

Votes = Iterable[Mapping[str, Any]]


def share(hits: int, total: int) -> dict[str, Any]:
    """A proportion with its Wilson interval; None where there is nothing to count."""
    if not total:
        return {"share": None, "low": None, "high": None, "count": 0}
    interval = stats.binomtest(hits, total).proportion_ci(0.95, method="wilson")
    return {
        "share": hits / total,
        "low": float(interval.low),
        "high": float(interval.high),
        "count": total,
    }


def position(votes: Votes) -> dict[str, dict[str, Any]]:
    """{voter: measures}.

    said_first, said_second, said_tie: shares of all votes. consistency: of the pairs of votes in different orders about one pair, the share
    that agree. repetition: the same in one order, what chance alone costs. primacy: of the pairs of votes that name one position in both
    orders, the share that name the first: 0.5 is fair, 1 is total primacy and 0 total recency."""
    report = {}
    for voter, by_pair in _by_voter(votes).items():
        places, swapped, repeated, stuck = [], [0, 0], [0, 0], [0, 0]
        for given in by_pair.values():
            places += [_place(vote) for vote in given]
            for one, other in itertools.combinations(given, 2):
                same_order = one["shown"] == other["shown"]
                count = repeated if same_order else swapped
                count[0] += one["value"] == other["value"]
                count[1] += 1
                if not same_order and _place(one) == _place(other) != "tie":
                    stuck[0] += _place(one) == "first"
                    stuck[1] += 1
        report[voter] = {
            **{
                f"said_{place}": share(places.count(place), len(places))
                for place in ("first", "second", "tie")
            },
            "consistency": share(*swapped),
            "repetition": share(*repeated),
            "primacy": share(*stuck),
        }
    return report


def leaning(
    votes: Votes, more: Mapping[str, float], reference: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """{voter: measures} of a feature: `more[pair_id]` is how much more of it response a has than b (characters, bullets, ...).

    prefers_more: of the votes for a response that differ in the feature, the share for the one with more. reference_prefers_more: the same
    of the reference (pair_id -> a | b | tie, e.g. human labels) on those pairs. agreement_more, agreement_less: agreement with the
    reference where it prefers the response with more, with less; gap: their difference, 0 for a judge that does not look at the feature."""
    report = {}
    for voter, by_pair in _by_voter(votes).items():
        said, meant = [0, 0], [0, 0]
        agreed = {True: [0, 0], False: [0, 0]}
        for pair_id, given in by_pair.items():
            if not (difference := more.get(pair_id, 0)):
                continue
            with_more, right = "a" if difference > 0 else "b", reference.get(pair_id, "tie")
            for vote in given:
                if vote["value"] != "tie":
                    said[0] += vote["value"] == with_more
                    said[1] += 1
                if right != "tie":
                    agreed[right == with_more][0] += vote["value"] == right
                    agreed[right == with_more][1] += 1
            if right != "tie":
                meant[0] += right == with_more
                meant[1] += 1
        high, low = share(*agreed[True]), share(*agreed[False])
        report[voter] = {
            "prefers_more": share(*said),
            "reference_prefers_more": share(*meant),
            "agreement_more": high,
            "agreement_less": low,
            "gap": high["share"] - low["share"] if high["count"] and low["count"] else None,
        }
    return report


def longer(
    pairs: Iterable[tuple[str, Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]],
) -> dict[str, float]:
    """{pair_id: characters of response a minus those of b} of (pair_id, a, b), for `leaning`."""
    return difference(pairs, lambda text: float(len(text)))


def difference(
    pairs: Iterable[tuple[str, Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]],
    feature: Callable[[str], float],
) -> dict[str, float]:
    """{pair_id: feature of response a minus that of b}; a response's text is that of all its messages."""
    text = lambda response: "\n".join(message["content"] for message in response)
    return {pair_id: feature(text(a)) - feature(text(b)) for pair_id, a, b in pairs}


def _place(vote: Mapping[str, Any]) -> str:
    return (
        "tie" if vote["value"] == "tie" else ("first", "second")[vote["shown"].index(vote["value"])]
    )


def _by_voter(votes: Votes) -> dict[str, dict[str, list[Mapping[str, Any]]]]:
    """{voter: {pair_id: votes}} of the votes that were shown in an order; an opinion without one has no position."""
    found: dict[str, dict[str, list]] = {}
    for vote in votes:
        if vote["shown"]:
            found.setdefault(vote["voter"], {}).setdefault(vote["pair_id"], []).append(vote)
    return found
