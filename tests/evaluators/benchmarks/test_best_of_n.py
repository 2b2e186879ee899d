"""The best-of-N benchmark: which groups count, and the baselines."""

import json

import numpy as np
import pytest

from rewardjax.evaluators.benchmarks import best_of_n
from rewardjax.evaluators.records import Item
from rewardjax.evaluators.stored_rewards import Scores


def test_groups_with_too_few_responses_are_left_out_and_answers_are_read(tmp_path):
    path = tmp_path / "groups.jsonl"
    rows = [
        {
            "prompt": f"{K} responses",
            "responses": [{"content": f"The answer is {k}.", "correct": k == 1} for k in range(K)],
        }
        for K in (2, 5, 3)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    examples = best_of_n.load(str(path), least=3)
    assert [item.label for item in examples.items] == [
        {"correct": [0, 1, 0, 0, 0], "answers": ["0", "1", "2", "3", "4"]},
        {"correct": [0, 1, 0], "answers": ["0", "1", "2"]},
    ]
    assert [entry["detail"] for entry in examples.left_out] == ["2 responses, least = 3"]


def scores_of(correct, tokens, answers):
    """Prompts with rewards that prefer the first response, and what the baselines read."""
    items = []
    for i, labels in enumerate(correct):
        items.append(Item(str(i), "all", {"correct": labels, "answers": answers[i]}))
    rewards = [-np.arange(len(labels), dtype=np.float32) for labels in correct]
    lengths = [np.array(row, np.int32) for row in tokens]
    prompts = [item.id for item in items]
    return Scores(items, rewards, lengths, lengths, [1] * len(items), prompts, [], {})


def test_baselines_pick_the_shortest_response_and_the_most_frequent_answer():
    scores = scores_of(
        correct=[[0, 1, 0], [0, 0, 1], [1, 1, 1]],
        tokens=[[9, 3, 5], [8, 7, 2], [1, 2, 3]],
        answers=[["7", "8", "7"], ["4", "5", "5"], ["1", "1", "1"]],
    )
    curves = best_of_n.baselines(scores, [1, 3])
    assert curves["shortest response"]["score"][-1] == 1.0
    assert curves["shortest response"]["prompts"] == 2, "all right tells no scorer apart"
    assert curves["majority vote"]["score"][-1] == pytest.approx((0 + 1 / 2) / 2)


def test_no_majority_of_a_few_answers():
    few = scores_of([[0, 1, 0]], [[1, 2, 3]], [["7", None, None]])
    assert set(best_of_n.baselines(few, [1])) == {"shortest response"}


def test_every_subset_has_the_chance_of_its_own_prompts():
    labels = {"math": [1, 0, 0, 0], "math-hard": [1, 1, 1, 0], "p": [1, 0, 1, 0]}
    items = [Item(name, name, {"correct": label}) for name, label in labels.items()]
    result = best_of_n.summarize(items, [np.arange(4.0)] * 3)
    assert [result.chance_of(name) for name in labels] == [0.25, 0.75, 0.5]
    assert result.chance == result.chance_of("prompts") == 0.5
