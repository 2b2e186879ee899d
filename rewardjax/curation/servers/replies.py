"""What replies of all servers have in common, checked before anything in them is believed.

A gateway that is out of order answers 200 with an error, a web page or half a document. None of
that is an answer: it is `Trouble`, to be tried again, and never stored or paid for as one.
"""

import json
from typing import Any, TypeGuard

_LENGTHS = ("n_prompt_tokens", "n_ctx")


class Trouble(Exception):
    """A reply that is no answer: the transport, the gateway or the server is at fault.

    code: what an error inside a reply of status 200 calls itself, such as 429 or
    "insufficient_quota"; None without one.
    """

    def __init__(self, reason: str, code: int | str | None = None):
        super().__init__(reason)
        self.code = code


def read_json(content: bytes) -> Any:
    """The JSON in the body of a reply of status 200. Raises Trouble."""
    try:
        # Servers that mean to keep a connection alive send blanks before the JSON, and gateways on
        # Windows a byte order mark.
        return json.loads(content.decode("utf-8-sig", errors="replace"))
    except (ValueError, RecursionError):
        kind = f"{len(content)} bytes that are not JSON"
        if content.lstrip().startswith(b"<"):
            kind = "a web page in place of JSON"
        raise Trouble(f"status 200 with {kind}") from None


def refuse_error(reply: Any) -> dict[str, Any]:
    """The object that a reply is. Raises Trouble where it is none, or says what went wrong."""
    if not isinstance(reply, dict):
        raise Trouble("status 200 with JSON that is not an object")
    if reply.get("error"):
        message, code = describe_error(reply)
        raise Trouble(f"status 200 with an error: {message}", code)
    return reply


def describe_error(body: Any) -> tuple[str, int | str | None]:
    """The message and the code of an error, in any of the shapes that servers give it."""
    error = body
    if isinstance(body, dict):
        error = body.get("error", body)
    if not isinstance(error, dict):
        return str(error)[:500], None
    message = error.get("message") or error.get("detail") or json.dumps(error)
    code = error.get("code") or error.get("status") or error.get("type")
    if not isinstance(code, int | str):
        code = None
    # llama.cpp says how long the request and its context are in fields of their own.
    lengths = [f"{name}: {error[name]}" for name in _LENGTHS if is_count(error.get(name))]
    return ", ".join([str(message)[:500], *lengths]), code


def is_count(value: Any) -> TypeGuard[int]:
    """Whether a value of a reply can be a number of tokens, or a place in a list."""
    # A bool is an int to Python, and true is no number of tokens.
    return type(value) is int and value >= 0
