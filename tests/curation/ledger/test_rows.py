"""Columns, legal values and keys follow from the classes of the rows."""

import pyarrow as pa

from rewardjax.curation.judges.attributes import FIELDS
from rewardjax.curation.ledger import rows, tables


def test_a_class_becomes_a_schema():
    assert rows.SCHEMAS["votes"].equals(
        pa.schema(
            [
                pa.field("pair_id", pa.string(), nullable=False),
                pa.field("voter", pa.string(), nullable=False),
                pa.field("kind", pa.string(), nullable=False),
                pa.field("value", pa.string(), nullable=False),
                pa.field("sample", pa.int64(), nullable=False),
                pa.field("confidence", pa.float32()),
                pa.field("shown", pa.string()),
                pa.field("evidence", pa.string()),
            ]
        )
    )
    assert rows.SCHEMAS["embeddings"].field("vector").type == pa.list_(pa.float32())
    legal = {column.name: column.legal for column in rows.COLUMNS["votes"] if column.legal}
    assert legal == {
        "kind": ("original", "human", "check", "suspended", "judge", "panel", "rm"),
        "value": ("a", "b", "tie", "undecided"),
        "shown": ("ab", "ba"),
    }


def test_every_ledger_has_a_key_of_required_columns():
    assert set(rows.KEYS) == set(rows.ROWS)
    for ledger, key in rows.KEYS.items():
        required = {column.name for column in rows.COLUMNS[ledger] if column.required}
        assert set(key) <= required


def test_a_name_is_a_word_in_every_ledger_or_in_none():
    words, others = set(), set()
    for columns in rows.COLUMNS.values():
        words |= {column.name for column in columns if column.is_word}
        others |= {column.name for column in columns if not column.is_word}
    assert not words & others
    assert tables.word_columns("training") == ["model", "stage", "unit", "value"]


def test_the_attributes_are_those_of_the_judges():
    names = [name for name in rows.AttributesRow.__annotations__ if name in FIELDS]
    assert names == list(FIELDS)
