"""RewardBench's prior sets: four sets of the headline, their weight, names of files."""

import json

import numpy as np
import pytest

from rewardjax.evaluators.benchmarks import prior_sets, rewardbench
from rewardjax.evaluators.records import Item

TURNS = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "A joke?"},
]
PAIR = {"prompt": TURNS, "chosen": "Why?", "rejected": "No.", "subset": "honest"}
RIGHT, WRONG = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def write(file, records):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_the_headline_is_the_mean_of_four_sets_and_others_stand_below():
    names = ("anthropic_helpful", "anthropic_hhh", "shp", "shp", "mtbench_human")
    items = [Item(f"{name}/{i}", name, {}) for i, name in enumerate(names)]
    result = prior_sets.summarize(items, [RIGHT, WRONG, RIGHT, WRONG, WRONG])
    assert result.headline == pytest.approx((1 + 0 + 0.5) / 3)
    assert result.missing == ["summarize"] and set(result.parts) == set(rewardbench.PRIOR_SETS)
    assert result.subsets["mtbench_human"].value == 0.0
    assert result.subsets["mtbench_human"].expected == 3355
    assert result.parts["summarize"].expected == 9000


def test_it_weighs_half_a_section_of_rewardbench():
    sections = dict.fromkeys(rewardbench.WEIGHTS, 0.8)
    prior = dict.fromkeys(rewardbench.PRIOR_SETS, 0.5)
    assert rewardbench.with_prior_sets(sections, prior) == pytest.approx((4 * 2 * 0.8 + 0.5) / 9)


def test_sets_are_told_by_the_names_of_files_and_withdrawn_ones_not_read(tmp_path):
    write(tmp_path / "data" / "anthropic_hhh-00000-of-00001.jsonl", [PAIR, PAIR])
    write(tmp_path / "data" / "pku_safer-00000-of-00001.jsonl", [{**PAIR, "chosen": "x"}])
    write(tmp_path / "default" / "shp" / "0000.jsonl", [{**PAIR, "prompt": "Why?"}])
    examples = prior_sets.load(tmp_path)
    assert [item.id for item in examples.items] == ["anthropic_hhh/0", "anthropic_hhh/1", "shp/0"]
    assert examples.groups[0].prompt == TURNS
    assert examples.groups[2].prompt == [{"role": "user", "content": "Why?"}]
    [reason] = examples.set_aside.values()
    assert "pku_safer is no longer part" in reason


def test_a_set_of_another_name_is_refused(tmp_path):
    write(tmp_path / "mine.jsonl", [PAIR])
    with pytest.raises(ValueError, match="is named after none of anthropic_helpful"):
        prior_sets.load(tmp_path)


def test_they_are_averaged_with_rewardbench_when_it_is_told_where_they_are(tmp_path):
    for name in ("anthropic_hhh", "mtbench_human"):
        write(tmp_path / f"{name}.jsonl", [PAIR])
    core = rewardbench.load("assets:benchmarks/rewardbench")
    both = rewardbench.load("assets:benchmarks/rewardbench", prior=tmp_path)
    assert [item.id for item in both.items[len(core.items) :]] == ["anthropic_hhh/0"]
    assert both.fingerprint != core.fingerprint and len(both.groups) == len(both.items)
    rewards = [RIGHT] * len(core.items) + [WRONG]
    result = rewardbench.summarize(both.items, rewards)
    # Sections weigh 2 each and are all right, the prior sets weigh 1 and are all wrong.
    assert result.headline == 1.0
    assert result.other["with prior sets"] == pytest.approx(8 / 9)
