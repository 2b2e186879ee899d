"""The shards of a token cache as units of an engine: tasks make them where the cache lies."""

import functools
import os
import pathlib
from collections.abc import Iterator, Sequence

import pyarrow as pa

from rewardjax.command import errors
from rewardjax.command.exit_codes import ExitCode
from rewardjax.command.running import Running
from rewardjax.data.cache import building
from rewardjax.data.cache.building import Build, Spread
from rewardjax.engine import spread, tasks
from rewardjax.engine.executors import Engine
from rewardjax.engine.jobs import Unfinished
from rewardjax.engine.tasks import Unit


class Waits(errors.Ending):
    """Some shards are not there yet; the message says why, and that the same command goes on."""

    code = ExitCode.WAITS


def spread_over(engine: Engine) -> Spread:
    """Makes shards by the tasks of an engine."""
    return functools.partial(_spread, engine)


def _spread(engine: Engine, job: Build, missing: Sequence[int]) -> None:
    """Raises Waits where tasks ended before their shards were done."""
    # The build says how far it is, by records and not by shards.
    with open(os.devnull, "w") as nowhere:
        work = spread.Work(
            name=f"tokenize {job.source.name}",
            folder=job.folder / building.TASKS,
            missing=functools.partial(_units, job),
            do=functools.partial(_make, job),
            join=_is_there,
            running=Running(stream=nowhere),
            neighbors=True,
        )
        try:
            spread.run(engine, work)
        except Unfinished as error:
            # One of them may have ended all for a reason that the user must know.
            building.refuse(job.folder)
            raise Waits(str(error)) from None


def _units(job: Build) -> list[Unit]:
    """A unit for each shard that is missing. Raises ValueError where the data are refused."""
    building.refuse(job.folder)
    numbers = range(job.shards)
    return [
        Unit(f"shard-{number:05d}", number)
        for number in numbers
        if not job.shard(number).record.exists()
    ]


def _make(
    job: Build, units: Sequence[Unit], folder: pathlib.Path
) -> Iterator[tuple[Unit, pa.Table]]:
    """A task: make the shards of its units."""
    by_number = {unit.about: unit for unit in units}
    try:
        for number in building.build(job, sorted(by_number)):
            # A receipt: the shard lies where it belongs.
            yield by_number[number], pa.table({"shard": [number]})
    except Exception as error:
        if not isinstance(error, building.Stopped) and not errors.is_mistake(error):
            raise
        raise tasks.Stopped("\n".join(errors.sentences(error))) from None


def _is_there(unit: Unit, rows: pa.Table) -> None:
    """Nothing is left to join."""
