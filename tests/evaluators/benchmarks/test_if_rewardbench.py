"""IF-RewardBench: Kendall's tau of preference graphs by hand, means over types, real fields."""

import json
import math

import numpy as np
import pytest

from rewardjax.evaluators.benchmarks import if_rewardbench
from rewardjax.evaluators.records import Item


def item(kind, preferences, constraints=4, turns=1):
    label = {"preferences": preferences, "constraints": constraints, "turns": turns}
    return Item(f"{kind}/{len(preferences)}", kind, label)


@pytest.mark.parametrize(
    "rewards, kendall, accuracy",
    [
        ([3, 2, 1], 1.0, 1.0),
        ([1, 2, 3], -1.0, 0.0),
        # Two concordant, none discordant, one tied: 2 / sqrt(2 * 3).
        ([2, 1, 1], 2 / math.sqrt(6), 2 / 3),
        # One against two: (1 - 2) / 3.
        ([2, 3, 1], (2 - 1) / 3, 2 / 3),
        # All tied: the root is 0, and the denominator 1.
        ([0, 0, 0], 0.0, 0.0),
    ],
)
def test_kendall_by_hand(rewards, kendall, accuracy):
    agreement = if_rewardbench.agreement([(0, 1), (0, 2), (1, 2)], rewards)
    assert agreement.kendall == pytest.approx(kendall)
    assert agreement.accuracy == pytest.approx(accuracy)


def test_an_instruction_without_preferences_counts_zero():
    agreement = if_rewardbench.agreement([], [1.0, 2.0])
    assert agreement.kendall == 0.0 and agreement.accuracy == 0.0


def test_types_count_alike_whatever_their_size():
    items = [
        item("Single_Turn", [[0, 1]], constraints=2),
        item("Single_Turn", [[0, 1]], constraints=9),
        item("Multi_Turn", [[1, 0]], turns=7),
        item("System_Prompt", [[1, 0]]),
    ]
    rewards = [np.array([1.0, 0.0])] * 3 + [np.array([1.0, np.nan])]
    result = if_rewardbench.summarize(items, rewards)
    assert result.parts["Single_Turn"].value == 1.0 and result.parts["Multi_Turn"].value == -1.0
    assert result.parts["System_Prompt"].unscored == 1
    assert result.headline == pytest.approx((1 - 1) / 2)
    assert result.other["accuracy over preferences"] == pytest.approx((1 + 0) / 2)
    assert {"up to 3 constraints", "4 constraints", "7 or more constraints"} <= set(result.subsets)
    assert result.subsets["5 turns"].value == -1.0, "more than five turns are one bucket"
    assert "4 instructions of 842" in result.notes[0] and result.least == -1.0


RECORD = {
    "id": 3,
    "response_generation_model": "m",
    "instruction_type": "System_Prompt",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Name a color."},
    ],
    "checklist": ["one word"],
    "constraint_type": [],
    "responses": [{"response": "Red, or blue.", "judgements": [0]}, {"response": "Red."}],
    "preference_graph": [{"chosen": {"response_id": 1}, "rejected": {"response_id": 0}}],
}


def test_a_record_of_the_repository(tmp_path):
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "if_rewardbench.json"
    file.write_text(json.dumps([RECORD], indent=2))
    (tmp_path / "inference").mkdir()
    (tmp_path / "inference" / "position_maps.json").write_text(json.dumps({"3": {"0_1": 1}}))
    judged = {**RECORD, "pairwise_evaluation_results": {"0_1": "[[B]]"}}
    results = tmp_path / "inference" / "overall_assessment_results"
    results.mkdir()
    (results / "judge.json").write_text(json.dumps([judged]))
    examples = if_rewardbench.load(tmp_path)
    assert list(examples.files) == ["data/if_rewardbench.json"]
    [read], [group] = examples.items, examples.groups
    assert read.id == "3" and read.subset == "System_Prompt"
    assert read.label == {"preferences": [[1, 0]], "constraints": 1, "turns": 1}
    assert if_rewardbench.better(read, 2) == [(1, 0)]
    assert group.prompt[0] == {"role": "system", "content": "Be brief."}
    assert [turns[0]["content"] for turns in group.responses] == ["Red, or blue.", "Red."]


@pytest.mark.parametrize(
    "change, told",
    [
        ({"instruction_type": "Poem"}, "instruction_type = 'Poem'"),
        ({"responses": [{"response": None}]}, "response = None"),
        (
            {"preference_graph": [{"chosen": {"response_id": 2}, "rejected": {"response_id": 0}}]},
            "chosen.response_id = 2, not one of 2 responses",
        ),
    ],
)
def test_a_bad_record_names_its_field(tmp_path, change, told):
    file = tmp_path / "if_rewardbench.json"
    file.write_text(json.dumps([RECORD, {**RECORD, **change}]))
    [bad] = if_rewardbench.load(tmp_path).left_out
    assert told in bad["detail"]
