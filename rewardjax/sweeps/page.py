"""`index.html` of a sweep's folder: one static page, also of a sweep that still runs."""

import pathlib
import sys
from collections.abc import Mapping, Sequence

from rewardjax.reporting import page
from rewardjax.sweeps import names, outcomes, plots, ranking
from rewardjax.sweeps.ranking import Setting
from rewardjax.sweeps.trials import Trial

# What a web server or a file browser opens by itself when it is shown the folder.
FILE = "index.html"
Figures = dict[str, pathlib.Path]


def try_to_write(workdir: pathlib.Path, trials: Sequence[Trial], config: str) -> None:
    """Write the page of a sweep that goes on; what hinders that is told, and ends no trial."""
    try:
        write(workdir, trials, config)
    # A full disk or a damaged summary: hours of the trials that still run are worth more.
    except (OSError, ValueError) as error:
        print(f"{workdir / FILE} was not written: {error}", file=sys.stderr, flush=True)


def write(workdir: pathlib.Path, trials: Sequence[Trial], config: str) -> None:
    """Write `workdir/index.html`, and its figures into `workdir/plots`."""
    read = outcomes.read(workdir, trials)
    rows = ranking.rows(trials, read)
    sections = [
        page.Section(
            "Settings, ranked",
            [headline(trials, read), ranking.reading(trials, read)],
            tables={"": rows},
        )
    ]
    figures, remarks = _figures(workdir, trials, read)
    if figures:
        sections.append(page.Section("What the settings change", remarks, figures))
    failures = ranking.failures(read)
    if failures:
        paragraph = (
            "What each of them said last; the whole of it is in log.txt of its folder. "
            "The same command again runs them again."
        )
        sections.append(page.Section("Failed trials", [paragraph], tables={"": failures}))
    facts = {"config": config, "folder": str(workdir.resolve()), "trials": len(trials)}
    if trials[0].settings:
        facts["set for all trials"] = ", ".join(trials[0].settings)
    page.write_report(
        workdir / FILE,
        f"Sweep: {workdir.resolve().name}",
        facts,
        {"All trials": [_trial_row(outcome) for outcome in read]},
        parts=sections,
    )


def headline(trials: Sequence[Trial], read: Sequence[outcomes.Outcome]) -> str:
    """The best setting with its figure, how many trials there are and how many failed."""
    counts = f"{len(read)} trials, {len(ranking.failures(read))} failed"
    unfinished = ranking.unfinished(read)
    if unfinished:
        counts += f"; {unfinished}"
    measured = ranking.figures(read)
    if not measured:
        return f"No figure yet ({counts})."
    best = ranking.settings(trials, read)[0]
    spread = best.spread(measured[0])
    assert spread is not None, "the first setting was ranked by it"
    seeds = ""
    if spread.low is not None:
        seeds = f", the 95% interval over {spread.n} seeds in brackets"
    shown = ranking.shown(spread)
    return f"Best: {described(best)} with {measured[0]} {shown}{seeds} ({counts})."


def described(setting: Setting) -> str:
    """`peak = 1e-3, pairs = 64`."""
    short = names.short_fields(list(setting.values))
    parts = [f"{short[key]} = {names.text_of(value)}" for key, value in setting.values.items()]
    return ", ".join(parts) or "the only setting"


def _figures(
    workdir: pathlib.Path, trials: Sequence[Trial], read: Sequence[outcomes.Outcome]
) -> tuple[Figures, list[str]]:
    """Caption -> file of each plot that has something to show, and remarks on what is left out."""
    folder = workdir / "plots"
    ranked = ranking.settings(trials, read)
    figures: Figures = {}
    measured = ranking.figures(read)
    if not measured:
        return figures, []
    name = measured[0]
    drawn = _with_what_differs([setting for setting in ranked if setting.measured(name)])
    fields = list(drawn[0].values)
    if fields:
        caption = (
            f"Slices: {name} against each field that varies. A dot is a trial; the line joins the "
            "means, over the other fields too."
        )
        figures[caption] = folder / "slices.png"
        plots.slices(drawn, name, figures[caption])
    if len(fields) >= 2:
        caption = (
            "Parallel coordinates: each line is a setting; it crosses every axis at its value and "
            f"ends at its mean {name}. The darker, the better."
        )
        figures[caption] = folder / "parallel.png"
        plots.parallel(drawn, name, figures[caption])
    if len(fields) == 2:
        caption = (
            f"Interaction: mean {name} for each combination. Where the best column differs between "
            "rows, the two fields are to be chosen together."
        )
        figures[caption] = folder / "interaction.png"
        plots.interaction(drawn, name, figures[caption])
    # Also those that still run, after the ranked ones.
    others = [each for each in ranking.grouped(trials, read) if each not in ranked]
    lines, remarks = curves_of([*ranked, *others], name)
    if lines:
        caption = f"Learning curves: {name} at each evaluation, a line for each trial."
        figures[caption] = folder / "curves.png"
        plots.curves(lines, name, figures[caption])
    return figures, remarks


def _with_what_differs(settings: Sequence[Setting]) -> list[Setting]:
    """The settings without the fields that are the same in all that have ended so far."""
    # An axis with a single value is a panel that shows nothing, and early on there are many.
    distinct: dict[str, set[str]] = {}
    for setting in settings:
        for key, value in setting.values.items():
            distinct.setdefault(key, set()).add(names.as_key(value))
    fields = [key for key, values in distinct.items() if len(values) > 1]
    narrowed = []
    for setting in settings:
        values = {key: setting.values[key] for key in fields}
        narrowed.append(setting._replace(values=values))
    return narrowed


def curves_of(
    settings: Sequence[Setting], name: str
) -> tuple[Mapping[str, list[list[tuple[int, float]]]], list[str]]:
    """Setting -> points (step, value) of each of its trials, and what could not be read."""
    # Not at the top: it starts JAX, for which `--plan` need not wait.
    from rewardjax.training import metrics

    lines: dict[str, list[list[tuple[int, float]]]] = {}
    remarks = []
    for setting in settings:
        for outcome in setting.outcomes:
            if not (outcome.home / metrics.METRICS_FILE).is_file():
                continue
            try:
                rows = metrics.read_metrics(outcome.home)
            except ValueError as error:
                # One damaged file is no reason to show nothing of the other trials.
                remarks.append(f"A learning curve is missing: {error}.")
                continue
            points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
            if points:
                lines.setdefault(described(setting), []).append(points)
    return lines, remarks


def _trial_row(outcome: outcomes.Outcome) -> dict[str, str]:
    row = {"folder": outcome.home.name, "status": outcome.status}
    for name, value in outcome.figures.items():
        row[name] = ranking.number(value)
    return row
