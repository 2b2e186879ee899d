"""Files that people send -> raw records, each with the place where it stands.

JSON lines, JSON arrays and objects, and tables of text (CSV, semicolons, tabs); a byte order mark,
UTF-16 and any line end. What cannot be read costs itself: the record, or the file where nothing in
it can be read. What a record means is for `exports` and `acceptance` to say.
"""

import csv
import itertools
import json
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rewardjax.data.json_text import name_with_two_values

# Names under which a list of records stands in an object.
LISTS = ("data", "answers", "records", "rows", "items", "results", "annotations", "tasks")
# The first bytes of what is not text -> what to do instead.
NOT_TEXT = {
    b"PK\x03\x04": "a spreadsheet or an archive: save it as CSV UTF-8, or unpack it",
    b"PAR1": "Parquet: write it as JSON lines or CSV",
    b"\x1f\x8b": "compressed: unpack it",
    b"%PDF": "PDF: send the answers as JSON lines or CSV",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet: save it as CSV UTF-8",
}
DELIMITERS = ",;\t|"
BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


class Raw(NamedTuple):
    """A record as its file has it."""

    place: str  # "line 3", "record 3"; "" for the file itself
    values: Mapping[str, Any]


class Unread(NamedTuple):
    """What could not be read, and why."""

    place: str
    reason: str


def read(path: str | pathlib.Path) -> list[Raw | Unread]:
    """The records of a file, in its order.

    Raises:
        OSError: where there is no such file.
    """
    if pathlib.Path(path).is_dir():
        return [Unread("", "it is a folder: name the files in it")]
    content = pathlib.Path(path).read_bytes()
    try:
        text = _text(content)
    except ValueError as error:
        return [Unread("", str(error))]
    start = text.lstrip()[:1]
    if not start:
        return [Unread("", "the file is empty")]
    if start == "<":
        return [Unread("", "HTML or XML: send the answers as JSON lines, JSON or CSV")]
    records = list({"[": _array, "{": _objects}.get(start, _table)(text))
    return records or [Unread("", "no record is in it")]


def _text(content: bytes) -> str:
    for start, what_to_do in NOT_TEXT.items():
        if content.startswith(start):
            raise ValueError(f"the file is {what_to_do}")
    encoding = "utf-8"
    for start, name in BOMS.items():
        if content.startswith(start):
            encoding = name
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        # Not guessed: in another encoding names and edits would come out as other words.
        raise ValueError(f"line {line} is not UTF-8: save the file as UTF-8") from None
    # As text these would be columns and words that look right on the screen and match nothing.
    if "\0" in text:
        raise ValueError("zero bytes are in it, as in UTF-16 without a mark: save it as UTF-8")
    # Not str.splitlines, here and below: it also ends lines at U+2028, which JSON texts may hold
    # and which would shift every line number after it.
    return text.replace("\r\n", "\n").replace("\r", "\n")


# ------------------------------------------------------------------ JSON


def _no_contradiction(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, refused where it says two things under one name."""
    name = name_with_two_values(members)
    if name is not None:
        raise ValueError(f"{name!r} stands twice in the record, with different values")
    return dict(members)


_DECODER = json.JSONDecoder(object_pairs_hook=_no_contradiction)


def _decoded(text: str, start: int = 0) -> tuple[Any, int]:
    """The JSON value at `start`, and where it ends. Raises ValueError where there is none."""
    try:
        return _DECODER.raw_decode(text, start)
    except RecursionError:
        raise ValueError("not JSON: brackets within brackets without end") from None


def _whole(text: str) -> Any:
    """The one JSON value that a text is. Raises ValueError where it is not one."""
    start = len(text) - len(text.lstrip())
    value, end = _decoded(text, start)
    if text[end:].strip():
        raise ValueError("not JSON: there is more after the end of the record")
    return value


def _said(error: ValueError) -> str:
    """Why JSON was not read, without the decoder's own line number: it counts from elsewhere."""
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} at column {error.colno}"
    return str(error)


def _objects(text: str) -> Iterator[Raw | Unread]:
    """JSON lines, or one object."""
    try:
        whole = _whole(text)
    except ValueError:
        yield from _lines(text)
        return
    yield from _from_object(whole)


def _lines(text: str) -> Iterator[Raw | Unread]:
    first = text.lstrip().partition("\n")[0]
    # One object over several lines, and then the next: no line of it is JSON by itself.
    if first.strip() == "{":
        yield from _one_after_another(text, 0, "line")
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            for record in _records_of(line):
                yield _record(f"line {number}", record)
        except ValueError as error:
            yield Unread(f"line {number}", _said(error))


def _records_of(line: str) -> list[Any]:
    """The values of a line: one, with or without a comma after it, or several without line ends.

    Raises:
        ValueError: where a part of the line is not JSON.
    """
    records = []
    position = len(line) - len(line.lstrip())
    while position < len(line):
        record, position = _decoded(line, position)
        records.append(record)
        while position < len(line) and line[position] in " \t,":
            position += 1
    return records


def _array(text: str) -> Iterator[Raw | Unread]:
    try:
        whole = _whole(text)
    except ValueError:
        # One damaged record, or a file that was cut off: the others are still there.
        yield from _one_after_another(text, text.index("[") + 1, "line")
        return
    for number, record in enumerate(whole, 1):
        yield _record(f"record {number}", record)


def _one_after_another(text: str, position: int, unit: str) -> Iterator[Raw | Unread]:
    """Objects separated by commas or white space; goes on after a damaged one.

    The brackets of an array separate them too: a file may be two arrays, one after the other.
    """
    while True:
        while position < len(text) and text[position] in " \t\n,[]":
            position += 1
        if position >= len(text):
            return
        place = f"{unit} {text.count(chr(10), 0, position) + 1}"
        try:
            record, position = _decoded(text, position)
        except ValueError as error:
            reason = _said(error).partition(" at column")[0]
            following = _next_record(text, position)
            if following is None:
                yield Unread(place, f"{reason}; nothing after it in the file is read")
                return
            yield Unread(place, reason)
            position = following
        else:
            yield _record(place, record)


def _next_record(text: str, damaged: int) -> int | None:
    """Where the record after a damaged one begins; None where that cannot be told.

    Records that begin a line can be told apart from the objects within them, which are indented
    more. Of several on one line nobody knows where the damaged one ends.
    """
    before = text[text.rfind("\n", 0, damaged) + 1 : damaged]
    if before.strip(" \t[,"):
        return None
    begins_line = re.compile(rf"^[ \t]{{0,{len(before)}}}\{{", re.MULTILINE)
    following = begins_line.search(text, text.find("\n", damaged) + 1 or len(text))
    if following is None:
        return None
    return following.start()


def _record(place: str, record: Any) -> Raw | Unread:
    if isinstance(record, dict):
        return Raw(place, record)
    return Unread(place, f"a {type(record).__name__} and not a record with fields")


def _from_object(whole: Any) -> Iterator[Raw | Unread]:
    """One object: a record, a list of records under a name, columns, or task -> choice."""
    for name in LISTS:
        # A task of Label Studio has lists too, but also `data`, which is no list there.
        listed = whole.get(name)
        is_record = "data" in whole and isinstance(whole["data"], dict)
        if isinstance(listed, list) and not is_record and "columns" not in whole:
            for number, record in enumerate(listed, 1):
                yield _record(f"record {number}", record)
            return
    if isinstance(whole.get("columns"), list) and isinstance(whole.get("data"), list):
        # pandas, orient="split"
        for number, row in enumerate(whole["data"], 1):
            yield Raw(f"record {number}", dict(zip(whole["columns"], row, strict=False)))
        return
    columns = [value for value in whole.values() if isinstance(value, dict)]
    names_task = any(name.strip().casefold() in ("task", "task_id", "data", "id") for name in whole)
    # pandas, orient="columns": every column names the same rows.
    same_rows = len({tuple(column) for column in columns}) == 1
    if names_task and len(columns) == len(whole) > 1 and same_rows:
        for number, row in enumerate(columns[0], 1):
            values = {name: column[row] for name, column in whole.items()}
            yield Raw(f"record {number}", values)
        return
    if not names_task:
        is_flat = all(not isinstance(value, dict | list) for value in whole.values())
        if is_flat:
            for number, (task, choice) in enumerate(whole.items(), 1):
                yield Raw(f"record {number}", {"task": task, "choice": choice})
            return
        # pandas, orient="index", and what else is keyed by task: the key is the task unless the
        # record says so itself.
        for number, (task, record) in enumerate(whole.items(), 1):
            if isinstance(record, dict):
                record = {"task": task} | record
            yield _record(f"record {number}", record)
        return
    yield Raw("line 1", whole)


# ------------------------------------------------------------------ tables


def _table(text: str) -> Iterator[Raw | Unread]:
    """CSV and its relatives, each record named by the line at which it begins."""
    skipped = 0
    # What Excel itself writes to say which delimiter follows.
    if text.casefold().startswith("sep="):
        text, skipped = text.partition("\n")[2], 1
    header = text.lstrip("\n").partition("\n")[0]
    delimiter = max(DELIMITERS, key=header.count)
    if not header.count(delimiter):
        yield Unread("", "neither JSON lines, JSON nor CSV with a header: task,choice,...")
        return
    # Its limit of 131,072 characters a cell is less than the longest conversations have.
    csv.field_size_limit(len(text) + 1)
    lines = text.split("\n")
    names: list[str] = []
    line = 0
    while line < len(lines):
        # Strict: otherwise a quote that nobody closed silently takes in the rest of the file.
        reader = csv.reader(
            (f"{each}\n" for each in itertools.islice(lines, line, None)),
            delimiter=delimiter,
            strict=True,
        )
        place = f"line {line + skipped + 1}"
        try:
            cells = next(reader)
        except csv.Error as error:
            yield Unread(place, f"not a row of CSV: {error}")
            line += 1
            continue
        line += reader.line_num
        if not any(cell.strip() for cell in cells):
            continue
        if not names:
            names = cells
        elif len(cells) > len(names) and any(cell.strip() for cell in cells[len(names) :]):
            # A comma inside a text that nobody quoted moves every cell after it.
            yield Unread(place, f"{len(cells)} cells under {len(names)} names")
        else:
            # Columns without a name are many in spreadsheets, and say nothing.
            members = [pair for pair in zip(names, cells, strict=False) if pair[0].strip()]
            try:
                yield Raw(place, _no_contradiction(members))
            except ValueError as error:
                yield Unread(place, str(error))
