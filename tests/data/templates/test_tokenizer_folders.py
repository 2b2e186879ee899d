"""Tokenizer folders as families publish them, on small vocabularies of our own.

Files, classes, special and added tokens with their flags are those of public folders. Ids equal
those of transformers' AutoTokenizer, or the folder is refused in one line. The list is the table in
docs/data_sets.md.
"""

import json
import pathlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import tokenizers
from tokenizers import AddedToken, normalizers, pre_tokenizers

from benchmarks import template_parity
from rewardjax.data.chat import ChatTokenizer

DOCS = pathlib.Path(__file__).parents[3] / "docs" / "data_sets.md"

TEXTS = (
    "Hello world: 12 and 345.",
    " the  re ",
    "re\n\nthe",
    "Größe e\u0301 東京 🙂",
    "def f(x):\n        return  x",
    "",
)
# Turns as ChatML has them, as Llama 2 has them, and with a start of the text.
CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
LLAMA2 = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content + "
    "' [/INST]' }}{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}"
)
PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}\n{% endfor %}"

Build = Callable[[tokenizers.Tokenizer], None]


class Folder(NamedTuple):
    """A family's folder: where its shape is from, what is special about it, how it is read.

    pieces: a vocabulary of sentencepiece's kind, else of bytes. build: what makes the tokenizer the
    family's. config: tokenizer_config.json. model: config.json. files: further ones, by name.
    refused: the words of the message. note: the words of the warning.
    """

    name: str
    source: str
    special: str
    how: str
    pieces: bool
    build: Build | None
    config: dict[str, Any]
    model: dict[str, Any] = {}
    files: dict[str, str] = {}
    refused: str | None = None
    note: str | None = None


def control(*texts: str, **flags: Any) -> list[AddedToken]:
    return [AddedToken(text, special=True, normalized=False, **flags) for text in texts]


def old_llama(tokenizer):
    """As convert_slow_tokenizer.py wrote LlamaTokenizer until the Metaspace of newer versions."""
    tokenizer.pre_tokenizer = None
    steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.add_special_tokens(control("<unk>", "<s>", "</s>"))


def gemma(tokenizer):
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.add_special_tokens(control("<pad>", "<eos>", "<bos>", "<unk>"))
    # Turn markers and runs of line breaks are not special in the file, the former by name.
    plain = ("<start_of_turn>", "<end_of_turn>", "\n\n", "\t")
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in plain])


def deepseek(tokenizer):
    tokenizer.normalizer = None
    names = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>")
    tokenizer.add_special_tokens(control(*names))
    plain = ("<｜User｜>", "<｜Assistant｜>", "<think>", "</think>")
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in plain])


def smollm(tokenizer):
    digits = pre_tokenizers.Digits(individual_digits=True)
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, bytes_])
    tokenizer.add_special_tokens(control("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    tokenizer.add_special_tokens(control("<repo_name>", "<reponame>", "<jupyter_start>"))


def pythia(tokenizer):
    tokenizer.add_special_tokens(control("<|endoftext|>", "<|padding|>"))
    runs = [" " * n for n in range(8, 1, -1)]
    tokenizer.add_tokens([AddedToken(text, normalized=True) for text in runs])


def gpt2(tokenizer):
    tokenizer.normalizer = None
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", normalized=True)])


def chatml_pieces(tokenizer):
    tokenizer.add_special_tokens(control("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"))
    tokenizer.add_special_tokens(control("<|action_start|>", "<|plugin|>"))


def glm4(tokenizer):
    tokenizer.normalizer = None
    tokenizer.add_special_tokens(control("<|endoftext|>"))


def command_r(tokenizer):
    digits = pre_tokenizers.Digits(individual_digits=True)
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, bytes_])
    names = ("<PAD>", "<UNK>", "<BOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>")
    tokenizer.add_special_tokens(control(*names, "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>"))


def phi3(tokenizer):
    old_llama(tokenizer)
    names = ("<|endoftext|>", "<|assistant|>", "<|user|>", "<|system|>", "<|end|>")
    tokenizer.add_special_tokens(control(*names, rstrip=True))


def filed(tokenizer):
    tokenizer.add_special_tokens(control("<|im_start|>", "<|im_end|>", "<|endoftext|>"))


def as_token(text: str) -> dict[str, Any]:
    """A named token as older configurations write it."""
    flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    return {"__type": "AddedToken", "content": text, **flags}


END_OF_TEXT = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
SPM_NAMES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
DEEPSEEK = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}"
    "{% else %}<｜Assistant｜>{{ m.content }}<｜end▁of▁sentence｜>{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m.role }}\n{{ m.content | trim }}"
    "<end_of_turn>\n{% endfor %}"
)
GLM = "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"
COMMAND_R = (
    "{{ bos_token }}{% for m in messages %}<|START_OF_TURN_TOKEN|>{% if m.role == 'user' %}"
    "<|USER_TOKEN|>{% else %}<|CHATBOT_TOKEN|>{% endif %}{{ m.content }}<|END_OF_TURN_TOKEN|>"
    "{% endfor %}"
)
PHI3 = "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
OWN_CODE = {"AutoTokenizer": ["tokenization_x.XTokenizer", None]}

FOLDERS = [
    Folder(
        "Vicuna, Llama 2",
        "CNMagicturtle/vincuna-13b:tokenizer_config.json",
        "LlamaTokenizer over the older normalizer; named tokens with normalized = true; [PAD] only "
        "in tokenizer_config.json",
        "by the class's rules, told in one line",
        True,
        old_llama,
        {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "chat_template": LLAMA2}
        | {name: as_token(text) for name, text in SPM_NAMES.items()}
        | {"pad_token": as_token("[PAD]")},
        {"model_type": "llama"},
        note="the tokenizer's class is LlamaTokenizer",
    ),
    Folder(
        "Mistral, Zephyr",
        "huggingface/transformers:src/transformers/models/auto/tokenization_auto.py",
        "the same files with model_type = mistral, for which the class is passed over",
        "by tokenizer.json",
        True,
        old_llama,
        {"tokenizer_class": "LlamaTokenizer", "legacy": True, "chat_template": LLAMA2} | SPM_NAMES,
        {"model_type": "mistral"},
    ),
    Folder(
        "Phi-3",
        "huggingface/transformers:src/transformers/models/auto/tokenization_auto.py",
        "LlamaTokenizer passed over; markers that swallow white space behind them",
        "by tokenizer.json",
        True,
        phi3,
        {"tokenizer_class": "LlamaTokenizer", "legacy": False, "chat_template": PHI3}
        | SPM_NAMES
        | {"pad_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
        {"model_type": "phi3"},
    ),
    Folder(
        "Gemma",
        "hub, hdve/google-gemma-2b-1717256394:special_tokens_map.json",
        "spaces replaced before BPE; turn markers special by name, line breaks added tokens",
        "by tokenizer.json, which is the class's",
        True,
        gemma,
        {"tokenizer_class": "GemmaTokenizer", "chat_template": GEMMA}
        | {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"}
        | {"additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"]},
        {"model_type": "gemma2"},
    ),
    Folder(
        "DeepSeek-V3, R1",
        "huggingface/transformers #45488; Evilcarbon/DeepSeek-R1-Distill-Qwen-32B",
        "LlamaTokenizerFast over a vocabulary of bytes; pad = eos",
        "by tokenizer.json",
        False,
        deepseek,
        {"tokenizer_class": "LlamaTokenizerFast", "legacy": True, "chat_template": DEEPSEEK}
        | {"bos_token": as_token("<｜begin▁of▁sentence｜>"), "unk_token": None}
        | dict.fromkeys(("eos_token", "pad_token"), as_token("<｜end▁of▁sentence｜>")),
        {"model_type": "deepseek_v3"},
    ),
    Folder(
        "DeepSeek-R1-Distill-Qwen",
        "Evilcarbon/DeepSeek-R1-Distill-Qwen-32B:tokenizer_config.json",
        "LlamaTokenizerFast beside model_type = qwen2, for which Qwen2Tokenizer counts",
        "by the class's rules, told in one line where they differ",
        False,
        deepseek,
        {"tokenizer_class": "LlamaTokenizerFast", "legacy": True, "chat_template": DEEPSEEK}
        | {"bos_token": as_token("<｜begin▁of▁sentence｜>"), "unk_token": None}
        | dict.fromkeys(("eos_token", "pad_token"), as_token("<｜end▁of▁sentence｜>")),
        {"model_type": "qwen2"},
        note="the tokenizer's class is Qwen2Tokenizer, .*normalizer, pre_tokenizer",
    ),
    Folder(
        "SmolLM2",
        "hub, unsloth/SmolLM2-135M-Instruct-bnb-4bit:tokenizer_config.json",
        "GPT2Tokenizer, whose own rules do not split numbers as tokenizer.json does",
        "by the class's rules, told in one line",
        False,
        smollm,
        {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, "chat_template": CHATML}
        | {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
        | {"unk_token": "<|endoftext|>"},
        {"model_type": "llama"},
        note="the tokenizer's class is GPT2Tokenizer, .*\\(pre_tokenizer\\)",
    ),
    Folder(
        "GPT-2, FinGPT",
        "hub, OpenFinAL/FINGPT_QA_V4:tokenizer_config.json",
        "one token for start, end, padding and unknown, with normalized = true",
        "by tokenizer.json, which is the class's",
        False,
        gpt2,
        {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, "chat_template": PLAIN}
        | END_OF_TEXT
        | {"pad_token": "<|endoftext|>"},
        {"model_type": "gpt2"},
    ),
    Folder(
        "Pythia, OLMo",
        "Avent-IQ/pythia-410m:tokenizer_config.json",
        "runs of spaces are added tokens that are not special; [PAD] only in tokenizer_config.json",
        "by tokenizer.json, which is the class's",
        False,
        pythia,
        {"tokenizer_class": "GPTNeoXTokenizer", "chat_template": PLAIN}
        | END_OF_TEXT
        | {"pad_token": "[PAD]"},
        {"model_type": "gpt_neox"},
    ),
    Folder(
        "Command-R",
        "huggingface/transformers:src/transformers/models/cohere/tokenization_cohere.py",
        "templates by name in tokenizer_config.json: default, tool_use, rag",
        "by tokenizer.json, which is the class's; with tools by the template tool_use",
        False,
        command_r,
        {"tokenizer_class": "CohereTokenizer", "bos_token": "<BOS_TOKEN>", "pad_token": "<PAD>"}
        | {"eos_token": "<|END_OF_TURN_TOKEN|>", "unk_token": "<UNK>"}
        | {
            "chat_template": [
                {"name": "default", "template": COMMAND_R},
                {"name": "tool_use", "template": "{{ tools | length }} tools\n" + COMMAND_R},
                {"name": "rag", "template": "documents\n" + COMMAND_R},
            ]
        },
        {"model_type": "cohere"},
    ),
    Folder(
        "GLM-4",
        "hub, tinywell/THUDM-glm-4-9b-chat-4bit:special_tokens_map.json",
        "markers declared in special_tokens_map.json alone; no token for start or unknown",
        "by tokenizer.json with the tokens declared beside it",
        False,
        glm4,
        {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": GLM},
        {"model_type": "glm4"},
        {
            "special_tokens_map.json": json.dumps(
                {
                    "additional_special_tokens": ["[gMASK]", "<sop>", "<|user|>", "<|assistant|>"],
                    "eos_token": {"content": "<|endoftext|>", "lstrip": False, "rstrip": False}
                    | {"normalized": False, "single_word": False},
                    "pad_token": "<|endoftext|>",
                }
            )
        },
    ),
    Folder(
        "a folder that transformers 5 wrote",
        "huggingface/transformers:src/transformers/tokenization_utils_base.py",
        "TokenizersBackend; chat_template.jinja and additional_chat_templates/",
        "by tokenizer.json; the files' templates",
        False,
        filed,
        {"tokenizer_class": "TokenizersBackend", "backend": "tokenizers"}
        | {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        {"model_type": "qwen3"},
        {
            "chat_template.jinja": CHATML,
            "additional_chat_templates/tool_use.jinja": "{{ tools | length }} tools\n" + CHATML,
        },
    ),
    Folder(
        "InternLM2",
        "hub, internlm/internlm2-math-7b:tokenizer_config.json",
        "code of its own (auto_map), which transformers passes over for its model type",
        "by tokenizer.json",
        True,
        chatml_pieces,
        {"tokenizer_class": "InternLM2Tokenizer", "auto_map": OWN_CODE, "chat_template": CHATML}
        | SPM_NAMES
        | {"pad_token": "</s>"},
        {"model_type": "internlm2"},
    ),
    Folder(
        "a tokenizer that is code",
        "hub, mm-eval/WeMM:tokenizer_config.json",
        "auto_map with another model type",
        "refused: the code decides the ids",
        True,
        chatml_pieces,
        {"tokenizer_class": "InternLM2Tokenizer", "auto_map": OWN_CODE, "chat_template": CHATML}
        | SPM_NAMES,
        {"model_type": "wemm"},
        refused=r"code of its own \(tokenization_x.XTokenizer\).*trust_remote_code=True",
    ),
    Folder(
        "ChatGLM3, Baichuan",
        "hub, zai-org/chatglm3-6b:tokenizer_config.json",
        "tokenizer.model and code",
        "refused: how to write tokenizer.json",
        True,
        None,
        {"tokenizer_class": "ChatGLMTokenizer", "auto_map": OWN_CODE, "eos_token": "</s>"},
        files={"tokenizer.model": "pieces"},
        refused="no tokenizer.json; it has tokenizer.model, which transformers turns into it",
    ),
    Folder(
        "Mistral's own files",
        "huggingface/transformers:src/transformers/integrations/mistral/tokenizer.py",
        "tekken.json",
        "refused: how to write tokenizer.json",
        False,
        None,
        {},
        files={"tekken.json": "{}"},
        refused="no tokenizer.json; it has tekken.json, which transformers turns into it",
    ),
    Folder(
        "GPT-2's first files",
        "hub, prithivMLmods/Reasoning-SmolLM2-135M (vocab.json and merges.txt)",
        "vocab.json and merges.txt alone",
        "refused: how to write tokenizer.json",
        False,
        None,
        {"tokenizer_class": "GPT2Tokenizer"},
        files={"vocab.json": "{}", "merges.txt": ""},
        refused="no tokenizer.json; it has vocab.json, merges.txt, which transformers turns into it",
    ),
]


def write(folder: Folder, path: pathlib.Path) -> pathlib.Path:
    """The folder's files."""
    path.mkdir(parents=True)
    if folder.build is not None:
        tokenizer = template_parity.of_bytes()
        if folder.pieces:
            tokenizer = template_parity.of_pieces()
        folder.build(tokenizer)
        tokenizer.save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(json.dumps(folder.config))
    if folder.model:
        (path / "config.json").write_text(json.dumps(folder.model))
    for name, text in folder.files.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(text)
    return path


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_a_folder_of_a_family(folder, tmp_path):
    transformers = pytest.importorskip("transformers")
    path = write(folder, tmp_path / "folder")
    if folder.refused is not None:
        with pytest.raises((ValueError, FileNotFoundError), match=folder.refused):
            ChatTokenizer.load(path)
        return
    chat = ChatTokenizer.load(path)
    # What is saved is read alike by whoever reads it.
    chat.save(tmp_path / "saved")
    theirs = [transformers.AutoTokenizer.from_pretrained(path)]
    theirs.append(transformers.AutoTokenizer.from_pretrained(tmp_path / "saved"))
    tools = None
    if "tool_use" in repr((folder.config, folder.files)):
        tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    for text in TEXTS:
        chats = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
        for reader in theirs:
            assert chat.encode(chats) == reader.apply_chat_template(chats, return_dict=False)
            ids = reader.apply_chat_template(chats, tools=tools, return_dict=False)
            assert chat.encode(chats, tools) == ids
    assert ChatTokenizer.load(tmp_path / "saved").encode(chats) == chat.encode(chats)


@pytest.mark.parametrize("folder", [f for f in FOLDERS if not f.refused], ids=lambda f: f.name)
def test_another_reading_than_the_files_is_told(folder, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("absl.logging.warning", lambda text, *args: told.append(text % args))
    ChatTokenizer.load(write(folder, tmp_path / "folder"))
    assert len(told) == (folder.note is not None)
    if folder.note is not None:
        assert re.search(folder.note, told[0])
        assert "tokenizer_class = PreTrainedTokenizerFast" in told[0]


def test_the_documented_table_is_this_list():
    rows = [f"| {f.name} | {f.source} | {f.special} | {f.how} |" for f in FOLDERS]
    table = [line for line in DOCS.read_text().splitlines() if line.startswith("|")]
    start = table.index("| tokenizer | source of the shape | what is special | how it is read |")
    assert table[start + 2 : start + 2 + len(rows)] == rows


def test_a_model_type_that_has_a_class_of_its_own_does_not_change_what_was_trained(
    tmp_path, monkeypatch
):
    told = []
    monkeypatch.setattr("absl.logging.warning", lambda text, *args: told.append(text % args))
    folder = next(folder for folder in FOLDERS if folder.name == "SmolLM2")
    config = folder.config | {"tokenizer_class": "PreTrainedTokenizerFast"}
    path = write(folder._replace(config=config, model={}), tmp_path / "trained")
    trained = ChatTokenizer.load(path)
    (path / "config.json").write_text('{"model_type": "qwen2"}')
    assert ChatTokenizer.load(path).fingerprints() == trained.fingerprints()
    assert len(told) == 1 and "the file's are used here" in told[0]
