"""Every format people have their preferences in becomes the same group."""

import gzip
import itertools
import json

import pytest

from rewardjax.data.formats import Reading, decide, to_group
from rewardjax.data.groups import BadRecord, Group, Pair, check
from rewardjax.data.layouts import mapping


def user(text):
    return {"role": "user", "content": text}


def bot(text, **more):
    return {"role": "assistant", "content": text, **more}


Q, GOOD, BAD = "Which is bigger, 2 or 3?", "3 is bigger.", "2 is bigger."
SAME = Group("s:7", [user(Q)], [[bot(GOOD)], [bot(BAD)]], [Pair(0, 1)], source="s")


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": Q, "chosen": GOOD, "rejected": BAD},
        {"prompt": [user(Q)], "chosen": [bot(GOOD)], "rejected": [bot(BAD)]},
        {"prompt": [user(Q)], "chosen": GOOD, "rejected": BAD},
        {"prompt": Q, "chosen": [bot(GOOD)], "rejected": [bot(BAD)]},
        {"prompt": Q, "chosen": [user(Q), bot(GOOD)], "rejected": [user(Q), bot(BAD)]},
        {"chosen": [user(Q), bot(GOOD)], "rejected": [user(Q), bot(BAD)]},
        {
            "chosen": f"\n\nHuman: {Q}\n\nAssistant: {GOOD}",
            "rejected": f"\n\nHuman: {Q}\n\nAssistant: {BAD}",
        },
        {"prompt": f"\n\nHuman: {Q}\n\nAssistant:", "chosen": GOOD, "rejected": BAD},
        {"messages": [user(Q)], "chosen": [bot(GOOD)], "rejected": [bot(BAD)]},
        {
            "prompt": [{**user(Q), "reasoning_content": None, "name": "", "date": "today"}],
            "chosen": GOOD,
            "rejected": BAD,
        },
        {"input": Q, "output_1": GOOD, "output_2": BAD, "label": "output_1"},
        {"prompt": Q, "response_1": GOOD, "response_2": BAD, "winner": "model_a"},
        {
            "conversation_a": [user(Q), bot(GOOD)],
            "conversation_b": [user(Q), bot(BAD)],
            "winner": "model_a",
        },
        {"prompt": Q, "responses": [GOOD, BAD], "ranks": [1, 2]}
        | {"source": "ignored", "extra": 3},
        {
            "prompt": Q,
            "responses": [{"content": GOOD, "correct": True}, {"content": BAD, "correct": False}],
        },
    ],
    ids=lambda record: "+".join(record),
)
def test_one_preference_in_many_formats(record):
    group = to_group(record, 7, "s")
    assert (group.id, group.prompt, group.responses, group.pairs, group.source) == (
        SAME.id,
        SAME.prompt,
        SAME.responses,
        SAME.pairs,
        "s",
    )
    assert check(group) == (group, [])


def test_ids():
    assert [
        to_group({"id": i, "prompt": Q, "responses": [GOOD]}, 3, "s").id for i in ("x", 0, None)
    ] == ["x", "0", "s:3"]


@pytest.mark.parametrize(
    "fields, pair",
    [
        ({"margin": 2}, Pair(0, 1, margin=2.0)),
        ({"strength": 1.5}, Pair(0, 1, margin=1.5)),
        ({"score_chosen": 8, "score_rejected": 5.5}, Pair(0, 1, margin=2.5)),
        ({"score_chosen": 8}, Pair(0, 1)),
        ({"score_chosen": 6.5, "score_rejected": 8}, Pair(0, 1, margin=-1.5)),
        ({"margin": "2.5"}, Pair(0, 1, margin=2.5)),
        ({"margin": 3, "preference": "A"}, Pair(0, 1, margin=3.0)),
        ({"target": 0.75}, Pair(0, 1, target=0.75)),
        ({"preference": 0.25, "margin": None}, Pair(0, 1, target=0.25)),
        ({"target": 0.5, "margin": 3}, Pair(0, 1, target=0.5, tie=True)),
        ({"tie": True}, Pair(0, 1, target=0.5, tie=True)),
        ({"tie": False}, Pair(0, 1)),
    ],
)
def test_grades_of_a_pair(fields, pair):
    assert to_group({"prompt": Q, "chosen": GOOD, "rejected": BAD, **fields}, 0, "s").pairs == [
        pair
    ]


@pytest.mark.parametrize(
    "fields, pair",
    [
        ({"label": 1}, Pair(0, 1)),
        ({"label": 2}, Pair(1, 0)),
        ({"label": 0}, Pair(0, 1, target=0.5, tie=True)),
        ({"label": "A"}, Pair(0, 1)),
        ({"winner": "model_b"}, Pair(1, 0)),
        ({"winner": "tie (bothbad)"}, Pair(0, 1, target=0.5, tie=True)),
        ({"annotator1": 2, "annotator2": 2, "annotator3": 0}, Pair(1, 0, target=1 - 0.5 / 3)),
        ({"annotator1": 1, "annotator2": 2}, Pair(0, 1, target=0.5, tie=True)),
    ],
)
def test_verdicts(fields, pair):
    numbers = mapping.read(
        labels={1: "first", 2: "second", 0: "tie", "a": "first", "model_b": "second"}
    )
    if "winner" in fields:
        numbers = mapping.read()  # words need no convention
    record = {"instruction": Q, "response1": GOOD, "response2": BAD, **fields}
    (found,) = Reading("s", "s", numbers).to_group(record, 0).pairs
    assert (found.chosen, found.rejected, found.tie) == (pair.chosen, pair.rejected, pair.tie)
    assert found.target == pytest.approx(pair.target)


def test_exchanged_labels_exchange_the_pair():
    a, b = (
        to_group({"prompt": Q, "chosen": x, "rejected": y}, 0, "s")
        for x, y in ((GOOD, BAD), (BAD, GOOD))
    )
    assert a.prompt == b.prompt and a.responses == b.responses[::-1]
    one, two = (
        to_group({"prompt": Q, "response_a": GOOD, "response_b": BAD, "winner": w}, 0, "s")
        for w in "ab"
    )
    assert one.responses == two.responses and (one.pairs[0].chosen, one.pairs[0].rejected) == (
        two.pairs[0].rejected,
        two.pairs[0].chosen,
    )


def test_pairs_of_a_group():
    texts = list("abcde")
    right = [True, False, True, False, False]
    group = to_group(
        {
            "prompt": Q,
            "responses": texts,
            "correct": [int(r) for r in right],
            "scores": [0, 1, 2, 3, 4],
        },
        0,
        "s",
    )
    assert {(p.chosen, p.rejected) for p in group.pairs} == {
        (i, j) for i in range(5) for j in range(5) if right[i] and not right[j]
    }
    assert (
        group.correct == right
        and group.ranks == [4, 3, 2, 1, 0]
        and not any(p.tie for p in group.pairs)
    )
    assert (
        to_group(
            {"prompt": Q, "scores": right, **{f"response_{i + 1}": t for i, t in enumerate(texts)}},
            0,
            "s",
        ).pairs
        == group.pairs
    )

    scores = [2.0, 5.0, 5.0, -1.0, 0.5]
    group = to_group(
        {
            "prompt": Q,
            "responses": [{"text": t, "score": s} for t, s in zip(texts, scores, strict=True)],
        },
        0,
        "s",
    )
    assert group.ranks == [1, 0, 0, 3, 2]
    assert {frozenset((p.chosen, p.rejected)) for p in group.pairs} == {
        frozenset(pair) for pair in itertools.combinations(range(5), 2)
    }
    for pair in group.pairs:
        assert pair.margin == scores[pair.chosen] - scores[pair.rejected] >= 0
        assert pair.tie == (pair.margin == 0) and pair.target == (0.5 if pair.tie else 1.0)
    ranked = to_group(
        {"prompt": Q, "responses": texts, "ranks": [rank + 1 for rank in group.ranks]}, 0, "s"
    )
    assert ranked.ranks == group.ranks
    assert [(p.chosen, p.rejected, p.tie) for p in ranked.pairs] == [
        (p.chosen, p.rejected, p.tie) for p in group.pairs
    ]


def test_a_group_without_labels_has_no_pairs():
    responses = [GOOD, [bot("x"), user("y"), bot("z")], {"content": BAD, "reasoning_content": "hm"}]
    group = to_group({"prompt": [user(Q)], "responses": responses}, 0, "s")
    assert group.pairs == [] and group.correct is None and group.ranks is None
    assert group.responses == [
        [bot(GOOD)],
        [bot("x"), user("y"), bot("z")],
        [bot(BAD, reasoning_content="hm")],
    ]
    assert check(group)[0] is group


def test_conversations_that_part_before_the_last_turn():
    start = [user("1"), bot("2"), user("3")]
    for chosen, rejected, shared in [
        (start + [bot("a")], start + [bot("b")], 3),
        (start + [bot("a"), user("b"), bot("c")], start + [bot("d")], 3),
        (start[:1] + [bot("x")], start + [bot("b")], 1),
        (start[:2], start + [bot("b")], 1),  # one is the start of the other
        (start + [bot("a")], start + [bot("a")], 3),  # equal: groups.check drops it
    ]:
        group = to_group({"chosen": chosen, "rejected": rejected}, 0, "s")
        assert group.prompt == chosen[:shared] == rejected[:shared] and group.responses == [
            chosen[shared:],
            rejected[shared:],
        ]


@pytest.mark.parametrize(
    "chosen, rejected",
    [
        ("Q: 2+2? A: 4", "Q: 2+2? A: 5"),
        ("The answer is eight.", "The answer is six."),
        (GOOD, GOOD),
    ],
)
def test_the_words_that_two_texts_share_are_no_prompt(chosen, rejected):
    with pytest.raises(BadRecord, match="no prompt"):
        to_group({"chosen": chosen, "rejected": rejected}, 0, "s")
    # A column that is no known prompt is named in the fix, and read once it is named.
    record = {"ask": Q, "chosen": chosen, "rejected": rejected}
    with pytest.raises(BadRecord, match=r"data.columns=\{prompt: ask\}"):
        to_group(record, 0, "s")
    group = Reading("s", "s", mapping.read("{prompt: ask}")).to_group(record, 0)
    assert group.prompt == [user(Q)] and group.responses == [[bot(chosen)], [bot(rejected)]]


@pytest.mark.parametrize(
    "reason, words, record",
    [
        ("bad_schema", "keys ['text', 'url'] fit no known format", {"url": "x", "text": "y"}),
        ("bad_schema", "keys ['chosen', 'prompt'] fit no", {"prompt": Q, "chosen": GOOD}),
        (
            "bad_schema",
            "fit no known format",
            {"prompt": Q, "response_1": GOOD, "response_2": BAD, "by_ann": 1},
        ),
        ("bad_schema", "no prompt", {"responses": [GOOD]}),
        ("bad_schema", "responses = 'text'", {"prompt": Q, "responses": "text"}),
        (
            "bad_schema",
            "ranks has 3 values for 2 responses",
            {"prompt": Q, "responses": [GOOD, BAD], "ranks": [0, 1, 2]},
        ),
        ("bad_schema", "correct = 'yes'", {"prompt": Q, "responses": [GOOD], "correct": ["yes"]}),
        (
            "bad_schema",
            "scores = nan",
            {"prompt": Q, "responses": [GOOD], "scores": [float("nan")]},
        ),
        (
            "bad_schema",
            "one is a text, the other",
            {"prompt": Q, "chosen": GOOD, "rejected": [bot(BAD), user("Why?")]},
        ),
        (
            "bad_schema",
            "starts with the assistant",
            {"chosen": [bot(GOOD)], "rejected": [bot(BAD)]},
        ),
        (
            "bad_schema",
            "share no start",
            {"chosen": [user("x"), bot(GOOD)], "rejected": [user("y"), bot(BAD)]},
        ),
        ("bad_schema", "neither a text nor", {"prompt": Q, "chosen": [GOOD], "rejected": [BAD]}),
        (
            "bad_schema",
            "target (or preference) = 1.5",
            {"prompt": Q, "chosen": GOOD, "rejected": BAD, "target": 1.5},
        ),
        (
            "bad_schema",
            "margin = 'big'",
            {"prompt": Q, "chosen": GOOD, "rejected": BAD, "margin": "big"},
        ),
        (
            "bad_schema",
            "label = 3: which response is that?",
            {"prompt": Q, "response_1": GOOD, "response_2": BAD, "label": 3},
        ),
    ],
)
def test_what_does_not_fit_is_named(reason, words, record):
    with pytest.raises(BadRecord) as caught:
        to_group(record, 4, "s")
    assert caught.value.reason == reason and words in caught.value.detail


def test_a_response_that_cannot_be_read_costs_itself_alone():
    bad = [{"model": "m"}, 5, None, " ", "cut \ud83d"]
    for response in bad:
        with pytest.raises(BadRecord, match=r"responses\[0\]"):
            check(to_group({"prompt": Q, "responses": [response]}, 0, "s"))
    record = {"prompt": Q, "responses": [GOOD, *bad, BAD], "ranks": [0, 1, 2, 3, 4, 5, 6]}
    group, errors = check(to_group(record, 0, "s"))
    assert group.pairs == [Pair(0, 6)] and len(errors) == 20


def test_odd_messages_are_left_to_check():
    for record in (
        {"prompt": [{"content": "x"}], "responses": [GOOD]},
        {"prompt": [{"role": "user", "content": [1]}], "responses": [GOOD]},
        {"prompt": Q, "responses": [{"content": 5}]},
    ):
        with pytest.raises(BadRecord):
            check(to_group(record, 0, "s"))


def test_real_transcripts(shared_data):
    reasons, kept = {}, 0
    for index, line in enumerate(gzip.open(shared_data / "hh_harmless" / "test.jsonl.gz", "rt")):
        record = json.loads(line)
        try:
            group, _ = check(to_group(record, index, "hh"))
        except BadRecord as row:
            reasons[row.reason] = reasons.get(row.reason, 0) + 1
            continue
        kept += 1
        for name, response in zip(("chosen", "rejected"), group.responses, strict=True):
            words = [
                word for message in group.prompt + response for word in message["content"].split()
            ]
            assert (
                words
                == record[name].replace("\n\nHuman:", " ").replace("\n\nAssistant:", " ").split()
            )
    assert (kept, reasons) == (2302, {"empty": 4, "bad_schema": 6})


def test_real_groups(shared_data):
    groups = [
        check(to_group(json.loads(line), 0, "z"))[0]
        for line in gzip.open(shared_data / "zeroeval" / "gsm_responses.jsonl.gz", "rt")
    ]
    assert (
        len(groups),
        sum(len(g.responses) for g in groups),
        sum(len(g.pairs) for g in groups),
    ) == (1055, 44589, 140096)


# ------------------------------------------------------------------ what a file holds


def decided(records, columns=None, labels=None):
    return decide("f.jsonl", "f", records, mapping.read(columns, labels))


def test_a_file_says_what_it_was_read_as_and_what_was_not_used():
    record = {"prompt": Q, "chosen": [user(Q), bot(GOOD)], "rejected": [user(Q), bot(BAD)]}
    assert decided([record | {"model": "m", "id": "1"}]).sentence() == (
        "f.jsonl: TRL conversational pairs; prompt from `prompt`; 1 column not used: model"
    )
    mapped = decided([{"q": {"text": Q}, "chosen": GOOD, "rejected": BAD}], {"prompt": "q.text"})
    assert mapped.sentence() == "f.jsonl: pairs of texts; prompt from `q.text`"


def test_a_record_of_another_layout_contradicts_its_file():
    pair = {"prompt": Q, "chosen": GOOD, "rejected": BAD}
    verdict = {"prompt": Q, "response_a": GOOD, "response_b": BAD, "winner": "a"}
    with pytest.raises(BadRecord, match="of two responses and a verdict, and the first 1,000 of f"):
        decided([pair]).to_group(verdict, 5000)
    # Both among the first records: the file holds both, and says so.
    both = decided([pair, verdict])
    assert both.sentence().startswith("f.jsonl: pairs of texts and two responses and a verdict")
    assert both.to_group(verdict, 0).pairs == both.to_group(pair, 1).pairs == [Pair(0, 1)]


def test_numbers_are_no_verdict_until_somebody_says_what_they_mean():
    def records(*labels):
        return [{"prompt": Q, "response_a": GOOD, "response_b": BAD, "label": x} for x in labels]

    with pytest.raises(ValueError, match=r"f.jsonl: cannot be read: label = 0: .*data.labels="):
        decided(records(0, 1))
    reading = decided(records(0, 1), labels="{0: first, 1: second}")
    assert [reading.to_group(x, 0).pairs for x in records(0, 1)] == [[Pair(0, 1)], [Pair(1, 0)]]
    with pytest.raises(BadRecord, match="label = 2, which data.labels does not explain"):
        reading.to_group(*records(2), 0)
    with pytest.raises(ValueError, match="is one of first, second, tie"):
        decided(records(0), labels={0: "better"})


def test_one_and_two_are_the_numbers_of_the_columns_where_no_zero_is_among_them():
    def records(*labels):
        return [{"prompt": Q, "response_1": GOOD, "response_2": BAD, "label": x} for x in labels]

    reading = decided(records(1, 2))
    assert [reading.to_group(x, 0).pairs for x in records(1, "2")] == [[Pair(0, 1)], [Pair(1, 0)]]
    for labels in ((1, 1), (0, 1, 2)):
        with pytest.raises(ValueError, match="which response is that"):
            decided(records(*labels))


@pytest.mark.parametrize(
    "name, value",
    [
        *(("videos", ["x.mp4"]), ("images", ["x.png"]), ("audio_path", {"array": [0.5]})),
        *(("input_image", b"x"), ("image_url", "x"), ("rejected_images", ["x.png"])),
    ],
)
def test_what_belongs_to_the_prompt_and_is_not_read_is_refused(name, value):
    record = {"prompt": Q, "chosen": GOOD, "rejected": BAD, name: value}
    with pytest.raises(ValueError, match=f"`{name}` may be part of the prompt and is not read"):
        decided([record])
    assert decided([record], {name: ""}).to_group(record, 0).prompt == [user(Q)]
    assert decided([record | {name: []}]).to_group(record | {name: []}, 0)


@pytest.mark.parametrize("name", ["tools", "functions"])
def test_tool_schemas_are_part_of_the_group(name):
    schemas = [{"type": "function", "function": {"name": "get_time"}}]
    record = {"prompt": Q, "chosen": GOOD, "rejected": BAD}
    for value in (schemas, json.dumps(schemas)):
        assert (
            decided([record | {name: value}]).to_group(record | {name: value}, 0).tools == schemas
        )
    for nothing in (None, [], "", "[]"):
        assert to_group(record | {name: nothing}, 0, "file").tools is None
    for value in ("get_time", ["get_time"]):
        with pytest.raises(BadRecord, match=name):
            to_group(record | {name: value}, 0, "file")


def test_calls_of_tools_are_responses():
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "f", "arguments": {}}]}
    other = call | {"tool_calls": [{"name": "g", "arguments": {}}]}
    group, bad = check(
        to_group({"prompt": [user(Q)], "chosen": [call], "rejected": [other]}, 0, "f")
    )
    assert not bad and [response[0]["tool_calls"][0]["name"] for response in group.responses] == [
        "f",
        "g",
    ]


def test_a_prompt_column_may_repeat_what_is_read():
    sides = {"chosen": [user(Q), bot(GOOD)], "rejected": [user(Q), bot(BAD)]}
    for repeated in (f" {Q}\n", [user(Q), bot(GOOD)], f"Human: {Q}"):
        assert decided([sides | {"prompt": repeated}]).to_group(sides, 0).prompt == [user(Q)]
    with pytest.raises(ValueError, match="`prompt` may be part of the prompt and is not read"):
        decided([sides | {"prompt": "Something else"}])
    # Documents are texts too, in fields of whatever name.
    with pytest.raises(ValueError, match="`context` may be part of the prompt and is not read"):
        decided([sides | {"context": [{"title": "Numbers", "body": "Three is the third."}]}])


def test_a_mapped_column_that_is_not_there_is_named():
    with pytest.raises(
        ValueError, match=r"data.columns names 'ask'; the columns are \['chosen', 'q'\]"
    ):
        decided([{"q": Q, "chosen": GOOD}], {"prompt": "ask"})
    with pytest.raises(ValueError, match="must be a mapping"):
        decided([], "prompt")
