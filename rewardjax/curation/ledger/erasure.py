"""Taking the text of pairs out of the ledger, which stays sound: ids, votes and decisions remain.

A file with such a pair, be it a shard or a pack of many, is written anew, with ERASED in place of
text, and its record keeps what the file was before (`manifests.contents_of`): decisions were made
from the very same opinions. A finding keeps the pair out of every pool from then on. Interrupted,
the same call goes on.
"""

import json
import pathlib
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from rewardjax import config as config_lib
from rewardjax import fingerprint
from rewardjax.curation.ledger import packs
from rewardjax.curation.ledger.manifests import contents_of
from rewardjax.curation.ledger.reader import row_group
from rewardjax.curation.ledger.rows import FindingRow
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.ledger.tables import word_columns
from rewardjax.io import files, own_files

# The functions of pyarrow.compute are made when it is imported: a type checker knows none of them.
pc: Any = pyarrow.compute

ERASED = "(erased)"
STAGE = FINDING = "erased"
# The query for the pairs whose text was erased.
ERASED_PAIRS = f"select pair_id from findings where finding = '{FINDING}'"


def refuse(store: Store, pair_ids: Sequence[str]) -> None:
    """Keep pairs out of all pools, which comes first: nobody may be asked about them any more."""
    rows = [FindingRow(pair_id=i, finding=FINDING, action="drop") for i in sorted(set(pair_ids))]
    store.append("findings", STAGE, fingerprint.of_json(sorted(set(pair_ids))), rows)


def erased(store: Store) -> set[str]:
    """The pairs whose text was erased."""
    return set(store.query(ERASED_PAIRS).column("pair_id").to_pylist())


def shown_as_examples(store: Store, pair_ids: Sequence[str]) -> list[str]:
    """The other pairs about which a judge was asked that was shown one of these as an example."""
    sql = """
        select distinct pair_id from votes, (select unnest($ids) as example)
        where kind = 'judge' and contains(evidence, '"' || example || '"')
            and pair_id not in (select unnest($ids))
        order by pair_id"""
    return store.query(sql, {"ids": list(pair_ids)}).column("pair_id").to_pylist()


def erase(store: Store, pair_ids: Sequence[str]) -> list[str]:
    """Erase the text of pairs from all files; returns LEDGER/NAME of those that were rewritten."""
    # Of the votes about other pairs the words of a judge go, who may quote its example.
    quoting = pa.array([*pair_ids, *shown_as_examples(store, pair_ids)], pa.string())
    names = []
    with store.locked():
        # What DuckDB and killed writers left behind is nobody's while nobody writes.
        shutil.rmtree(store.folder / "spill", ignore_errors=True)
        for part in store.folder.glob("*/**/*.parquet.part"):
            part.unlink()
        # The pairs last: as long as their text is there, an interrupted call can be made again.
        for ledger in ("votes", "attributes", "findings", "embeddings", "pairs"):
            ids = pa.array(pair_ids, pa.string())
            if ledger == "votes":
                ids = quoting
            folder = store.folder / ledger
            # Files that are in a pack, and wait for being deleted, have the text too.
            packs.sweep(folder, sorted(folder.glob("*.json")))
            for path in store.files_of(ledger):
                having = pq.read_table(path, columns=["pair_id"]).column("pair_id")
                if pc.any(pc.is_in(having, ids)).as_py():
                    _rewrite(ledger, path, ids)
                    names.append(str(path.relative_to(store.folder).with_suffix("")))
    packs.forget_what_was_read()
    return names


def _rewrite(ledger: str, path: pathlib.Path, ids: pa.Array) -> None:
    """Write a file without the text of pairs; its record then names both contents."""
    record_path = path.with_suffix(".json")
    record = own_files.read(record_path)
    words: Any = word_columns(ledger)
    before = pq.ParquetFile(path)
    rows: Counter[tuple[str, str]] = Counter()
    with files.replacing(path) as part:
        with pq.ParquetWriter(
            part, before.schema_arrow, compression="zstd", use_dictionary=words
        ) as writer:
            # Group by group: a pack may have two million rows.
            for group in range(before.num_row_groups):
                table = before.read_row_group(group)
                table = _WITHOUT_TEXT[ledger](table, pc.is_in(table.column("pair_id"), ids))
                writer.write_table(table, row_group(ledger))
                stages, units = table.column("stage"), table.column("unit")
                rows.update(zip(stages.to_pylist(), units.to_pylist(), strict=True))
        content = fingerprint.of_file(part)
        if content == record["content"]:
            return
        changed: dict[str, Any] = {"content": content, "erased_from": contents_of(record)}
        if "parts" in record:
            parts = record["parts"]
            changed["parts"] = [{**m, "rows": rows[m["stage"], m["unit"]]} for m in parts]
        else:
            changed["rows"] = rows.total()
        # The file last: killed before it, `verify` says that the erasure was interrupted.
        config_lib.write_json(record_path, {**record, **changed})


def _pairs(table: pa.Table, mask: pa.ChunkedArray) -> pa.Table:
    for name, role in (
        ("prompt", "user"),
        ("response_a", "assistant"),
        ("response_b", "assistant"),
    ):
        # Messages still, as whatever reads the text of a pair expects.
        text = json.dumps([{"role": role, "content": ERASED}])
        table = _replaced(table, name, mask, text)
    for name in ("tools", "info"):
        if name in table.column_names:
            table = _replaced(table, name, mask, None)
    return table


def _votes(table: pa.Table, mask: pa.ChunkedArray) -> pa.Table:
    """Votes stay, and what explains them but for the words of a judge, which may quote the pair."""
    evidence = []
    for is_erased, text in zip(mask.to_pylist(), table.column("evidence").to_pylist(), strict=True):
        if is_erased and text is not None:
            kept = {name: value for name, value in json.loads(text).items() if name != "rationale"}
            text = json.dumps(kept, sort_keys=True)
        evidence.append(text)
    place = table.column_names.index("evidence")
    return table.set_column(place, table.schema.field(place), pa.array(evidence, pa.string()))


def _attributes(table: pa.Table, mask: pa.ChunkedArray) -> pa.Table:
    for name in ("desired_attributes", "annotation_guideline"):
        table = _replaced(table, name, mask, ERASED)
    return table


def _findings(table: pa.Table, mask: pa.ChunkedArray) -> pa.Table:
    return _replaced(table, "evidence", mask, None)


def _embeddings(table: pa.Table, mask: pa.ChunkedArray) -> pa.Table:
    # A text can be guessed from its vector, and no decision was made from one.
    return table.filter(pc.invert(mask))


_WITHOUT_TEXT: dict[str, Callable[[pa.Table, pa.ChunkedArray], pa.Table]] = {
    "pairs": _pairs,
    "votes": _votes,
    "attributes": _attributes,
    "findings": _findings,
    "embeddings": _embeddings,
}


def _replaced(table: pa.Table, name: str, mask: pa.ChunkedArray, value: str | None) -> pa.Table:
    place = table.column_names.index(name)
    column = pc.if_else(mask, pa.scalar(value, pa.string()), table.column(name))
    return table.set_column(place, table.schema.field(place), column)
