"""Resampling whole clusters:

what must be equal, and that the intervals have the width that theory says.
"""

import numpy as np

from rewardjax.stats import bootstrap

RNG = np.random.default_rng(0)


def test_every_draw_has_as_many_clusters_and_pieces_change_nothing(monkeypatch):
    whole = np.concatenate(list(bootstrap.weights(7, 50, seed=3)))
    assert whole.shape == (50, 7) and (whole.sum(1) == 7).all()
    monkeypatch.setattr(bootstrap, "CELLS", 40)
    np.testing.assert_array_equal(np.concatenate(list(bootstrap.weights(7, 50, seed=3))), whole)


def test_sums_by_cluster():
    total, counts = bootstrap.sums([[1.0, 2], [3, 4], [5, 6]], ["b", "a", "b"])
    np.testing.assert_array_equal(total, [[3, 4], [6, 8]])
    np.testing.assert_array_equal(counts, [1, 2])


def test_the_interval_of_a_mean_has_the_width_of_theory():
    values = RNG.normal(3, 2, 400)
    low, high = bootstrap.mean_interval(values)
    assert low < values.mean() < high
    np.testing.assert_allclose(high - low, 2 * 1.96 * values.std() / 20, rtol=0.08)


def test_copies_of_an_example_do_not_narrow_the_interval():
    values = RNG.normal(0, 1, 100)
    once = bootstrap.mean_interval(values, np.arange(100))
    copied = bootstrap.mean_interval(np.repeat(values, 5), np.repeat(np.arange(100), 5))
    np.testing.assert_allclose(once, copied)
    naive = bootstrap.mean_interval(np.repeat(values, 5))
    assert naive[1] - naive[0] < 0.6 * (once[1] - once[0])


def test_undefined_statistics_are_nan_and_spoil_no_other():
    values = np.stack([RNG.normal(size=30), np.full(30, np.nan)], 1)
    low, high = bootstrap.mean_interval(values)
    assert np.isfinite(low[0]) and np.isnan(low[1]) and np.isnan(high[1])
    np.testing.assert_allclose([low[0], high[0]], bootstrap.mean_interval(values[:, 0]))
