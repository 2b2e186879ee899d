"""Conversations that are stored inside one text: transcripts and JSON, or a chat template's output.

The first two become messages. The last is refused: the template that wrote it is not known, and
rendered once more its turn markers would be read as words.
"""

import ast
import json
import re
from typing import Any

from rewardjax.data.groups import BadRecord, Message

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
    r"<\|(?:system|user|assistant|start_of_role|START_OF_TURN_TOKEN)\|>|<｜(?:User|Assistant)｜>)"
)
MESSAGE_KEYS = ({"role", "content"}, {"from", "value"})


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
        messages.append({"role": SPEAKERS[speaker], "content": turn.strip()})
    return messages


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


def parsed(text: str, where: str) -> Any:
    """The messages that a text holds as JSON or as a Python literal; None for any other text.

    Raises BadRecord("bad_schema") for a text that begins like a list of messages and is none.
    """
    # JSON that is not messages is an answer like any other.
    if not re.match(r"""\s*\[?\s*\{\s*['"](?:role|from|content|value)['"]\s*:""", text):
        return None
    value = literal(text)
    messages = value
    if isinstance(value, dict):
        messages = [value]
    if not isinstance(messages, list) or not all(map(_is_message, messages)):
        raise BadRecord(
            "bad_schema", f"{where} = {text!r:.60} begins like a list of messages and is none"
        )
    return messages


def literal(text: str) -> Any:
    """The value that a text is as JSON or as a Python literal; None where it is neither."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and any(keys <= set(value) for keys in MESSAGE_KEYS)
