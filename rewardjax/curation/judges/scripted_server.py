r"""Scripted judges behind real HTTP, for tests, the quickstart and experiments.

    python -m rewardjax.curation.judges.scripted_server --judge good:accuracy=0.9 \
        --source "world:train?num=2000&seed=1" --source "world:train?num=2000&seed=2"
    python -m rewardjax.curation.judges.scripted_server --truth hh.jsonl --judge \
        two:accuracy=0.8,position_bias=0.2,length_bias=0.1,unknown=0.05

    with scripted_server.serve({"good": Behavior(accuracy=0.9)}, truth_of(source)) as server:
        ... server.url ...

It speaks the chat-completions protocol and recognizes the requests of prompts.py; what its judges
answer is in scripted_judge.py. `GET /stats` says what it was asked and how many of those pairs it
knew; the command says so on standard error as well, since a judge has "No preference" about every
pair that no `--source` or `--truth` holds.
"""

import argparse
import contextlib
import dataclasses
import json
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TextIO

from rewardjax import fingerprint
from rewardjax.command import errors
from rewardjax.curation.judges import prompts, truth_labels
from rewardjax.curation.judges.scripted_judge import Behavior, Truth, answer, knows, truth_of
from rewardjax.data import formats, sources, spelling
from rewardjax.data.world.draw import Draw

# Fields of Behavior that are no probabilities.
SECONDS = ("latency", "retry_after")

Response = tuple[int, dict[str, Any], dict[str, str]]  # status, JSON, headers

# The command reports after so many distinct pairs, and whenever their number has doubled since:
# early enough to stop a run whose judges know nothing, and never a flood.
FIRST_REPORT = 50


class JudgeServer:
    """A running server.

    url: the base_url of a client. paid: the answers (status 200) given to each body, by its
    fingerprint. statuses: all answers by status. most_at_once: requests that it had at the same
    time. pairs: whether it knew each pair that it was asked about, by the pair's fingerprint.
    report: where lines about that go while it is asked, if anywhere.
    """

    def __init__(
        self,
        behaviors: Mapping[str, Behavior],
        truth: Truth,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
        report: TextIO | None = None,
    ):
        self.behaviors, self.truth, self.seed = dict(behaviors), truth, seed
        self.paid: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.pairs: dict[str, bool] = {}
        self.most_at_once = 0
        self._report, self._next_report = report, FIRST_REPORT
        self._tries: Counter[str] = Counter()
        self._at_once, self._lock = 0, threading.Lock()
        self.http = _Http((host, port), _handler(self))
        self.url = f"http://{host}:{self.http.server_address[1]}/v1"

    def respond(self, body: Mapping[str, Any]) -> Response:
        """(status, JSON, headers) of a chat completion."""
        behavior = self.behaviors.get(body.get("model", ""))
        if behavior is None:
            names = ", ".join(self.behaviors)
            return 404, _error(f"model {body.get('model')!r} is not one of {names}"), {}
        self._count_pair(body["messages"])
        key = fingerprint.of_json(body)
        # Luck is drawn anew for each try, so that a request that was turned away succeeds at some
        # later one.
        with self._lock:
            self._tries[key] += 1
            luck = Draw("try", self.seed, key, self._tries[key])
        time.sleep(behavior.latency)
        refusal = _refusal(behavior, body.get("response_format"), luck)
        if refusal is not None:
            return refusal
        completion = _completion(key, body, answer(behavior, body, self.truth, self.seed))
        with self._lock:
            self.paid[key] += 1
        return 200, completion, {}

    def _count_pair(self, messages: list[dict[str, str]]) -> None:
        shown = prompts.read_back(messages)
        if shown is None:
            return
        pair = fingerprint.of_json([shown.conversation, sorted(shown.candidates)])
        with self._lock:
            self.pairs[pair] = knows(shown, self.truth)
            due = self._report is not None and len(self.pairs) >= self._next_report
            if due:
                self._next_report = 2 * len(self.pairs)
        if due:
            print(self.knowledge(), file=self._report, flush=True)

    def knowledge(self) -> str:
        """One line: how many of the pairs that it was asked about it knows."""
        with self._lock:
            asked_pairs, known_pairs = len(self.pairs), sum(self.pairs.values())
        line = f"scripted judges: {known_pairs} of {asked_pairs} pairs asked about are known"
        if known_pairs < asked_pairs:
            line += (
                '; the answer about the others is "No preference": give their --source or --truth'
            )
        return line

    def stats(self) -> dict[str, Any]:
        """What it was asked and answered so far."""
        with self._lock:
            return {
                "statuses": dict(self.statuses),
                "answered": sum(self.paid.values()),
                "answered_twice": sum(count - 1 for count in self.paid.values()),
                "most_at_once": self.most_at_once,
                "pairs_asked": len(self.pairs),
                "pairs_known": sum(self.pairs.values()),
            }

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count a request among those that are being worked on."""
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    # Connections that wait to be taken. With the usual five, of hundreds that come at once most
    # would be dropped and tried again seconds later.
    request_queue_size = 4096


def _refusal(
    behavior: Behavior, response_format: Mapping[str, Any] | None, luck: Draw
) -> Response | None:
    """The answer to a request that is turned away, None where it is not."""
    if luck.chance(behavior.rate_limited):
        headers = {}
        if behavior.retry_after is not None:
            headers["Retry-After"] = str(behavior.retry_after)
        return 429, _error("slow down"), headers
    if luck.chance(behavior.broken):
        return 500, _error("out of order"), {}
    if behavior.strict and response_format and not behavior.follows(response_format):
        return 400, _error(f"response_format {response_format['type']!r} is not supported"), {}
    return None


def _completion(key: str, body: Mapping[str, Any], text: str) -> dict[str, Any]:
    """A chat completion's JSON, the text cut off at the request's max_tokens."""
    limit = body.get("max_tokens", 10**9)
    finish = "stop"
    if _tokens(text) > limit:
        text, finish = text[: CHARACTERS_PER_TOKEN * limit], "length"
    prompt = _tokens("".join(message["content"] for message in body["messages"]))
    completion = _tokens(text)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": finish,
    }
    return {
        "id": f"scripted-{key}",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [choice],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        },
    }


# A tokenizer's usual yield on English text: costs need a plausible count, not an exact one.
CHARACTERS_PER_TOKEN = 4


def _tokens(text: str) -> int:
    return max(1, len(text) // CHARACTERS_PER_TOKEN)


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "scripted", "code": None}}


def _handler(server: JudgeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        # Connections stay open between requests, as those of real servers do.
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            try:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            except ValueError:
                self._send(400, _error("the body is not JSON"), {})
                return
            if not self.path.endswith("/chat/completions"):
                self._send(404, _error(f"there is no {self.path}"), {})
                return
            with server.counted():
                self._send(*server.respond(body))

        def do_GET(self) -> None:
            if self.path == "/stats":
                self._send(200, server.stats(), {})
            elif self.path == "/v1/models":
                models = [{"id": name, "object": "model"} for name in server.behaviors]
                self._send(200, {"object": "list", "data": models}, {})
            else:
                self._send(404, _error(f"there is no {self.path}"), {})

        def _send(self, status: int, content: dict[str, Any], headers: dict[str, str]) -> None:
            data = json.dumps(content).encode()
            server.statuses[status] += 1
            headers = {
                "Content-Type": "application/json",
                "Content-Length": str(len(data)),
                **headers,
            }
            # A client that was killed no longer reads: nothing to report.
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@contextlib.contextmanager
def serve(
    behaviors: Mapping[str, Behavior], truth: Truth, *, port: int = 0, seed: int = 0
) -> Iterator[JudgeServer]:
    """A server on this machine for as long as the block lasts; port 0 takes a free one."""
    server = JudgeServer(behaviors, truth, port=port, seed=seed)
    # A short poll: tests start and stop many servers, and each shutdown waits for one.
    thread = threading.Thread(
        target=server.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def parse_judge(text: str) -> tuple[str, Behavior]:
    """NAME or NAME:field=value,field=value. Raises ValueError naming a wrong field or value."""
    name, _, settings = text.partition(":")
    types = {field.name: type(field.default) for field in dataclasses.fields(Behavior)}
    values: dict[str, Any] = {}
    for setting in filter(None, settings.split(",")):
        field, _, value = setting.partition("=")
        if field not in types:
            raise ValueError(f"--judge {text}: {field!r} is not one of {', '.join(types)}")
        values[field] = _setting(text, field, value, types[field])
    return name, Behavior(**values)


def _setting(judge: str, field: str, value: str, kind: type) -> Any:
    """The value of a field of Behavior. Raises ValueError where it is none of its kind."""
    if kind is str:
        return value
    if kind is bool:
        if value not in ("True", "False"):
            raise ValueError(f"--judge {judge}: {field} is True or False, not {value!r}")
        return value == "True"
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"--judge {judge}: {field} = {value!r} is not a number") from None
    if field not in SECONDS and not 0 <= number <= 1:
        raise ValueError(f"--judge {judge}: {field} = {value} is not in [0, 1]")
    return number


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    arguments = errors.ArgumentParser(
        prog="python -m rewardjax.curation.judges.scripted_server",
        description="Scripted judges over HTTP.",
    )
    arguments.add_argument(
        "--source",
        action="append",
        default=[],
        help="the data to judge: world:..., or groups that say which responses are correct; repeat",
    )
    arguments.add_argument(
        "--truth",
        action="append",
        default=[],
        metavar="FILE",
        help="pairs whose own label is the truth, or a table of pair_id and value (a, b, tie); "
        "repeat",
    )
    spelling.add_flags(arguments)
    arguments.add_argument(
        "--judge",
        action="append",
        required=True,
        help="NAME:field=value,..., a model to serve (fields of Behavior); repeat",
    )
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--port", type=int, default=8100)
    arguments.add_argument("--seed", type=int, default=0)
    return arguments


def read_truth(args: argparse.Namespace) -> Truth:
    """What the sources and files that the arguments name say; says what each was read as."""
    if not args.source and not args.truth:
        raise ValueError("give --source or --truth: without either, no pair is known")
    meaning = {"columns": args.columns, "labels": args.labels}
    opened = []
    for source in args.source:
        opened.append(sources.open_source(source, split=args.split, spelling=spelling.FLAGS))
        for reading in formats.readings(opened[-1], **meaning):
            print(reading.sentence(), file=sys.stderr)
    tables = {}
    for file in args.truth:
        source = sources.open_source(file, split=args.split, spelling=spelling.FLAGS)
        tables[file] = truth_labels.labels_of(source, **meaning)
        print(f"{file}: the labels of {len(tables[file])} pairs are the truth", file=sys.stderr)
    facts = truth_of(*opened, **meaning).facts
    return Truth(facts, truth_labels.merged(tables))


@errors.one_line("rewardjax.curation.judges.scripted_server")
def main() -> None:
    """Serve until interrupted; then say how many of the pairs were known."""
    args = parser().parse_args()
    truth = read_truth(args)
    behaviors = dict(map(parse_judge, args.judge))
    if len(behaviors) < len(args.judge):
        raise ValueError("--judge: two judges have one name, and only one of them would answer")
    where = {"host": args.host, "port": args.port}
    try:
        server = JudgeServer(behaviors, truth, **where, seed=args.seed, report=sys.stderr)
    except OSError as error:
        # Most often a server that was started before and still runs.
        raise ValueError(f"--host {args.host} --port {args.port}: {error.strerror}") from None
    known = []
    if truth.facts:
        known.append(f"{len(truth.facts)} prompts")
    if truth.labels:
        known.append(f"{len(truth.labels)} labeled pairs")
    print(f"{' and '.join(known)}, models {', '.join(behaviors)}: {server.url}", flush=True)
    # `kill` stops it like Ctrl-C, so that the last line is printed either way.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        server.http.serve_forever()
    print(server.knowledge(), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
