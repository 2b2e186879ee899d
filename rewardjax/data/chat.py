"""From messages to token ids, so that text inside a message can never become a control token.

A control token is an entry of the tokenizer's added-token table: <|im_end|>, <think>, ... Ordinary tokenization looks for those
strings in the rendered text, wherever they came from. Here they come from the template alone:

 1. every control string inside the messages is broken by a mark, a private-use character that occurs nowhere in them;
 2. the template is rendered, and the text split at the control strings that are left, which are the template's own;
 3. the marks are deleted, and each text between is encoded by the same tokenizer with an empty added-token table.

Text of the template and of the messages is merged before it is encoded, so harmless chats get the ids they always had.
"""

import functools
import json
import pathlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox
import tokenizers

from rewardjax import fingerprint
from rewardjax.data.groups import BadRow, Message

PROBE = [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "Two!"}]
PRIVATE_USE = (range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))
SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")  # what a template may print
PIECES_KEPT = 1024  # recently encoded texts: the K responses of a group repeat their prompt


PAD_FIX = "choose an added token that no chat prints with pad_token=: '<|vision_pad|>' (Qwen), '<|finetune_right_pad_id|>' (Llama 3)"


class ChatTokenizer:
    """A Hugging Face tokenizer and its chat template. `neutralized` counts the control strings found in message text so far."""

    def __init__(self, tokenizer_json: str, config: dict[str, Any], template: str):
        """`config` is the content of tokenizer_config.json. Raises ValueError, naming the field and the fix, on what cannot be exact."""
        self._source = (tokenizer_json, config, template)
        spec = json.loads(tokenizer_json)
        _refuse(spec)
        self.config, self.template, self.neutralized = config, template, 0
        self.special = {name: text for name in SPECIAL if (text := _token_text(config.get(name)))}
        self._render = compile_template(template)
        self._controls = {token["content"]: token["id"] for token in spec["added_tokens"]}
        self._control_ids = frozenset(self._controls.values())
        self._split = _any_of(self._controls, "({})").split
        self._breaker = Breaker(self._controls)
        full = tokenizers.Tokenizer.from_str(tokenizer_json)
        full.no_truncation()
        full.no_padding()
        self._full = full
        self.vocab_size: int = max(full.get_vocab(with_added_tokens=True).values()) + 1
        self.bos_id = self._id("bos_token") if "bos_token" in self.special else None
        self.eos_id, self.pad_id = self._id("eos_token"), self._id("pad_token")
        self._encode_text = _text_encoder(spec)
        self._check_text_is_text()
        rendered = self.render(PROBE)
        self.adds_bos = bool(
            self.bos_id is not None
            and (rendered.startswith(self.special["bos_token"]) or _adds_bos(full, self.bos_id))
        )
        self._check_pad(rendered)
        self._check_exact(full, rendered)
        self._tokenizer_fingerprint = fingerprint.of_json(spec)

    @classmethod
    def load(cls, folder: str | pathlib.Path, pad_token: str | None = None) -> "ChatTokenizer":
        """From tokenizer.json, tokenizer_config.json and, where it exists, chat_template.jinja; `pad_token` replaces the one stored."""
        folder = pathlib.Path(folder)
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        if pad_token is not None:
            config["pad_token"] = pad_token
        return cls(
            (folder / "tokenizer.json").read_text(encoding="utf-8"),
            config,
            _read_template(folder, config),
        )

    def save(self, folder: str | pathlib.Path) -> None:
        """Writes tokenizer.json and tokenizer_config.json as transformers' AutoTokenizer reads them."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer_json, config, template = self._source
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **config, "chat_template": template}
        (folder / "tokenizer.json").write_text(tokenizer_json, encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(
            json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        (folder / "chat_template.jinja").unlink(
            missing_ok=True
        )  # a stale one would win over the config's

    def __reduce__(self):  # for worker processes: compiled templates do not pickle
        return ChatTokenizer, self._source

    def fingerprints(self) -> dict[str, str]:
        """What must stay the same for scores to be comparable, one entry per cause."""
        return {
            "tokenizer": self._tokenizer_fingerprint,
            "chat_template": fingerprint.of_bytes(self.template.encode()),
            "bos": f"one {self.special['bos_token']}" if self.adds_bos else "none",
            "eos": self.special.get("eos_token", "none"),
            "pad": self.special["pad_token"],
        }

    def render(self, messages: list[Message]) -> str:
        """The conversation as the template prints it, without generation prompt. Control strings in the messages are left as they are,
        so that a template which looks for them (Qwen3 does, for </think>) may print other text than `encode` tokenizes.

        Raises BadRow("bad_role") where the template refuses the conversation.
        """
        messages = [
            {key: value for key, value in message.items() if value is not None}
            for message in messages
        ]
        try:
            return self._render(
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=False,
                **self.special,
            )
        except TemplateRefusal as refusal:
            raise BadRow("bad_role", f"the chat template says: {refusal}") from None
        except jinja2.UndefinedError as error:
            if "strftime_now" not in str(error):
                raise
            raise ValueError(
                "the chat template prints today's date (strftime_now), so scores would change from day to day; "
                "write a fixed date into chat_template.jinja"
            ) from None

    def encode(self, messages: list[Message]) -> list[int]:
        """Token ids of the conversation: control ids from the template only, and one BOS where the template or the tokenizer has one."""
        messages, mark, found = self._breaker(messages)
        self.neutralized += found
        rendered = self.render(messages)
        ids: list[int] = []
        if self.adds_bos:
            rendered = self._without_bos(rendered)
            ids.append(self._id("bos_token"))
        for i, piece in enumerate(self._split(rendered)):
            if i % 2:
                ids.append(self._controls[piece])
            elif piece:
                ids.extend(self._encode_text(piece.replace(mark, "") if mark else piece))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, control tokens included: for people to read."""
        return self._full.decode(list(ids), skip_special_tokens=False)

    def _without_bos(self, rendered: str) -> str:
        bos = self.special["bos_token"]
        while rendered.startswith(bos):
            rendered = rendered[len(bos) :]
        return rendered

    def _id(self, name: str) -> int:
        text = self.special.get(name)
        if text is None:
            fix = PAD_FIX if name == "pad_token" else "name the added token that stands there"
            raise ValueError(f"tokenizer_config.json: {name} is missing; {fix}")
        if text not in self._controls:
            raise ValueError(
                f"tokenizer_config.json: {name} = {text!r} is not an added token of tokenizer.json"
            )
        return self._controls[text]

    def _check_pad(self, rendered: str) -> None:
        if self.pad_id == self.eos_id:
            raise ValueError(
                f"tokenizer_config.json: pad_token = eos_token = {self.special['pad_token']!r}: whoever looks for the last token "
                f"that is not padding would read the score at the wrong place; {PAD_FIX}"
            )
        if self.special["pad_token"] in rendered:
            raise ValueError(
                f"tokenizer_config.json: pad_token = {self.special['pad_token']!r} is printed by the chat template; {PAD_FIX}"
            )

    def _check_text_is_text(self) -> None:
        """Some models hold control strings in their ordinary vocabulary too, where an empty added-token table does not hide them."""
        for text in self._controls:
            if not self._control_ids.isdisjoint(self._encode_text(text)):
                raise ValueError(
                    f"tokenizer.json: the text {text!r} still becomes a control token with an empty added-token table"
                )

    def _check_exact(self, full: tokenizers.Tokenizer, rendered: str) -> None:
        """The last line of defence against a tokenizer feature that `_refuse` does not know."""
        expected = full.encode(
            self._without_bos(rendered) if self.adds_bos else rendered, add_special_tokens=False
        ).ids
        if self.encode(PROBE)[int(self.adds_bos) :] != expected:
            raise ValueError(
                "tokenizer.json: text between control tokens is encoded differently on its own; not supported"
            )


class Breaker:
    """Breaks every control string inside a conversation: breaker(messages) -> (messages, mark or "", number broken).

    A mark goes behind the first character of every occurrence, so that overlapping ones break too. A beginning of a control
    string at the end of a text, or an end at its start, is broken as well: the template might print its other half.
    """

    def __init__(self, controls: Collection[str]):
        self._occurrence = _any_of(controls, "(?={})")
        self._edges = tuple({text[0] for text in controls} | {text[-1] for text in controls})
        self._beginnings = {text[:n] for text in controls for n in range(1, len(text))}
        self._ends = {text[-n:] for text in controls for n in range(1, len(text))}
        self._longest = max(map(len, controls), default=0)

    def __call__(self, messages: list[Message]) -> tuple[list[Message], str, int]:
        if not any(self._suspicious(text) for text in _texts(messages)):
            return messages, "", 0
        mark = _unused_character(messages)
        found = sum(len(self._occurrence.findall(text)) for text in _texts(messages))
        return _map_texts(lambda text: self._break(text, mark), messages), mark, found

    def _suspicious(self, text: str) -> bool:
        return any(character in text for character in self._edges)

    def _break(self, text: str, mark: str) -> str:
        start, end = len(text) - len(text.lstrip()), len(text.rstrip())  # templates trim
        cuts = {match.start() + 1 for match in self._occurrence.finditer(text)}
        cuts |= {
            i + 1
            for i in range(max(0, end - self._longest), end)
            if text[i:end] in self._beginnings
        }
        cuts |= {
            i
            for i in range(start, min(end, start + self._longest))
            if text[start : i + 1] in self._ends
        }
        bounds = [0, *sorted(cuts), len(text)]
        return (
            mark.join(text[i:j] for i, j in zip(bounds, bounds[1:], strict=False)) if cuts else text
        )


class TemplateRefusal(jinja2.TemplateError):
    """The template called raise_exception."""


class GenerationTag(jinja2.ext.Extension):
    """{% generation %} marks what the assistant wrote; here it prints its body."""

    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@functools.lru_cache(maxsize=32)
def compile_template(template: str) -> Callable[..., str]:
    """A chat template's render function, in a sandbox with transformers' options, except that it cannot ask for the date."""

    def refuse(message):
        raise TemplateRefusal(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = refuse
    return environment.from_string(template).render


def _read_template(folder: pathlib.Path, config: dict[str, Any]) -> str:
    file = folder / "chat_template.jinja"
    if file.exists():
        return file.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):  # several named templates
        template = {entry["name"]: entry["template"] for entry in template}.get("default")
    if not template:
        raise ValueError(
            f"{folder}: no chat template in chat_template.jinja or in tokenizer_config.json (field chat_template)"
        )
    return template


def _refuse(spec: dict[str, Any]) -> None:
    """Raises ValueError on what would make structural and ordinary tokenization differ on harmless text."""
    if (spec["model"].get("dropout") or 0) > 0:
        raise ValueError(
            f"tokenizer.json: model.dropout = {spec['model']['dropout']} makes ids random; set it to null"
        )
    if '"prepend_scheme": "first"' in json.dumps(spec.get("pre_tokenizer")):
        raise ValueError(
            "tokenizer.json: pre_tokenizer.prepend_scheme = 'first' encodes a text by its place in the string; not supported"
        )
    for token in spec["added_tokens"]:
        text = token["content"]
        for flag in ("lstrip", "rstrip", "single_word"):
            if token[flag]:
                raise ValueError(
                    f"tokenizer.json: added token {text!r} has {flag} = true, so the text around it matters; set it to false"
                )
        if token["normalized"] and spec.get("normalizer"):
            raise ValueError(
                f"tokenizer.json: added token {text!r} has normalized = true and there is a normalizer; set it to false"
            )
        if len(text) < 2 or not text.strip():
            raise ValueError(
                f"tokenizer.json: added token {text!r} is ordinary text (one character, or whitespace); not supported"
            )


def _text_encoder(spec: dict[str, Any]) -> Callable[[str], tuple[int, ...]]:
    bare = {**spec, "added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(bare))
    return functools.lru_cache(PIECES_KEPT)(
        lambda text: tuple(tokenizer.encode(text, add_special_tokens=False).ids)
    )


def _adds_bos(full: tokenizers.Tokenizer, bos_id: int) -> bool:
    return full.encode("x", add_special_tokens=True).ids[0] == bos_id


def _token_text(token: str | dict[str, Any] | None) -> str | None:
    return token["content"] if isinstance(token, dict) else token


def _any_of(texts: Collection[str], form: str) -> re.Pattern:
    """A pattern that matches any of `texts`, the longest at a place first, put into `form` at {}; matches nothing when there are none."""
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile(form.format("|".join(map(re.escape, longest_first)) or r"(?!)"), re.DOTALL)


def _texts(value: Any) -> Iterator[str]:
    """Every string inside a JSON value, keys included: templates print the arguments of tool calls."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _map_texts(change: Callable[[str], str], value: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {
            change(key) if isinstance(key, str) else key: _map_texts(change, item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_map_texts(change, item) for item in value]
    return value


def _unused_character(messages: list[Message]) -> str:
    used = set().union(*_texts(messages))
    return next(chr(code) for block in PRIVATE_USE for code in block if chr(code) not in used)
