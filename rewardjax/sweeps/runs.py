"""Training runs side by side: seeds folded, ranked by accuracy, curves overlaid, on one page.

    python -m rewardjax.evaluate compare runs/A runs/B runs/C

The runs need not be of one sweep. Each is read as a trial that sets all of its config, so that what
folds and ranks the trials of a sweep does it here too.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from rewardjax import config as config_lib
from rewardjax import fingerprint
from rewardjax.io import own_files
from rewardjax.reporting import page, text_table
from rewardjax.sweeps import outcomes, plots, ranking
from rewardjax.sweeps import page as sweep_page
from rewardjax.sweeps.outcomes import Outcome
from rewardjax.sweeps.trials import Trial
from rewardjax.training import console

CONFIG, METRICS, SUMMARY = "config.json", "metrics.jsonl", "summary.json"
# Where and how fast a set is read: two machines differ in them over one experiment.
NOT_OF_THE_EXPERIMENT = ("cache", "workers")
NO_PAIRED_TEST = (
    "There is no paired test here, since a training run keeps the figures of its held-out sets and "
    "not the rewards of each pair: evaluate each model with `rewardjax evaluate --model RUN --data "
    "FILE` and compare the output folders, whose page has the paired tests."
)


def is_run(folder: str | pathlib.Path) -> bool:
    """Whether `folder` is the workdir of a training run."""
    return all((pathlib.Path(folder) / name).is_file() for name in (CONFIG, METRICS))


def compare(folders: Sequence[str | pathlib.Path], output: pathlib.Path) -> str:
    """Write the page about training runs to `output`; returns its table and remarks as text.

    Raises ValueError for fewer than two runs, a folder that is not a run, one that is there twice
    or has not ended, and where no held-out set or benchmark is common to all.
    """
    homes = [pathlib.Path(folder) for folder in folders]
    _refuse_folders(homes)
    configs = [own_files.read(home / CONFIG, ("evals", "benchmarks")) for home in homes]
    summaries = [own_files.read(home / SUMMARY, (outcomes.SECONDS,)) for home in homes]
    shown = _common_figures(configs, summaries)
    if not shown:
        raise ValueError(
            "the runs have no held-out set or benchmark in common, of the same source and "
            "as many pairs: evaluate each model on the same pairs with rewardjax evaluate --model "
            "RUN --data FILE, and compare the output folders"
        )
    read, names = [], _names(homes)
    for number, home in enumerate(homes):
        summary = summaries[number]
        figures = {name: float(summary[name]) for name in [*shown, outcomes.SECONDS]}
        trial = _trial(number, names[number], configs[number])
        read.append(Outcome(trial, outcomes.DONE, home, figures))
    _refuse_copies(read)
    return _write(read, shown, output)


def _write(read: Sequence[Outcome], shown: Mapping[str, str], output: pathlib.Path) -> str:
    """The page at `output`, its figures in `plots` beside it; returns what a terminal shows."""
    trials = [outcome.trial for outcome in read]
    rows = [_with_names(row, read, shown) for row in ranking.rows(trials, read)]
    ranked_by = ranking.figures(read)[0]
    reading = ranking.reading(trials, read).replace(ranked_by, shown[ranked_by], 1)
    remarks = [reading, NO_PAIRED_TEST]
    figures = {}
    settings = ranking.settings(trials, read)
    for number, (name, title) in enumerate(shown.items()):
        lines, damaged = sweep_page.curves_of(settings, name)
        remarks += [remark for remark in damaged if remark not in remarks]
        if lines:
            caption = f"{title} at each evaluation, a line for each run."
            # By number: a set may be named with letters that no file name takes.
            figures[caption] = output.parent / "plots" / f"curves_{number}.png"
            plots.curves(lines, title, figures[caption])
    page.write_report(
        output,
        "Training runs: " + " and ".join(trial.name for trial in trials),
        {outcome.trial.name: str(outcome.home.resolve()) for outcome in read},
        parts=[
            page.Section("Ranked", remarks, tables={"": rows}),
            page.Section("Curves", figures=figures),
        ],
    )
    return "\n".join([text_table.table(rows), *remarks])


def _with_names(
    row: Mapping[str, str], read: Sequence[Outcome], shown: Mapping[str, str]
) -> dict[str, str]:
    """A row of the ranking with runs by their folders and figures by their sets' sources."""
    named = {}
    for column, value in row.items():
        if column == "trials":
            numbers = value.split(", ")
            named["runs"] = ", ".join(read[int(number)].trial.name for number in numbers)
        else:
            named[shown.get(column, column)] = value
    return named


def _names(homes: Sequence[pathlib.Path]) -> list[str]:
    """The folders' own names, or their whole paths where two are named alike."""
    last = [home.resolve().name for home in homes]
    if len(set(last)) < len(last):
        return [str(home.resolve()) for home in homes]
    return last


def _trial(number: int, name: str, config: Mapping[str, Any]) -> Trial:
    fields = {}
    for field, value in config_lib.fields(config).items():
        if field.rpartition(".")[2] not in NOT_OF_THE_EXPERIMENT:
            fields[field] = value
    return Trial(number, fingerprint.of_json(fields), name, fields, dict(config))


def _common_figures(
    configs: Sequence[Mapping[str, Any]], summaries: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Figure of each set that all runs measured -> its name with the set's source.

    Accuracies of held-out sets come first, then headlines of benchmarks.
    """
    titles = console.names_of(ConfigDict(dict(configs[0])))
    shown = {}
    for kind, figure in (("evals", "accuracy"), ("benchmarks", "headline")):
        for name in configs[0][kind]:
            # A set of the same name is another one where it is read from elsewhere, or has other
            # pairs since its file was changed.
            read_alike = {
                fingerprint.of_json(
                    [_settings(config[kind].get(name)), summary.get(f"{name}/pairs")]
                )
                for config, summary in zip(configs, summaries, strict=True)
            }
            key = f"{name}/{figure}"
            measured = all(isinstance(summary.get(key), (int, float)) for summary in summaries)
            if len(read_alike) == 1 and measured:
                shown[key] = f"{titles[name]} {figure}"
    return shown


def _settings(section: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if section is None:
        return None
    return {key: value for key, value in section.items() if key not in NOT_OF_THE_EXPERIMENT}


def _refuse_folders(homes: Sequence[pathlib.Path]) -> None:
    if len(homes) < 2:
        raise ValueError("one training run was named; name at least two")
    named: set[pathlib.Path] = set()
    for home in homes:
        if not is_run(home):
            raise ValueError(
                f"{home} is not the workdir of a training run (it has no {CONFIG} and "
                f"{METRICS}): name only training runs, or only output folders of rewardjax evaluate"
            )
        if not (home / SUMMARY).is_file():
            raise ValueError(
                f"the run in {home} has not ended (it has no {SUMMARY}): start its "
                "command again, or leave it out"
            )
        if home.resolve() in named:
            raise ValueError(f"{home} is named twice; name each run once")
        named.add(home.resolve())


def _refuse_copies(read: Sequence[Outcome]) -> None:
    """Raise ValueError for two runs of one config and seed, which are not two measurements."""
    first_with: dict[str, pathlib.Path] = {}
    for outcome in read:
        other = first_with.setdefault(outcome.trial.id, outcome.home)
        if other != outcome.home:
            raise ValueError(
                f"{other} and {outcome.home} have the same config and the same seed; "
                "leave one of them out"
            )
