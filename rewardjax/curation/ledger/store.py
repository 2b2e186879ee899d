"""The curation ledger: text written once, everything said about it appended, all else derived.

    store/LEDGER/STAGE.UNIT.parquet    rows, sorted by key
    store/LEDGER/STAGE.UNIT.json       the shard's manifest
    store/LEDGER/packed/               small shards put together (`packs`)

A shard is identified by its ledger, stage and unit, and its rows are a function of what the stage
was given: nothing in a row may tell when, where or in which order it was computed. So a stage that
was killed and runs again leaves the same rows and the same `fingerprint`. Rows are never changed; a
later opinion is a new row with a higher `iteration`, and readers take the highest.

The columns of the ledgers are in `rows`; DuckDB answers what is asked of them.
"""

import contextlib
import functools
import itertools
import json
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from rewardjax import config as config_lib
from rewardjax import files, fingerprint
from rewardjax.curation.ledger import cross_fit, packs, row_groups
from rewardjax.curation.ledger.manifests import Manifest, refuse_change
from rewardjax.curation.ledger.rows import FULL_SCHEMAS, KEYS, SCHEMAS, PairText
from rewardjax.curation.ledger.tables import (
    Tables,
    checked_table,
    in_groups,
    stored_schema,
    word_columns,
)

# The functions of pyarrow.compute are made when it is imported: a type checker knows none of them.
pc: Any = pyarrow.compute

# 2: decisions have a `round`.
FORMAT = 2
# Rows. With the order by pair_id it is what lets a query for a range of pairs skip the rest.
ROW_GROUP = 2**16
# Of ledgers with texts or vectors, of which a unit reads some hundred pairs.
ROW_GROUP_OF = {"pairs": 2**11, "attributes": 2**11, "embeddings": 2**11}
MEMORY_LIMIT = "2GB"
# Of stages and units, which become names of files.
NAME = re.compile(r"[A-Za-z0-9_-]+")

# One row per pair: a person's edit goes before what judges said, the highest iteration before
# earlier ones, and of several judges the merged row before each of theirs.
CURRENT_ATTRIBUTES = """
select * from attributes
qualify row_number() over (
    partition by pair_id
    order by (kind = 'human') desc, iteration desc, voter = 'panel' desc, voter
) = 1
order by pair_id
"""


# (ledger, stage) -> settings by the name of their field, or None.
ReadBy = Callable[[str, str], dict[str, Any] | None]


class Store:
    """The ledgers in one folder.

    Readers see finished shards only, those that have a manifest. One process at a time writes a
    shard; processes may write different ones at the same time.
    """

    def __init__(self, folder: str | pathlib.Path, read_by: ReadBy | None = None):
        """Open the store in `folder`, made where there is none.

        read_by: (ledger, stage) -> the settings that its rows depend on, which are kept with every
            shard that is written without settings of its own.
        """
        self.folder, self._read_by = pathlib.Path(folder), read_by
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
        return self._finished(ledger, stage, unit) is not None

    def append(
        self,
        ledger: str,
        stage: str,
        unit: str,
        rows: Iterable[Mapping[str, Any]] | pa.Table | Tables,
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
                order; or `Tables`, such tables one after another, in the order of the key.
            iteration: of the curation loop.
            inputs: name -> fingerprint of what the rows were computed from.
            config: any JSON value, which is kept once; None: what `read_by` says, which another
                try may say otherwise.

        Raises:
            StoreConflict: where the shard exists with other rows, inputs, config or iteration.
            ValueError: that names column and row for a missing, unknown or illegal value; for a
                key given twice; for a score of a pair that its model was trained on.
        """
        path = self._path(ledger, stage, unit)
        manifest_path = self._manifest_path(ledger, stage, unit)
        tables = self._checked(ledger, rows, iteration, stage, unit)
        has_own_config = config is not None
        if not has_own_config and self._read_by is not None:
            config = self._read_by(ledger, stage)
        config_fingerprint = self._kept_settings(config)
        path.parent.mkdir(parents=True, exist_ok=True)
        # One process at a time: what a killed one left half written is then nobody's.
        with self.locked():
            with files.replacing(path) as part:
                manifest = Manifest(
                    ledger=ledger,
                    stage=stage,
                    unit=unit,
                    iteration=iteration,
                    rows=_write(part, ledger, tables),
                    content=fingerprint.of_file(part),
                    inputs=dict(inputs or {}),
                    config=config_fingerprint,
                )
                finished = self._finished(ledger, stage, unit)
                if finished is not None:
                    # The rows are what they were: the settings of the first try have made them.
                    if not has_own_config:
                        manifest["config"] = finished["config"]
                    # What differs is refused here; what does not, replaces itself.
                    refuse_change(finished, manifest, path)
            # Last: a shard exists from the moment that its manifest does. A finished one is not
            # committed again: a run that is killed at each commit would never get past it.
            if finished is None:
                config_lib.write_json(manifest_path, manifest)
            elif not manifest_path.exists():
                # Its rows are in a pack.
                path.unlink()
        return manifest

    def _kept_settings(self, config: Any) -> str | None:
        """Keep settings under their fingerprint, which is returned."""
        if config is None:
            return None
        name = fingerprint.of_json(config)
        path = self.folder / "settings" / f"{name}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            config_lib.write_json(path, config)
        return name

    def forget(self, ledger: str, stage: str, unit: str) -> None:
        """Remove a shard that nothing was made from: half of a unit that was never finished."""
        with self.locked():
            # The manifest first: without it the shard does not exist.
            self._manifest_path(ledger, stage, unit).unlink(missing_ok=True)
            self._path(ledger, stage, unit).unlink(missing_ok=True)

    def compact(self, ledger: str, stage: str, least: int = packs.FANOUT) -> None:
        """Put the small shards of a stage together, where it has `least` or more (`packs`).

        Changes no row, no manifest and no fingerprint.
        """
        folder = self.folder / ledger
        loose = sorted(folder.glob(f"{stage}.*.json"))
        if len(loose) < least:
            return
        with self.locked():
            packs.sweep(folder, loose)
            shards = [json.loads(path.read_text()) for path in loose if path.exists()]
            for group in packs.groups([shard["rows"] for shard in shards], least):
                members = shards[group]
                paths = [self._path(ledger, stage, shard["unit"]) for shard in members]
                self._pack(ledger, 1, members, paths)
            lower = []
            for pack in packs.of_ledger(folder):
                if pack.level == 1 and pack.parts[0]["stage"] == stage:
                    lower.append(pack)
            for group in packs.groups([pack.rows for pack in lower], packs.FANOUT):
                parts = []
                for pack in lower[group]:
                    parts += pack.parts
                self._pack(ledger, 2, parts, [pack.path for pack in lower[group]])

    def _pack(
        self,
        ledger: str,
        level: int,
        parts: Sequence[Mapping[str, Any]],
        paths: Sequence[pathlib.Path],
    ) -> None:
        """Write the rows of files, merged by key, as a pack."""
        # A shard of an earlier version lacks columns that came later, which are null.
        columns = ", ".join(FULL_SCHEMAS[ledger].names)
        key = ", ".join((*KEYS[ledger], "unit"))
        empty = FULL_SCHEMAS[ledger].empty_table()
        with self._database.cursor() as connection:
            connection.register("no_rows", empty)
            source = f"from read_parquet({_sql_list(map(str, paths))}, union_by_name = true)"
            sql = f"from ({source} union all by name from no_rows) select {columns} order by {key}"
            batches = connection.sql(sql).to_arrow_reader(row_group(ledger))
            schema, words = FULL_SCHEMAS[ledger], word_columns(ledger)
            packs.write(self.folder / ledger, level, parts, batches, schema, words)

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Hold off all other writers of shards."""
        return files.locked(self.folder / "lock")

    def importing(self) -> contextlib.AbstractContextManager[None]:
        """Hold off other imports: of two that look for a pair at the same time both would add it.

        Another lock than that of a shard, which is taken inside.
        """
        return files.locked(self.folder / "import.lock")

    # ------------------------------------------------------------------ reading

    def manifest(self, ledger: str, stage: str, unit: str) -> Manifest:
        """The manifest of a finished shard. Raises FileNotFoundError."""
        manifest = self._finished(ledger, stage, unit)
        if manifest is None:
            raise FileNotFoundError(self._manifest_path(ledger, stage, unit))
        return manifest

    def manifests(self, ledger: str | None = None) -> list[Manifest]:
        """The manifests of all finished shards, or of those of one ledger, in order of name."""
        ledgers = [ledger] if ledger else list(SCHEMAS)
        manifests = []
        for name in ledgers:
            by_name = {}
            for path in (self.folder / name).glob("*.json"):
                # A reader may have listed a shard that has gone into a pack since.
                with contextlib.suppress(FileNotFoundError):
                    by_name[path.stem] = json.loads(path.read_text())
            for pack in packs.of_ledger(self.folder / name):
                for part in pack.parts:
                    by_name[packs.name_of(part)] = part
            manifests += [by_name[shard] for shard in sorted(by_name)]
        return manifests

    def files_of(self, ledger: str) -> list[pathlib.Path]:
        """The Parquet files of a ledger, each with a .json: its packs, and the shards in none."""
        packed = packs.of_ledger(self.folder / ledger)
        paths = [pack.path for pack in packed]
        for path in sorted((self.folder / ledger).glob("*.json")):
            if packs.manifest_in(packed, path.stem) is None:
                paths.append(path.with_suffix(".parquet"))
        return paths

    def settings(self, manifest: Manifest) -> Any:
        """The settings that a shard's rows depend on; None where none were kept."""
        path = self.folder / "settings" / f"{manifest['config']}.json"
        if not path.exists():
            return None
        return _settings_in(path)

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
                sql = self._rows_sql(ledger, shards)
                if sql is None:
                    # DuckDB cannot read zero files: an empty table has the columns.
                    connection.register(ledger, FULL_SCHEMAS[ledger].empty_table())
                else:
                    # Temporary: seen by this connection alone, so that others may be open beside
                    # it with other shards.
                    connection.execute(f"create temp view {ledger} as {sql}")
            yield connection

    def _rows_sql(self, ledger: str, shards: Sequence[Manifest] | None) -> str | None:
        """The query for the rows of shards (None: of all); None where there is no file to read."""
        packed = packs.of_ledger(self.folder / ledger)
        wanted = None
        loose = sorted(path.stem for path in (self.folder / ledger).glob("*.json"))
        if shards is not None:
            wanted = {packs.name_of(m) for m in shards if m["ledger"] == ledger}
            loose = sorted(wanted)
        paths = []
        for name in loose:
            if packs.manifest_in(packed, name) is None:
                paths.append(str(self.folder / ledger / f"{name}.parquet"))
        partial = []
        for pack in packed:
            if wanted is None or pack.by_name.keys() <= wanted:
                paths.append(str(pack.path))
                continue
            names = sorted(pack.by_name.keys() & wanted)
            if names:
                partial.append(
                    f"from read_parquet({_sql_list([str(pack.path)])}) "
                    f"where stage || '.' || unit in ({_sql_texts(names)})"
                )
        whole = []
        if paths:
            # By name: shards of earlier versions lack columns that came later.
            whole.append(f"from read_parquet({_sql_list(paths)}, union_by_name = true)")
        if not whole + partial:
            return None
        return " union all by name ".join(whole + partial)

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
        # A stage asks thousands of small questions. Each would read the footers of all files anew,
        # which grow with the pairs, so that the time of a stage would grow with their square.
        # Global: a cursor does not inherit what is set otherwise.
        database.execute("SET GLOBAL parquet_metadata_cache = true")
        return database

    def query(
        self,
        sql: str,
        parameters: Sequence[Any] | Mapping[str, Any] | None = None,
        shards: Sequence[Manifest] | None = None,
    ) -> pa.Table:
        """The result of one DuckDB query over the ledgers, or over these shards of them.

        For example `query("select pair_id from votes where voter = ?", ["human:ann"])`.
        """
        # A view reads the shards' footers, so there are views only of what the query may mean.
        named = [ledger for ledger in SCHEMAS if ledger in sql]
        with self.connect(shards, ledgers=named) as connection:
            return connection.sql(sql, params=parameters).to_arrow_table()

    @contextlib.contextmanager
    def stream(
        self, sql: str, parameters: Sequence[Any] | None = None, rows: int = ROW_GROUP
    ) -> Iterator[pa.RecordBatchReader]:
        """Yield the result of one DuckDB query in batches of about `rows` rows, as it comes."""
        named = [ledger for ledger in SCHEMAS if ledger in sql]
        with self.connect(ledgers=named) as connection:
            yield connection.sql(sql, params=parameters).to_arrow_reader(rows)

    def rows_about(
        self, ledger: str, pair_ids: Sequence[str] | pa.Array, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """The rows of a ledger about these pairs, in no order.

        It takes the same time however many other pairs there are, where these lie side by side.

        Args:
            ledger: a key of rows.ROWS.
            pair_ids: some hundred, or some thousand.
            columns: which ones, `pair_id` among them; None: all, `iteration`, `stage` and `unit`
                too.
        """
        schema = FULL_SCHEMAS[ledger]
        ids = pa.array(pair_ids, pa.string())
        names = columns or schema.names
        return row_groups.rows_about(self.files_of(ledger), ids, names, schema)

    def without_embedding(self, embedder: str, pair_ids: Sequence[str]) -> list[str]:
        """Sorted ids of these pairs that have no embedding by `embedder`."""
        rows = self.rows_about("embeddings", pair_ids, ("pair_id", "embedder"))
        done = rows.filter(pc.equal(rows.column("embedder"), embedder)).column("pair_id")
        return sorted(set(pair_ids) - set(done.to_pylist()))

    def texts(self, pair_ids: Sequence[str]) -> list[PairText]:
        """The rows of `pairs` in the order of `pair_ids`, their JSON decoded.

        Raises:
            KeyError: for an id that is not in the store.
        """
        return decoded(self.text_rows(pair_ids))

    def text_rows(self, pair_ids: Sequence[str], columns: Sequence[str] = ()) -> pa.Table:
        """The rows of `pairs` in the order of `pair_ids`, as they are stored: see `texts`.

        columns: which ones besides `pair_id`; none: all.
        """
        names = None
        if columns:
            names = ("pair_id", *columns)
        rows = self.rows_about("pairs", pair_ids, names)
        places = pc.index_in(pa.array(pair_ids, pa.string()), rows.column("pair_id"))
        if places.null_count:
            unknown = set(pair_ids) - set(rows.column("pair_id").to_pylist())
            raise KeyError(f"pairs {sorted(unknown)[:3]} are not in {self.folder}")
        return rows.take(places)

    def current_attributes(self, pair_ids: Sequence[str] | None = None) -> pa.Table:
        """The attributes that count, one row per pair (of these), by pair_id.

        A person's edit goes before a judge's row, and a later iteration before an earlier one.
        """
        if pair_ids is None:
            return self.query(CURRENT_ATTRIBUTES)
        with self.connect(ledgers=()) as connection:
            connection.register("attributes", self.rows_about("attributes", pair_ids))
            return connection.sql(CURRENT_ATTRIBUTES).to_arrow_table()

    # ------------------------------------------------------------------ inside

    def _finished(self, ledger: str, stage: str, unit: str) -> Manifest | None:
        """The manifest of a shard; None where it is not finished."""
        path = self._manifest_path(ledger, stage, unit)
        with contextlib.suppress(FileNotFoundError):
            return json.loads(path.read_text())
        packed = packs.of_ledger(self.folder / ledger)
        return packs.manifest_in(packed, path.stem)  # pyright: ignore[reportReturnType]

    def _checked(
        self,
        ledger: str,
        rows: Iterable[Mapping[str, Any]] | pa.Table | Tables,
        iteration: int,
        stage: str,
        unit: str,
    ) -> Iterator[pa.Table]:
        """The rows of a shard as checked tables."""
        tables: Iterable[Any] = [rows]
        if isinstance(rows, Tables):
            # Begun by an empty one: a stage without any row has a shard too.
            tables = itertools.chain([[]], rows.tables)
        where = str(self._path(ledger, stage, unit))
        for each in tables:
            table = checked_table(
                ledger, each, iteration=iteration, stage=stage, unit=unit, where=where
            )
            if ledger == "scores":
                self._refuse_own_training_pairs(table)
            yield table

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
        with self.connect(ledgers=["training"]) as connection:
            connection.register("new_scores", scores)
            cross_fit.refuse_own_training_pairs(connection, "new_scores")


# Thousands of shards share a few: a file is named after what is in it.
@functools.lru_cache(maxsize=256)
def _settings_in(path: pathlib.Path) -> Any:
    return json.loads(path.read_text())


def _write(path: pathlib.Path, ledger: str, tables: Iterator[pa.Table]) -> int:
    """Write checked tables, each after the one before by key, as one file; how many rows."""
    words: Any = word_columns(ledger)
    group, rows = row_group(ledger), 0
    with pq.ParquetWriter(
        path, stored_schema(ledger), compression="zstd", use_dictionary=words
    ) as writer:
        # Row groups of one size: the bytes must not depend on how the rows came in tables.
        for table in in_groups(tables, group):
            writer.write_table(table, group)
            rows += table.num_rows
    return rows


def row_group(ledger: str) -> int:
    """Rows of a row group in the files of a ledger."""
    return ROW_GROUP_OF.get(ledger, ROW_GROUP)


def _sql_texts(texts: Iterable[str]) -> str:
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)


def _sql_list(texts: Iterable[str]) -> str:
    return f"[{_sql_texts(texts)}]"


def decoded(rows: pa.Table) -> list[PairText]:
    """Rows of `pairs`, their JSON decoded."""
    texts = []
    for row in rows.to_pylist():
        for name in ("prompt", "response_a", "response_b"):
            row[name] = json.loads(row[name])
        row["info"] = json.loads(row["info"] or "{}")
        row["tools"] = json.loads(row.get("tools") or "null")
        texts.append(row)
    return texts
