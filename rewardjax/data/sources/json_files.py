"""JSON lines, JSON arrays and arrays inside an object, a record at a time.

Python's `json` reads a whole document. An array is read here by its decoder for one value, from a
buffer that grows only while a record is not whole, so that a file may be larger than memory.
"""

import codecs
import itertools
import json
import pathlib
import re
from collections.abc import Iterator
from typing import IO, Any

from rewardjax.data.sources.broken import Broken, as_record
from rewardjax.data.sources.byte_streams import LONGEST, decompressed
from rewardjax.io.files import UTF8_BOM

Record = dict[str, Any]
CHUNK = 1 << 18  # bytes read at once
# Where an object holds its records: the common export's, the hub viewer's, and benchmarks'.
WRAPPERS = ("data", "rows", "examples")
# The longest word that may be cut off at the end of a buffer, and is no error then: two \uXXXX.
CUT_WORD = 12

LINES = re.compile(r"\.(jsonl|ndjson)")  # in the names of files with a record per line
OLD_MAC = re.compile(rb"\}\s*\r(?!\n)\s*\{")  # a string holds no plain carriage return
BLANK = re.compile(r"[ \t\n\r]*")
WRAPPER_OPENS = re.compile(rb'"(' + "|".join(WRAPPERS).encode() + rb')"\s*:\s*\[')
HEAD = 4096  # bytes in which a document of one long line must name its list


def read(file: pathlib.Path, first: int = 0) -> Iterator[Record]:
    """The records of a JSON file in any of the three forms, from number `first` on.

    `Broken` stands for a line that is none.

    Raises ValueError with file, line and column for bad JSON and bad UTF-8 in an array, behind
    which nobody can tell where the next record begins.
    """
    if _holds_lines(file):
        return _read_lines(file, first)
    # Where a record of a document begins is known only once those before it are read.
    return itertools.islice(_read_document(file), first, None)


def count(file: pathlib.Path) -> int:
    """How many records there are."""
    if not _holds_lines(file):
        return sum(1 for _ in _read_document(file))
    # Blank lines are no records; counting the others costs no parsing.
    with decompressed(file) as data:
        return sum(1 for _ in _numbered_lines(data))


def _holds_lines(file: pathlib.Path) -> bool:
    """Whether the file is one record per line, judged by how it begins."""
    with decompressed(file) as data:
        first = _first_line(data)
        is_only_line = not data.read(CHUNK).strip()
    if OLD_MAC.search(first):
        raise ValueError(
            f"{file}: its lines end with a carriage return alone; write line feeds: "
            f"tr '\\r' '\\n' < {file.name} > unix-{file.name}"
        )
    # An object that its line leaves open is printed over several.
    if first.startswith(b"[") or first == b"{":
        return False
    if is_only_line:
        return not _is_wrapper(file, first)
    if LINES.search(file.name.lower()):
        return True
    # A record ends with its line. A document over several lines leaves the first one open, and of
    # a line that is longer than what was read the beginning must do.
    if len(first) < CHUNK:
        return first.endswith(b"}")
    return WRAPPER_OPENS.search(first, 0, HEAD) is None


def _first_line(data: IO[bytes]) -> bytes:
    """The first line with text, without blanks, or at most CHUNK bytes of it."""
    while piece := data.readline(CHUNK):
        line = piece.removeprefix(UTF8_BOM).strip()
        if line:
            return line
    return b""


def _is_wrapper(file: pathlib.Path, line: bytes) -> bool:
    """Whether a line is an object around a list of records."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return False  # read as a line, it gets its error
    if not isinstance(value, dict):
        return False
    _refuse_pandas(file, value)
    for name in WRAPPERS:
        items = value.get(name)
        if isinstance(items, list) and all(isinstance(item, dict) for item in items):
            return True
    return False


def _holds_record(line: bytes) -> bool:
    """Whether a line is more than blanks."""
    return bool(line.removeprefix(UTF8_BOM).strip())


def _read_lines(file: pathlib.Path, first: int) -> Iterator[Record]:
    with decompressed(file) as data:
        # Those before the first are not parsed: finding where they end costs far less.
        for number, line in itertools.islice(_numbered_lines(data), first, None):
            # Files that were appended to each other have a mark at each one's start.
            line = line.removeprefix(UTF8_BOM)
            yield _parse_line(line, file, number)


def _numbered_lines(data: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that hold records, with their numbers; of an over-long one only the beginning."""
    number = 0
    while line := data.readline(LONGEST + 1):
        number += 1
        # The rest is read away in pieces, of which only one is held.
        piece = line
        while len(piece) > LONGEST and not piece.endswith(b"\n"):
            piece = data.readline(LONGEST + 1)
        if _holds_record(line):
            yield number, line


def _parse_line(line: bytes, file: pathlib.Path, number: int) -> Record:
    if len(line) > LONGEST:
        return Broken(
            f"{file}:{number}: a line of more than {LONGEST >> 20} MiB; leave the record out"
        )
    # Told apart from text first: JSON's reader takes a line with zeros for UTF-16.
    if b"\0" in line:
        return Broken(
            f"{file}:{number}: zero bytes at byte {line.index(0) + 1}, as after a crash or a full "
            "disk; download or copy the file again"
        )
    try:
        return as_record(json.loads(line, object_pairs_hook=_object), f"{file}:{number}")
    except json.JSONDecodeError as error:
        return Broken(
            f"{file}:{number}: bad JSON at column {error.colno}: {error.msg}{_advice(error, file)}"
        )
    except UnicodeDecodeError as error:
        return Broken(
            f"{file}:{number}: not UTF-8 at byte {error.start + 1}: {error.reason}; convert it: "
            f"iconv -f WINDOWS-1252 -t UTF-8 {file.name} > utf8-{file.name}"
        )
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or thousands of brackets: valid, and of no use.
        return Broken(f"{file}:{number}: {_without_advice(error)}")


def _advice(error: json.JSONDecodeError, file: pathlib.Path) -> str:
    """What to do about a line that is no JSON value, or more than one."""
    rest = error.doc[error.pos :].lstrip()
    if error.msg == "Extra data" and rest.startswith("{"):
        return f"; the line holds several records: jq -c . {file.name} > lines.jsonl"
    if error.msg == "Extra data" and rest.startswith(","):
        return "; commas stand between records in an array alone: put [ and ] around all, or none"
    if error.pos == 0:
        return f", the line begins with {error.doc[:30]!r}"
    return ""


def _without_advice(error: Exception) -> str:
    """The message of what Python refuses, without the setting of its own that would allow it."""
    return str(error).partition("; use sys.")[0]


def _object(fields: list[tuple[str, Any]]) -> Record:
    """An object of these fields. Raises ValueError where one of them would be lost."""
    value = dict(fields)
    if len(value) < len(fields):
        names = [name for name, _ in fields]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has two fields called {twice!r}; keep one, or rename them")
    return value


# ------------------------------------------------------------------ arrays, streamed


def _read_document(file: pathlib.Path) -> Iterator[Record]:
    """The records of `[...]`, of an object's list called as in WRAPPERS, or of objects in a row."""
    with decompressed(file) as data:
        text = _Text(file, data)
        in_object = text.peek() == "{"
        if in_object:
            record = _skip_to_list(text)
            if record is not None:
                yield from _read_printed(file, text, record)
                return
        text.expect("[")
        index = 0
        while text.peek() != "]":
            if index:
                text.expect(",")
            record = as_record(text.value(), f"{file}[{index}]")
            # The hub's viewer wraps each record once more, with its number.
            if in_object and record.keys() >= {"row_idx", "row"}:
                record = as_record(record["row"], f"{file}[{index}].row")
            yield record
            index += 1
        text.expect("]")
        # What follows the list in an object (counts, a license) is no record. But a second
        # document, or a file that ends here too early, is nothing to pass over.
        if in_object:
            while text.peek() == ",":
                text.expect(",")
                text.value()
                text.expect(":")
                text.value()
            text.expect("}")
        if text.peek():
            raise text.error("Extra data")


def _skip_to_list(text: "_Text") -> Record | None:
    """Read an object up to the list of its records; one without such a list is returned whole."""
    text.expect("{")
    record = {}
    while text.peek() != "}":
        if record:
            text.expect(",")
        name = text.value()
        text.expect(":")
        if name in WRAPPERS and text.peek() == "[":
            return None
        record[name] = text.value()
    text.expect("}")
    return record


def _read_printed(file: pathlib.Path, text: "_Text", record: Record) -> Iterator[Record]:
    """Objects printed over several lines each, one behind the other (`jq .`); `record` first."""
    if not text.peek():
        _refuse_pandas(file, record)
    yield record
    index = 1
    while text.peek():
        yield as_record(text.value(), f"{file}[{index}]")
        index += 1


def _refuse_pandas(file: pathlib.Path, record: Record) -> None:
    """Raise ValueError where the only object of a file is a table by columns, or by row numbers."""
    by_row = len(record) > 1 and all(name.isdigit() for name in record)
    by_column = bool(record)
    for column in record.values():
        is_numbered = isinstance(column, dict) and column and all(map(str.isdigit, column))
        by_column = by_column and bool(is_numbered)
    if by_row or by_column:
        raise ValueError(
            f"{file}: one object with a table's rows by number, as pandas writes it; write it with "
            "to_json(orient='records', lines=True)"
        )


class _Text:
    """A stream of UTF-8 bytes as JSON values, one after the other."""

    def __init__(self, file: pathlib.Path, data: IO[bytes]):
        self._file, self._data = file, data
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._scan = json.JSONDecoder(object_pairs_hook=_object).raw_decode
        self._buffer, self._at, self._ended = "", 0, False
        # Of the buffer's start, for messages.
        self._line, self._column = 1, 1

    def peek(self) -> str:
        """The next character that is not blank, or "" at the end."""
        while True:
            self._at = BLANK.match(self._buffer, self._at).end()  # pyright: ignore
            if self._at < len(self._buffer) or self._ended:
                return self._buffer[self._at : self._at + 1]
            self._more()

    def expect(self, character: str) -> None:
        """Step over `character`."""
        if self.peek() != character:
            raise self.error(f"Expecting {character!r}")
        self._at += 1

    def value(self) -> Any:
        """The next value."""
        self.peek()
        while True:
            try:
                value, self._at = self._scan(self._buffer, self._at)
                return value
            except json.JSONDecodeError as error:
                # The decoder reports an unfinished string at its start, anything else that goes
                # on beyond the buffer near the end of it.
                cut = error.msg.startswith("Unterminated") or (
                    error.pos >= len(self._buffer) - CUT_WORD
                )
                if not cut or self._ended:
                    raise self.error(error.msg, error.pos) from None
            except (ValueError, RecursionError) as error:
                raise self.error(_without_advice(error)) from None
            self._more()

    def _more(self) -> None:
        """Drop what was read, and read at least as much as is left: a long record costs no more."""
        done = self._buffer[: self._at]
        self._line, self._column = _advance(self._line, self._column, done)
        self._buffer, self._at = self._buffer[self._at :], 0
        if len(self._buffer) > LONGEST:
            raise ValueError(
                f"{self._file}:{self._line}: a record of more than {LONGEST >> 20} MiB; leave it "
                "out, or close its quotes and brackets"
            )
        data = self._data.read(max(CHUNK, len(self._buffer)))
        self._ended = not data
        try:
            self._buffer += self._decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            # Bytes, not characters, since those cannot be told apart after the bad one.
            before = self._buffer.encode() + error.object[: error.start]
            line = self._line + before.count(b"\n")
            byte = len(before) - before.rfind(b"\n")
            raise ValueError(
                f"{self._file}:{line}: not UTF-8 at byte {byte}: {error.reason}"
            ) from None

    def error(self, message: str, at: int | None = None) -> ValueError:
        """What is wrong at a place of the buffer, by line and column."""
        if at is None:
            at = self._at
        line, column = _advance(self._line, self._column, self._buffer[:at])
        if self._ended and at >= len(self._buffer.rstrip()):
            message += "; the file ends here, is it whole?"
        return ValueError(f"{self._file}:{line}: bad JSON at column {column}: {message}")


def _advance(line: int, column: int, text: str) -> tuple[int, int]:
    """Line and column after `text`."""
    newlines = text.count("\n")
    if newlines:
        return line + newlines, len(text) - text.rfind("\n")
    return line, column + len(text)
