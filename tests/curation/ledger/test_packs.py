"""Small shards that are put together: the same rows, manifests and fingerprint, at any moment."""

import os

import numpy as np
import pyarrow as pa
import pytest
from ledgers import pair, score, vote

from rewardjax.curation.ledger import packs
from rewardjax.curation.ledger.decisions import audit, decide
from rewardjax.curation.ledger.manifests import StoreConflict
from rewardjax.curation.ledger.reader import ROW_GROUP
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.ledger.tables import Tables
from rewardjax.curation.overview import soundness

UNITS = 6


def filled(folder):
    """Six units of votes about pairs that lie in no order, and a shard of another stage."""
    store = Store(folder)
    ids = [f"p{place * 7 % 60:02d}" for place in range(60)]
    store.append("pairs", "import", "0", [pair(pair_id) for pair_id in ids])
    for unit in range(UNITS):
        rows = [vote(pair_id) for pair_id in ids[10 * unit : 10 * unit + 10]]
        store.append("votes", "label", f"{unit:05d}", rows, inputs={"unit": unit})
    store.append("votes", "other", "0", [vote("p01", voter="human:ann")])
    return store


def rows_of(store):
    return store.query("select * from votes order by all").to_pylist()


def test_rows_manifests_and_fingerprint_stay_what_they_were(tmp_path):
    store, same = filled(tmp_path / "packed"), filled(tmp_path / "loose")
    store.compact("votes", "label", least=2)
    assert len(list((store.folder / "votes/packed").glob("*.parquet"))) == 1
    assert rows_of(store) == rows_of(same)
    assert store.fingerprint() == same.fingerprint()
    assert store.manifests() == same.manifests()
    assert store.manifest("votes", "label", "00003") == same.manifest("votes", "label", "00003")
    assert store.has("votes", "label", "00005") and not store.has("votes", "label", "00006")
    assert soundness.problems(store) == []
    in_order = store.query("select pair_id from votes where stage = 'label'").column("pair_id")
    assert in_order.to_pylist() == sorted(in_order.to_pylist())


def test_shards_go_when_the_next_pack_is_made_and_not_before(tmp_path):
    store = filled(tmp_path / "store")
    store.compact("votes", "label", least=2)
    # A reader that has just listed them can still open them.
    assert (store.folder / "votes/label.00000.parquet").exists()
    for unit in ("00006", "00007"):
        store.append("votes", "label", unit, [vote("p01", sample=int(unit))])
    before = store.fingerprint(), rows_of(store)
    store.compact("votes", "label", least=2)
    assert not (store.folder / "votes/label.00000.parquet").exists()
    assert (store.folder / "votes/other.0.parquet").exists()
    assert (store.fingerprint(), rows_of(store)) == before


def test_many_packs_become_one(tmp_path, monkeypatch):
    monkeypatch.setattr(packs, "FANOUT", 3)
    store, same = filled(tmp_path / "packed"), filled(tmp_path / "loose")
    for first in range(0, UNITS, 2):
        later = [f"label.{unit:05d}.json" for unit in range(first + 2, UNITS)]
        hidden = [(store.folder / "votes" / name) for name in later]
        for path in hidden:
            path.rename(path.with_suffix(".later"))
        store.compact("votes", "label", least=2)
        for path in hidden:
            path.with_suffix(".later").rename(path)
    (pack,) = packs.of_ledger(store.folder / "votes")
    assert pack.level == 2 and len(pack.parts) == UNITS
    assert rows_of(store) == rows_of(same) and store.fingerprint() == same.fingerprint()


def test_a_unit_in_a_pack_is_not_written_again_and_another_one_is_refused(tmp_path):
    store = filled(tmp_path / "store")
    manifest = store.manifest("votes", "label", "00000")
    rows = store.query("select * exclude (iteration, stage, unit) from votes where unit = '00000'")
    store.compact("votes", "label", least=2)
    store.compact("votes", "label", least=2)
    assert store.append("votes", "label", "00000", rows, inputs={"unit": 0}) == manifest
    assert not (store.folder / "votes/label.00000.parquet").exists()
    with pytest.raises(StoreConflict, match="written from something else"):
        store.append("votes", "label", "00000", [vote("p59")], inputs={"unit": 0})


@pytest.mark.parametrize("commit", range(1, 14))
def test_killed_at_any_rename_or_deletion_the_store_says_the_same(tmp_path, monkeypatch, commit):
    store = filled(tmp_path / "store")
    before = store.fingerprint(), rows_of(store)
    calls = 0

    def counted(call):
        def killed(*args, **options):
            nonlocal calls
            calls += 1
            if calls == commit:
                raise KeyboardInterrupt
            return call(*args, **options)

        return killed

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", counted(os.replace))
        patched.setattr("pathlib.Path.unlink", counted(type(tmp_path).unlink))
        for _ in range(2):
            try:
                store.compact("votes", "label", least=2)
            except KeyboardInterrupt:
                break
    store = Store(tmp_path / "store")
    assert (store.fingerprint(), rows_of(store)) == before and soundness.problems(store) == []
    store.compact("votes", "label", least=2)
    assert (store.fingerprint(), rows_of(store)) == before and soundness.problems(store) == []


def test_damage_in_a_pack_is_found(tmp_path):
    store = filled(tmp_path / "store")
    store.compact("votes", "label", least=2)
    (path,) = (store.folder / "votes/packed").glob("*.parquet")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert [problem.split(":")[0] for problem in soundness.problems(store)] == [str(path)]


def test_decisions_follow_from_the_shards_that_they_saw_when_those_lie_in_packs(tmp_path):
    store = filled(tmp_path / "store")
    rows = [vote(f"p{place:02d}", "original:s") for place in range(60)]
    store.append("votes", "label", "00006", rows)
    store.append(
        "scores", "wild", "0", [score(f"p{place:02d}", scorer="gold") for place in range(60)]
    )
    decide(store, "stage2", table="gold_rm")
    store.append("votes", "label", "00007", [vote("p02", "original:t", "b", sample=9)])
    # The pack holds a shard that the decisions did not see.
    store.compact("votes", "label", least=2)
    assert audit(store, "stage2") == []


def test_a_shard_given_in_parts_has_the_bytes_of_one_given_whole(tmp_path):
    rows = [vote(f"p{place:07d}", sample=place % 2, shown="ab") for place in range(500)]
    whole, parts = Store(tmp_path / "whole"), Store(tmp_path / "parts")
    manifest = whole.append("votes", "panel", "all", rows)
    for name, size in (("parts", 7), ("parts", 499)):
        tables = Tables(rows[start : start + size] for start in range(0, len(rows), size))
        assert parts.append("votes", "panel", "all", tables)["content"] == manifest["content"], name
    assert parts.append("votes", "panel", "none", Tables([]))["rows"] == 0
    with pytest.raises(ValueError, match="come after"):
        parts.append("votes", "panel", "bad", Tables([rows[:9], rows[5:20]]))


def test_where_parts_end_does_not_show_in_a_shard_of_several_row_groups(tmp_path):
    count = ROW_GROUP + 1000
    columns = {
        "pair_id": [f"p{place:07d}" for place in range(count)],
        "model": np.array(["x", "y", "z"])[np.arange(count) % 3],
        "value": np.array(["a", "b"])[np.arange(count) // 9 % 2],
    }
    table = pa.table(columns)
    contents = set()
    for size in (count // 2 + 1, 30_011):
        store = Store(tmp_path / str(size))
        tables = Tables(table.slice(start, size) for start in range(0, count, size))
        contents.add(store.append("training", "best", "all", tables)["content"])
    assert len(contents) == 1
