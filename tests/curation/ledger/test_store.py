"""The ledger:

written once and whole, read back as given, the same store however often a stage was run.
"""

import os

import pyarrow as pa
import pytest
from ledgers import pair, score, vote

from rewardjax.curation.ledger import rows as rows_lib
from rewardjax.curation.ledger.manifests import StoreConflict
from rewardjax.curation.ledger.rows import canonical, other
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.overview import soundness
from rewardjax.data import groups


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    store.append("pairs", "import", "0", [pair("p2"), pair("p1")])
    store.append("pairs", "import", "1", [pair("p3", entry="wild")])
    return store


def test_reads_back_what_was_appended_in_the_order_of_the_key(store):
    manifest = store.append(
        "votes",
        "judge",
        "0",
        [vote("p2", confidence=0.75, shown="ba"), vote("p1", value="tie")],
        iteration=3,
    )
    assert manifest["rows"] == 2
    rows = store.query("select * from votes").to_pylist()
    assert rows[1] == vote("p2", confidence=0.75, shown="ba") | {
        "evidence": None,
        "iteration": 3,
        "stage": "judge",
        "unit": "0",
    }
    assert [row["pair_id"] for row in rows] == ["p1", "p2"]
    assert store.query("select * from votes").schema.names == rows_lib.FULL_SCHEMAS["votes"].names
    texts = store.texts(["p3", "p1"])
    assert [row["pair_id"] for row in texts] == ["p3", "p1"]
    assert texts[0]["prompt"][0]["content"] == "Question p3?" and texts[0]["info"] == {
        "task": "count"
    }
    with pytest.raises(KeyError, match="p9"):
        store.texts(["p1", "p9"])


def test_empty_ledgers_are_empty_tables_of_the_right_columns(tmp_path):
    empty = Store(tmp_path / "empty")
    for ledger in rows_lib.SCHEMAS:
        assert empty.query(f"select * from {ledger}").num_rows == 0
    assert empty.without_embedding("e", []) == []
    assert empty.current_attributes().num_rows == 0


def test_appending_again_changes_nothing_and_anything_else_is_refused(store):
    rows = [vote("p1"), vote("p2", value="b")]
    first = store.append("votes", "judge", "0", rows, inputs={"pairs": "f"}, config={"n": 4})
    before = store.fingerprint()
    manifest = store.folder / "votes/judge.0.json"
    committed = manifest.stat().st_ino  # a file that is written anew is another file
    again = store.append(
        "votes",
        "judge",
        "0",
        pa.Table.from_pylist(rows[::-1], rows_lib.SCHEMAS["votes"]),
        inputs={"pairs": "f"},
        config={"n": 4},
    )
    assert again == first and store.fingerprint() == before
    assert manifest.stat().st_ino == committed
    for changed in (
        {"rows": [vote("p1")]},
        {"inputs": {"pairs": "g"}},
        {"config": {"n": 5}},
        {"iteration": 1},
    ):
        given = {"rows": rows, "inputs": {"pairs": "f"}, "config": {"n": 4}} | changed
        with pytest.raises(StoreConflict, match="judge.0.parquet exists"):
            store.append("votes", "judge", "0", given.pop("rows"), **given)
    assert store.fingerprint() == before


def test_the_order_of_commits_does_not_show(tmp_path):
    stores = [Store(tmp_path / name) for name in "xy"]
    for unit in "01":
        stores[0].append("votes", "judge", unit, [vote(f"p{unit}")])
    for unit in "10":
        stores[1].append("votes", "judge", unit, [vote(f"p{unit}")])
    assert stores[0].fingerprint() == stores[1].fingerprint()
    files = [
        {path.name: path.read_bytes() for path in (one.folder / "votes").iterdir()}
        for one in stores
    ]
    assert files[0] == files[1]


def test_a_shard_without_a_manifest_does_not_exist_and_is_written_over(store):
    store.append("votes", "judge", "0", [vote("p1")])
    sound = store.fingerprint()
    (store.folder / "votes/judge.0.json").unlink()  # as after a kill between the two renames
    (store.folder / "votes/judge.0.parquet").write_bytes(b"half a fi")
    assert not store.has("votes", "judge", "0") and store.query("select * from votes").num_rows == 0
    store.append("votes", "judge", "0", [vote("p1")])
    assert store.fingerprint() == sound and soundness.problems(store) == []


def test_rows_that_did_not_get_their_name_have_no_manifest(store, monkeypatch):
    def refuse(source, target):
        if str(target).endswith(".parquet"):
            raise OSError("the disk is full")
        return replace(source, target)

    replace = os.replace
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk is full"):
        store.append("votes", "judge", "0", [vote("p1")])
    assert not store.has("votes", "judge", "0")
    assert not [path for path in (store.folder / "votes").iterdir()]


@pytest.mark.parametrize(
    "ledger, row, message",
    [
        ("votes", vote("p1", value="left"), "value = 'left', not one of a, b, tie, undecided"),
        ("votes", vote("p1", voter="oracle:x"), "kind = 'oracle'"),
        ("votes", vote("p1", confidence=1.5), "confidence = 1.5, not a probability"),
        ("votes", vote("p1", shown="left"), "shown = 'left'"),
        ("votes", {"pair_id": "p1"}, "voter = None, not a value"),
        ("votes", vote("p1") | {"latency": 3}, "no column 'latency'"),
        ("scores", score("p1", reward_a=float("nan")), "reward_a = nan, not a finite number"),
        (
            "pairs",
            pair("p9", entry="silver"),
            "entry = 'silver', not one of unverified, wild, gold",
        ),
    ],
)
def test_bad_rows_are_refused_by_name(store, ledger, row, message):
    before = store.fingerprint()
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        store.append(ledger, "bad", "0", [row])
    assert store.fingerprint() == before and not list(store.folder.rglob("*.part"))


def test_a_key_twice_in_a_shard_is_refused(store):
    with pytest.raises(ValueError, match="two rows with pair_id 'p1', voter 'judge:m', sample 0"):
        store.append("votes", "judge", "0", [vote("p1"), vote("p2"), vote("p1", value="b")])
    store.append("votes", "judge", "0", [vote("p1"), vote("p1", sample=1)])


def test_pairs_without_an_embedding_are_the_work_that_is_left(store):
    ids = ["p3", "p1", "p2"]
    assert store.without_embedding("e", ids) == ["p1", "p2", "p3"]
    rows = [
        {"pair_id": "p1", "embedder": "e", "vector": [0.0, 1.0]},
        {"pair_id": "p2", "embedder": "another", "vector": [0.0, 1.0]},
    ]
    store.append("embeddings", "embed", "0", rows)
    assert store.without_embedding("e", ids) == ["p2", "p3"]


def test_a_model_may_not_score_what_it_was_trained_on(store):
    store.append("training", "train", "0", [{"pair_id": "p1", "model": "m1", "value": "a"}])
    with pytest.raises(ValueError, match="model m1 was trained on 1 of the pairs .* such as p1"):
        store.append("scores", "score", "0", [score("p1"), score("p2")])
    assert store.query("select * from scores").num_rows == 0
    store.append("scores", "score", "0", [score("p1", model="m2"), score("p2")])


def test_a_persons_attributes_go_before_a_judges_and_later_ones_before_earlier(store):
    row = dict.fromkeys(rows_lib.SCHEMAS["attributes"].names, "x") | {
        "pair_id": "p1",
        "voter": "judge:m",
        "kind": "judge",
    }
    store.append(
        "attributes",
        "attributes",
        "0",
        [row | {"task_category": "Math"}, row | {"pair_id": "p2", "task_category": "old"}],
    )
    store.append(
        "attributes",
        "attributes",
        "1",
        [row | {"pair_id": "p2", "task_category": "new"}],
        iteration=1,
    )
    store.append(
        "attributes",
        "edits",
        "0",
        [row | {"voter": "human:ann", "kind": "human", "task_category": "Reasoning"}],
    )
    store.append("attributes", "attributes", "2", [row | {"task_category": "Other"}], iteration=2)
    assert store.current_attributes().select(["pair_id", "task_category"]).to_pylist() == [
        {"pair_id": "p1", "task_category": "Reasoning"},
        {"pair_id": "p2", "task_category": "new"},
    ]


def test_verify_finds_damage_and_orphans(store):
    assert soundness.problems(store) == []
    store.append("votes", "judge", "0", [vote("p1"), vote("nowhere")])
    assert soundness.problems(store) == ["votes: 1 pairs that `pairs` does not have"]
    path = store.folder / "pairs/import.1.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert [problem.split(":")[0] for problem in soundness.problems(store)] == [str(path)]


def test_another_format_is_refused(tmp_path):
    Store(tmp_path)
    (tmp_path / "store.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="format 99"):
        Store(tmp_path)


def test_canonical_order_is_that_of_the_pair_id():
    x, y = [{"role": "assistant", "content": "yes"}], [{"content": "no", "role": "assistant"}]
    assert canonical(x, y)[:2] == canonical(y, x)[:2]
    assert canonical(x, y)[2] != canonical(y, x)[2]
    prompt = [{"role": "user", "content": "Well?"}]
    assert groups.pair_id(prompt, x, y) == groups.pair_id(prompt, *canonical(x, y)[:2])


def test_flipping_twice_is_identity():
    assert [other(other(value)) for value in rows_lib.VALUES] == list(rows_lib.VALUES)
    assert [other(value) for value in rows_lib.VALUES] == ["b", "a", "tie", "undecided"]
