"""What benchmarks share: records in JSON, parts that pool, files, and bad records, counted."""

import json

import numpy as np
import pytest

from rewardjax import assets
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import BadRecord
from rewardjax.evaluators import reading, rules, stored_rewards
from rewardjax.evaluators.benchmarks import pairs, rewardbench
from rewardjax.evaluators.records import Examples, Item, Part, Result

ROW = {"prompt": "p", "chosen": "a", "rejected": "b", "subset": "hep-go", "id": 1}


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_results_survive_json():
    parts = {"a": Part(0.5, 4, 1, 10, 2, 1), "b": Part(None, 0, expected=7)}
    result = Result(
        "rmb", 0.5, "mean", None, parts, {"a/x": Part(1.0, 1)}, {"curve": [1.0]}, ["note"]
    )
    record = json.loads(json.dumps(result.to_record()))
    assert Result.from_record(record) == result
    assert (record["missing"], record["partial"], record["ties"]) == (["b"], True, 1)
    assert record["denominators"] == "1 of 2 parts, 5 of 17 examples, 2 unscored"


@pytest.mark.parametrize(
    "part, partial",
    [
        (Part(0.5, 4), False),
        (Part(0.5, 4, 0, 4), False),
        (Part(0.5, 3, 0, 4), True),
        (Part(0.5, 3, 0, 4, 0, 1), False),
        (Part(1, 3, 0, 3, 1), True),
    ],
)
def test_a_part_is_partial_when_examples_lack(part, partial):
    assert part.partial == partial


def test_pooling_weighs_by_examples():
    pooled = rules.pool([Part(1.0, 3, 1), Part(0.0, 1, 2, unscored=5), Part(None, 0)])
    assert (pooled.value, pooled.n, pooled.ties, pooled.unscored) == (0.75, 4, 3, 5)
    assert rules.pool([]).value is None and rules.average([None]) is None


def test_bad_records_are_counted_and_a_file_without_good_ones_is_refused(tmp_path):
    file = write(tmp_path / "x.jsonl", [ROW, {**ROW, "chosen": None}, {**ROW, "prompt": []}, ROW])
    examples = rewardbench.load(file)
    assert [item.id for item in examples.items] == ["hep-go/1", "hep-go/1#2"], "ids are made unique"
    assert [(bad["where"], bad["reason"]) for bad in examples.left_out] == [
        ("x.jsonl:1", "bad_schema"),
        ("x.jsonl:2", "bad_schema"),
    ]
    with pytest.raises(ValueError, match="rewardbench: none of 1 records.*chosen = None"):
        rewardbench.load(write(tmp_path / "y.jsonl", [{**ROW, "chosen": None}]))
    with pytest.raises(FileNotFoundError):
        rewardbench.load(tmp_path / "nowhere")


def test_a_folder_s_only_file_is_read_and_of_several_the_split(tmp_path):
    write(tmp_path / "one" / "rows.jsonl", [ROW])
    assert len(rewardbench.load(tmp_path / "one").items) == 1
    for split, rows in (("filtered", [ROW]), ("raw", [ROW, ROW])):
        write(tmp_path / "two" / "data" / f"{split}-00000-of-00001.jsonl", rows)
    assert len(rewardbench.load(tmp_path / "two").items) == 1
    assert len(rewardbench.load(tmp_path / "two", split="raw").items) == 2


def test_the_fingerprint_follows_the_contents_alone(tmp_path):
    first, moved = (
        rewardbench.load(write(tmp_path / name, [ROW])) for name in ("a.jsonl", "b.jsonl")
    )
    changed = rewardbench.load(write(tmp_path / "c.jsonl", [{**ROW, "chosen": "A"}]))
    assert first.fingerprint == moved.fingerprint != changed.fingerprint
    whole, half = (
        pairs.load("world:heldout?num=20", part=part) for part in ((0.0, 1.0), (0.0, 0.5))
    )
    write(tmp_path / "repository" / "train.jsonl", [ROW])
    write(tmp_path / "repository" / "test.jsonl", [ROW] * 2)
    assert len(pairs.load(tmp_path / "repository", split="train").items) == 1
    assert 0 < len(half.items) < len(whole.items) and half.fingerprint != whole.fingerprint


@pytest.mark.parametrize(
    "prompt", ["p", ["p"], [{"content": "p"}], [{"role": "assistant", "content": "p"}]]
)
def test_roles_of_a_prompt_go_by_position(prompt):
    assert rewardbench.conversation(prompt) == [{"role": "user", "content": "p"}]
    with pytest.raises(BadRecord, match="ends with the assistant"):
        rewardbench.conversation([{"content": "p"}, {"content": "q"}])


def test_scores_survive_parquet_with_nan_and_odd_text(tmp_path):
    item, group = reading.example("1", "s", {"label": "é"}, reading.user("p"), ["a", "", "\ud800"])
    examples = Examples("pairs", [item], [group], "0", [])

    class Letters:  # one token a character; no control tokens, no BOS
        bos_id = None

        def encode(self, messages, tools=None):
            return [1] * sum(len(message["content"]) + 1 for message in messages)

    score = lambda groups: [np.arange(len(one.suffixes), dtype=np.float32) for one in groups]
    found = stored_rewards.compute(
        examples, Letters(), score, max_length=9, over_long="left", meta={"key": "k"}
    )  # pyright: ignore
    assert found.rewards[0][:2].tolist() == [0.0, 1.0] and np.isnan(found.rewards[0][2])
    assert (
        found.tokens[0].tolist() == [2, 1, -1]
        and found.prompt_tokens == [2]
        and found.characters[0].tolist() == [1, 0, 1]
    )
    assert [(bad["response"], bad["reason"]) for bad in found.unscored] == [(2, "bad_text")]
    stored_rewards.write(found, tmp_path / "x.parquet")
    again = stored_rewards.read(tmp_path / "x.parquet")
    np.testing.assert_array_equal(again.rewards[0], found.rewards[0])
    assert (again.items, again.prompts, again.unscored, again.meta) == (
        [Item("1", "s", {"label": "é"})],
        found.prompts,
        found.unscored,
        found.meta,
    )
    assert again.meta == {"benchmark": "pairs", "data": "0", "key": "k"}


def test_other_parquet_files_are_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="is not a file of scores of rewardjax.evaluate"):
        stored_rewards.read(tmp_path / "x.parquet")


def test_a_response_that_cannot_be_scored_moves_no_other_reward():
    item, group = reading.example("1", "s", {}, reading.user("p"), ["\ud800", "a", "b"])
    tokenized = [
        stored_rewards.tokenize(
            group, ChatTokenizer.load(assets.resolve("assets:world")), 100, "left"
        )
    ]
    [rewards] = stored_rewards.rewards_of(tokenized, lambda groups: [np.array([0.25, 0.5])])
    assert np.isnan(rewards[0]) and rewards[1:].tolist() == [0.25, 0.5]
