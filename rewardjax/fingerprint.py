"""Content hashes. Every "has this changed?" question in the project is answered here."""

import hashlib
import json
import pathlib
from typing import Any

from rewardjax.io import files, storage

# 64 bits: enough to tell contents apart (a chance of 10^-9 that any two of 200,000 are equal), and
# short enough to print.
HEX_DIGITS = 16
CHECKSUM = "checksum"  # of a JSON record: the field of its own fingerprint


def of_bytes(data: bytes) -> str:
    """sha256 of `data`, 16 hex digits."""
    return hashlib.sha256(data).hexdigest()[:HEX_DIGITS]


def eight_bytes(data: bytes) -> bytes:
    """64 bits of `data` as bytes, for draws and splits that depend on it alone (BLAKE2b)."""
    # Another hash than of_bytes: what is drawn by an id must not depend on how ids are made.
    return hashlib.blake2b(data, digest_size=8).digest()


def of_json(value: Any) -> str:
    """Fingerprint of a JSON-serializable value.

    Raises TypeError for anything that JSON cannot hold.
    """
    # Key order, blanks and the encoding must not matter: two programs may write them differently.
    text = json.dumps(
        value, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":")
    )
    return of_bytes(text.encode())


def with_checksum(record: dict[str, Any]) -> dict[str, Any]:
    """A JSON record with the fingerprint of all that is in it."""
    return record | {CHECKSUM: of_json(record)}


def checksum_of(record: dict[str, Any]) -> str:
    """The checksum that `with_checksum` would give to what else is in a record."""
    return of_json({name: value for name, value in record.items() if name != CHECKSUM})


def of_file(path: str | pathlib.Path) -> str:
    """Fingerprint of a file's bytes: that of `of_bytes`, read in chunks.

    Raises ValueError for a pipe in its place, which would be waited at for ever.
    """
    place = storage.path_of(path)
    files.refuse_pipe(place)
    with storage.opened(place) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:HEX_DIGITS]


def of_code() -> str:
    """Fingerprint of this package's source."""
    package = pathlib.Path(__file__).parent
    sources = sorted(package.rglob("*.py"))
    return of_json([[path.relative_to(package).as_posix(), of_file(path)] for path in sources])
