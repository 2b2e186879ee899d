"""JSON files that this package has written, read as what may have been damaged since."""

import json
import pathlib
from collections.abc import Collection
from typing import Any

from rewardjax.io import files


class Damaged(ValueError):
    """A file is not what was written; the message names it and says what to do."""


def read(
    path: pathlib.Path, names: Collection[str] = (), remedy: str = "put back a copy of it"
) -> dict[str, Any]:
    """The object in a file, which has at least the fields `names`.

    remedy: what to do about a damaged file, for the message. Raises FileNotFoundError, and Damaged
    for anything else than such an object.
    """
    record = read_value(path, remedy)
    if not isinstance(record, dict) or not record.keys() >= set(names):
        raise _damaged(path, remedy)
    return record


def read_value(path: pathlib.Path, remedy: str = "put back a copy of it") -> Any:
    """The value in a file, of any kind. Raises as `read`."""
    try:
        text = files.text_of(path)
    # Bytes that are no UTF-8; a pipe in its place says so itself.
    except UnicodeDecodeError:
        raise _damaged(path, remedy) from None
    try:
        return json.loads(text)
    # Brackets without an end are a recursion.
    except (ValueError, RecursionError):
        raise _damaged(path, remedy) from None


def _damaged(path: pathlib.Path, remedy: str) -> Damaged:
    return Damaged(f"{path} is not what was written; {remedy}")
