"""LLMBar: labels, weights, and the numbers of an independent transformers script."""

import json

import numpy as np
import pytest

from rewardjax import assets
from rewardjax.data.groups import BadRecord
from rewardjax.evaluators.benchmarks import llmbar, rewardbench
from rewardjax.evaluators.records import Item

MINI = "assets:benchmarks/llmbar"


def test_the_better_output_comes_first_whatever_the_label():
    examples = llmbar.load(MINI)
    rows = [
        row
        for name in sorted(llmbar.SUBSETS)
        for row in json.loads((assets.resolve(MINI) / f"{name}.json").read_text())
    ]
    for group, row in zip(examples.groups, rows, strict=True):
        assert group.responses[0][0]["content"] == row[f"output_{row['label']}"]
    with pytest.raises(BadRecord, match="label = 0"):
        llmbar._read({"label": 0})


def test_the_headline_is_the_llmbar_part_of_chat_hard():
    rng = np.random.default_rng(0)
    subsets = list(llmbar.SUBSETS.values())
    items = [
        Item(f"{subset}/{i}", subset, {})
        for subset in subsets
        for i in range(rewardbench.EXPECTED[subset])
    ]
    rewards = list(rng.normal(size=(len(items), 2)))
    here, there = llmbar.summarize(items, rewards), rewardbench.summarize(items, rewards)
    assert len(items) == 419 and not here.partial
    assert here.headline == there.parts["Chat Hard"].value
    assert {name: part.value for name, part in here.parts.items()} == {
        name: there.subsets[name].value for name in subsets
    }


def test_numbers_are_those_of_transformers(exported):
    pytest.importorskip("torch")
    from benchmarks import llmbar_parity

    found = llmbar_parity.compare(str(exported), assets.resolve(MINI))
    assert found["pairs"] == 20 and found["smallest_margin"] > 1e-4, "no pair may hang on rounding"
    assert (
        found["equal"]
        and found["max_difference"] < 1e-4
        and found["transformers_padding_difference"] < 1e-4
    )


def test_the_real_files(shared_data):
    examples = llmbar.load(shared_data / "llmbar")
    counts = {
        subset: sum(item.subset == subset for item in examples.items)
        for subset in llmbar.SUBSETS.values()
    }
    assert (
        counts == {subset: rewardbench.EXPECTED[subset] for subset in counts}
        and not examples.left_out
    )


def test_a_folder_without_the_files_says_which(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no .*\.parquet, .* file"):
        llmbar.load(tmp_path)
