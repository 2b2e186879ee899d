"""Control ids come from the template alone; other chats get the ids that transformers gives them."""

import json
import pathlib
import pickle
import random
import unicodedata

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import BadRecord, Group
from rewardjax.data.layouts import fields

QWEN_ADDED = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|pad|>",
    "<|fim_pad|>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|im_|>",
]
QWEN_TEMPLATE = """{%- for m in messages %}
{{- '<|im_start|>' + m.role + '\\n' }}
{%- if m.role == 'assistant' and loop.last %}{{ '<think>\\n' + (m.reasoning_content or '') + '\\n</think>\\n\\n' }}{% endif %}
{{- m.content }}
{%- for call in m.tool_calls or [] %}{{ '\\n<tool_call>\\n' + (call | tojson) + '\\n</tool_call>' }}{% endfor %}
{{- '<|im_end|>\\n' }}
{%- endfor %}"""
LLAMA_ADDED = [
    "<|begin_of_text|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|finetune_right_pad_id|>",
    "<|python_tag|>",
]
LLAMA_TEMPLATE = """{{ bos_token }}{% for m in messages %}
    {% if loop.first and m['role'] != 'system' %}
Instructions follow.
    {% endif %}
{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + m['content'] | trim + '<|eot_id|>' }}
{%- endfor %}"""
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEXT = [
    "The quick brown fox asks: what is 12 + 34? It is 46, of course.",
    "user system assistant think tool_call im_start im_end",
    "Größe, naïveté, 東京, привет!\n\n  - one\n  - two\n",
    "def f(x):\n    return x < 3 and x > 1\n",
    "<b>bold</b> <|x|> |> <| \n\n\n",
]


def make(
    folder: pathlib.Path, added, template, bos=None, eos=None, pad=None, normalizer=None, **config
) -> pathlib.Path:
    """A tokenizer folder as Hugging Face has them: byte-level BPE, a few hundred merges, the second half of `added` not flagged special."""
    tokenizer = tokenizers.Tokenizer(models.BPE(ignore_merges=bos is not None))
    tokenizer.normalizer = normalizer
    split = pre_tokenizers.Split(tokenizers.Regex(PATTERN), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        TEXT * 3,
        trainers.BpeTrainer(
            vocab_size=420,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    tokenizer.add_special_tokens(
        [
            tokenizers.AddedToken(text, special=True, normalized=False)
            for text in added[: len(added) // 2]
        ]
    )
    tokenizer.add_tokens(
        [
            tokenizers.AddedToken(text, special=False, normalized=False)
            for text in added[len(added) // 2 :]
        ]
    )
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "chat_template": template,
        "bos_token": bos,
        "eos_token": eos,
        "pad_token": pad,
        **config,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def make_qwen(folder, **changes):
    return make(
        folder,
        **{
            "added": QWEN_ADDED,
            "template": QWEN_TEMPLATE,
            "eos": "<|im_end|>",
            "pad": "<|pad|>",
            "normalizer": normalizers.NFC(),
            **changes,
        },
    )


def make_llama(folder, **changes):
    return make(
        folder,
        **{
            "added": LLAMA_ADDED,
            "template": LLAMA_TEMPLATE,
            "bos": "<|begin_of_text|>",
            "eos": "<|eot_id|>",
            "pad": "<|finetune_right_pad_id|>",
            **changes,
        },
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("tokenizers")
    return {"qwen": make_qwen(root / "qwen"), "llama": make_llama(root / "llama")}


@pytest.fixture(scope="module", params=["qwen", "llama", "real"])
def folder(request, folders):
    if request.param == "real":
        return request.getfixturevalue("shared_data") / "tokenizers" / "qwen3"
    return folders[request.param]


@pytest.fixture(scope="module")
def chat(folder):
    return ChatTokenizer.load(folder)


# Chats by size of the added-token table: 20,000 with the two tokenizers made here, and 20,000 with the real one where it is.
COUNT = {len(QWEN_ADDED): 10_000, len(LLAMA_ADDED): 10_000, 26: 20_000}
BENIGN = [
    "a",
    "Hello",
    " world",
    "\n",
    "\n\n",
    "  ",
    "\t",
    "\r\n",
    " \n ",
    "é",
    "e\u0301",
    "\ufb01",
    "東京",
    "مرحبا",
    "שלום",
    "🙂",
    "\U0001f469\u200d\U0001f467",
    "\U0001f1eb\U0001f1f7",
    "1234",
    "3.14",
    "'s",
    "<b>",
    "</b>",
    "a<b",
    "x > y",
    "<|",
    "|>",
    "<",
    ">",
    "|im_end|>",
    "<|im_",
    "end|>",
    "think>",
    "<thin",
    "| pipe |",
    "```py\nif a<b:\n```",
    "K\u212a",
    "\u00a0",
    "\u200b",
    "\ufeff",
    "\U000f0000",
    "\ue000",
    "\\n",
    '"quoted"',
    "{{ m }}",
    "{% if %}",
    "…",
    "--",
    "'",
    "system\n",
]


def conversation(rng: random.Random, draw) -> list[dict]:
    """System turn or none, one to three exchanges, the last one the assistant's; every text is `draw(rng)`."""
    messages = [{"role": "system", "content": draw(rng)}] if rng.random() < 0.3 else []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        messages += [
            {"role": "user", "content": draw(rng)},
            {"role": "assistant", "content": draw(rng)},
        ]
    if rng.random() < 0.1:
        messages[-1]["reasoning_content"] = draw(rng)
    if rng.random() < 0.05:
        messages[-1]["tool_calls"] = [
            {"name": draw(rng), "arguments": {draw(rng): [draw(rng), {"deep": draw(rng)}]}}
        ]
    return messages


def benign(rng: random.Random) -> str:
    while True:
        text = "".join(rng.choices(BENIGN, k=rng.randint(0, 6)))
        if "<|im_end|>" not in text:  # fragments that happened to join
            return text


def test_harmless_chats_are_tokenized_as_transformers_does(folder, chat):
    transformers = pytest.importorskip("transformers")
    reference, before = transformers.AutoTokenizer.from_pretrained(folder), chat.neutralized
    rng = random.Random(1)
    chats = [conversation(rng, benign) for _ in range(COUNT[len(added_tokens(folder))])]
    expected = reference.apply_chat_template(chats, tokenize=True, return_dict=False)
    wrong = [
        messages
        for messages, ids in zip(chats, expected, strict=True)
        if chat.encode(messages) != list(ids)
    ]
    assert len(wrong) == 0, wrong[:3]
    assert chat.neutralized == before
    assert [chat.render(messages) for messages in chats[:500]] == reference.apply_chat_template(
        chats[:500], tokenize=False
    )
    assert (chat.pad_id, chat.eos_id, chat.bos_id) == (
        reference.pad_token_id,
        reference.eos_token_id,
        reference.bos_token_id,
    )
    assert chat.vocab_size == len(reference)


def added_tokens(folder) -> list[dict]:
    return json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]


def control_ids(folder) -> dict[int, str]:
    return {token["id"]: token["content"] for token in added_tokens(folder) if token["special"]}


def skeleton(messages):
    """The same conversation with every text an x."""
    if isinstance(messages, str):
        return "x"
    if isinstance(messages, list):
        return [skeleton(item) for item in messages]
    return {
        key
        if key
        in ("role", "content", "name", "arguments", "reasoning_content", "tool_calls", "deep")
        else "x": value if key == "role" else skeleton(value)
        for key, value in messages.items()
    }


def test_hostile_chats_give_no_control_ids(folder, chat):
    controls, before = control_ids(folder), chat.neutralized
    ordinary = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    rng = random.Random(2)
    whole = [token["content"] for token in added_tokens(folder)]
    cut = [
        part
        for text in whole
        for n in (1, 2, len(text) // 2, len(text) - 1)
        for part in (text[:n], text[-n:])
    ]
    nested = [
        a[:n] + b + a[n:]
        for a, b in zip(whole, reversed(whole), strict=True)
        for n in (1, len(a) // 2)
    ]
    private = [chr(0xF0000 + i) for i in range(8)] + ["\U0010fffd", "\ue000"]

    def hostile(rng):
        kinds = [whole, cut, nested, private, BENIGN]
        return "".join(
            rng.choice(rng.choices(kinds, [4, 3, 1, 1, 2])[0]) for _ in range(rng.randint(1, 4))
        )

    leaks, fooled, changed = 0, 0, 0
    for n in range(COUNT[len(added_tokens(folder))]):
        messages = conversation(rng, hostile)
        ids = chat.encode(messages)
        expected = [i for i in chat.encode(skeleton(messages)) if i in controls]
        leaks += [i for i in ids if i in controls] != expected
        if n < 2000:
            text = unicodedata.normalize("NFC", ordinary.decode(ids, skip_special_tokens=False))
            # nothing is lost or added: the tokens are the text that the template printed
            changed += text != unicodedata.normalize("NFC", chat.render(messages))
            ids = ordinary.encode(chat.render(messages), add_special_tokens=False).ids
            fooled += [i for i in ids if i in controls] != expected
    assert (leaks, changed) == (0, 0)
    assert fooled > 1200, "the chats are not hostile"
    assert chat.neutralized - before > n / 2


def test_halves_from_template_and_message_do_not_join(tmp_path):
    template = "<|im_start|><|im_{% for m in messages %}{{ m.content }}end|> <|im_{{ m.content | trim }}end|><|im_end|>{% endfor %}"
    chat = ChatTokenizer.load(make_qwen(tmp_path, template=template))
    controls = control_ids(tmp_path)
    plain = [i for i in chat.encode([{"role": "user", "content": "x"}]) if i in controls]
    for hostile in (
        "end|>",
        "<|im_",
        "<|im_  ",
        "\n|>",
        "\nend|> <|im_\t",
        "<",
        ">",
        "<|im_<|im_",
        "|>|>",
        "<|im_end|",
        "end|><|im_",
    ):
        ids = chat.encode([{"role": "user", "content": hostile}])
        assert [i for i in ids if i in controls] == plain, hostile


@pytest.mark.parametrize("cut", ["replace('<think>', '')", "replace('<cut>', '')"])
def test_halves_beside_what_the_template_cuts_out_do_not_join(cut, tmp_path):
    template = "{% for m in messages %}{{ m.content | " + cut + " }}<|im_end|>{% endfor %}"
    chat = ChatTokenizer.load(make_qwen(tmp_path, template=template))
    for tag in ("<think>", "<cut>"):
        ids = chat.encode([{"role": "user", "content": f"a <|im_{tag}end|> {tag} <|im_ {tag}"}])
        assert [i for i in ids if i in control_ids(tmp_path)] == [chat.eos_id]


def test_control_strings_that_overlap(tmp_path):
    added = ["<|im_start|>", "<|im_end|>", "<|pad|>", "<a", "<a>", "<x<y>", "<y>", "<z<"]
    template = "<x<y><a><a<y>{% for m in messages %}{{ m.content }}{% endfor %}<|im_end|>"
    make_qwen(tmp_path, added=added, template=template)
    spec = json.loads((tmp_path / "tokenizer.json").read_text())
    for token in spec["added_tokens"]:
        token["special"] = True
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    chat = ChatTokenizer.load(tmp_path)
    controls = control_ids(tmp_path)
    for text in ("x", "<x<y>", "<z<y>", "<z<a>", "<<a", "<a>"):
        ids = chat.encode([{"role": "user", "content": text}])
        assert [controls[i] for i in ids if i in controls] == [
            "<x<y>",
            "<a>",
            "<a",
            "<y>",
            "<|im_end|>",
        ], text
        assert (
            tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json")).decode(ids, False)
            == f"<x<y><a><a<y>{text}<|im_end|>"
        )


def test_counting_and_texts_of_hostile_messages(folders):
    chat = ChatTokenizer.load(folders["qwen"])
    calls = [{"name": "f", "arguments": {"<|im_start|>": ["<|pad|>"]}}]
    tools = [{"name": "f", "description": "ends with <|im_end|>"}]
    messages = [
        {"role": "user", "content": "<|im_end|> and <think>"},
        {"role": "assistant", "content": "fine <|im_", "tool_calls": calls},
    ]
    chat.encode(messages)
    assert chat.neutralized == 3 == chat.control_strings(messages)
    chat.encode(messages, tools)
    assert chat.neutralized == 3 + 4, "tool schemas are text of the data too"
    everything = "".join(
        map(chr, range(0xF0000, 0xF0100))
    )  # the first marks that would be taken are in the text
    ids = chat.encode(
        [{"role": "user", "content": everything + "<|pad|>"}, {"role": "assistant", "content": "x"}]
    )
    ordinary = tokenizers.Tokenizer.from_file(str(folders["qwen"] / "tokenizer.json"))
    assert f"user\n{everything}<|pad|><|im_end|>" in ordinary.decode(ids, skip_special_tokens=False)
    assert messages[0]["content"] == "<|im_end|> and <think>", (
        "the caller's messages are left alone"
    )


def test_marks_that_the_template_prints_as_escapes(tmp_path):
    transformers = pytest.importorskip("transformers")
    printed = "{{ messages[0] | string }}{{ messages[0].content | tojson(ensure_ascii=True) }}"
    chat = ChatTokenizer.load(make_qwen(tmp_path, template=printed + QWEN_TEMPLATE))
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ("ends in half <|im_", "<", "\\U000f0000 <|im_", "\\udb80\\udc00\U000f0000 <"):
        messages = [{"role": "user", "content": text}, {"role": "assistant", "content": "x"}]
        assert chat.encode(messages) == reference.apply_chat_template(messages, return_dict=False)


def test_the_real_template_adds_an_empty_thought(shared_data):
    chat = ChatTokenizer.load(shared_data / "tokenizers" / "qwen3")
    ids = chat.encode([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}])
    assert ids == [
        151644,
        872,
        198,
        13048,
        151645,
        198,
        151644,
        77091,
        198,
        151667,
        271,
        151668,
        271,
        47978,
        151645,
        198,
    ]


def test_a_thought_in_the_content_is_what_the_real_template_makes_of_it(shared_data):
    folder = shared_data / "tokenizers" / "qwen3"
    chat = ChatTokenizer.load(folder)
    asked = {"role": "user", "content": "Is <think> a tag?"}
    thought = chat.encode([asked, {"role": "assistant", "content": "<think>\nme\n</think>\n\nHo"}])
    apart = chat.encode([asked, {"role": "assistant", "reasoning_content": "me", "content": "Ho"}])
    assert thought == apart, "the template finds the thought in the content"
    # one in the question, which is a token there too, and the one that the answer begins with
    assert (thought.count(151667), thought.count(151668), chat.neutralized) == (2, 1, 0)
    assert chat.encode([asked, {"role": "assistant", "content": "<|im_end|>"}]).count(151645) == 2
    assert chat.neutralized == 1


def test_reasoning_under_each_of_its_names(folders):
    chat = ChatTokenizer.load(folders["qwen"])
    rendered = {
        chat.render(
            [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho", name: "me"}]
        )
        for name in ("reasoning_content", "thinking", "reasoning")
    }
    assert len(rendered) == 1 and "<think>\nme\n</think>" in rendered.pop()


@pytest.mark.parametrize(
    "template, count",
    [
        (LLAMA_TEMPLATE, 1),
        # the tokenizer's post-processor would add it, but nobody asks that for a chat
        (LLAMA_TEMPLATE.replace("{{ bos_token }}", ""), 0),
        ("{{ bos_token }}" + LLAMA_TEMPLATE, 2),
    ],
)
def test_bos_is_what_the_template_prints(template, count, tmp_path):
    transformers = pytest.importorskip("transformers")
    chat = ChatTokenizer.load(make_llama(tmp_path, template=template))
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    hi = [{"role": "user", "content": "Hi"}]
    assert chat.encode(hi) == reference.apply_chat_template(hi, return_dict=False)
    for text in ("Hi", "<|begin_of_text|>", "<|begin_of_text|><|begin_of_text|>Hi"):
        ids = chat.encode([{"role": "user", "content": text}])
        assert ids.count(chat.bos_id) == count
        assert ids[:count] == [chat.bos_id] * count
    expected = "none" if count == 0 else "one <|begin_of_text|>"
    assert chat.fingerprints()["bos"] == expected


MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " 2 < 3? <think>\n"},
    {"role": "assistant", "content": "Yes. 🙂"},
]


def test_save_and_load_is_the_same_tokenizer(folder, chat, tmp_path):
    transformers = pytest.importorskip("transformers")
    (tmp_path / "chat_template.jinja").write_text("stale")
    chat.save(tmp_path)
    again = ChatTokenizer.load(tmp_path)
    assert again.fingerprints() == chat.fingerprints() and again.encode(MESSAGES) == chat.encode(
        MESSAGES
    )
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    harmless = [MESSAGES[0], {"role": "user", "content": "2 < 3?"}, MESSAGES[2]]
    assert reference.apply_chat_template(harmless, tokenize=False) == chat.render(harmless)
    assert list(
        reference.apply_chat_template(harmless, tokenize=True, return_dict=False)
    ) == chat.encode(harmless)


def test_worker_processes_get_the_same_tokenizer(folders):
    chat = ChatTokenizer.load(folders["qwen"], pad_token="<|fim_pad|>")
    again = pickle.loads(pickle.dumps(chat))
    assert (
        again.encode(MESSAGES) == chat.encode(MESSAGES)
        and again.fingerprints() == chat.fingerprints()
    )


def test_the_pad_token_can_be_replaced_and_is_saved(folders, tmp_path):
    chat = ChatTokenizer.load(folders["qwen"], pad_token="<|fim_pad|>")
    chat.save(tmp_path)
    assert (
        control_ids(tmp_path)[chat.pad_id]
        == "<|fim_pad|>"
        != control_ids(tmp_path)[ChatTokenizer.load(folders["qwen"]).pad_id]
    )
    assert ChatTokenizer.load(tmp_path).pad_id == chat.pad_id


def test_fingerprints_follow_the_content_only(folders, tmp_path):
    original = ChatTokenizer.load(folders["qwen"]).fingerprints()
    spec = json.loads((folders["qwen"] / "tokenizer.json").read_text())
    config = json.loads((folders["qwen"] / "tokenizer_config.json").read_text())
    other_merges = {**spec, "model": {**spec["model"], "merges": spec["model"]["merges"][:-1]}}
    cases = {
        None: (dict(reversed(spec.items())), config, QWEN_TEMPLATE),
        "tokenizer": (other_merges, config, QWEN_TEMPLATE),
        "chat_template": (spec, config, QWEN_TEMPLATE + " "),
        "pad": (spec, {**config, "pad_token": "<|fim_pad|>"}, QWEN_TEMPLATE),
        "eos": (spec, {**config, "eos_token": "<|endoftext|>"}, QWEN_TEMPLATE),
        "bos": (
            spec,
            {**config, "bos_token": {"content": "<|endoftext|>"}},
            "{{ bos_token }}" + QWEN_TEMPLATE,
        ),
    }
    for name, (spec, config, template) in cases.items():
        found = ChatTokenizer(json.dumps(spec, indent=3), config, template).fingerprints()
        different = {key for key in original if found[key] != original[key]}
        assert different == {name} - {None} | ({"chat_template"} if name == "bos" else set())


def test_templates_in_all_their_places(tmp_path):
    folder = make_qwen(
        tmp_path,
        chat_template=[
            {"name": "tool_use", "template": "x"},
            {"name": "default", "template": QWEN_TEMPLATE},
        ],
    )
    assert ChatTokenizer.load(folder).template == QWEN_TEMPLATE
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% if loop.index == 2 %}{% break %}{% endif %}{% endfor %}"
    )
    assert ChatTokenizer.load(folder).render(MESSAGES) == "Be brief. 2 < 3? <think>\n"
    # tables fill absent fields with None
    (folder / "chat_template.jinja").write_text(
        "{{ 'there' if messages[0].x is defined else 'absent' }}"
        "{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    assert [
        ChatTokenizer.load(folder).render([{"role": "user", "content": "", "x": x}])
        for x in (None, "")
    ] == ["absent", "there"]
    (folder / "chat_template.jinja").unlink()
    make_qwen(tmp_path, chat_template=None)
    with pytest.raises(ValueError, match="no chat template in"):
        ChatTokenizer.load(folder)


def test_templates_that_refuse_or_ask_for_the_date(tmp_path):
    refusing = (
        "{% if messages|length > 2 %}{{ raise_exception('too long') }}{% endif %}" + QWEN_TEMPLATE
    )
    chat = ChatTokenizer.load(make_qwen(tmp_path, template=refusing))
    with pytest.raises(BadRecord, match="the chat template says: too long") as caught:
        chat.encode(MESSAGES)
    assert caught.value.reason == "bad_role"
    failing = "{{ messages[0].name.upper() }}{{ messages[0].content + 1 }}"
    with pytest.raises(ValueError, match="chat template fails on a question and an answer"):
        ChatTokenizer.load(make_qwen(tmp_path, template=failing))
    needs_a_call = QWEN_TEMPLATE + "{{ messages[0].tool_calls[0].name if messages|length > 2 }}"
    with pytest.raises(BadRecord, match="bad_schema.*the chat template fails"):
        ChatTokenizer.load(make_qwen(tmp_path, template=needs_a_call)).encode(MESSAGES)
    with pytest.raises(ValueError, match="'append' of 'list' object is unsafe"):
        ChatTokenizer.load(make_qwen(tmp_path, template="{{ messages.append(1) }}"))
    with pytest.raises(
        ValueError, match=r"does not compile: .*No filter named 'from_json'.*line 2"
    ):
        ChatTokenizer.load(make_qwen(tmp_path, template="{{ 1 }}\n{{ tools | from_json }}"))


# transformers prints today's date with both
DATED = {
    "a call": "Today: {{ strftime_now('%d %B %Y') }}.\n",
    "Llama 3.2": """{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{{- date_string }}""",
    "the other way round": """{%- if strftime_now is not defined %}
    {%- set today = "26 Jul 2024" %}
{%- else %}
    {%- set today = strftime_now("%d %b %Y") %}
{%- endif %}
{{- today }}""",
    "one expression": (
        "{{ strftime_now( '%d %b %Y' ) if strftime_now is defined else '26 Jul 2024' }}"
    ),
    "a macro": (
        "{% macro head() %}{{ 'Today: ' + strftime_now('%d %B %Y') }}{% endmacro %}{{ head() }}"
    ),
}


@pytest.mark.parametrize("name", DATED)
def test_a_template_that_prints_today_is_refused_or_pinned_for_everybody(name, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = make_qwen(tmp_path / "dated", template=DATED[name] + QWEN_TEMPLATE)
    with pytest.raises(ValueError, match="today's date .* pin one with date="):
        ChatTokenizer.load(folder)
    chat = ChatTokenizer.load(folder, date="2021-03-09")
    assert "09 Mar" in chat.render(MESSAGES)
    chat.save(tmp_path / "pinned")
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path / "pinned")
    assert reference.apply_chat_template(MESSAGES, return_dict=False) == chat.encode(MESSAGES)
    assert ChatTokenizer.load(tmp_path / "pinned").fingerprints() == chat.fingerprints()


def test_a_date_that_cannot_be_pinned_or_that_nobody_prints(tmp_path):
    for computed in (
        "{% set form = '%d' %}{{ strftime_now(form) }}",
        "{% set now = strftime_now %}{{ now('%d') }}",
        "{{ strftime_now and 'dated' }}",
    ):
        with pytest.raises(ValueError, match="cannot be pinned"):
            ChatTokenizer.load(make_qwen(tmp_path, template=computed), date="2021-03-09")
    fixed = "{% if not date_string is defined %}26 Jul 2024{% endif %}" + QWEN_TEMPLATE
    assert "26 Jul 2024" in ChatTokenizer.load(make_qwen(tmp_path, template=fixed)).render(MESSAGES)


def test_tools_and_calls_are_rendered_as_transformers_does(folder, chat):
    transformers = pytest.importorskip("transformers")
    reference = transformers.AutoTokenizer.from_pretrained(folder)
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    call = {"type": "function", "function": {"name": "f", "arguments": {"x": None, "é": [1, "<"]}}}
    messages = [
        {"role": "user", "content": "Call f, twice."},
        {"role": "assistant", "content": "", "tool_calls": [call, call]},
        {"role": "tool", "name": "f", "content": "12"},
        {"role": "tool", "name": "f", "content": "13"},
        {"role": "user", "content": "And?"},
        {"role": "user", "content": "So?"},
        {"role": "assistant", "content": "It is 12."},
    ]
    for given in (tools, [], None):
        assert chat.encode(messages, given) == reference.apply_chat_template(
            messages, tools=given, return_dict=False
        )


def test_a_template_of_its_own_for_tools(tmp_path):
    transformers = pytest.importorskip("transformers")
    named = [
        {"name": "default", "template": QWEN_TEMPLATE},
        {"name": "tool_use", "template": "{{ tools | tojson }}" + QWEN_TEMPLATE},
    ]
    chat = ChatTokenizer.load(make_qwen(tmp_path / "named", chat_template=named))
    chat.save(tmp_path / "saved")
    for folder in (tmp_path / "named", tmp_path / "saved"):
        reference = transformers.AutoTokenizer.from_pretrained(folder)
        for tools in (None, [{"name": "f"}]):
            assert chat.encode(MESSAGES, tools) == reference.apply_chat_template(
                MESSAGES, tools=tools, return_dict=False
            )
    assert ChatTokenizer.load(tmp_path / "saved").fingerprints() == chat.fingerprints()


def declare(folder, how, special):
    """A token that tokenizer.json does not have, declared in one of the other files."""
    flags = dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized"), False)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    if how == "added_tokens_decoder":
        tokens = {token.pop("id"): token for token in added_tokens(folder)}
        tokens[max(tokens) + 1] = {"content": "<|new|>", "special": special, **flags}
        config["added_tokens_decoder"] = tokens
    elif how == "added_tokens.json":
        new_id = max(token["id"] for token in added_tokens(folder)) + 1
        (folder / how).write_text(json.dumps({"<|new|>": new_id}))
        if special:
            config["additional_special_tokens"] = ["<|new|>"]
    elif how == "special_tokens_map.json":
        token = {"content": "<|new|>", **flags}
        (folder / how).write_text(json.dumps({"cls_token": token}))
    else:
        config[how] = "<|new|>"
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    "how, special",
    [
        ("added_tokens_decoder", True),
        ("added_tokens_decoder", False),
        ("added_tokens.json", True),
        ("added_tokens.json", False),
        ("special_tokens_map.json", True),
        ("sep_token", True),
        ("image_token", True),
    ],
)
def test_tokens_declared_beside_tokenizer_json(how, special, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = make_qwen(tmp_path / "declared", template="<|new|>" + QWEN_TEMPLATE)
    declare(folder, how, special)
    chat = ChatTokenizer.load(folder)
    chat.save(tmp_path / "saved")
    hostile = [{"role": "user", "content": "a <|new|> b"}]
    new_id = max(token["id"] for token in added_tokens(tmp_path / "saved"))
    assert chat.encode(hostile).count(new_id) == 2 - special
    for folder in (tmp_path / "declared", tmp_path / "saved"):
        reference = transformers.AutoTokenizer.from_pretrained(folder)
        assert chat.encode(MESSAGES) == reference.apply_chat_template(MESSAGES, return_dict=False)
        assert reference.convert_tokens_to_ids("<|new|>") == new_id
        assert ("<|new|>" in reference.all_special_tokens) <= special


def spm(folder, scheme, **config):
    """A tokenizer as converters from sentencepiece write them: ▁ for spaces, bytes as fallback."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    pieces += ["▁", *"abcdehlnorstu", "▁t", "he", "▁the", "re", "ou", "an"]
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("r", "e"), ("o", "u"), ("a", "n")]
    tokenizer = tokenizers.Tokenizer(
        models.BPE(
            {piece: i for i, piece in enumerate(pieces)},
            merges,
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    if scheme == "normalizer":
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.add_tokens([tokenizers.AddedToken("<think>", special=False, normalized=False)])
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        **config,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("scheme", ["first", "always", "never", "normalizer"])
@pytest.mark.parametrize("start", ["{{ bos_token }}", "", "the "])
def test_sentencepiece_tokenizers(scheme, start, tmp_path):
    transformers = pytest.importorskip("transformers")
    template = start + "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}"
    folder = spm(tmp_path / "spm", scheme, chat_template=template)
    chat = ChatTokenizer.load(folder)
    reference = transformers.AutoTokenizer.from_pretrained(folder)
    for text in ("the <think> there ", " the", "à <think>the", "", "ou <unknown> s>"):
        messages = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
        ids = chat.encode(messages)
        assert ids == reference.apply_chat_template(messages, return_dict=False), text
    hostile = [{"role": "user", "content": "<s>the</s> <unk></s"}]
    bos = int(bool(start) and "bos" in start)
    assert [i for i in chat.encode(hostile) if i < 3] == [1] * bos + [2]


@pytest.mark.parametrize("lstrip, rstrip", [(True, False), (False, True), (True, True)])
def test_control_tokens_that_swallow_white_space(lstrip, rstrip, tmp_path):
    transformers = pytest.importorskip("transformers")
    # the text of a message stands beside control tokens on both sides
    template = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
    folder = make_qwen(tmp_path, template=template)
    spec = json.loads((folder / "tokenizer.json").read_text())
    for token in spec["added_tokens"][1:7]:
        token.update(lstrip=lstrip, rstrip=rstrip)
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    chat = ChatTokenizer.load(folder)
    reference = transformers.AutoTokenizer.from_pretrained(folder)
    for text in ("  a \n", "\x1c b \x1c", "\u3000<think>\x1c ", " \x85\u200b", "\n\n", "x <|im_"):
        messages = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
        assert chat.encode(messages) == reference.apply_chat_template(messages, return_dict=False)


@pytest.mark.parametrize("pad", [None, "<|im_end|>", "<|im_start|>"])
def test_scoring_needs_no_pad_token_and_training_says_which_to_take(pad, tmp_path):
    chat = ChatTokenizer.load(make_qwen(tmp_path, pad=pad))
    assert chat.encode(MESSAGES)[-2] == chat.eos_id
    with pytest.raises(ValueError, match=r"pad_token .*--config.tokenizer.pad_token"):
        chat.check_pad()
    ChatTokenizer.load(tmp_path, pad_token="<|pad|>").check_pad()


def test_a_folder_without_eos_scores_and_names_the_flag_to_train(tmp_path):
    make_qwen(tmp_path)
    same = ChatTokenizer.load(tmp_path).encode(MESSAGES)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    eos = config.pop("eos_token")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    chat = ChatTokenizer.load(tmp_path)
    assert chat.encode(MESSAGES) == same and chat.fingerprints()["eos"] == "none"
    with pytest.raises(ValueError, match="eos_token is missing.*--config.tokenizer.eos_token"):
        chat.check_pad()
    repaired = ChatTokenizer.load(tmp_path, eos_token=eos)
    repaired.check_pad()
    repaired.save(tmp_path / "saved")
    assert ChatTokenizer.load(tmp_path / "saved").eos_id == repaired.eos_id


CALL = [
    {"role": "user", "content": "Time?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}],
    },
    {"role": "tool", "content": "noon"},
    {"role": "assistant", "content": "Noon."},
]
SCHEMA = [{"type": "function", "function": {"name": "f", "description": "", "parameters": {}}}]


def test_fields_that_the_template_leaves_out_are_named(tmp_path):
    group = Group("", CALL[:3], [CALL[3:]], [], tools=SCHEMA)
    plain = "{% for m in messages %}<|im_start|>{{ m.role }}{{ m.content }}{% endfor %}"
    chat = ChatTokenizer.load(make_qwen(tmp_path, template=plain))
    assert chat.unprinted(group) == ["tools", "tool_calls"]
    assert chat.unprinted(Group("", CALL[:1], [CALL[3:]], [])) == []
    both = plain + "{{ tools }}{% for m in messages %}{{ m.tool_calls }}{% endfor %}"
    chat = ChatTokenizer.load(make_qwen(tmp_path, template=both))
    assert chat.unprinted(group) == []


@pytest.mark.parametrize(
    "printed",
    [
        "{{ 'null' if m.content is none else 'text' }}",
        "{{ m.content is defined }}",
        "{{ 'content' in m }}",
        "{{ m['content'] or 'nothing' }}",
    ],
)
def test_a_null_content_beside_a_call_is_what_transformers_makes_of_it(printed, tmp_path):
    transformers = pytest.importorskip("transformers")
    template = "{% for m in messages %}<|im_start|>{{ m.role }}" + printed
    template += "{{ m.content or '' }}{% endfor %}"
    chat = ChatTokenizer.load(make_qwen(tmp_path, template=template))
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    reads = [fields.text_or_messages([message], "messages")[0] for message in CALL]
    assert chat.encode(reads) == list(reference.apply_chat_template(CALL, return_dict=False))
    empty = [CALL[0], {**CALL[1], "content": ""}, *CALL[2:]]
    reads = [fields.text_or_messages([message], "messages")[0] for message in empty]
    assert chat.encode(reads) == list(reference.apply_chat_template(empty, return_dict=False))


def added(index, **changes):
    return lambda spec, config: spec["added_tokens"][index].update(changes)


@pytest.mark.parametrize(
    "message, change",
    [
        ("'<|im_start|>' has single_word = true", added(1, single_word=True)),
        ("is ordinary text", added(2, content="\n\n")),
        ("'#' is ordinary text", added(2, content="#")),
        (
            "'ﬁm' has normalized = true and there is a normalizer that changes it",
            lambda spec, config: (
                spec.update(normalizer={"type": "NFKC"}),
                spec["added_tokens"][0].update(normalized=True, content="ﬁm"),
            ),
        ),
        ("model.dropout = 0.1", lambda spec, config: spec["model"].update(dropout=0.1)),
        (
            "fails on a question and an answer.*prints only conversations with tools; call it tool",
            lambda spec, config: config.update(chat_template=QWEN_TEMPLATE + "{{ tools[0].type }}"),
        ),
        (
            "reads contents as lists of parts",
            lambda spec, config: config.update(
                chat_template="{% for m in messages %}{{ m.content[0].text + m.role }}{% endfor %}"
            ),
        ),
        (
            "pad_token = '<pad>' is not an added token",
            lambda spec, config: config.update(pad_token="<pad>"),
        ),
        (
            "the text '<|fim_pad|>' still becomes a control token",
            lambda spec, config: spec.update(
                model={
                    "type": "WordLevel",
                    "vocab": {"<|fim_pad|>": spec["added_tokens"][4]["id"], "?": 0},
                    "unk_token": "?",
                },
                pre_tokenizer=None,
            ),
        ),
    ],
)
def test_what_cannot_be_exact_is_refused(message, change, folders):
    spec = json.loads((folders["qwen"] / "tokenizer.json").read_text())
    config = json.loads((folders["qwen"] / "tokenizer_config.json").read_text())
    change(spec, config)
    with pytest.raises(ValueError) as caught:
        ChatTokenizer(json.dumps(spec), config, config.get("chat_template", QWEN_TEMPLATE))
    assert all(part in str(caught.value) for part in message.split(".*")), caught.value
