"""`curate status` says first what a lead asks: is it running, how much is done, paid and owed."""

import contextlib

import pytest
from answering import STEP, Board
from ledgers import pair, vote

from rewardjax import config as config_lib
from rewardjax import curate
from rewardjax.curation.defaults import curation
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.overview import money
from rewardjax.curation.servers.paid_calls import CallLedger, Ending
from rewardjax.curation.servers.requests import Answer, Price, Request


def test_status_of_a_workspace_that_waits_for_people(tmp_path, capsys):
    board = Board(tmp_path, capsys)
    answers = [{"task": task.id, "choice": "left"} for task in board.of("ann")[:3]]
    board.take("answers.jsonl", answers)
    ann, bob = (len(board.of(name)) for name in ("ann", "bob"))
    assert curate.main(["status", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "Run: no run was started yet",
        "Of 16 pairs: 16 not labeled.",
        "Gates: none measured yet.",
        "Money: judges $0.00 (no limit), people $0.00 (no limit).",
    ]
    owed = (
        f"{STEP}: people owe 13 answers (ann {ann - 3} of {ann}, bob {bob} of {bob}), 13 of which"
    )
    assert lines[4].startswith(f"Waiting for: {owed} close the step; their tasks are in {tmp_path}")
    assert lines[4].endswith(f"{STEP}.tasks.jsonl.")


def request_of(voter, text, max_tokens=10, **changes):
    body = {"model": "m", "messages": [], "max_tokens": max_tokens, "text": text}
    return Request(voter, body, "", Price(1e6, 0.0, 1e6), **changes)


@pytest.fixture
def spent(tmp_path):
    """Two judges who were paid, one with a request in a batch file, and paid people."""
    store = Store(tmp_path / "store")
    store.append("pairs", "import", "0", [pair("00"), pair("01")])
    votes = [vote("00", "original:s"), vote("01", "original:s")]
    store.append("votes", "import", "0", votes)
    # Gold that the team owned was not paid for here.
    own = [vote("01", "human:team")]
    store.append("votes", "gold", "0", own, iteration=-1)
    store.append("votes", "people-0", "all", [vote("00", "human:ann")])
    with contextlib.closing(CallLedger(tmp_path / "calls.sqlite")) as calls:
        for voter, tokens in (("judge:cheap", 2), ("judge:dear", 5)):
            request = request_of(voter, voter)
            row = calls.reserve(request)
            answer = Answer("yes", prompt_tokens=tokens, completion_tokens=tokens)
            calls.settle(row, request, answer)
        calls.reserve(request_of("judge:dear", "batch"), batch="/w/batches/label.dear.000.jsonl")
        about = {"purpose": "label-0", "task": "judge", "sample": 0}
        for subject, state in (("00", "answered"), ("01", "unreadable"), ("02", "refused")):
            ending = Ending(state)
            calls.note_ending(voter="judge:dear", subject=subject, **about, ending=ending)
    config = config_lib.resolve(curation())
    config["budget"] |= {"judges": 200.0, "people": 10.0}
    config_lib.write_json(tmp_path / "config.json", config)
    return tmp_path


def test_status_says_what_was_spent_and_what_is_left(spent, capsys):
    assert curate.main(["status", str(spent)]) == 0
    out = capsys.readouterr().out
    with contextlib.closing(CallLedger(spent / "calls.sqlite")) as calls:
        booked = calls.spent()
        rows = {row["who"]: row for row in money.table(Store(spent / "store"), calls, config())}
    # 4 and 10 tokens of a dollar each, and what the open request may cost.
    assert booked > 14 and f"Money: judges ${booked:.2f} of $200.00, people $0.50 of $10.00." in out
    assert rows["judge:cheap"]["$"] == 4 and rows["judge:cheap"]["$ in doubt"] == 0
    assert rows["judge:dear"]["$ in doubt"] == booked - 14
    assert rows["all judges"]["$ left"] == 200 - booked
    assert rows["people"] == {
        "who": "people", "answers": 1, "$": 0.5, "budget": 10.0, "$ left": 9.5
    }  # fmt: skip


def config():
    return {"prices": {"gold": 0.5}, "budget": {"judges": 200.0, "people": 10.0}}


def test_status_says_what_is_waited_for_and_what_was_lost(spent, capsys):
    assert curate.main(["status", str(spent)]) == 0
    out = capsys.readouterr().out
    assert "/w/batches/label.dear.000.jsonl: 1 requests without results; give them to" in out
    assert "Lost: judge:dear answered 1 of 3: 1 unreadable, 1 refused." in out
