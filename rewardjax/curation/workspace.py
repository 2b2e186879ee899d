"""The folder of one curation, the config of its last start, and who answers in it.

    FOLDER/store/  calls.sqlite  annotation.sqlite  models/SEAT-ITERATION/  data/  queue/  reports/
           config.json

The stages (`stages/`) read the ledger, apply a rule and append. Whatever has an opinion of its own
is a plug-in, so that an experiment drives the very same stages with simulated people, judges and
reward models:

| plug-in    | called as                    | returns                              | product's    |
| ---------- | ---------------------------- | ------------------------------------ | ------------ |
| `people`   | `people(ws, tasks, stage)`   | a `people.Answer` per answered task  | by config    |
| `judge`    | `judge(ws, items, stage)`    | rows of `votes`, of kind "judge"     | over HTTP    |
| `describe` | `describe(ws, items, stage)` | rows of `attributes`                 | over HTTP    |
| `embedder` | `embedder(ws, pair_ids)`     | an `embed.Embedder`, fitted to them  | by config    |
| `train`    | `train(ws, training)`        | nothing; `load` finds what it left   | the trainer  |
| `load`     | `load(ws, training)`         | a `RewardModel`                      | best on gold |
| `rehearse` | `rehearse(ws, sample, ...)`  | nothing; raises what `train` would   | the trainer  |

The product's stand in `stages/product.py`; `dataclasses.replace(product.PLUGINS, people=mine)`
makes others, so that what differs between two experiments is visible. A plug-in must be a function
of what it is given and of the config's seed: a run that was killed asks again and expects the same
answer. It may raise Paused where it cannot answer yet.
"""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax import config as config_lib
from rewardjax.command import owner
from rewardjax.command.running import Running
from rewardjax.config import Config
from rewardjax.curation import setting_changes, settings
from rewardjax.curation.annotation.desk import has_desk, open_desk
from rewardjax.curation.defaults import curation
from rewardjax.curation.judges.client import Judge, judges_of
from rewardjax.curation.judges.prompts import Item
from rewardjax.curation.ledger.rows import PairText
from rewardjax.curation.ledger.stage_names import PairIds, Stage
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.people import Answer, Task
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.data.groups import BadRecord
from rewardjax.io import own_files

Row = Mapping[str, Any]  # of a ledger: rows.ROWS has the classes


class Paused(Exception):
    """The pipeline cannot go on by itself: people must answer, a budget is spent, a server is down.

    The message says what to do; the same command then goes on.
    """


class Waiting(Paused):
    """Some answers are not there yet, such as those to a batch file.

    Unlike where money or a server has ended, the other units of a stage can go on meanwhile.
    """


class ConfigChanged(ValueError):
    """A setting changed that steps which are done were made with; the message names both."""


class Training(NamedTuple):
    """What a reward model is made from."""

    # Its name; the model's workdir and data files are named after it too.
    stage: Stage
    # pair_id -> "a" or "b".
    labels: Mapping[str, str]
    # The labels on which its best checkpoint is chosen; empty where the last one counts.
    choose_on: Mapping[str, str]
    # Where `train` may leave what `load` needs.
    folder: pathlib.Path


class RewardModel(NamedTuple):
    """A trained model, ready to be asked."""

    # Fingerprints of its weights and of its score contract.
    name: str
    contract: str
    # For each pair the rewards of response a and b, or why it has none.
    rewards: Callable[[Sequence[PairText]], Sequence[tuple[float, float] | BadRecord]]


def no_rehearsal(
    ws: "Workspace", pair_ids: Sequence[str], longest: Sequence[str], pairs: int
) -> None:
    """For models whose training has no settings that could be wrong."""


@dataclasses.dataclass(frozen=True)
class Plugins:
    """Who answers (see the table above)."""

    people: Callable[["Workspace", Sequence[Task], Stage], Sequence[Answer]]
    judge: Callable[["Workspace", Sequence[Item], Stage], Iterable[Row]]
    describe: Callable[["Workspace", Sequence[Item], Stage], Iterable[Row]]
    embedder: Callable[["Workspace", PairIds], Any]
    train: Callable[["Workspace", Training], None]
    load: Callable[["Workspace", Training], RewardModel]
    rehearse: Callable[["Workspace", Sequence[str], Sequence[str], int], None] = no_rehearsal


@dataclasses.dataclass(frozen=True)
class Workspace:
    """What every stage is given."""

    folder: pathlib.Path
    config: Config
    store: Store
    calls: CallLedger
    judges: list[Judge]
    plugins: Plugins
    # Who describes pairs; the judges where there are none (stages/panels.py).
    taggers: list[Judge] = dataclasses.field(default_factory=list)
    # What it is at, on the screen and for `curate status`.
    running: Running = dataclasses.field(default_factory=Running)


@contextlib.contextmanager
def open_workspace(
    folder: str | pathlib.Path, config: Config, plugins: Plugins, *, bind: bool = True
) -> Iterator[Workspace]:
    """Open the workspace in `folder`, made where there is none.

    Args:
        folder: the workspace.
        config: the fields of `defaults.curation`.
        plugins: who answers; the product's are `stages.product.PLUGINS`.
        bind: whether this process is the workspace's owner while the block runs, and this config
            its own from now on.

    Raises:
        owner.Owned: where another process is the workspace's owner.
        ConfigChanged: where a setting differs from that of the last start, and a step that is done
            was made with it and later ones build on it.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if bind:
            stack.enter_context(owner.owning(folder))
        yield stack.enter_context(_opened(folder, config, plugins, bind))


@contextlib.contextmanager
def _opened(
    folder: pathlib.Path, config: Config, plugins: Plugins, bind: bool
) -> Iterator[Workspace]:
    record, now = folder / "config.json", settings.recorded(config_lib.resolve(config))
    store = Store(folder / "store", functools.partial(settings.read_by, now))
    if record.exists():
        try:
            _say_changes(store, _recorded(record), now, _dealt(folder))
        except ValueError as error:
            raise ConfigChanged(f"{folder}: {error}") from None
    if bind and (not record.exists() or own_files.read(record) != now):
        config_lib.write_json(record, now)
    judges = judges_of(config.judges, "judges", shots=config.shots)
    taggers = judges_of(config.taggers, "taggers", shots=config.shots)
    # Who only looks says nothing about the run.
    running = Running()
    if bind:
        running = Running(folder)
    with contextlib.closing(CallLedger(folder / "calls.sqlite", config.budget.judges)) as calls:
        yield Workspace(folder, config, store, calls, judges, plugins, taggers, running)


def _dealt(folder: pathlib.Path) -> set[str]:
    """The steps whose tasks people have."""
    if not has_desk(folder):
        return set()
    with open_desk(folder) as desk:
        return {step.name for step in desk.steps()}


def _say_changes(store: Store, before: dict, now: dict, dealt: set[str]) -> None:
    # A field that did not exist at the last start had its default then.
    before, now = (config_lib.complete(config, curation()) for config in (before, now))
    for change in setting_changes.changes(store, before, now, dealt):
        print(f"changed since the last start: {setting_changes.sentence(change)}", flush=True)


def _recorded(path: pathlib.Path) -> dict:
    """The config of a workspace's last start, functions by the names they have today."""
    config = own_files.read(path, ["clean"])
    if config["clean"].get("pii"):
        config["clean"]["pii"] = config_lib.current_path(config["clean"]["pii"])
    return config
