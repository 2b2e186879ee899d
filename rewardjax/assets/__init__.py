"""Files that ship with the package: `assets:world` is the world's tokenizer and backbone."""

import pathlib

SCHEME = "assets:"


def resolve(folder: str) -> pathlib.Path:
    """The path that `folder` names: `assets:NAME` is a folder of the package, or `folder` itself.

    Raises FileNotFoundError if it is not there.
    """
    path = _path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder ({path.absolute()})")
    return path


def text(name: str) -> str:
    """The text of a file that ships with the package."""
    return (pathlib.Path(__file__).parent / name).read_text(encoding="utf-8")


def exists(folder: str) -> bool:
    """Whether there is a folder that `resolve` would give."""
    return _path(folder).is_dir()


def _path(folder: str) -> pathlib.Path:
    if folder.startswith(SCHEME):
        return pathlib.Path(__file__).parent / folder.removeprefix(SCHEME)
    return pathlib.Path(folder)
