"""The metrics of a run, one JSON line per step.

One process writes them; reports and resumed runs read them again.
"""

import json
import math
import os
import pathlib
import sys
import textwrap
import time
from collections.abc import Mapping
from io import RawIOBase
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from rewardjax import fingerprint
from rewardjax.io import files, storage
from rewardjax.reporting import metric_names

METRICS_FILE = "metrics.jsonl"
OWN_FIELDS = {"step", "time", "nonfinite", "start_step"}  # of a line, so no metric may have them


class MetricWriter:
    """Appends metrics to a JSON Lines file, and to TensorBoard and Weights & Biases when asked.

    The file is `workdir/metrics.jsonl`. Only process 0 writes anything. A line is {"step": ...,
    "time": seconds since 1970, name: value, ...}; a value that is not finite is null, and its name
    and value are listed under "nonfinite".

    Args:
        workdir: where the file is written.
        run: the run's workdir, by which Weights & Biases knows it again; by default the same.
        start_step: the first step that this process may write; it supersedes earlier lines from
            that step on.
        config: the run's settings as plain values, for TensorBoard and Weights & Biases.
        tensorboard: write event files under `workdir/tensorboard`.
        wandb: keyword arguments of `wandb.init`, such as a project and a name, or True for none.
    """

    def __init__(
        self,
        workdir: str | pathlib.Path,
        *,
        run: pathlib.Path | None = None,
        start_step: int = 0,
        config: Mapping[str, Any] | None = None,
        tensorboard: bool = True,
        wandb: bool | Mapping[str, Any] = False,
    ):
        self._file: RawIOBase | None = None
        self._is_full = False
        self._tensorboard = self._wandb = None
        if jax.process_index() != 0:
            return
        workdir = pathlib.Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        path = workdir / METRICS_FILE
        _drop_half_a_line(path)
        # Appended, never rewritten: lines that a resumed run supersedes still say what happened.
        # Without a buffer: what could not be written must not come out with a later line.
        self._path, self._file = path, open(path, "ab", buffering=0)
        self._append({"start_step": start_step, "time": time.time()})
        if tensorboard:
            from tensorboardX import SummaryWriter

            self._tensorboard = SummaryWriter(str(workdir / "tensorboard"), purge_step=start_step)
            if config:
                # Four blanks are a block of code in Markdown, as which TensorBoard shows texts.
                text = textwrap.indent(json.dumps(config, indent=2), "    ")
                self._tensorboard.add_text("config", text, start_step)
        if wandb:
            options = wandb_options(wandb)
            self._wandb = _start_wandb(workdir, run or workdir, config or {}, options)

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Record numbers (Python, numpy or JAX scalars), strings or None.

        Raises ValueError for arrays and for the names that a line has itself.
        """
        reserved = OWN_FIELDS & set(metrics)
        if reserved:
            raise ValueError(f"metrics: the names {sorted(reserved)} are the writer's own")
        if self._file is None:
            return
        record, nonfinite = _split(metrics)
        if nonfinite:
            record["nonfinite"] = nonfinite
        self._append({"step": int(step), "time": time.time(), **record})
        numbers = {}
        for name, value in record.items():
            if isinstance(value, (int, float)):
                numbers[metric_names.grouped(name)] = value
        if self._tensorboard is not None:
            for name, value in numbers.items():
                self._tensorboard.add_scalar(name, value, int(step))
        if self._wandb is not None:
            self._wandb.log(numbers, step=int(step))

    def _append(self, record: Mapping[str, Any]) -> None:
        """Write a line; on a full disk it is lost, which is told, and the run goes on.

        A run that ended here would lose more: the disk may have room before the next save.
        """
        assert self._file is not None
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        size = os.fstat(self._file.fileno()).st_size
        try:
            is_whole = self._file.write(line) == len(line)
        except OSError as error:
            if error.errno not in files.NO_ROOM:
                raise
            is_whole = False
        if is_whole:
            self._is_full = False
            return
        # Half a line would spoil the next one.
        os.truncate(self._path, size)
        if not self._is_full:
            print(
                f"{self._path}: the disk is full, and metrics are lost from step "
                f"{record.get('step', record.get('start_step'))} on until it has room",
                file=sys.stderr,
                flush=True,
            )
        self._is_full = True

    def close(self) -> None:
        """Flush and close every sink. The writer cannot be used afterwards."""
        if self._file is not None:
            self._file.close()
        if self._tensorboard is not None:
            self._tensorboard.close()
        if self._wandb is not None:
            self._wandb.finish()
        self._file = self._tensorboard = self._wandb = None


def read_metrics(workdir: str | pathlib.Path) -> list[dict[str, Any]]:
    """The metrics of a run, one dict per step in the order of steps.

    Superseded lines are dropped, and lines of one step merged, the last value winning. A
    half-written last line is ignored. Raises ValueError naming file and line for anything else that
    is not a metric line.
    """
    path = pathlib.Path(workdir) / METRICS_FILE
    by_step: dict[int, dict[str, Any]] = {}
    # What follows the last line break is empty, or half a line.
    complete_lines = path.read_bytes().split(b"\n")[:-1]
    for number, line in enumerate(complete_lines, 1):
        try:
            record = json.loads(line)
            start, step = record.get("start_step"), record.get("step")
            if not isinstance(start, int) and not isinstance(step, int):
                raise ValueError("neither step nor start_step is a number")
        except (ValueError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{path}, line {number}: not a metric line: {error}; take the line out"
            ) from error
        if start is not None:
            by_step = {step: row for step, row in by_step.items() if step < start}
        else:
            by_step.setdefault(step, {}).update(record)
    return [by_step[step] for step in sorted(by_step)]


def last_step(workdir: str | pathlib.Path) -> int:
    """The last step that the newest start of a run has written, 0 where there is none."""
    path = pathlib.Path(workdir) / METRICS_FILE
    if not path.exists():
        return 0
    steps = [row["step"] for row in read_metrics(workdir)]
    return max(steps, default=0)


def _split(metrics: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Plain values by name, None for those that JSON cannot hold; and these as "name=value"."""
    plain: dict[str, Any] = {}
    nonfinite = []
    for name, value in metrics.items():
        if isinstance(value, (bool, str)) or value is None:
            plain[name] = value
            continue
        if np.ndim(value) != 0:
            raise ValueError(
                f"metric {name}: expected one number, got shape {list(np.shape(value))}"
            )
        number = np.asarray(value).item()
        if math.isfinite(number):
            plain[name] = number
        else:
            plain[name] = None  # NaN in a JSON line would make the whole file unreadable to others
            nonfinite.append(f"{name}={number}")
    return plain, nonfinite


def _drop_half_a_line(path: pathlib.Path) -> None:
    """Cut off what a process that was killed while it wrote has left behind the last line break."""
    if path.exists():
        complete, line_break, _ = path.read_bytes().rpartition(b"\n")
        with open(path, "r+b") as file:
            file.truncate(len(complete) + len(line_break))


def wandb_options(wandb: Any) -> dict[str, Any]:
    """The arguments of `wandb.init` that a setting holds; none for True and False.

    Raises ValueError for what is neither one of these nor names and values.
    """
    if isinstance(wandb, bool):
        return {}
    if not isinstance(wandb, (Mapping, ConfigDict)):
        raise ValueError(
            f"log.writers.wandb = {wandb!r}: True, False, or arguments of wandb.init, as in "
            "{'project': 'mine'}"
        )
    return dict(wandb)


def _start_wandb(
    workdir: pathlib.Path,
    run: pathlib.Path,
    config: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Any:
    """A run of Weights & Biases, named after `run`, whose workdir continues the same run."""
    try:
        import wandb
    except ImportError as error:
        raise ImportError(
            "wandb: the package is not installed; pip install 'rewardjax[wandb]', "
            "or set log.writers.wandb to False"
        ) from error
    run_id = fingerprint.of_bytes(str(storage.whole(run)).encode())
    ours = {"dir": str(workdir), "id": run_id, "resume": "allow", "name": run.name}
    ours |= {"project": "rewardjax", "config": dict(config)}
    return wandb.init(**(ours | dict(options)))
