"""The text of a pair goes on request, from everywhere; what was said about it stays sound."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
from ledgers import pair, score, vote

from rewardjax import curate
from rewardjax.curation import people_files
from rewardjax.curation.ledger import decisions, pools, write_pairs
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.people import Task
from rewardjax.curation.servers.paid_calls import CallLedger, Ending
from rewardjax.curation.servers.requests import Answer, Price, Request

SECRET = ("My name is Zanzibar Quux.", "Hello Zanzibar, a first answer.", "Zanzibar, a second one.")


def messages(role, text):
    return json.dumps([{"role": role, "content": text}])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("erase") / "w"
    store = Store(folder / "store")
    secret = pair(
        "p1",
        prompt=messages("user", SECRET[0]),
        response_a=messages("assistant", SECRET[1]),
        response_b=messages("assistant", SECRET[2]),
        info=json.dumps({"mail": "zanzibar@example.org"}),
    )
    for unit, row in enumerate([pair("p0"), secret, pair("p2")]):
        store.append("pairs", "import-x", f"{unit:05d}", [row])
    store.compact("pairs", "import-x", least=2)
    quoted = json.dumps({"rationale": "Zanzibar is polite", "call": "c", "examples": ["p1"]})
    votes = [vote(i, "original:x", "a") for i in ("p0", "p1", "p2")]
    votes += [vote(i, "judge:m", "b", evidence=quoted) for i in ("p0", "p1")]
    votes += [vote("p1", "panel", "b"), vote("p0", "panel", "a")]
    store.append("votes", "label-0", "all", votes)
    store.append("scores", "gold-0", "all", [score("p1"), score("p0", reward_a=-1.0)])
    attributes = {
        "task_category": "chat",
        "objectivity": "Objective",
        "controversiality": "Low",
        "desired_attributes": "greets Zanzibar",
        "annotation_guideline": "Zanzibar first",
    }
    about = {"pair_id": "p1", "voter": "judge:m", "kind": "judge"}
    store.append("attributes", "tag", "00000", [about | attributes])
    vectors = [{"pair_id": i, "embedder": "e", "vector": [1.0, 2.0]} for i in ("p0", "p1")]
    for unit, row in enumerate(vectors):
        store.append("embeddings", "embed", f"{unit:05d}", [row])
    store.compact("embeddings", "embed", least=2)
    finding = {"pair_id": "p1", "finding": "pii", "action": "flag", "evidence": "Zanzibar"}
    store.append("findings", "clean", "0", [finding])
    store.append("training", "gold-1", "all", [{"pair_id": "p1", "model": "g", "value": "a"}])
    decisions.decide(store, "stage1-0", table="stage1", entry="unverified")
    with_calls(folder)
    for name in ("queue", "reports", "batches", "data"):
        (folder / name).mkdir()
    tasks = [Task(f"t{i}", i, "ana", "ab", False) for i in ("p0", "p1")]
    people_files.write_tasks(store, tasks, folder / "queue/people-0.tasks.jsonl")
    people_files.write_tasks(store, tasks, folder / "queue/people-0.json", "label_studio")
    request = {"custom_id": "1", "body": {"messages": [{"content": "\n".join(SECRET)}]}}
    (folder / "batches/b.jsonl").write_text(json.dumps(request) + "\n")
    rows = f"<tr><td>p0</td><td>Zebra</td></tr><tr><td>p1</td><td>{SECRET[0]}</td></tr>"
    (folder / "reports/iteration-0.html").write_text(f"<table>{rows}</table>")
    write_pairs.write_labels(store, folder / "data/best-1.parquet", {"p0": "a", "p1": "b"})
    (folder / "cache").mkdir()
    (folder / "cache/tokens").write_text("Zanzibar")
    return folder


def with_calls(folder):
    calls = CallLedger(folder / "calls.sqlite")
    request = Request("judge:m", {"messages": [], "max_tokens": 9}, "", Price(), subject="p1")
    calls.settle(calls.reserve(request), request, Answer("Zanzibar is polite"))
    ending = Ending("unreadable", "no JSON in 'Zanzibar is polite'")
    about = {"purpose": "x", "voter": "judge:m", "task": "judge", "subject": "p1", "sample": 0}
    calls.note_ending(**about, ending=ending)
    calls.close()


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "w")


def files_with(folder, word):
    """Files that have a word, Parquet files by their rows."""
    store = Store(folder / "store")
    names = set()
    for path in store.folder.rglob("*"):
        # Every file that lies there, whether a manifest counts it or not.
        if path.suffix == ".parquet":
            has = word in str(pq.ParquetFile(path).read().to_pylist())
        else:
            has = path.is_file() and word.encode() in path.read_bytes()
        if has:
            names.add(str(path.relative_to(store.folder).with_suffix("")))
    for path in folder.rglob("*"):
        is_ours = path.relative_to(folder).parts[0] != "store"
        if path.is_file() and is_ours and word.encode() in path.read_bytes():
            names.add(str(path.relative_to(folder)))
    return names


def test_no_file_has_the_text_any_more_and_the_ledger_is_sound(folder, capsys):
    assert len(files_with(folder, "Zanzibar")) > 8 and files_with(folder, "zanzibar@")
    assert curate.main(["erase", str(folder), "p1"]) == 0
    said = capsys.readouterr()
    report = json.loads(said.out.splitlines()[-1])
    assert files_with(folder, "zanzibar@") == set()
    assert files_with(folder, "Zanzibar") == set()
    # Also a judge's words about another pair, to which it was an example.
    assert report["examples"] == 1 and "example to judges of 1 other pairs" in said.out
    assert report["models"] == ["gold-1"] and "models/gold-1 has learned from it" in said.err
    assert report["still_in"] == []
    assert {"calls.sqlite", "queue/people-0.json", "pairs/packed/import-x.1.00000"} <= {
        *report["touched"]
    }
    store = Store(folder / "store")
    assert curate.main(["audit", str(folder)]) == 0
    assert store.query("select pair_id from embeddings").column(0).to_pylist() == ["p0"]
    assert [m["rows"] for m in store.manifests("embeddings")] == [1, 0]
    votes = store.query(
        "select voter, value from votes where pair_id = 'p1' order by 1"
    ).to_pylist()
    assert [row["voter"] for row in votes] == ["judge:m", "original:x", "panel"]
    standing = {row["pair_id"]: row["pool"] for row in pools.pools(store).to_pylist()}
    assert standing["p1"] == "discarded" != standing["p0"]
    assert curate.main(["explain", str(folder), "p1"]) == 0
    assert "(erased)" in capsys.readouterr().out
    # The other pairs' texts stay.
    assert "Question p0?" in (folder / "queue/people-0.tasks.jsonl").read_text()
    assert "Zebra" in (folder / "reports/iteration-0.html").read_text()


@pytest.mark.parametrize("file", ["pairs/packed/import-x.1.00000", "votes/label-0.all"])
def test_an_erasure_that_is_interrupted_is_told_by_audit_and_goes_on(
    folder, capsys, monkeypatch, file
):
    replace, calls = curate.erase_lib.files.os.replace, 0

    def killed(source, target):
        nonlocal calls
        calls += str(target).endswith(f"{file}.parquet")
        if calls == 1:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("rewardjax.io.files.os.replace", killed)
        curate.main(["erase", str(folder), "p1"])
    assert curate.main(["audit", str(folder)]) == 1
    assert "run `curate erase` again" in capsys.readouterr().out
    assert curate.main(["erase", str(folder), "p1"]) == 0
    assert curate.main(["audit", str(folder)]) == 0
    assert files_with(folder, "Zanzibar") == set()


def test_a_short_answer_is_erased_where_it_stands_alone_and_ids_stay(folder):
    store = Store(folder / "store")
    answers = {"response_a": messages("assistant", "2"), "response_b": messages("assistant", "3")}
    short = pair("p3", prompt=messages("user", "Is it 2 or 3?"), **answers)
    store.append("pairs", "import-short", "00000", [short])
    queue = folder / "queue/people-1.tasks.jsonl"
    people_files.write_tasks(store, [Task("task-23", "p3", "ana", "ab", False)], queue)
    assert curate.main(["erase", str(folder), "p3"]) == 0
    task = json.loads(queue.read_text())
    assert task["task"] == "task-23" and "Is it" not in queue.read_text()
    assert [side[0]["content"] for side in (task["left"], task["right"])] == ["(erased)"] * 2


def test_ids_may_come_in_a_file_and_must_be_those_of_pairs(folder, tmp_path, capsys):
    (tmp_path / "ids").write_text("p0\np2\n")
    assert curate.main(["erase", str(folder), "--ids", str(tmp_path / "ids")]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["pairs"] == 2
    assert curate.main(["erase", str(folder), "p9"]) == 2
    assert "p9: no pair" in capsys.readouterr().err
    assert curate.main(["erase", str(folder)]) == 2
