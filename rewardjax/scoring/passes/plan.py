"""What a pass is: the input, the model and the settings that all of its workers must share."""

import json
import pathlib
from typing import NamedTuple

from rewardjax.io import files
from rewardjax.scoring.passes import records

FILE = "plan.json"
UNIT = 2048  # records: a few seconds of a small model's work, some minutes of a large one's


class Plan(NamedTuple):
    """A pass over one input with one model."""

    input: str
    records: int
    data: str  # fingerprint of the input
    model: str  # fingerprint of the weights
    contract: str  # fingerprint of the score contract
    settings: str  # fingerprint of how records are read
    unit: int  # records

    @property
    def units(self) -> int:
        """How many units the input has; the last one may be smaller."""
        return -(-self.records // self.unit)


def name_of(unit: int) -> str:
    """A unit's name in files."""
    return f"{unit:05d}"


def join(folder: pathlib.Path, plan: Plan) -> None:
    """Begin a pass in `folder`, or work on the one that is there.

    Raises:
        ValueError: where that is another pass; the message names what differs.
    """
    files.make_folder(folder)
    path = folder / FILE
    # Of several workers that start at once one makes the plan, and the others read it.
    files.create(path, json.dumps(plan._asdict(), indent=1) + "\n")
    other = Plan(**records.read(path, Plan._fields))
    differing = [name for name in Plan._fields if getattr(plan, name) != getattr(other, name)]
    if differing:
        raise ValueError(
            f"{folder} holds a pass that differs in {', '.join(differing)} (it scores "
            f"{other.input}); finish it by its own command, remove the folder, or name another "
            "--output"
        )
