"""Figures of results show what their computation returns, and labels do not lie on one another."""

import numpy as np
from figure_checks import assert_apart, boxes, texts_of

from rewardjax.evaluators.page import figures
from rewardjax.stats import best_of_n

RNG = np.random.default_rng(0)


def test_headlines_show_values_marks_intervals_and_what_is_missing(drawn):
    ours = {
        "mine": [{"headline": 0.5, "low": 0.4, "high": 0.6, "partial": True}, None],
        "other": [None, {"headline": 0.125, "low": None, "high": None, "partial": False}],
    }
    sheet = drawn(figures.headlines, ours, {"known": (90.0, 80.0)}, (50.0, 20.8), ["One", "Two"])
    left, right = sheet.axes
    assert texts_of(left) == ["50.0*", "missing", "90.0"] and texts_of(right) == [
        "missing",
        "12.5",
        "80.0",
    ]
    assert [bar.get_width() for bar in left.patches] == [50, 90] and [
        bar.get_width() for bar in right.patches
    ] == [12.5, 80]
    assert [label.get_text() for label in left.get_yticklabels()] == ["mine", "other", "known"]
    assert left.get_ylim()[0] > left.get_ylim()[1], "the evaluated models are on top"
    assert_apart(boxes(sheet, [*left.texts, *right.texts, *left.get_yticklabels()]))


def test_categories_best_on_top(drawn):
    parts = {
        "a": {"value": 0.25, "low": 0.1, "high": 0.5, "n": 12, "chance": 0.3},
        "b": {"value": 0.75, "low": None, "high": None, "n": 1200, "chance": None},
        "c": {"value": None, "low": None, "high": None, "n": 0, "chance": 0.5},
    }
    [ax] = drawn(figures.categories, parts, title="T").axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert texts_of(ax) == ["25.0 %  (n = 12)", "75.0 %  (n = 1,200)"]
    [chance] = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert chance.get_xydata().tolist() == [[0.3, -0.5], [0.3, 0.5]], "of its own bar alone"
    assert ax.get_xlim() == (0, 1)


def test_a_correlation_below_zero_has_its_bar(drawn):
    parts = {"a": {"value": -0.25, "low": None, "high": None, "n": 12, "chance": 0.0}}
    [ax] = drawn(figures.categories, parts, title="T").axes
    [bar] = ax.patches
    assert bar.get_width() == -0.25 and ax.get_xlim() == (-0.25, 1)


def test_differences(drawn):
    rows = [
        {"label": "a", "difference": 0.1, "low": 0.05, "high": 0.15},
        {"label": "b", "difference": -0.1, "low": -0.3, "high": 0.1},
    ]
    [ax] = drawn(figures.differences, {("one", "other"): rows}).axes
    assert ax.get_title(loc="left") == "one\nless other"
    assert texts_of(ax) == ["+10.0  [+5.0, +15.0]", "-10.0  [-30.0, +10.0]"]


def test_best_of_n_has_oracle_random_and_all_scorers(drawn):
    rewards = [RNG.normal(size=8) for _ in range(10)]
    curve = best_of_n.curve(rewards, [r > 0.5 for r in rewards])
    sheet = drawn(
        figures.best_of_n, {"one": {"mine": curve, "majority vote": curve}, "two": {"mine": curve}}
    )
    left, right = sheet.axes
    assert len(left.lines) == 4 and len(right.lines) == 3
    np.testing.assert_allclose(left.lines[0].get_ydata(), curve["oracle"])
    np.testing.assert_allclose(left.lines[1].get_ydata(), curve["score"])
    assert [text.get_text() for text in sheet.legends[0].get_texts()] == [
        "oracle",
        "random pick",
        "mine",
        "majority vote",
    ]
