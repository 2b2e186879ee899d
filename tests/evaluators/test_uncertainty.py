"""Intervals of headlines and parts: they cover, subsets keep their sizes, prompts go together."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from stored import scores

from rewardjax import evaluators
from rewardjax.evaluators import uncertainty
from rewardjax.evaluators.records import Part


def test_the_interval_of_a_mean_has_the_error_of_a_mean():
    module, rng = evaluators.get("rewardbench"), np.random.default_rng(3)
    one = scores("rewardbench", rng.normal([0.5, 0], 1, size=(400, 2)))
    found = uncertainty.headline(module, one)
    error = np.sqrt(found["headline"] * (1 - found["headline"]) / 400)
    np.testing.assert_allclose(
        found["high"] - found["low"], 2 * stats.norm.ppf(0.975) * error, rtol=0.15
    )
    copied = scores(
        "rewardbench", np.repeat(one.rewards, 3, axis=0), prompts=[str(i // 3) for i in range(1200)]
    )
    again = uncertainty.headline(module, copied)
    assert again["high"] - again["low"] > 0.6 * (found["high"] - found["low"])


def test_the_interval_covers_the_truth_as_often_as_it_says():
    module, rng = evaluators.get("rewardbench"), np.random.default_rng(4)
    intervals = [
        uncertainty.headline(module, scores("rewardbench", rng.normal(size=(60, 2))))
        for _ in range(60)
    ]
    covered = np.mean([one["low"] <= 0.5 <= one["high"] for one in intervals])
    assert 0.85 <= covered <= 1.0


def test_too_little_for_an_interval():
    module = evaluators.get("rewardbench")
    assert uncertainty.headline(module, scores("rewardbench", [[2, 1]])) == {
        "headline": 1.0,
        "low": None,
        "high": None,
    }
    assert uncertainty.headline(module, scores("rewardbench", [[np.nan, 1]])) == {
        "headline": None,
        "low": None,
        "high": None,
    }


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
    mixed = uncertainty.headline(evaluators.get("rewardbench"), one)
    assert mixed["high"] - mixed["low"] > 0.2
    items = [
        item._replace(subset=("mt-bench-easy", "mt-bench-hard")[i >= 20])
        for i, item in enumerate(one.items)
    ]
    apart = uncertainty.headline(
        evaluators.get("rewardbench"), dataclasses.replace(one, items=items)
    )
    assert (apart["low"], apart["headline"], apart["high"]) == (0.5, 0.5, 0.5)


def test_a_mean_over_all_examples_has_as_many_of_each_subset_in_every_draw():
    easy, hard = np.tile([[2.0, 1.0]], (20, 1)), np.tile([[1.0, 2.0]], (20, 1))
    one = scores("ppe_preference", np.concatenate([easy, hard]))
    items = [
        item._replace(subset=("easy", "hard")[i >= 20], label={"winner": 1.0, "flags": []})
        for i, item in enumerate(one.items)
    ]
    apart = uncertainty.headline(
        evaluators.get("ppe_preference"), dataclasses.replace(one, items=items)
    )
    assert (apart["low"], apart["headline"], apart["high"]) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("value, has_interval", [(0.5, True), (0.55, False), (-0.2, False)])
def test_only_counts_of_examples_have_wilson_intervals(value, has_interval):
    of_part = uncertainty.wilson(Part(value, 10))
    assert of_part.value == value and (of_part.low is not None) == has_interval
    if has_interval:
        assert of_part.low == pytest.approx(0.2366, abs=1e-4)


def test_a_result_has_the_intervals_of_its_parts_and_none_where_it_has_no_headline():
    module = evaluators.get("rewardbench")
    one = scores("rewardbench", [[2, 1], [1, 2], [3, 1], [1, 3]])
    result = module.summarize(one.items, one.rewards)
    intervals = uncertainty.of_result(module, result, one)
    assert intervals["low"] < intervals["headline"] == 0.5 < intervals["high"]
    wilson = uncertainty.wilson(result.subsets["mt-bench-easy"])
    assert intervals["subsets"]["mt-bench-easy"] == {"low": wilson.low, "high": wilson.high}
    assert set(intervals["parts"]) == set(result.parts)
    headless = uncertainty.of_result(module, dataclasses.replace(result, headline=None), one)
    assert (headless["headline"], headless["low"], headless["high"]) == (None, None, None)


def test_a_correlation_has_no_wilson_interval_even_where_it_looks_like_a_count():
    module = evaluators.get("rewardbench")
    one = scores("rewardbench", [[2, 1], [1, 2]])
    result = module.summarize(one.items, one.rewards)
    correlation = dataclasses.replace(result, least=-1.0)
    intervals = uncertainty.of_result(module, correlation, one)
    assert all(bounds == {"low": None, "high": None} for bounds in intervals["subsets"].values())
    assert intervals["low"] is not None, "the headline is resampled"
