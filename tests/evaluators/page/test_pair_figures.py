"""Figures of decided pairs show every pair, on the right side of zero and of the diagonal."""

import numpy as np
import pytest
from figure_checks import assert_apart, boxes

from rewardjax.evaluators.benchmarks.pairs import reliability
from rewardjax.evaluators.page import pair_figures
from rewardjax.evaluators.preferences import Pairs

RNG = np.random.default_rng(0)


@pytest.fixture
def pairs():
    better, worse = RNG.normal(0.5, 1, 300), RNG.normal(0, 1, 300)
    return Pairs(
        better, worse, *RNG.integers(5, 300, (2, 300)).astype(float), [str(i) for i in range(300)]
    )


def test_panels_have_their_places_and_titles_that_do_not_overlap(drawn, pairs):
    few = Pairs(*(column[:3] for column in pairs))
    by_set = {f"A set with quite a long name, number {i}": pairs for i in range(5)} | {"few": few}
    for function in (pair_figures.calibration, pair_figures.margins, pair_figures.length):
        sheet = drawn(function, by_set)
        titles = [ax.title if ax.get_title() else ax._left_title for ax in sheet.axes]
        assert len(sheet.axes) == 8 and sum(ax.axison for ax in sheet.axes) == 6
        assert [bool(ax.get_ylabel()) for ax in sheet.axes] == [True, *[False] * 3] * 2
        assert_apart(boxes(sheet, titles))


def test_confidence_is_across_and_frequency_is_up(drawn):
    # Always sure and right only half of the time: far below the diagonal, at the right.
    sure = Pairs(*np.tile([[9.0, 0.0], [0.0, 9.0], [5, 5], [5, 5]], 100), ["p"] * 200)
    [ax] = drawn(pair_figures.calibration, {"sure": sure}).axes
    (confidence,), (frequency,) = ax.lines[1].get_data()
    assert confidence > 0.99 and frequency == 0.5
    assert ax.get_xlabel() == "confidence" and ax.get_ylabel() == "label agrees"


def test_calibration_shows_the_bins_of_reliability_with_their_intervals(drawn, pairs):
    [ax] = drawn(pair_figures.calibration, {"all": pairs}).axes
    bins = reliability(pairs.better, pairs.worse, bins=10)
    confidence, frequency = ax.lines[1].get_data()
    np.testing.assert_allclose(confidence, bins["confidence"])
    np.testing.assert_allclose(frequency, bins["frequency"])
    [(_, caps, _)] = ax.containers
    lower, upper = (cap.get_ydata() for cap in caps)
    assert np.all(lower < frequency) and np.all(frequency < upper)


def test_zero_is_the_edge_of_a_bar_of_margins(drawn, pairs):
    bars = drawn(pair_figures.margins, {"all": pairs}).axes[0].patches
    margin = pairs.better - pairs.worse
    assert sum(bar.get_height() for bar in bars) == 300
    assert sum(bar.get_height() for bar in bars if bar.get_x() > -1e-9) == np.sum(margin >= 0)


def test_equal_margins_are_drawn_too(drawn, pairs):
    drawn(pair_figures.margins, {"equal": pairs._replace(better=pairs.worse)})


def test_a_slope_on_length_goes_up_in_the_means(drawn, pairs):
    longer = pairs.better_length - pairs.worse_length
    paid = pairs._replace(better=pairs.worse + 0.01 * longer)
    [ax] = drawn(pair_figures.length, {"paid": paid}).axes
    [points] = ax.collections[:1]
    places = np.asarray(points.get_offsets())
    np.testing.assert_allclose(places, np.stack([longer, 0.01 * longer], axis=1))
    center, mean = ax.lines[0].get_xydata().T
    assert len(center) == 8
    np.testing.assert_allclose(mean, 0.01 * center)
