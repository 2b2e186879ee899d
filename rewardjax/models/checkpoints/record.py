"""The JSON record of a checkpoint, which says of which step it is and whether it is whole."""

from typing import Any

from rewardjax import fingerprint

STEP, CHECKSUM = "step", "checksum"
# Beside the folder of checkpoints: the newest step that was ever verified there. An emptied folder
# of a run that was saved must not be taken for that of a new one.
LAST_SAVED = "last_saved.json"


def seal(record: dict[str, Any], step: int) -> dict[str, Any]:
    """`record` with its step and a checksum over all of it."""
    record = record | {STEP: step}
    return record | {CHECKSUM: fingerprint.of_json(record)}


def refuse_broken(record: dict[str, Any], step: int) -> None:
    """Raise ValueError for a record that was changed, or that is another step's.

    A folder's name says nothing: it may have been copied or renamed.
    """
    sealed = {name: value for name, value in record.items() if name != CHECKSUM}
    if record.get(CHECKSUM) != fingerprint.of_json(sealed):
        raise ValueError("its record does not have the checksum that it was written with")
    if record[STEP] != step:
        raise ValueError(f"it is a copy of step {record[STEP]}")
