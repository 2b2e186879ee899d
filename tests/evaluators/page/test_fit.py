"""Figures hold the names that models and categories have: five long ones, and 98 categories."""

import itertools

import numpy as np
import pytest
from figure_checks import assert_fits

from rewardjax import evaluators
from rewardjax.evaluators.audits import bias, changes
from rewardjax.evaluators.benchmarks import rm_bench
from rewardjax.evaluators.page import audit_figures, figures, headline_sections, table
from rewardjax.evaluators.records import Item
from rewardjax.evaluators.uncertainty import Estimate
from rewardjax.stats import best_of_n

NAMES = (
    "Skywork-Reward-V2-Llama-3.1-8B-40M",
    "nvidia/Llama-3.3-Nemotron-70B-Reward-Multilingual",
    "allenai/Llama-3.1-8B-Instruct-RM-RB2-checkpoint-0012345",
    "infly/INF-ORM-Llama3.1-70B",
    "an_organization/a_reward_model_of_which_the_name_has_no_hyphen_at_all",
)
TITLES = [evaluators.get(name).TITLE for name in evaluators.PUBLISHED]
RNG = np.random.default_rng(0)


def estimates(count):
    return [Estimate(value, value - 0.02, value + 0.02) for value in RNG.uniform(0, 1, count)]


@pytest.mark.parametrize("models", [1, 2, 5])
def test_headlines(drawn, models):
    ours = {}
    for name in NAMES[:models]:
        ours[name] = [
            {"headline": one.value, "low": one.low, "high": one.high, "partial": True}
            for one in estimates(7)
        ]
    published = {name: table.PUBLISHED[name] for name in headline_sections.SHOWN}
    assert_fits(drawn(figures.headlines, ours, published, table.chance_row(), TITLES[:7]))


@pytest.mark.parametrize("models", [2, 5])
def test_differences(drawn, models):
    forests = {}
    for pair in itertools.combinations(NAMES[:models], 2):
        forests[pair] = [
            {"label": title, "difference": 0.01, "low": -0.123, "high": 0.143} for title in TITLES
        ]
    sheet = drawn(figures.differences, forests)
    assert_fits(sheet)
    shown = [ax for ax in sheet.axes if ax.axison]
    assert len(shown) == len(forests) and len(shown[0].texts) == len(TITLES)


@pytest.mark.parametrize("count", [1, 3, 23, 98])
def test_categories(drawn, count):
    parts = {}
    for i, one in enumerate(estimates(count)):
        name = f"best-of-N/Harmlessness/S{i}"
        if i % 2:
            name = f"pairwise/Helpfulness/Open Question Answering/Closed, with sources, {i}"
        parts[name] = {**one._asdict(), "n": 12_345, "chance": 0.5}
    title = "A benchmark of our own with a rather long title: its second set, by category"
    assert_fits(drawn(figures.categories, parts, title=title))


@pytest.mark.parametrize("models, sets", [(1, 1), (5, 1), (5, 5)])
def test_best_of_n(drawn, models, sets):
    rewards = [RNG.normal(size=8) for _ in range(4)]
    curve = best_of_n.curve(rewards, [one > 0.5 for one in rewards], resamples=20)
    by_scorer = dict.fromkeys([*NAMES[:models], "shortest response", "majority vote"], curve)
    curves = {f"PPE Correctness: MMLU-Pro, part {i}": by_scorer for i in range(sets)}
    assert_fits(drawn(figures.best_of_n, curves))


@pytest.mark.parametrize("models", [1, 2, 5])
def test_rm_bench(drawn, models):
    accuracies = {
        name: dict(zip(rm_bench.LEVELS, estimates(3), strict=True)) for name in NAMES[:models]
    }
    matrices = {name: RNG.uniform(0, 1, (3, 3)) for name in NAMES[:models]}
    sheet = drawn(rm_bench.difficulty, accuracies, rm_bench.PUBLISHED, matrices)
    assert_fits(sheet)
    assert len([ax for ax in sheet.axes if ax.axison]) == 1 + models


@pytest.mark.parametrize("sets", [1, 4])
def test_audits(drawn, sets):
    items = [Item(str(i), "all", {"style": RNG.normal(size=(8, 5)).tolist()}) for i in range(6)]
    rewards, correct = RNG.normal(size=(6, 8)), RNG.integers(0, 2, (6, 8))
    summary = bias.summary(items, rewards, correct, resamples=10)
    titles = [f"LLMBar (part of RewardBench's Chat Hard): set {i}" for i in range(sets)]
    assert_fits(drawn(audit_figures.bias, dict.fromkeys(titles, summary)))
    assert_fits(drawn(audit_figures.selection, dict.fromkeys(titles, summary)))
    flips = {"pairs": 2, "flips": 1, "rate": 0.5, "low": 0.1, "high": 0.9}
    entry = {"responses": 4, "shift": -0.5, "shift_low": -1.0, "shift_high": 0.0}
    entry |= {"shift_sd": -0.25, "winner": None, "loser": flips, "both": flips}
    of_changes = dict.fromkeys(changes.CHANGES, entry)
    assert_fits(drawn(audit_figures.counterfactual, dict.fromkeys(titles, of_changes)))
