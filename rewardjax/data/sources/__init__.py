"""Where records come from: one function opens files, folders and data sets, read as plain dicts.

`datasets` would read most of these, but copies what it reads into a cache of its own (the disk
again for tens of millions of pairs), fixes one schema over all records, where those of one file
may differ, and does not say which line a bad record came from. So files are read here, with
pyarrow; the folders that `datasets` writes are understood. A file holds

    text      byte_streams.py (gzip, zstd, what is no data) -> json_files.py, or CSV in tables.py
    columns   Parquet, Arrow in tables.py

and files.py makes one source of several. folders.py and tfds.py find the files, rewardjax/io/hub.py
fetches them.
"""

import glob
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from rewardjax.data.sources.files import SUFFIXES, Record, Source, is_data
from rewardjax.data.sources.folders import open_folder
from rewardjax.data.sources.splits import SplitError
from rewardjax.data.sources.tfds import TfdsSource, open_tfds
from rewardjax.data.spelling import CONFIG, Spelling
from rewardjax.io import hub, storage

__all__ = ["Record", "Source", "TfdsSource", "open_named", "open_source"]


def open_named(entry: str | Mapping[str, Any], spelling: Spelling = CONFIG) -> Any:
    """The source of an entry in a config: what `open_source` takes, or `{"source", "split"}`."""
    if isinstance(entry, str):
        return open_source(entry, spelling=spelling)
    return open_source(entry["source"], split=entry.get("split"), spelling=spelling)


def open_source(
    path: str | pathlib.Path,
    *,
    split: str | None = None,
    name: str | None = None,
    spelling: Spelling = CONFIG,
) -> Any:
    """A source of records: iterable of plain dicts, with len(), fingerprint() and name.

    `path` is a file (JSON lines or an array, CSV, TSV, each also .gz or .zst; .parquet, .arrow,
    .feather), a glob of them, a folder (datasets' save_to_disk, a data set repository, TFDS),
    `gs://BUCKET/...` of any of these but TFDS, `hf://ORG/NAME[@REVISION][/FOLDER]` or
    ORG/NAME[@REVISION], `tfds:NAME`, or `world:...` (data/world). `split` chooses among the splits
    that a folder holds. spelling: how whoever gave the path writes the fields that belong to it,
    for messages. Raises FileNotFoundError, ValueError with file and line for bad JSON, ImportError
    naming the extra to install.
    """
    try:
        source = _open(path, split, name)
    except SplitError as error:
        raise ValueError(spelling.of(str(error))) from None
    # Kept by the source, since everything that reads its records may have to speak of a column.
    source.spelling = spelling
    return source


def _open(path: str | pathlib.Path, split: str | None, name: str | None) -> Any:
    path = str(path)
    # As a path it would be the folder that the command runs in.
    if not path.strip():
        raise FileNotFoundError(
            f"{path!r} names no data: a file, a glob, a folder, hf://ORG/NAME or tfds:NAME"
        )
    if split is not None and not isinstance(split, str):
        raise SplitError(
            f"split = {split!r} is not the name of one of the source's splits (train, test, ...); "
            "the fraction of prompts to use is `part`: data.part=(0.0, 0.95) in a config"
        )
    if path.startswith("world:"):
        # Only here: the world stands on this package's data code, not the other way round.
        from rewardjax.data import world

        if split is not None:
            raise SplitError(f"split = {split!r}: {path} names its split itself; leave split out")
        return world.open_world(path)
    if path.startswith("tfds:") or (pathlib.Path(path) / "features.json").exists():
        return open_tfds(path.removeprefix("tfds:"), split, name)
    if storage.is_address(path):
        return _open_address(path, split, name)
    if path.startswith(hub.PREFIX):
        where = hub.data_set(path, SUFFIXES)
        return _open(where, split, name or path.removeprefix(hub.PREFIX))
    if pathlib.Path(path).is_dir():
        # TFDS writes NAME/VERSION below the folder that it is given; its descriptions are no data.
        versions = [*pathlib.Path(path).glob("*/features.json")]
        versions += pathlib.Path(path).glob("*/*/features.json")
        if versions:
            raise FileNotFoundError(
                f"{path} holds a TFDS data set: name its version's folder, {versions[0].parent}"
            )
        return open_folder(pathlib.Path(path), split, name or pathlib.Path(path).resolve().name)
    # A file's name may hold brackets, which a glob would read as a set of characters.
    files = [pathlib.Path(path)]
    if not files[0].is_file():
        files = sorted(map(pathlib.Path, glob.glob(path, recursive=True)))
    if not files and hub.is_repository(path) and not is_data(path):
        # What is not here may be a data set of the hub, written as its page there writes it.
        return _open(f"{hub.PREFIX}{path}", split, name)
    if not files and "://" in path:
        raise FileNotFoundError(
            f"{path}: of addresses only {storage.SCHEME} and {hub.PREFIX}ORG/NAME are read; "
            "download it and name the file"
        )
    if not files:
        raise FileNotFoundError(f"{path}: no such file, folder or match")
    _refuse_split(path, split)
    return Source(name or _name_of(files), files)


def _open_address(path: str, split: str | None, name: str | None) -> Source:
    """The records of an object, of those that a glob names, or of all below an address."""
    place = storage.path_of(path)
    # The first time that the server is asked: it may not be there, or not let us in.
    with storage.asked(path):
        is_object = storage.version(place) is not None
        below: list[pathlib.Path] = []
        if not is_object:
            below = storage.files_below(place)
        matching: list[pathlib.Path] = []
        if not is_object and not below:
            matching = storage.matching(path)
    if below:
        if versions := [file for file in below if file.name == "features.json"]:
            raise ValueError(
                f"{versions[0].parent}: a TFDS data set, which is read from a disk alone; copy it "
                "there and name its version's folder"
            )
        return open_folder(place, split, name or place.name)
    if not is_object and not matching:
        raise FileNotFoundError(f"{path}: no such object, folder or match in the bucket")
    _refuse_split(path, split)
    files = matching or [place]
    return Source(name or _name_of(files), files)


def _refuse_split(path: str, split: str | None) -> None:
    if split is not None:
        raise SplitError(
            f"split = {split!r}: {path} is a file or a glob, which has no splits; "
            "name the split's files instead"
        )


def _name_of(files: Sequence[pathlib.Path]) -> str:
    """What data are called in reports whom nobody has given a name."""
    if len(files) == 1:
        return files[0].name.split(".")[0]
    # Of the folder alone: a file may be a link that leads back to itself.
    return files[0].parent.resolve().name
