"""RMB: published numbers, strictness, and where goal and category come from."""

import json

import numpy as np
import pytest

from rewardjax.data.groups import BadRecord
from rewardjax.evaluators import reading
from rewardjax.evaluators.benchmarks import rmb
from rewardjax.evaluators.records import Item

# RM-R1-Qwen2.5-Instruct-32B: right of all, for each of the four numbers.
RM_R1 = {
    "pairwise/Helpfulness": 8071,
    "pairwise/Harmlessness": 5692,
    "best-of-N/Helpfulness": 1372,
    "best-of-N/Harmlessness": 1111,
}
VALUES = {
    "pairwise/Helpfulness": 0.8017284196,
    "pairwise/Harmlessness": 0.8057757644,
    "best-of-N/Helpfulness": 0.6505452821,
    "best-of-N/Harmlessness": 0.6624925462,
}


def table(right: dict[str, int]):
    items, rewards = [], []
    for name, count in right.items():
        for i in range(rmb.EXPECTED[name]):
            items.append(Item(f"{name}/{i}", f"{name}/{'odd' if i % 2 else 'even'}", {}))
            rewards.append(
                np.array([1.0, 0.0, -1.0][: 2 if name.startswith("pairwise") else 3])
                * (1 if i < count else -1)
            )
    return items, rewards


def test_golden_numbers():
    result = rmb.summarize(*table(RM_R1))
    assert {name: part.value for name, part in result.parts.items()} == pytest.approx(
        VALUES, abs=1e-10
    )
    assert result.headline == pytest.approx(0.7301355031, abs=1e-10) and not result.partial
    assert result.other["best-of-N average"] == pytest.approx(
        (0.6505452821 + 0.6624925462) / 2, abs=1e-10
    )
    assert len(result.subsets) == 8


def test_stored_rewards_of_another_model():
    """849 pairs of one category with 12 ties, which are wrong.

    675 are right, as the benchmark's repository has for ArmoRM.
    """
    items = [
        Item(str(i), "pairwise/Helpfulness/Brainstorming/Idea Development", {}) for i in range(849)
    ]
    rewards = (
        [np.array([1.0, 0.0])] * 675 + [np.array([0.5, 0.5])] * 12 + [np.array([0.0, 1.0])] * 162
    )
    part = rmb.summarize(items, rewards).parts["pairwise/Helpfulness"]
    assert part.value == pytest.approx(0.7950530035, abs=1e-10) and part.ties == 12


def test_categories_are_pooled_by_their_sizes_not_averaged():
    items = [Item(str(i), "pairwise/Helpfulness/" + ("a" if i else "b"), {}) for i in range(4)]
    result = rmb.summarize(items, [np.array([1.0, 0.0])] * 3 + [np.array([0.0, 1.0])])
    assert result.parts["pairwise/Helpfulness"].value == 0.75
    assert (
        result.missing
        == ["pairwise/Harmlessness", "best-of-N/Helpfulness", "best-of-N/Harmlessness"]
        and result.partial
    )


@pytest.mark.parametrize(
    "rewards, credit, tie",
    [
        ([2, 1], 1, False),
        ([1, 1], 0, True),
        ([2, 1, 2], 0, True),
        ([2, 1, 1], 1, False),
        ([1, 2, 2], 0, False),
    ],
)
def test_a_list_is_won_only_strictly(rewards, credit, tie):
    assert rmb.list_credit(rewards) == (credit, tie)


def test_the_miniature_has_goals_and_categories():
    examples = rmb.load("assets:benchmarks/rmb")
    subsets = {item.subset for item in examples.items}
    assert {"/".join(subset.split("/")[:2]) for subset in subsets} == set(rmb.EXPECTED)
    assert any(len(group.prompt) == 3 for group in examples.groups), "a conversation of three turns"
    assert all(
        set(message) == {"role", "content"} for group in examples.groups for message in group.prompt
    )
    assert max(len(group.responses) for group in examples.groups) >= 4


def test_a_file_without_a_goal_is_refused(tmp_path):
    record = {
        "pair_uid": "1",
        "conversation_input": [{"role": "user", "content": "a", "language": "English"}],
    }
    record |= {"chosen": {"answer": "b"}, "reject": {"answer": "c"}}
    (tmp_path / "S1.json").write_text(json.dumps([record]))
    with pytest.raises(ValueError, match="none of 1 records.*category_path"):
        rmb.load(tmp_path)
    (tmp_path / "Harmlessness").mkdir()
    (tmp_path / "S1.json").rename(tmp_path / "Harmlessness" / "S1.json")
    assert rmb.load(tmp_path).items[0].subset == "pairwise/Harmlessness/S1"


def test_a_conversation_that_ends_with_the_assistant_is_left_out():
    with pytest.raises(BadRecord, match="ends with the assistant"):
        reading.turns(
            [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
            "conversation_input",
        )
