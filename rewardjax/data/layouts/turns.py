"""Turns of a conversation, however people store them, as messages for chat templates.

Not every turn is one message: ms-swift and Capybara keep an exchange as one object; ShareGPT and
ms-swift give every call of a tool a turn of its own, where chat templates know calls as a field of
what the assistant says.
"""

import json
from collections.abc import Sequence
from typing import Any

from rewardjax.data.groups import NO_CONTENT, BadRecord, Message
from rewardjax.data.layouts import transcripts

# Of a message, beside role and content: what chat templates read.
OPTIONAL_FIELDS = ("reasoning_content", "tool_calls", "tool_call_id", "name")
# What else of a message a model would have to see.
UNREAD_FIELDS = (
    *("function_call", "thinking", "reasoning", "tools", "documents", "image", "images"),
    *("image_url", "audio", "video", "videos", "attachments"),
)
# Where a message says who speaks, and what: chat templates' names, ShareGPT's and OASST's.
SPEAKERS = ("role", "from")
CONTENTS = ("content", "value", "text")
# Who speaks, in whatever case: ShareGPT's and OASST's words, and the templates' own.
ROLES = {
    **{role: role for role in ("system", "user", "assistant", "tool")},
    "human": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "observation": "tool",
    "tool_response": "tool",
}
# (question, answer), as the fields of an exchange are called.
EXCHANGES = (
    *(("human", "assistant"), ("user", "assistant"), ("prompt", "response")),
    *(("query", "response"), ("input", "output"), ("question", "answer")),
)
CALLS = ("tool_call", "function_call")


def message(turn: dict[str, Any], where: str) -> Message:
    """A turn under any known names as a message for chat templates.

    Raises BadRecord("bad_schema") where it says something that would not be read, or nothing.
    """
    # A table of several kinds has the fields of all, the others filled with None.
    role, content = _first_present(turn, SPEAKERS), _first_present(turn, CONTENTS)
    if isinstance(role, str):
        role = ROLES.get(role.lower(), role)
    _refuse_unread_fields(turn, where)
    has_content = content is not None
    if not has_content:
        # A turn without words is a call, or what a tool returns.
        if role != "tool" and not any(turn.get(name) for name in OPTIONAL_FIELDS):
            raise BadRecord(
                "bad_schema", f"{where}: a message of {role} has no content among {sorted(turn)}"
            )
        content = ""
    if isinstance(content, (list, tuple)):
        content = _joined(content, where)
    if isinstance(content, str) and role != "system":
        transcripts.refuse_rendered(content, where)
    # Tables fill absent fields with None or "", which templates would take for a field that is
    # there.
    optional = {name: turn[name] for name in OPTIONAL_FIELDS if turn.get(name)}
    if not has_content and "tool_calls" in optional:
        optional[NO_CONTENT] = True
    return {"role": role, "content": content, **optional}


def _first_present(turn: dict[str, Any], names: Sequence[str]) -> Any:
    for name in names:
        if turn.get(name) is not None:
            return turn[name]
    return None


def _refuse_unread_fields(turn: dict[str, Any], where: str) -> None:
    """Raise BadRecord where a message says something in a field that is not read."""
    for name in UNREAD_FIELDS:
        if turn.get(name):
            raise BadRecord(
                "bad_schema",
                f"{where}: the field `{name}` of a message is not read; what templates print is "
                f"content and {', '.join(OPTIONAL_FIELDS)}",
            )


def _joined(parts: Sequence[Any], where: str) -> str:
    """The text of content that is a list of parts, as templates print such parts: on end."""
    texts = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            raise BadRecord(
                "bad_schema", f"{where} has a content part that is not a text: {part!r:.60}"
            )
    return "".join(texts)


def exchange(turn: dict[str, Any]) -> list[Message] | None:
    """The two messages of a question with its answer; None for any other turn."""
    for question, answer in EXCHANGES:
        if set(turn) == {question, answer}:
            return [
                {"role": "user", "content": turn[question]},
                {"role": "assistant", "content": turn[answer]},
            ]
    return None


def with_calls(messages: Sequence[Message], where: str) -> list[Message]:
    """Messages where calls that follow each other are one turn of the assistant.

    Raises BadRecord("bad_schema") for a call that does not say what is called, with what.
    """
    joined: list[Message] = []
    is_call = False
    for message in messages:
        was_call, is_call = is_call, message["role"] in CALLS
        if not is_call:
            joined.append(message)
            continue
        if not was_call:
            joined.append({"role": "assistant", "content": "", "tool_calls": []})
        function = _function(message["content"], f"{where}: {message['role']}")
        joined[-1]["tool_calls"].append({"type": "function", "function": function})
    return joined


def _function(text: str, where: str) -> dict[str, Any]:
    try:
        call = json.loads(text)
    except ValueError:
        call = None
    if not isinstance(call, dict) or not {"name", "arguments"} <= set(call):
        raise BadRecord("bad_schema", f"{where} = {text!r:.80}, not JSON with a name and arguments")
    arguments = call["arguments"]
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            raise BadRecord(
                "bad_schema", f"{where}: arguments = {arguments!r:.60}, not JSON"
            ) from None
    return {"name": call["name"], "arguments": arguments}
