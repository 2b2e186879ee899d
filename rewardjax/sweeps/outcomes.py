"""What became of each trial: its figures, or the sentence by which it failed."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax.command.exit_codes import ExitCode
from rewardjax.sweeps import local
from rewardjax.sweeps.trials import Trial

DONE, FAILED, UNFINISHED, NOT_RUN = "done", "failed", "not finished", "not run"
SECONDS = "seconds"


class Outcome(NamedTuple):
    """What became of a trial: figures by name where it is done, a sentence where it failed."""

    trial: Trial
    status: str
    home: pathlib.Path
    figures: dict[str, float]
    sentence: str = ""
    exit_code: int | None = None


def read(workdir: pathlib.Path, trials: Sequence[Trial]) -> list[Outcome]:
    """One outcome per trial, from what is in the folder of the sweep."""
    attempts = _last_attempts(workdir / local.RESULTS)
    return [_outcome(workdir, trial, attempts.get(trial.id)) for trial in trials]


def headlines(trial: Trial) -> list[str]:
    """Names of the figures that a sweep compares, the one that ranks it first.

    That is what the checkpoints are kept by, where the config says so; then the accuracy of each
    held-out set and the headline of each benchmark. More is better for all of them.
    """
    config = trial.resolved
    figures: list[str] = []
    best = config.get("checkpoint", {}).get("keep", {}).get("best")
    if best:
        # First: a model is taken from the checkpoint that is best by it, so it is what counts.
        figures.append(best)
    figures += [f"{name}/accuracy" for name in config.get("evals", {})]
    figures += [f"{name}/headline" for name in config.get("benchmarks", {})]
    return list(dict.fromkeys(figures))


def _outcome(workdir: pathlib.Path, trial: Trial, attempt: Mapping[str, Any] | None) -> Outcome:
    home = local.home_of(workdir, trial)
    if local.is_done(home, trial):
        summary = local.read_summary(home) or {}
        # Training's own seconds, over all its starts; an attempt's are those of its last one.
        measured = {SECONDS: (attempt or {}).get(SECONDS)} | summary
        return Outcome(trial, DONE, home, _numbers(measured, [*headlines(trial), SECONDS]))
    # A trial that was stopped goes on when the sweep does: that is nothing to mend.
    if attempt is not None and attempt["exit_code"] != ExitCode.PREEMPTED:
        code = attempt["exit_code"]
        return Outcome(trial, FAILED, home, {}, _sentence(home / local.LOG), code)
    # Also without an attempt that ended: it runs now, or the sweep was killed.
    if home.is_dir():
        return Outcome(trial, UNFINISHED, home, {})
    return Outcome(trial, NOT_RUN, home, {})


def _numbers(summary: Mapping[str, Any], names: Sequence[str]) -> dict[str, float]:
    numbers = {}
    for name in names:
        # A set without a pair with a preference has None in the place of its accuracy.
        if isinstance(summary.get(name), (int, float)):
            numbers[name] = float(summary[name])
    return numbers


def _last_attempts(path: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Trial's id -> the row of its last attempt."""
    if not path.is_file():
        return {}
    last = {}
    # A sweep that was killed while it wrote leaves half a line, after the last line break.
    for line in path.read_bytes().split(b"\n")[:-1]:
        row = json.loads(line)
        last[row["trial"]] = row
    return last


def _sentence(log: pathlib.Path) -> str:
    """The last line of the last attempt in which the command itself says what went wrong."""
    if not log.is_file():
        return "it wrote no log"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    starts = [place for place, line in enumerate(lines) if line.startswith(local.ATTEMPT)]
    # Logs of earlier versions have no line between attempts.
    first = max(starts, default=-1) + 1
    texts = [line for line in lines[first:] if line]
    if not texts:
        return "it ended without a word"
    # Of a traceback or a library's farewell the last line is the most that is known.
    of_command = [line for line in texts if line.startswith("rewardjax")]
    return (of_command or texts)[-1]
