"""In and out of the ledger:

every row accounted for, the label a vote, the text untouched, the export readable by training.
"""

import json

import pyarrow.parquet as pq
import pytest
from ledgers import vote
from ml_collections import ConfigDict

from rewardjax.curation.intake import intake
from rewardjax.curation.intake.intake import conflicts, take_in
from rewardjax.curation.ledger import pools as pools_lib
from rewardjax.curation.ledger.manifests import StoreConflict
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.ledger.write_pairs import export
from rewardjax.curation.overview import explain
from rewardjax.data import formats, groups, sources

RECORDS = [
    {"prompt": "One?", "chosen": "yes", "rejected": "no", "task": "ask"},
    {"prompt": "One?", "chosen": "no", "rejected": "yes"},  # the same pair, the other label
    {"prompt": "One?", "chosen": "yes", "rejected": "no"},  # an exact duplicate
    {"prompt": "Two?", "chosen": "b", "rejected": "a", "target": 0.5},
    {"prompt": "Three?", "chosen": "x", "rejected": "x"},
    {"prompt": "Four?", "responses": ["p", "q", "r"], "correct": [True, False, False]},
    {"prompt": "Five?", "responses": ["p", "q"], "correct": [True, True]},
    {"prompt": " ", "chosen": "x", "rejected": "y"},
    {"something": "else"},
    {"prompt": "Six?", "chosen": "s", "rejected": "t", "margin": 2.5},
    {
        "prompt": "Seven?",
        "chosen": [{"role": "assistant", "content": "u"}],
        "rejected": [{"role": "assistant", "content": "v"}],
    },
]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return sources.open_source(path)


@pytest.fixture
def store(tmp_path, source):
    store = Store(tmp_path / "store")
    take_in(store, source, entry="unverified", name="s", rows=3)
    return store


def test_every_row_is_accounted_for(store, source):
    assert take_in(store, source, entry="unverified", name="s", rows=3) == {
        "rows": 11,
        "pairs": 6,
        "duplicates": 2,
        "rejects": 4,
    }
    voted = store.query("select distinct sample from votes").column(0).to_pylist()
    rejected = {
        row["row"]: row["reason"] for row in store.query("select * from rejects").to_pylist()
    }
    assert sorted([*voted, *rejected]) == list(range(len(RECORDS)))
    assert rejected == {4: "equal", 6: "no_pair", 7: "empty", 8: "bad_schema"}
    assert set(rejected.values()) <= {*groups.REASONS, intake.NO_PAIR}
    assert pools_lib.sizes(store) == {
        "gold": 0,
        "silver": 0,
        "curated": 0,
        "unverified": 6,
        "wild": 0,
        "discarded": 0,
    }


def test_the_original_label_is_a_vote(store):
    rows = {
        row["sample"]: row
        for row in store.query("select * from votes").to_pylist()
        if row["sample"] != 5
    }
    texts = {
        row["pair_id"]: row
        for row in store.texts(sorted({row["pair_id"] for row in rows.values()}))
    }
    for index, row in rows.items():
        group = formats.to_group(RECORDS[index], index, "s")
        text = texts[row["pair_id"]]
        assert row["pair_id"] == groups.pair_id(group.prompt, *group.responses)
        if index == 3:
            assert (row["value"], row["confidence"]) == ("tie", 0.5)
        else:
            assert (
                text[f"response_{row['value']}"] == group.responses[0]
                and text["prompt"] == group.prompt
            )
    assert json.loads(rows[9]["evidence"]) == {"margin": 2.5}
    assert texts[rows[0]["pair_id"]]["info"] == {"task": "ask"}
    assert rows[0]["pair_id"] == rows[1]["pair_id"] == rows[2]["pair_id"]
    (conflict,) = conflicts(store)
    assert conflict["pair_id"] == rows[0]["pair_id"] and {conflict["for_a"], conflict["for_b"]} == {
        1,
        2,
    }
    assert conflict["sources"] == ["s"]


def test_pairs_whose_label_nobody_made_enter_the_wild_pool(source, tmp_path):
    store = Store(tmp_path / "wild")
    take_in(store, source, entry="wild", name="s")
    sizes = pools_lib.sizes(store)
    assert sizes["wild"] == 6 and sizes["unverified"] == 0


def test_a_label_below_one_half_speaks_for_the_other_response(tmp_path):
    path = tmp_path / "doubted.jsonl"
    texts = {"prompt": "Who?", "chosen": "one", "rejected": "two"}
    path.write_text(json.dumps(texts | {"target": 0.2}) + "\n")
    store = Store(tmp_path / "doubted")
    take_in(store, sources.open_source(path), entry="unverified", name="s")
    (vote,) = store.query("select * from votes").to_pylist()
    (text,) = store.texts([vote["pair_id"]])
    assert text[f"response_{vote['value']}"][0]["content"] == "two"
    assert vote["confidence"] == pytest.approx(0.8)


def test_a_pair_of_another_source_is_written_once(store, source, tmp_path):
    counts = take_in(store, source, entry="wild", name="other")
    assert counts == {"rows": 11, "pairs": 0, "duplicates": 8, "rejects": 4}
    assert store.query("select count(*) from pairs").column(0)[0].as_py() == 6
    assert {row["entry"] for row in store.query("select entry from pairs").to_pylist()} == {
        "unverified"
    }


def test_an_import_that_was_interrupted_goes_on(store, source, tmp_path):
    whole = store.fingerprint()
    broken = Store(tmp_path / "broken")

    class Stop(Exception):
        pass

    class Breaking(Store):
        def append(self, ledger, *args, **kwargs):
            if ledger == "pairs" and self.has("pairs", "import-s", "00001"):
                raise Stop
            return super().append(ledger, *args, **kwargs)

    with pytest.raises(Stop):
        take_in(Breaking(broken.folder), source, entry="unverified", name="s", rows=3)
    assert 0 < len(broken.manifests()) < len(store.manifests())
    take_in(broken, source, entry="unverified", name="s", rows=3)
    assert broken.fingerprint() == whole
    changed = tmp_path / "changed.jsonl"
    changed.write_text('{"prompt": "New?", "chosen": "x", "rejected": "y"}\n')
    with pytest.raises(StoreConflict, match="import s: .* its source held other records"):
        take_in(broken, sources.open_source(changed), entry="unverified", name="s", rows=3)


def test_columns_and_labels_of_a_source_are_explained(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text('{"ask": "New?", "response_a": "x", "response_b": "y", "label": 1}\n')
    how = {"entry": "unverified", "name": "s", "columns": {"prompt": "ask"}}
    with pytest.raises(ValueError, match="s.jsonl: cannot be read: label = 1"):
        take_in(Store(tmp_path / "no"), sources.open_source(path), **how)
    how["labels"] = ConfigDict({0: "first", 1: "second"})
    store = Store(tmp_path / "store")
    assert take_in(store, sources.open_source(path), **how)["pairs"] == 1
    (row,) = store.query("select * from pairs join votes using (pair_id)").to_pylist()
    assert json.loads(row[f"response_{row['value']}"])[0]["content"] == "y"
    with pytest.raises(StoreConflict, match="its columns or labels meant something else"):
        take_in(store, sources.open_source(path), **how | {"labels": {0: "second", 1: "first"}})


def test_what_was_imported_into_one_pool_is_not_silently_taken_for_another(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text('{"prompt": "New?", "chosen": "x", "rejected": "y"}\n')
    store = Store(tmp_path / "store")
    take_in(store, sources.open_source(path), entry="unverified", name="s")
    with pytest.raises(StoreConflict, match="entered as unverified, not as wild; .* another name"):
        take_in(store, sources.open_source(path), entry="wild", name="s")
    again = take_in(store, sources.open_source(path), entry="unverified", name="s")
    assert (again["pairs"], again["duplicates"]) == (1, 0)


def exported(store, path, **options):
    counts = export(store, path, **options)
    return counts, pq.read_table(path).to_pylist()


def test_export_is_the_conventional_format_with_provenance(store, tmp_path):
    counts, rows = exported(store, tmp_path / "out.parquet")
    assert counts == {"written": 5, "tie": 1}
    assert rows == sorted(rows, key=lambda row: row["pair_id"])
    for index, row in enumerate(rows):
        group = formats.to_group(row, index, "out")  # as training reads it
        assert groups.check(group)[1] == []
        assert groups.pair_id(group.prompt, *group.responses) == row["pair_id"]
        assert (
            row["pool"] == "unverified" and row["original_label"] == "kept" and row["source"] == "s"
        )
    assert {row["prompt"][0]["content"] for row in rows} == {"One?", "Four?", "Six?", "Seven?"}


def test_flips_swap_chosen_and_rejected_and_nothing_else(store, tmp_path):
    pairs = [row for row in pools_lib.pools(store).to_pylist() if row["original"] != "tie"]
    turned, kept = pairs[:2], pairs[2:]
    flip = {"a": "b", "b": "a"}
    votes = [vote(row["pair_id"], "panel", flip[row["original"]]) for row in turned] + [
        vote(row["pair_id"], "panel", row["original"]) for row in kept
    ]
    store.append("votes", "panel", "0", votes, iteration=1)
    _, before = exported(store, tmp_path / "before.parquet", labels="original")
    counts, after = exported(store, tmp_path / "after.parquet", pools=["silver"])
    assert counts == {"written": 5}
    for old, new in zip(before, after, strict=True):
        swapped = new["pair_id"] in {row["pair_id"] for row in turned}
        assert new["original_label"] == ("flipped" if swapped else "kept") and new["since"] == 1
        assert (new["chosen"], new["rejected"]) == (
            (old["rejected"], old["chosen"]) if swapped else (old["chosen"], old["rejected"])
        )
    counts, filtered = exported(store, tmp_path / "filtered.parquet", pools=["silver"], flips=False)
    assert (
        counts == {"flip": 2, "written": 3}
        and [row["original_label"] for row in filtered] == ["kept"] * 3
    )
    # Flipped once more, everything is as it was.
    back = [vote(row["pair_id"], "panel", row["original"]) for row in pairs]
    store.append("votes", "panel", "1", back, iteration=2)
    _, again = exported(store, tmp_path / "again.parquet", pools=["silver"])
    assert [(row["chosen"], row["rejected"]) for row in again] == [
        (row["chosen"], row["rejected"]) for row in before
    ]
    _, then = exported(store, tmp_path / "then.parquet", pools=["silver"], iteration=1)
    assert then == after


def test_bad_choices_are_refused(store, tmp_path):
    with pytest.raises(ValueError, match="pools: 'bronze'"):
        export(store, tmp_path / "x.parquet", pools=["bronze"])
    with pytest.raises(ValueError, match="labels = 'new'"):
        export(store, tmp_path / "x.parquet", labels="new")


TOOLS = [{"type": "function", "function": {"name": "tides", "parameters": {"place": "string"}}}]


def with_tools(tmp_path, name, records):
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return sources.open_source(path)


def test_schemas_of_tools_go_all_the_way_to_training(tmp_path):
    """Which of two answers is better depends on what could have been called."""
    plain = {"prompt": "When is high tide?", "chosen": "At noon.", "rejected": "Who knows?"}
    records = [plain, {**plain, "tools": TOOLS}, {**plain, "tools": json.dumps(TOOLS)}]
    store = Store(tmp_path / "store")
    counts = take_in(
        store, with_tools(tmp_path, "a", records), entry="unverified", name="a", rows=3
    )
    assert (counts["pairs"], counts["duplicates"]) == (2, 1), "with tools it is another pair"
    ids = store.query("select pair_id from pairs order by tools nulls first").column(0).to_pylist()
    assert [text["tools"] for text in store.texts(ids)] == [None, TOOLS]
    assert '"name": "tides"' in explain.as_text(explain.explain(store, ids[1]))
    export(store, tmp_path / "pairs.parquet")
    exported = sources.open_source(tmp_path / "pairs.parquet")
    groups_read = [group for _, _, group in formats.groups_of(exported)]
    assert sorted((group.tools for group in groups_read), key=str) == [None, TOOLS]


def test_calls_of_tools_go_all_the_way_to_training(tmp_path):
    call = {"type": "function", "id": "c1", "function": {"name": "tides", "arguments": {"a": 1}}}
    says = {"role": "assistant", "content": "At noon."}
    records = [
        {
            "prompt": [
                {"role": "user", "content": 'A "name": what?'},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "name": "tides", "content": "noon"},
            ],
            "chosen": [says],
            "rejected": [{"role": "assistant", "content": "", "tool_calls": [call]}],
            "tools": TOOLS,
        },
        {"prompt": "One?", "chosen": "yes", "rejected": "no"},
    ]
    source = with_tools(tmp_path, "calls", records)
    store = Store(tmp_path / "store")
    assert take_in(store, source, entry="wild", name="calls", rows=3)["pairs"] == 2
    assert export(store, tmp_path / "pairs.parquet") == {"written": 2}
    exported = sources.open_source(tmp_path / "pairs.parquet")
    before, after = (
        sorted(
            ([group.prompt, group.responses, group.tools] for _, _, group in formats.groups_of(x)),
            key=str,
        )
        for x in (source, exported)
    )
    assert after == before


def test_a_store_of_an_earlier_version_has_no_tools(tmp_path):
    store = Store(tmp_path / "store")
    record = {"prompt": "One?", "chosen": "yes", "rejected": "no"}
    take_in(store, with_tools(tmp_path, "old", [record]), entry="wild", name="old", rows=3)
    (shard,) = (tmp_path / "store" / "pairs").glob("*.parquet")
    pq.write_table(pq.read_table(shard).drop_columns(["tools"]), shard)
    export(store, tmp_path / "old.parquet")
    assert "tools" not in pq.read_schema(tmp_path / "old.parquet").names
    # Beside it a shard of this version.
    more = with_tools(tmp_path, "new", [{**record, "tools": TOOLS}])
    take_in(store, more, entry="wild", name="new", rows=3)
    ids = store.query("select pair_id from pairs").column(0).to_pylist()
    assert sorted((text["tools"] for text in store.texts(ids)), key=str) == [None, TOOLS]
