"""What is in a ledger: its finished shards, and questions about their rows.

DuckDB answers what is asked in SQL. Questions about some hundred pairs read only the row groups in
which these lie (`row_groups`).
"""

import contextlib
import functools
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute

from rewardjax import fingerprint
from rewardjax.curation.ledger import packs, row_groups
from rewardjax.curation.ledger.manifests import Manifest
from rewardjax.curation.ledger.rows import FULL_SCHEMAS, SCHEMAS, PairText
from rewardjax.io import own_files

# The functions of pyarrow.compute are made when it is imported: a type checker knows none of them.
pc: Any = pyarrow.compute

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


class Reader:
    """The ledgers in one folder, as far as they are finished: shards that have a manifest."""

    folder: pathlib.Path

    # ------------------------------------------------------------------ shards

    def has(self, ledger: str, stage: str, unit: str) -> bool:
        """Whether that shard is finished: a resumed stage asks before it computes a unit."""
        return self._finished(ledger, stage, unit) is not None

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
                    by_name[path.stem] = own_files.read(path)
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

    def by_file(self, ledger: str, manifests: Iterable[Manifest]) -> list[list[Manifest]]:
        """Shards of a ledger, those whose rows lie in the same file together."""
        packed = packs.of_ledger(self.folder / ledger)
        together: dict[str, list[Manifest]] = {}
        for manifest in manifests:
            name = packs.name_of(manifest)
            # A shard in no pack is a file by itself.
            file = next((pack.path.stem for pack in packed if name in pack.by_name), name)
            together.setdefault(file, []).append(manifest)
        return list(together.values())

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

    # ------------------------------------------------------------------ questions

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
                    f"from read_parquet({sql_list([str(pack.path)])}) "
                    f"where stage || '.' || unit in ({sql_texts(names)})"
                )
        whole = []
        if paths:
            # By name: shards of earlier versions lack columns that came later.
            whole.append(f"from read_parquet({sql_list(paths)}, union_by_name = true)")
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
            return own_files.read(path)  # pyright: ignore[reportReturnType]
        packed = packs.of_ledger(self.folder / ledger)
        return packs.manifest_in(packed, path.stem)  # pyright: ignore[reportReturnType]

    def _path(self, ledger: str, stage: str, unit: str) -> pathlib.Path:
        if ledger not in SCHEMAS:
            raise ValueError(f"ledger {ledger!r}: there are {', '.join(SCHEMAS)}")
        for role, name in (("stage", stage), ("unit", unit)):
            if not NAME.fullmatch(name):
                raise ValueError(f"{role} {name!r}: letters, digits, - and _ only")
        return self.folder / ledger / f"{stage}.{unit}.parquet"

    def _manifest_path(self, ledger: str, stage: str, unit: str) -> pathlib.Path:
        return self._path(ledger, stage, unit).with_suffix(".json")


# Thousands of shards share a few: a file is named after what is in it.
@functools.lru_cache(maxsize=256)
def _settings_in(path: pathlib.Path) -> Any:
    return own_files.read_value(path)


def row_group(ledger: str) -> int:
    """Rows of a row group in the files of a ledger."""
    return ROW_GROUP_OF.get(ledger, ROW_GROUP)


def sql_texts(texts: Iterable[str]) -> str:
    """Texts as literals of SQL, separated by commas."""
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)


def sql_list(texts: Iterable[str]) -> str:
    """Texts as a list in SQL."""
    return f"[{sql_texts(texts)}]"


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
