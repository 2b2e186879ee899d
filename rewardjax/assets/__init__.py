"""Folders by name: `assets:world` ships with the package (the world's tokenizer and backbone)."""

import atexit
import functools
import pathlib
import shutil
import tempfile

from rewardjax.io import hub, storage

SCHEME = "assets:"


def resolve(folder: str, *, weights: bool = True) -> pathlib.Path:
    """The path that `folder` names: a folder, `assets:NAME` of the package, or ORG/NAME of the hub.

    A local folder comes before a hub repository of the same name. Without `weights` only the small
    files of a repository are fetched. What an address in object storage holds is copied to the
    temporary folder, once per process. Raises FileNotFoundError if it is not there, ImportError if
    reading from the hub needs its client library.
    """
    if storage.is_address(folder):
        return _fetched(folder, weights)
    path = _path(folder)
    if path.is_dir():
        return path
    if hub.is_repository(folder):
        return hub.model(folder, weights=weights)
    if path.exists():
        raise FileNotFoundError(f"{folder} is a file; name the folder of the model or tokenizer")
    raise FileNotFoundError(f"{folder}: no such folder ({path.absolute()})")


def text(name: str) -> str:
    """The text of a file that ships with the package."""
    return (pathlib.Path(__file__).parent / name).read_text(encoding="utf-8")


def exists(folder: str) -> bool:
    """Whether there is a folder of that name on this machine."""
    return _path(folder).is_dir()


@functools.cache
def _fetched(address: str, weights: bool) -> pathlib.Path:
    place = storage.path_of(address)
    home = pathlib.Path(tempfile.mkdtemp(prefix="rewardjax-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    # Its messages name the folder: the copy is called as it is.
    folder = home / place.name
    leave = ".safetensors"
    if weights:
        leave = ""
    with storage.asked(address):
        storage.download_folder(place, folder, leave)
    if not folder.is_dir():
        raise FileNotFoundError(f"{address}: nothing in the bucket has a name that begins so")
    return folder


def _path(folder: str) -> pathlib.Path:
    if folder.startswith(SCHEME):
        return pathlib.Path(__file__).parent / folder.removeprefix(SCHEME)
    return pathlib.Path(folder)
