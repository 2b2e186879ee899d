"""Tasks pay from shares of their own: nothing is paid twice, and no share exceeds what is left."""

import sqlite3

import pytest
from judging import judge_at, world_items

from rewardjax.curation.judges import asking, protocol
from rewardjax.curation.judges.scripted_judge import Behavior
from rewardjax.curation.judges.scripted_server import serve
from rewardjax.curation.servers import shares
from rewardjax.curation.servers.paid_calls import CallLedger, Ending
from rewardjax.curation.servers.requests import Answer, Price, Request

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1000}


def request(subject, sample=0) -> Request:
    body = BODY | {"user": subject}
    return Request("judge:m", body, "", Price(output=1.0), sample=sample, subject=subject)


def pay(ledger, one: Request, text="x", tokens=10):
    ledger.settle(ledger.reserve(one), one, Answer(text, completion_tokens=tokens))


def test_a_share_has_the_answers_of_its_pairs_and_an_equal_part_of_the_money(tmp_path):
    most = request("a").most()
    ledger = CallLedger(tmp_path / "calls.sqlite", budget=21.0 * most)
    pay(ledger, request("a"), "said about a", tokens=1000)
    pay(ledger, request("b"), "said about b", tokens=0)
    batch = ledger.reserve(request("b", sample=1), batch="/some/batch.jsonl")
    ledger.set_dialect("m", '{"format": "plain"}')
    left = 21.0 * most - ledger.spent()
    paths = {tmp_path / "1.sqlite": ["a", "c"], tmp_path / "2.sqlite": ["b"]}
    shares.deal(ledger, paths)
    one, two = map(shares.opened, paths)
    assert one.budget == two.budget == pytest.approx(left / 2) and one.spent() == two.spent() == 0
    assert one.lookup(request("a")).text == "said about a" and one.lookup(request("b")) is None
    assert two.lookup(request("b")).text == "said about b"
    # What stands in a batch file is not to be asked by a task.
    assert two.in_batch(request("b", sample=1).key).batch == "/some/batch.jsonl"
    assert batch and one.dialect_of("m") == '{"format": "plain"}'
    # A share holds: nine requests of the most they may cost, not ten.
    rows = [one.reserve(request("c", sample)) for sample in range(12)]
    assert sum(row is not None for row in rows) == int(one.budget / most)


def test_what_a_task_paid_is_taken_back_once(tmp_path):
    ledger = CallLedger(tmp_path / "calls.sqlite", budget=1.0)
    pay(ledger, request("a"), tokens=100)
    before = ledger.spent()
    path = tmp_path / "1.sqlite"
    shares.deal(ledger, {path: ["a", "b"]})
    share = shares.opened(path)
    pay(share, request("b"), "said about b", tokens=200)
    in_flight = request("b", sample=1)
    share.reserve(in_flight)
    ending = Ending("answered")
    share.note_ending(purpose="p", voter="v", task="judge", subject="b", sample=0, ending=ending)
    share.set_dialect("m", "found out")
    paid = share.spent()
    share.close()
    copy = path.read_bytes()
    for _ in range(2):
        shares.settle(ledger, path, "round-1/task-00000")
        assert not path.exists()
        assert ledger.spent() == pytest.approx(before + paid)
        assert ledger.lookup(request("b")).text == "said about b"
        # What was in flight when a task was killed may have been charged.
        assert sum(row["in_doubt"] for row in ledger.costs()) == pytest.approx(in_flight.most())
        # The owner may be killed between the ledger's transaction and the removal of the file.
        path.write_bytes(copy)
    assert ledger.endings("p", "judge")[0]["answered"] == 1
    assert ledger.dialect_of("m") == "found out"


def test_an_answer_that_two_tasks_paid_counts_once_and_costs_twice(tmp_path):
    ledger = CallLedger(tmp_path / "calls.sqlite", budget=1.0)
    paths = [tmp_path / "1.sqlite", tmp_path / "2.sqlite"]
    shares.deal(ledger, {path: ["a"] for path in paths})
    for number, path in enumerate(paths):
        share = shares.opened(path)
        pay(share, request(""), f"answer {number}", tokens=100)
        share.close()
        shares.settle(ledger, path, path.name)
    assert ledger.lookup(request("")).text == "answer 0"
    assert ledger.costs()[0]["answered"] == 2
    assert ledger.spent() == pytest.approx(2 * 100 * 1.0 / 1e6)
    with sqlite3.connect(ledger.path) as database:
        states = database.execute("SELECT state FROM calls ORDER BY id").fetchall()
    assert states == [("answered",), ("duplicate",)]


def test_a_task_that_is_started_again_pays_nothing_twice(tmp_path):
    items, _, truth = world_items(4)
    ledger = CallLedger(tmp_path / "calls.sqlite", budget=1.0)
    with serve({"m": Behavior()}, truth) as server:
        judge = judge_at(server, "m")
        path = tmp_path / "1.sqlite"
        shares.deal(ledger, {path: [item.pair_id for item in items]})
        for done in (2, 4):
            share = shares.opened(path)
            asking.ask(items[:done], [judge], share)
            share.close()
        shares.settle(ledger, path, "task")
        # Another round, whose tasks are others.
        shares.deal(ledger, {path: [item.pair_id for item in items]})
        share = shares.opened(path)
        asking.ask(items, [judge], share)
        assert server.stats()["answered_twice"] == 0 and share.spent() == 0
    assert len(list(protocol.votes(items, [judge], ledger))) == 8
