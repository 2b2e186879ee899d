"""Folders by name: `assets:world` ships with the package (the world's tokenizer and backbone)."""

import pathlib

from rewardjax import hub

SCHEME = "assets:"


def resolve(folder: str, *, weights: bool = True) -> pathlib.Path:
    """The path that `folder` names: a folder, `assets:NAME` of the package, or ORG/NAME of the hub.

    A local folder comes before a hub repository of the same name. Without `weights` only the small
    files of a repository are fetched. Raises FileNotFoundError if it is not there, ImportError if
    reading from the hub needs its client library.
    """
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


def _path(folder: str) -> pathlib.Path:
    if folder.startswith(SCHEME):
        return pathlib.Path(__file__).parent / folder.removeprefix(SCHEME)
    return pathlib.Path(folder)
