"""Near duplicates by MinHash (Broder 1997): pairs whose prompt and both responses are alike.

Signatures only propose which pairs may be alike; what is compared in the end are the texts. A pair
A-B and a pair A-C of one prompt are different pairs, however long the prompt and A are.

Letters: N pairs, P parts of a pair (prompt, two responses), H hashes of a part's signature, E
edges.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import rensa
import scipy.sparse
from scipy.sparse import csgraph

from rewardjax.data import ngrams

# Compiled: a type checker does not see what is in it.
RMinHash: Any = vars(rensa)["RMinHash"]
# A part's signature is cut into bands, and only pairs that are equal in one band of each part are
# compared: two pairs whose parts have similarity s meet with probability 1 - (1 - s^6)^20, which is
# 0.998 at s = 0.8 and 0.27 at 0.5.
PARTS, BANDS, ROWS = 3, 20, 2
# Tokens. The shorter, the more texts share a piece by chance.
SHINGLE = 5
# Of a similarity that 40 hashes estimate: more than two standard deviations at 0.8, so that the
# comparison of the texts sees nearly all that reach the threshold.
SLACK = 0.15

Shingles = frozenset[str]


def shingles(text: str) -> Shingles:
    """The 5-grams of a text's tokens, lower-cased; the whole text where it has fewer."""
    # Numbers and marks stay what they are: 12 * 7 and 12 + 7 are different tasks.
    tokens = ngrams.tokenize(text, "strict")
    last = max(1, len(tokens) - SHINGLE + 1)
    return frozenset(" ".join(tokens[i : i + SHINGLE]) for i in range(last))


def signature(parts: Sequence[str]) -> np.ndarray:
    """MinHash of the shingles of each part, uint32 [P, H].

    Two signatures of a part agree in a share of places that estimates the Jaccard similarity.
    """
    hashes = []
    for part in parts:
        # One seed for all parts: which response is `a` depends on how its text begins.
        minhash = RMinHash(num_perm=BANDS * ROWS, seed=1)
        minhash.update(sorted(shingles(part)))
        hashes.append(minhash.digest())
    return np.array(hashes, np.uint32)


def stack(signatures: Sequence[np.ndarray]) -> np.ndarray:
    """The signatures as uint32 [N, P, H], also where there is none."""
    return np.array(signatures, np.uint32).reshape(-1, PARTS, BANDS * ROWS)


def similarity(one_pair: Sequence[Shingles], other_pair: Sequence[Shingles]) -> float:
    """The least Jaccard similarity of the parts, the responses in the order that fits better."""
    prompt, a, b = one_pair
    other_prompt, other_a, other_b = other_pair
    as_is = min(_jaccard(a, other_a), _jaccard(b, other_b))
    turned = min(_jaccard(a, other_b), _jaccard(b, other_a))
    return min(_jaccard(prompt, other_prompt), max(as_is, turned))


def _jaccard(one_set: Shingles, other_set: Shingles) -> float:
    return len(one_set & other_set) / len(one_set | other_set)


def groups(signatures_NPH: np.ndarray, threshold: float) -> list[list[int]]:
    """Places of pairs that may be alike: in each group those that a chain of likely ones joins.

    Groups of one are left out; places are ascending.
    """
    count = len(signatures_NPH)
    edges = [np.empty((2, 0), np.int64), *_likely(signatures_NPH, threshold - SLACK)]
    left, right = np.concatenate(edges, axis=1)  # [E], [E]
    graph = scipy.sparse.coo_array((np.ones(len(left)), (left, right)), shape=(count, count))
    _, label_N = csgraph.connected_components(graph, directed=False)
    order = np.argsort(label_N, kind="stable")
    starts = np.flatnonzero(np.diff(label_N[order])) + 1
    return [group.tolist() for group in np.split(order, starts) if len(group) > 1]


def _likely(signatures_NPH: np.ndarray, least: float) -> Iterator[np.ndarray]:
    """Edges [2, E] between pairs that share a band and look alike, one array per band."""
    # rensa has such an index too, but it takes its own objects only, and these signatures were
    # computed by other tasks and read back from files. datatrove's steps are for its own documents.
    odd = np.random.default_rng(0).integers(2**64, size=ROWS, dtype=np.uint64) | np.uint64(1)
    for band in range(BANDS):
        values = signatures_NPH[:, :, band * ROWS : (band + 1) * ROWS].astype(np.uint64)
        prompt_N, a_N, b_N = (values @ odd).T
        # A sum modulo 2^64, the same for both orders of the responses. That two different bands
        # have one sum does no harm: all pairs are compared below.
        key_N = prompt_N * odd[0] + (a_N ^ (a_N >> np.uint64(31))) + (b_N ^ (b_N >> np.uint64(31)))
        # Of those with one key only neighbors are compared, not all pairs: a chain joins the rest.
        # Stable, so that the lower number comes first.
        order = np.argsort(key_N, kind="stable")
        left, right = order[:-1], order[1:]
        same = key_N[left] == key_N[right]
        left, right = left[same], right[same]
        close = _estimates(signatures_NPH[left], signatures_NPH[right]) >= least
        yield np.stack([left[close], right[close]])


def _estimates(left_EPH: np.ndarray, right_EPH: np.ndarray) -> np.ndarray:
    """`similarity`, estimated from signatures, [E]."""
    agreement = np.mean(left_EPH == right_EPH, axis=2)  # [E, P]
    crossed = np.mean(left_EPH[:, 1:] == right_EPH[:, :0:-1], axis=2)  # [E, 2]
    responses = np.maximum(np.min(agreement[:, 1:], axis=1), np.min(crossed, axis=1))
    return np.minimum(agreement[:, 0], responses)


def held(
    group: Sequence[tuple[str, Sequence[Shingles]]], threshold: float
) -> Iterator[tuple[str, str, float]]:
    """Of a group, first pairs first, (pair, the kept pair that it repeats, their similarity).

    A pair is kept unless it is alike to one that is kept: nothing is lost for being alike to a pair
    that is itself lost.
    """
    kept: list[tuple[str, Sequence[Shingles]]] = []
    for pair_id, parts in group:
        likeness = [(similarity(parts, other_parts), other) for other, other_parts in kept]
        highest, nearest = max(likeness, key=lambda each: each[0], default=(0.0, ""))
        if highest >= threshold:
            yield pair_id, nearest, highest
        else:
            kept.append((pair_id, parts))
