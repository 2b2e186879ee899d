"""Small shards put together: many units of a stage in one file, sorted by pair.

    store/LEDGER/packed/STAGE.LEVEL.UNIT.parquet    rows of several units, sorted by key
    store/LEDGER/packed/STAGE.LEVEL.UNIT.json       the manifests of the shards that it holds

A stage writes a shard for every few hundred pairs. With a million pairs each question about one
unit would open thousands of files, so that the time of a stage would grow with the square of the
pairs. A pack changes none of what the ledger says: every row keeps its stage and unit, and the
manifests of its shards stay what they were, so that fingerprints and decisions still name them.

The pack appears whole when its .json does; the shards that it holds are deleted by the next call,
so that a reader who has just listed them can still open them. Killed in between, a shard exists
twice, and the pack counts.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rewardjax import config as config_lib
from rewardjax import fingerprint
from rewardjax.io import files, own_files

FOLDER = "packed"
# Files of a stage that become one.
FANOUT = 64
# Rows of a pack from which on it is put together with no other one.
ROWS = 2**21


@dataclasses.dataclass(frozen=True)
class Pack:
    """A file with the rows of several shards."""

    path: pathlib.Path
    # How often its rows were put together: 1 of shards, 2 of packs.
    level: int
    # Fingerprint of the file.
    content: str
    # Manifests of the shards whose rows it has.
    parts: Sequence[Mapping[str, Any]]

    @functools.cached_property
    def by_name(self) -> dict[str, Mapping[str, Any]]:
        """The manifests by name of the shard."""
        return {name_of(part): part for part in self.parts}

    @property
    def rows(self) -> int:
        """How many it has."""
        return sum(part["rows"] for part in self.parts)


def of_ledger(folder: pathlib.Path) -> list[Pack]:
    """The packs of a ledger's folder that count: none of them within another."""
    packed = folder / FOLDER
    if not packed.is_dir():
        return []
    # Remembered by the names of the files, which only an erasure (`erasure.py`) writes anew. A time
    # of change would not do: file systems count it in milliseconds, in which two packs can be
    # written.
    names = sorted(name for name in os.listdir(packed) if name.endswith(".json"))
    return _packs(packed, tuple(names))


def forget_what_was_read() -> None:
    """Read packs anew: one of them was written again under its name."""
    _packs.cache_clear()
    _read.cache_clear()


@functools.lru_cache(maxsize=64)
def _packs(packed: pathlib.Path, names: tuple[str, ...]) -> list[Pack]:
    packs = [_read(packed / name) for name in names]
    held: set[str] = set()
    counting = []
    # From the highest level down: a lower pack is there beside the one that replaced it until the
    # next call removes it.
    for pack in sorted(packs, key=lambda pack: (-pack.level, pack.path)):
        if not pack.by_name.keys() <= held:
            counting.append(pack)
        held |= pack.by_name.keys()
    return sorted(counting, key=lambda pack: pack.path)


# Each by itself too: a ledger of millions has dozens of packs, and a new one changes no other.
@functools.lru_cache(maxsize=1024)
def _read(path: pathlib.Path) -> Pack:
    record = own_files.read(path, ("level", "content", "parts"))
    return Pack(path.with_suffix(".parquet"), record["level"], record["content"], record["parts"])


def write(
    folder: pathlib.Path,
    level: int,
    parts: Sequence[Mapping[str, Any]],
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    words: list[str],
) -> Pack:
    """Write the rows of `parts`, given in order of their key, as a pack of a ledger's folder."""
    packed = folder / FOLDER
    packed.mkdir(parents=True, exist_ok=True)
    first = parts[0]
    path = packed / f"{first['stage']}.{level}.{first['unit']}.parquet"
    dictionaries: Any = words
    with files.replacing(path) as part:
        rows = 0
        with pq.ParquetWriter(
            part, schema, compression="zstd", use_dictionary=dictionaries
        ) as writer:
            for batch in batches:
                writer.write_batch(batch.cast(schema))
                rows += batch.num_rows
        promised = sum(manifest["rows"] for manifest in parts)
        if rows != promised:
            raise ValueError(
                f"{folder}: the shards of {first['stage']} have {rows} rows and not the {promised} "
                "of their manifests; run `curate audit`, which names the damaged one"
            )
        content = fingerprint.of_file(part)
    record = {"level": level, "content": content, "parts": list(parts)}
    config_lib.write_json(path.with_suffix(".json"), record)
    return Pack(path, level, content, parts)


def sweep(folder: pathlib.Path, loose: Iterable[pathlib.Path]) -> None:
    """Delete what packs of a ledger's folder hold: shards among `loose`, and lower packs.

    loose: the .json of shards that are files of their own.
    """
    packs = of_ledger(folder)
    counting = {pack.path for pack in packs}
    for path in (folder / FOLDER).glob("*.json"):
        if path.with_suffix(".parquet") not in counting:
            _delete(path)
    for path in loose:
        if manifest_in(packs, path.stem) is not None:
            _delete(path)


def _delete(manifest: pathlib.Path) -> None:
    # The .json first: a shard without one does not exist, and one without rows would be damaged.
    manifest.unlink(missing_ok=True)
    manifest.with_suffix(".parquet").unlink(missing_ok=True)


def manifest_in(packs: Iterable[Pack], name: str) -> Mapping[str, Any] | None:
    """The manifest of a shard, by name, where one of the packs holds it."""
    for pack in packs:
        if name in pack.by_name:
            return pack.by_name[name]
    return None


def name_of(part: Mapping[str, Any]) -> str:
    """The name of a shard's files, without their ending."""
    return f"{part['stage']}.{part['unit']}"


def groups(sizes: Sequence[int], least: int) -> Iterator[slice]:
    """Neighbors that become one file: so many that they have ROWS rows, or all that there are.

    Nothing where there are fewer than `least`.
    """
    if len(sizes) < least:
        return
    start = rows = 0
    for place, size in enumerate(sizes):
        if rows and rows + size > ROWS:
            if place - start > 1:
                yield slice(start, place)
            start, rows = place, 0
        rows += size
    if len(sizes) - start > 1:
        yield slice(start, len(sizes))
