"""`curate judges check`: what each server is worth, on pairs whose answer is known."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from judging import judge_at, world_items, world_store

from rewardjax.curation.defaults import curation
from rewardjax.curation.judges.scripted_judge import Behavior
from rewardjax.curation.judges.scripted_server import serve
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.stages import judges_check, product
from rewardjax.curation.workspace import Workspace

_, _, TRUTH = world_items(40, seed=3)
BEHAVIORS = {
    "good": Behavior(accuracy=1.0),
    "first": Behavior(position_bias=1.0),
    "messy": Behavior(malformed=1.0),
}


@pytest.fixture
def ws_of(tmp_path):
    store = world_store(tmp_path, 40)

    def make(*judges):
        calls = CallLedger(tmp_path / "calls.sqlite")
        return Workspace(tmp_path, curation(), store, calls, list(judges), product.PLUGINS)

    return make


def test_each_server_has_a_row_with_what_it_is_worth(ws_of):
    with serve(BEHAVIORS, TRUTH) as server, serve(BEHAVIORS, TRUTH) as other:
        good = judge_at(server, "good", base_url=f"{server.url},{other.url}")
        ws = ws_of(good, judge_at(server, "first"), judge_at(server, "messy", asks=1))
        rows, sentences = judges_check.check(ws)
        # The same questions again, and yet each server was asked itself.
        assert sum(other.paid.values()) == 21
        spent = ws.calls.spent()
        judges_check.check(ws)
        assert ws.calls.spent() == spent > 0
    assert [row["judge"] for row in rows] == ["good", "good", "first", "messy"]
    assert [row["server"] for row in rows[:2]] == [server.url, other.url]
    assert rows[0]["readable"].startswith("20 of 20") and rows[0]["right"].startswith("20 of 20")
    assert rows[0]["says first"] == "50%" and rows[2]["says first"] == "100%"
    assert rows[2]["right"].startswith("10 of 20")
    assert rows[3]["readable"].startswith("0 of 20") and rows[3]["right"] == "0 of 0"
    assert rows[0]["$ of the plan"] > 0
    assert "original labels" in sentences[0] and "can be read" in sentences[1]


@contextlib.contextmanager
def serving(reply):
    """A server that answers every request by `reply(body)`; yields its base_url."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            content = json.dumps(reply(body)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()


def vectors(body):
    data = [{"index": i, "embedding": [1.0, 2.0]} for i in range(len(body["input"]))]
    return {"data": data, "usage": {"prompt_tokens": 5}}


def test_the_server_of_vectors_is_asked_too(ws_of):
    with serving(vectors) as good, serving(lambda body: {"data": []}) as bad:
        ws = ws_of()
        ws.config.embedder.name, ws.config.embedder.width = "http", None
        settings = {"model": "e", "base_url": f"{good},{bad}", "retries": 0, "price_input": 1.0}
        ws.config.embedder.server.update(settings)
        rows, sentences = judges_check.check(ws)
    assert [row["asked to"] for row in rows] == ["embed", "embed"]
    assert [row["server"] for row in rows] == [good, bad]
    assert rows[0]["readable"].startswith("10 of 10") and rows[0]["$ per question"] > 0
    assert rows[1]["readable"].startswith("0 of 10")
    assert "0 vectors for 1 texts" in sentences[-1]
    assert not ws.store.manifests("embeddings")


def test_a_run_takes_its_vectors_from_the_server_of_the_config(ws_of):
    with serving(vectors) as url:
        ws = ws_of()
        ws.config.embedder.name, ws.config.embedder.width = "http", None
        ws.config.embedder.server.update({"model": "e", "base_url": url})
        assert product.embedder(ws, []).embed(["x", "y"]).shape == (2, 2)


def test_a_workspace_without_pairs_is_refused(tmp_path):
    store, calls = Store(tmp_path / "store"), CallLedger(tmp_path / "calls.sqlite")
    ws = Workspace(tmp_path, curation(), store, calls, [], product.PLUGINS)
    with pytest.raises(ValueError, match="curate import"):
        judges_check.check(ws)
