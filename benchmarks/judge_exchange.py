"""A real HTTP server that misbehaves in one way: one request, and the means to reply to it."""

import contextlib
import dataclasses
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
