import dataclasses
import sqlite3

import pytest

from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.servers.requests import Answer, Price, Request, cost

BODY = {
    "model": "m",
    "messages": [{"role": "user", "content": "hi"}],
    "temperature": 0.5,
    "max_tokens": 100,
}
PRICE = Price(input=1.0, cached=0.1, output=2.0)


def request(**change) -> Request:
    return Request(
        **{
            "voter": "judge:m",
            "body": BODY,
            "revision": "",
            "price": PRICE,
            "subject": "p",
            "purpose": "stage1",
        }
        | change
    )


ANSWER = Answer("text", "stop", 50, 10, 20)
BOOKED = dataclasses.replace(ANSWER, key=request().key)


@pytest.mark.parametrize(
    "change",
    [
        {"sample": 1},
        {"attempt": 1},
        {"shown": "ba"},
        {"revision": "2"},
        {"body": BODY | {"temperature": 0.6}},
        {"body": BODY | {"model": "n"}},
        {"body": BODY | {"response_format": {"type": "json_object"}}},
        {"body": BODY | {"messages": [{"role": "user", "content": "hi!"}]}},
    ],
)
def test_whatever_could_change_the_answer_changes_the_key(change):
    assert request(**change).key != request().key


def test_what_it_is_for_does_not_change_the_key():
    assert (
        request(voter="judge:x", purpose="stage2", subject="q", price=Price()).key == request().key
    )


def test_costs_by_tokens_and_the_most_where_they_are_unknown():
    assert cost(request(), ANSWER) == pytest.approx((40 * 1.0 + 10 * 0.1 + 20 * 2.0) / 1e6)
    assert cost(request(), Answer("text", counted=False)) == request().most()
    assert cost(request(), Answer("no", status="rejected")) == 0
    assert cost(request(), ANSWER, discount=0.5) == cost(request(), ANSWER) / 2


def test_no_text_has_more_tokens_than_the_reservation_counts():
    text = "naïve 数学 🎲 " * 50
    body = BODY | {"messages": [{"role": "user", "content": text}]}
    assert request(body=body).most() * 1e6 >= len(text.encode()) * PRICE.input + 100 * PRICE.output


def test_an_answer_is_kept_and_its_cost_booked(tmp_path):
    ledger = CallLedger(tmp_path / "calls.sqlite")
    row = ledger.reserve(request())
    assert (
        row is not None
        and ledger.lookup(request()) is None
        and ledger.spent() == pytest.approx(request().most())
    )
    ledger.settle(row, request(), ANSWER)
    assert ledger.lookup(request()) == BOOKED and ledger.spent() == pytest.approx(
        cost(request(), ANSWER)
    )
    again = CallLedger(tmp_path / "calls.sqlite")  # another process
    assert again.lookup(request()) == BOOKED and again.spent() == ledger.spent()
    (line,) = again.costs()
    assert (
        line["purpose"],
        line["voter"],
        line["answered"],
        line["completion_tokens"],
        line["in_doubt"],
    ) == (
        "stage1",
        "judge:m",
        1,
        20,
        0,
    )


def test_reservations_hold_the_budget_across_processes(tmp_path):
    most = request().most()
    one, two = (CallLedger(tmp_path / "calls.sqlite", budget=2.5 * most) for _ in range(2))
    rows = [ledger.reserve(request(sample=k)) for k, ledger in enumerate((one, two, one, two))]
    assert [row is None for row in rows] == [False, False, True, True] and one.spent() <= 2.5 * most
    one.abandon(rows[0], request(sample=0), tries=3, lost=0, reason="500")
    assert two.reserve(request(sample=2)) is not None  # what failed for free is free again
    assert two.costs()[0]["failed"] == 1


def test_what_was_in_flight_when_a_process_died_stays_booked(tmp_path):
    CallLedger(tmp_path / "calls.sqlite").reserve(request())
    ledger = CallLedger(tmp_path / "calls.sqlite", budget=1.5 * request().most())
    assert ledger.costs()[0]["in_doubt"] == pytest.approx(request().most())
    assert ledger.reserve(request()) is None


def test_timed_out_tries_are_booked_in_full(tmp_path):
    ledger = CallLedger(tmp_path / "calls.sqlite")
    row = ledger.reserve(request())
    ledger.settle(row, request(), ANSWER, tries=3, lost=2)
    assert ledger.spent() == pytest.approx(cost(request(), ANSWER) + 2 * request().most())
    row = ledger.reserve(request(sample=1))
    ledger.abandon(row, request(sample=1), tries=2, lost=1, reason="no reply")
    assert ledger.costs()[0]["in_doubt"] == pytest.approx(request().most())


def test_of_two_answers_to_one_request_the_first_stays_and_both_are_booked(tmp_path):
    one, two = (CallLedger(tmp_path / "calls.sqlite") for _ in range(2))
    rows = one.reserve(request()), two.reserve(request())
    one.settle(rows[0], request(), ANSWER)
    two.settle(rows[1], request(), Answer("other", "stop", 50, 10, 20))
    assert one.lookup(request()) == BOOKED and one.spent() == pytest.approx(
        2 * cost(request(), ANSWER)
    )
    assert one.costs()[0]["answered"] == 2


def test_a_failed_booking_leaves_nothing(tmp_path):
    ledger = CallLedger(tmp_path / "calls.sqlite")
    with pytest.raises(sqlite3.IntegrityError):
        ledger.reserve(request(subject=None))
    assert ledger.spent() == 0 and ledger.costs() == []
    assert ledger.reserve(request()) is not None


def test_a_raised_limit_asks_again_only_what_was_cut_off(tmp_path):
    ledger = CallLedger(tmp_path / "calls.sqlite")
    longer = BODY | {"max_tokens": 400}
    ledger.settle(ledger.reserve(request()), request(), ANSWER)
    cut = request(sample=1)
    ledger.settle(ledger.reserve(cut), cut, Answer("half", "length", 50, 0, 100))
    assert ledger.lookup(request(body=longer)) == BOOKED
    assert ledger.lookup(request(body=longer, sample=1)) is None
    other_field = {name: BODY[name] for name in BODY if name != "max_tokens"}
    other_field["max_completion_tokens"] = 400
    assert ledger.lookup(request(body=other_field)) == BOOKED


def test_a_ledger_of_an_earlier_release_is_read(tmp_path):
    ledger = CallLedger(tmp_path / "calls.sqlite")
    ledger.settle(ledger.reserve(request()), request(), ANSWER)
    ledger.close()
    with sqlite3.connect(tmp_path / "calls.sqlite") as db:
        db.execute("DROP INDEX questions")
        db.execute("ALTER TABLE calls DROP COLUMN question")
        db.execute("ALTER TABLE calls DROP COLUMN mercies")
    assert CallLedger(tmp_path / "calls.sqlite").lookup(request()) == BOOKED
