"""Which rule and length hold for a benchmark, and what is said of what is cut."""

import numpy as np
import pytest

from rewardjax import evaluators
from rewardjax.evaluators import truncation
from rewardjax.evaluators.records import Item
from rewardjax.evaluators.stored_rewards import Scores


@pytest.mark.parametrize(
    "name, limit",
    [
        ("rewardbench", (2048, "cut_left")),
        ("rewardbench2", (2048, "cut_right")),
        ("rmb", (2048, "cut_left")),
        ("rm_bench", (2048, "cut_left")),
        ("m_rewardbench", (512, "cut_left")),
        ("plan_rewardbench", (16_384, "cut_right")),
        ("judgebench", (256, "left")),
        ("pairs", (256, "left")),
    ],
)
def test_the_reference_s_side_and_length(name, limit):
    module = evaluators.get(name)
    assert truncation.limit("reference", 0, 256, module) == limit
    # A length of the config's is that of the evaluation that is to be reproduced.
    assert truncation.limit("reference", 16_384, 256, module) == (16_384, limit[1])
    assert truncation.limit("left", 0, 256, module) == (256, "left")
    assert truncation.limit("drop", 99, 256, module) == (99, "drop")


def test_another_rule_is_refused():
    with pytest.raises(ValueError, match="over_long = 'right': one of left, drop, reference"):
        truncation.check("right")


def scores(over_long):
    items = [Item("a", "s", {}), Item("b", "s", {})]
    tokens = [np.array([5, 50]), np.array([95, -1])]
    meta = {"max_length": 100, "over_long": over_long}
    return Scores(items, [np.zeros(2)] * 2, tokens, tokens, [60, 10], ["a", "b"], [], meta)


@pytest.mark.parametrize(
    "over_long, told",
    [
        ("cut_right", "cut at their end, as the reference does"),
        ("cut_left", "cut at their beginning, as the reference does"),
        ("left", "prompts lost their oldest tokens"),
        ("drop", "they have no score"),
    ],
)
def test_conversations_that_are_too_long_are_counted(over_long, told):
    # 60 + 50 and 10 + 95 tokens are more than 100, 60 + 5 are not.
    note = truncation.note(scores(over_long))
    assert note.startswith("2 of 4 conversations were longer than 100 tokens: ") and told in note


def test_without_a_long_conversation_nothing_is_said():
    few = scores("left")
    few.meta["max_length"] = 200
    assert truncation.note(few) is None
