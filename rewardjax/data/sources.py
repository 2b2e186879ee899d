"""Where records come from: one function opens files, folders and data sets, read as plain dicts.

`datasets` would read most of these, but copies what it reads into a cache of its own (the disk
again for tens of millions of pairs), fixes one schema over all records, where those of one file
may differ, and does not say which line a bad record came from. So files are read here, with
pyarrow; the folders that `datasets` writes are understood.
"""

import functools
import glob
import gzip
import json
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from rewardjax import fingerprint

Record = dict[str, Any]
SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")
RECORDS_AT_ONCE = 256  # of a Parquet or Arrow file, as Python objects

# How the hub's data set folders spell a split in file and folder names.
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}


class Source:
    """Records of one or more files in order, streamed anew by every iteration."""

    def __init__(
        self,
        name: str,
        files: list[pathlib.Path],
        read: Callable[[pathlib.Path], Iterator[Record]],
        count: Callable[[pathlib.Path], int],
    ):
        self.name, self.files, self._read, self._count = name, files, read, count

    def __iter__(self) -> Iterator[Record]:
        for file in self.files:
            yield from self._read(file)

    def by_file(self) -> list[tuple[str, Callable[[], Iterator[Record]]]]:
        """Each file's name and a function that reads it, in the order of iteration."""
        # What a file holds is decided per file: a folder may mix two kinds of them.
        return [(file.name, functools.partial(self._read, file)) for file in self.files]

    @functools.cached_property
    def _length(self) -> int:
        return sum(map(self._count, self.files))

    def __len__(self) -> int:
        return self._length

    def fingerprint(self) -> str:
        """Hash of the files' contents in order."""
        # Not of names, places and times: data that moved are the same data.
        return fingerprint.of_json([fingerprint.of_file(file) for file in self.files])


def open_source(
    path: str | pathlib.Path, *, split: str | None = None, name: str | None = None
) -> Any:
    """A source of records: iterable of plain dicts, with len(), fingerprint() and name.

    `path` is a file (.jsonl, .jsonl.gz, .json, .json.gz, .parquet), a glob of them, a folder
    (datasets' save_to_disk, a data set repository, TFDS), `hf://ORG/NAME[/FOLDER]`, `tfds:NAME`, or
    `world:...` (data/world). `split` chooses among the splits that a folder holds. Raises
    FileNotFoundError, ValueError with file and line for bad JSON, ImportError naming the extra to
    install.
    """
    path = str(path)
    if split is not None and not isinstance(split, str):
        raise ValueError(
            f"split = {split!r} is not the name of one of the source's splits (train, test, ...); "
            "the fraction of prompts to use is `part`: data.part=(0.0, 0.95) in a config"
        )
    if path.startswith("world:"):
        # Only here: the world stands on this package's data code, not the other way round.
        from rewardjax.data import world

        if split is not None:
            raise ValueError(f"split = {split!r}: {path} names its split itself; leave split out")
        return world.open_world(path)
    if path.startswith("tfds:") or (pathlib.Path(path) / "features.json").exists():
        return _open_tfds(path.removeprefix("tfds:"), split, name)
    if path.startswith("hf://"):
        return _open_folder(snapshot(path), split, name or path.removeprefix("hf://"))
    if pathlib.Path(path).is_dir():
        return _open_folder(pathlib.Path(path), split, name or pathlib.Path(path).resolve().name)
    # A file's name may hold brackets, which a glob would read as a set of characters.
    files = [pathlib.Path(path)]
    if not files[0].is_file():
        files = sorted(map(pathlib.Path, glob.glob(path, recursive=True)))
    if not files:
        raise FileNotFoundError(f"{path}: no such file, folder or match")
    if split is not None:
        raise ValueError(
            f"split = {split!r}: {path} is a file or a glob, which has no splits; "
            "name the split's files instead"
        )
    default = files[0].resolve().parent.name
    if len(files) == 1:
        default = files[0].name.split(".")[0]
    return _of_files(name or default, files)


def _of_files(name: str, files: list[pathlib.Path]) -> Source:
    """One source over files of the supported types."""
    for file in files:
        if not file.name.endswith(SUFFIXES):
            raise ValueError(f"{file}: not one of {', '.join(SUFFIXES)}")
    return Source(name, files, _read_file, _count_file)


def _read_file(file: pathlib.Path) -> Iterator[Record]:
    if file.name.endswith(".parquet"):
        return _read_parquet(file)
    if _is_json_array(file):
        return _read_json_array(file)
    return _read_json_lines(file)


def _count_file(file: pathlib.Path) -> int:
    if file.name.endswith(".parquet"):
        return pq.read_metadata(file).num_rows
    if _is_json_array(file):
        return sum(1 for _ in _read_json_array(file))
    # Blank lines are no records; counting the others costs no parsing.
    with _open_bytes(file) as lines:
        return sum(1 for line in lines if line.strip())


def _open_bytes(file: pathlib.Path) -> IO[bytes]:
    if file.name.endswith(".gz"):
        return gzip.open(file, "rb")  # pyright: ignore[reportReturnType]
    return open(file, "rb")


def _is_json_array(file: pathlib.Path) -> bool:
    """A .json file is an array or, as on the hub, lines."""
    if ".jsonl" in file.name:
        return False
    # Only the first line with text is read: such a file may be larger than memory.
    with _open_bytes(file) as data:
        for line in data:
            if line.strip():
                return line.lstrip().startswith(b"[")
    return False


def _read_json_lines(file: pathlib.Path) -> Iterator[Record]:
    with _open_bytes(file) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _record(_parse_json(line, file, number), f"{file}:{number}")


def _read_json_array(file: pathlib.Path) -> Iterator[Record]:
    with _open_bytes(file) as data:
        for index, record in enumerate(_parse_json(data.read(), file, 1)):
            yield _record(record, f"{file}[{index}]")


def _parse_json(data: bytes, file: pathlib.Path, first_line: int) -> Any:
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{file}:{first_line + error.lineno - 1}: bad JSON at column {error.colno}: {error.msg}"
        ) from None
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = first_line + before.count(b"\n"), len(before) - before.rfind(b"\n")
        raise ValueError(f"{file}:{line}: not UTF-8 at byte {column}: {error.reason}") from None


def _record(value: Any, where: str) -> Record:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: a record is a JSON object, this is {value!r:.60}")
    return value


def _read_parquet(file: pathlib.Path) -> Iterator[Record]:
    # Batch by batch: a row group, which pyarrow would otherwise read whole, may be gigabytes.
    with pq.ParquetFile(file) as table:
        for batch in table.iter_batches(RECORDS_AT_ONCE):
            yield from batch.to_pylist()


def _arrow_batches(file: pathlib.Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(file)) as data, pa.ipc.open_stream(data) as stream:
        yield from stream


def _read_arrow(file: pathlib.Path) -> Iterator[Record]:
    for batch in _arrow_batches(file):
        # save_to_disk writes batches of 1,000 and more; as Python objects these are large.
        for start in range(0, batch.num_rows, RECORDS_AT_ONCE):
            yield from batch.slice(start, RECORDS_AT_ONCE).to_pylist()


def _count_arrow(file: pathlib.Path) -> int:
    return sum(batch.num_rows for batch in _arrow_batches(file))


def _open_folder(folder: pathlib.Path, split: str | None, name: str) -> Source:
    # save_to_disk of several splits makes one folder each.
    if (folder / "dataset_dict.json").exists():
        splits = json.loads((folder / "dataset_dict.json").read_text())["splits"]
        chosen = _choose_split(splits, split, folder)
        return _open_arrow(folder / chosen, f"{name}/{chosen}")
    if (folder / "state.json").exists():
        if split is not None:
            raise ValueError(f"split = {split!r}: {folder} holds one saved data set without splits")
        return _open_arrow(folder, name)
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.name.endswith(SUFFIXES) and _is_data(file.relative_to(folder))
    )
    if not files:
        raise FileNotFoundError(
            f"{folder}: no {', '.join(SUFFIXES)} file and no saved data set in it"
        )
    # Any other folder is taken for a data set repository, whose file names say what the splits are.
    splits = [_split_of(file.relative_to(folder)) for file in files]
    # By the hub's rule train_prefs.jsonl is `train`, and so is train_sft.jsonl beside it: whoever
    # names a file without its suffix means that file alone.
    stems = [file.name.split(".")[0] for file in files]
    if split not in splits and split in stems:
        splits = stems
    chosen = _choose_split(sorted(set(splits)), split, folder)
    # The name goes into reports: a split that nobody had to name is not mentioned.
    if split is not None:
        name = f"{name}/{chosen}"
    of_split = [file for file, its in zip(files, splits, strict=True) if its == chosen]
    return _of_files(name, of_split)


def _is_data(path: pathlib.Path) -> bool:
    """Not hidden, and not the description that tools put beside the data."""
    return not any(part.startswith(".") for part in path.parts) and path.name not in (
        "dataset_infos.json",
        "dataset_info.json",
    )


def _split_of(path: pathlib.Path) -> str:
    """Split of a file in a data set repository, as the hub finds it.

    NAME-00000-of-00001.parquet, else a split word in the file's name, else in a folder's, else
    train.
    """
    if match := re.match(r"(.+)-\d+-of-\d+", path.name):
        return match[1]
    # From the file up: in "test/train-examples.json" the file's own name decides.
    for part in reversed(path.parts):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in SPLIT_WORDS:
                return SPLIT_WORDS[word]
    return "train"


def _choose_split(splits: list[str], split: str | None, where: pathlib.Path | str) -> str:
    if split is None and len(splits) == 1:
        return splits[0]
    if split not in splits:
        raise ValueError(
            f"split = {split!r}: {where} has the splits {', '.join(splits)}; choose one: "
            f"data.split={splits[-1]} in a config, --split {splits[-1]} for a command"
        )
    return split


def _open_arrow(folder: pathlib.Path, name: str) -> Source:
    state = json.loads((folder / "state.json").read_text())
    # A shuffled or filtered data set is saved as all rows and a list of indices, which is not read
    # here.
    if state.get("_indices_data_files"):
        raise ValueError(
            f"{folder}/state.json: _indices_data_files is set: call flatten_indices() before "
            "save_to_disk"
        )
    return Source(
        name,
        [folder / entry["filename"] for entry in state["_data_files"]],
        _read_arrow,
        _count_arrow,
    )


def snapshot(path: str) -> pathlib.Path:
    """The folder of a hub data set repository's data files, downloaded.

    Raises ImportError without huggingface_hub, ConnectionError where the download fails.
    """
    try:
        import huggingface_hub
    except ImportError:
        raise ImportError(
            f"{path}: reading from the hub needs huggingface_hub: pip install 'rewardjax[hub]'"
        ) from None
    organization, name, inner = (path.removeprefix("hf://").strip("/") + "//").split("/", 2)
    try:
        root = huggingface_hub.snapshot_download(
            f"{organization}/{name}",
            repo_type="dataset",
            allow_patterns=["*.json*", "*.parquet", "*.arrow"],
        )
    except Exception as error:  # the hub's own errors, the HTTP client's, the cache's
        raise ConnectionError(
            f"{path}: cannot be downloaded ({type(error).__name__}: {str(error).splitlines()[0]}); "
            "is there a network, and does the data set exist? A local folder works without one"
        ) from error
    return pathlib.Path(root, inner.strip("/"))


class TfdsSource:
    """A TFDS data set read through its random-access interface, which needs no TensorFlow.

    Iterating gives records, as a Source does.
    """

    def __init__(self, builder: Any, split: str, name: str):
        self.name, self._builder, self._split = name, builder, split
        self._data = builder.as_data_source(split=split)

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Record]:
        for index in range(len(self._data)):
            yield _plain(self._data[index], self._builder.info.features)

    def fingerprint(self) -> str:
        """Hash of the split's files and of the features that say how to read them."""
        info = self._builder.info.splits[self._split]
        files = [
            pathlib.Path(self._builder.data_dir) / "features.json",
            *map(pathlib.Path, info.filepaths),
        ]
        return fingerprint.of_json([fingerprint.of_file(file) for file in files])


def _open_tfds(where: str, split: str | None, name: str | None) -> TfdsSource:
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise ImportError(
            f"{where}: reading TFDS needs tensorflow-datasets: pip install 'rewardjax[tfds]'"
        ) from None
    if (pathlib.Path(where) / "features.json").exists():
        builder = tfds.builder_from_directory(where)
    else:
        builder = tfds.builder(where)
        builder.download_and_prepare(file_format="array_record")
    chosen = _choose_split(sorted(builder.info.splits), split, where)
    return TfdsSource(builder, chosen, name or f"{builder.info.name}/{chosen}")


def _plain(value: Any, feature: Any) -> Any:
    """A TFDS value as plain Python: bytes to str, arrays to lists."""
    if isinstance(value, dict):
        # A Sequence of dicts comes back as a dict of lists: turned round again.
        inner = getattr(feature, "feature", feature)
        columns = {key: _plain(item, inner[key]) for key, item in value.items()}
        if inner is feature:
            return columns
        cells = zip(*columns.values(), strict=True)
        return [dict(zip(columns, values, strict=True)) for values in cells]
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item, getattr(feature, "feature", feature)) for item in value]
    if isinstance(value, bytes):
        return value.decode()
    return value
