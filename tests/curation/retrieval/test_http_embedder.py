"""Vectors over HTTP: what is in a reply is checked, its cost is booked, and nothing is made up."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from rewardjax.curation.retrieval import http_embedder as http
from rewardjax.curation.servers import connection
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.servers.replies import Trouble

WIDTH = 6


def vector_of(text, width=WIDTH):
    """Any vector that is the text's own."""
    return np.random.default_rng(list(text.encode())).normal(size=width).tolist()


class Embeddings:
    """A server that answers each request by `answer(body, number)`: status, JSON, headers."""

    def __init__(self):
        self.bodies = []
        self.answer = lambda body, number: (200, self.reply(body), {})

    def reply(self, body):
        width = body.get("dimensions", WIDTH)
        data = [
            {"object": "embedding", "index": place, "embedding": vector_of(text, width)}
            for place, text in enumerate(body["input"])
        ]
        # As they are ready, which is in no order.
        usage = {"prompt_tokens": sum(map(len, body["input"])), "total_tokens": 0}
        return {"object": "list", "data": data[::-1], "model": body["model"], "usage": usage}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(connection, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(connection, "LONGEST_PAUSE", 0.02)
    embeddings = Embeddings()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            embeddings.bodies.append((self.path, body))
            status, reply, headers = embeddings.answer(body, len(embeddings.bodies))
            content = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    embeddings.url = f"http://127.0.0.1:{listening.server_address[1]}/v1"
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield embeddings
    listening.shutdown()


@pytest.fixture
def ledger(tmp_path):
    with contextlib.closing(CallLedger(tmp_path / "calls.sqlite")) as ledger:
        yield ledger


def at(server, **more):
    settings = {"batch": 3, "max_in_flight": 2, "price_input": 1e6, "retries": 4}
    return http.EmbeddingServer("m", server.url, **settings | more)


TEXTS = [f"text {place}" for place in range(8)]


def test_each_text_has_its_own_vector_whatever_the_order_of_the_reply(server, ledger):
    embedder = http.http_embedder(at(server), ledger, purpose="embed")
    vectors = embedder.embed(TEXTS)
    expected = np.array([vector_of(text) for text in TEXTS])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert embedder.width == WIDTH and embedder.embed([]).shape == (0, WIDTH)
    paths, bodies = zip(*server.bodies, strict=True)
    assert set(paths) == {"/v1/embeddings"}
    assert sorted(len(body["input"]) for body in bodies) == [1, 2, 3, 3]
    assert all("dimensions" not in body for body in bodies)
    # A dollar per token, and a token per letter.
    costs = {row["purpose"]: row["dollars"] for row in ledger.costs()}
    assert costs == {"probe": len(http.PROBE), "embed": sum(map(len, TEXTS))}
    assert {row["voter"] for row in ledger.costs()} == {"embedder:m"}


def test_a_width_is_asked_for_and_checked(server, ledger):
    embedder = http.http_embedder(at(server), ledger, width=4)
    assert embedder.embed(TEXTS).shape == (8, 4)
    assert all(body["dimensions"] == 4 for _, body in server.bodies)
    reply = server.reply
    server.answer = lambda body, number: (200, reply(body | {"dimensions": 5}), {})
    with pytest.raises(http.NotEmbedded, match=r"vectors of \[5\] numbers, not 4"):
        embedder.embed(TEXTS)


def test_the_name_changes_with_whatever_changes_vectors(server, ledger):
    name = lambda width=None, **more: (
        http.http_embedder(at(server, **more), ledger, width=width).name
    )
    assert name() == name(batch=2, max_in_flight=1, retries=9)
    others = [name(), name(revision="2"), name(width=4), name(extra={"normalize": True})]
    assert len(set(others)) == 4


def spoilt(change):
    """A reply with something wrong in it."""
    reply = Embeddings().reply({"model": "m", "input": ["a", "b"]})
    change(reply)
    return reply


def put(place, field, value):
    return lambda reply: reply["data"][place].__setitem__(field, value)


NOT_VECTORS = {
    "a web page": (b"<html>", "a web page in place of JSON"),
    "half a document": (b'{"data": [', "bytes that are not JSON"),
    "a list": ([], "not an object"),
    "an error": ({"error": {"message": "CUDA out of memory"}}, "CUDA out of memory"),
    "no data": ({}, "without a list of vectors"),
    "null data": ({"data": None}, "without a list of vectors"),
    "too few": (spoilt(lambda reply: reply["data"].pop()), "1 vectors for 2 texts"),
    "too many": (
        spoilt(lambda reply: reply["data"].append({"index": 2, "embedding": [1.0] * WIDTH})),
        "3 vectors for 2 texts",
    ),
    "an index twice": (spoilt(put(0, "index", 0)), "the index 0 of a vector"),
    "no index": (spoilt(lambda reply: reply["data"][0].pop("index")), "the index None"),
    "a true index": (spoilt(put(0, "index", True)), "the index True"),
    "base64": (spoilt(put(0, "embedding", "AAAA")), "not a list"),
    "null numbers": (spoilt(put(0, "embedding", [None] * WIDTH)), "not of numbers"),
    "NaN": (spoilt(put(0, "embedding", [float("nan")] * WIDTH)), "not finite"),
    "beyond float32": (spoilt(put(0, "embedding", [1e300] * WIDTH)), "not finite"),
    "zeros": (spoilt(put(0, "embedding", [0.0] * WIDTH)), "a vector of zeros"),
    "an empty vector": (spoilt(put(0, "embedding", [])), "not a list"),
    "another width": (spoilt(put(0, "embedding", [1.0] * 5)), r"vectors of \[5, 6\] numbers"),
}


def request(*texts, width=None):
    body = {"model": "m", "input": list(texts)}
    return http.EmbeddingRequest("v", body, "", http.Price(1e6), width=width)


@pytest.mark.parametrize("name", NOT_VECTORS)
def test_a_reply_that_is_not_vectors_is_trouble(name):
    reply, message = NOT_VECTORS[name]
    content = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
    with pytest.raises(Trouble, match=message):
        http.read_vectors(content, request("a", "b"))


@pytest.mark.parametrize("tokens", [None, -1, 2.5, True, "3", 10**9])
def test_a_count_of_tokens_that_cannot_be_counts_as_none(tokens):
    def change(reply):
        reply["usage"] = {"prompt_tokens": tokens}

    answer = http.read_vectors(json.dumps(spoilt(change)).encode(), request("a", "b"))
    assert not answer.counted and answer.rows.shape == (2, WIDTH)


def test_trouble_is_tried_again_and_then_paused_for(server, ledger):
    embedder = http.http_embedder(at(server), ledger)
    good = server.answer
    failing = {"error": {"message": "overloaded"}}
    tried = set()

    def at_the_second_try(body, number):
        # By request and not by number: of requests side by side one could meet every failure.
        first = str(body) not in tried
        tried.add(str(body))
        return (500, failing, {}) if first else good(body, number)

    server.answer = at_the_second_try
    assert embedder.embed(TEXTS).shape == (8, WIDTH)
    server.answer = lambda body, number: (500, failing, {})
    spent = ledger.spent()
    with pytest.raises(http.NotEmbedded, match="overloaded"):
        embedder.embed(TEXTS)
    assert ledger.spent() == spent


@pytest.mark.parametrize(
    ("status", "message", "remedy"),
    [
        (401, "bad key", "check base_url, model and the API key"),
        (413, "input is too long", "truncate_prompt_tokens"),
        (400, "model does not support matryoshka", "embedder.width=None"),
        (400, "no such field", "mend embedder.server"),
    ],
)
def test_a_refusal_says_what_to_do(server, ledger, status, message, remedy):
    server.answer = lambda body, number: (status, {"error": {"message": message}}, {})
    with pytest.raises(http.NotEmbedded, match=f"{message}.*{remedy}"):
        http.http_embedder(at(server), ledger)


def test_no_request_goes_beyond_the_budget(server, tmp_path):
    # A first question and one batch of three, with room for what they could cost at most.
    with contextlib.closing(CallLedger(tmp_path / "calls.sqlite", budget=300.0)) as ledger:
        embedder = http.http_embedder(at(server, max_in_flight=1), ledger)
        with pytest.raises(http.NotEmbedded, match=r"of 300\.0000 dollars.*run again"):
            embedder.embed(TEXTS * 10)
        assert ledger.spent() <= 300


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": ""}, "needs embedder.server.model"),
        ({"base_url": ""}, "needs embedder.server.base_url"),
        ({"batch": 0}, "embedder.server.batch = 0, must be at least 1"),
        ({"extra": {"input": "x"}}, "extra may not hold input"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        http.EmbeddingServer(**{"model": "m", "base_url": "http://x/v1"} | settings)
