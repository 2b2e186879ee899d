"""Fields of records as messages, numbers and truth values, whatever shape people store them in.

Each raises BadRecord("bad_schema") with the field's name for what it cannot read. Roles and texts
are `groups.check`'s to judge.
"""

import math
import re
from typing import Any

from rewardjax.data.groups import BadRecord, Message

Record = dict[str, Any]

PROMPTS = ("prompt", "messages", "question", "instruction", "input")
# Of a message, beside role and content: what chat templates read.
OPTIONAL_FIELDS = ("reasoning_content", "tool_calls", "name")


def first_present(record: Record, names: tuple[str, ...]) -> str | None:
    """The first of `names` that the record has a value for; tables fill absent fields with None."""
    for name in names:
        if record.get(name) is not None:
            return name
    return None


def prompt(record: Record) -> list[Message]:
    """The record's prompt, under any of its names."""
    name = first_present(record, PROMPTS)
    if name is None:
        raise BadRecord(
            "bad_schema", f"no prompt: none of {', '.join(PROMPTS)} among {sorted(record)}"
        )
    value = text_or_messages(record[name], name)
    if isinstance(value, list):
        # A transcript that ends in "Assistant:" has an empty turn for the response to come.
        if value[-1] == {"role": "assistant", "content": ""}:
            return value[:-1]
        return value
    # Alpaca's format: an instruction, and in a field of its own what it is about.
    if name == "instruction" and isinstance(record.get("input"), str) and record["input"].strip():
        value = f"{value}\n\n{record['input']}"
    return [{"role": "user", "content": value}]


def response(value: Any, where: str) -> list[Message]:
    """A response as messages: a text, a list of messages, or a dict with its text and labels."""
    if isinstance(value, dict):
        name = first_present(value, ("content", "text", "response"))
        if name is None:
            raise BadRecord("bad_schema", f"{where}: no content among {sorted(value)}")
        message = {"role": "assistant", "content": value[name]}
        if value.get("reasoning_content"):
            message["reasoning_content"] = value["reasoning_content"]
        return [message]
    value = text_or_messages(value, where)
    if isinstance(value, list):
        return value
    return [{"role": "assistant", "content": value}]


def text_or_messages(value: Any, where: str) -> Any:
    """A text as it is; a transcript or a list of messages as messages that templates can read."""
    if isinstance(value, str):
        if value.startswith("\n\nHuman:"):
            return _transcript(value)
        return value
    is_list = isinstance(value, (list, tuple)) and len(value) > 0
    if not is_list or not all(isinstance(message, dict) for message in value):
        raise BadRecord(
            "bad_schema", f"{where} = {value!r:.80}, neither a text nor a list of messages"
        )
    return [_message(message) for message in value]


def _message(message: Record) -> Message:
    content = message.get("content")
    if content is None:
        content = ""
    # Tables fill absent fields with None or "", which templates would take for a field that is
    # there.
    optional = {name: message[name] for name in OPTIONAL_FIELDS if message.get(name)}
    return {"role": message.get("role"), "content": content, **optional}


def _transcript(text: str) -> list[Message]:
    """Messages of a transcript with "Human:" and "Assistant:" paragraphs, trimmed."""
    parts = re.split(r"\n\n(Human|Assistant):", text)[1:]
    roles = {"Human": "user", "Assistant": "assistant"}
    return [
        {"role": roles[speaker], "content": turn.strip()}
        for speaker, turn in zip(parts[::2], parts[1::2], strict=True)
    ]


def split_messages(
    chosen: list[Message], rejected: list[Message]
) -> tuple[list[Message], list[list[Message]]]:
    """The common start of two conversations as the prompt, and the rest of each as its response.

    It is cut back to end where the assistant is to speak.
    """
    limit = min(len(chosen), len(rejected)) - 1
    n = 0
    while n < limit and chosen[n] == rejected[n]:
        n += 1
    while n > 0 and not _both_assistant(chosen[n], rejected[n]):
        n -= 1
    if n == 0:
        raise BadRecord(
            "bad_schema",
            "chosen and rejected share no start that ends before a turn of the assistant",
        )
    return chosen[:n], [chosen[n:], rejected[n:]]


def _both_assistant(first: Message, second: Message) -> bool:
    return first.get("role") == second.get("role") == "assistant"


def split_texts(chosen: str, rejected: str) -> tuple[str, list[str]]:
    """The common start of two texts up to a white space, and the rests."""
    if chosen == rejected:
        raise BadRecord("equal", "chosen = rejected, and no prompt tells where they begin")
    n, limit = 0, min(len(chosen), len(rejected))
    while n < limit and chosen[n] == rejected[n]:
        n += 1
    # Responses that begin with the same letters would lose them to the prompt.
    while n > 0 and not chosen[n - 1].isspace():
        n -= 1
    if not chosen[:n].strip():
        raise BadRecord(
            "bad_schema",
            "chosen and rejected share no start that could be the prompt, and there is no prompt "
            "field",
        )
    return chosen[:n].rstrip(), [chosen[n:], rejected[n:]]


def number(value: Any, where: str) -> float:
    """A finite number."""
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    raise BadRecord("bad_schema", f"{where} = {value!r:.40}, not a finite number")


def boolean(value: Any, where: str) -> bool:
    """True or False; 0 and 1 count, since Parquet files often have them."""
    if value in (0, 1):
        return bool(value)
    raise BadRecord("bad_schema", f"{where} = {value!r:.40}, neither true nor false")
