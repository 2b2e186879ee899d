"""TensorFlow Datasets, without TensorFlow."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

from rewardjax import fingerprint
from rewardjax.data.sources.broken import Broken
from rewardjax.data.sources.files import Record
from rewardjax.data.sources.splits import choose
from rewardjax.io import foreign_files


class TfdsSource:
    """A TFDS data set read through its random-access interface, which needs no TensorFlow.

    Iterating gives records, as a Source's `rows` does.
    """

    def __init__(self, builder: Any, split: str, name: str):
        self.name, self._builder, self._split = name, builder, split
        with _readable(builder.data_dir):
            self._data = builder.as_data_source(split=split)

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Record]:
        for index in range(len(self._data)):
            with _readable(self._builder.data_dir):
                value = self._data[index]
            try:
                yield _plain(value, self._builder.info.features)
            except UnicodeDecodeError as error:
                yield Broken(f"{self.name}, record {index}: {error}")

    def fingerprint(self) -> str:
        """Hash of the split's files and of the features that say how to read them."""
        info = self._builder.info.splits[self._split]
        files = [
            pathlib.Path(self._builder.data_dir) / "features.json",
            *map(pathlib.Path, info.filepaths),
        ]
        return fingerprint.of_json([fingerprint.of_file(file) for file in files])


def open_tfds(where: str, split: str | None, name: str | None) -> TfdsSource:
    """A data set by its name, built if need be, or in its folder.

    Raises ImportError naming the extra to install, FileNotFoundError for a name that TFDS does not
    have.
    """
    try:
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core import registered
    except ImportError:
        raise ImportError(
            f"{where}: reading TFDS needs tensorflow-datasets: pip install 'rewardjax[tfds]'"
        ) from None
    if (pathlib.Path(where) / "features.json").exists():
        foreign_files.refuse_pipes(pathlib.Path(where))
        with _readable(where):
            builder = tfds.builder_from_directory(where)
    else:
        try:
            builder = tfds.builder(where)
        except (registered.DatasetNotFoundError, ValueError) as error:
            # Its message lists every data set there is.
            reason = str(error).strip().split("\n")[0]
            raise FileNotFoundError(
                f"tfds:{where}: TFDS has no such data set ({reason:.200}); a data set on disk is "
                "named by its folder, the one with features.json in it"
            ) from None
        builder.download_and_prepare(file_format="array_record")
    chosen = choose(sorted(builder.info.splits), split, where)
    return TfdsSource(builder, chosen, name or f"{builder.info.name}/{chosen}")


@contextlib.contextmanager
def _readable(folder: str | pathlib.Path) -> Iterator[None]:
    """Raise what goes wrong with the files of a data set as one sentence with its folder."""
    try:
        yield
    # For files that are cut off, missing or of another shape TFDS raises errors of all the
    # libraries below it.
    except Exception as error:
        raise ValueError(
            f"{folder}: not a TFDS data set that can be read ({type(error).__name__}: "
            f"{' '.join(str(error).split()):.200}); fetch or build it again"
        ) from None


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
