"""OASST's exports, nested and flat, are read as the ranked replies to each message.

Fields as in LAION-AI/Open-Assistant, oasst-data/README.md and oasst_data/schemas.py; flat rows also
as notebooks/openassistant-oasst1/getting-started.ipynb prints them. Texts are ours.
"""

import json

import pytest

from rewardjax.data import formats, sources
from rewardjax.data.groups import BadRecord, check
from rewardjax.data.layouts import trees

NAME = "OASST message trees; a record is the replies to one message"


def message(name, role, text, rank=None, replies=()):
    return {"message_id": name, "text": text, "role": role, "lang": "en", "rank": rank} | {
        "review_count": 3,
        "review_result": True,
        "deleted": False,
        "synthetic": False,
        "labels": {"quality": {"value": 0.5, "count": 3}},
        "replies": list(replies),
    }


# Which floats? -> a cork (0) -> Why? -> light (1), air (0); a coin (1); and one that nobody ranked.
DEEP = [message("light", "assistant", "It is light.", 1), message("air", "assistant", "Air.", 0)]
WHY = message("why", "prompter", "Why?", 0, DEEP)
REALLY = message("really", "prompter", "Really?", 1)
ROOT = message(
    "root",
    "prompter",
    "Which floats?",
    None,
    [
        message("cork", "assistant", "A cork.", 0, [WHY, REALLY]),
        message("coin", "assistant", "A coin.", 1),
        message("late", "assistant", "Both."),
    ],
)
TREE = {"message_tree_id": "root", "tree_state": "ready_for_export", "prompt": ROOT}


def rows_of(node, parent=None):
    """The rows of a tree, parents first, as the flat export has them."""
    replies = node["replies"]
    row = {name: value for name, value in node.items() if name != "replies"}
    rows = [row | {"parent_id": parent, "message_tree_id": "root", "tree_state": "ready"}]
    for reply in replies:
        rows += rows_of(reply, node["message_id"])
    return rows


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return sources.open_source(path)


def read(source):
    """The groups of a source by id, checked, and why the other records have none."""
    groups, errors = {}, []
    for _, _, outcome in formats.groups_of(source):
        if isinstance(outcome, BadRecord):
            errors.append(outcome.detail)
            continue
        group, _ = check(outcome)
        groups.setdefault(group.id, []).append(group)
    return groups, errors


def told(messages):
    return [(message["role"], message["content"]) for message in messages]


ROWS = rows_of(ROOT)


@pytest.mark.parametrize("records", [[TREE], ROWS, ROWS[::-1]], ids=["trees", "flat", "backward"])
def test_the_replies_to_each_message_are_a_group_with_the_way_to_it_as_prompt(tmp_path, records):
    groups, errors = read(write(tmp_path / "oasst.jsonl", records))
    assert not errors and set(groups) == {"root", "why"}
    first, unranked = groups["root"]
    assert told(first.prompt) == [("user", "Which floats?")]
    assert sorted(response[0]["content"] for response in first.responses) == ["A coin.", "A cork."]
    better = {first.responses[pair.chosen][0]["content"] for pair in first.pairs}
    assert len(first.pairs) == 1 and better == {"A cork."}
    # Nobody compared it, but it can be scored.
    assert unranked.pairs == [] and unranked.responses[0][0]["content"] == "Both."
    (deep,) = groups["why"]
    assert told(deep.prompt) == [
        ("user", "Which floats?"),
        ("assistant", "A cork."),
        ("user", "Why?"),
    ]
    better = {deep.responses[pair.chosen][0]["content"] for pair in deep.pairs}
    assert len(deep.pairs) == 1 and better == {"Air."}


def test_a_tree_says_how_it_was_read_and_what_was_not_used(tmp_path):
    (reading,) = formats.readings(write(tmp_path / "oasst.jsonl", ROWS))
    assert reading.layouts == (NAME,)
    assert {"lang", "labels", "deleted", "review_result", "tree_state"} <= set(reading.unused)


def test_trees_lie_behind_each_other_and_among_other_records(tmp_path):
    pair = {"prompt": "Which sinks?", "chosen": "A coin.", "rejected": "A cork."}
    lonely = {"message_tree_id": "x", "prompt": message("x", "prompter", "Hello?", None)}
    del lonely["prompt"]["replies"]
    records = [pair, *ROWS, TREE, lonely, pair]
    groups, errors = read(write(tmp_path / "mixed.jsonl", records))
    assert not errors
    assert {name: len(found) for name, found in groups.items()} == {
        "mixed:0": 1,
        "root": 4,
        "why": 2,
        "mixed:7": 1,
    }


def test_rows_that_do_not_name_their_tree_begin_another_with_each_root(tmp_path, monkeypatch):
    # Gathered together, the second would be cut in two.
    monkeypatch.setattr(trees, "MOST_ROWS", len(ROWS) + 1)
    rows = [
        {name: row[name] for name in ("message_id", "parent_id", "text", "role", "rank")}
        for row in ROWS
    ]
    other = [row | {"message_id": f"2{row['message_id']}"} for row in rows]
    for row in other:
        row["parent_id"] = row["parent_id"] and f"2{row['parent_id']}"
    groups, errors = read(write(tmp_path / "rows.jsonl", rows + other))
    assert not errors and set(groups) == {"root", "why", "2root", "2why"}


def test_a_row_whose_tree_does_not_stand_together_is_refused_by_name(tmp_path):
    apart = [*ROWS[:-1], {"prompt": "p", "chosen": "c", "rejected": "r"}, ROWS[-1]]
    groups, errors = read(write(tmp_path / "rows.jsonl", apart))
    assert len(groups["root"]) == 1 and len(errors) == 1
    assert "message late" in errors[0] and "sort the rows by message_tree_id" in errors[0]
    shuffled = [*ROWS[2:4], {"prompt": "p", "chosen": "c", "rejected": "r"}]
    assert len(read(write(tmp_path / "rows.jsonl", shuffled))[1]) == 2


def test_a_message_that_answers_itself_or_its_answer_is_refused():
    loop = [
        {"message_id": "a", "parent_id": "b", "text": "x", "role": "prompter"},
        {"message_id": "b", "parent_id": "a", "text": "y", "role": "assistant", "rank": 0},
    ]
    assert list(trees.reply_lists(loop)) == loop
    twice = [{"message_id": "a", "text": "x", "role": "prompter"}, loop[0] | {"parent_id": "a"}]
    assert list(trees.reply_lists(twice)) == []


def test_the_rows_of_one_tree_are_gathered_only_so_far(monkeypatch):
    monkeypatch.setattr(trees, "MOST_ROWS", 3)
    gathered = 0

    def counted():
        nonlocal gathered
        for row in ROWS:
            gathered += 1
            yield row

    assert next(trees.reply_lists(counted()))["id"] == "root" and gathered == 4


def test_a_deep_tree_is_no_deep_recursion():
    node = message("end", "assistant", "end", 0)
    for depth in range(4000):
        role = ("prompter", "assistant")[depth % 2]
        node = message(str(depth), role, "x", 0, [node])
    assert len(list(trees.reply_lists([{"message_tree_id": "t", "prompt": node}]))) == 2000
