"""The manifest of a shard: what it is, and what it was computed from."""

import pathlib
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from rewardjax import config as config_lib


class StoreConflict(ValueError):
    """A shard of this name exists and was written from something else."""


class Manifest(TypedDict):
    """What a shard is and what it was computed from."""

    ledger: str
    stage: str
    unit: str
    iteration: int
    # How many.
    rows: int
    # Fingerprint of the Parquet file.
    content: str
    # Name -> fingerprint, or any JSON value, of what the rows were computed from.
    inputs: dict[str, Any]
    # Fingerprint of the settings; `Store.settings` has them.
    config: str | None
    # What `content` was before texts were erased from the file.
    erased_from: NotRequired[list[str]]


def contents_of(record: Mapping[str, Any]) -> list[str]:
    """Every content that a shard or pack has had: it differs only where texts were erased."""
    return [record["content"], *record.get("erased_from", ())]


def refuse_change(old: Manifest, new: Manifest, path: pathlib.Path) -> None:
    """Raise StoreConflict where a shard of this name was written from something else."""
    changed = config_lib.difference(old, new)
    if changed:
        lines = "\n  ".join(changed)
        raise StoreConflict(
            f"{path} exists and was written from something else; "
            f"use another stage name or another store:\n  {lines}"
        )
