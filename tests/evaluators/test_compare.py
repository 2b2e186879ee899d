"""Paired comparisons: exact p by enumeration, clusters that matter, the benchmark's own rule."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import stats

from rewardjax import evaluators
from rewardjax.evaluators import compare
from rewardjax.evaluators.records import Item
from rewardjax.evaluators.stored_rewards import Scores
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


def scores(name, rewards, data="d", prompts=None, subset="mt-bench-easy"):
    items = [Item(f"{subset}/{i}", subset, {}) for i in range(len(rewards))]
    shape = [np.ones(len(r), np.int32) for r in rewards]
    prompts = prompts or [str(i) for i in range(len(rewards))]
    return Scores(
        items,
        [np.array(r, np.float32) for r in rewards],
        shape,
        shape,
        [1] * len(rewards),
        prompts,
        [],
        {"benchmark": name, "data": data},
    )


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
    rows = compare.models(module, {"a": a, "b": b, "c": c})
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
            module, {"a": a, "b": scores("rewardbench", b.rewards, data="e", prompts=prompts)}
        )


def test_the_interval_of_a_mean_has_the_error_of_a_mean():
    module, rng = evaluators.get("rewardbench"), np.random.default_rng(3)
    one = scores("rewardbench", rng.normal([0.5, 0], 1, size=(400, 2)))
    found = compare.headline(module, one)
    error = np.sqrt(found["headline"] * (1 - found["headline"]) / 400)
    np.testing.assert_allclose(
        found["high"] - found["low"], 2 * stats.norm.ppf(0.975) * error, rtol=0.15
    )
    copied = scores(
        "rewardbench", np.repeat(one.rewards, 3, axis=0), prompts=[str(i // 3) for i in range(1200)]
    )
    again = compare.headline(module, copied)
    assert again["high"] - again["low"] > 0.6 * (found["high"] - found["low"])


def test_the_interval_covers_the_truth_as_often_as_it_says():
    module, rng = evaluators.get("rewardbench"), np.random.default_rng(4)
    intervals = [
        compare.headline(module, scores("rewardbench", rng.normal(size=(60, 2)))) for _ in range(60)
    ]
    covered = np.mean([one["low"] <= 0.5 <= one["high"] for one in intervals])
    assert 0.85 <= covered <= 1.0


def test_too_little_for_an_interval():
    module = evaluators.get("rewardbench")
    assert compare.headline(module, scores("rewardbench", [[2, 1]])) == {
        "headline": 1.0,
        "low": None,
        "high": None,
    }
    assert compare.headline(module, scores("rewardbench", [[np.nan, 1]])) == {
        "headline": None,
        "low": None,
        "high": None,
    }


def test_two_models_that_err_on_the_same_prompts_differ_by_nothing():
    rng = np.random.default_rng(5)
    rewards = rng.normal(size=(60, 2))
    first, same = scores("rewardbench", rewards), scores("rewardbench", 3 * rewards)
    [row] = compare.models(evaluators.get("rewardbench"), {"a": first, "b": same})
    assert (row["headline_low"], row["headline_difference"], row["headline_high"]) == (0, 0, 0)


@pytest.mark.parametrize("name", ["rmb", "ppe_correctness", "rewardbench2"])
def test_a_headline_of_drawn_items_is_that_of_the_whole_rule(name):
    examples, module = evaluators.load(name, path=f"assets:benchmarks/{name}"), evaluators.get(name)
    rng = np.random.default_rng(6)
    rewards = [rng.normal(size=len(group.responses)) for group in examples.groups]
    rewards[1] = np.full_like(rewards[1], np.nan)
    resampling = module.resampling(examples.items, rewards)
    everything = np.arange(len(rewards))
    whole = module.summarize(examples.items, rewards).headline
    assert resampling.headline(everything) == pytest.approx(whole, abs=1e-12)
    if name == "rewardbench2":  # twice every number of Ties is every pair twice
        assert resampling.headline(np.tile(everything, 2)) == pytest.approx(whole, abs=1e-12)


def test_subsets_keep_their_sizes_in_every_draw():
    easy, hard = np.tile([[2.0, 1.0]], (20, 1)), np.tile([[1.0, 2.0]], (20, 1))
    one = scores("rewardbench", np.concatenate([easy, hard]))
    mixed = compare.headline(evaluators.get("rewardbench"), one)
    assert mixed["high"] - mixed["low"] > 0.2
    items = [
        item._replace(subset=("mt-bench-easy", "mt-bench-hard")[i >= 20])
        for i, item in enumerate(one.items)
    ]
    apart = compare.headline(evaluators.get("rewardbench"), dataclasses.replace(one, items=items))
    assert (apart["low"], apart["headline"], apart["high"]) == (0.5, 0.5, 0.5)


def test_a_mean_over_all_examples_has_as_many_of_each_subset_in_every_draw():
    easy, hard = np.tile([[2.0, 1.0]], (20, 1)), np.tile([[1.0, 2.0]], (20, 1))
    one = scores("ppe_preference", np.concatenate([easy, hard]))
    items = [
        item._replace(subset=("easy", "hard")[i >= 20], label={"winner": 1.0, "flags": []})
        for i, item in enumerate(one.items)
    ]
    apart = compare.headline(
        evaluators.get("ppe_preference"), dataclasses.replace(one, items=items)
    )
    assert (apart["low"], apart["headline"], apart["high"]) == (0.5, 0.5, 0.5)
