"""Control ids come from the template alone; harmless chats get the ids that transformers gives them."""

import json
import pathlib
import pickle
import random
import unicodedata

import jinja2
import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import BadRecord

QWEN_ADDED = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|pad|>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_pad|>",
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
        if (
            "<|im_end|>" not in text and "<think>" not in text and "<|im_|>" not in text
        ):  # fragments that happened to join
            return text


def test_harmless_chats_are_tokenized_as_transformers_does(folder, chat):
    transformers = pytest.importorskip("transformers")
    reference, before = transformers.AutoTokenizer.from_pretrained(folder), chat.neutralized
    rng = random.Random(1)
    chats = [conversation(rng, benign) for _ in range(COUNT[len(control_ids(folder))])]
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


def control_ids(folder) -> dict[int, str]:
    return {
        token["id"]: token["content"]
        for token in json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))[
            "added_tokens"
        ]
    }


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
    whole = list(controls.values())
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
    for n in range(COUNT[len(controls)]):
        messages = conversation(rng, hostile)
        ids = chat.encode(messages)
        expected = [i for i in chat.encode(skeleton(messages)) if i in controls]
        leaks += [i for i in ids if i in controls] != expected
        if n < 2000:
            text = unicodedata.normalize("NFC", ordinary.decode(ids, skip_special_tokens=False))
            for message in messages:  # nothing is lost or added: the text is there as it was
                changed += unicodedata.normalize("NFC", message["content"].strip()) not in text
            ids = ordinary.encode(chat.render(messages), add_special_tokens=False).ids
            fooled += [i for i in ids if i in controls] != expected
    assert (leaks, changed) == (0, 0)
    assert fooled > 1800, "the chats are not hostile"
    assert chat.neutralized - before > n


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


def test_control_strings_that_overlap(tmp_path):
    added = ["<|im_start|>", "<|im_end|>", "<|pad|>", "<a", "<a>", "<x<y>", "<y>", "<z<"]
    chat = ChatTokenizer.load(
        make_qwen(
            tmp_path, added=added, template="<x<y><a><a<y>{{ messages[0].content }}<|im_end|>"
        )
    )
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
    calls = [{"name": "f", "arguments": {"<think>": ["</think>"]}}]
    messages = [
        {"role": "user", "content": "<|im_end|> and <think>"},
        {"role": "assistant", "content": "fine <|im_", "tool_calls": calls},
    ]
    chat.encode(messages)
    assert chat.neutralized == 4
    everything = "".join(
        map(chr, range(0xF0000, 0xF0100))
    )  # the first marks that would be taken are in the text
    ids = chat.encode(
        [{"role": "user", "content": everything + "<think>"}, {"role": "assistant", "content": "x"}]
    )
    ordinary = tokenizers.Tokenizer.from_file(str(folders["qwen"] / "tokenizer.json"))
    assert f"user\n{everything}<think><|im_end|>" in ordinary.decode(ids, skip_special_tokens=False)
    assert messages[0]["content"] == "<|im_end|> and <think>", (
        "the caller's messages are left alone"
    )


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
    hostile = chat.encode(
        [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "<think>\nme\n</think>\n\nHo"},
        ]
    )
    assert hostile.count(151667) == hostile.count(151668) == 1 and chat.neutralized == 2


@pytest.mark.parametrize(
    "template, adds",
    [
        (LLAMA_TEMPLATE, True),
        (
            LLAMA_TEMPLATE.replace("{{ bos_token }}", ""),
            True,
        ),  # the tokenizer's post-processor adds it
        ("{{ bos_token }}" + LLAMA_TEMPLATE, True),
    ],
)
def test_exactly_one_bos(template, adds, tmp_path):
    chat = ChatTokenizer.load(make_llama(tmp_path, template=template))
    for text in ("Hi", "<|begin_of_text|>", "<|begin_of_text|><|begin_of_text|>Hi"):
        ids = chat.encode([{"role": "user", "content": text}])
        assert ids[0] == chat.bos_id and ids.count(chat.bos_id) == 1
    assert chat.fingerprints()["bos"] == "one <|begin_of_text|>"


def test_no_bos_where_neither_has_one(folders, tmp_path):
    assert ChatTokenizer.load(folders["qwen"]).fingerprints()["bos"] == "none"
    spec = json.loads((folders["llama"] / "tokenizer.json").read_text())
    config = json.loads((folders["llama"] / "tokenizer_config.json").read_text())
    chat = ChatTokenizer(
        json.dumps({**spec, "post_processor": None}),
        config,
        LLAMA_TEMPLATE.replace("{{ bos_token }}", ""),
    )
    assert (
        chat.bos_id not in chat.encode([{"role": "user", "content": "Hi"}])
        and chat.fingerprints()["bos"] == "none"
    )


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
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% break %}{% endfor %}"
    )
    assert ChatTokenizer.load(folder).render(MESSAGES) == "Be brief."
    # tables fill absent fields with None
    (folder / "chat_template.jinja").write_text(
        "{{ 'there' if messages[0].x is defined else 'absent' }}"
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
    with pytest.raises(ValueError, match="today's date"):
        ChatTokenizer.load(
            make_qwen(tmp_path, template="{{ strftime_now('%d %b') }}" + QWEN_TEMPLATE)
        )
    guarded = (
        "{% if strftime_now is defined %}{{ strftime_now('%d') }}{% else %}26 Jul 2024{% endif %}"
    )
    assert (
        ChatTokenizer.load(make_qwen(tmp_path, template=guarded)).render(MESSAGES) == "26 Jul 2024"
    )
    with pytest.raises(jinja2.exceptions.SecurityError):
        ChatTokenizer.load(make_qwen(tmp_path, template="{{ messages.append(1) }}"))


def added(index, **changes):
    return lambda spec, config: spec["added_tokens"][index].update(changes)


@pytest.mark.parametrize(
    "message, change",
    [
        ("'<|im_start|>' has lstrip = true", added(1, lstrip=True)),
        ("'<|im_start|>' has rstrip = true", added(1, rstrip=True)),
        ("'<think>' has single_word = true", added(4, single_word=True)),
        ("'<think>' has normalized = true and there is a normalizer", added(4, normalized=True)),
        ("is ordinary text", added(8, content="\n\n")),
        ("'#' is ordinary text", added(8, content="#")),
        ("model.dropout = 0.1", lambda spec, config: spec["model"].update(dropout=0.1)),
        (
            "prepend_scheme",
            lambda spec, config: spec.update(
                pre_tokenizer={
                    "type": "Metaspace",
                    "replacement": "_",
                    "prepend_scheme": "first",
                    "split": True,
                }
            ),
        ),
        (
            "pad_token is missing; choose .*<|vision_pad|>",
            lambda spec, config: config.update(pad_token=None),
        ),
        (
            "pad_token = eos_token = '<|im_end|>'",
            lambda spec, config: config.update(pad_token="<|im_end|>"),
        ),
        (
            "'<|im_start|>' is printed by the chat template",
            lambda spec, config: config.update(pad_token="<|im_start|>"),
        ),
        (
            "pad_token = '<pad>' is not an added token",
            lambda spec, config: config.update(pad_token="<pad>"),
        ),
        (
            "the text '<think>' still becomes a control token",
            lambda spec, config: spec.update(
                model={
                    "type": "WordLevel",
                    "vocab": {"<think>": spec["added_tokens"][4]["id"], "?": 0},
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
        ChatTokenizer(json.dumps(spec), config, QWEN_TEMPLATE)
    assert all(part in str(caught.value) for part in message.split(".*")), caught.value
