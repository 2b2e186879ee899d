"""Token ids of chats: ours against transformers', and what chats can forge.

    python -m benchmarks.template_parity [--smoke] [--templates FOLDER ...]
        [--tokenizers NAME=FOLDER ...]

For each chat template: (1) fuzzed conversations with systems, tools, calls, results and thoughts,
whose ids must be equal; (2) the same with control strings in their texts, where only the text
between two control tokens that holds such a string may differ, and must read the same; (3) hostile
ones, in which no control token may be but the template's.

The templates in benchmarks/templates have the shapes of 13 families in words of our own. Folders
that are given stand in for it, such as trl/chat_templates of a clone of TRL or models/templates of
one of llama.cpp: every .jinja file is tried. `--tokenizers llama-3=FOLDER` puts the templates whose
file names begin with llama-3 on the real tokenizer of a folder (Qwen's are on Qwen3's where that
is); the others are on a small one that declares their special and added tokens. Prints one JSON
line last.
"""

import argparse
import collections
import json
import pathlib
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import jinja2
import tokenizers
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from tqdm import tqdm

from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import BadRecord

TEMPLATES = pathlib.Path(__file__).parent / "templates"
QWEN3 = pathlib.Path("../shared/data/tokenizers/qwen3")  # not part of this repository
DATE = "2024-07-26"  # where a template would print today's
PLACE = "\ue000"  # a private-use character that no fuzzed text holds

# What tokenizers of these families mark as part of a model's ordinary output, special: false.
ORDINARY = re.compile(r"</?(?:think|tool_call|tool_response|tools?|answer)>|\[/?TOOL_[A-Z]+\]")
# What looks like a control token in a template: <|x|>, <｜x｜>, <s>, [INST], <start_of_turn>.
CONTROL = re.compile(
    r"<\|[^|<>'\" {}]+\|>|<｜[^｜]+｜>|\[/?(?:INST|AVAILABLE_TOOLS)\]|<(?:start|end)_of_\w+>"
)
# Families whose role markers are plain text to their tokenizers.
TEXT_MARKERS = ("tulu", "zephyr", "olmo")
# Families with a sentencepiece vocabulary.
PIECES = ("mistral", "zephyr", "gemma", "tulu")
# Phi-3's markers swallow the white space behind them; it puts them together from the role.
SWALLOWING = ("phi3", "phi3_5")
PHI_MARKERS = ["<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>"]

WORDS = (
    *(
        "a",
        "Hello",
        " world",
        "\n",
        "\n\n",
        "  ",
        "\t",
        "é",
        "e\u0301",
        "東京",
        "🙂",
        "1234",
        "3.14",
    ),
    *("'s", "<b>", "</b>", "a<b", "x > y", "<|", "|>", "<", ">", "im_end|>", "<|im_", "{{ x }}"),
    *("\u00a0", "\u200b", "\U000f0000", '"quoted"', "[INST", "</s", "assistant\n", "\r\n", "▁"),
)
TAGS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
TEXT = [
    "The quick brown fox asks: what is 12 + 34? It is 46, of course. user system assistant",
    '{"type": "function", "name": "get_time", "arguments": {"city": "Oslo"}}\n\n',
    "Größe, naïveté, 東京, привет!\n <tools> </tools> think im_start end\n",
]


class Subject(NamedTuple):
    """A template on its tokenizer, as we and as transformers read the folder.

    control: the ids of control tokens, with their texts.
    """

    name: str
    ours: ChatTokenizer
    theirs: Any
    control: dict[int, str]


# ------------------------------------------------------------------ tokenizers


def real_tokenizer(name: str, folders: dict[str, pathlib.Path]) -> pathlib.Path | None:
    """The folder of the real tokenizer for a template's file name, None where there is none.

    folders: beginning of file names -> folder; the longest beginning that fits counts.
    """
    fitting = [beginning for beginning in folders if name.lower().startswith(beginning.lower())]
    if not fitting:
        return None
    return folders[max(fitting, key=len)]


def subject(name: str, template: str, folder: pathlib.Path, real: pathlib.Path | None) -> Subject:
    """Write a folder with the template and a tokenizer of its family, and load it twice."""
    if real is not None:
        config = json.loads((real / "tokenizer_config.json").read_text(encoding="utf-8"))
        tokenizer_json = (real / "tokenizer.json").read_text(encoding="utf-8")
    else:
        tokenizer_json, config = small_tokenizer(name, template)
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text(tokenizer_json, encoding="utf-8")
    config = config | {"chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    ours = ChatTokenizer.load(folder, date=DATE)
    # The date is pinned in what is written.
    ours.save(folder)
    spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    control = {token["id"]: token["content"] for token in spec["added_tokens"] if token["special"]}
    return Subject(name, ours, transformers.AutoTokenizer.from_pretrained(folder), control)


def small_tokenizer(name: str, template: str) -> tuple[str, dict[str, Any]]:
    """(tokenizer.json, tokenizer_config.json) with the tokens that the template names."""
    if name.startswith(PIECES):
        tokenizer = of_pieces()
    else:
        tokenizer = of_bytes()
    special: list[str] = []
    if not name.startswith(TEXT_MARKERS):
        special = CONTROL.findall(template)
    if name.startswith(SWALLOWING):
        special += PHI_MARKERS
    bos, eos = "<s>", "</s>"
    tokenizer.add_special_tokens(["<unk>", bos, eos, "<pad>"])
    rstrip = name.startswith(SWALLOWING)
    for text in dict.fromkeys(special):
        token = tokenizers.AddedToken(text, special=True, normalized=False, rstrip=rstrip)
        tokenizer.add_special_tokens([token])
    for text in dict.fromkeys([*TAGS, *ORDINARY.findall(template)]):
        tokenizer.add_tokens([tokenizers.AddedToken(text, special=False, normalized=False)])
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": bos,
        "eos_token": eos,
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }
    return tokenizer.to_str(), config


def of_bytes() -> tokenizers.Tokenizer:
    """Byte-level BPE with a few merges, like GPT-2's, Qwen's and Llama 3's."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, show_progress=False, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXT * 3, trainer)
    return tokenizer


def of_pieces() -> tokenizers.Tokenizer:
    """BPE over pieces with ▁ for spaces, like Llama 2's and Mistral's as they are converted."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    pieces += [*"▁abcdehilnorstuw", "▁t", "he", "▁the", "re", "or", "▁w"]
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("r", "e"), ("o", "r"), ("▁", "w")]
    ids = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = tokenizers.Tokenizer(
        models.BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer


# ------------------------------------------------------------------ conversations


class Fuzz:
    """Random conversations; texts are made of `words`."""

    def __init__(self, seed: int, words: list[str]):
        self.rng, self.words = random.Random(seed), words

    def text(self) -> str:
        """Some words on end, often none of them a tag."""
        words = self.rng.choices(self.words, k=self.rng.randint(0, 6))
        if self.rng.random() < 0.2:
            words.insert(self.rng.randint(0, len(words)), self.rng.choice(TAGS))
        return "".join(words)

    def chat(self) -> tuple[list[dict], list[dict] | None]:
        """A conversation, and the tools that it may call."""
        rng, messages, tools = self.rng, [], None
        if rng.random() < 0.4:
            messages.append({"role": "system", "content": self.text()})
        if rng.random() < 0.3:
            tools = [self.tool() for _ in range(rng.randint(1, 2))]
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            messages.append({"role": "user", "content": self.text()})
            if rng.random() < 0.1:
                messages.append({"role": "user", "content": self.text()})
            if rng.random() < 0.2:
                calls = [self.call() for _ in range(rng.choice([1, 1, 2]))]
                messages.append({"role": "assistant", "content": "", "tool_calls": calls})
                for _ in calls:
                    messages.append({"role": "tool", "name": "f", "content": self.text()})
            messages.append(self.answer())
        return messages, tools

    def answer(self) -> dict:
        """A last word of the assistant, with a thought in the content or beside it, or without."""
        kind, content = self.rng.random(), self.text()
        if kind < 0.2:
            content = f"<think>\n{self.text()}\n</think>\n\n{content}"
        message = {"role": "assistant", "content": content}
        if kind > 0.8:
            message["reasoning_content"] = self.text()
        return message

    def tool(self) -> dict:
        """A schema."""
        city = {"type": "string", "description": self.text()}
        parameters = {"type": "object", "properties": {"city": city}, "required": ["city"]}
        function = {"name": "get_time", "description": self.text(), "parameters": parameters}
        return {"type": "function", "function": function}

    def call(self) -> dict:
        """A call of a function."""
        arguments = {"city": self.text(), "more": [1, None, {"é": self.text()}]}
        return {
            "type": "function",
            "id": "call00001",
            "function": {"name": "get_time", "arguments": arguments},
        }


def mapped(value: Any, change: Any, key: str = "") -> Any:
    """A JSON value with the texts of data changed; names and roles stay."""
    if isinstance(value, str):
        if key in ("role", "type", "name", "id"):
            return value
        return change(value)
    if isinstance(value, dict):
        return {name: mapped(item, change, name) for name, item in value.items()}
    if isinstance(value, list):
        return [mapped(item, change, key) for item in value]
    return value


# ------------------------------------------------------------------ comparisons


def our_ids(subject: Subject, chat: tuple) -> list[int] | None:
    """Our ids, None where the template refuses or fails."""
    try:
        return subject.ours.encode(*chat)
    except BadRecord:
        return None


def their_ids(subject: Subject, chat: tuple) -> list[int] | None:
    """transformers' ids, None where the template refuses or fails."""
    messages, tools = chat
    try:
        ids = subject.theirs.apply_chat_template(messages, tools=tools, return_dict=False)
    except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError):
        return None
    return list(ids)


def segments(ids: list[int], control: dict[int, str]) -> Iterator[list[int]]:
    """The ids between control tokens."""
    segment: list[int] = []
    for token in ids:
        if token in control:
            yield segment
            segment = []
        else:
            segment.append(token)
    yield segment


def only_texts_differ(subject: Subject, chat: tuple) -> bool:
    """Whether our ids of a chat with control strings are transformers', but for these strings.

    Theirs are those of the same chat with a private-use character inside each string.
    """
    # The longest first: one control string may begin another.
    longest_first = sorted(subject.control.values(), key=len, reverse=True)
    strings = re.compile("|".join(map(re.escape, longest_first)))
    # Inside, and not in its place: some templates escape a text that holds a `<`, or wrap it.
    broken = mapped(
        list(chat), lambda text: strings.sub(lambda match: match[0][0] + PLACE + match[0][1:], text)
    )
    ours, theirs = our_ids(subject, chat), their_ids(subject, tuple(broken))
    if ours is None or theirs is None:
        return ours is theirs
    control = subject.control
    if [i for i in ours if i in control] != [i for i in theirs if i in control]:
        return False
    decode = subject.ours.decode
    for mine, their in zip(segments(ours, control), segments(theirs, control), strict=True):
        text = decode(their)
        # Templates print some texts in Python's or in JSON's notation, which escapes the character.
        without = text.replace(PLACE, "").replace(ascii(PLACE)[1:-1], "")
        if without == text and mine != their:
            return False
        if decode(mine).strip() != without.strip():
            return False
    return True


def forged(subject: Subject, chat: tuple) -> bool:
    """Whether a chat has other control ids than the same chat with harmless texts."""
    # Equal texts stay equal and others differ: templates look for the last user's turn by its text.
    harmless: dict[str, str] = {"": ""}
    plain = mapped(list(chat), lambda text: harmless.setdefault(text, f"x{len(harmless)}"))
    theirs, ours = their_ids(subject, tuple(plain)), our_ids(subject, chat)
    if ours is None or theirs is None:
        return ours is not theirs
    return [i for i in ours if i in subject.control] != [i for i in theirs if i in subject.control]


def hostile_words(control: dict[int, str]) -> list[str]:
    """Control strings, their halves, one inside another, and private-use characters."""
    words = list(control.values())
    for text in list(control.values()):
        for n in (1, 2, len(text) // 2, len(text) - 1):
            words += [text[:n], text[-n:]]
        words.append(text[: len(text) // 2] + text + text[len(text) // 2 :])
    return [*words, "\U000f0000", "\U000f0001", "\ue000"]


class Hostile(Fuzz):
    """Conversations of hostile words only."""

    def text(self) -> str:
        """One to four words; never blank, since templates ask whether there is a text."""
        return "x" + "".join(self.rng.choices(self.words, k=self.rng.randint(1, 4)))

    def answer(self) -> dict:
        """A last word of the assistant."""
        return {"role": "assistant", "content": self.text()}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Compare, print the result as one JSON line, and return it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.template_parity",
        description="Token ids of chats: ours against transformers', and what chats can forge.",
    )
    parser.add_argument("--smoke", action="store_true", help="a few chats of each kind")
    parser.add_argument(
        "--templates",
        type=pathlib.Path,
        nargs="+",
        default=[TEMPLATES],
        help="folders of .jinja files",
    )
    parser.add_argument(
        "--tokenizers",
        nargs="*",
        default=[],
        metavar="NAME=FOLDER",
        help="real tokenizers, by what the names of their templates begin with",
    )
    args = parser.parse_args(argv)
    files: list[pathlib.Path] = []
    for folder in args.templates:
        files += sorted(folder.glob("*.jinja"))
    folders = {}
    if QWEN3.is_dir():
        folders["qwen"] = QWEN3
    for entry in args.tokenizers:
        beginning, _, path = entry.partition("=")
        folders[beginning] = pathlib.Path(path)
    chats, hostile = 2_000, 20_000
    if args.smoke:
        # Without real tokenizers, which take seconds to load.
        chats, hostile, folders = 20, 400, {}
    each_hostile = -(-hostile // len(files))

    result: dict[str, Any] = {"benchmark": "template_parity", "templates": len(files)}
    counts = dict.fromkeys(("different", "refused", "control_different", "forged", "hostile"), 0)
    failures, unreadable = {}, {}
    on_real: collections.Counter[str] = collections.Counter()
    for number, file in enumerate(tqdm(files)):
        # Folders of different repositories hold files of one name.
        label = f"{file.parent.name}/{file.stem}"
        real = real_tokenizer(file.stem, folders)
        with tempfile.TemporaryDirectory() as scratch:
            try:
                template = file.read_text(encoding="utf-8")
                tried = subject(file.stem, template, pathlib.Path(scratch, "folder"), real)
            except ValueError as error:
                unreadable[label] = str(error)
                continue
        if real is not None:
            on_real[real.name] += 1
        found = compare(tried, number, chats, each_hostile)
        # A long run that is stopped has said what it saw.
        tqdm.write(json.dumps({label: found}), file=sys.stderr)
        for name in counts:
            counts[name] += found[name]
        bad = {name: n for name, n in found.items() if n and name not in ("refused", "hostile")}
        if bad:
            failures[label] = bad
    result |= {"chats": chats, **counts, "failures": failures, "unreadable": unreadable}
    result["real_tokenizers"] = dict(on_real)
    print(json.dumps(result))
    return result


def compare(tried: Subject, seed: int, chats: int, hostile: int) -> dict[str, int]:
    """The counts of one template."""
    counts = dict.fromkeys(("different", "refused", "control_different", "forged"), 0)
    plain = Fuzz(seed, list(WORDS))
    marked = Fuzz(seed, [*WORDS, *tried.control.values()])
    attacks = Hostile(seed, hostile_words(tried.control))
    for _ in range(chats):
        chat = plain.chat()
        # Words on end may happen to be a control string.
        if tried.ours.control_strings(*chat):
            continue
        theirs = their_ids(tried, chat)
        counts["refused"] += theirs is None
        counts["different"] += our_ids(tried, chat) != theirs
    # Many texts hold none: what lies between two control tokens must be seen to be equal.
    for _ in range(chats):
        counts["control_different"] += not only_texts_differ(tried, marked.chat())
    for _ in range(hostile):
        counts["forged"] += forged(tried, attacks.chat())
    return counts | {"hostile": hostile}


if __name__ == "__main__":
    main()
