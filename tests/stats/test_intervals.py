"""Wilson's interval: a published example, the formula, and the ends of the scale."""

import math

import pytest

from rewardjax.stats.intervals import paired_difference, student, wilson


def by_formula(correct, total, z):
    """Wilson (1927), solved for the ends."""
    p = correct / total
    center = p + z**2 / (2 * total)
    half = z * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    return (center - half) / (1 + z**2 / total), (center + half) / (1 + z**2 / total)


@pytest.mark.parametrize(("correct", "total"), [(7, 10), (1, 29), (50, 100), (999, 1000)])
def test_is_the_score_interval(correct, total):
    assert wilson(correct, total) == pytest.approx(by_formula(correct, total, 1.959964), abs=1e-6)
    narrow = wilson(correct, total, level=0.9)
    assert narrow == pytest.approx(by_formula(correct, total, 1.644854), abs=1e-6)


def test_a_published_example():
    # Newcombe (1998), table I, method 3: 81 of 263.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_it_stays_on_the_scale_and_is_never_certain():
    low, high = wilson(0, 5)
    assert low == 0 and 0.4 < high < 0.5
    low, high = wilson(5, 5)
    assert 0.5 < low < 0.6 and high == 1


def test_an_interval_of_a_paired_difference():
    # By hand: (9 + 1) / 73 up, (2 + 1) / 73 down.
    up, down = 10 / 73, 3 / 73
    half = 1.959964 * math.sqrt((up + down - (up - down) ** 2) / 73)
    assert paired_difference(9, 2, 71) == pytest.approx((up - down - half, up - down + half))
    low, high = paired_difference(2, 9, 71)
    assert (-high, -low) == pytest.approx(paired_difference(9, 2, 71))
    assert paired_difference(3, 0, 3)[1] == 1


def test_an_interval_of_a_mean():
    # By hand: mean 2, standard error 1/sqrt(3), t of two degrees of freedom 4.302653.
    half = 4.302653 / math.sqrt(3)
    assert student([1.0, 2.0, 3.0]) == pytest.approx((2 - half, 2 + half))
    with pytest.raises(ValueError, match="at least two"):
        student([1.0])
