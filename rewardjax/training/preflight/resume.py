"""Which run a workdir holds, and whether the run at hand is the same one."""

import pathlib
from typing import Any

from rewardjax import config as config_lib
from rewardjax import defaults

# What a resumed run may change: how and where it is computed, saved and shown, never what is
# computed. Files may move: their contents are compared by fingerprint.
MAY_CHANGE = (
    "mesh",
    "compute",
    "evals",
    "benchmarks",
    "eval_every",
    "checkpoint",
    "skips",
    "recheck",
    "hang",
    "log",
    "batch.row_length",
    "batch.rows",
    "batch.pairs_per_row",
    "batch.responses",
    "tokenizer.folder",
    "model.folder",
    "data.source",
    "data.split",
    "data.cache",
    "data.workers",
    "data.most_untokenized",
)


class ResumeRefused(ValueError):
    """The workdir holds a run of other data, tokenizer or config; the message names each field."""


def refuse_if_changed(saved: dict[str, Any], now: dict[str, Any], workdir: pathlib.Path) -> None:
    """Raise ResumeRefused naming every field in which the saved run and the one at hand differ.

    Both are `{"config": ..., "data": fingerprint, ...}`. The fields of MAY_CHANGE are left out, and
    a field that one of the two configs lacks, since it did not exist then, has its default.
    """
    lines = config_lib.difference(_with_every_field(saved), _with_every_field(now))
    changed = [line for line in lines if not _may_change(line)]
    if changed:
        raise ResumeRefused(
            f"{workdir} holds a run that differs in these fields; use another --workdir, or change "
            f"them back:\n  " + "\n  ".join(changed)
        )


def _may_change(line: str) -> bool:
    """Whether a line of `difference` is about a field of MAY_CHANGE, or one of a section there."""
    name = line.partition(":")[0].removeprefix("config.")
    return any(name == field or name.startswith(f"{field}.") for field in MAY_CHANGE)


def _with_every_field(bound: dict[str, Any]) -> dict[str, Any]:
    return bound | {"config": config_lib.complete(bound["config"], defaults.training())}
