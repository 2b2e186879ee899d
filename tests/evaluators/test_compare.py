"""Paired comparisons: exact p by enumeration, clusters that matter, the benchmark's own rule."""

import itertools

import numpy as np
import pytest
from scipy import stats
from stored import scores

from rewardjax import evaluators
from rewardjax.evaluators import compare
from rewardjax.stats import tests


def test_mcnemar_by_enumeration():
    first, second = [1, 1, 1, 1, 0, 1, 0], [0, 0, 0, 0, 1, 1, 0]
    found = tests.mcnemar(first, second)
    as_extreme = (
        sum(abs(sum(draw) - 2.5) >= 1.5 for draw in itertools.product((0, 1), repeat=5)) / 2**5
    )
    assert found == {"first_only": 4, "second_only": 1, "p": pytest.approx(as_extreme)}
    assert tests.mcnemar([1, 0], [1, 0])["p"] == 1.0


def test_exchanging_the_models_changes_signs_only():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, (2, 80)).astype(float)
    one, other = compare.paired(a, b), compare.paired(b, a)
    assert one["difference"] == -other["difference"] and one["p"] == other["p"]
    np.testing.assert_allclose([one["low"], one["high"]], [-other["high"], -other["low"]])
    half_width = 1.96 * np.std(a - b) / np.sqrt(80)
    np.testing.assert_allclose((one["high"] - one["low"]) / 2, half_width, rtol=0.1)


def test_examples_without_a_credit_are_left_out_and_counted():
    found = compare.paired([1, np.nan, 0, 1], [1, 1, np.nan, 0], ["p", "q", "r", "p"])
    assert (found["n"], found["left_out"], found["prompts"], found["difference"]) == (2, 2, 1, 0.5)
    assert compare.paired([np.nan], [1.0]) == {"n": 0, "left_out": 1, "prompts": 0}
    with pytest.raises(ValueError, match="same examples"):
        compare.paired([1.0], [1.0, 0.0])


def test_clusters_widen_the_interval_when_examples_of_a_prompt_agree():
    rng = np.random.default_rng(1)
    a, b = np.repeat(rng.integers(0, 2, (2, 40)), 6, axis=1)
    clustered, single = compare.paired(a, b, np.repeat(np.arange(40), 6)), compare.paired(a, b)
    assert clustered["high"] - clustered["low"] > 2 * (single["high"] - single["low"])


def test_credits_are_the_benchmarks_own_rule():
    module = evaluators.get("rewardbench")
    one = scores("rewardbench", [[2, 1], [1, 2], [1, 1], [np.nan, 1]])
    np.testing.assert_array_equal(compare.credits(module, one), [1, 0, 0, np.nan])
    best_of_four = scores("rewardbench2", [[1, 1, 0, 0], [3, 1, 2, 0]], subset="Focus")
    np.testing.assert_array_equal(
        compare.credits(evaluators.get("rewardbench2"), best_of_four), [0.5, 1]
    )


def test_models_are_compared_on_headlines_and_examples():
    module = evaluators.get("rewardbench")
    rng = np.random.default_rng(2)
    prompts = [str(i // 2) for i in range(30)]
    a, b, c = (scores("rewardbench", rng.normal(size=(30, 2)), prompts=prompts) for _ in range(3))
    rows = compare.models(module, {"a": [a], "b": [b], "c": [c]})
    assert [
        (row["first model"], row["second model"], row["n"], row["prompts"]) for row in rows
    ] == [
        ("a", "b", 30, 15),
        ("a", "c", 30, 15),
        ("b", "c", 30, 15),
    ]
    right = [np.array([r[0] > r[1] for r in one.rewards]) for one in (a, b)]
    wins, losses = int(np.sum(right[0] & ~right[1])), int(np.sum(~right[0] & right[1]))
    assert rows[0]["p"] == pytest.approx(stats.binomtest(wins, wins + losses).pvalue)
    assert rows[0]["headline_difference"] == pytest.approx(
        rows[0]["difference"]
    )  # one subset: headline and micro average are one
    assert rows[0]["headline_low"] < rows[0]["headline_difference"] < rows[0]["headline_high"]
    with pytest.raises(ValueError, match="not scored on the same data"):
        compare.models(
            module, {"a": [a], "b": [scores("rewardbench", b.rewards, data="e", prompts=prompts)]}
        )


def test_two_models_that_err_on_the_same_prompts_differ_by_nothing():
    rng = np.random.default_rng(5)
    rewards = rng.normal(size=(60, 2))
    first, same = scores("rewardbench", rewards), scores("rewardbench", 3 * rewards)
    [row] = compare.models(evaluators.get("rewardbench"), {"a": [first], "b": [same]})
    assert (row["headline_low"], row["headline_difference"], row["headline_high"]) == (0, 0, 0)


def test_folded_seeds_average_each_example_and_widen_the_interval():
    rng = np.random.default_rng(0)
    easy = rng.random(400)
    # Seeds differ by more than examples explain: some of them are better throughout.
    first = np.stack([easy < share for share in (0.5, 0.6, 0.7, 0.8)])
    second = np.stack([easy < share for share in (0.4, 0.5, 0.6, 0.7)])
    folded = compare.paired_over_seeds(first, second)
    assert folded["difference"] == pytest.approx(first.mean() - second.mean())
    assert "p" not in folded and folded["n"] == 400
    alone = compare.paired(first.mean(axis=0), second.mean(axis=0))
    seeds = np.sqrt(first.mean(axis=1).var(ddof=1) / 4 + second.mean(axis=1).var(ddof=1) / 4)
    examples = (alone["high"] - alone["low"]) / 3.92
    half_width = 1.96 * np.hypot(seeds, examples)
    assert (folded["high"] - folded["low"]) / 2 == pytest.approx(half_width, rel=0.05)
    # Seeds that meet: what they share cancels.
    together = compare.paired_over_seeds(first, second, same_seeds=True)
    assert together["high"] - together["low"] < 0.5 * (folded["high"] - folded["low"])


def test_one_seed_each_is_the_paired_test():
    a, b = np.random.default_rng(0).integers(0, 2, (2, 80)).astype(float)
    assert compare.paired_over_seeds([a], [b]) == compare.paired(a, b)
    missing = np.where(np.arange(80) < 5, np.nan, a)
    assert compare.paired_over_seeds([missing, a], [b])["left_out"] == 5
