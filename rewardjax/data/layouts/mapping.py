"""What a person says about columns whose meaning cannot be known: names, and what labels mean."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import yaml

from rewardjax.data.groups import BadRecord
from rewardjax.data.layouts.fields import Record
from rewardjax.data.layouts.verdicts import VERDICTS, word

MEANINGS = ("first", "second", "tie")
NULL = word(None)


class Columns(NamedTuple):
    """`columns`: our field -> their column, "" where there is none. `labels`: their value -> ours.

    The values of `labels` are "first", "second" and "tie"; its keys are spelled as `verdicts.word`
    spells them.
    """

    columns: dict[str, str] = {}
    labels: dict[str, str] = {}

    def apply(self, record: Record) -> Record:
        """The record under our names and our verdicts.

        A column that is not there is null, since JSON leaves fields without a value out. Raises
        BadRecord("bad_schema") for a field that a column does not have, and for a label without a
        meaning.
        """
        renamed = record
        if self.columns:
            theirs = set(self.columns.values())
            renamed = {name: record[name] for name in record if name not in theirs}
            for field, column in self.columns.items():
                renamed.pop(field, None)
                if column:
                    renamed[field] = _value(record, column)
        if not self.labels:
            return renamed
        return {name: self._labeled(name, value) for name, value in renamed.items()}

    def theirs(self, names: Iterable[str]) -> set[str]:
        """The columns behind fields of ours."""
        return {self.columns.get(name, name).split(".")[0] for name in names}

    def absent(self, sample: Sequence[Record]) -> str | None:
        """A sentence about a column that no record of a sample has; None where all are there."""
        for column in filter(None, self.columns.values()):
            if sample and not any(_is_there(record, column) for record in sample):
                return f"data.columns names {column!r}; the columns are {sorted(sample[0])}"
        return None

    def _labeled(self, name: str, value: Any) -> Any:
        is_verdict = name in VERDICTS or re.fullmatch(r"annotator_?\d+", name)
        if not is_verdict or isinstance(value, (list, tuple, dict)):
            return value
        # A verdict that is not there is none, unless somebody says that it means something.
        if value is None and NULL not in self.labels:
            return None
        if word(value) not in self.labels:
            raise BadRecord(
                "bad_schema", f"{name} = {value!r:.40}, which data.labels does not explain"
            )
        return self.labels[word(value)]


def _value(record: Record, column: str) -> Any:
    """The value of a column, or with dots of a field inside one: `info.post`.

    Inside a list it is the field of every item: `candidates.scores.bleu`.
    """
    # A column's own name may hold a dot.
    if not _is_there(record, column) or column in record:
        return record.get(column)
    value: Any = record
    for part in column.split("."):
        if isinstance(value, (list, tuple)) and all(_has(item, part) for item in value):
            value = [item[part] for item in value]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            raise BadRecord(
                "bad_schema", f"data.columns names {column!r}; the columns are {sorted(record)}"
            )
    return value


def _is_there(record: Record, column: str) -> bool:
    return column in record or column.split(".")[0] in record


def _has(value: Any, name: str) -> bool:
    return isinstance(value, dict) and name in value


def read(columns: Any = None, labels: Any = None) -> Columns:
    """The mappings as configs and flags give them: dicts, or text such as `{prompt: question}`.

    Raises ValueError that names the field for anything else.
    """
    meanings = {}
    for value, meaning in _dict(labels, "data.labels").items():
        if value == "null":
            value = None
        meanings[word(value)] = str(meaning)
    for value, meaning in meanings.items():
        if meaning not in MEANINGS:
            raise ValueError(
                f"data.labels = {{{value}: {meaning}}}: a label is one of {', '.join(MEANINGS)}"
            )
    names = {}
    for field, column in _dict(columns, "data.columns").items():
        if column is None or column == "null":
            column = ""
        names[str(field)] = str(column)
    return Columns(names, meanings)


def _dict(value: Any, name: str) -> dict[Any, Any]:
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        try:
            # As text: a column may be called 0, and a verdict `no`, which YAML takes for False.
            value = yaml.load(value, yaml.BaseLoader)
        except yaml.YAMLError:
            pass
    # A ConfigDict is not a Mapping.
    items = getattr(value, "items", None)
    if items is None:
        raise ValueError(f"{name} = {value!r:.80}: must be a mapping, as in {{prompt: question}}")
    return dict(items())
