import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import ledgers
import pytest
from judging import STANDARD, accuracy, judge_at, world_items
from test_prompts import examples

from rewardjax.curation.judges import aggregate, asking, prompts, protocol
from rewardjax.curation.judges.asking import ask
from rewardjax.curation.judges.attributes import Attributes
from rewardjax.curation.judges.client import Judge
from rewardjax.curation.judges.prompts import Example, Item
from rewardjax.curation.judges.protocol import settle, votes
from rewardjax.curation.judges.requests.dialect import Dialect
from rewardjax.curation.judges.scripted_judge import Behavior
from rewardjax.curation.judges.scripted_server import serve
from rewardjax.curation.ledger.rows import SCHEMAS
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.servers.requests import Answer

ITEMS, RIGHT, TRUTH = world_items(40)
PLAIN = Dialect("plain")


@pytest.fixture
def ledger(tmp_path):
    return CallLedger(tmp_path / "calls.sqlite")


# ------------------------------------------------------------------ what is asked


def test_half_of_the_samples_are_in_each_order_and_odd_ones_spread():
    judge = Judge("m", "m", "http://x", samples=4)
    for item in ITEMS:
        shown = [question.shown for question in protocol.questions(item, judge)]
        assert sorted(shown) == ["ab", "ab", "ba", "ba"]
    single = [
        next(protocol.questions(item, dataclasses.replace(judge, samples=1))).shown
        for item in ITEMS
    ]
    assert 8 < single.count("ab") < 32


def first_key(item, judge, ledger, format="plain"):
    step = settle(next(protocol.questions(item, judge)), Dialect(format), ledger)
    return step.key


def test_the_key_holds_whatever_the_answer_depends_on(ledger, tmp_path):
    judge, item = Judge("m", "m", "http://x"), ITEMS[0]
    key = lambda item=item, judge=judge, format="plain": first_key(item, judge, ledger, format)
    change = lambda **settings: dataclasses.replace(judge, **settings)
    attributes = TRUTH.facts[prompts.conversation(item.prompt)].attributes
    keys = [
        key(),
        key(judge=change(temperature=0.7)),
        key(judge=change(top_p=0.8)),
        key(judge=change(max_tokens=10)),
        key(judge=change(model="n")),
        key(judge=change(revision="2")),
        key(judge=change(seed=1)),
        key(judge=change(extra={"reasoning_effort": "low"})),
        key(format="json_schema"),
        key(format="json_object"),
        key(item=ITEMS[1]),
        key(item=dataclasses.replace(item, attributes=attributes)),
        key(item=dataclasses.replace(item, examples=examples(ITEMS[1]))),
        key(item=dataclasses.replace(item, examples=examples(ITEMS[2]))),
        key(item=dataclasses.replace(item, examples=examples(ITEMS[1], ITEMS[2]))),
        key(item=dataclasses.replace(item, examples=examples(ITEMS[2], ITEMS[1]))),
    ]
    stricter = tmp_path / "stricter.toml"
    stricter.write_text(f"instructions = {json.dumps(STANDARD.instructions + ' Be strict.')}")
    keys.append(key(judge=change(prompt=str(stricter))))
    assert len(set(keys)) == len(keys)
    assert key() == keys[0]
    # where it is served, what it costs and how patient we are change nothing
    assert (
        key(
            judge=change(
                base_url="http://y",
                name="other",
                price_input=3.0,
                retries=1,
                timeout=1.0,
                max_in_flight=1,
            )
        )
        == keys[0]
    )


def test_samples_differ_in_key_even_without_a_seed(ledger):
    judge = Judge("m", "m", "http://x", samples=6, seed=None)
    keys = {settle(question, PLAIN, ledger).key for question in protocol.questions(ITEMS[0], judge)}
    assert len(keys) == 6


def test_a_docstring_is_no_part_of_the_request(ledger):
    step = settle(
        next(protocol.questions(ITEMS[0], Judge("m", "m", "http://x"))),
        Dialect("json_schema"),
        ledger,
    )
    schema = step.body["response_format"]["json_schema"]["schema"]
    assert "description" not in schema and schema["additionalProperties"] is False
    assert list(schema["properties"]) == ["rationale", "preferred"] == schema["required"]


# ------------------------------------------------------------------ asking


def test_votes_are_right_and_say_how_they_came_about(ledger, tmp_path):
    items = [dataclasses.replace(item, examples=examples(ITEMS[0])) for item in ITEMS[1:11]]
    with serve({"sure": Behavior(accuracy=1.0)}, TRUTH) as server:
        judge = judge_at(server, "sure", samples=4)
        report = ask(items, [judge], ledger, purpose="stage1/1")
    rows = list(votes(items, [judge], ledger))
    assert report["questions"] == report["settled"] == len(rows) == 40
    assert all(row["value"] == RIGHT[row["pair_id"]] for row in rows)
    assert {row["shown"] for row in rows} == {"ab", "ba"} and {row["voter"] for row in rows} == {
        "judge:sure"
    }
    evidence = json.loads(rows[0]["evidence"])
    assert (
        evidence["examples"] == [ITEMS[0].pair_id]
        and evidence["asked"] == 1
        and evidence["settings"] == protocol.settings_fingerprint(judge)
    )
    assert evidence["prompt_name"] == "standard"
    assert evidence["prompt"] == prompts.judge_version(STANDARD)
    asked = settle(next(protocol.questions(items[0], judge)), Dialect(), ledger)
    assert evidence["call"] == asked.calls[0]
    manifest = Store(tmp_path / "store").append(
        "votes", "label", "0", [*rows, *protocol.panel(rows)]
    )
    assert manifest["rows"] == 50 and set(rows[0]) == {field.name for field in SCHEMAS["votes"]}


def test_several_models_merge_into_more_than_any_of_them(ledger):
    behaviors = {name: Behavior(accuracy=0.75, systematic=0.8) for name in ("one", "two", "three")}
    behaviors["first"] = Behavior(position_bias=1.0)
    with serve(behaviors, TRUTH, seed=2) as server:
        panel = [judge_at(server, name) for name in behaviors]
        assert ask(ITEMS, panel, ledger)["settled"] == len(ITEMS) * 2 * 4
        rows = list(votes(ITEMS, panel, ledger))
    alone = {
        judge.name: accuracy(
            aggregate.consistency([row for row in rows if row["voter"] == judge.voter]), RIGHT
        )
        for judge in panel
    }
    for method in aggregate.METHODS:
        merged = {row["pair_id"]: row for row in protocol.panel(rows, method)}
        value = lambda row, right: 0.5 if row["value"] == "tie" else float(row["value"] == right)
        assert sum(value(merged[pair], RIGHT[pair]) for pair in RIGHT) / len(RIGHT) >= max(
            alone.values()
        )
    assert alone["first"] == 0.5
    assert (
        json.loads(merged[ITEMS[0].pair_id]["evidence"])["judges"]["judge:first"] == "inconsistent"
    )


def test_malformed_answers_are_asked_again_counted_and_never_guessed(ledger):
    with serve({"messy": Behavior(accuracy=1.0, malformed=0.5)}, TRUTH) as server:
        judge = judge_at(server, "messy", asks=3)
        report = ask(ITEMS, [judge], ledger)
        rows = list(votes(ITEMS, [judge], ledger))
        assert (
            report["settled"] == 80
            and 0 < report["unreadable"] < 40
            and len(rows) == 80 - report["unreadable"]
        )
        assert all(row["value"] == RIGHT[row["pair_id"]] for row in rows)
        asked = [json.loads(row["evidence"])["asked"] for row in rows]
        assert set(asked) == {1, 2, 3}
        assert sum(server.paid.values()) == 1 + sum(asked) + 3 * report["unreadable"]
        again = ask(ITEMS, [judge], ledger)  # bad answers are paid for once, too
        assert again["unreadable"] == report["unreadable"] and server.stats()["answered_twice"] == 0


def test_a_bad_answer_is_told_what_is_wrong_and_then_asked_afresh(ledger):
    question = next(protocol.questions(ITEMS[0], Judge("m", "m", "http://x")))
    first = settle(question, PLAIN, ledger)
    ledger.settle(ledger.reserve(first), first, Answer('{"preferred": 3}'))
    second = settle(question, PLAIN, ledger)
    assert [message["role"] for message in second.body["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert "preferred" in second.body["messages"][-1]["content"]
    ledger.settle(ledger.reserve(second), second, Answer(""))
    third = settle(question, PLAIN, ledger)
    assert (
        third.body["messages"] == first.body["messages"]
        and third.body["seed"] != first.body["seed"]
    )
    ledger.settle(ledger.reserve(third), third, Answer("no"))
    outcome = settle(question, PLAIN, ledger)
    assert (
        outcome.value is None
        and "no JSON object" in outcome.problem
        and outcome.calls == (first.key, second.key, third.key)
    )


def test_a_request_the_server_rejects_is_settled_without_a_vote(ledger):
    with serve({"m": Behavior()}, TRUTH) as server:
        respond, long = (
            server.respond,
            prompts.judge_messages(ITEMS[0], "ab", STANDARD)[1]["content"][:200],
        )
        server.respond = lambda body: (
            (400, {"error": {"message": "context too long"}}, {})
            if long in body["messages"][-1]["content"]
            else respond(body)
        )
        judge = judge_at(server, "m")
        report = ask(ITEMS[:3], [judge], ledger)
        assert report["settled"] == 6 and 1 <= report["unreadable"] <= 2 and report["stopped"] == {}
        before = server.statuses[400]
        ask(ITEMS[:3], [judge], ledger)
        assert server.statuses[400] == before


def test_attributes_are_tagged_and_merged(ledger, tmp_path):
    with serve(
        {"one": Behavior(attribute_accuracy=1.0), "two": Behavior(attribute_accuracy=1.0)}, TRUTH
    ) as server:
        taggers = [judge_at(server, "one"), judge_at(server, "two")]
        assert ask(ITEMS[:4], taggers, ledger, task="tag")["settled"] == 8
    rows = list(protocol.tags(ITEMS[:4], taggers, ledger))
    assert [row["voter"] for row in rows[:3]] == ["judge:one", "judge:two", "panel"]
    for row in rows:
        item = next(item for item in ITEMS if item.pair_id == row["pair_id"])
        assert {field: row[field] for field in Attributes.model_fields} == TRUTH.facts[
            prompts.conversation(item.prompt)
        ].attributes.model_dump()
    assert Store(tmp_path / "store").append("attributes", "tag", "0", rows)["rows"] == 12


def test_repeats_are_refused(ledger):
    judge = Judge("m", "m", "http://x")
    with pytest.raises(ValueError, match=f"pair {ITEMS[0].pair_id} is given twice"):
        ask([ITEMS[0], ITEMS[0]], [judge], ledger)
    with pytest.raises(ValueError, match="judge m is given twice"):
        ask(ITEMS, [judge, judge], ledger)


def test_it_works_inside_a_running_loop(ledger):
    async def notebook():
        return ask(ITEMS[:1], [judge], ledger)

    with serve({"m": Behavior()}, TRUTH) as server:
        judge = judge_at(server, "m")
        assert asyncio.run(notebook())["settled"] == 2


# ------------------------------------------------------------------ prompts and few-shot counts


@pytest.fixture
def terse(tmp_path):
    """A prompt of one's own, which can be edited."""
    path = tmp_path / "terse.toml"
    path.write_text('instructions = "Say which reply is better."\n')
    return path


def test_two_prompts_sit_on_one_panel_and_editing_one_asks_only_its_judges_again(ledger, terse):
    with serve({"m": Behavior(accuracy=1.0)}, TRUTH) as server:
        named = lambda name, prompt: dataclasses.replace(
            judge_at(server, "m"), name=name, prompt=prompt
        )
        panel = lambda: [named("standard", "standard"), named("terse", str(terse))]
        assert ask(ITEMS[:5], panel(), ledger)["settled"] == 20
        paid = sum(server.paid.values())
        rows = list(votes(ITEMS[:5], panel(), ledger))
        assert all(row["value"] == RIGHT[row["pair_id"]] for row in rows)
        hashes = {row["voter"]: json.loads(row["evidence"])["prompt"] for row in rows}
        assert len(rows) == 20 and len(set(hashes.values())) == 2

        ask(ITEMS[:5], panel(), ledger)
        assert sum(server.paid.values()) == paid
        terse.write_text('instructions = "Name the better reply."\n')
        ask(ITEMS[:5], panel(), ledger)
        assert sum(server.paid.values()) == paid + 10
        edited = {
            row["voter"]: json.loads(row["evidence"])["prompt"]
            for row in votes(ITEMS[:5], panel(), ledger)
        }
    standard, mine = panel()
    assert protocol.settings_fingerprint(standard) != protocol.settings_fingerprint(mine)
    assert edited["judge:standard"] == hashes["judge:standard"]
    assert edited["judge:terse"] != hashes["judge:terse"]


def test_a_judge_is_shown_the_nearest_of_the_examples_and_says_which(ledger):
    item = dataclasses.replace(ITEMS[0], examples=examples(*ITEMS[1:5]))
    judge = Judge("m", "m", "http://x", samples=1)
    for shots, shown in ((0, []), (2, ITEMS[1:3]), (9, ITEMS[1:5]), (None, ITEMS[1:5])):
        (question,) = protocol.questions(item, dataclasses.replace(judge, shots=shots))
        assert [example.pair_id for example in question.item.examples] == [
            example.pair_id for example in shown
        ]
        assert question.messages()[1]["content"].count("\n</example ") == len(shown)
    two, four = (dataclasses.replace(judge, shots=shots) for shots in (2, 4))
    assert protocol.settings_fingerprint(two) != protocol.settings_fingerprint(four)


def test_a_panels_settings_are_in_its_evidence_and_foreign_ones_are_refused():
    rows = [ledgers.vote("p", shown=shown, value="a") for shown in ("ab", "ba")]
    (row,) = protocol.panel(rows, "consistency", threshold=0.7, certainty=None, weights={})
    (other,) = protocol.panel(rows, "consistency", threshold=0.8)
    evidence, other_evidence = (json.loads(r["evidence"]) for r in (row, other))
    assert evidence["threshold"] == 0.7 and "certainty" not in evidence
    assert evidence["settings"] != other_evidence["settings"]
    with pytest.raises(ValueError, match="panel.certainty: method 'consistency' takes only"):
        list(protocol.panel(rows, "consistency", certainty=0.9))
    with pytest.raises(ValueError, match="'majority' is not one of consistency, dawid_skene"):
        list(protocol.panel(rows, "majority"))


def test_a_stored_ledger_answers_the_standard_prompt_by_its_old_keys(ledger):
    """Keys as ledgers hold them since the second layout: with others all is paid again."""
    user = lambda text: [{"role": "user", "content": text}]
    reply = lambda text: [{"role": "assistant", "content": text}]
    attributes = Attributes(
        task_category="Math",
        objectivity="Objective",
        controversiality="Low",
        desired_attributes="correctness, brevity",
        annotation_guideline="Add the numbers up yourself.",
    )
    shown = (
        Example("e1", user("1 + 1?"), (reply("2"), reply("3")), "a", attributes),
        Example("e2", user("2 + 1?"), (reply("2"), reply("3")), "b"),
    )
    bare = Item("p1", user("2 + 2?"), (reply("4"), reply("5")))
    full = dataclasses.replace(bare, attributes=attributes, examples=shown)
    judge = Judge("m", "a-model", "http://x", samples=2)
    key = lambda question: settle(question, PLAIN, ledger).key
    assert [
        [key(question) for question in protocol.questions(full, judge)],
        [key(question) for question in protocol.questions(full, judge, "tag")],
        [key(question) for question in protocol.questions(bare, judge)],
    ] == [
        ["e8ed6f73191b57bc", "91972a9d7d06ce50"],
        ["f2a25fdfdf2dd404"],
        ["cf2fdcc328ccfd46", "982e1d2a113950f9"],
    ]
    assert prompts.judge_version(STANDARD) == "19eb8f177b27699c"
    assert prompts.TAG_VERSION == "bbc13357bdef3cbd"


# ------------------------------------------------------------------ what is left open


def test_open_questions_are_named_with_what_to_do_about_them(ledger):
    with serve({"m": Behavior(broken=1.0, retry_after=0.0)}, TRUTH) as server:
        report = ask(ITEMS[:1], [judge_at(server, "m", retries=0, answer_format="plain")], ledger)
    assert report["settled"] == 0
    assert "500 out of order" in asking.unfinished(report)
    with serve({"m": Behavior()}, TRUTH) as server:
        done = ask(ITEMS[:1], [judge_at(server, "m")], ledger)
    assert asking.unfinished(done) is None
    why = lambda **changes: asking.unfinished(done | changes)
    assert why(out_of_budget="1 of 1 dollars") == (
        "1 of 1 dollars; raise budget.judges and run again"
    )
    assert why(stopped={"http://x": "no key"}) == "no key; run again when that is mended"
    assert "3 questions are in batch files" in why(in_batches=3)


# ------------------------------------------------------------------ budget


def test_once_the_budget_is_out_nothing_smaller_is_paid_either(tmp_path):
    """Which questions are answered would else depend on their length."""
    short = ITEMS[0]
    filler = [{"role": "user", "content": "word " * 2000}]
    long = dataclasses.replace(short, pair_id="long", prompt=[*filler, *short.prompt])
    with serve({"m": Behavior()}, TRUTH) as server:
        judge = judge_at(server, "m", max_in_flight=1, answer_format="plain")
        question = next(protocol.questions(short, judge))
        affordable = settle(question, PLAIN, CallLedger(tmp_path / "other.sqlite")).most()
        ledger = CallLedger(tmp_path / "calls.sqlite", budget=2.5 * affordable)
        report = ask([long, short], [judge], ledger)
        assert report["out_of_budget"] and sum(server.paid.values()) == 0


@pytest.mark.parametrize("in_flight", [1, 8])
def test_the_budget_holds_whatever_is_in_flight(tmp_path, in_flight):
    with serve({"m": Behavior(latency=0.01), "n": Behavior(latency=0.01)}, TRUTH) as server:
        panel = [
            judge_at(server, name, max_in_flight=in_flight, max_tokens=2000, price_output=20.0)
            for name in ("m", "n")
        ]
        ledger = CallLedger(tmp_path / "calls.sqlite", budget=0.1)
        report = ask(ITEMS, panel, ledger)
        assert (
            "dollars are booked" in report["out_of_budget"]
            and 0 < report["settled"] < report["questions"]
        )
        one_request = 2000 * 20e-6 + 0.01
        assert 0.1 - one_request < ledger.spent() <= 0.1
        paid = sum(server.paid.values())
        again = ask(ITEMS, panel, ledger)  # nothing more is spent, and nothing asked
        assert (
            again["settled"] == report["settled"] == len(list(votes(ITEMS, panel, ledger)))
            and sum(server.paid.values()) == paid
        )
        ledger.budget = None
        assert (
            ask(ITEMS, panel, ledger)["settled"] == report["questions"]
            and server.stats()["answered_twice"] == 0
        )


def test_a_free_model_needs_no_budget(tmp_path):
    with serve({"m": Behavior()}, TRUTH) as server:
        ledger = CallLedger(tmp_path / "calls.sqlite", budget=0.0)
        assert (
            ask(ITEMS[:2], [judge_at(server, "m", price_input=0.0, price_output=0.0)], ledger)[
                "settled"
            ]
            == 4
        )
        assert ask(ITEMS[:2], [judge_at(server, "m", seed=9)], ledger)["settled"] == 0


# ------------------------------------------------------------------ killed and resumed

RUN = """
import sys
from judging import STANDARD, world_items
from rewardjax.curation.judges import asking
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.judges.client import Judge
url, path = sys.argv[1:]
panel = [Judge(name, name, url, samples=2, max_in_flight=4) for name in ("m", "n")]
print("start", flush=True)
print(asking.ask(world_items(40)[0], panel, CallLedger(path))["settled"])
"""


def test_killed_at_any_time_it_goes_on_and_pays_nothing_twice_but_what_was_in_flight(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    behaviors = {
        "m": Behavior(latency=0.02, malformed=0.1),
        "n": Behavior(latency=0.02, rate_limited=0.1, retry_after=0.02),
    }
    kills = 0
    with serve(behaviors, TRUTH) as server:
        command = [sys.executable, "-c", RUN, server.url, str(tmp_path / "killed.sqlite")]
        while True:
            before = sum(server.paid.values())
            with subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, text=True
            ) as process:
                assert process.stdout.readline() == "start\n"
                while (
                    kills < 3 and process.poll() is None and sum(server.paid.values()) < before + 30
                ):
                    time.sleep(0.005)
                if process.poll() is None and kills < 3:
                    process.send_signal(signal.SIGKILL)
                    kills += 1
                    continue
                assert process.stdout.read() == "160\n"
                break
        assert kills == 3 and server.stats()["answered_twice"] <= 3 * 8
        panel = [Judge(name, name, server.url, samples=2, max_in_flight=4) for name in ("m", "n")]
        killed = list(votes(ITEMS, panel, CallLedger(tmp_path / "killed.sqlite")))
        paid = sum(server.paid.values())
        whole = CallLedger(tmp_path / "whole.sqlite")
        ask(ITEMS, panel, whole)
        assert sum(server.paid.values()) > paid
    assert list(votes(ITEMS, panel, whole)) == killed and len(killed) > 130
