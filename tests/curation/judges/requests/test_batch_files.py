import json

import pytest
from judging import judge_at, world_items

from rewardjax.curation.judges.asking import ask, unfinished
from rewardjax.curation.judges.client import Judge
from rewardjax.curation.judges.protocol import votes
from rewardjax.curation.judges.requests import batch_files
from rewardjax.curation.judges.scripted_judge import Behavior
from rewardjax.curation.judges.scripted_server import serve
from rewardjax.curation.servers.paid_calls import CallLedger

ITEMS, RIGHT, TRUTH = world_items(40)


@pytest.fixture
def ledger(tmp_path):
    return CallLedger(tmp_path / "calls.sqlite")


def run_batch(path, server) -> str:
    """What a batch service does: every line answered, out of order."""
    results = []
    for line in reversed(path.read_text().splitlines()):
        one = json.loads(line)
        status, body, _ = server.respond(one["body"])
        results.append(
            json.dumps(
                {
                    "id": "x",
                    "custom_id": one["custom_id"],
                    "response": {"status_code": status, "body": body},
                    "error": None,
                }
            )
        )
    out = path.with_suffix(".results.jsonl")
    out.write_text("\n".join(results) + "\n\n")
    return str(out)


def test_batch_files_come_to_the_votes_of_a_live_run(tmp_path):
    live, offline = CallLedger(tmp_path / "live.sqlite"), CallLedger(tmp_path / "offline.sqlite")
    with serve({"m": Behavior(malformed=0.3)}, TRUTH) as server:
        judge = judge_at(server, "m", answer_format="json_schema")
        ask(ITEMS, [judge], live)
        rounds = []
        while not rounds or rounds[-1]["requests"]:
            path = tmp_path / f"round{len(rounds)}.jsonl"
            rounds.append(batch_files.write(path, ITEMS, judge, offline, discount=0.5))
            read_back = batch_files.read(run_batch(path, server), [judge], offline)
            assert read_back == {
                "answered": rounds[-1]["requests"],
                "rejected": 0,
                "failed": 0,
                "unknown": 0,
            }
    assert len(rounds) == 4 and rounds[0] == {"requests": 80, "out": 0, "unaffordable": 0}
    assert list(votes(ITEMS, [judge], offline)) == list(votes(ITEMS, [judge], live))
    assert (
        offline.spent() == pytest.approx(live.spent() / 2) and offline.costs()[0]["in_doubt"] == 0
    )


def test_a_batch_lines_shape_and_what_is_out_is_not_asked_again(tmp_path, ledger):
    with serve({"m": Behavior()}, TRUTH) as server:
        judge = judge_at(server, "m", answer_format="plain")
        assert batch_files.write(tmp_path / "one.jsonl", ITEMS[:5], judge, ledger)["requests"] == 10
        line = json.loads((tmp_path / "one.jsonl").read_text().splitlines()[0])
        assert (
            set(line) == {"custom_id", "method", "url", "body"}
            and line["url"] == "/v1/chat/completions"
            and line["body"]["model"] == "m"
        )
        assert batch_files.write(tmp_path / "two.jsonl", ITEMS[:6], judge, ledger) == {
            "requests": 2,
            "out": 10,
            "unaffordable": 0,
        }
        report = ask(ITEMS[:6], [judge], ledger)
        assert report["settled"] == 0 and sum(server.paid.values()) == 0
        assert report["in_batches"] == 12 and "12 questions are in batch files" in unfinished(
            report
        )
        with pytest.raises(FileExistsError, match="one.jsonl"):
            batch_files.write(tmp_path / "one.jsonl", ITEMS[:5], judge, ledger)
        ledger.release(str((tmp_path / "one.jsonl").resolve()))
        assert ask(ITEMS[:6], [judge], ledger)["settled"] == 10


def test_failed_and_foreign_results_are_counted(tmp_path, ledger):
    judge = Judge("m", "m", "http://x", samples=3, answer_format="plain")
    batch_files.write(tmp_path / "one.jsonl", ITEMS[:1], judge, ledger)
    keys = [
        json.loads(line)["custom_id"] for line in (tmp_path / "one.jsonl").read_text().splitlines()
    ]
    lines = [
        {"custom_id": keys[0], "response": {"status_code": 500, "body": {}}},
        {"custom_id": keys[1], "response": None, "error": {"code": "expired"}},
        {"custom_id": keys[2], "response": {"status_code": 400, "body": {"error": "too long"}}},
        {"custom_id": "0123", "response": {"status_code": 200, "body": {}}},
    ]
    (tmp_path / "back.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert batch_files.read(tmp_path / "back.jsonl", [judge], ledger) == {
        "answered": 0,
        "rejected": 1,
        "failed": 2,
        "unknown": 1,
    }
    assert batch_files.write(tmp_path / "two.jsonl", ITEMS[:1], judge, ledger) == {
        "requests": 2,
        "out": 0,
        "unaffordable": 0,
    }
    (tmp_path / "bad.jsonl").write_text('{"custom_id": "x"}\n[1]\n')
    with pytest.raises(ValueError, match="bad.jsonl, line 2"):
        batch_files.read(tmp_path / "bad.jsonl", [judge], ledger)


def test_a_batch_keeps_to_the_budget_and_a_killed_one_gives_back(tmp_path):
    ledger = CallLedger(tmp_path / "calls.sqlite", budget=0.0105)
    judge = Judge("m", "m", "http://x", answer_format="plain", price_output=1.0, max_tokens=1000)
    written = batch_files.write(tmp_path / "one.jsonl", ITEMS, judge, ledger)
    assert (
        written["requests"] == 10
        and written["unaffordable"] == len(ITEMS) * 4 - 10
        and ledger.spent() <= 0.0105
    )
    (tmp_path / "one.jsonl").unlink()  # as if it had never been put in place
    assert batch_files.write(tmp_path / "one.jsonl", ITEMS, judge, ledger)["requests"] == 10


def test_a_batch_needs_to_know_how_to_ask(tmp_path, ledger):
    with pytest.raises(ValueError, match="answer_format is 'auto'"):
        batch_files.write(tmp_path / "one.jsonl", ITEMS, Judge("m", "m", "http://x"), ledger)


def test_a_result_is_refused_where_its_request_is_not_what_was_written(tmp_path, ledger):
    judge = Judge("m", "m", "http://x", samples=1, answer_format="plain")
    written = tmp_path / "one.jsonl"
    batch_files.write(written, ITEMS[:1], judge, ledger)
    line = json.loads(written.read_text())
    results = tmp_path / "back.jsonl"
    results.write_text(
        json.dumps({"custom_id": line["custom_id"], "response": {"status_code": 200, "body": {}}})
    )
    with pytest.raises(ValueError, match="of judge:m is not in the file, or its judge is not one"):
        batch_files.read(results, [], ledger)
    line["body"]["temperature"] = 2.0
    written.write_text(json.dumps(line) + "\n")
    with pytest.raises(ValueError, match="was edited after it was written"):
        batch_files.read(results, [judge], ledger)
