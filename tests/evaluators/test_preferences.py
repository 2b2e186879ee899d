"""Every benchmark's labels as pairs: by its own rule, a model that follows them is never wrong."""

import numpy as np
import pytest

from rewardjax import evaluators
from rewardjax.evaluators import preferences
from rewardjax.evaluators.records import Item
from rewardjax.evaluators.stored_rewards import Scores


@pytest.mark.parametrize("name", [*evaluators.PAPER, "llmbar"])
def test_rewards_that_follow_the_label_win_the_benchmark(name):
    examples = evaluators.load(name, path=f"assets:benchmarks/{name}")
    module, rewards = evaluators.get(name), []
    for item, group in zip(examples.items, examples.groups, strict=True):
        quality = preferences.quality(name, item, len(group.responses))
        rewards.append(quality.astype(np.float32))
        for better, worse in module.better(item, len(group.responses)):
            assert quality[better] > quality[worse]
    right, wrong = (
        module.summarize(examples.items, [sign * found for found in rewards]) for sign in (1, -1)
    )
    assert right.headline >= 1.0 - 1e-9 and wrong.headline < 0.2


@pytest.mark.parametrize(
    "benchmark, label, pairs, quality",
    [
        (
            "pairs",
            {"pairs": [[0, 1, 1.0, False], [0, 2, 0.2, False], [1, 2, 0.5, True]]},
            [(0, 1), (2, 0)],
            [0, -1, 1],
        ),
        ("best_of_n", {"correct": [0, 1, 0]}, [(1, 0), (1, 2)], [0, 1, 0]),
        ("ppe_preference", {"winner": 0.5}, [], [0, 0, 0]),
        ("rewardbench2", {"correct": 2}, [(0, 2), (1, 2)], [1, 1, -2]),
        ("rmb", {}, [(0, 1), (0, 2)], [2, -1, -1]),
        ("judgebench", {"label": "B>A"}, [(1, 0)], [-1, 1, 0]),
        ("ppe_correctness", {"correct": [0, 1, 0], "pairs": [[0, 1]]}, [(1, 0)], [0, 1, 0]),
    ],
)
def test_labels_by_hand(benchmark, label, pairs, quality):
    item = Item("i", "s", label)
    assert evaluators.get(benchmark).better(item, 3) == pairs
    assert preferences.quality(benchmark, item, 3).tolist() == quality


def test_an_unknown_benchmark_is_refused_with_the_names_there_are():
    label = {"label": "B>A"}
    with pytest.raises(
        ValueError, match="no benchmark is called 'mybench'; there are rewardbench,"
    ):
        preferences.quality("mybench", Item("i", "s", label), 2)
    scores = Scores([], [], [], [], [], [], [], {"benchmark": "mybench"})
    with pytest.raises(ValueError, match="no benchmark is called 'mybench'"):
        preferences.pairs(scores)


def test_pairs_without_a_reward_are_left_out():
    items = [Item("i", "s", {"correct": [1, 0, 0]})]
    tokens = [np.array([7, 8, 9])]
    scores = Scores(
        items,
        [np.array([0.5, np.nan, 0.25], np.float32)],
        tokens,
        tokens,
        [3],
        ["p"],
        [],
        {"benchmark": "best_of_n"},
    )
    found = preferences.pairs(scores)
    assert [column.tolist() for column in found[:4]] == [
        [0.5],
        [0.25],
        [7],
        [9],
    ] and found.prompts == ["p"]
