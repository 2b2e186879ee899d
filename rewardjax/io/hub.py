"""Repositories of the Hugging Face hub, models' and data sets', fetched by its client library.

Everything lands in the client's cache (HF_HOME), and a job without a network reads what is there.
A name is ORG/NAME, with `@REVISION` behind it for a branch, a tag or a commit; of a data set also
hf://ORG/NAME[@REVISION][/FOLDER].
"""

import os
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

PREFIX = "hf://"
DATA_SETS = "datasets/"  # how the hub's own addresses begin that of a data set
SPELLING = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)"
    # The hub's own revisions hold slashes: the Parquet form of a data set, and pull requests.
    r"(@(?P<revision>refs/(convert|pr)/[^/@]+|[^/@]+))?(/(?P<folder>.*))?"
)
# The root of a repository only: folders inside repeat the weights in the formats of other readers.
SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model")
WEIGHTS = ("*.safetensors",)
LEFT_OUT = ("*/*", "consolidated*")  # Mistral's name for a second copy of the weights
CARD = "README.md"  # names a data set's configurations and splits


class Address(NamedTuple):
    """A repository, the revision of it that is meant (None: its main branch), a folder in it."""

    repository: str
    revision: str | None
    folder: str


# What this process has read, by (kind, repository, revision): the files of one run come from one
# commit, and a name is looked up once.
_folders: dict[tuple[str, str, str | None, tuple[str, ...]], pathlib.Path] = {}


def address(name: str) -> Address:
    """What a name says. Raises ValueError for one that is spelled otherwise."""
    spelled = SPELLING.fullmatch(name.removeprefix(PREFIX).removeprefix(DATA_SETS).rstrip("/"))
    if spelled is None:
        raise ValueError(
            f"{name}: not the name of a repository of the hub, which is ORG/NAME, with @REVISION "
            f"behind it for another one than the newest ({PREFIX}ORG/NAME@REVISION/FOLDER for a "
            "folder of a data set)"
        )
    return Address(spelled["repository"], spelled["revision"], spelled["folder"] or "")


def is_repository(name: str) -> bool:
    """Whether `name` is written like ORG/NAME and cannot be meant as a local path.

    `runs/world`, mistyped in a folder that has `runs`, is a path.
    """
    if name.startswith(PREFIX):
        return True
    owner, _, _ = name.partition("/")
    spelled = SPELLING.fullmatch(name)
    return spelled is not None and spelled["folder"] is None and not os.path.exists(owner)


def model(name: str, *, weights: bool) -> pathlib.Path:
    """The local folder of a model's repository.

    Without `weights` only configs and tokenizer are fetched. Raises ImportError without
    huggingface_hub, FileNotFoundError where the repository can neither be reached nor is cached.
    """
    patterns = SMALL_FILES
    if weights:
        patterns += WEIGHTS
    return _snapshot(name, "model", patterns, LEFT_OUT)


def data_set(name: str, suffixes: Sequence[str]) -> pathlib.Path:
    """The local folder of a data set's repository, with the files of these suffixes and its card.

    Where the name goes on, the folder, file or glob inside. Raises as `model` does, and
    FileNotFoundError for a place that is not in the repository.
    """
    inner = address(name).folder
    patterns = [CARD, *(f"*{suffix}" for suffix in suffixes)]
    if inner:
        # What lies beside it may be hundreds of gigabytes of other languages.
        patterns = [CARD, inner, *(f"{inner}/*{suffix}" for suffix in suffixes)]
    root = _snapshot(name, "dataset", tuple(patterns))
    if inner and not any(root.glob(inner)):
        raise FileNotFoundError(
            f"{name}: the repository has no data in {inner}; leave that out to see its splits"
        )
    return root / inner


def commits() -> dict[str, str]:
    """The commit of every repository that this process has read, by name: for a run's record."""
    return {
        "@".join(filter(None, (repository, revision))): folder.name
        for (_, repository, revision, _), folder in _folders.items()
    }


def _snapshot(
    name: str, kind: str, patterns: tuple[str, ...], left_out: Sequence[str] = ()
) -> pathlib.Path:
    """The root of a repository in the client's cache, whose name is the commit."""
    repository, revision, _ = address(name)
    key = (kind, repository, revision, patterns)
    if key in _folders:
        return _folders[key]
    try:
        import huggingface_hub
    except ImportError:
        raise ImportError(
            f"{name}: there is no such folder here, and reading from the hub needs "
            "huggingface_hub: pip install 'rewardjax[hub]'"
        ) from None
    try:
        folder = huggingface_hub.snapshot_download(
            repository,
            repo_type=kind,
            revision=revision,
            allow_patterns=list(patterns),
            ignore_patterns=list(left_out),
        )
    except Exception as error:  # the hub's own errors, the HTTP client's, the cache's
        reason = str(error).strip().splitlines()[0]
        raise FileNotFoundError(
            f"{name}: there is no such folder here, and the hub's {kind} of that name is "
            f"neither in the cache ({huggingface_hub.constants.HF_HUB_CACHE}) nor to be had "
            f"({type(error).__name__}: {reason}); {_remedy(error, revision)}"
        ) from error
    _folders[key] = pathlib.Path(folder)
    return _folders[key]


def _remedy(error: Exception, revision: str | None) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.RevisionNotFoundError):
        return f"the repository is there, but has no branch, tag or commit {revision}"
    if isinstance(error, errors.GatedRepoError):
        return "accept its terms on its page at the hub, and set HF_TOKEN"
    return "check the name and the network, and set HF_TOKEN for a private or gated one"
