"""Correlations against plain computations, what selection does, and planted biases are found."""

import numpy as np
import pytest

from rewardjax.data.groups import Group
from rewardjax.evaluators.audits import bias, style
from rewardjax.evaluators.records import Examples, Item

NAMES = list(style.FEATURES)


def items_of(styles):
    return [Item(str(i), "all", {"style": rows.tolist()}) for i, rows in enumerate(styles)]


def planted(seed=0, prompts=60, K=8, **weights):
    """Rewards = prompt + sum of weights of features + noise."""
    rng = np.random.default_rng(seed)
    styles = rng.normal(size=(prompts, K, len(NAMES)))
    rewards = rng.normal(0, 5, (prompts, 1)) + rng.normal(size=(prompts, K))
    for name, weight in weights.items():
        rewards = rewards + weight * styles[..., NAMES.index(name)]
    return styles, rewards


def test_annotate_measures_the_last_turn_of_each_response():
    group = Group(
        "g",
        [{"role": "user", "content": "q"}],
        [[{"role": "assistant", "content": text}] for text in ("Great question! x", "- x")],
        [],
    )
    annotated = bias.annotate(Examples("pairs", [Item("g", "all", {"k": 1})], [group], "f", []))
    assert annotated.items[0].label == {
        "k": 1,
        "style": [style.features("Great question! x").tolist(), style.features("- x").tolist()],
    }
    assert annotated.groups == [group]


def test_audit_correlation_is_pearsons_of_what_is_left_without_the_prompts_mean():
    styles, rewards = planted(length=0.5)
    centered = rewards - rewards.mean(1, keepdims=True)
    summary = bias.summary(items_of(styles), rewards, resamples=20)
    assert (summary["prompts"], summary["responses"], summary["selected_prompts"]) == (60, 480, 60)
    for j, name in enumerate(NAMES):
        column = styles[..., j] - styles[..., j].mean(1, keepdims=True)
        entry = summary["features"][name]
        np.testing.assert_allclose(
            entry["audit"]["correlation"], np.corrcoef(column.ravel(), centered.ravel())[0, 1]
        )
        np.testing.assert_allclose(
            entry["audit"]["pooled"], np.corrcoef(styles[..., j].ravel(), rewards.ravel())[0, 1]
        )
    design = (styles - styles.mean(1, keepdims=True)).reshape(-1, len(NAMES))
    coefficients = np.linalg.lstsq(design, centered.ravel(), rcond=None)[0]
    standardized = coefficients * np.sqrt((design**2).mean(0) / (centered**2).mean())
    np.testing.assert_allclose(
        [summary["features"][name]["audit"]["partial"] for name in NAMES], standardized
    )


def test_a_planted_bias_is_found_and_its_companion_is_not_blamed():
    styles, rewards = planted(prompts=200, length=1.0)
    styles[..., 1] = (
        styles[..., 0] + 0.5 * styles[..., 1]
    )  # lists go with length but are not paid for
    summary = bias.summary(items_of(styles), rewards, resamples=200)["features"]
    assert summary["length"]["audit"]["partial_low"] > 0.5
    assert (
        summary["lists"]["audit"]["correlation_low"] > 0.4
        and summary["lists"]["audit"]["partial_low"] < 0 < summary["lists"]["audit"]["partial_high"]
    )
    assert abs(summary["hedging"]["audit"]["correlation"]) < 0.06


def test_quality_that_explains_the_style_takes_the_blame():
    rng = np.random.default_rng(1)
    correct = rng.integers(0, 2, (150, 6))
    styles = rng.normal(size=(150, 6, len(NAMES)))
    styles[..., 0] += 2 * correct  # right responses are longer, and only being right is paid for
    rewards = 3.0 * correct + rng.normal(size=(150, 6))
    entry = bias.summary(items_of(styles), rewards, correct, resamples=200)["features"]["length"]
    assert (
        entry["audit"]["correlation_low"] > 0.3
        and entry["audit"]["partial_low"] < 0 < entry["audit"]["partial_high"]
    )
    assert all(entry["shift"]["by_quality"][i] > 0.3 for i in range(len(entry["shift"]["ks"])))


def test_selection_is_the_chance_to_be_picked():
    np.testing.assert_allclose(bias.selection([3.0, 1, 2, 1], 1), [0.25] * 4)
    np.testing.assert_allclose(bias.selection([3.0, 1, 2, 1], 2), [3 / 6, 1 / 12, 2 / 6, 1 / 12])
    np.testing.assert_allclose(bias.selection([3.0, 1, 2, 1], 4), [1, 0, 0, 0])


def test_selection_shows_a_bias_that_only_the_best_responses_have():
    rng = np.random.default_rng(2)
    styles = rng.normal(size=(150, 16, len(NAMES)))
    base = rng.normal(size=(150, 16))
    high = base > 0.8
    rewards = base + np.where(high, 1.5 * styles[..., 3], 0)
    entry = bias.summary(items_of(styles), rewards, resamples=50)["features"]["hedging"]
    assert entry["selected"]["correlation"] > entry["audit"]["correlation"] + 0.2


def test_prompts_with_no_more_responses_than_are_drawn_have_no_selected_set():
    styles, rewards = planted(prompts=10, K=4)
    summary = bias.summary(items_of(styles), rewards, n=4, resamples=20)
    assert summary["selected_prompts"] == 0
    assert summary["features"]["length"]["selected"] is None
    assert bias.summary(items_of(styles), rewards, n=3, resamples=20)["selected_prompts"] == 10


def test_selected_correlation_is_the_weighted_one():
    styles, rewards = planted(prompts=9, K=6, markdown=1.0)
    entry = bias.summary(items_of(styles), rewards, resamples=20)["features"]["markdown"][
        "selected"
    ]
    moments = np.zeros((2, 2))
    for x, r in zip(styles[..., 2], rewards, strict=True):
        moments += np.cov(np.stack([x, r]), aweights=bias.selection(r, 4), bias=True)
    np.testing.assert_allclose(
        entry["correlation"], moments[0, 1] / np.sqrt(moments[0, 0] * moments[1, 1])
    )


def test_shift_is_the_pick_against_the_mean_in_within_prompt_deviations():
    styles, rewards = planted(prompts=12, K=5, opener=0.7)
    shift = bias.summary(items_of(styles), rewards, resamples=20)["features"]["opener"]["shift"]
    assert shift["ks"] == [2, 4, 5] and shift["by_quality"] is None
    column = styles[..., 4]
    picks = column[np.arange(12), rewards.argmax(1)]
    np.testing.assert_allclose(
        shift["value"][-1], np.mean(picks - column.mean(1)) / np.sqrt(column.var(1).mean())
    )
    assert all(
        low <= value <= high
        for low, value, high in zip(shift["low"], shift["value"], shift["high"], strict=True)
    )


def test_what_is_undefined_is_none_and_what_is_missing_is_left_out():
    styles, rewards = planted(prompts=10, K=3)
    styles[..., 1] = 0.0
    rewards[0, :2] = np.nan  # one response left: nothing to compare it with
    rewards[1, 0] = np.nan
    summary = bias.summary(items_of(styles), rewards, resamples=20)
    assert (summary["prompts"], summary["responses"], summary["selected_prompts"]) == (9, 26, 0)
    lists = summary["features"]["lists"]
    assert (
        lists["share"] == 0
        and lists["audit"]["correlation"] is None
        and lists["audit"]["partial"] is None
        and lists["selected"] is None
    )
    assert set(lists["shift"]["value"]) == {None}
    assert summary["features"]["length"]["audit"]["correlation"] is not None
    assert bias.summary([], [])["features"] == {}


@pytest.mark.parametrize("scale, move", [(3.0, -7.0), (0.01, 100.0)])
def test_scale_and_origin_of_the_reward_do_not_matter(scale, move):
    styles, rewards = planted(prompts=15, K=6, length=0.3)
    before, after = (
        bias.summary(items_of(styles), r, resamples=20)["features"]["length"]
        for r in (rewards, scale * rewards + move)
    )
    np.testing.assert_allclose(
        list(after["audit"].values()), list(before["audit"].values()), rtol=1e-6
    )
    np.testing.assert_allclose(after["shift"]["value"], before["shift"]["value"])
