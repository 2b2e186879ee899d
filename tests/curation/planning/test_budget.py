"""The paper's worked prices, what a budget buys, and the stop rule."""

import pytest

from rewardjax.curation.defaults import curation
from rewardjax.curation.planning import budget


def test_the_default_prices_are_the_papers():
    prices = curation().prices
    cost = 100_000 * prices.gold + 1_000_000 * prices.silver + 10_000_000 * prices.stage2
    assert cost == pytest.approx(50_000 + 50_000 + 100_000)


def test_affordable_never_exceeds_what_is_left():
    for left in (0.0, 0.04, 0.05, 0.1, 0.3, 1.0, 7.77):
        count = budget.affordable(1000, 0.05, left)
        assert count * 0.05 <= left + 1e-9 and (count + 1) * 0.05 > left
    assert budget.affordable(3, 0.05, 100) == 3
    assert budget.affordable(3, 0.05, -1) == 0
    assert budget.affordable(3, 0.05, None) == budget.affordable(3, 0, 0.0) == 3


def test_stop_rule():
    assert budget.gain_per_million(75.0, 74.5, 1_500_000, 500_000) == pytest.approx(0.5)
    assert not budget.should_stop(75.0, 74.5, 1_500_000, 500_000)
    assert budget.should_stop(75.0, 74.8, 1_500_000, 500_000)
    with pytest.raises(ValueError, match="more pairs"):
        budget.should_stop(75.0, 74.8, 5, 5)
