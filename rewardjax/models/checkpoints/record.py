"""The JSON record of a checkpoint, which says of which step it is and whether it is whole."""

from collections.abc import Mapping
from typing import Any

import jax

from rewardjax import fingerprint

STEP, DTYPES = "step", "dtypes"
# Beside the folder of checkpoints: the newest step that was ever verified there. An emptied folder
# of a run that was saved must not be taken for that of a new one.
LAST_SAVED = "last_saved.json"


def seal(record: dict[str, Any], step: int) -> dict[str, Any]:
    """`record` with its step and a checksum over all of it."""
    return fingerprint.with_checksum(record | {STEP: step})


def refuse_broken(record: dict[str, Any], step: int) -> None:
    """Raise ValueError for a record that was changed, or that is another step's.

    A folder's name says nothing: it may have been copied or renamed.
    """
    if record.get(fingerprint.CHECKSUM) != fingerprint.checksum_of(record):
        raise ValueError("its record does not have the checksum that it was written with")
    if record[STEP] != step:
        raise ValueError(f"it is a copy of step {record[STEP]}")


def dtypes_of(trees: Mapping[str, Any]) -> dict[str, str]:
    """The dtype of every array of some trees, by its path, for the record."""
    leaves = jax.tree_util.tree_leaves_with_path(dict(trees))
    return {jax.tree_util.keystr(path): str(leaf.dtype) for path, leaf in leaves}


class OtherDtype(ValueError):
    """A checkpoint would have to be rounded to be restored; the message names the array."""


def refuse_other_dtypes(record: Mapping[str, Any], trees: Mapping[str, Any], step: int) -> None:
    """Raise OtherDtype where an array would be restored in another dtype than it was saved in.

    Orbax casts without a word. What comes of it is not what was saved, and neither is it damaged.
    """
    # Records of earlier versions do not say it.
    saved = record.get(DTYPES, {})
    for name, dtype in dtypes_of(trees).items():
        if saved.get(name, dtype) != dtype:
            raise OtherDtype(
                f"step {step}: {name} was saved in {saved[name]} and would be restored in {dtype}; "
                "keep the dtypes of the run (optimizer.mu_dtype), or begin anew in another workdir"
            )
