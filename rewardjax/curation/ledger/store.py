"""The curation ledger: text written once, everything said about it appended, everything else derived by DuckDB.

    store/LEDGER/STAGE.UNIT.parquet    rows, sorted by key
    store/LEDGER/STAGE.UNIT.json       the shard's manifest, renamed into place last: a shard without one does not exist

A shard is known by its ledger, stage and unit, and its rows are a function of what the stage was given: nothing in a row may tell when,
where or in which order it was computed. So a stage that was killed and runs again leaves the same store, byte for byte. Rows are never
changed; a later opinion is a new row with a higher `iteration`, and readers take the highest.

`a` and `b` are the two responses of a pair in their canonical order (`groups.pair_id`): labels, votes and rewards speak of them, so that
a flip is another label and never another text.
"""

import contextlib
import fcntl
import functools
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from rewardjax import config as config_lib
from rewardjax import files, fingerprint
from rewardjax.curation.judges.attributes import FIELDS, TAXONOMIES
from rewardjax.data.groups import Message

pc: Any = (
    pyarrow.compute
)  # its functions are made when it is imported, so that a type checker knows none

FORMAT = 1
# Who votes: the label it came with, a person, a person's answer to a check (which measures the person and decides nothing), one sample of
# a judge, the judges merged, a reward model.
KINDS = ("original", "human", "check", "judge", "panel", "rm")
VALUES = (
    "a",
    "b",
    "tie",
    "undecided",
)  # the better response; no preference; a person who cannot decide (the pair is then dropped)
ENTRIES = ("unverified", "wild")  # the pool a pair enters: its label was made by people, or not
SHOWN = ("ab", "ba")
ACTIONS = ("keep", "flip", "annotate", "discard")  # of a decision
OPINIONS = ("for", "against", "even", "undecided", "none")  # of a voter about the original label
ROW_GROUP = (
    2**16
)  # rows; with the order by pair_id it is what lets a query of a range of pairs skip the rest
FINDINGS = (
    "hold",
    "flag",
    "restore",
    "drop",
)  # of a finding: out until reviewed; noted only; a review lets it in again, or keeps it out

_TEXT, _INT, _REAL = pa.string(), pa.int64(), pa.float32()


def _schema(
    *required: tuple[str, pa.DataType], optional: Sequence[tuple[str, pa.DataType]] = ()
) -> pa.Schema:
    return pa.schema(
        [pa.field(name, kind, nullable=False) for name, kind in required]
        + [pa.field(name, kind) for name, kind in optional]
    )


# Columns of each ledger as callers give them. Every row also carries `iteration`, `stage` and `unit`, which `append` fills in.
SCHEMAS: dict[str, pa.Schema] = {
    # The text, once. prompt, response_a, response_b: message lists as JSON. record_id, row: where it came from. info: the record's other
    # fields, as JSON.
    "pairs": _schema(
        ("pair_id", _TEXT),
        ("prompt", _TEXT),
        ("response_a", _TEXT),
        ("response_b", _TEXT),
        ("source", _TEXT),
        ("entry", _TEXT),
        ("row", _INT),
        optional=[("record_id", _TEXT), ("info", _TEXT)],
    ),
    # One opinion. voter: "original:SOURCE", "human:NAME", "judge:MODEL", "panel", "rm:NAME". value: see VALUES. confidence: P(value is
    # right) as the voter sees it. sample: which of several by one voter (self-consistency; the source's row for an original label).
    # shown: the order in which the responses were shown. evidence: JSON, whatever explains the vote.
    "votes": _schema(
        ("pair_id", _TEXT),
        ("voter", _TEXT),
        ("kind", _TEXT),
        ("value", _TEXT),
        ("sample", _INT),
        optional=[("confidence", _REAL), ("shown", _TEXT), ("evidence", _TEXT)],
    ),
    # Rewards of a reward model. scorer: the chair it sits on ("gold", "best", ...); model: fingerprint of its weights; contract:
    # fingerprint of its score contract. Refused for a pair that `training` says the model has seen.
    "scores": _schema(
        ("pair_id", _TEXT),
        ("scorer", _TEXT),
        ("model", _TEXT),
        ("contract", _TEXT),
        ("reward_a", _REAL),
        ("reward_b", _REAL),
    ),
    # Which pairs, with which label, a model was trained on: what cross-fitting is checked against.
    "training": _schema(("pair_id", _TEXT), ("model", _TEXT), ("value", _TEXT)),
    # The paper's 5-tuple, by a judge or, edited, by a person. evidence: JSON.
    "attributes": _schema(
        ("pair_id", _TEXT),
        ("voter", _TEXT),
        ("kind", _TEXT),
        *((name, _TEXT) for name in FIELDS),
        optional=[("evidence", _TEXT)],
    ),
    # embedder: fingerprint of model and text rule. vector: float32, any length, one length an embedder.
    "embeddings": _schema(("pair_id", _TEXT), ("embedder", _TEXT), ("vector", pa.list_(_REAL))),
    # What cleaning found, and what a reviewer said about it. finding: "near_duplicate", "contaminated", "pii", ... evidence: JSON.
    "findings": _schema(
        ("pair_id", _TEXT), ("finding", _TEXT), ("action", _TEXT), optional=[("evidence", _TEXT)]
    ),
    # Pairs chosen to be labeled: by whom ("people", "judges"), in which order, and why (evidence, JSON: what pulled it).
    "picks": _schema(
        ("pair_id", _TEXT), ("labeller", _TEXT), ("place", _INT), optional=[("evidence", _TEXT)]
    ),
    # What became of a pair, looked up in a decision table (decide.py). value: the label it goes on with; the rest as the table saw it.
    "decisions": _schema(
        ("pair_id", _TEXT),
        ("action", _TEXT),
        ("rule", _TEXT),
        *((seat, _TEXT) for seat in ("original", "gold", "best", "judges", "humans")),
        optional=[("value", _TEXT)],
    ),
    # Rows that never became a pair, with the reason (a key of groups.REASONS).
    "rejects": _schema(("source", _TEXT), ("row", _INT), ("reason", _TEXT), ("detail", _TEXT)),
}
KEYS = {  # unique within a shard, and its order
    "pairs": ("pair_id",),
    "votes": ("pair_id", "voter", "sample"),
    "scores": ("pair_id", "scorer"),
    "training": ("pair_id", "model"),
    "attributes": ("pair_id", "voter"),
    "embeddings": ("pair_id", "embedder"),
    "findings": ("pair_id", "finding", "action"),
    "picks": ("pair_id",),
    "decisions": ("pair_id",),
    "rejects": ("source", "row", "reason", "detail"),
}
LEGAL = {
    "pairs": {"entry": ENTRIES},
    "votes": {"kind": KINDS, "value": VALUES, "shown": SHOWN},
    "training": {"value": ("a", "b")},
    "attributes": {"kind": ("judge", "human")},
    "findings": {"action": FINDINGS},
    "picks": {"labeller": ("people", "judges")},
    "decisions": {"action": ACTIONS, "value": ("a", "b")}
    | dict.fromkeys(("original", "gold", "best", "judges", "humans"), OPINIONS),
}
_STAMP = [
    pa.field("iteration", pa.int32(), nullable=False),
    pa.field("stage", _TEXT, nullable=False),
    pa.field("unit", _TEXT, nullable=False),
]
NAME = re.compile(r"[A-Za-z0-9_-]+")


class StoreConflict(ValueError):
    """A shard of this name exists and says something else."""


def canonical(
    response_1: list[Message], response_2: list[Message]
) -> tuple[list[Message], list[Message], bool]:
    """(a, b, whether a is `response_1`): two responses in the order that `groups.pair_id` hashes them in."""
    key = lambda response: json.dumps(response, sort_keys=True)
    first = key(response_1) <= key(response_2)
    return (response_1, response_2, True) if first else (response_2, response_1, False)


def other(value: str) -> str:
    """The flipped label: "b" for "a" and "a" for "b"; ties and undecided ones have no other side and stay."""
    return {"a": "b", "b": "a"}.get(value, value)


class Store:
    """The ledgers in one folder. Reading sees finished shards only; one process writes a shard at a time."""

    def __init__(self, folder: str | pathlib.Path):
        self.folder = pathlib.Path(folder)
        record = self.folder / "store.json"
        if not record.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            config_lib.write_json(record, {"format": FORMAT})
        if (found := json.loads(record.read_text())["format"]) != FORMAT:
            raise ValueError(f"{record}: format {found}, this version reads {FORMAT}")

    # ------------------------------------------------------------------ writing

    def has(self, ledger: str, stage: str, unit: str) -> bool:
        """Whether that shard is finished: what a resumed stage asks before it computes a unit."""
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
    ) -> dict[str, Any]:
        """Write one shard, whole or not at all, and return its manifest. Zero rows make a shard too: the unit is done.

        rows: dicts or a table with the columns of SCHEMAS[ledger]; order does not matter. inputs: name -> fingerprint of what the rows
        were computed from; config: any JSON value, its hash is kept. The same call again changes nothing.
        Raises StoreConflict where the shard exists with other rows, inputs, config or iteration; ValueError naming column and row for a
        missing, unknown or illegal value, for a key given twice, and for a score of a pair that its model was trained on."""
        table = self._table(ledger, stage, unit, rows, iteration)
        if ledger == "scores":
            self._refuse_own_training_pairs(table, f"{stage}.{unit}")
        final, manifest_path = (
            self._path(ledger, stage, unit),
            self._manifest_path(ledger, stage, unit),
        )
        final.parent.mkdir(parents=True, exist_ok=True)
        # One process at a time, so that a part left by a killed one is nobody's.
        with self._locked():
            with files.replacing(final) as part:
                words: Any = sorted(_WORDS & set(table.column_names))
                pq.write_table(
                    table, part, compression="zstd", use_dictionary=words, row_group_size=ROW_GROUP
                )
                manifest = {
                    "ledger": ledger,
                    "stage": stage,
                    "unit": unit,
                    "iteration": iteration,
                    "rows": table.num_rows,
                    "content": fingerprint.of_file(part),
                    "inputs": dict(inputs or {}),
                    "config": None if config is None else fingerprint.of_json(config),
                }
                if manifest_path.exists():
                    # What differs is refused here; what does not replaces the shard by itself.
                    _refuse_change(json.loads(manifest_path.read_text()), manifest, final)
            # Last: a shard exists from the moment that its manifest does.
            config_lib.write_json(manifest_path, manifest)
        return manifest

    # ------------------------------------------------------------------ reading

    def manifest(self, ledger: str, stage: str, unit: str) -> dict[str, Any]:
        """The manifest of a finished shard. Raises FileNotFoundError."""
        return json.loads(self._manifest_path(ledger, stage, unit).read_text())

    def manifests(self, ledger: str | None = None) -> list[dict[str, Any]]:
        """The manifests of all finished shards (of one ledger), by name."""
        found = []
        for name in [ledger] if ledger else SCHEMAS:
            found += [
                json.loads(path.read_text()) for path in sorted((self.folder / name).glob("*.json"))
            ]
        return found

    def fingerprint(self, *ledgers: str) -> str:
        """Hash of the contents of all shards (of these ledgers): equal stores, equal fingerprints."""
        shards = [m for ledger in ledgers or SCHEMAS for m in self.manifests(ledger)]
        return fingerprint.of_json(
            [[m["ledger"], m["stage"], m["unit"], m["content"]] for m in shards]
        )

    @contextlib.contextmanager
    def connect(
        self,
        shards: Sequence[Mapping[str, Any]] | None = None,
        memory_limit: str = "2GB",
        threads: int | None = None,
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A DuckDB connection with one view a ledger (`pairs`, `votes`, ...; all columns and `iteration`, `stage`, `unit`), of all
        finished shards or of those whose manifests are given. Spills to disk beside the store beyond `memory_limit`."""
        settings: dict[str, Any] = {
            "memory_limit": memory_limit,
            "temp_directory": str(self.folder / "spill"),
            "preserve_insertion_order": "false",
        }
        with duckdb.connect(
            config=settings | ({"threads": str(threads)} if threads else {})
        ) as connection:
            connection.execute("SET enable_progress_bar = false")
            for ledger in SCHEMAS:
                chosen = (
                    self.manifests(ledger)
                    if shards is None
                    else [m for m in shards if m["ledger"] == ledger]
                )
                files = [str(self._path(ledger, m["stage"], m["unit"])) for m in chosen]
                if files:
                    connection.read_parquet(files).create_view(ledger)  # pyright: ignore[reportArgumentType]
                else:
                    connection.register(ledger, full_schema(ledger).empty_table())
            yield connection

    def query(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None, **settings: Any
    ) -> pa.Table:
        """The result of one DuckDB query over the ledgers, e.g. query("select pair_id from votes where voter = ?", ["human:ann"])."""
        with self.connect(**settings) as connection:
            return connection.sql(sql, params=parameters).to_arrow_table()

    def without_vote(self, voter: str, iteration: int | None = None, samples: int = 1) -> list[str]:
        """Sorted ids of the pairs with fewer than `samples` votes by `voter` (in that iteration): the work that is left."""
        where = "voter = $voter" + (
            "" if iteration is None else f" and iteration = {int(iteration)}"
        )
        return self._missing("votes", where, {"voter": voter}, samples)

    def without_score(self, model: str) -> list[str]:
        """Sorted ids of the pairs that the model of this fingerprint has not scored."""
        return self._missing("scores", "model = $model", {"model": model})

    def without_attributes(self, voter: str | None = None) -> list[str]:
        """Sorted ids of the pairs without attributes (by `voter`)."""
        return self._missing(
            "attributes", "voter = $voter" if voter else "true", {"voter": voter} if voter else {}
        )

    def without_embedding(self, embedder: str) -> list[str]:
        """Sorted ids of the pairs without an embedding by `embedder`."""
        return self._missing("embeddings", "embedder = $embedder", {"embedder": embedder})

    def texts(self, pair_ids: Sequence[str]) -> list[dict[str, Any]]:
        """The rows of `pairs` in the order of `pair_ids`, prompt and responses as message lists, info as a dict.
        Raises KeyError for an id that is not in the store."""
        with self.connect() as connection:
            connection.register(
                "wanted",
                pa.table({"pair_id": pa.array(pair_ids, _TEXT), "place": range(len(pair_ids))}),
            )
            rows = connection.sql(
                "select pairs.*, place from wanted join pairs using (pair_id) order by place"
            ).to_arrow_table()
        found = [_decoded(row) for row in rows.to_pylist()]
        if len(found) < len(pair_ids):
            raise KeyError(
                f"pairs {sorted(set(pair_ids) - {row['pair_id'] for row in found})[:3]} are not in {self.folder}"
            )
        return found

    def current_attributes(self, pair_ids: Sequence[str] | None = None) -> pa.Table:
        """One row a pair (of these),  by pair_id: a person's edit before the judges', the highest iteration first, then the merged one."""
        where = "" if pair_ids is None else "where pair_id in (select unnest($ids))"
        return self.query(
            CURRENT_ATTRIBUTES.format(where=where) + " order by pair_id",
            None if pair_ids is None else {"ids": list(pair_ids)},
        )

    def verify(self) -> list[str]:
        """What is wrong with the store, in sentences: damaged shards, rows about pairs that it does not have. Empty when sound."""
        problems = []
        for m in self.manifests():
            path = self._path(m["ledger"], m["stage"], m["unit"])
            if not path.exists() or fingerprint.of_file(path) != m["content"]:
                problems.append(
                    f"{path}: missing or changed since it was written; delete it and its .json, and run {m['stage']} again"
                )
        if not problems:
            for ledger in SCHEMAS.keys() - {"pairs", "rejects"}:
                sql = f"select count(*) from (select distinct pair_id from {ledger}) anti join pairs using (pair_id)"
                if orphans := self.query(sql).column(0)[0].as_py():
                    problems.append(f"{ledger}: {orphans} pairs that `pairs` does not have")
        return problems

    # ------------------------------------------------------------------ inside

    def _path(self, ledger: str, stage: str, unit: str) -> pathlib.Path:
        if ledger not in SCHEMAS:
            raise ValueError(f"ledger {ledger!r}: there are {', '.join(SCHEMAS)}")
        for what, name in (("stage", stage), ("unit", unit)):
            if not NAME.fullmatch(name):
                raise ValueError(f"{what} {name!r}: letters, digits, - and _ only")
        return self.folder / ledger / f"{stage}.{unit}.parquet"

    def _manifest_path(self, ledger: str, stage: str, unit: str) -> pathlib.Path:
        return self._path(ledger, stage, unit).with_suffix(".json")

    def _table(self, ledger: str, stage: str, unit: str, rows: Any, iteration: int) -> pa.Table:
        """The rows as a checked, stamped table in the order of their key."""
        where, schema = f"{self._path(ledger, stage, unit)}", SCHEMAS[ledger]
        if isinstance(rows, pa.Table):
            table = rows
        else:
            given = list(map(dict, rows))
            if unknown := {name for row in given for name in row} - set(schema.names):
                raise ValueError(
                    f"{where}: {ledger} has no column {sorted(unknown)[0]!r}; it has {', '.join(schema.names)}"
                )
            table = pa.Table.from_pylist(given, schema=_nullable(schema))
        if missing := set(schema.names) - set(table.column_names):
            raise ValueError(
                f"{where}: the table has no column {sorted(missing)[0]!r}; {ledger} has {', '.join(schema.names)}"
            )
        table = (
            table.select(schema.names)
            .cast(_physical(_nullable(schema)))
            .unify_dictionaries()
            .combine_chunks()
        )
        _check_values(table, ledger, where)
        keys = table.select(KEYS[ledger]).cast(
            pa.schema([schema.field(name).with_nullable(True) for name in KEYS[ledger]])
        )
        order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in KEYS[ledger]])
        _refuse_twice(keys.take(order), where)
        table = table.take(order)
        for i, name in enumerate(table.column_names):
            if (
                name in _WORDS
            ):  # numbered anew in the order of the rows: the bytes of a shard must not depend on how its rows came
                table = table.set_column(
                    i, name, table.column(name).cast(_TEXT).dictionary_encode()
                )
        for field, value in zip(_STAMP, (iteration, stage, unit), strict=True):
            table = table.append_column(
                field, pa.repeat(pa.scalar(value, field.type), table.num_rows)
            )
        return table.cast(_physical(full_schema(ledger)))

    def _refuse_own_training_pairs(self, table: pa.Table, where: str) -> None:
        if not table.num_rows or not self.manifests("training"):
            return
        with self.connect() as connection:
            connection.register("new", table.select(["pair_id", "model"]))
            found = connection.execute(
                "select pair_id, model from new semi join training using (pair_id, model) order by all"
            ).fetchall()
        if found:
            raise ValueError(
                f"scores {where}: model {found[0][1]} was trained on pair {found[0][0]} and {len(found) - 1} others of these; "
                f"a reward model may not judge its own training pairs: score them with a model of another fold"
            )

    def _missing(
        self, ledger: str, where: str, parameters: Mapping[str, Any], samples: int = 1
    ) -> list[str]:
        done = f"select pair_id from {ledger} where {where} group by pair_id having count(*) >= {int(samples)}"
        sql = f"select pair_id from pairs anti join ({done}) using (pair_id) order by pair_id"
        return self.query(sql, dict(parameters) or None).column("pair_id").to_pylist()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """The store's lock, which the kernel releases when the process ends, however it ends."""
        with open(self.folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


CURRENT_ATTRIBUTES = """select * from attributes {where}
    qualify row_number() over (partition by pair_id order by (kind = 'human') desc, iteration desc, voter = 'panel' desc, voter) = 1"""
_WORDS = {
    "voter",
    "kind",
    "value",
    "shown",
    "scorer",
    "model",
    "contract",
    "source",
    "entry",
    "embedder",
    "finding",
    "action",
    "reason",
    "labeller",
}
_WORDS |= {
    "rule",
    "original",
    "gold",
    "best",
    "judges",
    "humans",
    "stage",
    "unit",
    *TAXONOMIES,
}


def full_schema(ledger: str) -> pa.Schema:
    """The columns of a ledger as readers see them."""
    return pa.schema([*SCHEMAS[ledger], *_STAMP])


def _nullable(schema: pa.Schema) -> pa.Schema:
    """The schema without its demands, which `_check_values` makes with better words."""
    return pa.schema([field.with_nullable(True) for field in schema])


def _physical(schema: pa.Schema) -> pa.Schema:
    """The schema as it is held in memory: words that repeat once each."""
    return pa.schema(
        [
            field.with_type(pa.dictionary(pa.int32(), _TEXT)) if field.name in _WORDS else field
            for field in schema
        ]
    )


def _check_values(table: pa.Table, ledger: str, where: str) -> None:
    """Raises ValueError for a null in a required column, a word that is not legal, a confidence or reward that is no number."""
    for field in SCHEMAS[ledger]:
        column = table.column(field.name)
        legal = LEGAL.get(ledger, {}).get(field.name)
        bad = pa.chunked_array([], pa.bool_())
        if not field.nullable and column.null_count:
            bad, wanted = pc.is_null(column), "a value"
        elif legal:
            if not set(pc.unique(column).to_pylist()) <= {None, *legal}:
                bad, wanted = (
                    pc.invert(pc.is_in(column.cast(_TEXT), pa.array([None, *legal], _TEXT))),
                    f"one of {', '.join(legal)}",
                )
        elif field.name == "confidence":
            bad, wanted = (
                pc.invert(pc.and_(pc.greater_equal(column, 0.0), pc.less_equal(column, 1.0))),
                "a probability",
            )
        elif field.type == _REAL:
            bad, wanted = pc.invert(pc.is_finite(column)), "a finite number"
        row = pc.index(bad, True).as_py() if len(bad) else -1
        if row >= 0:
            raise ValueError(
                f"{where}: row {row}: {field.name} = {column[row].as_py()!r}, not {wanted}"
            )


def _refuse_twice(keys: pa.Table, where: str) -> None:
    """Raises ValueError where two neighbors of the sorted keys are the same."""
    if keys.num_rows < 2:
        return
    columns = [column.combine_chunks() for column in keys.columns]
    same = functools.reduce(pc.and_, (pc.equal(column[:-1], column[1:]) for column in columns))
    if (row := pc.index(same, True).as_py()) >= 0:
        key = ", ".join(
            f"{name} {column[row].as_py()!r}"
            for name, column in zip(keys.column_names, columns, strict=True)
        )
        raise ValueError(f"{where}: two rows with {key}; give one, or another `sample` or stage")


def _refuse_change(old: Mapping[str, Any], new: Mapping[str, Any], final: pathlib.Path) -> None:
    if changed := config_lib.difference(old, new):
        raise StoreConflict(
            f"{final} exists and was written from something else; use another stage name or another store:\n  "
            + "\n  ".join(changed)
        )


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    texts = {name: json.loads(row[name]) for name in ("prompt", "response_a", "response_b")}
    return row | texts | {"info": json.loads(row["info"] or "{}")}
