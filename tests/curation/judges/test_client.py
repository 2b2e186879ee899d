"""The client against a real server on this machine."""

import asyncio
import socket
import threading
from collections import Counter

import httpx2
import pytest
from judging import judge_at, world_items

from rewardjax.curation.judges import asking
from rewardjax.curation.judges.client import Judge
from rewardjax.curation.judges.requests.dialect import Dialect
from rewardjax.curation.judges.scripted_judge import Behavior
from rewardjax.curation.judges.scripted_server import serve
from rewardjax.curation.servers.paid_calls import CallLedger

ITEMS, RIGHT, TRUTH = world_items(24)


@pytest.fixture
def ledger(tmp_path):
    return CallLedger(tmp_path / "calls.sqlite")


@pytest.mark.parametrize(
    "behavior, format",
    [
        (Behavior(honours="json_schema"), "json_schema"),
        (Behavior(honours="json_object"), "json_object"),
        (Behavior(honours="none"), "plain"),  # ignores what it does not know and answers 200
        (Behavior(honours="none", strict=True), "plain"),  # refuses it with 400
        (Behavior(honours="json_object", strict=True), "json_object"),
    ],
)
def test_what_a_server_honours_is_found_out_once(ledger, behavior, format):
    with serve({"m": behavior}, TRUTH) as server:
        for _ in range(2):
            report = asking.ask(ITEMS[:3], [judge_at(server, "m")], ledger)
            assert report["settled"] == 6 and report["unreadable"] == 0
        assert Dialect.read(ledger.dialect_of("m")).format == format
        probes = {line["purpose"]: line["answered"] + line["rejected"] for line in ledger.costs()}[
            "probe"
        ]
        assert probes == {"json_schema": 1, "json_object": 2, "plain": 2 + behavior.strict}[format]
        assert sum(server.paid.values()) == 6 + sum(
            line["answered"] for line in ledger.costs() if line["purpose"] == "probe"
        )


def test_a_server_that_breaks_on_an_unknown_format_is_asked_otherwise(ledger, monkeypatch):
    with serve({"m": Behavior(honours="json_object")}, TRUTH) as server:
        respond = server.respond
        refuses = lambda body: (body.get("response_format") or {}).get("type") == "json_schema"
        server.respond = lambda body: (
            (500, {"error": {"message": "what?"}}, {}) if refuses(body) else respond(body)
        )
        monkeypatch.setattr("rewardjax.curation.servers.connection.LONGEST_PAUSE", 0.01)
        assert asking.ask(ITEMS[:2], [judge_at(server, "m")], ledger)["settled"] == 4
    assert Dialect.read(ledger.dialect_of("m")).format == "json_object"


def test_a_storm_of_429_and_500_loses_nothing(ledger, monkeypatch):
    monkeypatch.setattr("rewardjax.curation.servers.connection.LONGEST_PAUSE", 0.02)
    with serve({"m": Behavior(rate_limited=0.5, broken=0.2, retry_after=0.01)}, TRUTH) as server:
        report = asking.ask(ITEMS, [judge_at(server, "m", retries=40)], ledger)
        assert report["settled"] == 48 and report["stopped"] == {}
        assert (
            server.statuses[429] > 20
            and server.statuses[500] > 5
            and server.stats()["answered_twice"] == 0
        )


def test_the_server_is_left_alone_for_as_long_as_it_asks(ledger):
    with serve({"m": Behavior()}, TRUTH) as server:
        seen, respond = [], server.respond

        def once_busy(body):
            seen.append(asyncio.run(_now()))
            return (
                (429, {"error": {"message": "later"}}, {"Retry-After": "0.7"})
                if len(seen) == 1
                else respond(body)
            )

        server.respond = once_busy
        assert (
            asking.ask(
                ITEMS[:2], [judge_at(server, "m", max_in_flight=1, answer_format="plain")], ledger
            )["settled"]
            == 4
        )
    assert seen[1] - seen[0] >= 0.7


async def _now() -> float:
    return asyncio.get_running_loop().time()


def test_no_more_requests_at_a_time_than_allowed(ledger):
    with serve({"m": Behavior(latency=0.02)}, TRUTH) as server:
        asking.ask(ITEMS, [judge_at(server, "m", max_in_flight=3)], ledger)
        assert 2 <= server.most_at_once <= 3


def test_hundreds_of_requests_are_in_flight_whatever_the_library_has_as_its_limit(
    ledger, monkeypatch
):
    # The client library lets a thousand through and httpx a hundred; fewer here, as a test of more
    # than a thousand would take long.
    few = httpx2.Limits(max_connections=20)
    monkeypatch.setattr("openai._base_client.DEFAULT_CONNECTION_LIMITS", few)
    in_flight, everyone_is_here = 240, threading.Event()
    with serve({"m": Behavior()}, TRUTH) as server:
        respond = server.respond

        def when_all_are_here(body):
            # Its first question is alone.
            if server.most_at_once >= in_flight:
                everyone_is_here.set()
            if len(server.paid) and not everyone_is_here.wait(20):
                everyone_is_here.set()
            return respond(body)

        server.respond = when_all_are_here
        judge = judge_at(server, "m", samples=12, max_in_flight=in_flight)
        report = asking.ask(ITEMS, [judge], ledger)
    assert report["settled"] == 24 * 12 and server.most_at_once == in_flight
    assert server.stats()["answered_twice"] == 0


def test_timeouts_are_tried_again_and_booked(ledger, monkeypatch):
    monkeypatch.setattr("rewardjax.curation.servers.connection.LONGEST_PAUSE", 0.01)
    with serve({"m": Behavior()}, TRUTH) as server:
        tries, respond = Counter(), server.respond

        def slow_at_first(body):
            tries[str(body)] += 1
            if tries[str(body)] == 1:
                asyncio.run(asyncio.sleep(1.0))
            return respond(body)

        server.respond = slow_at_first
        judge = judge_at(server, "m", timeout=0.5, answer_format="json_schema", samples=1)
        assert asking.ask(ITEMS[:1], [judge], ledger)["settled"] == 1
    assert ledger.spent() > judge.max_tokens * judge.price_output / 1e6  # the lost try, in full


def test_a_dead_server_stops_its_judge_and_no_other(ledger, monkeypatch):
    monkeypatch.setattr("rewardjax.curation.servers.connection.LONGEST_PAUSE", 0.01)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        with serve({"m": Behavior()}, TRUTH) as server:
            dead = Judge("dead", "x", nowhere, retries=1, answer_format="plain", price_output=1.0)
            report = asking.ask(ITEMS, [judge_at(server, "m"), dead], ledger)
    assert (
        list(report["stopped"]) == [nowhere]
        and "judge dead" in report["stopped"][nowhere]
        and "no connection" in report["stopped"][nowhere]
    )
    assert report["settled"] == 48
    assert {line["voter"]: line["in_doubt"] for line in ledger.costs()}[
        "judge:dead"
    ] == 0  # nothing was sent


def test_several_servers_of_a_model_share_the_work(ledger):
    with (
        serve({"m": Behavior(latency=0.01)}, TRUTH) as one,
        serve({"m": Behavior(latency=0.01)}, TRUTH) as two,
    ):
        judge = judge_at(one, "m", base_url=f"{one.url}, {two.url}")
        assert asking.ask(ITEMS, [judge], ledger)["settled"] == 48
        shares = [sum(server.paid.values()) for server in (one, two)]
        assert sum(shares) == 49 and min(shares) > 5  # and the probe
        assert not set(one.paid) & set(two.paid)


def test_a_refused_model_is_reported_with_what_to_check(ledger):
    with serve({"m": Behavior()}, TRUTH) as server:
        report = asking.ask(ITEMS, [judge_at(server, "unknown")], ledger)
    assert (
        report["settled"] == 0
        and "404" in report["stopped"][server.url]
        and "check base_url, model" in report["stopped"][server.url]
    )
    assert ledger.spent() == 0


@pytest.mark.parametrize(
    "bad", [{"samples": 0}, {"answer_format": "yaml"}, {"extra": {"messages": []}}]
)
def test_bad_settings_are_named(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Judge("m", "m", "http://x", **bad)
