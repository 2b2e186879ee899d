"""Training from Python on a list of dicts: the run of `rewardjax train` on data of one's own."""

import contextlib
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from rewardjax import config as config_lib
from rewardjax import own_data
from rewardjax.command import errors, job
from rewardjax.command.exit_codes import ExitCode
from rewardjax.io import files, storage
from rewardjax.models.checkpoints.checkpoints import steps_of
from rewardjax.training import loop

RECORDS = "records.jsonl"  # in the run's workdir
# The settings that arguments of `fit` stand for.
ARGUMENTS = {"model.folder": "model", "data.source": "records"}


class Fitted(NamedTuple):
    """A finished training run."""

    folder: pathlib.Path
    """what `rewardjax.load`, and every --model, takes."""
    accuracy: float | None
    """on the held-out pairs; None without any."""
    summary: dict[str, Any]
    """the figures of `summary.json`."""


def fit(
    records: Iterable[Mapping[str, Any]],
    *,
    model: str | pathlib.Path,
    output: str | pathlib.Path,
    held_out: str | float = "5%",
    **settings: Any,
) -> Fitted:
    """Train a reward model on records, as `rewardjax train --model M --data FILE` does on a file.

    The records are kept in `output/records.jsonl`; the same call again continues a run that was
    interrupted.

    Args:
        records: dicts, such as `{"prompt": ..., "chosen": ..., "rejected": ...}`; any format that a
            file may have.
        model: what to start from: a folder, ORG/NAME of the hub, or assets:world.
        output: the folder of the run.
        held_out: the share of prompts that accuracy is measured on, as "5%" or 0.05; 0 for none.
        **settings: fields of the config, as `--set` takes them: `seed=1`, and those of sections as
            `**{"schedule.peak": 1e-5}`.

    Raises:
        errors.Refusal: a ValueError, with whatever the command would refuse.
        loop.Preempted: after SIGTERM or SIGINT, when a checkpoint is saved to continue from.
    """
    with _refusing():
        job.refuse("rewardjax.fit")
        for name, argument in ARGUMENTS.items():
            if name in settings:
                raise ValueError(f"{name} is what the argument {argument} says; leave it out")
        source = storage.path_of(output) / RECORDS
        overrides = {"model.folder": str(model), "data.source": str(source), **settings}
        config = config_lib.load(
            f"{own_data.__file__}:held_out={own_data.share_of(str(held_out))}", overrides
        )
        # The run checks this too, but the records come before it.
        if reason := files.unwritable(output, addresses=True):
            raise ValueError(f"output: {reason}")
        _keep(source, _lines(records))
        summary = loop.run(config, output)
    return Fitted(storage.path_of(output), summary.get("heldout/accuracy"), summary)


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """Raise as one kind of error whatever would end the command as a mistake of its user."""
    try:
        yield
    except Exception as error:
        if isinstance(error, errors.Refusal) or errors.exit_code(error) != ExitCode.USER:
            raise
        raise errors.Refusal(errors.sentences(error)) from error


def _lines(records: Iterable[Mapping[str, Any]]) -> str:
    """The records as JSONL."""
    # Either is iterable too, and would be taken for records that are letters or keys.
    if isinstance(records, str | Mapping):
        raise TypeError(f"records: a list of dicts, not one {type(records).__name__}")
    lines = []
    for row, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise TypeError(
                f"records[{row}] is a {type(record).__name__}, not a dict such as "
                '{"prompt": ..., "chosen": ..., "rejected": ...}; a table of pandas gives them by '
                'to_dict("records")'
            )
        try:
            lines.append(json.dumps(dict(record), allow_nan=False) + "\n")
        # ValueError: NaN, infinity, or a list that holds itself.
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"records[{row}] holds what JSON cannot ({error}); use texts, finite numbers of "
                "Python, lists and dicts"
            ) from error
    if not lines:
        raise ValueError("records: there are none; pass at least one preference pair")
    return "".join(lines)


def _keep(path: pathlib.Path, lines: str) -> None:
    """Write the records, unless a run that could be continued has been trained on others."""
    if path.exists() and path.read_text(encoding="utf-8") == lines:
        return
    # Replacing them would take from that run the data that its checkpoints are of.
    if steps_of(path.parent / "checkpoints"):
        raise ValueError(
            f"{path.parent} holds a run on other records; name another output, or pass those of "
            f"its {RECORDS} to continue it"
        )
    files.make_folder(path.parent)
    with files.replacing(path) as part:
        part.write_text(lines, encoding="utf-8")
