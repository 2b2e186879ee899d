"""Files of a folder that somebody else made: read as data, never run, and never led out of there.

Nothing that a model or data folder holds is unpickled, imported or unpacked. What it names (the
parts of an index, the target of a link) must lie in the folder; what is no plain file (a pipe, a
device) is refused instead of being waited for.
"""

import json
import pathlib
from typing import Any

from rewardjax.io import storage
from rewardjax.io.files import refuse_pipe, refuse_stand_in

# The largest tokenizer.json in use has 33 MB; one of 180 MB was not parsed in 45 seconds.
LARGEST = 100 << 20


def read_text(path: pathlib.Path, root: pathlib.Path | None = None) -> str:
    """The text of a small file of the folder `root`, by default the one that it lies in.

    Raises:
        FileNotFoundError: where it is not there.
        ValueError: where it is not a file of that folder, too large, or not UTF-8.
    """
    # First of all, since a link to nothing, or in a circle, leads nowhere.
    refuse_stand_in(path)
    refuse_link_out(path, root)
    version = storage.version(path)
    if version is not None and version.size > LARGEST:
        raise ValueError(
            f"{path}: {version.size / 1e6:,.0f} MB, where such a file has at most "
            f"{LARGEST / 1e6:,.0f}; fetch it again"
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error.reason}); fetch it again") from None


def read_object(path: pathlib.Path, root: pathlib.Path | None = None) -> dict[str, Any]:
    """The object in a JSON file. Raises as `read_text`, and ValueError for anything else."""
    text = read_text(path, root)
    try:
        value = json.loads(text)
    # Thousands of brackets, and numbers of thousands of digits, are JSON and of no use.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error}); fetch it again") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: holds {value!r:.40}, not a JSON object; fetch it again")
    return value


def inside(folder: pathlib.Path, name: Any, where: str) -> pathlib.Path:
    """The file of `folder` that another file there names. `where`: what names it, for the message.

    Raises ValueError for a name that leads elsewhere.
    """
    # An index of transformers, and what `datasets` saves, name files beside them.
    is_plain = isinstance(name, str) and pathlib.PurePath(name).name == name
    if not is_plain or name in ("", "..") or "\0" in name:
        raise ValueError(f"{where} names {name!r:.80}, not a file beside it; fetch it again")
    return folder / name


def refuse_pipes(folder: pathlib.Path) -> None:
    """Raise ValueError for a pipe or a device below a folder: whoever opened it would wait."""
    # Nothing but objects is in a bucket.
    if storage.is_address(folder):
        return
    for path in folder.rglob("*"):
        if not path.is_dir():
            refuse_pipe(path)


def refuse_link_out(path: pathlib.Path, root: pathlib.Path | None = None) -> None:
    """Raise ValueError where `path` is a link to something outside of the folder `root`."""
    # A bucket has no links.
    if storage.is_address(path) or not path.is_symlink():
        return
    root = root or path.parent
    home = root.resolve()
    # The hub's cache keeps the contents of all revisions in REPOSITORY/blobs, and
    # REPOSITORY/snapshots/REVISION holds links to them.
    if home.parent.name == "snapshots":
        home = home.parent.parent
    target = path.resolve()
    if home not in target.parents:
        raise ValueError(
            f"{path}: a link to {target}, outside of the folder; copy the file itself there"
        )
