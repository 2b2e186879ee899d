"""How far a judge's answers depend on what they should not: a response's position, length or form.

Votes are rows of the store's `votes` (several samples per pair, in both orders). Position measures
follow arXiv 2406.07791.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rewardjax.stats.intervals import wilson

Votes = Iterable[Mapping[str, Any]]
Pairs = Iterable[tuple[str, Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]]

# A judge that is above this share of "No preference" in at least so many answers learned nothing
# from the pairs. Data may hold many ties, but a panel is asked about pairs that are worth a label;
# below twenty answers, honest ties are too likely.
TIES_ABOVE = 0.9
TIES_OF_AT_LEAST = 20


class Count:
    """Hits among trials."""

    def __init__(self):
        self.hits = self.trials = 0

    def add(self, hit: bool) -> None:
        """Count one more trial."""
        self.hits += hit
        self.trials += 1

    def share(self) -> dict[str, Any]:
        """The proportion with its Wilson interval."""
        return share(self.hits, self.trials)


def share(hits: int, total: int) -> dict[str, Any]:
    """A proportion with its 95% Wilson interval; None where there is nothing to count."""
    if not total:
        return {"share": None, "low": None, "high": None, "count": 0}
    # Wilson and not Wald: shares near 0 and 1 are what a biased judge has, and Wald's interval has
    # no width there.
    low, high = wilson(hits, total)
    return {"share": hits / total, "low": low, "high": high, "count": total}


def undecided_judges(answers: Mapping[str, int], ties: Mapping[str, int]) -> list[str]:
    """A warning per judge that says "No preference" to nearly everything: it learned nothing.

    Args:
        answers: voter -> how many.
        ties: voter -> how many of these are ties.
    """
    return [
        f'{voter} says "No preference" in {ties[voter]} of {count} answers; '
        "read some of them (`curate explain`), and check its prompt and what its server knows"
        for voter, count in sorted(answers.items())
        if count >= TIES_OF_AT_LEAST and ties[voter] > TIES_ABOVE * count
    ]


def position(votes: Votes) -> dict[str, dict[str, Any]]:
    """{voter: measures} of how much the place of a response decides.

    said_first, said_second, said_tie: shares of all votes. consistency: of the pairs of votes in
    different orders about one pair, the share that agree. repetition: the same in one order, what
    chance alone costs. primacy: of the pairs of votes that name one position in both orders, the
    share that name the first: 0.5 is fair, 1 is total primacy and 0 total recency.
    """
    report = {}
    for voter, by_pair in _by_voter(votes).items():
        places = Counter()
        swapped, repeated, stuck = Count(), Count(), Count()
        for votes_of_pair in by_pair.values():
            places.update(map(_place, votes_of_pair))
            # Every two votes about a pair are compared: with n samples per order that uses all of
            # them, not just n.
            for first, second in itertools.combinations(votes_of_pair, 2):
                agree = first["value"] == second["value"]
                if first["shown"] == second["shown"]:
                    repeated.add(agree)
                    continue
                swapped.add(agree)
                # The same place in both orders is another response each time: the place was chosen.
                if _place(first) == _place(second) != "tie":
                    stuck.add(_place(first) == "first")
        total = places.total()
        report[voter] = {
            "said_first": share(places["first"], total),
            "said_second": share(places["second"], total),
            "said_tie": share(places["tie"], total),
            "consistency": swapped.share(),
            "repetition": repeated.share(),
            "primacy": stuck.share(),
        }
    return report


def leaning(
    votes: Votes, more: Mapping[str, float], reference: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """{voter: measures} of a feature's pull.

    `more[pair_id]` is how much more of the feature response a has than b (characters, bullets,
    ...), `reference[pair_id]` a, b or tie (e.g. human labels).

    prefers_more: of the votes for a response that differ in the feature, the share for the one with
    more. reference_prefers_more: the same of the reference on those pairs. agreement_more,
    agreement_less: agreement with the reference where it prefers the response with more, with less;
    gap: their difference, 0 for a judge that does not look at the feature.
    """
    report = {}
    for voter, by_pair in _by_voter(votes).items():
        prefers, reference_prefers = Count(), Count()
        agreement = {True: Count(), False: Count()}
        for pair_id, votes_of_pair in by_pair.items():
            difference = more.get(pair_id, 0)
            # Responses that are alike in the feature say nothing about it.
            if not difference:
                continue
            with_more = "ba"[difference > 0]
            right = reference.get(pair_id, "tie")
            for vote in votes_of_pair:
                if vote["value"] != "tie":
                    prefers.add(vote["value"] == with_more)
                if right != "tie":
                    agreement[right == with_more].add(vote["value"] == right)
            if right != "tie":
                reference_prefers.add(right == with_more)
        high, low = agreement[True].share(), agreement[False].share()
        gap = None
        if high["count"] and low["count"]:
            gap = high["share"] - low["share"]
        report[voter] = {
            "prefers_more": prefers.share(),
            "reference_prefers_more": reference_prefers.share(),
            "agreement_more": high,
            "agreement_less": low,
            "gap": gap,
        }
    return report


def longer(pairs: Pairs) -> dict[str, float]:
    """{pair_id: characters of response a minus those of b} of (pair_id, a, b), for `leaning`."""
    return difference(pairs, lambda text: float(len(text)))


def difference(pairs: Pairs, feature: Callable[[str], float]) -> dict[str, float]:
    """{pair_id: feature of response a minus that of b}, of the text of all messages."""
    return {
        pair_id: feature(_text(response_a)) - feature(_text(response_b))
        for pair_id, response_a, response_b in pairs
    }


def _text(response: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(message["content"] for message in response)


def _place(vote: Mapping[str, Any]) -> str:
    """Where the preferred response stood: first, second or tie."""
    if vote["value"] == "tie":
        return "tie"
    return ("first", "second")[vote["shown"].index(vote["value"])]


def _by_voter(votes: Votes) -> dict[str, dict[str, list[Mapping[str, Any]]]]:
    """{voter: {pair_id: votes}} of the votes that were shown in an order.

    An opinion that saw no order (an original label, a panel's) has no position.
    """
    by_voter: dict[str, dict[str, list]] = {}
    for vote in votes:
        if vote["shown"]:
            of_voter = by_voter.setdefault(vote["voter"], {})
            of_voter.setdefault(vote["pair_id"], []).append(vote)
    return by_voter
