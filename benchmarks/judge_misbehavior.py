"""The ways in which judge servers misbehave: each is a reply to one exchange, or makes one."""

import email.utils
import gzip
import json
import time
from collections.abc import Callable
from typing import Any

from benchmarks.judge_exchange import Exchange
from rewardjax.curation.judges import prompts

# Characters, taken for tokens: a question of the storm fits, but with no example.
CONTEXT = 2300

# ------------------------------------------------------------------ texts


def wrapped(template: str) -> Callable[[Exchange], None]:
    """Reply with the right text, and another for RIGHT and OTHER in a template."""

    def reply(exchange: Exchange) -> None:
        text = template.replace("RIGHT", exchange.right).replace("OTHER", exchange.other)
        exchange.text(text)

    return reply


def changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[Exchange], None]:
    """Reply with the right object, changed."""

    def reply(exchange: Exchange) -> None:
        exchange.text(json.dumps(change(json.loads(exchange.right))))

    return reply


def lower(fields: dict[str, Any]) -> dict[str, Any]:
    """The values of closed fields in lower case."""
    closed = ("preferred", "task_category", "objectivity", "controversiality")
    return {name: value.lower() if name in closed else value for name, value in fields.items()}


def raw_line_break(exchange: Exchange) -> None:
    """Break lines inside of JSON strings, which JSON forbids."""
    exchange.text(exchange.right.replace(": ", ":\n ").replace(". ", ".\n"))


def surrogate(exchange: Exchange) -> None:
    """Reply with half of a surrogate pair, which no file can hold."""
    fields = json.loads(exchange.right)
    name = list(fields)[0] if "preferred" in fields else "annotation_guideline"
    exchange.text(json.dumps(fields | {name: "half \ud83d of a pair"}))


def parts(exchange: Exchange) -> None:
    """Reply with a list of parts, thinking first."""
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": exchange.other}]}
    exchange.text([thinking, {"type": "text", "text": exchange.right}])


def tool_call(exchange: Exchange) -> None:
    """Answer by calling a tool."""
    function = {"name": "answer", "arguments": exchange.right}
    exchange.text(None, "tool_calls", tool_calls=[{"type": "function", "function": function}])


def double_encoded(exchange: Exchange) -> None:
    """Put the right answer, as a text, into another object."""
    exchange.text(json.dumps({"output": exchange.right}))


def filtered(exchange: Exchange) -> None:
    """Filter every third answer."""
    if not exchange.is_probe and exchange.number % 3 == 0:
        exchange.text("", "content_filter")
    else:
        exchange.reply()


def probe_liar(exchange: Exchange) -> None:
    """Hold to a schema in the first question alone."""
    if exchange.is_probe:
        exchange.reply()
    else:
        exchange.text("I think the first one is rather nice.")


def always_first(exchange: Exchange) -> None:
    """Prefer the first response, whatever it is."""
    fields = json.loads(exchange.right)
    if "preferred" in fields:
        fields["preferred"] = "Candidate 1"
    exchange.text(json.dumps(fields))


def with_usage(usage: Any) -> Callable[[Exchange], None]:
    """Reply rightly, with this usage."""
    return lambda exchange: exchange.text(exchange.right, usage=usage)


# ------------------------------------------------------------------ transport


def every_third(misbehave: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
    """Misbehave at every third request, and reply rightly at the others."""

    def reply(exchange: Exchange) -> None:
        if exchange.number % 3 == 1:
            misbehave(exchange)
        else:
            exchange.reply()

    return reply


def first_time(misbehave: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
    """Misbehave the first time that a request comes."""

    def reply(exchange: Exchange) -> None:
        if exchange.first:
            misbehave(exchange)
        else:
            exchange.reply()

    return reply


def early(count: int, misbehave: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
    """Misbehave in the first `count` requests."""

    def reply(exchange: Exchange) -> None:
        if exchange.number < count:
            misbehave(exchange)
        else:
            exchange.reply()

    return reply


def cut_body(exchange: Exchange) -> None:
    """Close the connection in the middle of the body."""
    content = json.dumps(exchange.completion(exchange.right, "stop")).encode()
    exchange.http.send_response(200)
    exchange.http.send_header("Content-Type", "application/json")
    exchange.http.send_header("Content-Length", str(len(content)))
    exchange.http.end_headers()
    exchange.http.wfile.write(content[: len(content) // 2])
    exchange.http.close_connection = True


def chunked(exchange: Exchange) -> None:
    """Reply in chunks of fifty bytes."""
    content = json.dumps(exchange.completion(exchange.right, "stop")).encode()
    exchange.http.send_response(200)
    exchange.http.send_header("Content-Type", "application/json")
    exchange.http.send_header("Transfer-Encoding", "chunked")
    exchange.http.end_headers()
    for start in range(0, len(content), 50):
        part = content[start : start + 50]
        exchange.http.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
    exchange.http.wfile.write(b"0\r\n\r\n")


def zipped(exchange: Exchange) -> None:
    """Reply in gzip."""
    content = json.dumps(exchange.completion(exchange.right, "stop")).encode()
    exchange.bytes(gzip.compress(content), 200, "application/json", Content_Encoding="gzip")


def trickle(exchange: Exchange) -> None:
    """Keep the connection alive with blanks before the JSON."""
    content = json.dumps(exchange.completion(exchange.right, "stop")).encode()
    exchange.http.send_response(200)
    exchange.http.send_header("Content-Type", "application/json")
    exchange.http.send_header("Content-Length", str(len(content) + 4))
    exchange.http.end_headers()
    for _ in range(4):
        exchange.http.wfile.write(b" ")
        exchange.http.wfile.flush()
        time.sleep(0.1)
    exchange.http.wfile.write(content)


def poisoned(exchange: Exchange) -> None:
    """Some of the pairs always break the server."""
    shown = prompts.read_back(list(exchange.body["messages"]))
    if shown is not None and sum(shown.conversation.encode()) % 16 == 0:
        exchange.error(500, "CUDA error: an illegal memory access was encountered")
    else:
        exchange.reply()


def too_long_for(status: int, document: Callable[[int], Any]) -> Callable[[Exchange], None]:
    """No example fits into the context, which each server says in a document of its own."""

    def reply(exchange: Exchange) -> None:
        length = sum(len(message["content"]) for message in exchange.body["messages"])
        if length > CONTEXT:
            exchange.json(document(length), status)
        else:
            exchange.reply()

    return reply


def openai_too_long(length: int) -> Any:
    """What OpenAI says of a request of `length` tokens."""
    message = (
        f"This model's maximum context length is {CONTEXT} tokens. However, you requested "
        f"{length + 500} tokens ({length} in the messages, 500 in the completion). Please reduce "
        "the length of the messages or completion."
    )
    return {"error": {"message": message, "code": "context_length_exceeded"}}


def vllm_too_long(length: int) -> Any:
    """What vLLM says of it."""
    message = (
        f"This model's maximum context length is {CONTEXT} tokens. However, you requested "
        f"{length} tokens in the messages. Please reduce the length of the messages."
    )
    return {"object": "error", "message": message, "type": "BadRequestError", "code": 400}


def tgi_too_long(length: int) -> Any:
    """What text-generation-inference says of it."""
    message = (
        f"`inputs` tokens + `max_new_tokens` must be <= {CONTEXT}. Given: {length} `inputs` tokens"
    )
    return {"error": f"Input validation error: {message}", "error_type": "validation"}


def llama_cpp_too_long(length: int) -> Any:
    """What llama.cpp says of it."""
    message = "the request exceeds the available context size, try increasing it"
    details = {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": length}
    return {"error": {"message": message, **details, "n_ctx": CONTEXT}}


def filtered_by_status(exchange: Exchange) -> None:
    """Azure refuses a third of the prompts with status 400."""
    text = json.dumps(exchange.body["messages"])
    if not exchange.is_probe and sum(text.encode()) % 3 == 0:
        message = "The response was filtered due to the prompt triggering content management policy"
        exchange.error(400, message, "content_filter")
    else:
        exchange.reply()


def error_in_choice(exchange: Exchange) -> None:
    """OpenRouter passes a provider's error on within a choice."""
    completion = exchange.completion("", "error")
    completion["choices"][0]["error"] = {"code": 502, "message": "Provider returned error"}
    exchange.json(completion)


def without_content(exchange: Exchange) -> None:
    """Gemini, where thinking took all that the answer might have."""
    completion = exchange.completion(None, "length")
    completion["choices"][0]["message"] = {"role": "assistant"}
    exchange.json(completion)


def two_choices(exchange: Exchange) -> None:
    """Reply with two choices that contradict each other."""
    completion = exchange.completion(exchange.right, "stop")
    other = exchange.completion(exchange.other, "stop")["choices"][0]
    completion["choices"].append(other | {"index": 1})
    exchange.json(completion)


def events(exchange: Exchange) -> None:
    """A gateway that streams whatever it is asked for."""
    chunk = {"choices": [{"index": 0, "delta": {"content": exchange.right}}]}
    content = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()
    exchange.bytes(content, 200, "text/event-stream")


def with_byte_order_mark(exchange: Exchange) -> None:
    """Begin the JSON with a byte order mark."""
    content = json.dumps(exchange.completion(exchange.right, "stop")).encode("utf-8-sig")
    exchange.bytes(content, 200, "application/json")


def latin_1(exchange: Exchange) -> None:
    """Reply in Latin-1, where JSON is UTF-8."""
    completion = exchange.completion(f"Voil\u00e0: {exchange.right}", "stop")
    content = json.dumps(completion, ensure_ascii=False).encode("latin-1")
    exchange.bytes(content, 200, "application/json")


def no_system(exchange: Exchange) -> None:
    """Refuse a system role."""
    if any(message["role"] == "system" for message in exchange.body["messages"]):
        exchange.error(400, "System role not supported")
    else:
        exchange.reply()


def alternating(exchange: Exchange) -> None:
    """Refuse it as templates do in which roles alternate."""
    if any(message["role"] == "system" for message in exchange.body["messages"]):
        exchange.error(400, "Conversation roles must alternate user/assistant/user/assistant/...")
    else:
        exchange.reply()


def refuses_field(field: str, message: str, status: int = 400) -> Callable[[Exchange], None]:
    """Refuse requests with this field."""

    def reply(exchange: Exchange) -> None:
        if field in exchange.body:
            exchange.error(status, message)
        else:
            exchange.reply()

    return reply


def refuses_unsaid(exchange: Exchange) -> None:
    """A gateway that does not say why."""
    if "max_tokens" in exchange.body:
        exchange.error(400, "Bad request")
    else:
        exchange.reply()


def http_date(exchange: Exchange) -> None:
    """Ask to be left alone, once as a date and once in milliseconds."""
    later = email.utils.formatdate(time.time() + 1, usegmt=True)
    exchange.error(429, "slow down", Retry_After=later, retry_after_ms="200")


def say(status: int, message: str, code: Any = None, **headers: str):
    """Refuse with this status and message."""
    return lambda exchange: exchange.error(status, message, code, **headers)


def document(content: bytes, kind: str):
    """Reply with these bytes."""
    return lambda exchange: exchange.bytes(content, 200, kind)
