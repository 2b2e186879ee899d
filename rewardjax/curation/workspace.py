"""The folder of one curation: its store, the ledger of paid calls, models, queues, exports and reports; and the config it is bound to.

store/  calls.sqlite  models/CHAIR-ITERATION/  data/  queue/  reports/  config.json
"""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterator

from rewardjax import config as config_lib
from rewardjax.config import Config
from rewardjax.curation.defaults import curation
from rewardjax.curation.judges.client import Judge
from rewardjax.curation.judges.paid_calls import CallLedger
from rewardjax.curation.ledger.store import Store

# What may change between two starts: where and how much, never what is asked or decided.
MAY_CHANGE = (
    "budget.",
    "clean.executor",
    "train.mesh",
    "train.compute",
    "train.log",
    "train.data.cache",
)
MAY_CHANGE_OF_JUDGES = ("base_url", "max_in_flight", "timeout", "retries", "key_env")
UNIT = 500  # pairs in a unit of work: what is done again after a kill


class Paused(Exception):
    """The pipeline cannot go on by itself: people have to answer, a budget is spent, a server is down. The message says what to do; the
    same command then goes on."""


class ConfigChanged(ValueError):
    """The workspace was started with another config; the message names each field."""


@dataclasses.dataclass(frozen=True)
class Workspace:
    """What every stage is given."""

    folder: pathlib.Path
    config: Config
    store: Store
    calls: CallLedger
    judges: list[Judge]


@contextlib.contextmanager
def open_workspace(
    folder: str | pathlib.Path, config: Config, *, bind: bool = True
) -> Iterator[Workspace]:
    """The workspace in `folder`, made where there is none. Raises ConfigChanged naming the fields in which it was started with
    another config, beyond MAY_CHANGE. bind: whether a new workspace is this config's from now on."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record, now = folder / "config.json", config_lib.resolve(config)
    if record.exists():
        # A field that did not exist when the workspace was made had its default then.
        saved = config_lib.complete(_recorded(record), curation())
        changed = [
            line
            for line in config_lib.difference(saved, _bound(config_lib.complete(now, curation())))
            if not line.startswith(MAY_CHANGE)
        ]
        if changed:
            raise ConfigChanged(
                f"{folder} was started with another config; use another folder, or change back:\n  "
                + "\n  ".join(changed)
            )
    elif bind:
        config_lib.write_json(record, _bound(now))
    with contextlib.closing(CallLedger(folder / "calls.sqlite", config.budget.judges)) as calls:
        yield Workspace(
            folder,
            config,
            Store(folder / "store"),
            calls,
            [Judge(**{"shots": config.shots, **judge}) for judge in config.judges],
        )


def _recorded(path: pathlib.Path) -> dict:
    """The config that a workspace was started with, in today's names of the functions it mentions."""
    config = json.loads(path.read_text())
    if config["clean"].get("pii"):
        config["clean"]["pii"] = config_lib.current_path(config["clean"]["pii"])
    return config


def _bound(config: dict) -> dict:
    """The config without what may change of a judge."""
    keep = lambda judge: {
        name: value for name, value in judge.items() if name not in MAY_CHANGE_OF_JUDGES
    }
    return config | {"judges": [keep(judge) for judge in config["judges"]]}


def units(pair_ids: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Slices of UNIT pairs with their names."""
    for first in range(0, len(pair_ids), UNIT):
        yield f"{first // UNIT:05d}", pair_ids[first : first + UNIT]
