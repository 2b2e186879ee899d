"""Best-of-N against enumeration of every draw, golden numbers of PPE's rule, and the baselines."""

import itertools
import json

import numpy as np
import pytest

from rewardjax.evaluators.benchmarks import best_of_n
from rewardjax.evaluators.records import Item
from rewardjax.evaluators.stored_rewards import Scores

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


def test_groups_with_too_few_responses_are_left_out_and_answers_are_read(tmp_path):
    path = tmp_path / "groups.jsonl"
    rows = [
        {
            "prompt": f"{K} responses",
            "responses": [{"content": f"The answer is {k}.", "correct": k == 1} for k in range(K)],
        }
        for K in (2, 5, 3)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    examples = best_of_n.load(str(path), least=3)
    assert [item.label for item in examples.items] == [
        {"correct": [0, 1, 0, 0, 0], "answers": ["0", "1", "2", "3", "4"]},
        {"correct": [0, 1, 0], "answers": ["0", "1", "2"]},
    ]
    assert [entry["detail"] for entry in examples.left_out] == ["2 responses, least = 3"]


def scores_of(correct, tokens, answers):
    """Prompts with rewards that prefer the first response, and what the baselines read."""
    items = []
    for i, labels in enumerate(correct):
        items.append(Item(str(i), "all", {"correct": labels, "answers": answers[i]}))
    rewards = [-np.arange(len(labels), dtype=np.float32) for labels in correct]
    lengths = [np.array(row, np.int32) for row in tokens]
    prompts = [item.id for item in items]
    return Scores(items, rewards, lengths, lengths, [1] * len(items), prompts, [], {})


def test_baselines_pick_the_shortest_response_and_the_most_frequent_answer():
    scores = scores_of(
        correct=[[0, 1, 0], [0, 0, 1], [1, 1, 1]],
        tokens=[[9, 3, 5], [8, 7, 2], [1, 2, 3]],
        answers=[["7", "8", "7"], ["4", "5", "5"], ["1", "1", "1"]],
    )
    curves = best_of_n.baselines(scores, [1, 3])
    assert curves["shortest response"]["score"][-1] == 1.0
    assert curves["shortest response"]["prompts"] == 2, "all right tells no scorer apart"
    assert curves["majority vote"]["score"][-1] == pytest.approx((0 + 1 / 2) / 2)


def test_no_majority_of_a_few_answers():
    few = scores_of([[0, 1, 0]], [[1, 2, 3]], [["7", None, None]])
    assert set(best_of_n.baselines(few, [1])) == {"shortest response"}


def test_every_subset_has_the_chance_of_its_own_prompts():
    labels = {"math": [1, 0, 0, 0], "math-hard": [1, 1, 1, 0], "p": [1, 0, 1, 0]}
    items = [Item(name, name, {"correct": label}) for name, label in labels.items()]
    result = best_of_n.summarize(items, [np.arange(4.0)] * 3)
    assert [result.chance_of(name) for name in labels] == [0.25, 0.75, 0.5]
    assert result.chance == result.chance_of("prompts") == 0.5
