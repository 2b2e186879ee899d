"""The rules of Stage 1 on plain arrays: which pairs to label next, and by whom.

No ledger, no model and no server: the stages feed these rules from the ledger, and a simulation may
feed them from anything. The other rules stand beside what they are about: k(p) and the pull in
`retrieval/search.py`, the strategies that retrieval has to beat in `retrieval/selection.py`, the
merging of judges in `judges/aggregate.py`, the decision tables in `ledger/decision_tables.py`, the
people's queue in `people.py`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from rewardjax.curation.retrieval import search
from rewardjax.parallel.mesh import make_mesh

SELECTIONS = ("retrieval", "uncertainty", "diversity", "random")

# k -> ([Q, k] rows of the pool nearest to each of Q gold pairs, best first, -1 where there is none;
# [Q, k] their similarities).
Neighbors = Callable[[int], tuple[np.ndarray, np.ndarray]]


class Retrieved(NamedTuple):
    """Rows of the pool [n] in the order they were pulled, and what pulled each.

    query: the gold pair; rank: 0 for its nearest neighbor; k_max: with which the rule filled the
    budget, or came nearest to it.
    """

    row: np.ndarray
    query: np.ndarray
    rank: np.ndarray
    k_max: int


def retrieve(p: np.ndarray, neighbors: Neighbors, pool: int, k_max: int, budget: int) -> Retrieved:
    """The pairs that gold pairs pull by the k(p) rule (paper, section 1.3), `budget` of them.

    Gold pairs share neighbors, so the rule with the paper's k_max can pull fewer pairs than there
    is a budget for. Then k_max is doubled, as often as needed, and the rule applied anew: the picks
    are always those of the rule itself at one k_max, in its order (errors before the rest, nearer
    neighbors before farther ones, the lower p first). Fewer than `budget` come back only where the
    rule at k_max = `pool` pulls no more: a gold pair of which the model is sure (p = 1) pulls
    nothing whatever k_max is.

    Args:
        p: [Q] probability that the model gives to the gold label.
        neighbors: of the Q gold pairs in the pool.
        pool: how many pairs there are to pull.
        k_max: neighbors that an error pulls, to begin with.
        budget: how many pairs are wanted, at most `pool`.
    """
    while True:
        rows, similarity = neighbors(k_max)
        pulled = search.pull(p, rows, similarity, k_max, budget)
        # At k_max = pool every pair is a neighbor of every gold pair: a larger one pulls no more.
        if len(pulled.row) == budget or k_max >= pool:
            return Retrieved(pulled.row, pulled.query, pulled.rank, k_max)
        k_max = min(2 * k_max, pool)


def neighbors_in(query: np.ndarray, base: np.ndarray) -> Neighbors:
    """Exact neighbors of query [Q, D] in base [N, D], both int8 on the grid, for any k.

    The search on devices keeps search.GROUP neighbors at most; a rule that wants more has nearly
    used up its pool, which is then small enough to sort on the host. Both give the same neighbors.
    """

    def neighbors(k: int) -> tuple[np.ndarray, np.ndarray]:
        if k <= search.GROUP:
            with jax.set_mesh(make_mesh()):
                return search.nearest(query, base, k)
        return _sorted_neighbors(query, base, k)

    return neighbors


def _sorted_neighbors(query: np.ndarray, base: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    rows = np.full((len(query), k), -1, np.int32)
    similarity = np.full((len(query), k), search.NOTHING, np.int32)
    # float32 holds these sums of integers exactly (search.py), and is far faster than int32.
    base_DN = base.astype(np.float32).T
    for i, vector in enumerate(query.astype(np.float32)):
        similarity_N = (vector @ base_DN).astype(np.int32)
        # Stable: of equal similarities the lower row comes first, as on devices.
        order = np.argsort(-similarity_N, kind="stable")[:k]
        rows[i, : len(order)] = order
        similarity[i, : len(order)] = similarity_N[order]
    return rows, similarity


def to_people(picks: int, human_share: float) -> int:
    """How many of the picks go to people: the first ones, which the rule wants most."""
    return round(human_share * picks)


def labeler(place: int, people: int) -> str:
    """Who labels the pick at a place, where the first `people` of them go to people."""
    if place < people:
        return "people"
    return "judges"
