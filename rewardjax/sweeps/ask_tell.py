"""One trial for a search that chooses the values itself, such as Optuna.

    def objective(trial):
        overrides = {"schedule.peak": trial.suggest_float("peak", 1e-4, 1e-2, log=True)}
        return ask_tell.measure(CONFIG, overrides, "runs/search", trial.number)

    study.optimize(objective, n_trials=20, catch=ask_tell.TrialFailed)

`study.ask()` and `study.tell(trial, figure)` around `measure` do the same by hand.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from rewardjax.sweeps import local, outcomes, preflight, trials


class TrialFailed(RuntimeError):
    """A trial ended without the figure that the search asks for; the message says why."""


def measure(
    config: str,
    overrides: Mapping[str, Any],
    workdir: str | pathlib.Path,
    number: int,
    figure: str = "",
    command: Sequence[str] = local.TRAIN,
) -> float:
    """Train with `overrides` in a folder of its own in `workdir`, and return the figure.

    Args:
        config: `FILE.py:arg`.
        overrides: dotted field -> value, as in a sweep.
        workdir: of the search. A trial with the same config that is done is not run again.
        number: of the trial, the beginning of its folder's name.
        figure: a name in the trial's summary.json; "" is what a sweep would be ranked by.
        command: that trains.

    Raises:
        ValueError: for a mistake in the overrides, the data or the model, before anything runs.
        TrialFailed: for a trial that failed, or that did not measure the figure.
    """
    trial = trials.single(config, number, overrides)
    preflight.refuse_mistakes([trial], config, workdir)
    local.run_local([trial], config, workdir, command=command)
    (outcome,) = outcomes.read(pathlib.Path(workdir), [trial])
    if outcome.status == outcomes.FAILED:
        raise TrialFailed(f"{trial.name} (exit code {outcome.exit_code}): {outcome.sentence}")
    summary = local.read_summary(outcome.home) or {}
    # A search needs one figure; which it is must not depend on what a trial happened to measure.
    name = figure or next(iter(outcomes.headlines(trial)), "")
    if not isinstance(summary.get(name), (int, float)):
        raise TrialFailed(f"{trial.name}: {name or 'a figure'} was not measured")
    return float(summary[name])
