"""The window of steps that is recorded:

what may be written for it, and which of its steps a process takes.
"""

import pytest

from rewardjax.training import profiler


def test_a_window_is_its_steps_as_far_as_the_process_takes_them():
    assert list(profiler.parse_window("10:12", 1, 100)) == [10, 11, 12]
    assert list(profiler.parse_window("10:12", 12, 100)) == [12]  # resumed within it
    assert list(profiler.parse_window("10:12", 1, 11)) == [10, 11]
    assert list(profiler.parse_window("10:12", 20, 100)) == []  # resumed after it
    assert list(profiler.parse_window("", 1, 100)) == []


@pytest.mark.parametrize("text", ["10", "12:10", "0:3", "a:b", "-1:2", "1:2:3"])
def test_another_window_is_refused_by_the_name_of_its_field(text):
    with pytest.raises(ValueError, match=r"log\.profile = .*first:last, such as 10:12"):
        profiler.parse_window(text, 1, 100)
