"""The rules on plain arrays."""

import numpy as np
import pytest

from rewardjax.curation.retrieval import search
from rewardjax.curation.stages import rules

# Three gold pairs on a line of ten pairs of the pool: each one's neighbors, nearest first.
PLACES = np.array([0.0, 5.2, 9.0])
POOL = 10


def neighbors(k):
    distance = np.abs(np.arange(POOL) - PLACES[:, None])  # [Q, N]
    rows = np.full((len(PLACES), k), -1)
    order = np.argsort(distance, axis=1, kind="stable")[:, :k]
    rows[:, : order.shape[1]] = order
    return rows, np.where(rows < 0, search.NOTHING, 0).astype(np.int32)


def test_the_paper_rule_is_left_as_it_is_where_it_fills_the_budget():
    p = np.array([0.4, 0.9, 0.8])
    pulled = rules.retrieve(p, neighbors, POOL, k_max=4, budget=4)
    plain = search.pull(p, *neighbors(4), 4, 4)
    np.testing.assert_array_equal(pulled.row, plain.row)
    assert pulled.row.tolist() == [0, 1, 2, 3] and pulled.k_max == 4


def test_k_max_is_doubled_until_the_budget_is_filled():
    p = np.array([0.4, 0.9, 0.8])
    pulled = rules.retrieve(p, neighbors, POOL, k_max=2, budget=7)
    assert pulled.k_max == 8
    np.testing.assert_array_equal(pulled.row, search.pull(p, *neighbors(8), 8, 7).row)
    assert pulled.row.tolist() == [0, 1, 2, 3, 4, 5, 6]  # the error comes first, to its eighth


def test_the_whole_pool_is_pulled_before_anything_is_left():
    pulled = rules.retrieve(np.array([0.4, 0.9, 0.99]), neighbors, POOL, k_max=1, budget=POOL)
    assert sorted(pulled.row.tolist()) == list(range(POOL)) and pulled.k_max == POOL


def test_a_model_that_is_sure_of_all_gold_pairs_pulls_nothing():
    pulled = rules.retrieve(np.ones(3), neighbors, POOL, k_max=2, budget=5)
    assert not len(pulled.row) and pulled.k_max == POOL


@pytest.mark.parametrize("k", [3, 128, 200, 350])
def test_neighbors_are_the_same_however_many_are_wanted(k):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(305, 64))
    # Few different vectors, so that many similarities are equal.
    vectors = search.on_grid((vectors / np.linalg.norm(vectors, axis=1, keepdims=True))[::2])
    base = np.concatenate([vectors, vectors])
    rows, similarity = rules.neighbors_in(vectors[:5], base)(k)
    exact = vectors[:5].astype(np.int64) @ base.astype(np.int64).T
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    size = min(k, len(base))
    np.testing.assert_array_equal(rows[:, :size], order)
    np.testing.assert_array_equal(similarity[:, :size], np.take_along_axis(exact, order, axis=1))
    assert (rows[:, size:] == -1).all() and rows.shape == (5, k)


def test_the_first_picks_are_peoples():
    people = rules.to_people(5, 0.4)
    assert people == 2
    assert [rules.labeler(place, people) for place in range(5)] == ["people"] * 2 + ["judges"] * 3
