"""PPE: votes with ties dropped or halved; conflict pairs in any order, AUC, best-of-K."""

import itertools
import json

import numpy as np
import pytest

from rewardjax.data.groups import BadRecord
from rewardjax.evaluators import reading
from rewardjax.evaluators.benchmarks import best_of_n, ppe_correctness, ppe_preference
from rewardjax.evaluators.records import Item


def vote(i, winner, language="English", flags=()):
    return Item(str(i), language, {"winner": winner, "flags": list(flags)})


def test_votes_that_are_ties_are_dropped_or_halved_and_equal_rewards_are_wrong():
    first, second, winner = [1, 1, 0, 1, 2], [0, 0, 0, 1, 2], [1, 0, 1, 0.5, 0.5]
    assert ppe_preference.preference_accuracy(first, second, winner) == pytest.approx(1 / 3)
    assert ppe_preference.preference_accuracy(first, second, winner, ties="half") == pytest.approx(
        2 / 5
    )
    assert np.isnan(ppe_preference.preference_accuracy([1], [0], [0.5]))
    with pytest.raises(ValueError, match="ties = 'keep'"):
        ppe_preference.preference_accuracy(first, second, winner, ties="keep")


def test_preference_summary_counts_everything():
    items = [
        vote(0, 1.0),
        vote(1, 0.0, "German", ["is_code"]),
        vote(2, 0.5),
        vote(3, 1.0),
        vote(4, 1.0),
    ]
    result = ppe_preference.summarize(
        items, [np.array(x, float) for x in ([1, 0], [1, 0], [1, 0], [2, 2], [np.nan, 1])]
    )
    part = result.parts["votes"]
    assert (part.value, part.n, part.ties, part.unscored, part.unused) == (
        pytest.approx(1 / 3),
        3,
        1,
        1,
        1,
    )
    assert (
        result.partial and result.denominators == "1 of 1 parts, 4 of 16,038 examples, 1 unscored"
    )
    assert result.other["accuracy, vote ties as one half"] == pytest.approx(1.5 / 4)
    assert result.subsets["is_code"].value == 0.0 and result.subsets["English"].n == 2
    assert ppe_preference.summarize(items[2:3], [np.array([1.0, 0.0])]).headline is None


def test_conflict_pairs_come_in_any_order():
    credit, ties = ppe_correctness.pair_credit([3, 1, 1], [1, 0, 1], [[0, 1], [1, 0], [1, 2]])
    assert credit.tolist() == [1, 1, 0] and ties.tolist() == [False, False, True]
    assert ppe_correctness.pair_credit([1, 1], [0, 1], [[0, 1]], tie=0.5)[0].tolist() == [0.5]
    assert len(ppe_correctness.pair_credit([1.0], [1], [])[0]) == 0


def test_auc_is_the_share_of_won_pairs():
    rng = np.random.default_rng(0)
    rewards, correct = rng.integers(0, 5, 30), rng.integers(0, 2, 30)
    right, wrong = rewards[correct == 1], rewards[correct == 0]
    expected = np.mean([(a > b) + (a == b) / 2 for a, b in itertools.product(right, wrong)])
    assert ppe_correctness.auc(rewards, correct) == pytest.approx(expected)
    assert ppe_correctness.auc([1, 2], [1, 1]) is None


def test_the_plain_mean_of_five_sets_is_the_headline():
    wins = {
        "MMLU-Pro": 66,
        "MATH": 71,
        "IFEval": 57,
        "GPQA": 54,
        "MBPP-Plus": 58,
    }  # a published row: overall 61.2
    items, rewards = [], []
    for name, count in wins.items():
        for i in range(100):
            items.append(
                Item(
                    f"{name}/{i}",
                    name,
                    {"correct": [0, 1], "pairs": [[0, 1]], "not_in_conflict": 0},
                )
            )
            rewards.append(np.array([0.0, 1.0 if i < count else -1.0]))
    result = ppe_correctness.summarize(items, rewards)
    assert 100 * result.headline == pytest.approx(61.2)
    one = result.other["MATH"]
    assert one["best-of-K, last"] == pytest.approx(0.71) and one[
        "auc, within prompts"
    ] == pytest.approx(0.71)
    assert one["best-of-K"]["oracle"] == [0.5, 1.0]
    assert one["best-of-K, squared distance from the oracle"] == pytest.approx((1 - 0.71) ** 2 / 2)


def test_duplicates_and_pairs_without_conflict_are_counted():
    read = ppe_correctness._read
    record = {
        "set": "GPQA",
        "question_id": 3,
        "prompt": "p",
        "response_1": "a",
        "response_2": "b",
        "response_3": "c",
    }
    record |= {
        "scores": [True, False, False],
        "sampled_conflict_pairs": [[0, 1], [1, 0], [1, 2]],
        "model_name": "m",
    }
    item, group = read(record)
    assert (
        item.label["pairs"] == [[0, 1], [1, 0]]
        and item.label["not_in_conflict"] == 1
        and len(group.responses) == 3
    )
    result = ppe_correctness.summarize([item], [np.array([1.0, 0.0, 0.0])])
    assert (
        result.other["GPQA"]["duplicate pairs"] == 1
        and "1 sampled pairs are not of a right and a wrong" in result.notes[0]
    )
    with pytest.raises(BadRecord, match="sampled_conflict_pairs"):
        read(record | {"sampled_conflict_pairs": [[0, 3]]})


def test_a_prompt_with_an_unscored_response_is_left_out_whole():
    item = Item("0", "MATH", {"correct": [1, 0, 0], "pairs": [[0, 1]], "not_in_conflict": 0})
    result = ppe_correctness.summarize([item], [np.array([1.0, 0.0, np.nan])])
    assert result.headline is None and result.parts["MATH"].unscored == 1


def test_the_miniatures(tmp_path):
    votes = ppe_preference.load("assets:benchmarks/ppe_preference")
    assert {item.label["winner"] for item in votes.items} == {0.0, 0.5, 1.0} and len(
        {item.subset for item in votes.items}
    ) > 1
    sets = ppe_correctness.load("assets:benchmarks/ppe_correctness")
    assert {item.subset for item in sets.items} == set(ppe_correctness.EXPECTED)
    assert all(len(group.responses) == 32 for group in sets.groups)


def of_set(file, **changes):
    """One prompt of PPE Correctness in `file`, whose name and folders tell the set."""
    record = {"prompt": "p", "response_1": "a", "response_2": "b", "scores": [1, 0]}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**record, "sampled_conflict_pairs": [[0, 1]], **changes}) + "\n")


@pytest.mark.parametrize(
    "place, expected",
    [
        ("ppe_correctness/mbpp_plus.jsonl", "MBPP-Plus"),
        ("ppe_correctness/PPE-GPQA-Best-of-K/data/train.jsonl", "GPQA"),
        ("mathias/ppe_correctness/ifeval/train.jsonl", "IFEval"),
        ("datasets--lmarena-ai--PPE-MATH-Best-of-K/snapshots/0ab/data/train.jsonl", "MATH"),
    ],
)
def test_a_set_is_told_by_whole_words_below_the_folder(place, expected, tmp_path):
    of_set(tmp_path / place)
    folder = (tmp_path / place).parent
    if "ppe_correctness" in place:
        folder = tmp_path / place.split("ppe_correctness")[0] / "ppe_correctness"
    [item] = ppe_correctness.load(folder).items
    assert item.subset == expected


def test_a_folder_above_the_data_tells_no_set(tmp_path):
    of_set(tmp_path / "math" / "ppe_correctness" / "train.jsonl")
    with pytest.raises(ValueError, match="named after one of"):
        ppe_correctness.load(tmp_path / "math" / "ppe_correctness")


def test_best_of_n_as_a_benchmark():
    items = [
        Item("a", "x", {"correct": [1, 0, 0]}),
        Item("b", "x", {"correct": [1, 1, 1]}),
        Item("c", "y", {"correct": [0, 1, 0]}),
    ]
    result = best_of_n.summarize(
        items, [np.array(x, float) for x in ([2, 1, 0], [0, 0, 0], [1, 1, 0])]
    )
    part = result.parts["prompts"]
    assert (part.value, part.n, part.unused, part.ties) == (0.75, 2, 1, 1)
    assert (
        result.chance == pytest.approx(1 / 3)
        and result.other["curve"]["score"][-1] == 0.75
        and set(result.subsets) == {"x", "y"}
    )


def test_a_set_of_the_hub_is_told_by_its_address_since_a_snapshot_lies_under_a_hash(
    tmp_path, monkeypatch
):
    """The hub's cache names folders by commit; a local file is told by its own path."""
    folders = {}
    for name in ppe_correctness.EXPECTED:
        folders[f"{ppe_correctness.HUB}/PPE-{name}-Best-of-K"] = (
            tmp_path / f"datasets--lmarena-ai--PPE-{name}-Best-of-K"
        )
    for folder in folders.values():
        of_set(folder / "snapshots" / "train.jsonl")
    monkeypatch.setattr(reading, "local", lambda place: folders[place] / "snapshots")
    examples = ppe_correctness.load(ppe_correctness.HUB)
    assert [item.subset for item in examples.items] == list(ppe_correctness.EXPECTED)


def conflict(name, pairs):
    """A prompt of a set whose responses 0 and 2 are right, 1 and 3 wrong."""
    return Item(name, "MATH", {"correct": [1, 0, 1, 0], "pairs": pairs, "not_in_conflict": 0})


def test_a_set_counts_its_pairs_and_not_its_prompts():
    items = [conflict("a", [[0, 1], [3, 2], [0, 3]]), conflict("b", [[0, 1]])]
    won, lost = np.array([1.0, 0, 1, 0]), np.array([0.0, 1, 0, 1])
    assert ppe_correctness.summarize(items, [won, lost]).parts["MATH"].value == 0.75


def test_what_differs_between_prompts_is_in_the_pooled_auc_alone():
    items = [conflict("a", [[0, 1]]), conflict("b", [[0, 1]])]
    easy = np.array([1.0, 0, 1, 0])
    figures = ppe_correctness.summarize(items, [easy, easy + 10]).other["MATH"]
    assert figures["auc, within prompts"] == 1.0
    assert figures["auc, pooled"] == 0.75, "a wrong response to b is above a right one to a"
