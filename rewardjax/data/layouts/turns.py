"""Turns that are not one message each: questions with their answers, and calls of tools.

ms-swift and Capybara keep an exchange as one object; ShareGPT and ms-swift give every call of a
tool a turn of its own, where chat templates know calls as a field of what the assistant says.
"""

import json
from collections.abc import Sequence
from typing import Any

from rewardjax.data.groups import BadRecord, Message

# (question, answer), as the fields of an exchange are called.
EXCHANGES = (
    *(("human", "assistant"), ("user", "assistant"), ("prompt", "response")),
    *(("query", "response"), ("input", "output"), ("question", "answer")),
)
CALLS = ("tool_call", "function_call")


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
