"""Near duplicates by MinHash (Broder 1997): a signature per text, and clusters of close ones.

Letters: N texts, S numbers of a signature.
"""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import rensa
import scipy.sparse
from scipy.sparse import csgraph

# Compiled: a type checker does not see what is in it.
RMinHash: Any = vars(rensa)["RMinHash"]
# A signature is cut into bands, and only texts that are equal in a band are compared: two texts of
# similarity s meet with probability 1 - (1 - s^6)^20, which is 0.998 at s = 0.8 and 0.27 at 0.5.
BANDS, ROWS = 20, 6
# Words. The shorter, the more texts share a piece by chance.
SHINGLE = 5


def signature(text: str) -> np.ndarray:
    """MinHash of the 5-grams of lower-cased words, uint32 [S].

    Two signatures agree in a share of places that estimates the Jaccard similarity of the sets of
    5-grams.
    """
    # Numbers stay what they are: two tasks that differ in a number alone are different tasks.
    words = re.findall(r"\w+", text.lower())
    last = max(1, len(words) - SHINGLE + 1)
    shingles = [" ".join(words[i : i + SHINGLE]) for i in range(last)]
    minhash = RMinHash(num_perm=BANDS * ROWS, seed=1)
    minhash.update(shingles)
    return np.array(minhash.digest(), np.uint32)


def stack(signatures: list[np.ndarray]) -> np.ndarray:
    """The signatures as uint32 [N, S], also where there is none."""
    return np.array(signatures, np.uint32).reshape(-1, BANDS * ROWS)


def clusters(signatures_NS: np.ndarray, threshold: float) -> np.ndarray:
    """For each signature the first one of its cluster, int64 [N].

    Itself where it is alone or first. Two belong together when they are equal in a band and agree
    in at least `threshold` of their places, or when a chain of such pairs joins them.
    """
    count = len(signatures_NS)
    edges = [np.empty((2, 0), np.int64), *_close_pairs(signatures_NS, threshold)]
    left, right = np.concatenate(edges, axis=1)
    graph = scipy.sparse.coo_array((np.ones(len(left)), (left, right)), shape=(count, count))
    _, label_N = csgraph.connected_components(graph, directed=False)
    _, first = np.unique(label_N, return_index=True)
    return first[label_N].astype(np.int64)


def _close_pairs(signatures_NS: np.ndarray, threshold: float) -> Iterator[np.ndarray]:
    """Pairs [2, n] that share a band and are close, one array per band."""
    # rensa has such an index too, but it takes its own objects only, and these signatures were
    # computed by other tasks and read back from files. datatrove's steps are for its own documents.
    odd = np.random.default_rng(0).integers(2**64, size=ROWS, dtype=np.uint64) | np.uint64(1)
    for band in range(BANDS):
        values = signatures_NS[:, band * ROWS : (band + 1) * ROWS]
        # A sum modulo 2^64. That two different bands have one sum does no harm: all pairs are
        # compared in full below.
        key_N = values.astype(np.uint64) @ odd
        # Of those with one key only neighbors are compared, not all pairs: a chain joins the rest.
        # Stable, so that the lower number comes first.
        order = np.argsort(key_N, kind="stable")
        left, right = order[:-1], order[1:]
        same = key_N[left] == key_N[right]
        left, right = left[same], right[same]
        agreement = np.mean(signatures_NS[left] == signatures_NS[right], axis=1)
        close = agreement >= threshold
        yield np.stack([left[close], right[close]])
