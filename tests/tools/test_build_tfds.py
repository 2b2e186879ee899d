"""Pairs written as a TFDS data set come back as the same groups, with or without TensorFlow."""

import json
import subprocess
import sys

import pytest

from rewardjax.data.formats import to_group
from rewardjax.data.groups import check
from rewardjax.data.sources import open_source

pytest.importorskip("tensorflow_datasets")

USER = {"role": "user", "content": "Größer: 2 oder 3? 🙂"}
SAYS_3 = {"role": "assistant", "content": "3"}
RECORDS = [
    {"id": "plain", "prompt": "2 or 3?", "chosen": "3", "rejected": "2", "margin": 0.1},
    {
        "id": "turns",
        "chosen": [USER, {**SAYS_3, "reasoning_content": "hm"}, USER, SAYS_3],
        "rejected": [USER, {"role": "assistant", "content": "2"}],
    },
    {
        "id": "soft",
        "prompt": [{"role": "system", "content": ""}, USER],
        "chosen": "3",
        "rejected": "2",
        "target": 0.7,
    },
    {"id": "tie", "prompt": [USER], "chosen": "3", "rejected": "drei", "tie": True},
    {"id": "equal", "prompt": [USER], "chosen": "3", "rejected": "3"},
    {"id": "bad", "prompt": [USER]},
    {
        "id": "four",
        "prompt": "2 or 3?",
        "responses": ["a", "b", "c", "d"],
        "correct": [True, False, True, False],
    },
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The command's output folder and what it printed."""
    root = tmp_path_factory.mktemp("tfds")
    (root / "in.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    command = [
        sys.executable,
        "-m",
        "rewardjax.tools.build_tfds",
        "--input",
        str(root / "in.jsonl"),
        "--output",
        str(root / "out"),
    ]
    done = [subprocess.run(command, capture_output=True, text=True) for _ in range(2)]
    return root / "out" / "preference_pairs" / "1.0.0", done


def test_round_trip(written):
    folder, (first, second) = written
    assert first.returncode == 0, first.stderr
    assert "8 pairs of 7 records; dropped {'equal': 1, 'bad_schema': 1}" in first.stdout
    source = open_source(folder)
    assert len(source) == 8 and source.name == "preference_pairs/train"
    read_back = [check(to_group(record, index, "in"))[0] for index, record in enumerate(source)]
    expected = []
    for record in RECORDS[:4] + RECORDS[6:]:
        group = to_group(record, 0, "in")
        expected += [
            (group.prompt, group.responses[pair.chosen], group.responses[pair.rejected], pair)
            for pair in group.pairs
        ]
    assert len(read_back) == len(expected)
    for group, (prompt, chosen, rejected, pair) in zip(read_back, expected, strict=True):
        assert (group.prompt, group.responses) == (prompt, [chosen, rejected])
        (again,) = group.pairs
        assert (again.target, again.margin) == pytest.approx(
            (pair.target, pair.margin), rel=1e-7
        ) and again.tie == pair.tie
    assert [g.id for g in read_back] == [
        "plain",
        "turns",
        "soft",
        "tie",
        *(f"four#{n}" for n in range(4)),
    ]


def test_the_second_run_does_not_keep_the_old_data_silently(written):
    _, (first, second) = written
    assert second.returncode != 0 and "preference_pairs/1.0.0 exists; delete it" in second.stderr


def test_splits_and_fingerprint(written, tmp_path):
    from rewardjax.tools import build_tfds

    (tmp_path / "in.jsonl").write_text(json.dumps(RECORDS[0]))
    source = open_source(tmp_path / "in.jsonl")
    builder = build_tfds.build(source, str(tmp_path / "a"), split="heldout")
    other = build_tfds.build(source, str(tmp_path / "b"), split="heldout")
    with pytest.raises(ValueError, match="has the splits heldout; choose one"):
        open_source(builder.data_dir, split="train")
    fingerprints = [
        open_source(path).fingerprint() for path in (builder.data_dir, other.data_dir, written[0])
    ]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_messages_it_cannot_hold_are_refused(tmp_path):
    from rewardjax.tools import build_tfds

    call = {"role": "assistant", "content": "", "tool_calls": [{"name": "f"}]}
    record = {
        "id": "t",
        "prompt": [USER],
        "chosen": [call, {"role": "tool", "content": "1"}, SAYS_3],
        "rejected": [SAYS_3],
    }
    (tmp_path / "in.jsonl").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"t\.chosen: the message has tool_calls"):
        build_tfds.build(open_source(tmp_path / "in.jsonl"), str(tmp_path / "out"))
