"""A scripted judge behind real HTTP: known accuracy, known biases, known faults. For tests, the quickstart and experiments.

    python -m rewardjax.curation.judges.scripted_server --source "world:train?num=2000" --judge good:accuracy=0.9

    with judge_server.serve({"good": Behavior(accuracy=0.9)}, truth) as server: ... server.url ...

It speaks the chat-completions protocol and recognizes the requests of prompts.py; what it answers is a function of its seed and the
request's body, and of nothing else. `GET /stats` says what it was asked. It is no language model: it knows the truth from a table that no
record of the data holds (`truth_of`), and is wrong as often as its `Behavior` says.
"""

import argparse
import contextlib
import dataclasses
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from rewardjax import fingerprint
from rewardjax.curation.judges import prompts
from rewardjax.curation.judges.attributes import TAXONOMIES, Attributes
from rewardjax.data import formats, sources, world
from rewardjax.data.groups import BadRow
from rewardjax.data.world.draw import Draw

FAULTS = ("truncated", "prose", "wrong choice", "empty", "two answers")


@dataclasses.dataclass(frozen=True)
class Behavior:
    """How a scripted judge judges, and how its server behaves. All but the last four are probabilities.

    accuracy: of naming the better response, when nothing below sways it. systematic: of a mistake being the pair's (the same in every
    sample and order) and not the sample's. position_bias: of naming the first without looking; length_bias: of naming the longer one.
    no_preference: of declining. examples_help: of an error undone when all gold examples are of the asked pair's task (less, when fewer
    are): how retrieval can matter to a scripted judge. attribute_accuracy: of each closed attribute being right.
    malformed: of an unreadable answer. rate_limited, broken: of a try being answered 429, 500. honours: whether the server follows
    `response_format` of these types; others are ignored, as servers do, or refused with 400 (`strict`). latency, retry_after: seconds."""

    accuracy: float = 0.8
    systematic: float = 0.5
    position_bias: float = 0.0
    length_bias: float = 0.0
    no_preference: float = 0.0
    examples_help: float = 0.0
    attribute_accuracy: float = 0.95
    malformed: float = 0.0
    rate_limited: float = 0.0
    broken: float = 0.0
    honours: str = "json_schema"
    strict: bool = False
    latency: float = 0.0
    retry_after: float | None = 0.05


class Known(NamedTuple):
    """What the server knows of a prompt: whether each response's text is right, and the attributes where the source has them."""

    correct: dict[str, bool]
    attributes: Attributes | None


Truth = Mapping[
    str, Known
]  # by conversation; it and the responses as prompts.conversation writes them


def truth_of(source: Iterable[dict[str, Any]], name: str = "") -> dict[str, Known]:
    """The table of a source. The world's pairs are judged by its oracle, any other group by its `correct`; what has neither is left out,
    and the server will say "No preference" about it."""
    table: dict[str, Known] = {}
    for row, record in enumerate(source):
        try:
            group = formats.to_group(record, row, name)
        except BadRow:
            continue
        texts = [prompts.conversation(response) for response in group.responses]
        correct = group.correct
        if "label_source" in record:  # only pairs of the world say so
            right = prompts.conversation(
                [{"role": "assistant", "content": world.oracle(record["id"])}]
            )
            correct = [text == right for text in texts]
        if correct is not None:
            known = table.setdefault(
                prompts.conversation(group.prompt), Known({}, _attributes(record))
            )
            known.correct.update(zip(texts, correct, strict=True))
    return table


def _better(shown: prompts.Shown, truth: Truth) -> int | None:
    """Which candidate is better, 0 or 1; None where both are right, both are wrong, or one is unknown."""
    known = truth.get(shown.conversation)
    first, second = (
        (known.correct.get(text) for text in shown.candidates) if known else (None, None)
    )
    return None if first is None or second is None or first == second else int(second)


def _attributes(record: Mapping[str, Any]) -> Attributes | None:
    if "category" not in record:
        return None
    return Attributes(
        task_category=record["category"],
        objectivity=record["objectivity"],
        controversiality=record["controversiality"],
        desired_attributes="correctness, following the request, brevity",
        annotation_guideline=f"Work the {record['task']} task out yourself and compare the result with both replies; ignore their manner.",
    )


# ---------------------------------------------------------------------------------------------------------------- what it answers


def judge(behavior: Behavior, shown: prompts.Shown, truth: Truth, pair: Draw, sample: Draw) -> str:
    """One of prompts.PREFERRED. `pair` is a stream of the judge and the pair, `sample` one of the request."""
    better = _better(shown, truth)
    sways = [
        sample.chance(behavior.position_bias),
        sample.chance(behavior.length_bias),
        sample.chance(behavior.no_preference),
    ]
    mistaken = pair.unit() if sample.chance(behavior.systematic) else sample.unit()
    lengths = [len(text) for text in shown.candidates]
    if sways[0]:
        return prompts.PREFERRED[0]
    if sways[1] and lengths[0] != lengths[1]:
        return prompts.PREFERRED[lengths[1] > lengths[0]]
    if sways[2] or better is None:
        return prompts.PREFERRED[2]
    error = (1 - behavior.accuracy) * (1 - behavior.examples_help * _familiar(shown, truth))
    return prompts.PREFERRED[better ^ (mistaken < error)]


def _familiar(shown: prompts.Shown, truth: Truth) -> float:
    """The share of gold examples that are of the asked pair's task category."""
    of = lambda conversation: truth[conversation].attributes if conversation in truth else None
    asked = of(shown.conversation) if shown.examples else None
    if asked is None:
        return 0.0
    examples = [of(example) for example in shown.examples]
    return sum(
        one is not None and one.task_category == asked.task_category for one in examples
    ) / len(examples)


def tag(behavior: Behavior, shown: prompts.Shown, truth: Truth, sample: Draw) -> dict[str, str]:
    """The attributes of a pair, each closed field another value with probability 1 - attribute_accuracy; "Other" for an unknown pair."""
    known = truth.get(shown.conversation)
    found = known.attributes if known else None
    if found is None:
        text = "The pair is not one this judge knows."
        found = Attributes(
            task_category="Other",
            objectivity="Objective",
            controversiality="Low",
            desired_attributes="correctness",
            annotation_guideline=text,
        )
    said = found.model_dump()
    for field, legal in TAXONOMIES.items():
        if not sample.chance(behavior.attribute_accuracy):
            said[field] = sample.pick([value for value in legal if value != said[field]])
    return said


def answer(behavior: Behavior, body: Mapping[str, Any], truth: Truth, seed: int) -> str:
    """The text of the assistant's message for a request's body."""
    request = Draw("answer", seed, fingerprint.of_json(body))
    honored = (body.get("response_format") or {}).get("type") in behavior.honours.split("+")
    shown = prompts.read_back(body["messages"])
    if shown is None:
        return (
            json.dumps(_instance(_schema(body["response_format"])))
            if honored
            else "Hello there, and welcome!"
        )
    if shown.task == "tag":
        said = tag(behavior, shown, truth, request)
    else:
        about = fingerprint.of_json([shown.conversation, sorted(shown.candidates)])
        preferred = judge(behavior, shown, truth, Draw("pair", seed, body["model"], about), request)
        said = {
            "rationale": f"Both replies were checked against the request. My choice: {preferred}.",
            "preferred": preferred,
        }
    if request.chance(behavior.malformed):
        return _spoil(said, request.pick(FAULTS))
    return (
        json.dumps(said)
        if honored
        else f"Here is my answer.\n```json\n{json.dumps(said, indent=1)}\n```"
    )


def _spoil(said: dict[str, str], fault: str) -> str:
    text, last = json.dumps(said), list(said)[-1]
    if fault == "truncated":
        return text[: len(text) // 2]
    if fault == "two answers":
        return (
            text
            + "\n"
            + json.dumps(
                said | {last: "Candidate 2" if said[last] == "Candidate 1" else "Candidate 1"}
            )
        )
    if fault == "wrong choice":
        return json.dumps({**said, last: 1})
    return "" if fault == "empty" else "I would rather talk about it than fill in a form."


def _schema(response_format: Mapping[str, Any]) -> dict[str, Any]:
    return (
        response_format["json_schema"]["schema"]
        if response_format["type"] == "json_schema"
        else response_format.get("schema", {})
    )


def _instance(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Some object of a schema of strings: what constrained decoding would give."""
    return {
        name: (field.get("enum") or [field.get("const", "text")])[0]
        for name, field in schema.get("properties", {}).items()
    }


# ---------------------------------------------------------------------------------------------------------------- the server


class JudgeServer:
    """A running server. `url` is the base_url of a client; `paid` counts the answers (status 200) given to each body, by its fingerprint,
    `statuses` all answers by status, `most_at_once` the requests that it had at the same time."""

    def __init__(
        self,
        behaviors: Mapping[str, Behavior],
        truth: Truth,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
    ):
        self.behaviors, self.truth, self.seed = dict(behaviors), truth, seed
        self.paid: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.most_at_once = 0
        self._tries: Counter[str] = Counter()
        self._at_once, self._lock = 0, threading.Lock()
        self.http = ThreadingHTTPServer((host, port), _handler(self))
        self.http.daemon_threads = True
        self.url = f"http://{host}:{self.http.server_address[1]}/v1"

    def respond(self, body: Mapping[str, Any]) -> tuple[int, dict[str, Any], dict[str, str]]:
        """(status, JSON, headers) of a chat completion."""
        behavior = self.behaviors.get(body.get("model", ""))
        if behavior is None:
            return (
                404,
                _error(f"model {body.get('model')!r} is not one of {', '.join(self.behaviors)}"),
                {},
            )
        key = fingerprint.of_json(body)
        with self._lock:
            self._tries[key] += 1
            luck = Draw("try", self.seed, key, self._tries[key])
        time.sleep(behavior.latency)
        if luck.chance(behavior.rate_limited):
            headers = (
                {} if behavior.retry_after is None else {"Retry-After": str(behavior.retry_after)}
            )
            return 429, _error("slow down"), headers
        if luck.chance(behavior.broken):
            return 500, _error("out of order"), {}
        asked = (body.get("response_format") or {}).get("type")
        if behavior.strict and asked and asked not in behavior.honours.split("+"):
            return 400, _error(f"response_format {asked!r} is not supported"), {}
        text = answer(behavior, body, self.truth, self.seed)
        tokens = lambda words: max(1, len(words) // 4)
        finish = "stop"
        if tokens(text) > body.get("max_tokens", 10**9):
            text, finish = text[: 4 * body["max_tokens"]], "length"
        usage = {
            "prompt_tokens": tokens("".join(m["content"] for m in body["messages"])),
            "completion_tokens": tokens(text),
        }
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": finish,
        }
        with self._lock:
            self.paid[key] += 1
        completion = {
            "id": f"scripted-{key}",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [choice],
        }
        return 200, completion | {"usage": usage | {"total_tokens": sum(usage.values())}}, {}

    def stats(self) -> dict[str, Any]:
        with self._lock:
            return {
                "statuses": dict(self.statuses),
                "answered": sum(self.paid.values()),
                "answered_twice": sum(count - 1 for count in self.paid.values()),
                "most_at_once": self.most_at_once,
            }

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        yield
        with self._lock:
            self._at_once -= 1


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "scripted", "code": None}}


def _handler(server: JudgeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            try:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            except ValueError:
                return self._send(400, _error("the body is no JSON"), {})
            if not self.path.endswith("/chat/completions"):
                return self._send(404, _error(f"no {self.path} here"), {})
            with server.counted():
                self._send(*server.respond(body))

        def do_GET(self) -> None:
            models = {
                "object": "list",
                "data": [{"id": name, "object": "model"} for name in server.behaviors],
            }
            known = {"/stats": server.stats, "/v1/models": lambda: models}
            found = known.get(self.path)
            self._send(200, found(), {}) if found else self._send(
                404, _error(f"no {self.path} here"), {}
            )

        def _send(self, status: int, found: dict[str, Any], headers: dict[str, str]) -> None:
            data = json.dumps(found).encode()
            server.statuses[status] += 1
            with contextlib.suppress(ConnectionError):  # the client was killed
                self.send_response(status)
                for name, value in {
                    "Content-Type": "application/json",
                    "Content-Length": str(len(data)),
                    **headers,
                }.items():
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
    """NAME or NAME:field=value,field=value. Raises ValueError naming an unknown field."""
    name, _, given = text.partition(":")
    known = {field.name: type(field.default) for field in dataclasses.fields(Behavior)}
    values: dict[str, Any] = {}
    for part in filter(None, given.split(",")):
        field, _, value = part.partition("=")
        if field not in known:
            raise ValueError(f"--judge {text}: {field!r} is not one of {', '.join(known)}")
        values[field] = value == "True" if known[field] is bool else known[field](value)
    return name, Behavior(**values)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m rewardjax.curation.judges.scripted_server",
        description="Scripted judges over HTTP.",
    )
    parser.add_argument(
        "--source",
        required=True,
        help="the data to judge: world:..., or groups that say which responses are correct",
    )
    parser.add_argument(
        "--judge",
        action="append",
        required=True,
        help="NAME:field=value,..., a model to serve (fields of Behavior); repeat",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    source = sources.open_source(args.source)
    behaviors, truth = dict(map(parse_judge, args.judge)), truth_of(source, source.name)
    server = JudgeServer(behaviors, truth, host=args.host, port=args.port, seed=args.seed)
    print(f"{len(truth)} prompts, models {', '.join(behaviors)}: {server.url}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.http.serve_forever()


if __name__ == "__main__":
    main()
