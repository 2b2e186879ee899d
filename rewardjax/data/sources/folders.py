"""Folders of data: what `save_to_disk` wrote, and data set repositories with their splits."""

import os
import pathlib
import re

from rewardjax.data.sources import card
from rewardjax.data.sources.files import NAMED, Source, is_data
from rewardjax.data.sources.splits import SplitError, choose
from rewardjax.io import foreign_files, storage

# Files that `datasets` and the hub put beside the data.
DESCRIPTIONS = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json")

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


def open_folder(folder: pathlib.Path, split: str | None, name: str) -> Source:
    """The records of a folder's only split, or of the one that is named.

    Raises FileNotFoundError without data in it, ValueError for a split that must be named or that
    there is not.
    """
    # save_to_disk of several splits makes one folder each.
    if (folder / "dataset_dict.json").exists():
        description = folder / "dataset_dict.json"
        splits = foreign_files.read_object(description).get("splits")
        if not isinstance(splits, list) or not splits:
            raise ValueError(f"{description}: names no splits; copy the folder again")
        for name_of_split in splits:
            foreign_files.inside(folder, name_of_split, str(description))
        chosen = choose(splits, split, folder)
        return _open_saved(folder / chosen, f"{name}/{chosen}")
    if (folder / "state.json").exists():
        if split is not None:
            raise SplitError(f"split = {split!r}: {folder} holds one saved data set without splits")
        return _open_saved(folder, name)
    files = [file for file in files_below(folder) if _is_data(file.relative_to(folder))]
    if not files:
        raise FileNotFoundError(f"{folder}: no {NAMED} file and no saved data set in it")
    # Any other folder is taken for a data set repository, whose card or file names say what the
    # splits are.
    by_split = _declared(folder, files) or _by_name(folder, files)
    # By the hub's rule train_prefs.jsonl is `train`, and so is train_sft.jsonl beside it: whoever
    # names a file without its suffix means that file alone.
    stems = [file for file in files if file.name.split(".")[0] == split]
    if split is not None and split not in by_split and stems:
        by_split = {split: stems}
    chosen = choose(sorted(by_split), split, folder)
    # The name goes into reports: a split that nobody had to name is not mentioned.
    if split is not None:
        name = f"{name}/{chosen}"
    return Source(name, by_split[chosen])


def _declared(folder: pathlib.Path, files: list[pathlib.Path]) -> dict[str, list[pathlib.Path]]:
    """The files of each split that the folder's card declares, as far as they are there."""
    by_split = {}
    for split, patterns in card.splits(folder).items():
        matches = set()
        for pattern in patterns:
            matches |= set(folder.glob(pattern))
        of_split = [file for file in files if file in matches]
        if of_split:
            by_split[split] = of_split
    return by_split


def _by_name(folder: pathlib.Path, files: list[pathlib.Path]) -> dict[str, list[pathlib.Path]]:
    by_split: dict[str, list[pathlib.Path]] = {}
    for file in files:
        by_split.setdefault(_split_of(file.relative_to(folder)), []).append(file)
    return by_split


def files_below(folder: pathlib.Path) -> list[pathlib.Path]:
    """All files below a folder, those of linked folders too but not of hidden ones, in order.

    Raises OSError for a folder that may not be read, whose data would be missing without a word.
    """
    if storage.is_address(folder):
        return storage.files_below(folder)

    def refuse(error: OSError) -> None:
        raise OSError(error.errno, error.strerror, error.filename)

    files, visited = [], set()
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        # A link may lead back to a folder above it.
        visited.add(os.path.realpath(place))
        below = []
        for name in folders:
            # Of a tool, such as .git, which has files by the thousand.
            is_hidden = name.startswith(".")
            if not is_hidden and os.path.realpath(os.path.join(place, name)) not in visited:
                below.append(name)
        folders[:] = below
        files += [pathlib.Path(place, name) for name in names]
    return sorted(files)


def _is_data(path: pathlib.Path) -> bool:
    """Of a known kind, not hidden, and not the description that tools put beside the data."""
    is_hidden = any(part.startswith(".") for part in path.parts)
    return is_data(path.name) and not is_hidden and path.name not in DESCRIPTIONS


def _split_of(path: pathlib.Path) -> str:
    """Split of a file in a data set repository, as the hub finds it.

    NAME-00000-of-00001.parquet, else a split word in the file's name, else in a folder's, else
    train.
    """
    match = re.match(r"(.+)-\d+-of-\d+", path.name)
    # save_to_disk calls the files of every split `data`; there the folder is the split.
    if match and match[1] != "data":
        return match[1]
    # From the file up: in "test/train-examples.json" the file's own name decides.
    for part in reversed(path.parts):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in SPLIT_WORDS:
                return SPLIT_WORDS[word]
    return "train"


def _open_saved(folder: pathlib.Path, name: str) -> Source:
    """A data set that `save_to_disk` wrote."""
    description = folder / "state.json"
    state = foreign_files.read_object(description)
    # A shuffled or filtered data set is saved as all rows and a list of indices, which is not read
    # here.
    if state.get("_indices_data_files"):
        raise ValueError(
            f"{folder}/state.json: _indices_data_files is set: call flatten_indices() before "
            "save_to_disk"
        )
    entries = state.get("_data_files")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{description}: names no files (_data_files); copy the folder again")
    names = [entry.get("filename") for entry in entries]
    return Source(name, [foreign_files.inside(folder, file, str(description)) for file in names])
