"""Gold that a team owns: its people's votes stay votes, and count before the first iteration."""

import json

import pytest

from rewardjax import curate
from rewardjax.curation.intake.intake import take_in
from rewardjax.curation.ledger import pools, stage_names
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.overview import soundness
from rewardjax.data import sources

DESCRIBED = {
    "task_category": "Math",
    "objectivity": "Objective",
    "controversiality": "Low",
    "desired_attributes": "right",
    "annotation_guideline": "Check it.",
}


def taken(tmp_path, records, **meaning):
    path = tmp_path / "gold.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    store = Store(tmp_path / "store")
    return store, take_in(store, sources.open_source(path), entry="gold", name="team", **meaning)


def record(prompt, **fields):
    return {"prompt": prompt, "chosen": "yes", "rejected": "no"} | fields


def said(store):
    """(prompt, voter) -> the response that a person found better, or what else was said."""
    votes = store.query("select * from votes where kind = 'human'").to_pylist()
    found = {}
    for vote, text in zip(votes, store.texts([v["pair_id"] for v in votes]), strict=True):
        value = vote["value"]
        if value in ("a", "b"):
            value = text[f"response_{value}"][0]["content"]
        found[text["prompt"][0]["content"], vote["voter"]] = value
    return found


def test_several_peoples_votes_are_kept_as_votes(tmp_path):
    votes = [{"annotator": "ana", "choice": "chosen", "confidence": 0.9}]
    votes += [{"annotator": "bob", "choice": "rejected"}, {"annotator": "cat", "choice": "tie"}]
    records = [
        record("one", votes=votes),
        record("two", votes={"ana": "rejected", "bob": "rejected"}),
        record("three", votes=json.dumps(votes[:1])),
        record("four"),
        record("five", votes=[{"annotator": "ana", "choice": "cannot_decide"}]),
    ]
    store, counts = taken(tmp_path, records)
    assert counts == {"rows": 5, "pairs": 5, "duplicates": 0, "rejects": 0, "votes": 8}
    assert said(store) == {
        ("one", "human:ana"): "yes",
        ("one", "human:bob"): "no",
        ("one", "human:cat"): "tie",
        ("two", "human:ana"): "no",
        ("two", "human:bob"): "no",
        ("three", "human:ana"): "yes",
        ("four", "human:team"): "yes",
        ("five", "human:ana"): "undecided",
    }
    # The label that each came with is there too, so that what people changed can be seen.
    originals = store.query("select count(*) from votes where voter = 'original:team'")
    assert originals.column(0)[0].as_py() == 5
    standing = pools.labels(store, "gold", stage_names.IMPORTED)
    assert sorted(standing.values(), key=str).count("tie") == 1 and len(standing) == 4
    assert soundness.problems(store) == []


@pytest.mark.parametrize(
    "columns, choices",
    [
        (("response_1", "response_2"), ("response_1", "response_2", "tie")),
        (("response_a", "response_b"), ("a", "B", "no_preference")),
        (("answer_0", "answer_1"), ("answer_0", "answer_1", "equal")),
    ],
)
@pytest.mark.parametrize("label", [0, 1])
def test_a_vote_names_a_response_by_its_column(tmp_path, columns, choices, label):
    votes = [{"annotator": str(i), "choice": choice} for i, choice in enumerate(choices)]
    first, second = columns
    row = {"prompt": "one", first: "yes", second: "no", "label": choices[label], "votes": votes}
    store, _ = taken(tmp_path, [row])
    assert [said(store)["one", f"human:{i}"] for i in range(3)] == ["yes", "no", "tie"]


def test_columns_of_single_annotators_are_votes_by_the_labels_that_the_user_gave(tmp_path):
    row = {"prompt": "one", "response_1": "yes", "response_2": "no"}
    row |= {"annotator_1": 1, "annotator_2": 2, "annotator_3": 0}
    labels = {1: "first", 2: "second", 0: "tie"}
    store, _ = taken(tmp_path, [row], labels=labels)
    assert said(store) == {
        ("one", "human:annotator_1"): "yes",
        ("one", "human:annotator_2"): "no",
        ("one", "human:annotator_3"): "tie",
    }


@pytest.mark.parametrize(
    "fields, detail",
    [
        ({"votes": [{"annotator": "ana", "choice": "left"}]}, "which response is that"),
        ({"votes": [{"annotator": "ana", "choice": "a"}]}, "which response is that"),
        ({"votes": [{"choice": "chosen"}]}, "names no annotator"),
        ({"votes": ["chosen"]}, "no fields annotator and choice"),
        ({"votes": 3}, "is not a list of votes"),
        ({"votes": "chosen"}, "is not JSON"),
        ({"votes": [{"annotator": "ana", "choice": "chosen", "confidence": 3}]}, "[0, 1]"),
        ({"attributes": DESCRIBED | {"objectivity": "subjective"}}, "'subjective' is not one of"),
        ({"attributes": {"objectivity": "Objective"}}, "missing"),
        ({"task_category": "Math"}, "missing"),
        (
            {
                "votes": [
                    {"annotator": "ana", "choice": "chosen"},
                    {"annotator": "ana", "choice": "tie"},
                ]
            },
            "says two different things",
        ),
    ],
)
def test_a_record_that_cannot_be_read_is_a_listed_reject(tmp_path, fields, detail):
    store, counts = taken(tmp_path, [record("one", **fields), record("two")])
    assert counts["rejects"] == counts["pairs"] == 1
    (reject,) = store.query("select * from rejects").to_pylist()
    assert reject["row"] == 0 and detail in reject["detail"]


def test_attributes_come_along(tmp_path):
    records = [record("one", **DESCRIBED), record("two", attributes=DESCRIBED), record("three")]
    store, _ = taken(tmp_path, records)
    rows = store.current_attributes().to_pylist()
    assert len(rows) == 2
    for row in rows:
        assert {name: row[name] for name in DESCRIBED} == DESCRIBED
        assert row["voter"] == "human:team" and row["kind"] == "human"


def test_gold_is_imported_by_command_and_paid_to_nobody(tmp_path, capsys):
    path = tmp_path / "gold.jsonl"
    path.write_text(json.dumps(record("one", votes={"ana": "chosen"})))
    folder = str(tmp_path / "w")
    command = ["import", folder, "--source", str(path), "--name", "team", "--entry", "gold"]
    for _ in range(2):
        assert curate.main(command) == 0
        assert json.loads(capsys.readouterr().out)["votes"] == 1
    assert curate.main(["status", folder]) == 0
    assert "ana" in capsys.readouterr().out
