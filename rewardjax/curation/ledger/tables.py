"""Rows of a ledger as a checked Arrow table.

Its order and its encoding depend on the rows alone, not on how they came.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute

from rewardjax.curation.ledger.rows import COLUMNS, KEYS, SCHEMAS, STAMP, Column

# The functions of pyarrow.compute are made when it is imported: a type checker knows none of them.
pc: Any = pyarrow.compute


class Tables(NamedTuple):
    """Rows of a shard that are too many for memory, in the order of its key.

    tables: dicts or a table each, as `Store.append` takes them.
    """

    tables: Iterable[Iterable[Mapping[str, Any]] | pa.Table]


_WORD_TYPE = pa.dictionary(pa.int32(), pa.string())


def checked_table(
    ledger: str,
    rows: Iterable[Mapping[str, Any]] | pa.Table,
    *,
    iteration: int,
    stage: str,
    unit: str,
    where: str,
) -> pa.Table:
    """The rows of a shard, sorted by key, with the columns of FULL_SCHEMAS[ledger].

    Args:
        ledger: its name.
        rows: dicts or a table with the columns of SCHEMAS[ledger], in any order.
        iteration: of every row; as are stage and unit.
        stage: of the shard.
        unit: of the shard.
        where: the file, for errors.

    Raises:
        ValueError: for an unknown or missing column, a value that is missing or not legal (with
            its row), and for two rows with one key.
    """
    table: Any = rows
    if not isinstance(rows, pa.Table):
        table = from_dicts(ledger, list(map(dict, rows)), where)
    missing = set(SCHEMAS[ledger].names) - set(table.column_names)
    if missing:
        raise ValueError(
            f"{where}: the table has no column {min(missing)!r}; "
            f"{ledger} has {', '.join(SCHEMAS[ledger].names)}"
        )
    # Nulls pass the cast, so that `_check_column` can name column and row.
    table = table.select(SCHEMAS[ledger].names).cast(_in_memory(COLUMNS[ledger], nullable=True))
    table = table.unify_dictionaries().combine_chunks()
    for column in COLUMNS[ledger]:
        _check_column(column, table.column(column.name), where)
    table = _sorted_by_key(ledger, table, where)
    for i, column in enumerate(COLUMNS[ledger]):
        if column.is_word:
            # Numbered anew, in the order of the rows: the bytes of a shard must not depend on the
            # order in which its rows came.
            words = table.column(column.name).cast(pa.string()).dictionary_encode()
            table = table.set_column(i, column.name, words)
    for column, value in zip(STAMP, (iteration, stage, unit), strict=True):
        values = pa.repeat(pa.scalar(value, column.type), table.num_rows)
        table = table.append_column(column.name, values)
    return table.cast(stored_schema(ledger))


def stored_schema(ledger: str) -> pa.Schema:
    """The schema of a shard of a ledger, its words as dictionaries."""
    return _in_memory(COLUMNS[ledger] + STAMP, nullable=False)


def in_groups(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Checked tables, in the order of the key, as tables of `rows` rows, but for the last.

    A single table stays whole. Raises ValueError where a table begins before the last one ended.
    """
    held: list[pa.Table] = []
    have, ended, several = 0, None, False
    remaining = iter(tables)
    first = next(remaining)
    second = next(remaining, None)
    if second is None:
        yield first
        return
    for table in itertools.chain([first, second], remaining):
        if table.num_rows:
            begins = table.column("pair_id")[0].as_py()
            if ended is not None and begins <= ended:
                raise ValueError(f"rows of {begins!r} come after those of {ended!r}: sort by pair")
            ended = table.column("pair_id")[-1].as_py()
        held.append(table)
        have += table.num_rows
        while have >= rows:
            joined = pa.concat_tables(held)
            yield _renumbered(joined.slice(0, rows))
            held = [joined.slice(rows)]
            have -= rows
            several = True
    if have or not several:
        yield _renumbered(pa.concat_tables(held))


def _renumbered(table: pa.Table) -> pa.Table:
    """The table, the words of its dictionaries numbered in the order of its rows."""
    table = table.unify_dictionaries().combine_chunks()
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            words = table.column(place).cast(pa.string()).dictionary_encode()
            table = table.set_column(place, field, words)
    return table


def word_columns(ledger: str) -> list[str]:
    """Columns of a ledger that are stored as dictionaries, by name."""
    return sorted(column.name for column in COLUMNS[ledger] + STAMP if column.is_word)


def from_dicts(ledger: str, rows: list[dict[str, Any]], where: str) -> pa.Table:
    """Rows as a table, not checked further. Raises ValueError for a column that is not one."""
    schema = SCHEMAS[ledger]
    # from_pylist drops keys that the schema lacks: a misspelt column would vanish.
    unknown = set().union(*rows) - set(schema.names)
    if unknown:
        raise ValueError(
            f"{where}: {ledger} has no column {min(unknown)!r}; it has {', '.join(schema.names)}"
        )
    return pa.Table.from_pylist(rows, schema=_nullable(schema))


def _in_memory(columns: list[Column], *, nullable: bool) -> pa.Schema:
    """The schema of columns whose words are dictionaries."""
    fields = []
    for column in columns:
        type = _WORD_TYPE if column.is_word else column.type
        fields.append(pa.field(column.name, type, nullable=nullable or not column.required))
    return pa.schema(fields)


def _nullable(schema: pa.Schema) -> pa.Schema:
    """The schema without its demands, which `_check_column` makes in better words."""
    return pa.schema([field.with_nullable(True) for field in schema])


def _check_column(column: Column, values: pa.ChunkedArray, where: str) -> None:
    """Raise ValueError that names column and row of a value that the ledger does not allow."""
    if column.required and values.null_count:
        bad, expected = pc.is_null(values), "a value"
    elif column.legal:
        # Of a dictionary, `unique` compares numbers: far cheaper than is_in over all rows.
        if set(pc.unique(values).to_pylist()) <= {None, *column.legal}:
            return
        legal = pa.array([None, *column.legal], pa.string())
        bad = pc.invert(pc.is_in(values.cast(pa.string()), legal))
        expected = f"one of {', '.join(column.legal)}"
    elif column.name == "confidence":
        bad = pc.invert(pc.and_(pc.greater_equal(values, 0.0), pc.less_equal(values, 1.0)))
        expected = "a probability"
    elif column.type == pa.float32():
        bad, expected = pc.invert(pc.is_finite(values)), "a finite number"
    else:
        return
    row = pc.index(bad, True).as_py()
    if row >= 0:
        raise ValueError(
            f"{where}: row {row}: {column.name} = {values[row].as_py()!r}, not {expected}"
        )


def _sorted_by_key(ledger: str, table: pa.Table, where: str) -> pa.Table:
    """The table in the order of its key. Raises ValueError where two rows have the same key."""
    # By the text of a word, not by its number in the dictionary.
    plain = [_nullable(SCHEMAS[ledger]).field(name) for name in KEYS[ledger]]
    keys = table.select(KEYS[ledger]).cast(pa.schema(plain))
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in KEYS[ledger]])
    _refuse_twice(keys.take(order), where)
    return table.take(order)


def _refuse_twice(keys: pa.Table, where: str) -> None:
    """Raise ValueError where two neighbors of the sorted keys are the same."""
    if keys.num_rows < 2:
        return
    columns = [column.combine_chunks() for column in keys.columns]
    same = functools.reduce(pc.and_, (pc.equal(column[:-1], column[1:]) for column in columns))
    row = pc.index(same, True).as_py()
    if row < 0:
        return
    values = zip(keys.column_names, columns, strict=True)
    key = ", ".join(f"{name} {column[row].as_py()!r}" for name, column in values)
    raise ValueError(f"{where}: two rows with {key}; give one, or another `sample` or stage")
