"""What a run reports while it runs: metric lines, a progress line with an ETA, and speed against the hardware's peak."""

import contextlib
import json
import math
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO

import jax
import numpy as np
from tqdm import tqdm

from rewardjax import fingerprint

METRICS_FILE = "metrics.jsonl"


# ---------------------------------------------------------------------------------------------------------------- metric lines


def _split(metrics: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Plain values by name, and "name=value" for those that JSON cannot hold: null in the former, so that a record stays readable."""
    plain, nonfinite = {}, []
    for name, value in metrics.items():
        if isinstance(value, (bool, str)) or value is None:
            plain[name] = value
            continue
        if np.ndim(value) != 0:
            raise ValueError(
                f"metric {name}: expected one number, got shape {list(np.shape(value))}"
            )
        number = np.asarray(value)
        plain[name] = int(number) if np.issubdtype(number.dtype, np.integer) else float(number)
        if not math.isfinite(plain[name]):
            nonfinite.append(f"{name}={plain[name]}")
            plain[name] = None
    return plain, nonfinite


def _append(file: TextIO, record: Mapping[str, Any]) -> None:
    file.write(json.dumps(record, allow_nan=False) + "\n")
    file.flush()


class MetricWriter:
    """Appends metrics to `workdir/metrics.jsonl`, and to TensorBoard and Weights & Biases when asked. Only process 0 writes anything.

    A line is {"step": ..., "time": seconds since 1970, name: value, ...}; a value that is not finite is null and its name and value are
    listed under "nonfinite". `start_step` is the first step that this process may write: on resume it supersedes earlier lines with step
    >= start_step. tensorboard: event files under `workdir/tensorboard`. wandb: keyword arguments of `wandb.init`."""

    def __init__(
        self,
        workdir: str | pathlib.Path,
        *,
        start_step: int = 0,
        tensorboard: bool = True,
        wandb: bool | Mapping[str, Any] = False,
    ):
        self._file: TextIO | None = None
        self._tensorboard = self._wandb = None
        if jax.process_index() != 0:
            return
        workdir = pathlib.Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        path = workdir / METRICS_FILE
        if path.exists():  # a process killed while it wrote leaves half a line
            complete = path.read_bytes().rpartition(b"\n")
            with open(path, "r+b") as file:
                file.truncate(len(complete[0]) + len(complete[1]))
        self._file = open(path, "a", encoding="utf-8")
        _append(self._file, {"start_step": start_step, "time": time.time()})
        if tensorboard:
            from tensorboardX import SummaryWriter

            self._tensorboard = SummaryWriter(str(workdir / "tensorboard"), purge_step=start_step)
        if wandb:
            try:
                import wandb as wandb_lib
            except ImportError as error:
                raise ImportError(
                    "wandb: the package is not installed; pip install 'rewardjax[wandb]', or set wandb to False"
                ) from error
            run_id = fingerprint.of_bytes(
                str(workdir.resolve()).encode()
            )  # the same workdir continues the same run
            kwargs = {
                "dir": str(workdir),
                "id": run_id,
                "resume": "allow",
                **(wandb if isinstance(wandb, Mapping) else {}),
            }
            self._wandb = wandb_lib.init(**kwargs)

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Record numbers (Python, numpy or JAX scalars), strings or None. Raises ValueError for arrays and for reserved names."""
        reserved = {"step", "time", "nonfinite", "start_step"} & set(metrics)
        if reserved:
            raise ValueError(f"metrics: the names {sorted(reserved)} are the writer's own")
        if self._file is None:
            return
        plain, nonfinite = _split(metrics)
        _append(
            self._file,
            {
                "step": int(step),
                "time": time.time(),
                **plain,
                **({"nonfinite": nonfinite} if nonfinite else {}),
            },
        )
        numbers = {name: value for name, value in plain.items() if isinstance(value, (int, float))}
        if self._tensorboard is not None:
            for name, value in numbers.items():
                self._tensorboard.add_scalar(name, value, int(step))
        if self._wandb is not None:
            self._wandb.log(numbers, step=int(step))

    def close(self) -> None:
        """Flush and close every sink. The writer cannot be used afterwards."""
        for sink, end in (
            (self._file, "close"),
            (self._tensorboard, "close"),
            (self._wandb, "finish"),
        ):
            if sink is not None:
                getattr(sink, end)()
        self._file = self._tensorboard = self._wandb = None


def read_metrics(workdir: str | pathlib.Path) -> list[dict[str, Any]]:
    """The metrics of a run, one dict a step in order of steps: superseded lines dropped, lines of one step merged, the last value winning.

    A half-written last line is ignored. Raises ValueError naming file and line for anything else that is not a metric line."""
    path = pathlib.Path(workdir) / METRICS_FILE
    by_step: dict[int, dict[str, Any]] = {}
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            record = json.loads(line)
            start, step = record.get("start_step"), record.get("step")
            if start is None and step is None:
                raise ValueError("neither step nor start_step")
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{path}, line {number}: not a metric line: {error}") from error
        if start is not None:
            by_step = {step: row for step, row in by_step.items() if step < start}
        else:
            by_step.setdefault(step, {}).update(record)
    return [by_step[step] for step in sorted(by_step)]


# ---------------------------------------------------------------------------------------------------------------- FLOPs and peaks


# ---------------------------------------------------------------------------------------------------------------- progress and speed


def _clock_text(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class Progress:
    """Progress of a run of `total_steps`: a tqdm line on a terminal, else a plain line every `interval` seconds; and speed figures.

    start_step, elapsed: where a resumed run continues (`elapsed` is the `state()` that was saved). Evaluation and other interruptions go
    into `with progress.paused():` and count neither in speed nor in elapsed time. The first update only starts the clock of speed and
    ETA, so compilation is not in them. peak: FLOP/s of all devices together, None where unknown. quiet: show nothing (processes other
    than 0)."""

    def __init__(
        self,
        total_steps: int,
        *,
        start_step: int = 0,
        elapsed: float = 0.0,
        peak: float | None = None,
        interval: float = 10.0,
        stream: TextIO | None = None,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._total, self._step, self._peak, self._interval, self._clock = (
            total_steps,
            start_step,
            peak,
            interval,
            clock,
        )
        self._stream = stream or sys.stderr
        self._elapsed_before, self._start, self._pause = elapsed, clock(), 0.0
        self._pace_start: tuple[int, float] | None = (
            None  # step and running time of the first update
        )
        self._window_start: float | None = None
        self._last_line = -math.inf
        self._counts: dict[str, float] = {
            "pairs": 0.0,
            "unique_tokens": 0.0,
            "padded_tokens": 0.0,
            "flops": 0.0,
        }
        self._shown: dict[str, float] = {}
        self._quiet = quiet
        is_terminal = not quiet and self._stream.isatty()
        self._bar = (
            tqdm(
                total=total_steps,
                initial=start_step,
                file=self._stream,
                dynamic_ncols=True,
                bar_format="{desc}{bar}{postfix}",
            )
            if is_terminal
            else None
        )

    def _running(self) -> float:
        """Seconds since this object was made, without pauses."""
        return self._clock() - self._start - self._pause

    def state(self) -> float:
        """Seconds spent on the run so far, over all restarts and without pauses: what to save with a checkpoint."""
        return self._elapsed_before + self._running()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time in this block does not count."""
        begin = self._clock()
        try:
            yield
        finally:
            self._pause += self._clock() - begin

    def eta(self) -> float | None:
        """Seconds left at the mean pace since the first update; None before the second."""
        if self._pace_start is None or self._step == self._pace_start[0]:
            return None
        step, begin = self._pace_start
        return (self._total - self._step) * (self._running() - begin) / (self._step - step)

    def update(
        self,
        step: int,
        *,
        pairs: int,
        unique_tokens: int,
        padded_tokens: int,
        flops: float = 0.0,
        **shown: float,
    ) -> None:
        """`step` steps are done; the counts are of what was done since the last update, over all hosts.

        shown: numbers to show on the line, such as the loss.
        unique_tokens: real tokens, a shared prefix once. padded_tokens: row slots. flops: `train_flops`."""
        self._step, self._shown = step, shown
        now = self._running()
        if self._pace_start is None:
            self._pace_start, self._window_start = (step, now), now
        else:
            counts = dict(
                pairs=pairs, unique_tokens=unique_tokens, padded_tokens=padded_tokens, flops=flops
            )
            self._counts = {name: self._counts[name] + value for name, value in counts.items()}
        if not self._quiet:
            self._show(now)

    def rates(self) -> dict[str, float]:
        """Speed since the last call, for logging: pairs, useful and padded tokens a second, MFU where the peak is known; {} without data.

        MFU = useful FLOPs / (seconds * peak)."""
        rates = self._rates()
        if rates:
            self._window_start = self._running()
            self._counts = dict.fromkeys(self._counts, 0.0)
        return rates

    def _rates(self) -> dict[str, float]:
        seconds = 0.0 if self._window_start is None else self._running() - self._window_start
        if seconds <= 0 or not self._counts["pairs"]:
            return {}
        per_second = {name: value / seconds for name, value in self._counts.items()}
        rates = {
            "pairs_per_second": per_second["pairs"],
            "useful_tokens_per_second": per_second["unique_tokens"],
            "padded_tokens_per_second": per_second["padded_tokens"],
        }
        if self._peak and per_second["flops"]:
            rates["mfu"] = per_second["flops"] / self._peak
        return rates

    def line(self) -> str:
        """The progress line as text."""
        eta, rates = self.eta(), self._rates()
        parts = [
            f"step {self._step}/{self._total} ({100 * self._step / max(self._total, 1):.0f}%)",
            f"elapsed {_clock_text(self.state())}",
        ]
        parts += [f"ETA {_clock_text(eta)}"] if eta is not None else []
        if rates:
            parts.append(
                f"{rates['pairs_per_second']:.3g} pairs/s, {rates['useful_tokens_per_second']:.3g} tokens/s"
            )
        parts += [f"MFU {100 * rates['mfu']:.1f}%"] if "mfu" in rates else []
        return ", ".join(parts + [f"{name} {value:.4g}" for name, value in self._shown.items()])

    def _show(self, now: float) -> None:
        if self._bar is not None:
            self._bar.n = self._step
            self._bar.set_description_str(self.line() + " ")
        elif now - self._last_line >= self._interval or self._step >= self._total:
            self._last_line = now
            print(self.line(), file=self._stream, flush=True)

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self._bar is not None:
            self._bar.close()
