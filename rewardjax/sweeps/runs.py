"""Training runs side by side: seeds folded, ranked, tested pair by pair, curves overlaid.

    python -m rewardjax.evaluate compare runs/A runs/B runs/C

The runs need not be of one sweep. Each is read as a trial that sets all of its config, so that what
folds and ranks the trials of a sweep does it here too. Of a run in a bucket the records are copied
to this machine's disk, and not its checkpoints.
"""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from rewardjax import config as config_lib
from rewardjax import fingerprint
from rewardjax.evaluators.page.cells import DASH
from rewardjax.io import own_files, storage
from rewardjax.reporting import page, run_record, text_table
from rewardjax.sweeps import outcomes, paired, plots, ranking
from rewardjax.sweeps import page as sweep_page
from rewardjax.sweeps.outcomes import Outcome
from rewardjax.sweeps.trials import Trial
from rewardjax.training import console, pair_rewards

CONFIG, METRICS, SUMMARY = "config.json", "metrics.jsonl", "summary.json"
# Where and how fast a set is read: two machines differ in them over one experiment.
NOT_OF_THE_EXPERIMENT = ("cache", "workers")


class Run(NamedTuple):
    """A training run that is compared."""

    place: pathlib.Path  # where its workdir is, which may be an address
    folder: pathlib.Path  # where its records can be read: the workdir itself, or a copy of them


def is_run(folder: str | pathlib.Path) -> bool:
    """Whether `folder`, on a disk or in a bucket, is the workdir of a training run."""
    place = storage.path_of(folder)
    with _asked(place):
        return all(storage.version(place / name) is not None for name in (CONFIG, METRICS))


def compare(folders: Sequence[str | pathlib.Path], output: pathlib.Path) -> str:
    """Write the page about training runs to `output`; returns its tables and remarks as text.

    Raises ValueError for fewer than two runs, a folder that is not a run, one that is there twice
    or has not ended, and where no held-out set or benchmark is common to all.
    """
    places = [storage.path_of(folder) for folder in folders]
    _refuse_folders(places)
    with contextlib.ExitStack() as stack:
        runs = [Run(place, stack.enter_context(_records_of(place))) for place in places]
        return _compare(runs, output)


def _compare(runs: Sequence[Run], output: pathlib.Path) -> str:
    configs = [own_files.read(run.folder / CONFIG, ("evals", "benchmarks")) for run in runs]
    summaries = [own_files.read(run.folder / SUMMARY, (outcomes.SECONDS,)) for run in runs]
    shown = _common_figures(configs, summaries)
    if not shown:
        raise ValueError(
            "the runs have no held-out set or benchmark in common, of the same source and "
            "as many pairs: evaluate each model on the same pairs with rewardjax evaluate --model "
            "RUN --data FILE, and compare the output folders"
        )
    places = [run.place for run in runs]
    read, names = [], _names(places)
    for number, run in enumerate(runs):
        summary = summaries[number]
        figures = {name: float(summary[name]) for name in [*shown, outcomes.SECONDS]}
        trial = _trial(number, names[number], configs[number])
        read.append(Outcome(trial, outcomes.DONE, run.folder, figures))
    _refuse_copies(places, [outcome.trial for outcome in read])
    facts = {name: str(storage.whole(place)) for name, place in zip(names, places, strict=True)}
    return _write(read, shown, output, facts)


@contextlib.contextmanager
def _records_of(place: pathlib.Path) -> Iterator[pathlib.Path]:
    """The workdir of a run, or of one in a bucket a copy of what is compared."""
    if not storage.is_address(place):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="rewardjax-") as name:
        folder = pathlib.Path(name)
        with _asked(place):
            for file in (CONFIG, METRICS, SUMMARY):
                storage.download(place / file, folder / file)
            # Not the whole workdir: its checkpoints may have hundreds of gigabytes.
            storage.download_folder(place / pair_rewards.FOLDER, folder / pair_rewards.FOLDER)
        yield folder


@contextlib.contextmanager
def _asked(place: pathlib.Path) -> Iterator[None]:
    """One sentence for whatever a bucket's client says in the block."""
    if not storage.is_address(place):
        yield
        return
    with storage.asked(place):
        yield


def _write(
    read: Sequence[Outcome],
    shown: Mapping[str, str],
    output: pathlib.Path,
    facts: Mapping[str, str],
) -> str:
    """The page at `output`, its figures in `plots` beside it; returns what a terminal shows."""
    trials = [outcome.trial for outcome in read]
    rows = [_with_names(row, read, shown) for row in ranking.rows(trials, read)]
    ranked_by = ranking.figures(read)[0]
    reading = ranking.reading(trials, read).replace(ranked_by, shown[ranked_by], 1)
    settings = ranking.settings(trials, read)
    tested, untested = paired.tests(settings, shown)
    tests = paired.table_rows(tested)
    of_tests = [*untested]
    if tests:
        of_tests = [*paired.reading(tested), *untested]
    remarks = [reading]
    figures = {}
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
        facts,
        parts=[
            page.Section("Ranked", remarks, tables={"": rows}),
            page.Section("Paired tests on the same pairs", of_tests, tables={"": tests}),
            page.Section("Curves", figures=figures),
        ],
    )
    blocks = [text_table.table(rows), *remarks]
    if tests:
        blocks += ["", text_table.table([_with_dashes(row) for row in tests])]
    return "\n".join([*blocks, *of_tests])


def _with_dashes(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a page for a terminal, which shows None as the word."""
    shown = dict(row)
    for column, value in row.items():
        if value is None:
            shown[column] = DASH
    return shown


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


def _names(places: Sequence[pathlib.Path]) -> list[str]:
    """The folders' own names, or their whole paths where two are named alike."""
    whole = [storage.whole(place) for place in places]
    last = [place.name for place in whole]
    if len(set(last)) < len(last):
        return list(map(str, whole))
    return last


def seed_and_setting(folder: str | pathlib.Path, step: int | None) -> dict[str, Any] | None:
    """The seed of a run, and a fingerprint of all else that its checkpoint depends on.

    Runs with one "setting" are seeds of the same experiment. step: of the checkpoint, None for the
    newest. None where `folder` is not the workdir of a run.
    """
    if not is_run(folder):
        return None
    # A run that went on from another checkpoint is told apart by `model.folder`, which is a field.
    fields = _fields_of_experiment(run_record.read_config(folder))
    seed = fields.pop(ranking.SEED)
    return {"seed": seed, "setting": fingerprint.of_json([fields, step])}


def _fields_of_experiment(config: Mapping[str, Any]) -> dict[str, Any]:
    fields = {}
    for field, value in config_lib.fields(config).items():
        if field.rpartition(".")[2] not in NOT_OF_THE_EXPERIMENT:
            fields[field] = value
    return fields


def _trial(number: int, name: str, config: Mapping[str, Any]) -> Trial:
    fields = _fields_of_experiment(config)
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


def _refuse_folders(places: Sequence[pathlib.Path]) -> None:
    if len(places) < 2:
        raise ValueError("one training run was named; name at least two")
    named: set[pathlib.Path] = set()
    for place in places:
        if not is_run(place):
            raise ValueError(
                f"{place} is not the workdir of a training run (it has no {CONFIG} and "
                f"{METRICS}): name only training runs, or only output folders of rewardjax evaluate"
            )
        if storage.version(place / SUMMARY) is None:
            raise ValueError(
                f"the run in {place} has not ended (it has no {SUMMARY}): start its "
                "command again, or leave it out"
            )
        if storage.whole(place) in named:
            raise ValueError(f"{place} is named twice; name each run once")
        named.add(storage.whole(place))


def _refuse_copies(places: Sequence[pathlib.Path], trials: Sequence[Trial]) -> None:
    """Raise ValueError for two runs of one config and seed, which are not two measurements."""
    first_with: dict[str, pathlib.Path] = {}
    for place, trial in zip(places, trials, strict=True):
        other = first_with.setdefault(trial.id, place)
        if other != place:
            raise ValueError(
                f"{other} and {place} have the same config and the same seed; leave one of them out"
            )
