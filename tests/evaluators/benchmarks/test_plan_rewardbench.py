"""Plan-RewardBench: near ties earn a half, splits count alike, two ways to write a trajectory."""

import json

import numpy as np
import pytest

from rewardjax.evaluators.benchmarks import plan_rewardbench
from rewardjax.evaluators.records import Item

SCHEMA = {
    "type": "function",
    "function": {"name": "weather", "description": "", "parameters": {"type": "object"}},
}
TASK = {"role": "user", "content": "Is it warm in Rome?"}
CALL = {"role": "tool_call", "content": "{'name': 'weather', 'arguments': '{\"city\": \"Rome\"}'}"}
RESULT = {"role": "tool_response", "name": "weather", "content": "31 C"}
ANSWER = {"role": "assistant", "content": "Yes, 31 C."}
RECORD = {
    "query": "Is it warm in Rome?",
    "tools": [SCHEMA],
    "uuid": "u1",
    "chosen": {"messages": [TASK, {"role": "assistant", "content": "I look."}, CALL, RESULT]},
    "reject": {"messages": [TASK, CALL, CALL, RESULT, RESULT, {**ANSWER, "content": "No."}]},
    "_lcp_bucket": "refusal",
}
RECORD["chosen"]["messages"].append(ANSWER)


def write(file, records):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_scores_that_are_almost_equal_earn_a_half():
    credit, ties = plan_rewardbench.pair_credit(
        [1.0, 1.0, 0.0, 1.0, np.nan], [0.0, 0.9999, 1, 2, 0]
    )
    assert ties.tolist() == [False, True, False, False, False]
    assert credit[:4].tolist() == [1.0, 0.5, 0.0, 0.0] and np.isnan(credit[4])


def test_splits_count_alike_whatever_their_size():
    splits = ["safety_refusal"] * 3 + ["robust_recovery"]
    items = [Item(str(i), split, {}) for i, split in enumerate(splits)]
    rewards = [np.array([1.0, 0.0])] * 3 + [np.array([0.0, 1.0])]
    result = plan_rewardbench.summarize(items, rewards)
    assert result.headline == pytest.approx(0.5) and result.other["micro accuracy"] == 0.75
    assert sum(part.expected for part in result.parts.values()) == 1171


def test_trajectories_as_the_repository_s_script_writes_them(tmp_path):
    write(tmp_path / "benchmark" / "tool_irrelevance.jsonl", [RECORD])
    examples = plan_rewardbench.load(tmp_path)
    [item], [group] = examples.items, examples.groups
    assert item.id == "tool_irrelevance/u1", "the file's name is the split"
    [header] = group.prompt
    tools = json.dumps([SCHEMA], indent=2)
    assert header["content"] == (
        f"<tool_environment>\n{tools}\n</tool_environment>\n"
        "<user_query>\nIs it warm in Rome?\n</user_query>"
    )
    assert group.responses[0] == [
        TASK,
        {"role": "assistant", "content": "I look."},
        {"role": "assistant", "content": f"[TOOL_CALL] {CALL['content']}"},
        {"role": "assistant", "content": "[TOOL_RESPONSE name=weather] 31 C"},
        ANSWER,
    ]


def test_trajectories_for_the_chat_template(tmp_path):
    write(tmp_path / "safety_refusal.jsonl", [RECORD])
    [group] = plan_rewardbench.load(tmp_path, tools="template").groups
    assert group.tools == [SCHEMA] and group.prompt == [TASK]
    call = {
        "type": "function",
        "function": {"name": "weather", "arguments": {"city": "Rome"}},
    }
    result = {"role": "tool", "content": "31 C", "name": "weather"}
    assert group.responses[0] == [
        {"role": "assistant", "content": "I look.", "tool_calls": [call]},
        result,
        ANSWER,
    ]
    assert group.responses[1][0] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [call, call],
    }, "calls on end are one turn's"


def test_a_table_of_all_splits_names_them_in_its_records(tmp_path):
    write(tmp_path / "train.jsonl", [RECORD, {**RECORD, "_lcp_bucket": "robust_recovery"}])
    examples = plan_rewardbench.load(tmp_path)
    assert [item.subset for item in examples.items] == ["safety_refusal", "robust_recovery"]


@pytest.mark.parametrize(
    "change, told",
    [
        ({"_lcp_bucket": "x"}, "_lcp_bucket = 'x'"),
        ({"chosen": {"messages": []}}, "chosen.messages = []"),
        ({"tools": "none"}, "tools = 'none'"),
        ({"reject": {"messages": [ANSWER, ANSWER]}}, "do not begin with the same message"),
        ({"chosen": {"messages": [TASK, {**CALL, "content": "f("}]}}, "tool_call = 'f('"),
    ],
)
def test_a_bad_record_names_its_field(tmp_path, change, told):
    write(tmp_path / "train.jsonl", [RECORD, {**RECORD, **change}])
    [bad] = plan_rewardbench.load(tmp_path, tools="template").left_out
    assert told in bad["detail"]


def test_an_unknown_way_to_write_tools_is_refused(tmp_path):
    with pytest.raises(ValueError, match="tools = 'json'; there are text, template"):
        plan_rewardbench.load(tmp_path, tools="json")
