"""From many votes about a pair to one: majorities, or Dawid and Skene's model.

Votes are rows of the store's `votes`: `pair_id`, `voter`, `value` (a | b | tie), `shown` (ab | ba |
None), of which a voter may have several per pair. Both methods treat a judge that always names the
same position as what it is, no evidence. There may be millions of votes, so `merge` reads them in
parts; what a method keeps of each pair is numbers in arrays.
"""

import dataclasses
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from rewardjax.curation.ledger.rows import Value

VALUES: tuple[Value, ...] = ("a", "b", "tie")
A, B, TIE = range(
    3
)  # places in VALUES, and of first, second and tie where a vote is about positions

Vote = Mapping[str, Any]
# Starts anew whenever it is called: votes in parts, each with all votes about its pairs. Dawid and
# Skene's model reads them twice, to be fitted and to be asked.
Parts = Callable[[], Iterable[Iterable[Vote]]]


@dataclasses.dataclass(frozen=True)
class Merged:
    """What the votes about a pair come to.

    value: a | b | tie. confidence: how sure the method is of it, 0 to 1. by_voter: what each voter
    came to by itself, "inconsistent" where that is nothing.
    """

    value: Value
    confidence: float
    by_voter: dict[str, str]


# ------------------------------------------------------------------ self-consistency and majority


def shares(votes: Sequence[Vote]) -> dict[Value, float]:
    """How much of one voter's votes about one pair goes to a, b and tie.

    Raises ValueError without votes or for another value.
    """
    if not votes:
        raise ValueError("aggregate: no votes")
    for vote in votes:
        if vote["value"] not in VALUES:
            raise ValueError(
                f"aggregate: value {vote['value']!r} of {vote.get('voter')} about "
                f"{vote.get('pair_id')} is not one of {', '.join(VALUES)}"
            )
    # The mean over the orders of the share within an order, and not the share of all votes: else
    # the order of which more answers could be read would weigh more, and with it a position bias.
    by_order = [Counter(vote["value"] for vote in same) for same in _by_order(votes).values()]
    mean_share = {}
    for value in VALUES:
        mean_share[value] = float(np.mean([counts[value] / counts.total() for counts in by_order]))
    return mean_share


def self_consistent(votes: Sequence[Vote], threshold: float = 0.5) -> Value | None:
    """What one voter says about one pair: the value with more than `threshold` of its shares.

    None where no value has that.
    """
    share = shares(votes)
    best = max(share, key=lambda value: share[value])
    if share[best] > threshold:
        return best
    return None


def consistency(votes: Iterable[Vote], threshold: float = 0.5) -> dict[str, Merged]:
    """{pair_id: Merged} in the paper's order: self-consistency within each judge, then majority.

    A judge that contradicts itself abstains; equally frequent values, or nobody left, make a tie.
    Confidence is the mean share that the judges who did not abstain give to the value (0 where all
    did).
    """
    merged = {}
    # What was said of a pair is one of few patterns, of which each is merged once.
    of_pattern: dict[tuple[Any, ...], Merged] = {}
    for pair_id, by_voter in _by_pair(votes).items():
        answers = []
        for voter, own in by_voter.items():
            answers += [(voter, vote["shown"], vote["value"]) for vote in own]
        pattern = tuple(answers)
        if pattern not in of_pattern:
            of_pattern[pattern] = _by_majority(by_voter, threshold)
        merged[pair_id] = of_pattern[pattern]
    return merged


def _by_majority(by_voter: Mapping[str, Sequence[Vote]], threshold: float) -> Merged:
    """What the votes about one pair come to by `consistency`."""
    opinions: dict[str, Value] = {}
    for voter, own_votes in by_voter.items():
        opinion = self_consistent(own_votes, threshold)
        if opinion is not None:
            opinions[voter] = opinion
    counts: Counter[Value] = Counter(opinions.values())
    most_frequent: list[Value] = [
        opinion for opinion in counts if counts[opinion] == max(counts.values())
    ]
    value: Value = "tie"
    if len(most_frequent) == 1:
        value = most_frequent[0]
    confidence = 0.0
    if opinions:
        confidence = float(np.mean([shares(by_voter[voter])[value] for voter in opinions]))
    own = {voter: opinions.get(voter, "inconsistent") for voter in by_voter}
    return Merged(value, confidence, own)


def consistency_in_parts(parts: Parts, threshold: float = 0.5) -> Iterator[dict[str, Merged]]:
    """`consistency` of each part."""
    for votes in parts():
        yield consistency(votes, threshold)


def _by_order(votes: Sequence[Vote]) -> dict[str | None, list[Vote]]:
    by_order: dict[str | None, list] = {}
    for vote in votes:
        by_order.setdefault(vote["shown"], []).append(vote)
    return by_order


def _by_pair(votes: Iterable[Vote]) -> dict[str, dict[str, list[Vote]]]:
    """{pair_id: {voter: votes}}."""
    by_pair: dict[str, dict[str, list]] = {}
    for vote in votes:
        by_voter = by_pair.setdefault(vote["pair_id"], {})
        by_voter.setdefault(vote["voter"], []).append(vote)
    return by_pair


# ------------------------------------------------------------------ Dawid and Skene


@dataclasses.dataclass(frozen=True)
class DawidSkene:
    """The fitted model of I pairs and J voters.

    probability [I]: P(a is better) of each pair. confusion [J, 2, 3]: of each voter, P(says first,
    second, tie | the better response is shown first, second). trace: the log posterior after each
    round, which never falls.
    """

    pairs: pa.ChunkedArray
    voters: list[str]
    probability: np.ndarray
    confusion: np.ndarray
    trace: list[float]


@dataclasses.dataclass(frozen=True)
class _Observations:
    """N observations: what a voter says of a pair in one order."""

    pairs: pa.ChunkedArray  # text [I]
    voters: list[str]  # of J
    pair: np.ndarray  # int32 [N], places in `pairs`
    voter: np.ndarray  # int32 [N], places in `voters`
    turned: np.ndarray  # int8 [N], 1 where response b was shown first
    value: np.ndarray  # int8 [N], places in VALUES

    @property
    def position(self) -> np.ndarray:
        """What was said in terms of what was shown, int [N]: first, second, tie."""
        return np.where(self.value == TIE, TIE, self.value ^ self.turned)

    def place_of(self, side: int) -> np.ndarray:
        """Where response a (0) or b (1) was shown, int [N]: 0 first, 1 second."""
        return side ^ self.turned


def dawid_skene(
    votes: Iterable[Vote],
    *,
    known: Mapping[str, str] | None = None,
    weights: Mapping[str, float] | None = None,
    smoothing: float = 1.0,
    rounds: int = 200,
    tolerance: float = 1e-6,
) -> DawidSkene:
    """Expectation maximization of Dawid and Skene (1979), by the position that a voter was *shown*.

    A judge who always names the first response has equal rows in its confusion matrix, so its votes
    say nothing. A pair's better response is a or b with even odds, since which is which is
    arbitrary.

    Args: votes: rows of the store's `votes`. known: pair_id -> a | b, pairs whose answer is given
    (gold). weights: voter -> how much its observations count (1), to hold down a family of models
    that err together. smoothing: prior counts of each cell of a confusion matrix. rounds: of
    expectation and maximization, at most. tolerance: the change of a probability below which no
    further round is worth it.

    Raises ValueError without votes.
    """
    return _fitted(
        _observations([votes]),
        known=known,
        weights=weights,
        smoothing=smoothing,
        rounds=rounds,
        tolerance=tolerance,
    )


def _fitted(
    seen: _Observations,
    *,
    known: Mapping[str, str] | None,
    weights: Mapping[str, float] | None,
    smoothing: float,
    rounds: int = 200,
    tolerance: float = 1e-6,
) -> DawidSkene:
    """`dawid_skene` of observations."""
    n_pairs, n_voters = len(seen.pairs), len(seen.voters)
    per_voter = np.array([(weights or {}).get(voter, 1.0) for voter in seen.voters])  # [J]
    weight = per_voter[seen.voter]  # [N]
    gold = np.full(n_pairs, TIE)  # [I]
    if known:
        gold = np.array([VALUES.index(known.get(pair, "tie")) for pair in seen.pairs.to_pylist()])
    # Certainty where the answer is given, NaN where it is to be estimated. [I, 2]
    fixed = np.where(gold[:, None] == TIE, np.nan, gold[:, None] == np.arange(2))

    # The start is the share of weighted votes for each side, drawn to even odds by half a vote:
    # from even odds themselves no round would ever move away.
    votes_for = [np.bincount(seen.pair, weight * (seen.value == side), n_pairs) for side in (A, B)]
    start = np.stack(votes_for, axis=1) + 0.5  # [I, 2]
    posterior = _clamped(start / start.sum(axis=1, keepdims=True), fixed)
    trace: list[float] = []
    for _ in range(rounds):
        # Maximization: how often each voter says what, by where the better response stood. [J, 2,
        # 3]
        counts = np.full((n_voters, 2, 3), smoothing)
        for side in (A, B):
            cell = (seen.voter, seen.place_of(side), seen.position)
            np.add.at(counts, cell, weight * posterior[seen.pair, side])
        confusion = counts / counts.sum(axis=-1, keepdims=True)
        # Expectation: how likely all that was said of a pair is, if a or if b is better. [I, 2]
        log_likelihood = np.zeros((n_pairs, 2))
        for side in (A, B):
            log_p = np.log(confusion[seen.voter, seen.place_of(side), seen.position])  # [N]
            log_likelihood[:, side] = np.bincount(seen.pair, weight * log_p, n_pairs)
        trace.append(_log_posterior(log_likelihood, gold, confusion, smoothing))
        total = np.logaddexp(log_likelihood[:, A], log_likelihood[:, B])  # [I]
        before = posterior
        posterior = _clamped(np.exp(log_likelihood - total[:, None]), fixed)
        if np.abs(posterior - before).max() < tolerance:
            break
    return DawidSkene(seen.pairs, seen.voters, posterior[:, A], confusion, trace)


def _observations(parts: Iterable[Iterable[Vote]]) -> _Observations:
    """The votes as arrays, the samples of a voter in one order as one observation by majority.

    Samples in one order share all that sways the voter: they are no independent witnesses, and
    counting each of them would make the model too sure.
    """
    pairs: list[pa.Array] = []
    place_of: dict[str, int] = {}  # voter -> place in order of appearance
    columns: list[np.ndarray] = []  # int32 [4, observations of a part]
    count = 0
    for votes in parts:
        by_pair = _by_pair(votes)
        rows = []
        for pair, by_voter in enumerate(by_pair.values(), start=count):
            for name, own_votes in by_voter.items():
                voter = place_of.setdefault(name, len(place_of))
                for order, same in _by_order(own_votes).items():
                    value = VALUES.index(self_consistent(same) or "tie")
                    rows.append((pair, voter, order == "ba", value))
        # Numbers from here on: a part's votes are gone before the next part is read.
        columns.append(np.array(rows, np.int32).reshape(-1, 4).T)
        pairs.append(pa.array(list(by_pair), pa.string()))
        count += len(by_pair)
    if not count:
        raise ValueError("aggregate: no votes")
    pair, voter, turned, value = np.concatenate(columns, axis=1)
    return _Observations(
        pa.chunked_array(pairs, pa.string()),
        list(place_of),
        pair,
        voter,
        turned.astype(np.int8),
        value.astype(np.int8),
    )


def _log_posterior(
    log_likelihood: np.ndarray, gold: np.ndarray, confusion: np.ndarray, smoothing: float
) -> float:
    """The quantity that no round lowers: log P(votes) of [I, 2] plus the log prior of [J, 2, 3]."""
    total = np.logaddexp(log_likelihood[:, A], log_likelihood[:, B])
    side = np.minimum(gold, B)[:, None]
    of_gold_side = np.take_along_axis(log_likelihood, side, axis=1)[:, 0]
    of_pairs = np.where(gold == TIE, total, of_gold_side)  # [I]
    prior = smoothing * np.log(confusion).sum() - len(gold) * np.log(2)
    return float(of_pairs.sum() + prior)


def _clamped(posterior: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(fixed), posterior, fixed)


def reliability(
    votes: Iterable[Vote],
    *,
    certainty: float = 0.6,
    known: Mapping[str, str] | None = None,
    weights: Mapping[str, float] | None = None,
    smoothing: float = 1.0,
) -> dict[str, Merged]:
    """{pair_id: Merged} by `dawid_skene`: a or b where its probability is at least `certainty`.

    Else a tie.
    """
    rows = list(votes)
    (merged,) = reliability_in_parts(
        lambda: [rows], certainty=certainty, known=known, weights=weights, smoothing=smoothing
    )
    return merged


def reliability_in_parts(
    parts: Parts,
    *,
    certainty: float = 0.6,
    known: Mapping[str, str] | None = None,
    weights: Mapping[str, float] | None = None,
    smoothing: float = 1.0,
) -> Iterator[dict[str, Merged]]:
    """`reliability` part by part, of one model that is fitted to all parts."""
    seen = _observations(parts())
    fitted = _fitted(seen, known=known, weights=weights, smoothing=smoothing)
    start = 0
    for votes in parts():
        by_pair = _by_pair(votes)
        # The second reading has the pairs in the order of the first.
        of_part = fitted.probability[start : start + len(by_pair)].tolist()
        start += len(by_pair)
        merged = {}
        for (pair_id, by_voter), p in zip(by_pair.items(), of_part, strict=True):
            merged[pair_id] = _by_probability(p, certainty, by_voter)
        yield merged


def _by_probability(p: float, certainty: float, by_voter: Mapping[str, Sequence[Vote]]) -> Merged:
    """What P(a is better) says of a pair."""
    value: Value = "tie"
    if p >= certainty:
        value = "a"
    elif 1 - p >= certainty:
        value = "b"
    own = {}
    for voter, own_votes in by_voter.items():
        own[voter] = self_consistent(own_votes) or "inconsistent"
    return Merged(value, max(p, 1 - p), own)


METHODS: dict[str, Callable[..., Iterator[dict[str, Merged]]]] = {
    "consistency": consistency_in_parts,
    "dawid_skene": reliability_in_parts,
}


def merge(parts: Parts, method: str, **options: Any) -> Iterator[dict[str, Merged]]:
    """{pair_id: Merged} of each part by one of METHODS.

    Raises ValueError for an option that it lacks.
    """
    if method not in METHODS:
        raise ValueError(f"panel.method = {method!r} is not one of {', '.join(METHODS)}")
    # A config holds the options of all methods side by side: one that would change nothing is an
    # error.
    takes = list(inspect.signature(METHODS[method]).parameters)[1:]
    for name in options:
        if name not in takes:
            raise ValueError(f"panel.{name}: method {method!r} takes only {', '.join(takes)}")
    return METHODS[method](parts, **options)
