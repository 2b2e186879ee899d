"""Every change is scored once, and the table counts what it did to rewards and preferences."""

import numpy as np
import pytest

from rewardjax.data.groups import Group, check
from rewardjax.evaluators.audits import changes, counterfactual
from rewardjax.evaluators.records import Examples, Item

TEXTS = [
    "It's 7. However, you can't use `don't` here, e.g. in\n```\nhowever, don't\n```\n"
    "Thus, we need to stop.",
    "Shopping:\n- apples\n- pears\n- plums\n\nDone.",
    "4",
    "Let's add: 3 + 4 = 7.  **7**",
]


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
    assert item.label["originals"] == 2 and list(item.label["changed"]) == list(changes.CHANGES)
    for name, places in item.label["changed"].items():
        for text, place in zip(TEXTS[:2], places, strict=True):
            new = changes.CHANGES[name](text)
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
    boast = rewards_by(expanded, lambda text: 2.0 * (changes.BOAST in text) + ("big" in text))
    summary = counterfactual.summary(expanded.items, boast)
    assert summary["praise of itself"]["shift"] == summary["praise of itself"]["shift_low"] == 2.0
    assert (
        summary["praise of itself"]["loser"]["rate"] == 1.0
        and summary["praise of itself"]["winner"]["rate"] == 0.0
    )
    assert summary["praise of itself"]["both"]["rate"] == 0.0
    assert summary["padding"]["shift"] == 0.0 and summary["padding"]["loser"] == {
        "pairs": 20,
        "flips": 0,
        "rate": 0,
        "low": 0,
        "high": 0,
    }
    assert summary["answer order"]["shift"] == 0.0 and summary["answer order"]["responses"] == 40
    assert summary["list order"] == {
        "responses": 0,
        **dict.fromkeys(
            ["shift", "shift_low", "shift_high", "shift_sd", "loser", "winner", "both"]
        ),
    }


def test_a_reward_that_depends_on_the_place_is_found_out_by_answer_order():
    expanded = counterfactual.expand(examples([["a", "b"]] * 6))
    rewards = [np.arange(len(group.responses), dtype=float) for group in expanded.groups]
    summary = counterfactual.summary(expanded.items, rewards)["answer order"]
    assert summary["both"]["rate"] == 1.0 and summary["shift"] == 0.0


def test_flips_by_hand_with_ties_and_missing_rewards():
    items = [
        Item("p", "all", {"originals": 3, "changed": {"padding": [3, 4, None]}}),
        Item("q", "all", {"originals": 2, "changed": {"padding": [2, 3]}}),
    ]
    rewards = [np.array([1.0, 2, 0, 2, 2.5]), np.array([5.0, np.nan, 6, 7])]
    entry = counterfactual.summary(items, rewards)["padding"]
    assert entry["responses"] == 3 and entry["shift"] == pytest.approx((1 + 0.5 + 1) / 3)
    # Pair (0, 1): 1 wins. The loser 0 goes to a reward of 2: a tie, which counts.
    # Pair (1, 2): the change has nothing to do with 2, the loser.
    assert (entry["loser"]["pairs"], entry["loser"]["flips"]) == (1, 1)
    assert (entry["winner"]["pairs"], entry["winner"]["flips"]) == (2, 0)
    assert (entry["both"]["pairs"], entry["both"]["flips"]) == (1, 0)
