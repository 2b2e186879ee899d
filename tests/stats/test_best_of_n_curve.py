"""Best-of-N against enumeration of every draw, and golden numbers of PPE's rule."""

import itertools

import numpy as np
import pytest

from rewardjax.stats import best_of_n

RNG = np.random.default_rng(2)


def by_enumeration(rewards, correct, K):
    """Mean over all draws of K of the mean label of those that share the maximum."""
    values = []
    for draw in itertools.combinations(range(len(rewards)), K):
        top = max(rewards[i] for i in draw)
        values.append(np.mean([correct[i] for i in draw if rewards[i] == top]))
    return np.mean(values)


def test_golden_numbers():
    rewards, labels = [0.9, 0.8, 0.8, 0.1], [0, 1, 0, 1]
    np.testing.assert_allclose(
        best_of_n.expected_best(rewards, labels, [1, 2, 3, 4]), [0.5, 0.25, 0.125, 0], atol=1e-12
    )
    np.testing.assert_allclose(
        best_of_n.expected_best(labels, labels, [1, 2, 3, 4]), [0.5, 5 / 6, 1, 1], atol=1e-12
    )


@pytest.mark.parametrize("N", [1, 2, 5, 8])
def test_equals_enumeration(N):
    rewards, labels = RNG.integers(0, 4, N), RNG.integers(0, 2, N)  # coarse rewards: ties
    ks = range(1, N + 1)
    np.testing.assert_allclose(
        best_of_n.expected_best(rewards, labels, ks),
        [by_enumeration(rewards, labels, K) for K in ks],
        atol=1e-12,
    )


def test_shuffling_responses_and_stretching_rewards_change_nothing():
    rewards, labels = np.round(RNG.normal(size=32), 1), RNG.random(32)
    order = RNG.permutation(32)
    base = best_of_n.expected_best(rewards, labels, [1, 4, 32])
    np.testing.assert_allclose(
        best_of_n.expected_best(np.exp(rewards[order]), labels[order], [1, 4, 32]), base, atol=1e-12
    )


def test_curve_is_the_mean_over_prompts_between_its_bounds():
    rewards = [RNG.normal(size=n) for n in (8, 12, 32)]
    correct = [(r + RNG.normal(size=len(r)) > 0).astype(float) for r in rewards]
    curve = best_of_n.curve(rewards, correct)
    assert curve["ks"] == [1, 2, 4, 8] and curve["prompts"] == 3
    score = np.mean(
        [best_of_n.expected_best(r, c, curve["ks"]) for r, c in zip(rewards, correct, strict=True)],
        axis=0,
    )
    np.testing.assert_allclose(curve["score"], score)
    np.testing.assert_allclose(curve["score"][0], curve["random"][0])  # one response: no choice
    assert np.all(np.array(curve["low"]) <= score + 1e-12) and np.all(
        score <= np.array(curve["high"]) + 1e-12
    )
    assert np.all(np.array(curve["oracle"]) >= score - 1e-12) and np.all(
        np.diff(curve["oracle"]) >= 0
    )
    assert curve == best_of_n.curve(rewards, correct)  # the bootstrap has a seed


def test_constant_rewards_are_a_random_pick_and_labels_are_the_oracle():
    correct = [RNG.integers(0, 2, 11) for _ in range(20)]
    ks = [1, 3, 11]
    constant = best_of_n.curve([np.zeros(11)] * 20, correct, ks)
    np.testing.assert_allclose(constant["score"], constant["random"])
    oracle = best_of_n.curve(correct, correct, ks)
    assert oracle["score"] == oracle["oracle"]
    np.testing.assert_allclose(oracle["score"][-1], np.mean([c.any() for c in correct]))


def test_bootstrap_width_is_that_of_a_mean():
    correct = [np.array([label]) for label in RNG.integers(0, 2, 400)]
    curve = best_of_n.curve(correct, correct, [1])
    p = curve["score"][0]
    np.testing.assert_allclose(
        curve["high"][0] - curve["low"][0], 2 * 1.96 * np.sqrt(p * (1 - p) / 400), rtol=0.1
    )


def test_errors_name_the_prompt():
    with pytest.raises(ValueError, match="prompt 1: K must lie between 1 and the 2 responses"):
        best_of_n.curve([[1, 2, 3], [1, 2]], [[0, 1, 1], [0, 1]], [3])
    with pytest.raises(ValueError, match="prompt 0: 1 rewards or labels are not finite"):
        best_of_n.curve([[1, np.nan]], [[0, 1]])
    with pytest.raises(ValueError, match="prompt 0: expected one reward and one label"):
        best_of_n.curve([[1, 2, 3]], [[0, 1]])
    with pytest.raises(ValueError, match="at least one"):
        best_of_n.curve([], [])
