"""Content hashes. Every "has this changed?" question in the project is answered here."""

import hashlib
import json
import pathlib
from typing import Any


def of_bytes(data: bytes) -> str:
    """sha256 of `data`, 16 hex digits: enough to tell contents apart, short enough to print."""
    return hashlib.sha256(data).hexdigest()[:16]


def eight_bytes(data: bytes) -> bytes:
    """64 bits of `data` as bytes, for draws and splits that depend on it alone (BLAKE2b)."""
    return hashlib.blake2b(data, digest_size=8).digest()


def of_json(value: Any) -> str:
    """Fingerprint of a JSON-serialisable value, independent of key order. Raises TypeError on anything JSON cannot hold."""
    return of_bytes(
        json.dumps(
            value, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":")
        ).encode()
    )


def of_file(path: str | pathlib.Path) -> str:
    """Fingerprint of a file's bytes, read in chunks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
