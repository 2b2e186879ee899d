"""Selection strategies: distinct rows, the right ones, and the same ones again."""

import numpy as np
import pytest

from rewardjax.curation.retrieval import embed, selection

RNG = np.random.default_rng(2)


def test_random_and_uncertain():
    chosen = selection.at_random(50, 20, seed=1)
    assert (
        len(set(chosen.tolist())) == 20
        and chosen.tolist() == selection.at_random(50, 20, seed=1).tolist()
    )
    assert chosen.tolist() != selection.at_random(50, 20, seed=2).tolist()
    assert selection.most_uncertain(np.array([0.9, 0.5, 0.4, 0.6, 0.1]), 3).tolist() == [1, 2, 3]


def test_diverse_reaches_every_cluster_first():
    centers = embed.unit(RNG.normal(size=(6, 32)))
    vectors = embed.unit(np.repeat(centers, 40, axis=0) + 0.02 * RNG.normal(size=(240, 32)))
    chosen = selection.most_diverse(vectors, 6, seed=0)
    assert set((chosen // 40).tolist()) == set(range(6))
    everything = selection.most_diverse(vectors, 240, seed=0)
    assert (
        sorted(everything.tolist()) == list(range(240))
        and everything[:6].tolist() == chosen.tolist()
    )


def test_a_budget_over_the_pool_is_refused():
    for choose in (
        lambda: selection.at_random(3, 4, 0),
        lambda: selection.most_uncertain(np.ones(3), 4),
        lambda: selection.most_diverse(np.ones((3, 2)), 4, 0),
    ):
        with pytest.raises(ValueError, match="budget of 4 from a pool of 3"):
            choose()
    assert len(selection.most_diverse(np.ones((3, 2)), 0, 0)) == 0
