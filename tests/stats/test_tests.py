"""Corrections for several tests."""

import pytest

from rewardjax.stats import tests


def test_holm_by_hand():
    # 4 * 0.01, 3 * 0.02, 2 * 0.03 (and no less than the one before), 0.04 raised to it.
    assert tests.holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert tests.holm([0.5, 0.9]) == [1.0, 1.0]
    assert tests.holm([0.2]) == [0.2] and tests.holm([]) == []
