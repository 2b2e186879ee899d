"""Every layout that people publish is read from its real shape, with texts of our own."""

import json

import pytest

from rewardjax.data.formats import decide
from rewardjax.data.groups import BadRecord, Pair, check
from rewardjax.data.layouts.mapping import Columns

Q, GOOD, BAD = "Which floats, a cork or a coin?", "A cork floats.", "A coin floats."
TIE = Pair(0, 1, target=0.5, tie=True)
CONVERSATION = {
    side: [{"role": "user", "content": Q}, {"role": "assistant", "content": text}]
    for side, text in (("chosen", GOOD), ("rejected", BAD))
}


def parts(*texts):
    """Content as a list of text parts, with the fields that tables fill with None."""
    return [{"type": "text", "text": text, "image": None, "mimeType": None} for text in texts]


def arena(winner, content=str):
    sides = {"conversation_a": GOOD, "conversation_b": BAD}
    return {"id": "1", "model_a": "x", "model_b": "y", "winner": winner, "language": "English"} | {
        name: [
            {"role": "user", "content": content(Q)},
            {"role": "assistant", "content": content(text)},
        ]
        for name, text in sides.items()
    }


def arena_55k(a, b, tie):
    texts = {name: json.dumps([x]) for name, x in (("prompt", Q), ("response_a", GOOD))}
    winners = {"winner_model_a": a, "winner_model_b": b, "winner_tie": tie}
    return {"id": 1, "model_a": "x", **texts, "response_b": json.dumps([BAD]), **winners}


def helpsteer3(preference):
    context = [{"role": "user", "content": Q}]
    responses = {"response1": GOOD, "response2": BAD, "overall_preference": preference}
    return {"domain": "general", "language": "english", "context": context, **responses}


def helpsteer2(strength):
    responses = {"response_1": GOOD, "response_2": BAD, "preference_strength": strength}
    return {"split": "train", "prompt": Q, **responses, "preference_statement": "@1"}


def webgpt(first, second):
    question = {"dataset": "eli5", "id": "7", "full_text": Q}
    answers = {"answer_0": GOOD, "answer_1": BAD, "score_0": first, "score_1": second}
    return {"question": question, "quotes_0": {"title": []}, "tokens_0": {}, **answers}


def summaries(choice):
    texts = [{"text": text, "policy": "sup1", "note": None} for text in (GOOD, BAD)]
    info = {"id": "t3", "post": Q, "title": "Corks", "article": None}
    return {"info": info, "summaries": texts, "choice": choice, "worker": "w"}


def safe_rlhf(better):
    return {"prompt": Q, "response_0": GOOD, "response_1": BAD, "better_response_id": better} | {
        "safer_response_id": 1 - better,
        "is_response_0_safe": True,
    }


def shp(label):
    references = {"human_ref_A": GOOD, "human_ref_B": BAD, "labels": label, "score_A": 4}
    return {"post_id": "p", "domain": "askscience", "history": Q, **references}


def sharegpt(**more):
    sides = {"chosen": {"from": "gpt", "value": GOOD}, "rejected": {"from": "gpt", "value": BAD}}
    return {"conversations": [{"from": "human", "value": Q}], **sides, **more}


@pytest.mark.parametrize(
    "name, record, pair",
    [
        ("HelpSteer preference strengths", helpsteer2(-3), Pair(0, 1, margin=3.0)),
        ("HelpSteer preference strengths", helpsteer2(2), Pair(1, 0, margin=2.0)),
        ("HelpSteer preference strengths", helpsteer2(0), TIE),
        ("HelpSteer preference strengths", helpsteer3(-1), Pair(0, 1, margin=1.0)),
        ("HelpSteer preference strengths", helpsteer3(3), Pair(1, 0, margin=3.0)),
        (
            "TRL conversational pairs",  # UltraFeedback binarized
            {"prompt": Q, "prompt_id": "h", **CONVERSATION, "messages": CONVERSATION["chosen"]}
            | {"score_chosen": 6.5, "score_rejected": 8.0},
            Pair(0, 1, margin=-1.5),
        ),
        ("TRL conversational pairs", CONVERSATION | {"source": "magpie"}, Pair(0, 1)),  # Skywork
        (
            "TRL conversational pairs",  # Tulu 3
            {"id": "x", "prompt": Q, **CONVERSATION, "chosen_rating": 5.0, "chosen_model": "m"},
            Pair(0, 1),
        ),
        ("Chatbot Arena conversations", arena("model_a", parts), Pair(0, 1)),
        ("Chatbot Arena conversations", arena("model_b"), Pair(1, 0)),
        ("Chatbot Arena conversations", arena("tie (bothbad)"), TIE),
        ("Chatbot Arena conversations", arena("both_bad"), TIE),
        ("Chatbot Arena with one-hot winners", arena_55k(1, 0, 0), Pair(0, 1)),
        ("Chatbot Arena with one-hot winners", arena_55k(0, 1, 0), Pair(1, 0)),
        ("Chatbot Arena with one-hot winners", arena_55k(0, 0, 1), TIE),
        ("PKU-SafeRLHF", safe_rlhf(0), Pair(0, 1)),
        ("PKU-SafeRLHF", safe_rlhf(1), Pair(1, 0)),
        ("SHP", shp(1), Pair(0, 1)),
        ("SHP", shp(0), Pair(1, 0)),
        ("WebGPT comparisons", webgpt(1.0, -1.0), Pair(0, 1, margin=2.0)),
        ("WebGPT comparisons", webgpt(-0.5, 0.5), Pair(1, 0, margin=1.0)),
        ("WebGPT comparisons", webgpt(0, 0), TIE),
        ("summarize-from-feedback, posts without titles", summaries(0), Pair(0, 1)),
        ("summarize-from-feedback, posts without titles", summaries(1), Pair(1, 0)),
        (
            "stack-exchange pairs",
            {"qid": 1, "question": Q, "response_j": GOOD, "response_k": BAD, "metadata": ["u"]},
            Pair(0, 1),
        ),
        (
            "LLaMA-Factory alpaca ranking",
            {"instruction": Q, "input": "", "chosen": GOOD, "rejected": BAD, "history": None},
            Pair(0, 1),
        ),
        (
            "LLaMA-Factory alpaca ranking, output list",
            {"instruction": Q, "input": "", "output": [GOOD, BAD]},
            Pair(0, 1),
        ),
        ("LLaMA-Factory ShareGPT ranking", sharegpt(), Pair(0, 1)),
        ("pairs of texts", {"prompt": Q, "chosen": GOOD, "rejected": BAD}, Pair(0, 1)),  # OpenRLHF
        (
            "pairs of texts",
            {"question": Q, "response_chosen": GOOD, "response_rejected": BAD, "system": ""},
            Pair(0, 1),
        ),
        (
            "ms-swift pairs",
            {"messages": CONVERSATION["chosen"], "rejected_response": BAD, "margin": 2},
            Pair(0, 1, margin=2.0),
        ),
        (
            "ms-swift pairs",
            {"messages": CONVERSATION["chosen"], "rejected_messages": CONVERSATION["rejected"]},
            Pair(0, 1),
        ),
        (
            "UltraFeedback",
            {"source": "evol", "instruction": Q, "models": ["m", "n"]}
            | {
                "completions": [
                    {"model": "m", "response": GOOD, "overall_score": 8.0, "annotations": {}},
                    {"model": "n", "response": BAD, "overall_score": 5.5, "annotations": {}},
                ]
            },
            Pair(0, 1, margin=2.5),
        ),
        (
            "UltraFeedback",
            {"instruction": Q}
            | {
                "completions": [
                    {"response": text, "annotations": {"a": {"Rating": x}, "b": {"Rating": "2"}}}
                    for text, x in ((GOOD, "4"), (BAD, "5"))
                ]
            },
            Pair(1, 0, margin=0.5),
        ),
        (
            "Nectar ranked answers",
            {"prompt": f"\n\nHuman: {Q}\n\nAssistant: ", "turns": 1, "num_responses": 2}
            | {"answers": [{"answer": GOOD, "rank": 1.0}, {"answer": BAD, "rank": 2.0}]},
            Pair(0, 1),
        ),
        (
            "responses of one prompt",  # NeMo-RL
            {"context": [{"role": "user", "content": Q}]}
            | {
                "completions": [
                    {"rank": rank, "completion": [{"role": "assistant", "content": text}]}
                    for rank, text in ((1, GOOD), (0, BAD))
                ]
            },
            Pair(1, 0),
        ),
        (
            "responses of one prompt",
            {"prompt": Q, "responses": [GOOD, BAD], "scores": ["4", "1"]},
            Pair(0, 1, margin=3.0),
        ),
        (
            "responses of one prompt",  # distilabel
            {"instruction": Q, "generations": [GOOD, BAD], "ratings": [5, 4], "model_name": "m"},
            Pair(0, 1, margin=1.0),
        ),
        (
            "pairs of texts",
            {"prompt": Q, "chosen": GOOD, "rejected": BAD, "conversation": [{"input": Q}]},
            Pair(0, 1),
        ),
        (
            "two responses and a verdict",
            {"prompt": Q, "response_a": GOOD, "response_b": BAD, "winner": "Response B"},
            Pair(1, 0),
        ),
    ],
)
def test_a_published_layout(name, record, pair):
    reading = decide("f", "f", [record], Columns())
    group, _ = check(reading.to_group(record, 0))
    assert reading.layouts == (name,)
    assert group.prompt == [{"role": "user", "content": Q}]
    assert [response[-1]["content"] for response in group.responses] == [GOOD, BAD]
    assert group.pairs == [pair]


@pytest.mark.parametrize(
    "name, record",
    [
        ("conversations", {"messages": CONVERSATION["chosen"]}),
        (
            "conversations",
            {"conversations": [{"from": "human", "value": Q}, {"from": "gpt", "value": GOOD}]},
        ),
        ("prompts with one response", {"prompt": Q, "response": GOOD}),
        ("prompts with one response", {"prompt": Q, "completion": GOOD}),
        ("prompts with one response", {"instruction": Q, "input": "", "output": GOOD}),
        ("responses of one prompt, unlabeled", {"prompt": Q, "responses": [GOOD]}),
        (
            "HelpSteer2 attributes",
            {"prompt": Q, "response": GOOD, "helpfulness": 4, "correctness": 4, "coherence": 4}
            | {"complexity": 1, "verbosity": 0},
        ),
    ],
)
def test_a_single_conversation_can_be_scored_and_has_no_pairs(name, record):
    reading = decide("f", "f", [record], Columns())
    group, _ = check(reading.to_group(record, 0))
    assert reading.layouts == (name,) and group.pairs == []
    assert group.prompt == [{"role": "user", "content": Q}]
    assert group.responses == [[{"role": "assistant", "content": GOOD}]]


def read(record):
    return check(decide("f", "f", [record], Columns()).to_group(record, 0))[0]


def test_system_history_and_input_are_part_of_the_prompt():
    record = {
        "system": "Be brief.",
        "history": [["First?", "Yes."]],
        "instruction": "Translate:",
        "input": "good morning",
        "chosen": GOOD,
        "rejected": BAD,
    }
    assert [(message["role"], message["content"]) for message in read(record).prompt] == [
        ("system", "Be brief."),
        ("user", "First?"),
        ("assistant", "Yes."),
        ("user", "Translate:\ngood morning"),
    ]
    for more in (
        {"system": "Be brief."},
        {"conversations": [{"from": "system", "value": "Be brief."}]},
    ):
        record = sharegpt()
        if "conversations" in more:
            more = {"conversations": more["conversations"] + record["conversations"]}
        assert [message["content"] for message in read(record | more).prompt] == ["Be brief.", Q]
    assert read(CONVERSATION | {"system": "Be brief."}).prompt[0]["role"] == "system"


def test_an_arena_conversation_of_several_turns():
    record = arena_55k(0, 1, 0) | {
        "prompt": json.dumps([Q, "Why?"]),
        "response_a": json.dumps([GOOD, "It is light."]),
        "response_b": json.dumps([BAD, "It is heavy."]),
    }
    group = read(record)
    assert [message["content"] for message in group.responses[1]] == [BAD, "Why?", "It is heavy."]
    with pytest.raises(ValueError, match="response_b has 1 turns for 2 of the prompt"):
        read(record | {"response_b": json.dumps([BAD])})


def test_json_and_python_literals_inside_texts_are_messages():
    for write in (json.dumps, repr):
        assert read({side: write(CONVERSATION[side]) for side in CONVERSATION}) == read(
            CONVERSATION
        )
        record = {"prompt": write(CONVERSATION["chosen"][:1]), "chosen": GOOD, "rejected": BAD}
        assert read(record).prompt == [{"role": "user", "content": Q}]
    # An answer that is JSON itself stays an answer.
    record = {"prompt": Q, "chosen": '{"floats": "cork"}', "rejected": "[1, 2]"}
    assert read(record).responses[0][0]["content"] == '{"floats": "cork"}'
    with pytest.raises(ValueError, match="begins like a list of messages and is none"):
        read({"prompt": '[{"role": "user", "content": ', "chosen": GOOD, "rejected": BAD})


@pytest.mark.parametrize(
    "start, line", [("\n\n", "\n\n"), ("\r\n\r\n", "\r\n\r\n"), ("", "\n\n"), ("  \n\n", "\n\n")]
)
def test_white_space_around_the_turns_of_a_transcript_makes_no_difference(start, line):
    sides = {
        side: f"{start}Human: Hello?{line}Assistant: Hi!{line}Human: {Q}{line}Assistant: {text}"
        for side, text in (("chosen", GOOD), ("rejected", BAD))
    }
    group = read(sides)
    assert [message["content"] for message in group.prompt] == ["Hello?", "Hi!", Q]
    assert [response[0]["content"] for response in group.responses] == [GOOD, BAD]


@pytest.mark.parametrize(
    "chosen, words",
    [
        ("\n\nHuman: Q\nAssistant: yes", "a line that begins with Human: or Assistant:"),
        (
            "\n\nHuman: Q\n\nAssistant: So:\n\nHuman: hi\n\nAssistant: ho",
            "may quote a dialogue",
        ),
    ],
)
def test_a_transcript_whose_turns_are_not_certain_is_refused(chosen, words):
    with pytest.raises(ValueError, match=words):
        read({"chosen": chosen, "rejected": "\n\nHuman: Q\n\nAssistant: no"})


@pytest.mark.parametrize(
    "text",
    [
        f"<|im_start|>user\n{Q}<|im_end|>\n",
        f"<s>[INST] {Q} [/INST]",
        f"<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{Q}<|eot_id|>",
        f"<bos><start_of_turn>user\n{Q}<end_of_turn>",
        f"<|user|>\n{Q}",
    ],
)
def test_a_text_that_a_chat_template_has_printed_is_refused(text):
    with pytest.raises(ValueError, match="already holds a chat template"):
        read({"prompt": text, "chosen": GOOD, "rejected": BAD})
    # Quoted further in it is a text like any other.
    assert read({"prompt": f"What is this? {text}", "chosen": GOOD, "rejected": BAD})


def test_pictures_in_a_content_list_are_refused():
    content = [{"type": "text", "text": Q}, {"type": "image", "image": "x.png"}]
    with pytest.raises(ValueError, match="a content part that is not a text"):
        read({"prompt": [{"role": "user", "content": content}], "chosen": GOOD, "rejected": BAD})


def test_list_labels_without_a_meaning_are_refused():
    record = {"prompt": Q, "candidates": [{"text": GOOD}, {"text": BAD}], "labels": [1, 0]}
    with pytest.raises(ValueError, match="data.columns={scores: labels}"):
        read(record)
    reading = decide("f", "f", [record], Columns({"scores": "labels"}))
    assert reading.to_group(record, 0).pairs == [Pair(0, 1, margin=1.0)]


def test_a_pair_beside_unlabeled_responses_is_a_pair():
    assert read(CONVERSATION | {"responses": [GOOD, BAD, "x"]}).pairs == [Pair(0, 1)]
    with pytest.raises(BadRecord):
        check(read({"prompt": Q, "responses": [GOOD, " "], "ranks": [0, 1]}))


def test_who_speaks_and_what_is_said_have_several_names():
    for role, content in (("role", "content"), ("from", "value"), ("from", "content")):
        for human, bot in (("user", "assistant"), ("USER", "Assistant"), ("human", "gpt")):
            context = [{role: human, content: Q}]
            sides = {
                side: [{role: bot, content: text}]
                for side, text in (("chosen", GOOD), ("rejected", BAD))
            }
            assert read({"context": context, **sides}) == read(CONVERSATION)
    # hh_rlhf_cn: one message of a side is no list.
    sides = {
        side: {"role": "assistant", "text": text}
        for side, text in (("chosen", GOOD), ("rejected", BAD))
    }
    assert read({"context": [{"role": "human", "text": Q}], **sides}) == read(CONVERSATION)


def test_an_instruction_without_words_is_its_input():
    record = {"instruction": "", "input": Q, "chosen": GOOD, "rejected": BAD}
    assert read(record).prompt == [{"role": "user", "content": Q}]


def test_the_label_of_an_answer_that_goes_on_with_a_transcript_is_not_the_answer():
    record = {"prompt": f"\n\nHuman: {Q}\n\n", "chosen": f"Assistant: {GOOD}", "rejected": BAD}
    assert read(record) == read(CONVERSATION)
    # After a plain question it is what the model wrote.
    record = {"prompt": Q, "chosen": f"Assistant: {GOOD}", "rejected": BAD}
    assert read(record).responses[0][0]["content"] == f"Assistant: {GOOD}"


@pytest.mark.parametrize(
    "prompt",
    [
        f"prompter: Hi assistant: Hello prompter: {Q}",
        f"### Human: {Q}",
        f"User: Hi\nAssistant: Hello\nUser: {Q}",
        f"A chat with a user. USER: {Q} ASSISTANT:",
        f"### Instruction:\n{Q}\n\n### Response:",
    ],
)
def test_a_transcript_with_other_speakers_is_refused(prompt):
    with pytest.raises(ValueError, match="whose turns are not paragraphs that begin with Human:"):
        read({"prompt": prompt, "chosen": GOOD, "rejected": BAD})
    assert read({"prompt": f"What is this? {prompt} Hm?", "chosen": GOOD, "rejected": BAD})
    # An answer may be a dialogue that somebody asked for.
    assert (
        read({"prompt": Q, "chosen": prompt, "rejected": BAD}).responses[0][0]["content"] == prompt
    )


def test_a_transcript_in_one_line_is_refused():
    with pytest.raises(ValueError, match="where turns begin is not certain"):
        read({"prompt": f" Human: {Q} Assistant:", "chosen": GOOD, "rejected": BAD})


@pytest.mark.parametrize("names", [("conv_A", "conv_B"), ("response_1", "response_2")])
def test_two_responses_with_a_score_each(names):
    scores = {"conv_A": ("conv_A_rating", "conv_B_rating"), "response_1": ("score_1", "score_2")}
    sides = dict(zip(names, CONVERSATION.values(), strict=True))
    for first, second, pair in [
        (1.0, 0.0, Pair(0, 1, margin=1.0)),
        (0, 0.5, Pair(1, 0, margin=0.5)),
    ]:
        group = read(sides | dict(zip(scores[names[0]], (first, second), strict=True)))
        assert group.pairs == [pair] and group.prompt == [{"role": "user", "content": Q}]
    assert read(sides | dict.fromkeys(scores[names[0]], 3)).pairs == [TIE]
    # A verdict decides, where there is one.
    assert read(sides | dict.fromkeys(scores[names[0]], 3) | {"winner": "B"}).pairs == [Pair(1, 0)]


@pytest.mark.parametrize(
    "better, worse",
    [
        ("score_chosen", "score_rejected"),
        ("rating_chosen", "rating_rejected"),
        ("chosen_rating", "rejected_rating"),
        ("chosen_score", "rejected_score"),
        ("chosen_avg_rating", "rejected_avg_rating"),
    ],
)
def test_what_a_judge_gave_both_sides_is_the_margin(better, worse):
    assert read(CONVERSATION | {better: 4.5, worse: "2"}).pairs == [Pair(0, 1, margin=2.5)]
    assert read(CONVERSATION | {better: 4.5}).pairs == [Pair(0, 1)]


def test_one_of_several_scores_of_a_response_is_named_with_dots():
    candidates = [
        {"model": "m", "text": text, "scores": {"bleu": bleu, "rouge1": 0.1}}
        for text, bleu in ((GOOD, 5.5), (BAD, 3.0))
    ]
    record = {"instruction": "", "input": Q, "candidates": candidates}
    with pytest.raises(ValueError, match=r"data.columns=\{scores: candidates.scores.bleu\}"):
        read(record)
    columns = Columns({"scores": "candidates.scores.bleu"})
    reading = decide("f", "f", [record], columns)
    assert reading.to_group(record, 0).pairs == [Pair(0, 1, margin=2.5)]
    del candidates[1]["scores"]["bleu"]
    with pytest.raises(BadRecord, match="data.columns names 'candidates.scores.bleu'"):
        reading.to_group(record, 0)


def test_the_prompt_is_not_read_twice_where_a_response_is_the_whole_conversation():
    question, answer = CONVERSATION["chosen"]
    for prompt, system in ((Q, {}), ([question], {}), (Q, {"system": "Be brief."})):
        group = read({"prompt": prompt, "completion": [question, answer], **system})
        assert group.responses == [[answer]] and group.prompt[-1] == question
    record = {"prompt": Q, "responses": list(CONVERSATION.values()), "scores": [2, 1]}
    assert read(record).responses == [[answer], [CONVERSATION["rejected"][1]]]
    # What goes on with another question goes on; the template judges the order of roles.
    other = {"role": "user", "content": "Which sinks?"}
    assert read({"prompt": Q, "completion": [other, answer]}).responses == [[other, answer]]


def test_a_query_with_a_response_and_a_rejected_one():
    record = {"query": Q, "response": GOOD, "rejected_response": BAD}
    group = read(record | {"system": "Be brief.", "history": [["Hi", "Hello"]]})
    assert [message["content"] for message in group.prompt] == ["Be brief.", "Hi", "Hello", Q]
    assert group.responses == read(CONVERSATION).responses and group.pairs == [Pair(0, 1)]
    assert read({"query": Q, "response": GOOD}).pairs == []


@pytest.mark.parametrize(
    "record, words, columns",
    [
        (  # torchtune
            {"chosen_conversations": CONVERSATION["chosen"]}
            | {"rejected_conversations": CONVERSATION["rejected"], "rejected_score": 3},
            r"data.columns=\{chosen: chosen_conversations, rejected: rejected_conversations\}",
            {"chosen": "chosen_conversations", "rejected": "rejected_conversations"},
        ),
        (  # align-anything
            {"question": Q, "response_1": GOOD, "response_2": BAD, "length": 7}
            | {"overall_response": "A"},
            r"without a verdict: name its column, as in data.columns=\{label: overall_response\}",
            {"label": "overall_response"},
        ),
        (  # OpenPipe
            {"messages": CONVERSATION["chosen"]}
            | {"rejected_message": {"role": "assistant", "content": BAD}},
            r"`rejected_message` may be a worse response .*=\{rejected_response: rejected_message\}",
            {"rejected_response": "rejected_message"},
        ),
    ],
)
def test_columns_that_suggest_what_they_are_are_named_in_the_message(record, words, columns):
    with pytest.raises(ValueError, match=words):
        read(record)
    reading = decide("f", "f", [record], Columns(columns))
    assert reading.to_group(record, 0).pairs == [Pair(0, 1)]


def test_a_worse_response_that_is_none_is_said_to_be_none():
    record = {"messages": CONVERSATION["chosen"], "rejected_by": "nobody"}
    with pytest.raises(ValueError, match=r"data.columns=\{rejected_by: ''\} if it is not"):
        read(record)
    assert decide("f", "f", [record], Columns({"rejected_by": ""})).to_group(record, 0)


@pytest.mark.parametrize(
    "question, answer",
    [("human", "assistant"), ("prompt", "response"), ("query", "response"), ("input", "output")],
)
def test_a_question_with_its_answer_may_be_one_turn(question, answer):
    earlier = [{question: "Hi", answer: "Hello"}]
    record = {"prompt": Q, "history": earlier, "chosen": GOOD, "rejected": BAD}
    assert [message["content"] for message in read(record).prompt] == ["Hi", "Hello", Q]
    group = read({"conversation": [*earlier, {question: Q, answer: GOOD}]})
    assert [message["content"] for message in group.prompt] == ["Hi", "Hello", Q]
    assert group.responses == [[{"role": "assistant", "content": GOOD}]]


def calls(role, *arguments):
    """A turn for each call of a tool, as ms-swift and ShareGPT have them."""
    return [
        {"role": role, "content": json.dumps({"name": "dip", "arguments": x})} for x in arguments
    ]


@pytest.mark.parametrize(
    "role, result", [("tool_call", "tool_response"), ("function_call", "observation")]
)
def test_calls_of_tools_that_are_turns_of_their_own(role, result):
    messages = [
        {"role": "user", "content": Q},
        *calls(role, {"what": "cork"}, '{"what": "coin"}'),
        {"role": result, "content": "floats"},
        {"role": result, "content": "sinks"},
        {"role": "assistant", "content": GOOD},
    ]
    group = read({"messages": messages, "rejected_response": BAD})
    # ms-swift: the rejected response is instead of everything after the last user message.
    assert group.prompt == messages[:1] and group.pairs == [Pair(0, 1)]
    call, *results, answer = group.responses[0]
    assert [item["function"]["arguments"] for item in call["tool_calls"]] == [
        {"what": "cork"},
        {"what": "coin"},
    ]
    assert call["role"] == "assistant" and [message["role"] for message in results] == ["tool"] * 2
    assert answer["content"] == GOOD and group.responses[1][0]["content"] == BAD
    # A call is a response.
    record = {"prompt": Q, "chosen": calls(role, {}), "rejected": GOOD}
    record["rejected"] = [{"role": "assistant", "content": GOOD}]
    assert read(record).responses[0][0]["tool_calls"][0]["function"]["name"] == "dip"


@pytest.mark.parametrize(
    "text, words",
    [
        ("dip(cork)", "not JSON with a name and arguments"),
        ('{"name": "dip"}', "not JSON with a name and arguments"),
        ('{"name": "dip", "arguments": "cork"}', "arguments = 'cork', not JSON"),
    ],
)
def test_a_call_that_does_not_say_what_it_calls_is_refused(text, words):
    messages = [{"role": "user", "content": Q}, {"role": "tool_call", "content": text}]
    with pytest.raises(ValueError, match=words):
        read({"messages": messages, "rejected_response": BAD})


def test_turns_without_speakers_are_counted_from_the_response():
    for history in ([Q], ["Hi", "Hello", Q], ["Hello", Q]):
        group = read({"chosen": [*history, GOOD], "rejected": [*history, BAD], "margin": 0.5})
        roles = ("user", "assistant", "user")[-len(history) :]
        assert group.prompt == [
            {"role": role, "content": text} for role, text in zip(roles, history, strict=True)
        ]
        assert group.responses == read(CONVERSATION).responses
        assert group.pairs == [Pair(0, 1, margin=0.5)]
    for chosen, rejected in (([Q, GOOD], ["Why?", BAD]), ([Q, GOOD], ["Hi", "Hello", Q, BAD])):
        with pytest.raises(ValueError, match="part before the last one"):
            read({"chosen": chosen, "rejected": rejected})
    # Beside a prompt several texts may be anything.
    with pytest.raises(ValueError, match="neither a text nor a list of messages"):
        read({"prompt": Q, "chosen": [Q, GOOD], "rejected": [Q, BAD]})


def test_the_column_that_is_likeliest_a_prompt_is_named():
    record = {"task": "physics", "statement": Q, "chosen": f"{GOOD} {Q}", "rejected": BAD}
    with pytest.raises(ValueError, match=r"data.columns=\{prompt: statement\}"):
        read(record)
    turns = [{"role": "user", "content": "Hi"}]
    with pytest.raises(ValueError, match=r"data.columns=\{prompt: turns\}"):
        read(record | {"turns": turns})


def test_one_side_may_be_a_conversation_and_the_other_a_text():
    user = lambda text: {"role": "user", "content": text}
    bot = lambda text, **more: {"role": "assistant", "content": text, **more}
    read = lambda record: decide("f", "f", [record], Columns()).to_group(record, 0)
    call = bot("", tool_calls=[{"type": "function", "function": {"name": "f", "arguments": {}}}])
    result = {"role": "tool", "content": "wood"}
    whole = [user(Q), call, result, bot(GOOD)]
    for chosen, rejected in ((whole, BAD), (BAD, whole)):
        record = {"chosen": chosen, "rejected": rejected}
        for more in ({}, {"prompt": Q}, {"prompt": [user(Q)]}):
            group = read(record | more)
            assert group.prompt == [user(Q)] and group.pairs == [Pair(0, 1)]
            texts = [response[-1]["content"] for response in group.responses]
            assert texts == [GOOD if side is whole else BAD for side in (chosen, rejected)]
    assert read({"prompt": Q, "chosen": [bot(GOOD)], "rejected": BAD}).prompt == [user(Q)]
    with pytest.raises(ValueError, match="no prompt"):
        read({"chosen": [bot(GOOD)], "rejected": BAD})
    with pytest.raises(ValueError, match="`prompt` may be part of the prompt"):
        read({"prompt": "Who?", "chosen": whole, "rejected": BAD})
