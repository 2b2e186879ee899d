"""What a group is, and what makes a row unusable."""

import dataclasses
import itertools
import pickle

import pytest

from rewardjax.data.groups import REASONS, BadRecord, Group, Pair, check, pair_id

USER = {"role": "user", "content": "Which is bigger, 2 or 3?"}


def says(*texts: str) -> list[list[dict]]:
    return [[{"role": "assistant", "content": text}] for text in texts]


def group(**changes) -> Group:
    return dataclasses.replace(
        Group("g", [USER], says("3", "2"), [Pair(0, 1)], source="test"), **changes
    )


def test_a_sound_group_passes_unchanged():
    tools = [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"name": "max", "arguments": {"of": [2, 3]}}],
        },
        {"role": "tool", "content": "3"},
        {"role": "tool", "content": "4"},
        {"role": "assistant", "content": "3."},
    ]
    system = {"role": "system", "content": "Be brief."}
    longer = [system, USER, {"role": "assistant", "content": "3"}, USER]
    for sound in (
        group(),
        group(prompt=longer),
        group(responses=[tools, *says("3")]),
        group(pairs=[]),
        group(correct=[True, False]),
        # the order of roles is the template's to judge
        group(prompt=[USER, USER]),
        group(prompt=[says("hello")[0][0], USER, system]),
        group(prompt=[USER, tools[0], tools[1], USER]),
        group(responses=[[USER, *says("x")[0]], *says("y")]),
        # calls without a word, of which the better one is chosen
        group(responses=[[tools[0]], [{**tools[0], "tool_calls": [{"name": "min"}]}]]),
        group(prompt=[USER, tools[0], {"role": "tool", "content": ""}]),
        group(tools=[{"name": "max"}]),
    ):
        assert check(sound) == (sound, [])


@pytest.mark.parametrize(
    "reason, where, changes",
    [
        ("bad_role", "prompt[0].role = 'human'", {"prompt": [{"role": "human", "content": "x"}]}),
        ("bad_role", "prompt[0].role = None", {"prompt": [{"content": "x"}]}),
        (
            "bad_role",
            "responses[0][-1].role = 'user'",
            {"responses": [[*says("x")[0], USER], *says("y")]},
        ),
        ("bad_schema", "prompt = []", {"prompt": []}),
        ("bad_schema", "prompt[0] = 'text'", {"prompt": ["text"]}),
        ("bad_schema", "prompt[0].content = None", {"prompt": [{"role": "user", "content": None}]}),
        ("bad_schema", "responses[0][0].content = 3", {"responses": says(3, "2")}),
        ("bad_schema", "responses = []", {"responses": []}),
        ("bad_schema", "responses[1] = []", {"responses": [*says("x"), []]}),
        ("bad_schema", "correct has 1 values for 2 responses", {"correct": [True]}),
        ("bad_schema", "ranks has 3 values for 2 responses", {"ranks": [0.0, 1.0, 2.0]}),
        ("bad_schema", "rejected = 2", {"pairs": [Pair(0, 2)]}),
        ("bad_schema", "chosen = -1", {"pairs": [Pair(-1, 0)]}),
        ("bad_schema", "chosen = rejected = 1", {"pairs": [Pair(1, 1)]}),
        ("bad_schema", "target = nan", {"pairs": [Pair(0, 1, target=float("nan"))]}),
        ("bad_schema", "target = 1.5", {"pairs": [Pair(0, 1, target=1.5)]}),
        ("bad_schema", "margin = inf", {"pairs": [Pair(0, 1, margin=float("inf"))]}),
        ("empty", "prompt[0].content = ' \\n'", {"prompt": [{"role": "user", "content": " \n"}]}),
        ("empty", "responses[1][-1].content = '\\u3000\\t'", {"responses": says("x", "\u3000\t")}),
        (
            "bad_text",
            "responses[0][0].content has the lone surrogate U+D83D at character 2",
            {"responses": says("ab\ud83d", "x")},
        ),
        (
            "bad_text",
            "prompt[0].content has a NUL at character 1",
            {"prompt": [{"role": "user", "content": "a\0b"}]},
        ),
        (
            "bad_text",
            "tools[0].'name' has a NUL",
            {"tools": [{"name": "\0"}]},
        ),
        (
            "bad_text",
            "'b'[0] has a NUL",
            {
                "responses": [
                    [{"role": "assistant", "content": "x", "tool_calls": [{"b": ["\0"]}]}],
                    *says("y"),
                ]
            },
        ),
    ],
)
def test_what_spoils_a_group_is_named(reason, where, changes):
    with pytest.raises(BadRecord) as caught:
        check(group(**changes))
    assert caught.value.reason == reason and where in caught.value.detail


def test_pairs_of_equal_responses_leave_alone():
    pairs = [Pair(i, j) for i, j in itertools.combinations(range(4), 2)]
    checked, bad = check(group(responses=says("a", "b", "a", "b"), pairs=pairs))
    assert checked.pairs == [Pair(0, 1), Pair(0, 3), Pair(1, 2), Pair(2, 3)]
    assert [row.reason for row in bad] == [
        "equal",
        "equal",
    ] and "responses[0] = responses[2]" in bad[0].detail


def test_a_bad_response_costs_its_own_pairs():
    pairs = [Pair(i, j) for i, j in itertools.combinations(range(3), 2)]
    checked, bad = check(group(responses=says("a", " ", "c"), pairs=pairs))
    assert checked.pairs == [Pair(0, 2)] and [error.reason for error in bad] == ["empty", "empty"]
    with pytest.raises(BadRecord, match="empty"):
        check(group(responses=says("a", " "), pairs=[Pair(0, 1)]))
    with pytest.raises(BadRecord, match="empty"):
        check(group(responses=says("", " "), pairs=[]))


def test_pair_id_ignores_the_order_of_responses_and_nothing_else():
    a, b, c = says("a", "b", "c")
    ids = [pair_id([USER], *pair) for pair in ((a, b), (a, c), (b, c), (a + [USER] + a, b))]
    ids.append(pair_id([{**USER, "content": "else"}], a, b))
    assert pair_id([USER], a, b) == pair_id([dict(reversed(USER.items()))], b, a) == ids[0]
    assert len(set(ids)) == len(ids)


def test_bad_rows_survive_a_process_boundary():
    row = pickle.loads(pickle.dumps(BadRecord("equal", "the detail")))
    assert (row.reason, row.detail) == ("equal", "the detail") and REASONS["equal"] in str(row)
    with pytest.raises(AssertionError):
        BadRecord("no such reason", "")
