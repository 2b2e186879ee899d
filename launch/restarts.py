"""How often a job is started again: without end while it makes progress.

A week on preemptible machines sees many failures, and none of them matters as long as checkpoints
are made in between. What must not go on for ever is a job that fails before its next one. So a
restart counts where no new verified checkpoint was made since the one before, and one that was
sets the count back to 0.
"""

import contextlib
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from rewardjax.command.exit_codes import FATAL, UNCOUNTED, ExitCode
from rewardjax.io import own_files
from rewardjax.models.checkpoints.record import LAST_SAVED

# Whoever ends so is not started again: a restart would do nothing, or meet the same thing.
FINAL = (ExitCode.DONE, ExitCode.WAITS, *FATAL)


class Spent(NamedTuple):
    """What is used up of a budget of restarts."""

    restarts: int  # in a row, without a new checkpoint
    newest: int | None  # the newest step that was verified when they were counted

    def after(self, code: int, newest: int | None) -> "Spent":
        """The same after an end with `code`, when `newest` is the newest verified step."""
        # Not only a higher step: after a fallback a new checkpoint may have a lower one.
        if newest != self.newest:
            return Spent(0, newest)
        if code in UNCOUNTED:
            return self
        return Spent(self.restarts + 1, newest)


def newest_verified(workdir: pathlib.Path | None) -> int | None:
    """The step that a run in `workdir` last saved and verified; None where there is none."""
    if workdir is None or not (workdir / LAST_SAVED).exists():
        return None
    # A trainer refuses to go on from it, and says so itself.
    with contextlib.suppress(own_files.Damaged):
        return own_files.read(workdir / LAST_SAVED, ["step"])["step"]
    return None


def workdir_of(command: Sequence[str]) -> pathlib.Path | None:
    """The workdir that an argv names by `--workdir=DIR` or `--workdir DIR`; None without one."""
    for place, word in enumerate(command):
        name, equals, value = word.partition("=")
        if name != "--workdir":
            continue
        if not equals:
            value = "".join(command[place + 1 : place + 2])
        return pathlib.Path(value)
    return None
