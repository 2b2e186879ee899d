"""The walk through a curation of real text: its data, people and figures by hand; slow: all."""

import json
import subprocess
import sys

import pytest
from tiny import ROOT

from experiments import curation_walk, walk_data
from experiments.curation_walk import Stumble, Walk, figures
from rewardjax.curation.intake.intake import take_in
from rewardjax.curation.judges.truth_labels import labels_of
from rewardjax.curation.ledger.store import Store
from rewardjax.data.sources import open_source

RECORDS = 200


@pytest.fixture
def data(tmp_path):
    """A folder with records as the three data sets have them."""
    folder = tmp_path / "shared"
    turns = "\n\nHuman: question {}\n\nAssistant: {}"
    hh, pandalm, llmbar = [], [], []
    for k in range(RECORDS):
        hh.append({"chosen": turns.format(k, "good"), "rejected": turns.format(k, "bad")})
        votes = {"annotator1": k % 3, "annotator2": k % 3, "annotator3": k % 3}
        sides = {"instruction": f"task {k}", "input": "", "response1": "one", "response2": "two"}
        pandalm.append(sides | votes)
        sides = {"input": f"request {k}", "output_1": "first", "output_2": "second"}
        llmbar.append(sides | {"label": 1 + k % 2})
    for path, records in {
        "hh_harmless/test.jsonl.gz": hh,
        "pandalm/testset-v1.json.gz": pandalm,
    }.items():
        (folder / path).parent.mkdir(parents=True)
        text = json.dumps(records)
        if "jsonl" in path:
            text = "".join(json.dumps(record) + "\n" for record in records)
        (folder / path).write_bytes(walk_data.gzip.compress(text.encode()))
    (folder / "llmbar").mkdir()
    for place, name in enumerate(walk_data.LLMBAR):
        (folder / f"llmbar/{name}.json").write_text(json.dumps(llmbar[place::5]))
    return folder


def test_each_data_set_keeps_its_format_and_three_labels_in_ten_are_turned(data, tmp_path):
    assert walk_data.missing(data) is None
    truth = walk_data.prepare(data, tmp_path / "out", RECORDS)
    assert len(truth) == 3 * RECORDS
    for name, of_set in walk_data.SETS.items():
        entered = {}
        for part in walk_data.PARTS:
            source = open_source(tmp_path / f"out/{name}-{part}.jsonl")
            entered |= labels_of(source, labels=of_set.labels)
        # Every record is in one part, and the same pair whether its label was turned or not.
        assert entered.keys() == truth.keys() & entered.keys() and len(entered) == RECORDS
        sided = [pair_id for pair_id in entered if truth[pair_id] != "tie"]
        turned = [entered[pair_id] != truth[pair_id] for pair_id in sided]
        assert sum(turned) / len(turned) == pytest.approx(0.3, abs=0.1)
        for pair_id in entered.keys() - set(sided):
            assert entered[pair_id] == "tie"


def test_a_file_that_is_not_there_is_a_reason_to_skip(data, tmp_path, monkeypatch, capsys):
    (data / "llmbar/manual.json").unlink()
    command = ["x", "--data", str(data), "--workdir", str(tmp_path / "w")]
    monkeypatch.setattr(sys, "argv", command)
    assert curation_walk.main() == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "manual.json is not there, so llmbar cannot be prepared" in said["skipped"]


def test_people_see_what_the_queue_shows_and_are_right_nine_times_in_ten(tmp_path):
    say = lambda text: [{"role": "assistant", "content": text}]
    lines, truth = [], {}
    for k in range(400):
        prompt = [{"role": "user", "content": f"question {k}"}]
        shown = {"prompt": prompt, "left": say("good"), "right": say("bad")}
        if k % 2:
            shown = {"prompt": prompt, "left": say("bad"), "right": say("good")}
        lines.append({"task": f"t{k}", "annotator": "ana", **shown})
        # "bad" comes first in canonical order.
        truth[walk_data._task(lines[-1]).pair_id] = "b"
    queue = tmp_path / "people-0.tasks.jsonl"
    queue.write_text("".join(json.dumps(line) + "\n" for line in lines))
    back = walk_data.answers(queue, truth)
    assert [record["task"] for record in back] == [f"t{k}" for k in range(400)]
    right = [record["choice"] == ("left", "right")[k % 2] for k, record in enumerate(back)]
    assert sum(right) / len(right) == pytest.approx(walk_data.PEOPLE_RIGHT, abs=0.04)
    unknown = walk_data.answers(queue, {})
    assert {record["choice"] for record in unknown} == {"cannot_decide"}


def test_a_command_that_ends_otherwise_is_a_stumble_with_what_it_said(tmp_path):
    walking = Walk(tmp_path, {}, {}, {})
    with pytest.raises(Stumble, match="status: exit 2, not 0: .* is not a workspace"):
        walking.curate("status", "status", tmp_path / "nothing")
    assert walking.steps[0]["exit"] == 2
    assert "is not a workspace" in (tmp_path / "commands.log").read_text()


def test_labels_are_counted_by_what_became_of_their_pairs(tmp_path):
    records, say = [], {"chosen": "good", "rejected": "bad"}
    turned = {"chosen": "bad", "rejected": "good"}
    for k in range(8):
        records.append({"prompt": f"q{k}", **(turned if k < 2 else say)})
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    store = Store(tmp_path / "workspace/store")
    take_in(store, open_source(path), entry="wild", name="pairs")
    ids = [row["pair_id"] for row in store.query("select * from pairs order by row").to_pylist()]
    truth = dict.fromkeys(ids[:7], "b") | {ids[7]: "tie"}
    human = lambda k, value: {
        "pair_id": ids[k],
        "voter": "human:ana",
        "kind": "human",
        "value": value,
        "sample": 0,
    }
    # One wrong label is turned, one right label too, and one right label is confirmed.
    votes = [human(0, "b"), human(2, "a"), human(3, "b")]
    store.append("votes", "people-0", "00000", votes, inputs={}, config={}, iteration=0)
    measured = figures(Walk(tmp_path, {}, {}, truth))
    labels = measured["labels"]
    assert labels["entered"] == {"pairs": 7, "right": round(5 / 7, 4)}
    assert labels["flipped"] == {"pairs": 2, "right": 0.5}
    assert labels["kept"] == {"pairs": 1, "right": 1.0}
    assert labels["kept or flipped, as they came"] == {"pairs": 3, "right": round(2 / 3, 4)}
    assert labels["not labeled"] == {"pairs": 4, "right": 0.75}
    assert measured["without_truth"] == 1 and measured["sources"] == {"pairs": 8}


@pytest.mark.slow
def test_the_whole_walk_ends_as_the_docs_promise(shared_data, tmp_path):
    if walk_data.missing(shared_data):
        pytest.skip(walk_data.missing(shared_data))
    command = [sys.executable, "-m", "experiments.curation_walk", "--data", str(shared_data)]
    command += ["--workdir", str(tmp_path / "w"), "--pairs", "60"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    labels = json.loads(done.stdout.splitlines()[-1])["labels"]
    assert labels["kept or flipped"]["right"] > labels["entered"]["right"]
