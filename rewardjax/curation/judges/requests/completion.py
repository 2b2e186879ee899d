"""A server's reply to a chat completion, checked before anything in it is believed.

What is no completion is `Trouble` (servers/replies.py). What is one may still claim anything about
tokens, so its usage counts only where it is possible.
"""

import json
from typing import Any

from rewardjax.curation.servers.replies import Trouble, is_count, read_json, refuse_error
from rewardjax.curation.servers.requests import Answer, Request

# Where servers put what a model thought, when they take it out of the answer.
_REASONING = ("reasoning_content", "reasoning")
# Parts of a content list that are the answer; "thinking" and the like are not.
_TEXT_PARTS = ("text", "output_text")
REFUSALS = ("content_filter", "refusal")
# How a choice ends that the server or the provider behind it gave up: OpenRouter, SGLang and vLLM.
_GIVEN_UP = ("error", "abort")


def read_reply(content: bytes, request: Request) -> Answer:
    """The answer in the body of a reply of status 200. Raises Trouble."""
    return read_completion(read_json(content), request)


def read_completion(completion: Any, request: Request) -> Answer:
    """A chat completion's JSON as an Answer. Raises Trouble for what is not one."""
    completion = refuse_error(completion)
    choices = completion.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Trouble("status 200 without choices")
    message = choices[0].get("message")
    if not isinstance(message, dict):
        raise Trouble("status 200 with a choice that has no message")
    finish = choices[0].get("finish_reason") or ""
    if not isinstance(finish, str) or finish in _GIVEN_UP:
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
