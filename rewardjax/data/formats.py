"""Records as people have them -> Group, by the layout that their file has.

What a file holds is decided once, from its first records: a record that has another layout than
those contradicts the file and is refused. Nothing is guessed: a column that may carry part of the
prompt is read, or repeats what is read, or the record is refused with the name of the column.
"""

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rewardjax.data.groups import UNFORESEEN, BadRecord, Group, costing_one_record
from rewardjax.data.layouts import (
    LAYOUTS,
    Layout,
    best,
    fields,
    file_habits,
    mapping,
    naming,
    pairs,
    prompt_columns,
    ranked,
    trees,
    unread,
    verdicts,
)
from rewardjax.data.layouts.fields import Record
from rewardjax.data.layouts.layout import Content
from rewardjax.data.sources.broken import Broken
from rewardjax.data.spelling import CONFIG, Spelling

SAMPLE = 1000  # records of a file that decide what it holds


class Unreadable(ValueError):
    """A file of which no record has a known layout."""


class _Watched(dict):
    """A record that remembers which of its columns were read."""

    def __init__(self, record: Record):
        super().__init__(record)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)


@dataclasses.dataclass(frozen=True)
class Reading:
    """How the records of one file are read; travels to worker processes.

    layouts: those that its first records have, by name; none where nothing was decided, so that
    every layout is accepted. unused: columns that no record of the sample was read from. present:
    all columns of the sample.
    """

    file: str
    source: str
    columns: mapping.Columns = mapping.Columns()
    spelling: Spelling = CONFIG
    layouts: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    present: frozenset[str] = frozenset()
    prompt: tuple[str, ...] = ()

    def to_group(self, record: Record, index: int) -> Group:
        """The group that record number `index` of the source describes.

        Its id is the record's, or else `source:index`. Raises BadRecord("bad_schema") with the
        columns. Roles and texts are `groups.check`'s to judge: call it on the result.
        """
        group, _ = self.read(record, index)
        return group

    def read(self, record: Record, index: int) -> tuple[Group, set[str]]:
        """The group, and the columns that it was read from."""
        try:
            with costing_one_record("the record cannot be read"):
                return self._read(record, index)
        except BadRecord as error:
            raise BadRecord(error.reason, self.spelling.of(error.detail)) from None

    def late_columns(self, record: Record, index: int) -> list[str]:
        """The columns that no record of the sample has, and that this one is not read from.

        Raises BadRecord as `read` does.
        """
        late = [name for name in record if record[name] is not None and name not in self.present]
        if not late or not self.layouts:
            return []
        # Read once more, since such a record is rare.
        _, read = self.read(record, index)
        names = self.columns.theirs(read)
        return [name for name in late if name not in names and name != "id"]

    def _read(self, record: Record, index: int) -> tuple[Group, set[str]]:
        if isinstance(record, Broken):
            raise BadRecord("bad_line", record.detail)
        mapped = self._mapped(record)
        layout = _layout_of(mapped)
        if layout is None:
            raise BadRecord("bad_schema", f"{self.source}:{index}: {_no_layout(mapped)}")
        if self.layouts and layout.name not in self.layouts:
            raise BadRecord(
                "bad_schema",
                f"the record is of {layout.name}, and the first {SAMPLE:,} of {self.file} are "
                f"{' and '.join(self.layouts)}",
            )
        watched = _Watched(mapped)
        content = _read_by(layout, watched)
        prompt, responses = content.get("prompt", []), content.get("responses", [])
        content["responses"] = [fields.after(prompt, response) for response in responses]
        content.setdefault("tools", fields.tools(watched))
        prompt_columns.refuse_unread(mapped, watched.read, content)
        best.refuse_unread(mapped, watched.read, content)
        # What repeats the prompt under its plain name is reported as where the prompt came from.
        watched.read.add("prompt")
        _refuse_unread_side(watched, content)
        identity = _identity(watched.get("id"))
        if identity is None:
            identity = f"{self.source}:{index}"
        group = Group(id=identity, source=self.source, **content)
        return group, {name for name in watched.read if mapped.get(name) is not None}

    def _mapped(self, record: Record) -> Record:
        """The record under our names, with the lists that a table of texts spells out."""
        return fields.unpacked(self.columns.apply(record))

    def sentence(self) -> str:
        """What the file was read as, from which columns, and which are not used."""
        if not self.layouts:
            return f"{self.file}: no records"
        parts = [" and ".join(self.layouts)]
        if self.prompt:
            parts.append("prompt from " + ", ".join(f"`{name}`" for name in self.prompt))
        if self.unused:
            noun = "column" + "s" * (len(self.unused) != 1)
            parts.append(f"{len(self.unused)} {noun} not used: {', '.join(self.unused)}")
        return f"{self.file}: " + "; ".join(parts)


def to_group(record: Record, index: int, source: str) -> Group:
    """The group of a record on its own, of whichever layout; `Reading.to_group` otherwise."""
    return Reading(source, source).to_group(record, index)


def readings(source: Any, columns: Any = None, labels: Any = None) -> list[Reading]:
    """How each file of `source` is to be read, decided from its first records.

    columns, labels: as `mapping.read` takes them. Raises ValueError for a file of whose sample no
    record can be read.
    """
    names = meaning(source, columns, labels)
    spelling = spelling_of(source)
    files = files_of(source)
    decided = []
    for name, records in files:
        try:
            decided.append(decide(name, source.name, records(), names, spelling))
        except Unreadable as error:
            if len(files) == 1:
                raise
            # A folder may hold the settings of a tool beside its data.
            raise Unreadable(
                f"{error}; if {name} is not data, name the other files, by a glob such as "
                "FOLDER/*.jsonl"
            ) from None
    return decided


def meaning(source: Any, columns: Any = None, labels: Any = None) -> mapping.Columns:
    """`mapping.read`, whose refusals name what the source's user writes."""
    try:
        return mapping.read(columns, labels)
    except ValueError as error:
        raise ValueError(spelling_of(source).of(str(error))) from None


def spelling_of(source: Any) -> Spelling:
    """How the user who named a source writes its fields; any iterable of records is a source."""
    return getattr(source, "spelling", CONFIG)


def files_of(source: Any) -> list[tuple[str, Callable[[], Iterator[Record]]]]:
    """The files of a source, by name; a source that has none (a world, TFDS) is one file.

    Their records are those that layouts read: a tree of messages is one per list of replies.
    """
    by_file = getattr(source, "by_file", None)
    if by_file is None:
        files = [(source.name, lambda: iter(source))]
    else:
        files = by_file()
    return [(name, functools.partial(_reply_lists, records)) for name, records in files]


def _reply_lists(records: Callable[[], Iterator[Record]]) -> Iterator[Record]:
    return trees.reply_lists(records())


def numbered(source: Any) -> Iterator[tuple[int, int, Record]]:
    """The records of a source, each with its number in it and the number of its file."""
    index = 0
    for file, (_, records) in enumerate(files_of(source)):
        for record in records():
            yield index, file, record
            index += 1


def groups_of(
    source: Any, columns: Any = None, labels: Any = None
) -> Iterator[tuple[int, Record, Group | BadRecord]]:
    """Every record of a source with its number, and its group or why it has none."""
    by_file = readings(source, columns, labels)
    for index, file, record in numbered(source):
        try:
            yield index, record, by_file[file].to_group(record, index)
        except BadRecord as error:
            yield index, record, error


def decide(
    file: str,
    source: str,
    records: Iterable[Record],
    columns: mapping.Columns,
    spelling: Spelling = CONFIG,
) -> Reading:
    """How a file is read, from its first SAMPLE records. spelling: its user's, of the fields.

    Raises ValueError where none of them can be read: one sentence with the first reason.
    """
    sample = list(itertools.islice(records, SAMPLE))
    broken = [record for record in sample if isinstance(record, Broken)]
    # A torn line costs itself. Most of them: the file is of another kind than its name says.
    if len(broken) > len(sample) / 2:
        raise Unreadable(broken[0].detail)
    absent = columns.absent([record for record in sample if not isinstance(record, Broken)])
    if absent is not None:
        raise Unreadable(f"{file}: {spelling.of(absent)}")
    reading = Reading(file, source, _with_numbers(columns, sample), spelling)
    layouts: collections.Counter[str] = collections.Counter()
    present: dict[str, None] = {}
    read: set[str] = set()
    errors: list[BadRecord] = []
    habits = file_habits.Habits()
    for index, record in enumerate(sample):
        present |= dict.fromkeys(name for name in record if record[name] is not None)
        try:
            with costing_one_record("the record cannot be read"):
                # Before it is read: one whose label cannot be read is of its layout all the same.
                layout = _layout_of(reading._mapped(record))
                if layout is not None:
                    layouts[layout.name] += 1
                group, names = reading.read(record, index)
                habits.note(reading._mapped(record), names, group)
        except BadRecord as error:
            errors.append(error)
            continue
        read |= names
    if errors and len(errors) == len(sample):
        raise Unreadable(f"{file}: cannot be read: {spelling.of(errors[0].detail)}")
    habit = habits.complaint()
    if habit is not None:
        raise ValueError(f"{file}: {spelling.of(habit)}")
    misspelt = _unread_mapping(columns.columns, read, present)
    if misspelt is not None:
        raise ValueError(f"{file}: {spelling.of(misspelt)}")
    # A mapped column is used under our name.
    names_read = columns.theirs(read)
    unused = [name for name in present if name not in names_read and name != "id"]
    prompt = [columns.columns.get(name, name) for name in fields.PROMPT_PARTS if name in read]
    names = tuple(name for name, _ in layouts.most_common())
    return dataclasses.replace(
        reading,
        layouts=names,
        unused=tuple(unused),
        present=frozenset(present),
        prompt=tuple(prompt),
    )


def _unread_mapping(
    columns: dict[str, str], read: Iterable[str], present: Iterable[str]
) -> str | None:
    """A sentence where a column was mapped to a field that nothing reads: a misspelt one."""
    for field, column in columns.items():
        # What may be part of the prompt is judged record by record.
        if not column or field in read or field in fields.PROMPT_PARTS:
            continue
        if column.split(".")[0] in present:
            return (
                f"data.columns={{{field}: {column}}}: no field called {field} is read from such "
                "records; docs/data.md lists the fields of each format"
            )
    return None


def _layout_of(record: Record) -> Layout | None:
    for layout in LAYOUTS:
        if layout.fits(record):
            return layout
    return None


def _read_by(layout: Layout, record: Record) -> Content:
    """What a layout reads. Raises BadRecord for whatever goes wrong, so it costs one record."""
    try:
        return layout.read(record)
    # A field of another type than published, at any depth: there is no end of checks for these.
    except UNFORESEEN as error:
        raise BadRecord(
            "bad_schema",
            f"a field is missing or of another type than in {layout.name}: {error!r:.120}",
        ) from None


def _identity(value: Any) -> str | None:
    """The id that a record names, None where it names none. Raises BadRecord for no name."""
    if value is None or isinstance(value, str):
        return value
    # As text these would be names that nobody else finds, and no two files spell them alike.
    is_list = isinstance(value, (dict, list, tuple))
    if is_list or value != value:
        raise BadRecord("bad_schema", f"id = {value!r:.80}, neither a text nor a number")
    return str(value)


def _no_layout(record: Record) -> str:
    advice = unread.remedy(record) or naming.advice(record)
    if advice is not None:
        return f"keys {sorted(record)} fit no known format: {advice}"
    better_worse = " | ".join("/".join(names) for names in pairs.COLUMNS)
    two_responses = " | ".join("/".join(names) for names in verdicts.TWO_RESPONSES)
    return (
        f"keys {sorted(record)} fit no known format; name columns, as in "
        "data.columns={prompt: ..., chosen: ..., rejected: ...}; known are "
        f"{better_worse}; a prompt and {'/'.join(ranked.LISTS)}; prompt, two responses "
        f"({two_responses}) and label, winner or annotators"
    )


def _with_numbers(columns: mapping.Columns, sample: list[Record]) -> mapping.Columns:
    """`columns`, with 1 and 2 explained where the responses' columns bear these numbers.

    Both have to occur, and no 0: with a 0 among them, 1 may be the second response or the first.
    """
    if columns.labels:
        return columns
    values: set[str] = set()
    for record in sample:
        try:
            mapped = columns.apply(record)
        except BadRecord:
            continue
        names = verdicts.two_responses(mapped)
        if names is not None and names[0].endswith("1"):
            values |= {verdicts.word(value) for value in verdicts.votes(mapped).values()}
    if values == {"1", "2"}:
        return columns._replace(labels={"1": "first", "2": "second"})
    return columns


def _refuse_unread_side(record: _Watched, content: Content) -> None:
    """Raise BadRecord where half of a pair would be read as if there were no other half."""
    if content.get("pairs"):
        return
    for name, value in record.items():
        if name not in record.read and naming.is_worse(name, value):
            raise BadRecord(
                "bad_schema",
                f"`{name}` may be a worse response and is not read: name it, as in data.columns="
                f"{{rejected_response: {name}}}, or data.columns={{{name}: ''}} if it is not",
            )
