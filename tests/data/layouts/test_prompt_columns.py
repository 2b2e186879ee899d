"""No part of a prompt is left out in silence, and none is read twice."""

import json

import pytest

from rewardjax.data.formats import decide
from rewardjax.data.groups import BadRecord, check
from rewardjax.data.layouts import mapping

Q, GOOD, BAD = "Which of these floats?", "A cork floats.", "A coin floats."
PAIR = {"prompt": Q, "chosen": GOOD, "rejected": BAD}


def user(text, **more):
    return {"role": "user", "content": text, **more}


def bot(text, **more):
    return {"role": "assistant", "content": text, **more}


SIDES = {"chosen": [user(Q), bot(GOOD)], "rejected": [user(Q), bot(BAD)]}


def group_of(record, columns=None):
    reading = decide("f", "f", [record], mapping.read(columns))
    return check(reading.to_group(record, 0))[0]


def said(group):
    return [message["content"] for message in group.prompt]


# Alpaca's `input` was left out in ConardLi/easy-dataset #549, OpenRLHF's prompt in
# OpenRLHF/OpenRLHF PR #363.
@pytest.mark.parametrize(
    "name",
    [
        *("sys", "persona", "knowledge", "background", "document", "documents", "passages"),
        *("article", "post", "title", "selftext", "choices", "System", "systemPrompt", "Context"),
        *("chat_history", "conversation history", "previous_turns", "schema"),
    ],
)
def test_a_column_that_may_be_part_of_the_prompt_is_used_or_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` may be part of the prompt and is not read"):
        group_of(PAIR | {name: "Only wood is at hand."})
    assert said(group_of(PAIR | {name: Q})) == [Q]
    # An answer may quote what nobody has shown to the model.
    with pytest.raises(ValueError, match="may be part of the prompt"):
        group_of(PAIR | {name: "A cork floats"})
    assert said(group_of(PAIR | {name: "Only wood."}, {name: ""})) == [Q]


@pytest.mark.parametrize("name", ["image_url", "imagePath", "attachments", "audio"])
def test_pictures_and_sound_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` may be part of the prompt.* texts and tools"):
        group_of(PAIR | {name: "x.png"})


@pytest.mark.parametrize("name", ["post", "title", "documents", "choices"])
def test_a_number_under_such_a_name_is_no_part_of_the_prompt(name):
    assert said(group_of(PAIR | {name: 7})) == [Q]


def test_how_to_use_such_a_column_is_said_and_so():
    with pytest.raises(ValueError, match=r"data.columns=\{system: persona\} makes it the system"):
        group_of(PAIR | {"persona": "Be brief."})
    assert said(group_of(PAIR | {"persona": "Be brief."}, "{system: persona}")) == ["Be brief.", Q]
    with pytest.raises(ValueError, match=r"\{instruction: PROMPT, input: passage\} if it follows"):
        group_of(PAIR | {"passage": "Wood is light."})
    columns = "{instruction: prompt, input: passage}"
    assert said(group_of(PAIR | {"passage": "Wood is light."}, columns)) == [f"{Q}\nWood is light."]


@pytest.mark.parametrize("context", ["5", "Add", "and 1"])
def test_a_piece_of_a_word_is_no_repetition(context):
    record = {"prompt": "Adding 3 and 15.", "chosen": "18", "rejected": "19", "context": context}
    with pytest.raises(ValueError, match="`context` may be part of the prompt"):
        group_of(record)
    assert said(group_of(record | {"context": "3 and 15"})) == ["Adding 3 and 15."]


# modelscope/ms-swift PR #9611: a system message reached one side only.
def test_a_system_message_of_its_own_does_not_contradict_that_of_the_conversations():
    system = {"role": "system", "content": "Be brief."}
    whole = {side: [system, *messages] for side, messages in SIDES.items()}
    assert said(group_of(whole | {"system": "Be brief."})) == ["Be brief.", Q]
    assert said(group_of(SIDES | {"system": "Be brief."})) == ["Be brief.", Q]
    assert said(group_of(SIDES | {"system": " "})) == [Q]
    for record in (whole, PAIR | {"prompt": [system, user(Q)]}):
        with pytest.raises(ValueError, match="system differs from the system message"):
            group_of(record | {"system": "Be long."})
    with pytest.raises(ValueError, match="share no start"):
        group_of(SIDES | {"chosen": whole["chosen"]})


@pytest.mark.parametrize("about", [["cork", "coin"], {"a": "cork"}, 5])
def test_an_input_that_is_no_text_is_refused(about):
    record = {"instruction": Q, "input": about, "chosen": GOOD, "rejected": BAD}
    with pytest.raises(ValueError, match="input = .* not a text behind the instruction"):
        group_of(record)


# axolotl-ai-cloud/axolotl PR #2115: fields of tool calls were left out.
@pytest.mark.parametrize(
    "field, value",
    [
        ("function_call", {"name": "f", "arguments": "{}"}),
        ("thinking", "hm"),
        ("reasoning", "hm"),
        ("images", ["x.png"]),
    ],
)
def test_a_message_says_nothing_in_a_field_that_is_not_read(field, value):
    for record in (
        PAIR | {"prompt": [user("Hello?"), bot("Yes?", **{field: value}), user(Q)]},
        PAIR | {"chosen": [bot(GOOD, **{field: value})], "rejected": [bot(BAD)]},
    ):
        with pytest.raises((ValueError, BadRecord), match=f"the field `{field}` of a message is"):
            group_of(record)
    assert group_of(PAIR | {"prompt": [user(Q, **{field: None}, weight=0)]}).prompt == [user(Q)]


def test_a_message_without_content_is_refused_unless_it_calls_or_returns():
    for message in (bot(None), {"role": "assistant", "words": "Yes?"}):
        with pytest.raises(ValueError, match="a message of assistant has no content among"):
            group_of(PAIR | {"prompt": [user("Hello?"), message, user(Q)]})
    call = bot(None, tool_calls=[{"name": "f", "arguments": {}}])
    turns = [user("Hello?"), call, {"role": "tool", "content": None}, user(Q)]
    assert len(group_of(PAIR | {"prompt": turns}).prompt) == 4


# OpenRLHF/OpenRLHF #909: chosen with and without the prompt.
def test_a_file_whose_answers_begin_with_the_prompt_is_refused():
    joined = {"prompt": Q, "chosen": f"{Q}\n{GOOD}", "rejected": f"{Q} {BAD}"}
    with pytest.raises(ValueError, match="2 of the first 3 records begin with the prompt"):
        decide("f", "f", [joined, PAIR, joined], mapping.read())
    # One answer that repeats the question is an answer.
    assert decide("f", "f", [joined, PAIR, PAIR], mapping.read()).to_group(joined, 0)
    echo = {"prompt": Q, "chosen": f"{Q} {GOOD}", "rejected": BAD}
    assert group_of(echo) and group_of({"prompt": "Hi", "chosen": "Hi!", "rejected": "Hi there."})
    with pytest.raises(BadRecord, match="a group has at least one"):
        group_of({"prompt": Q, "responses": [], "scores": []})
    whole = PAIR | {"responses": [f"{Q} {GOOD}", f"{Q} {BAD}"], "scores": [1, 0]}
    with pytest.raises(ValueError, match="begin with the prompt"):
        group_of(whole)


@pytest.mark.parametrize("label", ["Assistant: ", "\n\nAssistant: ", "### Assistant: ", "<bot>: "])
def test_a_file_whose_answers_begin_with_who_speaks_is_refused(label):
    with pytest.raises(ValueError, match="begin with the name of the assistant"):
        group_of({"prompt": Q, "chosen": label + GOOD, "rejected": label + BAD})
    assert group_of({"prompt": Q, "chosen": label + GOOD, "rejected": BAD})


@pytest.mark.parametrize(
    "prompt",
    [
        f"Be nice.<|im_end|>\n<|im_start|>user\n{Q}<|im_end|>\n<|im_start|>assistant\n",
        f"Be nice. <start_of_turn>user\n{Q}<end_of_turn>\n<start_of_turn>model\n",
        f"<|User|>{Q}<|Assistant|>",
        f"<|prompter|>{Q}<|endoftext|><|assistant|>",
        f"<human>: {Q}\n<bot>:",
        f"\n\nH: {Q}\n\nA:",
    ],
)
def test_a_prompt_that_was_printed_for_a_model_is_refused(prompt):
    with pytest.raises(ValueError, match="prompt already holds a chat template"):
        group_of(PAIR | {"prompt": prompt})


# kakao/diatool-dpo #2: each side is one JSON text with messages and tools.
def test_json_that_holds_messages_is_read_or_refused():
    order = json.dumps([{"id": 1, "content": Q, "role": "user"}])
    assert group_of(PAIR | {"prompt": order}).prompt == [user(Q)]
    sides = {side: json.dumps({"messages": messages}) for side, messages in SIDES.items()}
    for record in (sides, sides | {"prompt": Q}):
        with pytest.raises(ValueError, match="an object around `messages`, written as JSON"):
            group_of(record)
    with pytest.raises(ValueError, match="a list of texts, written as JSON"):
        group_of(PAIR | {"prompt": json.dumps([Q])})


@pytest.mark.parametrize(
    "answer",
    ['{"role": "admin", "content": 5}', '{"value": 4}', '[{"from": "Oslo", "to": "Bergen"}]', "[{"],
)
def test_json_of_another_meaning_is_an_answer(answer):
    assert group_of(PAIR | {"chosen": answer}).responses[0] == [bot(answer)]


def test_a_late_column_of_the_prompt_costs_the_records_that_have_it():
    reading = decide("f", "f", [PAIR], mapping.read())
    assert said(reading.to_group(PAIR | {"system": "Be brief."}, 5000)) == ["Be brief.", Q]
    with pytest.raises(BadRecord, match="`persona` may be part of the prompt"):
        reading.to_group(PAIR | {"persona": "Be brief."}, 5000)


def test_a_history_that_ends_with_the_prompt_is_refused():
    assert said(group_of(PAIR | {"history": [["Hello?", "Yes?"]]})) == ["Hello?", "Yes?", Q]
    with pytest.raises(ValueError, match="history ends with the prompt"):
        group_of(PAIR | {"history": [user("Hello?"), bot("Yes?"), user(Q)]})


# Gemini's name of the assistant (snailyp/gemini-balance PR #7 changes roles to it).
def test_the_assistant_has_several_names():
    for name in ("model", "AI", "Assistant"):
        turns = [user("Hello?"), {"role": name, "content": "Yes?"}, user(Q)]
        assert group_of(PAIR | {"prompt": turns}).prompt[1] == bot("Yes?")
    assert group_of(PAIR | {"tools": "null"}).tools is None


def test_conversations_that_part_in_a_turn_of_the_user_are_no_pair():
    start = [user(Q), bot("Wood does.")]
    with pytest.raises(ValueError, match="part in a turn of the user: the prompts differ"):
        group_of(
            {"chosen": [*start, user("Why?"), bot("x")]}
            | {"rejected": [*start, user("So?"), bot("y")]}
        )
    # A simulated user who answers different things is part of what is compared.
    sides = {
        side: [user(Q), bot(text), user(f"{text} Why?"), bot("It is light.")]
        for side, text in (("chosen", GOOD), ("rejected", BAD))
    }
    assert said(group_of(sides)) == [Q]


def test_a_mapped_column_that_json_leaves_out_is_null():
    records = [PAIR | {"sys": "Be brief."}, PAIR, PAIR | {"sys": None}]
    reading = decide("f", "f", records, mapping.read("{system: sys}"))
    prompts = [said(reading.to_group(record, n)) for n, record in enumerate(records)]
    assert prompts == [["Be brief.", Q], [Q], [Q]]
    with pytest.raises(ValueError, match="f: data.columns names 'nope'; the columns are"):
        decide("f", "f", records, mapping.read("{system: nope}"))


def test_code_in_a_transcript_stays_indented():
    code = "    return 1\n        # so"
    sides = {
        "chosen": f"\n\nHuman: {Q}\n\nAssistant:\n\n{code}\n",
        "rejected": f"\n\nHuman: {Q}\n\nAssistant:   {BAD}",
    }
    group = group_of(sides)
    assert [response[0]["content"] for response in group.responses] == [code, BAD]


@pytest.mark.parametrize("column", ["messages", "conversation", "context"])
def test_a_turn_that_an_answer_quotes_is_no_repetition(column):
    quoting = PAIR | {"chosen": "You said: Only wood is at hand."}
    with pytest.raises(ValueError, match=f"`{column}` may be part of the prompt"):
        group_of(quoting | {column: [user("Only wood is at hand."), user(Q)]})
