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
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rewardjax import config as config_lib
from rewardjax import fingerprint
from rewardjax.curation.ledger import cross_fit, packs
from rewardjax.curation.ledger.manifests import Manifest, refuse_change
from rewardjax.curation.ledger.reader import Reader, row_group, sql_list
from rewardjax.curation.ledger.rows import FULL_SCHEMAS, KEYS
from rewardjax.curation.ledger.tables import (
    Tables,
    checked_table,
    in_groups,
    stored_schema,
    word_columns,
)
from rewardjax.io import files, own_files

# 2: decisions have a `round`.
FORMAT = 2

# (ledger, stage) -> settings by the name of their field, or None.
ReadBy = Callable[[str, str], dict[str, Any] | None]


class Store(Reader):
    """The ledgers in one folder, to be asked (`Reader`) and appended to.

    One process at a time writes a shard; processes may write different ones at the same time.
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
        stored_format = own_files.read(record, ["format"])["format"]
        if stored_format != FORMAT:
            raise ValueError(f"{record}: format {stored_format}, this version reads {FORMAT}")
        for ledger in self.folder.iterdir():
            if ledger.is_dir():
                files.refuse_pipes_in(ledger)

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
            shards = [own_files.read(path) for path in loose if path.exists()]
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
            source = f"from read_parquet({sql_list(map(str, paths))}, union_by_name = true)"
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

    def _refuse_own_training_pairs(self, scores: pa.Table) -> None:
        if not scores.num_rows or not self.manifests("training"):
            return
        with self.connect(ledgers=["training"]) as connection:
            connection.register("new_scores", scores)
            cross_fit.refuse_own_training_pairs(connection, "new_scores")


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
