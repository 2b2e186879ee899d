"""A server's reply to a chat completion, checked before anything in it is believed.

A gateway that is out of order answers 200 with an error, a web page or half a document. None of
that is a model's answer: it is `Trouble`, to be tried again, and never stored or paid for as one.
What is an answer may still claim anything about tokens, so its usage counts only where it is
possible.
"""

import json
from typing import Any, TypeGuard

from rewardjax.curation.judges.paid_calls import Answer, Request

# Where servers put what a model thought, when they take it out of the answer.
_REASONING = ("reasoning_content", "reasoning")
# Parts of a content list that are the answer; "thinking" and the like are not.
_TEXT_PARTS = ("text", "output_text")
REFUSALS = ("content_filter", "refusal")


class Trouble(Exception):
    """A reply that is not a completion: the transport, the gateway or the server is at fault.

    code: what an error inside a reply of status 200 calls itself, such as 429 or
    "insufficient_quota"; None without one.
    """

    def __init__(self, reason: str, code: int | str | None = None):
        super().__init__(reason)
        self.code = code


def read_reply(content: bytes, request: Request) -> Answer:
    """The answer in the body of a reply of status 200. Raises Trouble."""
    return read_completion(read_json(content), request)


def read_json(content: bytes) -> Any:
    """The JSON in the body of a reply of status 200. Raises Trouble."""
    try:
        # Servers that mean to keep a connection alive send blanks before the JSON.
        return json.loads(content.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        kind = f"{len(content)} bytes that are not JSON"
        if content.lstrip().startswith(b"<"):
            kind = "a web page in place of JSON"
        raise Trouble(f"status 200 with {kind}") from None


def read_completion(completion: Any, request: Request) -> Answer:
    """A chat completion's JSON as an Answer. Raises Trouble for what is not one."""
    if not isinstance(completion, dict):
        raise Trouble("status 200 with JSON that is not an object")
    if completion.get("error"):
        message, code = describe_error(completion)
        raise Trouble(f"status 200 with an error: {message}", code)
    choices = completion.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Trouble("status 200 without choices")
    message = choices[0].get("message")
    if not isinstance(message, dict):
        raise Trouble("status 200 with a choice that has no message")
    finish = choices[0].get("finish_reason") or ""
    if not isinstance(finish, str) or finish == "error":
        raise Trouble(f"status 200 with finish_reason {finish!r}")
    text, mercies = _text(message)
    if message.get("refusal") and not text:
        text, finish = str(message["refusal"]), "refusal"
    # JSON can hold halves of surrogate pairs, which no file of ours can.
    readable = text.encode("utf-8", errors="replace").decode("utf-8")
    if readable != text:
        mercies.append("broken character")
    usage = _usage(completion.get("usage"), request, len(content_of(message)))
    return Answer(readable, finish, *usage, mercies=tuple(mercies))


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
    return str(message)[:500], code


def _text(message: dict[str, Any]) -> tuple[str, list[str]]:
    """What the model said, and the mercies of finding it."""
    content = message.get("content")
    if isinstance(content, str) and content.strip():
        return content, []
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        texts = [str(part.get("text") or "") for part in parts if part.get("type") in _TEXT_PARTS]
        return "".join(texts), ["content in parts"]
    # A server that takes everything for thinking leaves the content empty and the answer there.
    for field in _REASONING:
        if isinstance(message.get(field), str) and message[field].strip():
            return message[field], ["answer inside the thinking"]
    return "", []


def content_of(message: dict[str, Any]) -> bytes:
    """All that a message holds, thinking included, as bytes."""
    return json.dumps(message, ensure_ascii=False).encode("utf-8", errors="replace")


def is_count(value: Any) -> TypeGuard[int]:
    """Whether a value of a reply can be a number of tokens, or a place in a list."""
    # A bool is an int to Python, and true is no number of tokens.
    return type(value) is int and value >= 0


def _usage(usage: Any, request: Request, sent_bytes: int) -> tuple[int, int, int, bool]:
    """Tokens of the prompt, of its cached part and of the completion, and whether to believe it.

    No tokenizer makes more tokens than there are bytes, so a larger count is not one of tokens: a
    server that says so could book any sum. The request then costs the most that it may.
    """
    not_counted = (0, 0, 0, False)
    if not isinstance(usage, dict):
        return not_counted
    details = usage.get("prompt_tokens_details")
    cached = 0
    if isinstance(details, dict):
        cached = details.get("cached_tokens") or 0
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not (is_count(prompt) and is_count(cached) and is_count(completion)):
        return not_counted
    # Thinking that the server does not show is within the request's limit, or is shown.
    most_completion = max(request.most_completion_tokens, sent_bytes)
    if prompt > request.most_prompt_tokens or cached > prompt or completion > most_completion:
        return not_counted
    return prompt, cached, completion, True
