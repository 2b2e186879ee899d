"""How judge servers misbehave, each as a real HTTP server: what `judge_storm` lets loose.

The behaviors come from public reports about OpenAI-compatible servers and gateways. A `Behavior`
answers one request; the text of the right answer is the scripted judge's.
"""

import contextlib
import dataclasses
import email.utils
import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rewardjax.curation.judges import prompts, scripted_judge
from rewardjax.curation.judges.judge_prompts import judge_prompt
from rewardjax.curation.judges.scripted_judge import Truth

Body = Mapping[str, Any]
# Characters, taken for tokens: a question of the storm fits, but with no example.
CONTEXT = 2300


@dataclasses.dataclass
class Exchange:
    """One request and the means to reply to it.

    body: what was asked. number: of the request, from 0. first: whether this body is new. right:
    the text of the right answer. is_probe: whether it is the client's first question.
    """

    body: Body
    number: int
    first: bool
    right: str
    is_probe: bool
    http: BaseHTTPRequestHandler

    def text(self, text: Any, finish: str | None = "stop", usage: Any = "counted", **message):
        """Reply with a completion of this content."""
        self.json(self.completion(text, finish, usage, **message))

    def completion(self, text: Any, finish: str | None, usage: Any = "counted", **message) -> dict:
        """A completion's JSON."""
        if usage == "counted":
            usage = {"prompt_tokens": 300, "completion_tokens": 40, "total_tokens": 340}
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text, **message},
            "finish_reason": finish,
        }
        return {"id": f"c{self.number}", "choices": [choice], "usage": usage}

    def json(self, value: Any, status: int = 200, **headers: str) -> None:
        """Reply with a JSON document."""
        self.bytes(json.dumps(value).encode(), status, "application/json", **headers)

    def error(self, status: int, message: str, code: Any = None, **headers: str) -> None:
        """Reply with an error, as OpenAI's API shapes it."""
        self.json({"error": {"message": message, "type": "x", "code": code}}, status, **headers)

    def bytes(self, content: bytes, status: int, kind: str, **headers: str) -> None:
        """Reply with any document."""
        self.http.send_response(status)
        fields = {"Content-Type": kind, "Content-Length": str(len(content))}
        for name, value in (fields | headers).items():
            self.http.send_header(name.replace("_", "-"), value)
        self.http.end_headers()
        self.http.wfile.write(content)

    def reset(self) -> None:
        """Break the connection off with a reset."""
        linger = struct.pack("ii", 1, 0)
        self.http.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.http.close_connection = True
        self.http.connection.close()

    def reply(self) -> None:
        """Reply rightly."""
        self.text(self.right)

    @property
    def other(self) -> str:
        """An answer that says otherwise than the right one; itself where that is no verdict."""
        fields = json.loads(self.right)
        if "preferred" not in fields:
            return json.dumps(fields | {"objectivity": "Subjective", "desired_attributes": "x"})
        choices = [choice for choice in prompts.PREFERRED if choice != fields["preferred"]]
        return json.dumps(fields | {"preferred": choices[0]})


@dataclasses.dataclass(frozen=True)
class Behavior:
    """What a server does, and what is to come of it.

    expect: "all" questions are answered, "some", "none" (each one counted as lost), or the judge is
    "stopped" with a sentence that holds `says`. slow: whether the server itself takes long.
    """

    reply: Callable[[Exchange], None]
    expect: str = "all"
    says: str = ""
    slow: bool = False


# ------------------------------------------------------------------ texts


def _wrapped(template: str) -> Callable[[Exchange], None]:
    """Reply with the right text, and another for RIGHT and OTHER in a template."""

    def reply(exchange: Exchange) -> None:
        text = template.replace("RIGHT", exchange.right).replace("OTHER", exchange.other)
        exchange.text(text)

    return reply


def _changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[Exchange], None]:
    """Reply with the right object, changed."""

    def reply(exchange: Exchange) -> None:
        exchange.text(json.dumps(change(json.loads(exchange.right))))

    return reply


def _lower(fields: dict[str, Any]) -> dict[str, Any]:
    closed = ("preferred", "task_category", "objectivity", "controversiality")
    return {name: value.lower() if name in closed else value for name, value in fields.items()}


def _raw_line_break(exchange: Exchange) -> None:
    exchange.text(exchange.right.replace(": ", ":\n ").replace(". ", ".\n"))


def _surrogate(exchange: Exchange) -> None:
    fields = json.loads(exchange.right)
    name = list(fields)[0] if "preferred" in fields else "annotation_guideline"
    exchange.text(json.dumps(fields | {name: "half \ud83d of a pair"}))


def _parts(exchange: Exchange) -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": exchange.other}]}
    exchange.text([thinking, {"type": "text", "text": exchange.right}])


def _tool_call(exchange: Exchange) -> None:
    function = {"name": "answer", "arguments": exchange.right}
    exchange.text(None, "tool_calls", tool_calls=[{"type": "function", "function": function}])


def _double_encoded(exchange: Exchange) -> None:
    exchange.text(json.dumps({"output": exchange.right}))


def _filtered(exchange: Exchange) -> None:
    if not exchange.is_probe and exchange.number % 3 == 0:
        exchange.text("", "content_filter")
    else:
        exchange.reply()


def _probe_liar(exchange: Exchange) -> None:
    if exchange.is_probe:
        exchange.reply()
    else:
        exchange.text("I think the first one is rather nice.")


def _always_first(exchange: Exchange) -> None:
    fields = json.loads(exchange.right)
    if "preferred" in fields:
        fields["preferred"] = "Candidate 1"
    exchange.text(json.dumps(fields))


def _with_usage(usage: Any) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.text(exchange.right, usage=usage)


# ------------------------------------------------------------------ transport


def _every_third(misbehave: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
    def reply(exchange: Exchange) -> None:
        if exchange.number % 3 == 1:
            misbehave(exchange)
        else:
            exchange.reply()

    return reply


def _first_time(misbehave: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
    """Misbehave the first time that a request comes."""

    def reply(exchange: Exchange) -> None:
        if exchange.first:
            misbehave(exchange)
        else:
            exchange.reply()

    return reply


def _early(count: int, misbehave: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
    """Misbehave in the first `count` requests."""

    def reply(exchange: Exchange) -> None:
        if exchange.number < count:
            misbehave(exchange)
        else:
            exchange.reply()

    return reply


def _cut_body(exchange: Exchange) -> None:
    content = json.dumps(exchange.completion(exchange.right, "stop")).encode()
    exchange.http.send_response(200)
    exchange.http.send_header("Content-Type", "application/json")
    exchange.http.send_header("Content-Length", str(len(content)))
    exchange.http.end_headers()
    exchange.http.wfile.write(content[: len(content) // 2])
    exchange.http.close_connection = True


def _chunked(exchange: Exchange) -> None:
    content = json.dumps(exchange.completion(exchange.right, "stop")).encode()
    exchange.http.send_response(200)
    exchange.http.send_header("Content-Type", "application/json")
    exchange.http.send_header("Transfer-Encoding", "chunked")
    exchange.http.end_headers()
    for start in range(0, len(content), 50):
        part = content[start : start + 50]
        exchange.http.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
    exchange.http.wfile.write(b"0\r\n\r\n")


def _zipped(exchange: Exchange) -> None:
    content = json.dumps(exchange.completion(exchange.right, "stop")).encode()
    exchange.bytes(gzip.compress(content), 200, "application/json", Content_Encoding="gzip")


def _trickle(exchange: Exchange) -> None:
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


def _poisoned(exchange: Exchange) -> None:
    """Some of the pairs always break the server."""
    shown = prompts.read_back(list(exchange.body["messages"]))
    if shown is not None and sum(shown.conversation.encode()) % 16 == 0:
        exchange.error(500, "CUDA error: an illegal memory access was encountered")
    else:
        exchange.reply()


def _too_long_for(status: int, document: Callable[[int], Any]) -> Callable[[Exchange], None]:
    """No example fits into the context, which each server says in a document of its own."""

    def reply(exchange: Exchange) -> None:
        length = sum(len(message["content"]) for message in exchange.body["messages"])
        if length > CONTEXT:
            exchange.json(document(length), status)
        else:
            exchange.reply()

    return reply


def _openai_too_long(length: int) -> Any:
    message = (
        f"This model's maximum context length is {CONTEXT} tokens. However, you requested "
        f"{length + 500} tokens ({length} in the messages, 500 in the completion). Please reduce "
        "the length of the messages or completion."
    )
    return {"error": {"message": message, "code": "context_length_exceeded"}}


def _vllm_too_long(length: int) -> Any:
    message = (
        f"This model's maximum context length is {CONTEXT} tokens. However, you requested "
        f"{length} tokens in the messages. Please reduce the length of the messages."
    )
    return {"object": "error", "message": message, "type": "BadRequestError", "code": 400}


def _tgi_too_long(length: int) -> Any:
    message = (
        f"`inputs` tokens + `max_new_tokens` must be <= {CONTEXT}. Given: {length} `inputs` tokens"
    )
    return {"error": f"Input validation error: {message}", "error_type": "validation"}


def _llama_cpp_too_long(length: int) -> Any:
    message = "the request exceeds the available context size, try increasing it"
    details = {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": length}
    return {"error": {"message": message, **details, "n_ctx": CONTEXT}}


def _filtered_by_status(exchange: Exchange) -> None:
    """Azure refuses a third of the prompts with status 400."""
    text = json.dumps(exchange.body["messages"])
    if not exchange.is_probe and sum(text.encode()) % 3 == 0:
        message = "The response was filtered due to the prompt triggering content management policy"
        exchange.error(400, message, "content_filter")
    else:
        exchange.reply()


def _error_in_choice(exchange: Exchange) -> None:
    """OpenRouter passes a provider's error on within a choice."""
    completion = exchange.completion("", "error")
    completion["choices"][0]["error"] = {"code": 502, "message": "Provider returned error"}
    exchange.json(completion)


def _without_content(exchange: Exchange) -> None:
    """Gemini, where thinking took all that the answer might have."""
    completion = exchange.completion(None, "length")
    completion["choices"][0]["message"] = {"role": "assistant"}
    exchange.json(completion)


def _two_choices(exchange: Exchange) -> None:
    completion = exchange.completion(exchange.right, "stop")
    other = exchange.completion(exchange.other, "stop")["choices"][0]
    completion["choices"].append(other | {"index": 1})
    exchange.json(completion)


def _events(exchange: Exchange) -> None:
    """A gateway that streams whatever it is asked for."""
    chunk = {"choices": [{"index": 0, "delta": {"content": exchange.right}}]}
    content = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()
    exchange.bytes(content, 200, "text/event-stream")


def _with_byte_order_mark(exchange: Exchange) -> None:
    content = json.dumps(exchange.completion(exchange.right, "stop")).encode("utf-8-sig")
    exchange.bytes(content, 200, "application/json")


def _latin_1(exchange: Exchange) -> None:
    completion = exchange.completion(f"Voil\u00e0: {exchange.right}", "stop")
    content = json.dumps(completion, ensure_ascii=False).encode("latin-1")
    exchange.bytes(content, 200, "application/json")


def _no_system(exchange: Exchange) -> None:
    if any(message["role"] == "system" for message in exchange.body["messages"]):
        exchange.error(400, "System role not supported")
    else:
        exchange.reply()


def _alternating(exchange: Exchange) -> None:
    if any(message["role"] == "system" for message in exchange.body["messages"]):
        exchange.error(400, "Conversation roles must alternate user/assistant/user/assistant/...")
    else:
        exchange.reply()


def _refuses_field(field: str, message: str, status: int = 400) -> Callable[[Exchange], None]:
    def reply(exchange: Exchange) -> None:
        if field in exchange.body:
            exchange.error(status, message)
        else:
            exchange.reply()

    return reply


def _refuses_unsaid(exchange: Exchange) -> None:
    """A gateway that does not say why."""
    if "max_tokens" in exchange.body:
        exchange.error(400, "Bad request")
    else:
        exchange.reply()


def _http_date(exchange: Exchange) -> None:
    later = email.utils.formatdate(time.time() + 1, usegmt=True)
    exchange.error(429, "slow down", Retry_After=later, retry_after_ms="200")


def _say(status: int, message: str, code: Any = None, **headers: str):
    return lambda exchange: exchange.error(status, message, code, **headers)


def _document(content: bytes, kind: str):
    return lambda exchange: exchange.bytes(content, 200, kind)


HARMONY = (
    "<|channel|>analysis<|message|>maybe OTHER<|end|><|start|>assistant"
    "<|channel|>final<|message|>RIGHT"
)
PAGE = b"<!doctype html><html><body>502 Bad gateway</body></html>"
BIG_USAGE = {"prompt_tokens": 10**12, "completion_tokens": 10**12}

BEHAVIORS: dict[str, Behavior] = {
    # Texts that hold the answer.
    "good": Behavior(Exchange.reply),
    "fenced": Behavior(_wrapped("Here it is:\n```json\nRIGHT\n```\nHope it helps!")),
    "think": Behavior(_wrapped("<think>perhaps OTHER</think>\nRIGHT")),
    "think_without_opening": Behavior(_wrapped("perhaps OTHER</think>RIGHT")),
    "think_unclosed": Behavior(_wrapped("<think>all in all it is RIGHT")),
    "mistral_think": Behavior(_wrapped("[THINK]perhaps OTHER[/THINK]RIGHT")),
    "harmony": Behavior(_wrapped(HARMONY)),
    "harmony_without_marks": Behavior(_wrapped("analysisperhaps OTHERassistantfinalRIGHT")),
    "reasoning_only": Behavior(
        lambda exchange: exchange.text(None, reasoning_content=exchange.right)
    ),
    "content_parts": Behavior(_parts),
    "extra": Behavior(_changed(lambda fields: fields | {"confidence": 0.9})),
    "nan_value": Behavior(_changed(lambda fields: fields | {"score": float("nan")})),
    "lower": Behavior(_changed(_lower)),
    "upper_keys": Behavior(_changed(lambda fields: {k.upper(): v for k, v in fields.items()})),
    "nested": Behavior(_changed(lambda fields: {"answer": {"result": fields}})),
    "list": Behavior(_changed(lambda fields: [fields])),
    "double_encoded": Behavior(_double_encoded),
    "newline": Behavior(_raw_line_break),
    "trailing_comma": Behavior(lambda exchange: exchange.text(exchange.right.rstrip("}") + ",}")),
    "python_dict": Behavior(lambda exchange: exchange.text(str(json.loads(exchange.right)))),
    "twice_the_same": Behavior(_wrapped("RIGHT\nAgain: RIGHT")),
    "surrogate": Behavior(_surrogate),
    "no_finish": Behavior(lambda exchange: exchange.text(exchange.right, finish=None)),
    "always_first": Behavior(_always_first),
    # Texts that do not.
    "length": Behavior(lambda exchange: exchange.text(exchange.right, "length"), "none"),
    "french": Behavior(lambda exchange: exchange.text("Je préfère la première."), "none"),
    "refusal": Behavior(lambda exchange: exchange.text(None, refusal="I cannot."), "none"),
    "probe_liar": Behavior(_probe_liar, "none"),
    "filter": Behavior(_filtered, "some"),
    "contradicts": Behavior(_wrapped("RIGHT\nOr rather: OTHER"), "none"),
    "truncated": Behavior(lambda exchange: exchange.text(exchange.right[:-9]), "none"),
    "empty": Behavior(lambda exchange: exchange.text(""), "none"),
    "tool_call": Behavior(_tool_call, "none"),
    # What it says about tokens.
    "nousage": Behavior(_with_usage(None)),
    "nan": Behavior(
        _with_usage({"prompt_tokens": float("nan"), "completion_tokens": float("nan")})
    ),
    "cached_more": Behavior(
        _with_usage(
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 10**9},
            }
        )
    ),
    "ignores_max": Behavior(_with_usage({"prompt_tokens": 300, "completion_tokens": 60_000})),
    "usage_negative": Behavior(_with_usage({"prompt_tokens": -5, "completion_tokens": -(10**9)})),
    "usage_text": Behavior(_with_usage({"prompt_tokens": "many", "completion_tokens": "few"})),
    "usage_huge": Behavior(_with_usage(BIG_USAGE)),
    # Replies of status 200 that are none.
    "err200": Behavior(
        lambda exchange: exchange.json({"error": {"code": 429, "message": "busy"}}),
        "stopped",
        "busy",
    ),
    "err200_text": Behavior(
        _every_third(lambda exchange: exchange.json({"error": "upstream overloaded"}))
    ),
    "html200": Behavior(_document(PAGE, "text/html"), "stopped", "web page"),
    "events200": Behavior(
        _document(b'data: {"choices": []}\n\ndata: [DONE]\n\n', "text/event-stream"),
        "stopped",
        "not JSON",
    ),
    "badjson200": Behavior(
        _document(b'{"choices": [{"message": {"con', "application/json"), "stopped", "not JSON"
    ),
    "null_choices": Behavior(
        lambda exchange: exchange.json({"choices": None}), "stopped", "without choices"
    ),
    "empty_choices": Behavior(
        _every_third(lambda exchange: exchange.json({"choices": []})),
    ),
    "deep": Behavior(_document(b"[" * 200_000, "application/json"), "stopped", "not JSON"),
    "finish_error": Behavior(
        _every_third(lambda exchange: exchange.text("", "error")),
    ),
    # Connections.
    "reset": Behavior(_every_third(Exchange.reset)),
    "cut_body": Behavior(_every_third(_cut_body)),
    "chunked": Behavior(_chunked),
    "zipped": Behavior(_zipped),
    "trickle": Behavior(_trickle, slow=True),
    "hang": Behavior(lambda exchange: time.sleep(60), "stopped", "no reply", slow=True),
    "hang_sometimes": Behavior(
        _first_time(lambda exchange: time.sleep(4 * (exchange.number % 16 == 5))), slow=True
    ),
    # Errors.
    "poison": Behavior(_poisoned, "some"),
    "r429": Behavior(_every_third(_say(429, "slow down", Retry_After="1")), slow=True),
    "r429ms": Behavior(_every_third(_http_date), slow=True),
    "r429_nonsense": Behavior(_every_third(_say(429, "slow down", Retry_After="-nan")), slow=True),
    "busy503": Behavior(_every_third(_say(503, "no worker free", Retry_After="1")), slow=True),
    "timeout408": Behavior(_every_third(_say(408, "request timeout"))),
    "loading": Behavior(_early(3, _say(503, "Loading model")), slow=True),
    "restarts": Behavior(_early(3, _say(502, "bad gateway")), slow=True),
    "quota": Behavior(
        _say(429, "You exceeded your current quota", "insufficient_quota"), "stopped", "quota"
    ),
    "unpaid": Behavior(_say(402, "Insufficient credits"), "stopped", "402"),
    "wrong_key": Behavior(_say(401, "Incorrect API key"), "stopped", "401"),
    "no_model": Behavior(_say(404, "The model does not exist"), "stopped", "404"),
    # Dialects.
    "nosystem": Behavior(_no_system),
    "alternating": Behavior(_alternating),
    "nomax": Behavior(
        _refuses_field(
            "max_tokens",
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
        )
    ),
    "notemperature": Behavior(
        _refuses_field("temperature", "Unsupported value: 'temperature' does not support 0.6")
    ),
    "noseed": Behavior(
        _refuses_field("seed", "Extra inputs are not permitted: body, seed", status=422)
    ),
    "unsaid": Behavior(_refuses_unsaid),
    "context": Behavior(_too_long_for(400, _openai_too_long)),
    # One server's or gateway's own way to say the same.
    "vllm_context": Behavior(_too_long_for(400, _vllm_too_long)),
    "tgi_context": Behavior(_too_long_for(422, _tgi_too_long)),
    "llama_cpp_context": Behavior(_too_long_for(400, _llama_cpp_too_long)),
    "azure_filter": Behavior(_filtered_by_status, "some"),
    "openrouter_error_in_choice": Behavior(_every_third(_error_in_choice)),
    "openrouter_reasoning": Behavior(
        lambda exchange: exchange.text(None, reasoning=exchange.right)
    ),
    "gemini_without_content": Behavior(_without_content, "none"),
    "gemini_error_in_list": Behavior(
        _every_third(
            lambda exchange: exchange.json(
                [{"error": {"code": 429, "message": "Resource has been exhausted"}}], 429
            )
        ),
        slow=True,
    ),
    "anthropic_overloaded": Behavior(_every_third(_say(529, "Overloaded")), slow=True),
    "sglang_abort": Behavior(_every_third(lambda exchange: exchange.text("", "abort"))),
    "ollama_native": Behavior(
        lambda exchange: exchange.json(
            {"model": "m", "message": {"role": "assistant", "content": exchange.right}}
        ),
        "stopped",
        "without choices",
    ),
    "legacy_text": Behavior(
        lambda exchange: exchange.json({"choices": [{"index": 0, "text": exchange.right}]}),
        "stopped",
        "a choice that has no message",
    ),
    "streams_unasked": Behavior(_events, "stopped", "not JSON"),
    "two_choices": Behavior(_two_choices),
    "byte_order_mark": Behavior(_with_byte_order_mark),
    "latin_1": Behavior(_latin_1),
    "usage_total_only": Behavior(_with_usage({"total_tokens": 340})),
    "zero_byte": Behavior(_wrapped("RIGHT\n\u0000")),
}


# ------------------------------------------------------------------ the server


@contextlib.contextmanager
def serve(behavior: Behavior, truth: Truth, latency: float = 0.0) -> Iterator[str]:
    """A server that behaves so, `latency` seconds after each request, while the block lasts.

    Yields its base_url.
    """
    seen: set[str] = set()
    lock = threading.Lock()
    good = scripted_judge.Behavior(accuracy=1.0)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        number = 0

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = json.dumps(body, sort_keys=True)
            with lock:
                number, first = Handler.number, key not in seen
                Handler.number += 1
                seen.add(key)
            plain = dict(body, model="judge", messages=_with_system(body["messages"]))
            # What a schema would make of it, so that the right answer is bare JSON.
            plain["response_format"] = _FORMAT
            right = scripted_judge.answer(good, plain, truth, seed=0)
            is_probe = prompts.read_back(plain["messages"]) is None
            if is_probe:
                right = json.dumps({"word": "heliotrope"})
            exchange = Exchange(body, number, first, right, is_probe, self)
            time.sleep(latency)
            # A client that gave up, or was killed, no longer reads.
            with contextlib.suppress(OSError):
                behavior.reply(exchange)

        def handle_one_request(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().handle_one_request()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


_FORMAT = {"type": "json_schema", "json_schema": {"schema": {}}}


def _with_system(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Messages as the scripted judge reads them, also where the system role was folded away."""
    if messages[0]["role"] == "system":
        return messages
    content = messages[0]["content"]
    for system in (prompts.TAG, judge_prompt("standard").instructions):
        if content.startswith(system):
            user = content.removeprefix(system).lstrip("\n")
            return [{"role": "system", "content": system}, {"role": "user", "content": user}]
    return messages
