"""The curation ledger: text written once, everything said about it appended, all else derived.

    store/LEDGER/STAGE.UNIT.parquet    rows, sorted by key
    store/LEDGER/STAGE.UNIT.json       the shard's manifest

A shard is identified by its ledger, stage and unit, and its rows are a function of what the stage
was given: nothing in a row may tell when, where or in which order it was computed. So a stage that
was killed and runs again leaves the same store, byte for byte. Rows are never changed; a later
opinion is a new row with a higher `iteration`, and readers take the highest.

The columns of the ledgers are in `rows`; DuckDB answers what is asked of them.
"""

import contextlib
import fcntl
import functools
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypedDict

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from rewardjax import config as config_lib
from rewardjax import files, fingerprint
from rewardjax.curation.ledger import cross_fit
from rewardjax.curation.ledger.rows import FULL_SCHEMAS, SCHEMAS, PairText
from rewardjax.curation.ledger.tables import checked_table, word_columns

# 2: decisions have a `round`.
FORMAT = 2
# Rows. With the order by pair_id it is what lets a query for a range of pairs skip the rest.
ROW_GROUP = 2**16
MEMORY_LIMIT = "2GB"
# Of stages and units, which become names of files.
NAME = re.compile(r"[A-Za-z0-9_-]+")

# One row per pair: a person's edit goes before what judges said, the highest iteration before
# earlier ones, and of several judges the merged row before each of theirs.
CURRENT_ATTRIBUTES = """
select * from attributes {where}
qualify row_number() over (
    partition by pair_id
    order by (kind = 'human') desc, iteration desc, voter = 'panel' desc, voter
) = 1
"""


class StoreConflict(ValueError):
    """A shard of this name exists and was written from something else."""


class Manifest(TypedDict):
    """What a shard is and what it was computed from."""

    ledger: str
    stage: str
    unit: str
    iteration: int
    # How many.
    rows: int
    # Fingerprint of the Parquet file.
    content: str
    # Name -> fingerprint, or any JSON value, of what the rows were computed from.
    inputs: dict[str, Any]
    # Fingerprint of the settings.
    config: str | None


class Store:
    """The ledgers in one folder.

    Readers see finished shards only, those that have a manifest. One process at a time writes a
    shard; processes may write different ones at the same time.
    """

    def __init__(self, folder: str | pathlib.Path):
        self.folder = pathlib.Path(folder)
        record = self.folder / "store.json"
        if not record.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            config_lib.write_json(record, {"format": FORMAT})
        stored_format = json.loads(record.read_text())["format"]
        if stored_format != FORMAT:
            raise ValueError(f"{record}: format {stored_format}, this version reads {FORMAT}")

    # ------------------------------------------------------------------ writing

    def has(self, ledger: str, stage: str, unit: str) -> bool:
        """Whether that shard is finished: a resumed stage asks before it computes a unit."""
        return self._manifest_path(ledger, stage, unit).exists()

    def append(
        self,
        ledger: str,
        stage: str,
        unit: str,
        rows: Iterable[Mapping[str, Any]] | pa.Table,
        *,
        iteration: int = 0,
        inputs: Mapping[str, Any] | None = None,
        config: Any = None,
    ) -> Manifest:
        """Write one shard, whole or not at all, and return its manifest.

        The same call again changes nothing. Zero rows make a shard too: the unit is done.

        Args:
            ledger: a key of rows.ROWS.
            stage: letters, digits, - and _ only; as is unit.
            unit: the part of the stage's work that the rows are.
            rows: rows of that ledger, or a table with the columns of rows.SCHEMAS[ledger], in any
                order.
            iteration: of the curation loop.
            inputs: name -> fingerprint of what the rows were computed from.
            config: any JSON value, of which the fingerprint is kept.

        Raises:
            StoreConflict: where the shard exists with other rows, inputs, config or iteration.
            ValueError: that names column and row for a missing, unknown or illegal value; for a
                key given twice; for a score of a pair that its model was trained on.
        """
        path = self._path(ledger, stage, unit)
        manifest_path = self._manifest_path(ledger, stage, unit)
        table = checked_table(
            ledger, rows, iteration=iteration, stage=stage, unit=unit, where=str(path)
        )
        if ledger == "scores":
            self._refuse_own_training_pairs(table)
        config_fingerprint = None
        if config is not None:
            config_fingerprint = fingerprint.of_json(config)
        path.parent.mkdir(parents=True, exist_ok=True)
        # One process at a time: what a killed one left half written is then nobody's.
        with self._locked():
            with files.replacing(path) as part:
                words: Any = word_columns(ledger)
                pq.write_table(
                    table, part, compression="zstd", use_dictionary=words, row_group_size=ROW_GROUP
                )
                manifest = Manifest(
                    ledger=ledger,
                    stage=stage,
                    unit=unit,
                    iteration=iteration,
                    rows=table.num_rows,
                    content=fingerprint.of_file(part),
                    inputs=dict(inputs or {}),
                    config=config_fingerprint,
                )
                is_finished = manifest_path.exists()
                if is_finished:
                    # What differs is refused here; what does not, replaces itself.
                    _refuse_change(json.loads(manifest_path.read_text()), manifest, path)
            # Last: a shard exists from the moment that its manifest does. A finished one is not
            # committed again: a run that is killed at each commit would never get past it.
            if not is_finished:
                config_lib.write_json(manifest_path, manifest)
        return manifest

    def importing(self) -> contextlib.AbstractContextManager[None]:
        """Hold off other imports: of two that look for a pair at the same time both would add it.

        Another lock than that of a shard, which is taken inside.
        """
        return self._waiting_for("import.lock")

    # ------------------------------------------------------------------ reading

    def manifest(self, ledger: str, stage: str, unit: str) -> Manifest:
        """The manifest of a finished shard. Raises FileNotFoundError."""
        return json.loads(self._manifest_path(ledger, stage, unit).read_text())

    def manifests(self, ledger: str | None = None) -> list[Manifest]:
        """The manifests of all finished shards, or of those of one ledger, in order of name."""
        ledgers = [ledger] if ledger else list(SCHEMAS)
        manifests = []
        for name in ledgers:
            for path in sorted((self.folder / name).glob("*.json")):
                manifests.append(json.loads(path.read_text()))
        return manifests

    def fingerprint(self, *ledgers: str) -> str:
        """Hash of the contents of all shards (of these ledgers): equal stores, equal hashes."""
        contents = []
        for ledger in ledgers or SCHEMAS:
            for m in self.manifests(ledger):
                contents.append([m["ledger"], m["stage"], m["unit"], m["content"]])
        return fingerprint.of_json(contents)

    @contextlib.contextmanager
    def connect(
        self, shards: Sequence[Manifest] | None = None, ledgers: Iterable[str] = tuple(SCHEMAS)
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a DuckDB connection with one view per ledger (`pairs`, `votes`, ...).

        A view has all columns and `iteration`, `stage` and `unit`.

        Args:
            shards: manifests of the shards that are read; None: of all finished ones.
            ledgers: which views there are.
        """
        with self._database.cursor() as connection:
            for ledger in ledgers:
                manifests = shards
                if manifests is None:
                    manifests = self.manifests(ledger)
                paths = []
                for m in manifests:
                    if m["ledger"] == ledger:
                        paths.append(str(self._path(ledger, m["stage"], m["unit"])))
                if paths:
                    # Temporary: seen by this connection alone, so that others may be open beside
                    # it with other shards.
                    connection.execute(
                        # By name: shards of earlier versions lack columns that came later.
                        f"create temp view {ledger} as "
                        f"from read_parquet({_sql_list(paths)}, union_by_name = true)"
                    )
                else:
                    # DuckDB cannot read zero files: an empty table has the columns.
                    connection.register(ledger, FULL_SCHEMAS[ledger].empty_table())
            yield connection

    @functools.cached_property
    def _database(self) -> duckdb.DuckDBPyConnection:
        # One for all queries: to start a database takes a hundred times as long as to open a
        # cursor of it, and a stage asks many small questions.
        settings: dict[str, Any] = {
            # Beyond it DuckDB spills to disk: labeling shares the machine with training.
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": str(self.folder / "spill"),
            "preserve_insertion_order": "false",
        }
        database = duckdb.connect(config=settings)
        database.execute("SET enable_progress_bar = false")
        return database

    def query(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> pa.Table:
        """The result of one DuckDB query over the ledgers.

        For example `query("select pair_id from votes where voter = ?", ["human:ann"])`.
        """
        # A view reads the shards' footers, so there are views only of what the query may mean.
        named = [ledger for ledger in SCHEMAS if ledger in sql]
        with self.connect(ledgers=named) as connection:
            return connection.sql(sql, params=parameters).to_arrow_table()

    def without_embedding(self, embedder: str) -> list[str]:
        """Sorted ids of the pairs without an embedding by `embedder`."""
        sql = """
            select pair_id from pairs
            anti join (select pair_id from embeddings where embedder = ?) using (pair_id)
            order by pair_id
        """
        return self.query(sql, [embedder]).column("pair_id").to_pylist()

    def texts(self, pair_ids: Sequence[str]) -> list[PairText]:
        """The rows of `pairs` in the order of `pair_ids`, their JSON decoded.

        Raises:
            KeyError: for an id that is not in the store.
        """
        # An SQL join gives no order: the place says where a row belongs.
        places = pa.table(
            {"pair_id": pa.array(pair_ids, pa.string()), "place": range(len(pair_ids))}
        )
        sql = "select pairs.*, place from places join pairs using (pair_id) order by place"
        with self.connect(ledgers=["pairs"]) as connection:
            connection.register("places", places)
            rows = connection.sql(sql).to_arrow_table().to_pylist()
        if len(rows) < len(pair_ids):
            unknown = set(pair_ids) - {row["pair_id"] for row in rows}
            raise KeyError(f"pairs {sorted(unknown)[:3]} are not in {self.folder}")
        return [_decoded(row) for row in rows]

    def current_attributes(self, pair_ids: Sequence[str] | None = None) -> pa.Table:
        """The attributes that count, one row per pair (of these), by pair_id.

        A person's edit goes before a judge's row, and a later iteration before an earlier one.
        """
        where, parameters = "", None
        if pair_ids is not None:
            where = "where pair_id in (select unnest($ids))"
            parameters = {"ids": list(pair_ids)}
        sql = CURRENT_ATTRIBUTES.format(where=where) + " order by pair_id"
        return self.query(sql, parameters)

    def verify(self) -> list[str]:
        """Say what is wrong with the store, in sentences; empty where it is sound.

        Looks for damaged shards, and for rows about pairs that the store does not have.
        """
        problems = []
        for m in self.manifests():
            path = self._path(m["ledger"], m["stage"], m["unit"])
            if not path.exists() or fingerprint.of_file(path) != m["content"]:
                problems.append(
                    f"{path}: missing or changed since it was written; "
                    f"delete it and its .json, and run {m['stage']} again"
                )
        # A damaged shard cannot be queried.
        if problems:
            return problems
        for ledger in SCHEMAS.keys() - {"pairs", "rejects", "gates"}:
            orphans = self.query(
                f"select count(*) from (select distinct pair_id from {ledger}) "
                "anti join pairs using (pair_id)"
            )
            count = orphans.column(0)[0].as_py()
            if count:
                problems.append(f"{ledger}: {count} pairs that `pairs` does not have")
        return problems

    # ------------------------------------------------------------------ inside

    def _path(self, ledger: str, stage: str, unit: str) -> pathlib.Path:
        if ledger not in SCHEMAS:
            raise ValueError(f"ledger {ledger!r}: there are {', '.join(SCHEMAS)}")
        for role, name in (("stage", stage), ("unit", unit)):
            if not NAME.fullmatch(name):
                raise ValueError(f"{role} {name!r}: letters, digits, - and _ only")
        return self.folder / ledger / f"{stage}.{unit}.parquet"

    def _manifest_path(self, ledger: str, stage: str, unit: str) -> pathlib.Path:
        return self._path(ledger, stage, unit).with_suffix(".json")

    def _refuse_own_training_pairs(self, scores: pa.Table) -> None:
        if not scores.num_rows or not self.manifests("training"):
            return
        with self.connect() as connection:
            connection.register("new_scores", scores)
            cross_fit.refuse_own_training_pairs(connection, "new_scores")

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        return self._waiting_for("lock")

    @contextlib.contextmanager
    def _waiting_for(self, name: str) -> Iterator[None]:
        # By fcntl and not by a lock file that exists or not: the kernel releases the lock when
        # the process ends, however it ends.
        with open(self.folder / name, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _refuse_change(old: Manifest, new: Manifest, path: pathlib.Path) -> None:
    changed = config_lib.difference(old, new)
    if changed:
        lines = "\n  ".join(changed)
        raise StoreConflict(
            f"{path} exists and was written from something else; "
            f"use another stage name or another store:\n  {lines}"
        )


def _sql_list(texts: Sequence[str]) -> str:
    quoted = ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
    return f"[{quoted}]"


def _decoded(row: dict[str, Any]) -> PairText:
    decoded = dict(row)
    for name in ("prompt", "response_a", "response_b"):
        decoded[name] = json.loads(row[name])
    decoded["info"] = json.loads(row["info"] or "{}")
    decoded["tools"] = json.loads(row.get("tools") or "null")
    return decoded  # pyright: ignore[reportReturnType]
