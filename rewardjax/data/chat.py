"""From messages to token ids, so that text inside a message can never become a control token.

A control token is an entry of the tokenizer's added-token table: <|im_end|>, <think>, ... Ordinary
tokenization looks for those strings in the rendered text, wherever they came from. Here they come
from the template alone:

 1. every control string inside the messages is broken by a mark, a private-use character that
    occurs nowhere in them;
 2. the template is rendered, and the text split at the control strings that remain: the template's;
 3. the marks are deleted, and each text between is encoded by the same tokenizer with an empty
    added-token table.

Text of the template and of the messages is merged before it is encoded, so harmless chats get the
ids they always had.
"""

import functools
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox
import tokenizers

from rewardjax import fingerprint
from rewardjax.data.control_text import Breaker, any_of
from rewardjax.data.groups import BadRecord, Message

# A conversation to try a tokenizer with.
PROBE = [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "Two!"}]
SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")  # what a template may print
PIECES_KEPT = 1024  # recently encoded texts: the K responses of a group repeat their prompt

PAD_FIX = (
    "choose an added token that no chat prints with pad_token=: '<|vision_pad|>' (Qwen), "
    "'<|finetune_right_pad_id|>' (Llama 3)"
)


class ChatTokenizer:
    """A Hugging Face tokenizer and its chat template.

    `neutralized` counts the control strings found in message text so far.
    """

    def __init__(self, tokenizer_json: str, config: dict[str, Any], template: str):
        """`config` is the content of tokenizer_config.json.

        Raises ValueError, naming the field and the fix, on what cannot be exact.
        """
        self._source = (tokenizer_json, config, template)
        spec = json.loads(tokenizer_json)
        _refuse(spec)
        self.config, self.template, self.neutralized = config, template, 0
        self.special: dict[str, str] = {}
        for name in SPECIAL:
            text = _token_text(config.get(name))
            if text:
                self.special[name] = text
        self._render = compile_template(template)
        self._controls = {token["content"]: token["id"] for token in spec["added_tokens"]}
        self._control_ids = frozenset(self._controls.values())
        self._split = any_of(self._controls, "({})").split
        self._breaker = Breaker(self._controls)
        full = tokenizers.Tokenizer.from_str(tokenizer_json)
        # Lengths are this package's business: a tokenizer that cuts would cut the end of a
        # response.
        full.no_truncation()
        full.no_padding()
        self._full = full
        self.vocab_size: int = max(full.get_vocab(with_added_tokens=True).values()) + 1
        self.bos_id = None
        if "bos_token" in self.special:
            self.bos_id = self._id("bos_token")
        self.eos_id, self.pad_id = self._id("eos_token"), self._id("pad_token")
        self._encode_text = _text_encoder(spec)
        self._check_text_is_text()
        rendered = self.render(PROBE)
        # Either the template prints it or the tokenizer puts it there; where both do, transformers
        # gives two, and a score would depend on which of its functions was called.
        self.adds_bos = self.bos_id is not None and (
            rendered.startswith(self.special["bos_token"]) or _adds_bos(full, self.bos_id)
        )
        self._check_pad(rendered)
        self._check_exact(full, rendered)
        self._tokenizer_fingerprint = fingerprint.of_json(spec)

    @classmethod
    def load(cls, folder: str | pathlib.Path, pad_token: str | None = None) -> "ChatTokenizer":
        """From tokenizer.json, tokenizer_config.json and, where it exists, chat_template.jinja.

        `pad_token` replaces the one stored.
        """
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
        """Write tokenizer.json and tokenizer_config.json as AutoTokenizer reads them."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer_json, config, template = self._source
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **config, "chat_template": template}
        (folder / "tokenizer.json").write_text(tokenizer_json, encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(
            json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        # A stale one would win over the config's.
        (folder / "chat_template.jinja").unlink(missing_ok=True)

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
        """The conversation as the template prints it, without generation prompt.

        Control strings in the messages are left as they are, so that a template which looks for
        them (Qwen3 does, for </think>) may print other text than `encode` tokenizes. Raises
        BadRecord("bad_role") where the template refuses the conversation.
        """
        # Templates ask whether a field is defined, and to jinja a field that is None is.
        messages = [_without_none(message) for message in messages]
        try:
            return self._render(
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=False,
                **self.special,
            )
        except TemplateRefusal as refusal:
            raise BadRecord("bad_role", f"the chat template says: {refusal}") from None
        except jinja2.UndefinedError as error:
            if "strftime_now" not in str(error):
                raise
            raise ValueError(
                "the chat template prints today's date (strftime_now), so scores would change from "
                "day to day; write a fixed date into chat_template.jinja"
            ) from None

    def encode(self, messages: list[Message]) -> list[int]:
        """Token ids of the conversation.

        Control ids come from the template only, and one BOS where the template or the tokenizer
        has one.
        """
        messages, mark, broken = self._breaker(messages)
        self.neutralized += broken
        rendered = self.render(messages)
        ids: list[int] = []
        if self.adds_bos:
            rendered = self._without_bos(rendered)
            ids.append(self._id("bos_token"))
        for i, piece in enumerate(self._split(rendered)):
            # A pattern with one group splits into text, control string, text, control string, ...,
            # text.
            if i % 2:
                ids.append(self._controls[piece])
                continue
            if mark:
                piece = piece.replace(mark, "")
            if piece:
                ids.extend(self._encode_text(piece))
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
            fix = "name the added token that stands there"
            if name == "pad_token":
                fix = PAD_FIX
            raise ValueError(f"tokenizer_config.json: {name} is missing; {fix}")
        if text not in self._controls:
            raise ValueError(
                f"tokenizer_config.json: {name} = {text!r} is not an added token of tokenizer.json"
            )
        return self._controls[text]

    def _check_pad(self, rendered: str) -> None:
        if self.pad_id == self.eos_id:
            raise ValueError(
                f"tokenizer_config.json: pad_token = eos_token = {self.special['pad_token']!r}: a "
                "server that looks for the last token that is not padding would read the score at "
                f"the wrong place; {PAD_FIX}"
            )
        if self.special["pad_token"] in rendered:
            raise ValueError(
                f"tokenizer_config.json: pad_token = {self.special['pad_token']!r} is printed by "
                f"the chat template; {PAD_FIX}"
            )

    def _check_text_is_text(self) -> None:
        # Some models hold control strings in their ordinary vocabulary too, where an empty
        # added-token table does not hide them.
        for text in self._controls:
            if not self._control_ids.isdisjoint(self._encode_text(text)):
                raise ValueError(
                    f"tokenizer.json: the text {text!r} still becomes a control token with an "
                    "empty added-token table"
                )

    def _check_exact(self, full: tokenizers.Tokenizer, rendered: str) -> None:
        # The last line of defense against a tokenizer feature that `_refuse` does not know.
        if self.adds_bos:
            rendered = self._without_bos(rendered)
        expected = full.encode(rendered, add_special_tokens=False).ids
        if self.encode(PROBE)[int(self.adds_bos) :] != expected:
            raise ValueError(
                "tokenizer.json: text between control tokens is encoded differently on its own; "
                "not supported"
            )


class TemplateRefusal(jinja2.TemplateError):
    """The template called raise_exception."""


class GenerationTag(jinja2.ext.Extension):
    """`{% generation %}` marks what the assistant wrote; here it prints its body."""

    tags = {"generation"}

    def parse(self, parser):
        """Replace the tag by the nodes of its body."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@functools.lru_cache(maxsize=32)
def compile_template(template: str) -> Callable[..., str]:
    """A chat template's render function, in a sandbox with transformers' options.

    Unlike there, a template cannot ask for the date.
    """

    def refuse(message):
        raise TemplateRefusal(message)

    # transformers' own: jinja's filter of this name escapes what HTML would, which changes token
    # ids.
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
            f"{folder}: no chat template in chat_template.jinja or in tokenizer_config.json "
            "(field chat_template)"
        )
    return template


def _refuse(spec: dict[str, Any]) -> None:
    """Raise ValueError on what would make harmless text tokenize differently than usual."""
    if (spec["model"].get("dropout") or 0) > 0:
        raise ValueError(
            f"tokenizer.json: model.dropout = {spec['model']['dropout']} makes ids random; "
            "set it to null"
        )
    if '"prepend_scheme": "first"' in json.dumps(spec.get("pre_tokenizer")):
        raise ValueError(
            "tokenizer.json: pre_tokenizer.prepend_scheme = 'first' encodes a text by its place in "
            "the string; not supported"
        )
    for token in spec["added_tokens"]:
        text = token["content"]
        for flag in ("lstrip", "rstrip", "single_word"):
            if token[flag]:
                raise ValueError(
                    f"tokenizer.json: added token {text!r} has {flag} = true, so the text around "
                    "it matters; set it to false"
                )
        if token["normalized"] and spec.get("normalizer"):
            raise ValueError(
                f"tokenizer.json: added token {text!r} has normalized = true and there is a "
                "normalizer; set it to false"
            )
        if len(text) < 2 or not text.strip():
            raise ValueError(
                f"tokenizer.json: added token {text!r} is ordinary text (one character, or "
                "whitespace); not supported"
            )


def _text_encoder(spec: dict[str, Any]) -> Callable[[str], tuple[int, ...]]:
    """The tokenizer without its added tokens, under which no text can be control."""
    bare = {**spec, "added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(bare))

    @functools.lru_cache(PIECES_KEPT)
    def encode_text(text: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(text, add_special_tokens=False).ids)

    return encode_text


def _adds_bos(full: tokenizers.Tokenizer, bos_id: int) -> bool:
    return full.encode("x", add_special_tokens=True).ids[0] == bos_id


def _token_text(token: str | dict[str, Any] | None) -> str | None:
    # Older files write a token out as a dict with its flags.
    if isinstance(token, dict):
        return token["content"]
    return token


def _without_none(message: Message) -> Message:
    return {key: value for key, value in message.items() if value is not None}
