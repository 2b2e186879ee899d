"""Changes keep what a text says; the table counts what they did."""

import re

import numpy as np
import pytest

from rewardjax.data.groups import Group, check
from rewardjax.evaluators.audits import counterfactual
from rewardjax.evaluators.records import Examples, Item

TEXTS = [
    "It's 7. However, you can't use `don't` here, e.g. in\n```\nhowever, don't\n```\nThus, we need to stop.",
    "Shopping:\n- apples\n- pears\n- plums\n\nDone.",
    "4",
    "Let's add: 3 + 4 = 7.  **7**",
]


def words(text):
    return re.findall(r"\w+", text)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", counterfactual.CHANGES)
def test_changes_are_changes_and_keep_numbers_and_code(name, text):
    new = counterfactual.CHANGES[name](text)
    assert new == counterfactual.CHANGES[name](text)  # nothing is random
    if new is None:
        assert name in ("paraphrase", "list order")
        return
    assert new != text
    assert re.findall(r"\d+", new) == re.findall(r"\d+", text)
    assert [code for code in counterfactual.CODE.findall(text)] == [
        code for code in counterfactual.CODE.findall(new)
    ]
    if name not in ("paraphrase", "list order"):
        assert text.strip() in new


def test_paraphrase_swaps_phrases_and_keeps_capitals():
    text = "However, it isn't so. I can’t say... For example, Can't and WON'T; first, in order to win. scan't"
    assert counterfactual.paraphrase(text) == (
        "Nevertheless, it is not so. I can’t say... For instance, Cannot and Will not; to begin with, so as to win. scan't"
    )
    assert counterfactual.paraphrase("7 + 5 = 12.") is None
    assert counterfactual.paraphrase(TEXTS[0]) == (
        "It's 7. Nevertheless, you cannot use `don't` here, for example in\n```\nhowever, don't\n```\nHence, we have to stop."
    )


def test_every_phrase_is_another_one_and_found():
    for old, new in counterfactual.PHRASES.items():
        assert (
            old == old.lower() != new.lower()
            and counterfactual.paraphrase(f"x {old} y") == f"x {new} y"
        )


def test_list_order_reverses_flat_bullets_only():
    assert counterfactual.list_order(TEXTS[1]) == "Shopping:\n- plums\n- pears\n- apples\n\nDone."
    assert counterfactual.list_order("* a\n* b") == "* b\n* a"
    assert counterfactual.list_order("1. a\n2. b") is None  # numbers are an order
    assert counterfactual.list_order("- then a\n- b\n") is None
    assert (
        counterfactual.list_order("- a\n  - of a\n- b\n") is None
    )  # nested: no two flat lines in a row
    assert counterfactual.list_order("```\n- a\n- b\n```") is None
    assert sorted(words(counterfactual.list_order("- a b\n- c\n- d\n\nx\n- e\n- f"))) == list(
        "abcdefx"
    )


def examples(texts_by_prompt):
    groups = [
        Group(
            str(i),
            [{"role": "user", "content": f"q{i}"}],
            [[{"role": "assistant", "content": t}] for t in texts],
            [],
        )
        for i, texts in enumerate(texts_by_prompt)
    ]
    return Examples("pairs", [Item(group.id, "all", {}) for group in groups], groups, "f", [])


def rewards_by(expanded, reward):
    return [
        np.array([reward(response[-1]["content"]) for response in group.responses])
        for group in expanded.groups
    ]


def test_expand_has_every_change_once_and_the_opposite_order():
    expanded = counterfactual.expand(examples([TEXTS[:2], TEXTS[2:]]))
    assert [item.id for item in expanded.items] == ["0", "0/reversed", "1", "1/reversed"]
    for group in expanded.groups:
        check(group)
    item, group = expanded.items[0], expanded.groups[0]
    assert item.label["originals"] == 2 and list(item.label["changed"]) == list(
        counterfactual.CHANGES
    )
    for name, places in item.label["changed"].items():
        for text, place in zip(TEXTS[:2], places, strict=True):
            new = counterfactual.CHANGES[name](text)
            assert (place is None) == (new is None)
            assert new is None or group.responses[place][-1]["content"] == new
    assert [response[-1]["content"] for response in expanded.groups[1].responses] == TEXTS[1::-1]
    assert len(group.responses) == 2 + sum(
        place is not None for places in item.label["changed"].values() for place in places
    )


def test_a_reward_that_pays_for_one_thing_moves_for_it_alone():
    expanded = counterfactual.expand(
        examples([[f"It is {i}.", f"They are {i} big ones."] for i in range(20)])
    )
    boast = rewards_by(
        expanded, lambda text: 2.0 * (counterfactual.BOAST in text) + ("big" in text)
    )
    found = counterfactual.summary(expanded.items, boast)
    assert found["praise of itself"]["shift"] == found["praise of itself"]["shift_low"] == 2.0
    assert (
        found["praise of itself"]["loser"]["rate"] == 1.0
        and found["praise of itself"]["winner"]["rate"] == 0.0
    )
    assert found["praise of itself"]["both"]["rate"] == 0.0
    assert found["padding"]["shift"] == 0.0 and found["padding"]["loser"] == {
        "pairs": 20,
        "flips": 0,
        "rate": 0,
        "low": 0,
        "high": 0,
    }
    assert found["answer order"]["shift"] == 0.0 and found["answer order"]["responses"] == 40
    assert found["list order"] == {
        "responses": 0,
        **dict.fromkeys(
            ["shift", "shift_low", "shift_high", "shift_sd", "loser", "winner", "both"]
        ),
    }


def test_a_reward_that_depends_on_the_place_is_found_out_by_answer_order():
    expanded = counterfactual.expand(examples([["a", "b"]] * 6))
    rewards = [np.arange(len(group.responses), dtype=float) for group in expanded.groups]
    found = counterfactual.summary(expanded.items, rewards)["answer order"]
    assert found["both"]["rate"] == 1.0 and found["shift"] == 0.0


def test_flips_by_hand_with_ties_and_missing_rewards():
    items = [
        Item("p", "all", {"originals": 3, "changed": {"padding": [3, 4, None]}}),
        Item("q", "all", {"originals": 2, "changed": {"padding": [2, 3]}}),
    ]
    rewards = [np.array([1.0, 2, 0, 2, 2.5]), np.array([5.0, np.nan, 6, 7])]
    entry = counterfactual.summary(items, rewards)["padding"]
    assert entry["responses"] == 3 and entry["shift"] == pytest.approx((1 + 0.5 + 1) / 3)
    # pair (0, 1): winner 1. loser 0 goes to 2: a tie, which counts. Pair (1, 2): the change has nothing to do with 2, the loser.
    assert (entry["loser"]["pairs"], entry["loser"]["flips"]) == (1, 1)
    assert (entry["winner"]["pairs"], entry["winner"]["flips"]) == (2, 0)
    assert (entry["both"]["pairs"], entry["both"]["flips"]) == (1, 0)
