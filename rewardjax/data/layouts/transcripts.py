"""Conversations that are stored inside one text: transcripts and JSON, or a chat template's output.

The first two become messages. The last is refused: the template that wrote it is not known, and
rendered once more its turn markers would be read as words.
"""

import re
from typing import Any

from rewardjax.data.groups import BadRecord, Message
from rewardjax.data.json_text import literal

SPEAKERS = {"Human": "user", "Assistant": "assistant"}
# A turn begins a paragraph: a line alone may be part of what somebody says.
TURN = re.compile(r"(?:\A|\n\n)(Human|Assistant):")
# A turn that ends with the next speaker's name was cut short: its other turns stand in one line.
LEFT_OVER = re.compile(r"^(?:Human|Assistant):|\bAssistant:\s*\Z", re.MULTILINE)
LABEL = re.compile(r"\s*Assistant:[^\S\n]*")
# Turns under other names (OASST pairs, Vicuna, Alpaca): with which white space they begin differs
# from one data set to the next. What a person asks does not end with who is to answer.
OTHER_SPEAKERS = re.compile(
    r"\A\s*(?:prompter:|### (?:human|user):|user:(?=.*^\s*assistant:))"
    r"|(?:\bassistant:|### ?response:)\s*\Z",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)
# What templates print before the first turn. Only at the start of a text: further in it may be
# quoted, by an answer about prompt formats for one.
RENDERED = re.compile(
    r"\s*(?:<s>|<bos>|<\|begin_of_text\|>|<\|begin_of_sentence\|>|<｜begin▁of▁sentence｜>)?\s*"
    r"(?:<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>|\[INST\]|<<SYS>>|\[gMASK\]|"
    r"<\|(?i:system|user|assistant|prompter|start_of_role|start_of_turn_token)\|>|"
    r"<｜(?:User|Assistant)｜>|<human>:)"
)
# What only stands at the end of a text that a model was to continue.
CUE = re.compile(
    r"(?:<\|im_start\|>assistant|<\|end_header_id\|>|<\|(?i:assistant|bot)\|>|"
    r"<start_of_turn>model|<｜Assistant｜>|<(?:bot|assistant)>:?|\n\n(?:A|AI|Bot):)\s*\Z"
)
# What templates print behind a turn.
END = re.compile(
    r"(?:</s>|<\|im_end\|>|<\|eot_id\|>|<\|end_of_text\|>|<\|endoftext\|>|<eos>|<end_of_turn>|"
    r"<\|end\|>|<\|eom_id\|>|<\|return\|>|<\|END_OF_TURN_TOKEN\|>|<｜end▁of▁sentence｜>)\s*\Z"
)
SPEAKER_LABEL = re.compile(r"\s*(?:### ?)?(?:Assistant|ASSISTANT|<bot>) ?:")
MESSAGE_KEYS = ({"role", "content"}, {"from", "value"})
# Who speaks in messages, under any name.
NAMES = (
    *("system", "user", "human", "prompter", "assistant", "gpt", "chatgpt", "bot", "model", "ai"),
    *("tool", "observation", "tool_response", "tool_call", "function", "function_call"),
    *("developer", "ipython"),
)
BEGINS_LIKE_MESSAGES = re.compile(
    rf"""\s*\[\s*\{{\s*['"](?:role|from)['"]\s*:\s*['"](?:{"|".join(NAMES)})['"]"""
)


def is_transcript(text: str) -> bool:
    """Whether a text begins with a person's turn, whatever white space stands before it."""
    return text.lstrip().startswith("Human:")


def read_transcript(text: str, where: str) -> list[Message]:
    r"""Messages of a transcript with "Human:" and "Assistant:" paragraphs, trimmed.

    CRLF line ends, and white space before the first turn, make no difference. Raises
    BadRecord("bad_schema") where a turn holds such a line still: another turn, or a quoted one.
    """
    text = text.replace("\r\n", "\n").strip()
    parts = TURN.split(text)[1:]
    messages = []
    for speaker, turn in zip(parts[::2], parts[1::2], strict=True):
        if LEFT_OVER.search(turn):
            raise BadRecord(
                "bad_schema",
                f"{where}: a turn holds a line that begins with Human: or Assistant:, so where "
                "turns begin is not certain",
            )
        messages.append({"role": SPEAKERS[speaker], "content": _trimmed(turn)})
    return messages


def _trimmed(turn: str) -> str:
    """What a turn says, without the white space between it and the names; code stays indented."""
    lines = turn.rstrip().split("\n")
    if lines[0].strip():
        return turn.strip()
    while lines and not lines[0].strip():
        lines.pop(0)
    return "\n".join(lines)


def without_label(text: str) -> str:
    """What follows a transcript, without the label of the turn that it is."""
    match = LABEL.match(text)
    if match is None:
        return text
    return text[match.end() :]


def refuse_other_speakers(text: str, where: str) -> None:
    """Raise BadRecord("bad_schema") for a transcript whose turns have other names."""
    if match := OTHER_SPEAKERS.search(text):
        raise BadRecord(
            "bad_schema",
            f"{where} is a transcript ({match[0].strip()!r}) whose turns are not paragraphs that "
            "begin with Human: and Assistant:; give the messages, or write it so",
        )


def refuse_rendered(text: str, where: str) -> None:
    """Raise BadRecord("bad_schema") for a text that a chat template has printed."""
    if match := RENDERED.match(text):
        raise BadRecord(
            "bad_schema",
            f"{where} already holds a chat template ({match[0].strip()!r}): give the messages, "
            "which the tokenizer's own template will render",
        )


def refuse_printed_prompt(text: str, where: str) -> None:
    """Raise BadRecord("bad_schema") for a prompt that ends where a model was to go on."""
    if match := CUE.search(text):
        raise BadRecord(
            "bad_schema",
            f"{where} already holds a chat template or a transcript, since it ends with "
            f"{match[0].strip()!r}: give the messages, which the tokenizer's own template will "
            "render",
        )
    # A question may well be about a list; nobody asks with nothing but one.
    if re.match(r"""\s*\[\s*['"]""", text) and _is_texts(literal(text)):
        raise BadRecord(
            "bad_schema",
            f"{where} = {text!r:.60} is a list of texts, written as JSON: give the text, or the "
            "turns as messages",
        )


def has_label(text: str) -> bool:
    """Whether a text begins with the name of the one who says it."""
    return SPEAKER_LABEL.match(text) is not None


def end(text: str) -> str | None:
    """What a chat template printed behind a text, if it ends so."""
    match = END.search(text)
    if match is None:
        return None
    return match[0].strip()


def parsed(text: str, where: str) -> Any:
    """The messages that a text holds as JSON or as a Python literal; None for any other text.

    Raises BadRecord("bad_schema") for a text that begins like a list of messages and is none.
    """
    if not re.match(r"""\s*\[?\s*\{\s*['"]""", text):
        return None
    value = literal(text)
    if isinstance(value, dict) and isinstance(value.get("messages"), list):
        raise BadRecord(
            "bad_schema",
            f"{where} = {text!r:.60} is an object around `messages`, written as JSON: write its "
            "fields as columns",
        )
    messages = value
    if isinstance(value, dict):
        messages = [value]
    if isinstance(messages, list) and messages and all(map(_is_message, messages)):
        return messages
    if BEGINS_LIKE_MESSAGES.match(text):
        raise BadRecord(
            "bad_schema", f"{where} = {text!r:.60} begins like a list of messages and is none"
        )
    # JSON that is not messages is an answer like any other.
    return None


def _is_message(value: Any) -> bool:
    if not isinstance(value, dict) or not any(keys <= set(value) for keys in MESSAGE_KEYS):
        return False
    # An answer may be an object with a field `role` of another meaning.
    return str(value.get("role", value.get("from"))).lower() in NAMES


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
