"""Who is to blame when a server fails, what is tried again, and how servers want to be asked."""

import time

import pytest
from judging import world_items

from benchmarks.judge_behaviors import BEHAVIORS
from benchmarks.judge_exchange import Behavior, Exchange, serve
from rewardjax.curation.judges import asking, protocol
from rewardjax.curation.judges.client import Judge
from rewardjax.curation.judges.requests.dialect import Dialect, adapted
from rewardjax.curation.servers import connection, failures
from rewardjax.curation.servers.paid_calls import CallLedger

ITEMS, RIGHT, TRUTH = world_items(16)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(connection, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(connection, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(connection, "LOADING_PAUSE", 0.05)


@pytest.fixture
def ledger(tmp_path):
    return CallLedger(tmp_path / "calls.sqlite")


def judge_at(url: str, **more) -> Judge:
    return Judge("m", "m", url, **{"samples": 1, "max_in_flight": 4, "retries": 3} | more)


def ask_with(behavior, ledger, **more):
    """The report, the votes and how the judge's questions ended."""
    with serve(behavior, TRUTH) as url:
        judge = judge_at(url, **more)
        report = asking.ask(ITEMS, [judge], ledger)
    votes = list(protocol.votes(ITEMS, [judge], ledger, "s"))
    return report, votes, ledger.endings("s")


def test_a_poisoned_request_costs_itself_and_no_other(ledger):
    poisoned = ITEMS[3].prompt[-1]["content"][:40]

    def reply(exchange: Exchange) -> None:
        if poisoned in str(exchange.body["messages"][-1]["content"]):
            exchange.error(500, "illegal memory access")
        else:
            exchange.reply()

    report, votes, (ending,) = ask_with(Behavior(reply), ledger)
    assert report["stopped"] == {} and asking.unfinished(report) is None
    assert {row["pair_id"] for row in votes} == {item.pair_id for item in ITEMS} - {
        ITEMS[3].pair_id
    }
    assert ending["open"] == 1 and "illegal memory access" in ending["problem"]


def pair_asked(exchange: Exchange) -> int:
    """Which of ITEMS a request is about; -1 for a first question."""
    text = str(exchange.body["messages"][-1]["content"])
    for i, item in enumerate(ITEMS):
        if item.prompt[-1]["content"] in text:
            return i
    return -1


def test_others_are_asked_while_a_request_waits_to_be_tried_again(ledger, monkeypatch):
    monkeypatch.setattr(connection, "FIRST_PAUSE", 0.3)
    monkeypatch.setattr(connection, "LONGEST_PAUSE", 1.0)
    order = []

    def reply(exchange: Exchange) -> None:
        asked = pair_asked(exchange)
        order.append(asked)
        if asked == 2 and order.count(2) == 1:
            exchange.error(502, "bad gateway")
        else:
            exchange.reply()

    _, votes, _ = ask_with(Behavior(reply), ledger, max_in_flight=1)
    assert len(votes) == 16
    asked = [i for i in order if i >= 0]
    first, again = (place for place, i in enumerate(asked) if i == 2)
    assert again - first > 2


def test_a_request_that_always_fails_is_given_up_after_so_many_tries(ledger):
    """Not sooner where a server says 500: one that says so to every fifth would lose many."""
    tries = {"500": 0, "502": 0}

    def reply(exchange: Exchange) -> None:
        for pair, status in ((3, "500"), (5, "502")):
            if pair_asked(exchange) == pair:
                tries[status] += 1
                exchange.error(int(status), "no")
                return
        exchange.reply()

    _, votes, (ending,) = ask_with(Behavior(reply), ledger)
    assert len(votes) == 14 and ending["open"] == 2
    in_all = connection.SUSPECT_AFTER + connection.SUSPECT_AGAIN_AFTER
    assert tries == {"500": in_all, "502": in_all}


def test_a_request_is_not_given_up_where_trying_again_has_helped_others(ledger):
    """A server that fails every third time or so is at fault itself."""
    tries = {3: 0, 5: 0}

    def reply(exchange: Exchange) -> None:
        pair = pair_asked(exchange)
        tries[pair] = tries.get(pair, 0) + 1
        # The fifth question is answered at once when tried again, the third one at its sixth try.
        if pair == 3 and tries[3] < 6 or pair == 5 and tries[5] == 1:
            exchange.error(502, "no")
        else:
            exchange.reply()

    _, votes, (ending,) = ask_with(Behavior(reply), ledger, max_in_flight=1)
    assert len(votes) == 16 and ending["open"] == 0


def test_the_small_question_is_put_beside_the_last_try_and_not_after_it(ledger):
    """Others that would tell whether the server works are not there at the end of all."""
    asked = []

    def reply(exchange: Exchange) -> None:
        asked.append(pair_asked(exchange))
        if pair_asked(exchange) == 15:
            # As long as the small question takes to come.
            time.sleep(0.3)
            exchange.error(500, "illegal memory access")
        else:
            exchange.reply()

    _, votes, (ending,) = ask_with(Behavior(reply), ledger, max_in_flight=1)
    assert len(votes) == 15 and ending["open"] == 1
    rest = asked[asked.index(15) :]
    # Its tries in both rounds: after the last of each nothing is left to be asked.
    assert rest.count(15) == 5 and rest[-1] == 15 and rest.count(-1) == 2


def test_a_connection_that_breaks_off_is_told_from_one_that_was_never_there(ledger):
    """What broke off lets this request wait; where nobody listens, all of them do."""
    kinds = []
    of_connection = failures.of_connection

    def noted(error):
        failure = of_connection(error)
        kinds.append(failure.kind)
        return failure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(failures, "of_connection", noted)
        _, votes, _ = ask_with(BEHAVIORS["reset"], ledger)
    assert len(votes) == 16 and set(kinds) == {failures.Kind.BROKEN}


def test_pauses_grow_only_where_nobody_is_answered(ledger, monkeypatch):
    pauses = []
    pause = connection.Connection._pause

    async def noted(self, failure, doublings):
        pauses.append(doublings)
        await pause(self, failure, 0)

    monkeypatch.setattr(connection.Connection, "_pause", noted)

    def reply(exchange: Exchange) -> None:
        if pair_asked(exchange) == 3:
            exchange.error(502, "no")
        else:
            exchange.reply()

    ask_with(Behavior(reply), ledger, max_in_flight=1)
    # The first pause is of a request about which nothing is known yet; then others are answered.
    assert pauses[:2] == [0, 0]
    pauses.clear()
    down = Behavior(lambda exchange: exchange.error(502, "bad gateway"))
    ask_with(down, ledger, answer_format="plain", revision="2", max_in_flight=1)
    assert max(pauses) >= 2


@pytest.mark.parametrize("in_flight", [1, 8])
def test_a_server_that_fails_is_stopped_after_few_requests(ledger, in_flight):
    requests = []

    def reply(exchange: Exchange) -> None:
        requests.append(exchange.number)
        exchange.error(502, "bad gateway")

    report, votes, _ = ask_with(
        Behavior(reply), ledger, max_in_flight=in_flight, answer_format="plain"
    )
    (sentence,) = report["stopped"].values()
    assert "502 bad gateway" in sentence and votes == []
    # Those in flight when the row is long enough, their small questions, and the patience.
    assert len(requests) <= connection.BREAK_AFTER + 2 * 8 + 2 * 4


def test_a_server_that_recovers_loses_nothing(ledger):
    report, votes, _ = ask_with(BEHAVIORS["restarts"], ledger, retries=8)
    assert report["stopped"] == {} and len(votes) == 16


def test_a_server_that_hangs_is_named_while_it_hangs(ledger, monkeypatch, capsys):
    monkeypatch.setattr(connection, "SILENT_AFTER", 0.2)
    report, _, _ = ask_with(BEHAVIORS["hang"], ledger, timeout=0.6, answer_format="plain")
    assert "no reply for" in capsys.readouterr().err
    assert "no reply within its timeout" in next(iter(report["stopped"].values()))


def test_a_server_that_loads_its_model_is_looked_at_again_and_says_so_once(ledger, capsys):
    report, votes, _ = ask_with(BEHAVIORS["loading"], ledger)
    assert len(votes) == 16 and report["stopped"] == {}
    assert capsys.readouterr().err.count("Loading model") == 1
    assert Dialect.read(ledger.dialect_of("m")).format == "json_schema"


def test_an_empty_purse_at_the_provider_is_no_request_to_slow_down(ledger):
    report, _, _ = ask_with(BEHAVIORS["quota"], ledger)
    assert "the quota is used up" in next(iter(report["stopped"].values()))
    assert ledger.costs()[0]["failed"] == 1


def test_errors_of_a_gateway_are_neither_answers_nor_paid(ledger):
    report, votes, endings = ask_with(BEHAVIORS["html200"], ledger, answer_format="plain")
    assert "a web page in place of JSON" in next(iter(report["stopped"].values()))
    assert votes == [] and endings[0]["open"] == 16
    assert ledger.spent() == 0 and report["out_of_budget"] is None


@pytest.mark.parametrize(
    "name, dialect",
    [
        ("nosystem", Dialect(system=False)),
        ("alternating", Dialect(system=False)),
        ("nomax", Dialect(limit="max_completion_tokens")),
        ("notemperature", Dialect(without=("temperature",))),
        ("noseed", Dialect(without=("seed",))),
        ("unsaid", Dialect(limit="max_completion_tokens")),
    ],
)
def test_a_server_is_asked_as_it_wants_to_be(ledger, capsys, name, dialect):
    _, votes, _ = ask_with(BEHAVIORS[name], ledger)
    assert len(votes) == 16
    assert Dialect.read(ledger.dialect_of("m")) == dialect
    assert f"asked as it wants to be: {dialect.told()}" in capsys.readouterr().err


def test_settings_that_a_server_refuses_stop_the_judge_and_are_named(ledger):
    report, _, _ = ask_with(BEHAVIORS["nomax"], ledger, answer_format="plain")
    (sentence,) = report["stopped"].values()
    assert "max_completion_tokens" in sentence and "answer_format to 'auto'" in sentence
    # Nothing is kept: with other settings every question is asked.
    report, votes, _ = ask_with(
        BEHAVIORS["nomax"], ledger, answer_format="plain", limit_field="max_completion_tokens"
    )
    assert len(votes) == 16


def test_gold_examples_that_do_not_fit_are_left_out_and_the_vote_says_so(ledger, tmp_path):
    from benchmarks.judge_storm import world_items as with_examples

    items, right, truth = with_examples(3)
    with serve(BEHAVIORS["context"], truth) as url:
        judge = judge_at(url)
        asking.ask(items, [judge], ledger)
        votes = list(protocol.votes(items, [judge], ledger))
    assert [row["value"] for row in votes] == [right[row["pair_id"]] for row in votes]
    assert len(votes) == 3 and all('"examples": []' in row["evidence"] for row in votes)


def test_a_refusal_that_names_nothing_changes_nothing():
    for refusal in ("Bad request", "response_format is not supported", "content too long"):
        assert adapted(Dialect(), refusal) is None
    both = "temperature and top_p cannot both be specified for this model"
    assert adapted(Dialect(), both) == Dialect(without=("top_p",))


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-nan"}, None),
        ({"retry-after-ms": "nan"}, None),
        ({}, None),
    ],
)
def test_a_pause_is_read_in_all_its_forms(headers, seconds):
    assert failures._asked_pause(headers) == seconds
