"""A row of a file that is no record: a torn line, bytes that are no UTF-8, a number alone.

It takes the place of the record, so that it costs itself: the rows behind it are read, keep their
numbers, and the account of the file has one entry for it.
"""

from typing import Any


class Broken(dict):
    """The row's stand-in, an object without fields. detail: file, line and what is wrong."""

    def __init__(self, detail: str):
        super().__init__()
        self.detail = detail


def as_record(value: Any, where: str) -> dict[str, Any]:
    """`value` where it is an object, else the stand-in that names `where`."""
    if isinstance(value, dict):
        return value
    return Broken(f"{where}: a record is a JSON object, this is {value!r:.60}")
