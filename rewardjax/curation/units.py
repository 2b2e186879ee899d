"""The units of a stage, asked about in this process or by tasks of an engine, and appended.

Wherever a unit is asked about, its shard is the same. Tasks read the workspace and pay from shares
of the ledger of calls (`servers.shares`); the owner of the workspace alone writes to it.
"""

import contextlib
import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute

from rewardjax.config import Config
from rewardjax.curation.judges.client import judges_of
from rewardjax.curation.ledger import tables
from rewardjax.curation.ledger.stage_names import PairIds, Stage
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.servers import shares
from rewardjax.curation.workspace import Paused, Plugins, Row, Waiting, Workspace
from rewardjax.engine import spread
from rewardjax.engine.executors import Engine
from rewardjax.engine.jobs import Unfinished
from rewardjax.engine.tasks import Stopped, Unit

CALLS = "calls.sqlite"

# The functions of pyarrow.compute are made when it is imported: a type checker knows none of them.
pc: Any = pyarrow.compute

# Pairs -> the rows about them.
RowsOf = Callable[[Sequence[str]], Iterable[Row] | pa.Table]
# Made anew in each process that asks, so it is a function of plain values.
Asker = Callable[[Workspace], RowsOf]


def append(ws: Workspace, pair_ids: PairIds, stage: Stage, asker: Asker, at_once: int = 1) -> None:
    """Append the rows about each unit of a stage that is not finished.

    Args:
        ws: the workspace, with the config's `engine`.
        pair_ids: what the stage is about.
        stage: of one ledger.
        asker: makes the function that has the rows about pairs.
        at_once: units that are asked about together, where one has too few questions to keep the
            servers busy.

    Raises:
        Paused: where money, a server or a task's machine ended.
        Waiting: at the end, where a unit waits; it does not hold up the others: a batch takes a
            day, however many units it has.
    """
    engine = Engine(**ws.config.engine.to_dict())
    (ledger,) = stage.ledgers
    if engine.name:

        def join(unit: Unit, rows: pa.Table) -> None:
            stage.append(ws.store, ledger, rows, unit.name, about=unit.about)

        ask_tasks(ws, engine, pair_ids, stage, asker, join, at_once)
        return
    rows_of, waiting = asker(ws), None
    # The product's plug-ins advance it, question by question.
    with ws.running.step(stage.name, len(pair_ids), done=_done(ws, stage, ledger)):
        for units in _together(stage.open_units(ws.store, pair_ids), at_once):
            try:
                rows = list(_by_unit(rows_of, units, ledger))
            except Waiting as error:
                waiting = error
                continue
            for (unit, ids), table in zip(units, rows, strict=True):
                stage.append(ws.store, ledger, table, unit, about=ids)
    if waiting is not None:
        raise waiting


def _done(ws: Workspace, stage: Stage, ledger: str) -> int:
    """About how many pairs a stage has rows."""
    sql = f"select count(distinct pair_id) from {ledger} where stage = ?"
    return ws.store.query(sql, [stage.name]).column(0)[0].as_py()


def _together(
    units: Iterable[tuple[str, list[str]]], at_once: int
) -> Iterator[list[tuple[str, list[str]]]]:
    remaining = iter(units)
    while together := list(itertools.islice(remaining, at_once)):
        yield together


def _by_unit(
    rows_of: RowsOf, units: Sequence[tuple[str, list[str]]], ledger: str
) -> Iterator[pa.Table]:
    """The rows of each of these units, which are asked about together."""
    rows = rows_of([pair_id for _, ids in units for pair_id in ids])
    if not isinstance(rows, pa.Table):
        rows = tables.from_dicts(ledger, list(map(dict, rows)), ledger)
    table: pa.Table = rows
    if len(units) == 1:
        yield table
        return
    place_of = {}
    for place, (_, ids) in enumerate(units):
        place_of |= dict.fromkeys(ids, place)
    places = pa.array([place_of[pair_id] for pair_id in table.column("pair_id").to_pylist()])
    for place in range(len(units)):
        yield table.filter(pc.equal(places, place))


# ------------------------------------------------------------------ by tasks


def ask_tasks(
    ws: Workspace,
    engine: Engine,
    pair_ids: PairIds,
    stage: Stage,
    asker: Asker,
    join: Callable[[Unit, pa.Table], None],
    at_once: int = 1,
) -> None:
    """Have tasks of an engine say what there is about each open unit of a stage, and join it.

    Args:
        ws: the workspace.
        engine: with a name.
        pair_ids: what the stage is about.
        stage: what dicts that the asker gives are rows of is its last ledger.
        asker: makes the function that has the rows about pairs, in each task.
        join: puts the rows of a unit into the ledger.
        at_once: as for `append`.

    Raises:
        Paused: where money, a server or a task's machine ended.
    """

    def missing() -> list[Unit]:
        return [Unit(unit, ids) for unit, ids in stage.open_units(ws.store, pair_ids)]

    do = functools.partial(
        _do,
        folder=str(ws.folder),
        config=ws.config,
        plugins=ws.plugins,
        ledger=stage.ledgers[-1],
        asker=asker,
        at_once=at_once,
    )
    folder = ws.store.folder / "work" / stage.name
    try:
        work = spread.Work(stage.name, folder, missing, do, join, _Calls(ws), ws.running)
        spread.run(engine, work)
    except Unfinished as error:
        raise Paused(str(error)) from error


@dataclasses.dataclass(frozen=True)
class _Calls:
    """The shares of a workspace's ledger of calls."""

    ws: Workspace

    def deal(self, folders: Sequence[pathlib.Path], units: Sequence[Sequence[Unit]]) -> None:
        """Give each task its part of the money, and the answers that were paid for already."""
        subjects = {}
        for folder, of_task in zip(folders, units, strict=True):
            subjects[folder / CALLS] = [pair_id for unit in of_task for pair_id in unit.about]
        shares.deal(self.ws.calls, subjects)

    def settle(self, folder: pathlib.Path) -> None:
        """Take back what a task has left and learned; a second time changes nothing."""
        name = str(folder.relative_to(self.ws.folder))
        shares.settle(self.ws.calls, folder / CALLS, name)


def _do(
    units: Sequence[Unit],
    task: pathlib.Path,
    *,
    folder: str,
    config: Config,
    plugins: Plugins,
    ledger: str,
    asker: Asker,
    at_once: int,
) -> Iterator[tuple[Unit, pa.Table]]:
    """What a task does. Raises Stopped where the stage would pause."""
    # Started again after its last unit.
    if not units:
        return
    with contextlib.closing(shares.opened(task / CALLS)) as calls:
        judges = judges_of(config.judges, "judges", shots=config.shots)
        taggers = judges_of(config.taggers, "taggers", shots=config.shots)
        store = Store(pathlib.Path(folder, "store"))
        ws = Workspace(pathlib.Path(folder), config, store, calls, judges, plugins, taggers)
        try:
            rows_of = asker(ws)
            for together in _together(((unit.name, unit.about) for unit in units), at_once):
                asked = [Unit(*each) for each in together]
                yield from zip(asked, _by_unit(rows_of, together, ledger), strict=True)
        except Paused as error:
            raise Stopped(str(error)) from error
