"""From messages to token ids: those of the folder's own template and tokenizer.

The ids are what transformers' `apply_chat_template` gives, and with it every engine that serves the
model, except that text inside a message can never become a control token. Control tokens are the
added tokens that the tokenizer marks `special: true`: turn markers, end of text. The others
(`<think>`, `<tool_call>`) are part of what models write, and stay tokens wherever they occur.

 1. every control string inside the messages is broken by a mark, a private-use character that
    occurs nowhere in them;
 2. the template is rendered, and the text split at the control strings that remain: the template's;
 3. the marks are deleted, and each text between is encoded by the same tokenizer, told to read
    control strings as text.

Text of the template and of the messages is merged before it is encoded, so chats without control
strings get the ids that they have everywhere else.
"""

import functools
import itertools
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jinja2
import tokenizers

from rewardjax import fingerprint
from rewardjax.command import errors
from rewardjax.data.groups import UNFORESEEN, BadRecord, Group, Message, costing_one_record
from rewardjax.data.templates import chat_template, tokenizer_folder
from rewardjax.data.templates.chat_template import TemplateRefusal
from rewardjax.data.templates.control_text import Breaker, any_of, texts_of, without_marks
from rewardjax.data.templates.limits import LimitReached
from rewardjax.data.templates.tokenizer_folder import TokenizerFiles

# What conversations become, in the words of the score contract: it changes when ids change.
TOKEN_RULE = (
    "ids of the folder's chat template and tokenizer; control strings (added tokens with special: "
    "true) in messages are text"
)
# A conversation to try a tokenizer with.
PROBE = [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "Two!"}]
PROBE_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "count",
            "description": "Counts.",
            "parameters": {"type": "object", "properties": {"start": {"type": "integer"}}},
        },
    }
]
PROBE_CALL = [
    PROBE[0],
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "type": "function",
                "id": "call00001",
                "function": {"name": "count", "arguments": {"start": 1}},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call00001", "name": "count", "content": "2"},
    PROBE[1],
]
PIECES_KEPT = 1024  # recently encoded texts: the K responses of a group repeat their prompt
# What tokens with lstrip or rstrip swallow: Unicode's White_Space. str.strip() strips more.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)

PAD_FIX = (
    "choose an added token that no chat prints with pad_token= (--config.tokenizer.pad_token of a "
    "run): '<|vision_pad|>' (Qwen), '<|finetune_right_pad_id|>' (Llama 3)"
)
EOS_FIX = (
    "tokenizer_config.json: eos_token is missing, and a model that is saved names it; write it "
    "there, or name the added token that ends a turn with eos_token= (--config.tokenizer.eos_token "
    "of a run): '<|im_end|>' (Qwen), '<|eot_id|>' (Llama 3)"
)
DATE_FIX = (
    "the chat template prints today's date (strftime_now), so scores would change from day to day; "
    "write a fixed date into chat_template.jinja, or pin one with date= "
    "(--config.tokenizer.date=2024-07-26 of a run)"
)


class ChatTokenizer:
    """A Hugging Face tokenizer and its chat template.

    `neutralized` counts the control strings found in message text so far.
    """

    def __init__(self, tokenizer_json: str, config: dict[str, Any], template: str | dict[str, str]):
        """`config` is the content of tokenizer_config.json, `template` may be several by name.

        Raises ValueError, naming the field and the fix, on what cannot be exact.
        """
        if isinstance(template, str):
            template = {"default": template}
        self._files = TokenizerFiles(tokenizer_json, config, template)
        spec = json.loads(tokenizer_json)
        _refuse(spec)
        self.config, self.template, self.neutralized = config, template["default"], 0
        self.special = tokenizer_folder.named_tokens(config)
        if any(map(chat_template.asks_for_the_date, template.values())):
            raise ValueError(DATE_FIX)
        self._render_plain = chat_template.compile_template(self.template)
        # Some folders have a template of its own for conversations with tools.
        self._render_tools = chat_template.compile_template(template.get("tool_use", self.template))

        added = {token["content"]: token for token in spec["added_tokens"]}
        self._controls = {text: token for text, token in added.items() if token["special"]}
        # Tokens that are matched before the text is normalized: of two that overlap, the first and
        # longest is there, be it control or not.
        self._matched = any_of(
            [text for text, token in added.items() if token["special"] or not token["normalized"]],
            "{}",
        )
        self._ordinary = added.keys() - self._controls.keys()
        literals = set().union(*map(chat_template.string_literals, template.values()))
        self._breaker = Breaker(self._controls, (added.keys() | literals) - self._controls.keys())
        full = tokenizers.Tokenizer.from_str(tokenizer_json)
        # Lengths are this package's business: a tokenizer that cuts would cut the end of a
        # response.
        full.no_truncation()
        full.no_padding()
        self._full = full
        self.vocab_size: int = max(full.get_vocab(with_added_tokens=True).values()) + 1
        self.bos_id = self._id("bos_token")
        pad_id = self._id("pad_token")
        self._eos_id = self._id("eos_token")
        if pad_id is None:
            # Scores are read by length, so that nothing depends on what fills the rows.
            pad_id = self._eos_id or 0
        self.pad_id: int = pad_id
        self._encode_first, self._encode_later = _text_encoders(spec)
        self._check_text_is_text()
        try:
            self._probe = self.render(PROBE)
        except BadRecord as error:
            needs = ""
            # One that takes too long would do so again.
            if not isinstance(error.__context__, LimitReached):
                needs = self._what_it_needs()
            raise ValueError(
                f"the chat template fails on a question and an answer: {error.detail}{needs}"
            ) from None
        for message in PROBE:
            if message["content"] not in self._probe:
                raise ValueError(
                    f"the chat template does not print what the {message['role']} says, so that "
                    "different texts would have the same reward; write another into "
                    "chat_template.jinja"
                )
        self._check_exact()
        self._tokenizer_fingerprint = fingerprint.of_json(spec)

    @classmethod
    def load(
        cls,
        folder: str | pathlib.Path,
        pad_token: str | None = None,
        date: str | None = None,
        eos_token: str | None = None,
    ) -> "ChatTokenizer":
        """From a tokenizer folder, all the files of it that transformers reads.

        `pad_token` and `eos_token` replace those stored; `date` (YYYY-MM-DD) is written into a
        template that would print today's.
        """
        try:
            files = tokenizer_folder.read(folder)
            config, templates = files.config, files.templates
            if pad_token is not None:
                config = config | {"pad_token": pad_token}
            if eos_token is not None:
                config = config | {"eos_token": eos_token}
            if date is not None:
                templates = {k: chat_template.pin_date(text, date) for k, text in templates.items()}
            return cls(files.tokenizer_json, config, templates)
        except BaseException as error:
            # What was foreseen says itself what to do. The rest is a file with another shape than
            # any tokenizer's, on which our code fails, or the library.
            is_unforeseen = isinstance(error, (*UNFORESEEN, BadRecord)) or _is_librarys(error)
            if errors.is_mistake(error) or not is_unforeseen:
                raise
            raise ValueError(
                f"{folder}: not a tokenizer that can be read ({type(error).__name__}: "
                f"{error!s:.200}); fetch tokenizer.json and tokenizer_config.json again"
            ) from None

    @property
    def eos_id(self) -> int:
        """The token that ends a text.

        Raises ValueError where the folder names none: no score depends on it, but a model that is
        saved says it.
        """
        if self._eos_id is None:
            raise ValueError(EOS_FIX)
        return self._eos_id

    def save(self, folder: str | pathlib.Path) -> None:
        """Write tokenizer.json and tokenizer_config.json as AutoTokenizer reads them."""
        tokenizer_folder.write(folder, self._files)

    def __reduce__(self):  # for worker processes: compiled templates do not pickle
        return ChatTokenizer, tuple(self._files)

    def fingerprints(self) -> dict[str, str]:
        """What must stay the same for scores to be comparable, one entry per cause."""
        templates: Any = self._files.templates
        text = self.template
        if len(templates) > 1:
            text = json.dumps(templates, sort_keys=True)
        bos = "none"
        if "bos_token" in self.special and self._probe.startswith(self.special["bos_token"]):
            bos = f"one {self.special['bos_token']}"
        return {
            "tokenizer": self._tokenizer_fingerprint,
            "chat_template": fingerprint.of_bytes(text.encode()),
            "bos": bos,
            "eos": self.special.get("eos_token", "none"),
            "pad": self.special.get("pad_token", "none"),
        }

    def render(self, messages: list[Message], tools: list[dict] | None = None) -> str:
        """The conversation as the template prints it, without generation prompt: what is encoded.

        `tools`: schemas of the functions that the conversation may call. Raises BadRecord where the
        template refuses the conversation ("bad_role") or fails on it ("bad_schema").
        """
        rendered, mark, _ = self._render_marked(messages, tools)
        return without_marks(rendered, mark)

    def encode(self, messages: list[Message], tools: list[dict] | None = None) -> list[int]:
        """Token ids of the conversation; control ids come from the template only.

        Raises BadRecord as `render` does.
        """
        rendered, mark, broken = self._render_marked(messages, tools)
        self.neutralized += broken
        ids: list[int] = []
        encode = self._encode_first
        for text, control in self._pieces(rendered, mark):
            if text:
                ids.extend(encode(text))
            if control is not None:
                ids.append(control["id"])
            encode = self._encode_later
        return ids

    def control_strings(self, messages: list[Message], tools: list[dict] | None = None) -> int:
        """How many control strings the texts of a conversation hold: each is made text."""
        return self._breaker.count([messages, tools])

    def first_control_string(self, group: Group) -> str | None:
        """The first control string of a group with the text around it, for people to find it."""
        return self._breaker.first([group.prompt, group.responses, group.tools])

    def ordinary_tokens(self, messages: list[Message]) -> int:
        """How many added tokens that are not control tokens a conversation's texts hold."""
        count = 0
        for text in texts_of(messages):
            count += sum(text.count(token) for token in self._ordinary)
        return count

    def unprinted(self, group: Group) -> list[str]:
        """Which of "tools" and "tool_calls" a group has that the template leaves out of the text.

        Nothing fails there, in transformers neither: the model just never sees them.
        """
        messages = itertools.chain(group.prompt, *group.responses)
        present = {
            "tools": group.tools is not None,
            "tool_calls": any("tool_calls" in message for message in messages),
        }
        return [field for field in self._never_printed if present[field]]

    @functools.cached_property
    def _never_printed(self) -> list[str]:
        """Which of "tools" and "tool_calls" change nothing in what the template prints."""
        without_call = [PROBE_CALL[0], {**PROBE_CALL[1], "tool_calls": None}, *PROBE_CALL[2:]]
        twins = {
            "tools": ((PROBE, PROBE_TOOLS), (PROBE, None)),
            "tool_calls": ((PROBE_CALL, PROBE_TOOLS), (without_call, PROBE_TOOLS)),
        }
        never = []
        for field, (with_field, without) in twins.items():
            try:
                if self.render(*with_field) == self.render(*without):
                    never.append(field)
            except BadRecord:
                # It looks at the field; what it cannot print is refused record by record.
                continue
        return never

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, control tokens included: for people to read."""
        return self._full.decode(list(ids), skip_special_tokens=False)

    def pieces_of(self, ids: Sequence[int]) -> list[tuple[str, str]]:
        """The texts between the control tokens of a conversation, each with the one before it.

        The first text has "" before it. For people to read: control tokens that were text are text.
        """
        control_texts = {token["id"]: text for text, token in self._controls.items()}
        pieces: list[tuple[str, list[int]]] = [("", [])]
        for token_id in map(int, ids):
            if token_id in control_texts:
                pieces.append((control_texts[token_id], []))
            else:
                pieces[-1][1].append(token_id)
        return [(control, self.decode(of_text)) for control, of_text in pieces]

    def check_pad(self) -> None:
        """Raise ValueError where pad or EOS token would not do for a model to be saved.

        Scoring needs neither.
        """
        pad = self.special.get("pad_token")
        if pad is None:
            raise ValueError(f"tokenizer_config.json: pad_token is missing; {PAD_FIX}")
        if self.pad_id == self.eos_id:
            raise ValueError(
                f"tokenizer_config.json: pad_token = eos_token = {pad!r}: a server that looks for "
                f"the last token that is not padding would read the score at the wrong place; "
                f"{PAD_FIX}"
            )
        if pad in self._probe:
            raise ValueError(
                f"tokenizer_config.json: pad_token = {pad!r} is printed by the chat template; "
                f"{PAD_FIX}"
            )

    def _what_it_needs(self) -> str:
        """Why the template fails on plain messages, if it is of a kind that cannot print any."""
        in_parts = [
            {**message, "content": [{"type": "text", "text": message["content"]}]}
            for message in PROBE
        ]
        kinds = (
            (PROBE, PROBE_TOOLS, "prints only conversations with tools; call it tool_use"),
            (
                in_parts,
                None,
                "reads contents as lists of parts, as processors of images write them",
            ),
        )
        for messages, tools, kind in kinds:
            try:
                self.render(messages, tools)
            except BadRecord:
                continue
            return f"; it {kind}, and add the model's template for plain messages as default"
        return ""

    def _render_marked(
        self, messages: list[Message], tools: list[dict] | None
    ) -> tuple[str, str, int]:
        """What the template prints, the mark that breaks control strings, and their number."""
        with costing_one_record("the messages cannot be read"):
            (messages, tools), mark, broken = self._breaker([messages, tools])
            as_read = [chat_template.as_template_reads(message) for message in messages]
        render = self._render_plain
        if tools is not None:
            render = self._render_tools
        try:
            rendered = render(
                messages=as_read,
                tools=tools,
                documents=None,
                add_generation_prompt=False,
                **self.special,
            )
        except TemplateRefusal as refusal:
            raise BadRecord("bad_role", f"the chat template says: {refusal}") from None
        # It is somebody else's code, and may do anything: miss a field, or find it of another type,
        # divide by zero, call itself for ever, do what the sandbox or a limit forbids.
        except (jinja2.TemplateError, MemoryError, *UNFORESEEN) as error:
            reason = str(error) or type(error).__name__
            raise BadRecord("bad_schema", f"the chat template fails: {reason:.300}") from None
        return rendered, mark, broken

    def _pieces(self, rendered: str, mark: str) -> Iterator[tuple[str, dict[str, Any] | None]]:
        """(text, the control token behind it); the last text has none."""
        start, strip_left = 0, False
        for match in self._matched.finditer(rendered):
            control = self._controls.get(match[0])
            if control is None:
                continue
            text = without_marks(rendered[start : match.start()], mark)
            yield _strip(text, strip_left, control), control
            start, strip_left = match.end(), control["rstrip"]
        yield _strip(without_marks(rendered[start:], mark), strip_left, None), None

    def _id(self, name: str) -> int | None:
        """The id of the token that the folder names so, None where it names none."""
        text = self.special.get(name)
        if text is None:
            return None
        for token in json.loads(self._files.tokenizer_json)["added_tokens"]:
            if token["content"] == text:
                return token["id"]
        raise ValueError(
            f"tokenizer_config.json: {name} = {text!r} is not an added token of tokenizer.json"
        )

    def _check_text_is_text(self) -> None:
        # Some models hold control strings in their ordinary vocabulary too, where they are text
        # that becomes a control token.
        control_ids = {token["id"] for token in self._controls.values()}
        # What a tokenizer makes of characters that it does not know is no control token.
        control_ids.discard(self._id("unk_token"))
        for text in self._controls:
            if not control_ids.isdisjoint(self._encode_later(text)):
                raise ValueError(
                    f"tokenizer.json: the text {text!r} still becomes a control token when control "
                    "strings are read as text"
                )

    def _check_exact(self) -> None:
        # The last line of defense against a tokenizer feature that `_refuse` does not know.
        expected = self._full.encode(self._probe, add_special_tokens=False).ids
        if self.encode(PROBE) != expected:
            raise ValueError(
                "tokenizer.json: text between control tokens is encoded differently on its own; "
                "not supported"
            )


def _strip(text: str, left: bool, control: dict[str, Any] | None) -> str:
    """A text without the white space that the control tokens beside it swallow."""
    if left:
        text = text.lstrip(WHITE_SPACE)
    if control is not None and control["lstrip"]:
        text = text.rstrip(WHITE_SPACE)
    return text


def _refuse(spec: dict[str, Any]) -> None:
    """Raise ValueError on what would make harmless text tokenize differently than usual."""
    if (spec["model"].get("dropout") or 0) > 0:
        raise ValueError(
            f"tokenizer.json: model.dropout = {spec['model']['dropout']} makes ids random; "
            "set it to null"
        )
    normalizer = None
    if spec.get("normalizer"):
        normalizer = tokenizers.Tokenizer.from_str(json.dumps(spec)).normalizer
    for token in spec["added_tokens"]:
        # Only control tokens are looked for here; all others the tokenizer finds itself.
        if not token["special"]:
            continue
        text = token["content"]
        if token["single_word"]:
            raise ValueError(
                f"tokenizer.json: added token {text!r} has single_word = true, so the text around "
                "it matters; set it to false"
            )
        if token["normalized"] and normalizer and normalizer.normalize_str(text) != text:
            raise ValueError(
                f"tokenizer.json: added token {text!r} has normalized = true and there is a "
                "normalizer that changes it; set it to false"
            )
        if len(text) < 2 or not text.strip():
            raise ValueError(
                f"tokenizer.json: control token {text!r} is ordinary text (one character, or "
                "white space); not supported"
            )


def _is_librarys(error: BaseException) -> bool:
    """Whether tokenizers raised it: a plain Exception, or a panic of its Rust code."""
    # The panic is not even an Exception, and its type cannot be imported.
    return type(error) is Exception or type(error).__name__ == "PanicException"


TextEncoder = Callable[[str], tuple[int, ...]]


def _text_encoders(spec: dict[str, Any]) -> tuple[TextEncoder, TextEncoder]:
    """The tokenizer under which control strings are text: at the start of a chat, and later on."""
    first = _text_encoder(spec)
    pre_tokenizer = json.dumps(spec.get("pre_tokenizer"))
    later = pre_tokenizer.replace('"prepend_scheme": "first"', '"prepend_scheme": "never"')
    if later == pre_tokenizer:
        return first, first
    # This one sets a space before a text by its place in the chat, which a piece does not know.
    return first, _text_encoder({**spec, "pre_tokenizer": json.loads(later)})


def _text_encoder(spec: dict[str, Any]) -> TextEncoder:
    text_only = {**spec, "post_processor": None, "truncation": None, "padding": None}
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(text_only))
    tokenizer.encode_special_tokens = True

    @functools.lru_cache(PIECES_KEPT)
    def encode_text(text: str) -> tuple[int, ...]:
        try:
            # The one that keeps no offsets of characters, which nothing here reads.
            (encoding,) = tokenizer.encode_batch_fast([text], add_special_tokens=False)
        except BaseException as error:
            # A text on which it gives up costs its record.
            if not _is_librarys(error):
                raise
            detail = f"the tokenizer fails on {text!r:.60}: {error!s:.200}"
            raise BadRecord("bad_text", detail) from None
        return tuple(encoding.ids)

    return encode_text
