"""The most confident mistakes: by margin, one of each item, with the texts that may be shown."""

import json

import numpy as np
from stored import scores

from rewardjax import evaluators
from rewardjax.data.groups import Group
from rewardjax.evaluators import reading
from rewardjax.evaluators.audits import mistakes, run
from rewardjax.evaluators.records import Examples, Item

# The better response is the first: right by 1, wrong by 1, wrong by 3, a tie, without a score.
REWARDS = [[2, 1], [1, 2], [0, 3], [1, 1], [np.nan, 5]]


def examples_of(stored, name="rewardbench"):
    groups = []
    for item, rewards in zip(stored.items, stored.rewards, strict=True):
        replies = [f"{item.id}, reply {k}" for k in range(len(rewards))]
        groups.append(reading.example(item.id, "s", {}, reading.user(item.id), replies)[1])
    return Examples(name, stored.items, groups, "d", [])


def test_wrong_pairs_come_by_margin_and_nothing_else_is_a_mistake():
    stored = scores("rewardbench", REWARDS)
    worst = mistakes.of_benchmark(examples_of(stored), stored)
    assert [row["id"] for row in worst] == ["mt-bench-easy/2", "mt-bench-easy/1"]
    assert [row["margin"] for row in worst] == [3.0, 1.0]
    assert (worst[0]["better_reward"], worst[0]["worse_reward"]) == (0.0, 3.0)
    assert len(mistakes.of_benchmark(examples_of(stored), stored, most=1)) == 1


def test_an_item_of_many_responses_counts_once_with_its_worst_pair():
    stored = scores("rewardbench2", [[0, 1, 4, 2], [0, 2, 1, 1]], subset="Focus")
    stored.items[:] = [item._replace(label={"correct": 1}) for item in stored.items]
    worst = mistakes.of_benchmark(examples_of(stored, "rewardbench2"), stored)
    assert [(row["worse"], row["margin"]) for row in worst] == [(2, 4.0), (1, 2.0)]


def test_rows_have_the_texts_of_both_responses(tmp_path):
    stored = scores("rewardbench", REWARDS)
    examples, file = examples_of(stored), tmp_path / "mistakes.jsonl"
    record = run.mistakes_of(
        {"set": examples, "right": examples},
        {"set": stored, "right": scores("rewardbench", [[2, 1]] * 5)},
        file,
    )
    assert list(record) == ["set"] and "prompt" not in record["set"][0], "the record has no texts"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["benchmark"] for row in rows] == ["set", "set"]
    first = rows[0]
    assert first["chosen"][0]["content"] == "mt-bench-easy/2, reply 0"
    assert first["rejected"][0]["content"] == "mt-bench-easy/2, reply 1"


def test_tools_and_calls_are_shown_as_text():
    stored = scores("rewardbench", [[0, 1]])
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "find"}]}
    said = {"role": "assistant", "content": "done", "extra": None}
    name = stored.items[0].id
    group = Group(name, reading.user("p"), [[call], [said]], [], tools=[{"name": "find"}])
    examples = Examples("rewardbench", stored.items, [group], "d", [])
    [row] = mistakes.with_texts(mistakes.of_benchmark(examples, stored), examples)
    assert row["prompt"][0]["role"] == "tools" and "find" in row["prompt"][0]["content"]
    assert "tool_calls" in row["chosen"][0]["content"]
    assert row["rejected"] == [{"role": "assistant", "content": "done"}]


def test_texts_that_must_not_be_republished_stay_out():
    rewards = [[0.0, 1.0], [0.0, 1.0]]
    stored = scores("ppe_correctness", rewards)
    label = {"correct": [1, 0], "pairs": [[0, 1]], "not_in_conflict": 0}
    stored.items[:] = [Item("g", "GPQA", label), Item("m", "MATH", label)]
    examples = examples_of(stored, "ppe_correctness")
    worst = mistakes.of_benchmark(examples, stored)
    gpqa, math = sorted(mistakes.with_texts(worst, examples), key=lambda row: row["subset"])
    assert gpqa["prompt"] is gpqa["chosen"] is gpqa["rejected"] is None
    assert math["prompt"] == reading.user("m")
    assert "GPQA" in evaluators.get("ppe_correctness").EXPECTED
