"""Files become examples: ids made unique, bad records counted, the fingerprint of contents."""

import json

import pytest

from rewardjax.data.groups import BadRecord
from rewardjax.evaluators import reading
from rewardjax.evaluators.benchmarks import pairs, rewardbench

ROW = {"prompt": "p", "chosen": "a", "rejected": "b", "subset": "hep-go", "id": 1}


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


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
    assert reading.conversation(prompt) == [{"role": "user", "content": "p"}]
    with pytest.raises(BadRecord, match="ends with the assistant"):
        reading.conversation([{"content": "p"}, {"content": "q"}])
