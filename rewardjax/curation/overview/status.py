"""`curate status`: the lines a lead reads first, then the tables behind them."""

import pathlib
from collections.abc import Mapping
from typing import Any

from rewardjax import config as config_lib
from rewardjax.curation import people_quality, settings
from rewardjax.curation.annotation import progress
from rewardjax.curation.annotation.desk import has_desk, open_desk
from rewardjax.curation.defaults import curation
from rewardjax.curation.judges import lost
from rewardjax.curation.ledger import gates
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.overview import explain, fates, money, now, verdict, waiting
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.io import own_files

Tables = dict[str, list[dict[str, Any]]]


def lines(folder: pathlib.Path, store: Store, calls: CallLedger) -> list[str]:
    """What the run is at, and the verdict of the reports, as things stand."""
    summary = verdict.sentences(
        store,
        fates.courses(store),
        money.money(store, calls, config_of(folder)),
        waiting=waiting.sentences(folder, calls),
        lost=lost.lost_answers(calls),
    )
    return [f"Run: {now.sentence(folder)}", *summary]


def tables(folder: pathlib.Path, store: Store, calls: CallLedger) -> Tables:
    """Tables by heading; some may be empty."""
    by_heading = {"Money": money.table(store, calls, config_of(folder))}
    by_heading |= explain.status(store) | {"Gates": gates.table(store)}
    votes = people_quality.votes(store)
    if has_desk(folder):
        with open_desk(folder) as desk:
            by_heading["People's tasks"] = progress.table(desk)
            votes += progress.waiting_votes(store, desk)
    by_heading |= people_quality.tables(votes)
    by_heading["Settings that changed between steps"] = settings.applied(store)
    by_heading["Judges: how their questions ended"] = calls.endings()
    by_heading["Judges: answers that needed a mercy"] = calls.mercies()
    return by_heading


def config_of(folder: pathlib.Path) -> Mapping[str, Any]:
    """The config of the last start; the defaults where a workspace has only imports."""
    # Written at each start: a budget that was raised is the one that counts.
    path = folder / "config.json"
    if not path.exists():
        return config_lib.resolve(curation())
    return config_lib.complete(own_files.read(path), curation())
