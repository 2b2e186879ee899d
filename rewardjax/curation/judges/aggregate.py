"""From many votes about a pair to one: self-consistency within a judge and majority across judges, or Dawid and Skene's model.

Votes are rows of the store's `votes`: `pair_id`, `voter`, `value` (a | b | tie), `shown` (ab | ba | None), of which a voter may have
several a pair. Both methods treat a judge that always names the same position as what it is, no evidence.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

VALUES = ("a", "b", "tie")


@dataclasses.dataclass(frozen=True)
class Merged:
    """value: a | b | tie. confidence: how sure the method is of it, 0 to 1. by_voter: what each voter came to by itself, "inconsistent"
    where that is nothing."""

    value: str
    confidence: float
    by_voter: dict[str, str]


def shares(votes: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How much of one voter's votes about one pair goes to a, b and tie: the mean over the orders shown of the share within an order, so
    that neither order weighs more because the other's answers could not be read. Raises ValueError without votes or for another value."""
    if not votes:
        raise ValueError("aggregate: no votes")
    if unknown := [vote for vote in votes if vote["value"] not in VALUES]:
        voter, pair_id, value = (unknown[0].get(field) for field in ("voter", "pair_id", "value"))
        raise ValueError(
            f"aggregate: value {value!r} of {voter} about {pair_id} is not one of {', '.join(VALUES)}"
        )
    said = [Counter(vote["value"] for vote in same) for same in _by_order(votes).values()]
    return {
        value: float(np.mean([counts[value] / counts.total() for counts in said]))
        for value in VALUES
    }


def self_consistent(votes: Sequence[Mapping[str, Any]], threshold: float = 0.5) -> str | None:
    """What one voter says about one pair: the value with more than `threshold` of its shares, None where no value has that."""
    share = shares(votes)
    best = max(share, key=lambda value: share[value])
    return best if share[best] > threshold else None


def consistency(votes: Iterable[Mapping[str, Any]], threshold: float = 0.5) -> dict[str, Merged]:
    """{pair_id: Merged} by the paper's order: self-consistency within each judge, then the most frequent value across judges.

    A judge that contradicts itself abstains; equally frequent values, or nobody left, make a tie. Confidence is the mean share that the
    judges who did not abstain give to the value (0 where all did)."""
    merged = {}
    for pair_id, by_voter in _by_pair(votes).items():
        own = {voter: self_consistent(given, threshold) for voter, given in by_voter.items()}
        said = Counter(value for value in own.values() if value)
        top = [value for value in said if said[value] == max(said.values())]
        value = top[0] if len(top) == 1 else "tie"
        heard = [shares(by_voter[voter])[value] for voter in own if own[voter]]
        merged[pair_id] = Merged(
            value,
            float(np.mean(heard)) if heard else 0.0,
            {voter: own[voter] or "inconsistent" for voter in own},
        )
    return merged


def _by_order(votes: Sequence[Mapping[str, Any]]) -> dict[str | None, list[Mapping[str, Any]]]:
    found: dict[str | None, list] = {}
    for vote in votes:
        found.setdefault(vote["shown"], []).append(vote)
    return found


def _by_pair(votes: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, list[Mapping[str, Any]]]]:
    found: dict[str, dict[str, list]] = {}
    for vote in votes:
        found.setdefault(vote["pair_id"], {}).setdefault(vote["voter"], []).append(vote)
    return found


# ---------------------------------------------------------------------------------------------------------------- Dawid and Skene


@dataclasses.dataclass(frozen=True)
class DawidSkene:
    """probability [I]: P(a is better) of each pair; confusion [J, 2, 3]: of each voter, P(says first, second, tie | the better response is
    shown first, second); trace: the log posterior after each round, which never falls."""

    pairs: list[str]
    voters: list[str]
    probability: np.ndarray
    confusion: np.ndarray
    trace: list[float]


def dawid_skene(
    votes: Iterable[Mapping[str, Any]],
    *,
    known: Mapping[str, str] | None = None,
    weights: Mapping[str, float] | None = None,
    smoothing: float = 1.0,
    rounds: int = 200,
    tolerance: float = 1e-6,
) -> DawidSkene:
    """Expectation maximization of Dawid and Skene (1979), with a confusion matrix per voter in the terms of what it was *shown*: a judge
    who always names the first response has equal rows, so its votes say nothing.

    An observation is what a voter says of a pair in one order: its samples in that order are no independent witnesses, so they count as
    one, by majority. weights: voter -> how much its observations count (1), to hold down a family of models that err together. known:
    pair_id -> a | b, pairs whose answer is given (gold). smoothing: prior counts of each cell. A pair's better response is a or b with
    even odds, since which is which is arbitrary. Raises ValueError without votes."""
    seen = [
        (pair, voter, order == "ba", VALUES.index(self_consistent(same) or "tie"))
        for pair, by_voter in _by_pair(votes).items()
        for voter, said in by_voter.items()
        for order, same in _by_order(said).items()
    ]
    if not seen:
        raise ValueError("aggregate: no votes")
    pairs, i = _indexed([pair for pair, *_ in seen])
    voters, j = _indexed([voter for _, voter, *_ in seen])
    turned, value = np.array([[turned, value] for *_, turned, value in seen], np.int64).T
    said = np.where(value == 2, 2, value ^ turned)  # first, second, tie
    weight = np.array([(weights or {}).get(voter, 1.0) for voter in voters])[j]

    given = np.array([VALUES.index((known or {}).get(pair, "tie")) for pair in pairs])
    fixed = np.where(given[:, None] == 2, np.nan, given[:, None] == np.arange(2))  # [I, 2]
    counted = (
        np.stack([np.bincount(i, weight * (value == side), len(pairs)) for side in (0, 1)], axis=1)
        + 0.5
    )
    q = _clamped(counted / counted.sum(1, keepdims=True), fixed)
    trace: list[float] = []
    for _ in range(rounds):
        counts = np.full((len(voters), 2, 3), smoothing)
        for side in (0, 1):  # the better response is a, b: it was shown at place side ^ turned
            np.add.at(counts, (j, side ^ turned, said), weight * q[i, side])
        confusion = counts / counts.sum(-1, keepdims=True)
        heard = np.stack(
            [
                np.bincount(i, weight * np.log(confusion[j, side ^ turned, said]), len(pairs))
                for side in (0, 1)
            ],
            axis=1,
        )
        total = np.logaddexp(heard[:, 0], heard[:, 1])
        likelihood = np.where(
            given == 2, total, np.take_along_axis(heard, np.minimum(given, 1)[:, None], 1)[:, 0]
        )
        trace.append(
            float(likelihood.sum() + smoothing * np.log(confusion).sum() - len(pairs) * np.log(2))
        )
        before, q = q, _clamped(np.exp(heard - total[:, None]), fixed)
        if np.abs(q - before).max() < tolerance:
            break
    return DawidSkene(pairs, voters, q[:, 0], confusion, trace)


def _indexed(names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    distinct = list(dict.fromkeys(names))
    place = {name: k for k, name in enumerate(distinct)}
    return distinct, np.array([place[name] for name in names])


def _clamped(q: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(fixed), q, fixed)


def reliability(
    votes: Iterable[Mapping[str, Any]], *, certainty: float = 0.6, **options: Any
) -> dict[str, Merged]:
    """{pair_id: Merged} by `dawid_skene` (which takes the options): a or b where its probability is at least `certainty`, else a tie."""
    rows = list(votes)
    fitted, given = dawid_skene(rows, **options), _by_pair(rows)
    merged = {}
    for pair_id, p in zip(fitted.pairs, fitted.probability, strict=True):
        value = "a" if p >= certainty else "b" if 1 - p >= certainty else "tie"
        own = {
            voter: self_consistent(said) or "inconsistent" for voter, said in given[pair_id].items()
        }
        merged[pair_id] = Merged(value, float(max(p, 1 - p)), own)
    return merged


METHODS: dict[str, Callable[..., dict[str, Merged]]] = {
    "consistency": consistency,
    "dawid_skene": reliability,
}
