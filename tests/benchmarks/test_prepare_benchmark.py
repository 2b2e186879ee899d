"""Killed builds of token caches, and hours for data that nobody here has."""

import pytest

from benchmarks import prepare


def test_hours_follow_from_cpu_seconds_per_pair_without_those_of_the_start():
    sizes = [{"cpu_s": 10 + 0.36 * pairs, "pairs": pairs} for pairs in (100, 400, 1600)]
    assert prepare.hours(sizes) == {"16": 162.5, "96": 27.08}


@pytest.mark.slow
def test_killed_builds_leave_what_nobody_disturbed():
    result = prepare.main(["--smoke"])
    assert result["kills"] == 2 and result["identical"] and result["redone"] == 0
