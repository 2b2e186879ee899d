"""The trials of a config's sweep, checked against the locked config before the first one starts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax import config as config_lib
from rewardjax import fingerprint
from rewardjax.command import errors
from rewardjax.sweeps import names


class Trial(NamedTuple):
    """One run of a sweep: `id` is a hash of `resolved`, the whole config as plain JSON values.

    `settings` are what all trials of the sweep are given, `FIELD=VALUE` each; `name` is that of the
    trial's folder.
    """

    number: int
    id: str
    name: str
    overrides: dict[str, Any]
    resolved: dict[str, Any]
    settings: tuple[str, ...] = ()


def plan(config: str, name: str = "", settings: Sequence[str] = ()) -> list[Trial]:
    """The trials of `sweep_<name>()` (or `sweep()`) in the config file of `"FILE.py:arg"`.

    `settings`: `FIELD=VALUE`, for all of them. Raises AttributeError if the file has no such sweep;
    ValueError or TypeError, with the trial's number, on an unknown key, a wrong type, a setting of
    a field that the sweep sets too, or two trials that resolve to the same config.
    """
    path = config.partition(":")[0]
    module = config_lib.load_module(path)
    function = "sweep"
    if name:
        function = f"sweep_{name}"
    if not hasattr(module, function):
        sweeps = sorted(key for key in vars(module) if key == "sweep" or key.startswith("sweep_"))
        raise AttributeError(
            f"{path} has no {function}(); it has: {', '.join(sweeps) or 'no sweep'}"
        )
    listed = list(getattr(module, function)())
    # Before the trials, each of which would repeat the same complaint.
    _refuse_settings(config, function, settings, listed)
    planned: list[Trial] = []
    numbers: dict[str, int] = {}
    complaints = errors.Complaints()
    for number, overrides in enumerate(listed):
        where = f"{path}: {function}() trial {number} {overrides}"
        trial = complaints.of(_trial, config, number, overrides, tuple(settings), where)
        if trial is None:
            continue
        if trial.id in numbers:
            complaints.add(
                [
                    f"{path}: {function}() trials {numbers[trial.id]} and {number} are the same "
                    f"config: {overrides}"
                ]
            )
        numbers[trial.id] = number
        planned.append(trial)
    complaints.refuse()
    return _named(planned)


def single(config: str, number: int, overrides: Mapping[str, Any]) -> Trial:
    """A trial that no sweep lists; its folder is named by all of its overrides.

    Raises ValueError or TypeError on an unknown key or a wrong type.
    """
    trial = _trial(config, number, dict(overrides), (), f"trial {number}")
    fields = names.short_fields(list(overrides))
    parts = {fields[key]: names.text_of(value) for key, value in overrides.items()}
    return trial._replace(name=names.folder_name(number, trial.id, parts))


def selected(trials: Sequence[Trial], numbers: Iterable[int]) -> list[Trial]:
    """The trials with these numbers, or all where there are none. Raises ValueError for others."""
    numbers = set(numbers)
    if not numbers:
        return list(trials)
    # An empty run would look like a sweep that is done.
    if unknown := sorted(numbers - {trial.number for trial in trials}):
        raise ValueError(
            f"--trial {unknown[0]}: the sweep has the trials 0 to {len(trials) - 1} "
            "(--plan prints them)"
        )
    return [trial for trial in trials if trial.number in numbers]


def load(config: str, trial: Trial) -> config_lib.Config:
    """The locked config of a trial."""
    return config_lib.override(config_lib.load(config, trial.settings), trial.overrides)


def varied(trials: Sequence[Trial]) -> list[str]:
    """The fields in which the trials differ."""
    return names.varied([(trial.overrides, trial.resolved) for trial in trials])


def values_of(trial: Trial, keys: Sequence[str]) -> dict[str, Any]:
    """The values of dotted `keys` in a trial."""
    return names.values_of(trial.overrides, trial.resolved, keys)


def _refuse_settings(
    config: str, function: str, settings: Sequence[str], listed: Sequence[dict[str, Any]]
) -> None:
    """Raise errors.Refusal with the mistakes in `settings` once, and not once for every trial."""
    complaints = errors.Complaints()
    swept: set[str] = set()
    for overrides in listed:
        swept |= set(overrides)
    for setting in settings:
        field, equals, _ = setting.partition("=")
        if not equals:
            complaints.add([f"--set {setting}: a field and its value, as in --set steps=100"])
        elif field in swept:
            complaints.add(
                [f"--set {setting}: {function}() sets {field} itself; leave it out of --set"]
            )
    complaints.refuse()
    try:
        config_lib.load(config, settings)
    except errors.Refusal as error:
        raise errors.Refusal(f"--set: {complaint}" for complaint in error.complaints) from error


def _trial(
    config: str, number: int, overrides: dict[str, Any], settings: tuple[str, ...], where: str
) -> Trial:
    """The trial with these overrides, not yet named; errors begin with `where`."""
    unnamed = Trial(number, "", "", dict(overrides), {}, settings)
    try:
        resolved = config_lib.resolve(load(config, unnamed))
    except errors.Refusal as error:
        raise errors.Refusal(f"{where}: {complaint}" for complaint in error.complaints) from error
    except (ValueError, TypeError) as error:
        raise type(error)(f"{where}: {error}") from error
    return unnamed._replace(id=fingerprint.of_json(resolved), resolved=resolved)


def _named(trials: Sequence[Trial]) -> list[Trial]:
    """The trials with the names of their folders, which say in what a trial differs."""
    keys = varied(trials)
    fields = names.short_fields(keys)
    columns = {}
    for key in keys:
        columns[fields[key]] = names.short_values(
            [values_of(trial, [key])[key] for trial in trials]
        )
    named = []
    for place, trial in enumerate(trials):
        parts = {field: values[place] for field, values in columns.items()}
        named.append(trial._replace(name=names.folder_name(trial.number, trial.id, parts)))
    return named
