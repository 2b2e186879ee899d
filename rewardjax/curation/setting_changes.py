"""What changed in a config between two starts of a workspace, and whether it may.

A field may change as long as no step that later ones build on has read it (`settings.READERS`):
then the change is told with the first step that it counts for, else it is refused in one line.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax import config as config_lib
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.ledger.stage_names import Stage
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.settings import (
    ELSEWHERE,
    PANELS,
    READERS,
    judges_by_name,
    reader_of,
    within,
)

# How a field that is not there, and a judge that is, are written.
ABSENT, ASKED = "(absent)", "asked"
# What a step of people reads when its tasks are dealt.
DEALING = ("people.annotators", "people.overlap", "people.checks")


class Step(NamedTuple):
    """A step of the loop, in the ledger that it appends to first."""

    ledger: str
    stage: Stage


class Change(NamedTuple):
    """A field that differs from what it was when the workspace was last started.

    since: the first step that is left and reads it; None where no step does.
    """

    field: str
    before: str
    now: str
    since: str | None = None


def steps(config: Mapping[str, Any]) -> Iterator[Step]:
    """The steps of a run in order."""
    for name in config["sources"]:
        yield Step("votes", stage_names.imported(name))
    if config["tag"]:
        yield Step("attributes", stage_names.TAG)
    yield Step("embeddings", stage_names.EMBED)
    last = config["stage1"]["iterations"]
    for i in range(last + 1):
        if i:
            yield Step("training", stage_names.trained("best", i))
        yield Step("picks", stage_names.picks(i))
        yield Step("votes", stage_names.people(i))
        yield Step("votes", stage_names.judges(i))
        yield Step("votes", stage_names.panel(i))
    if config["stage2"]["table"]:
        yield from _stage2(config, last + 1)


def _stage2(config: Mapping[str, Any], i: int) -> Iterator[Step]:
    yield Step("training", stage_names.trained("best", i))
    yield Step("training", stage_names.trained("gold", i))
    if config["stage2"]["folds"]:
        yield Step("training", stage_names.trained("gold", i, 0))
    yield Step("decisions", _decisions(stage_names.asked_wild(i), i))
    if config["tag"]:
        yield Step("attributes", stage_names.tag_wild(i))
    yield Step("embeddings", stage_names.embed_wild(i))
    yield Step("votes", stage_names.judges_wild(i))
    yield Step("votes", stage_names.panel_wild(i))
    audit = config["gates"]["audit"]["pairs"]
    if audit:
        yield Step("votes", stage_names.audited(i, audit))
    yield Step("decisions", _decisions(stage_names.decided_wild(i), i))


def _decisions(name: str, iteration: int) -> Stage:
    return Stage(name, iteration, ("decisions",), sliced=True)


# ------------------------------------------------------------------ what changed


def changes(
    store: Store,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    dealt: Collection[str] = (),
) -> list[Change]:
    """What changed since the last start, where nothing speaks against it.

    Args:
        store: the ledger.
        before: the config of the last start, as `recorded`.
        now: that of this one.
        dealt: the steps whose tasks people have.

    Raises:
        ValueError: for a change that contradicts a step that is done, or half done.
    """
    differences = list(_differences(before, now))
    if not differences:
        return []
    begun = {(m["ledger"], m["stage"]) for m in store.manifests()}
    plan = list(steps(now))
    begun_steps = [step for step in plan if (step.ledger, step.stage.name) in begun]
    for change in differences:
        _refuse_fewer_iterations(change, begun)
        for step in begun_steps:
            _refuse_if_read(store, change, step)
    return [
        change._replace(since=_since(store, change.field, plan, begun_steps, dealt))
        for change in differences
    ]


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    """The fields in which two configs differ; a judge that comes or goes is one of them."""
    old, new = judges_by_name(before), judges_by_name(now)
    for panel in PANELS:
        for name in sorted(old[panel].keys() | new[panel].keys()):
            field = f"{panel}.{name}"
            if name not in old[panel]:
                yield Change(field, ABSENT, ASKED)
            elif name not in new[panel]:
                yield Change(field, ASKED, ABSENT)
            else:
                yield from _fields_of(old[panel][name], new[panel][name], f"{field}.")
    for change in _fields_of(before, now):
        if change.field not in PANELS and not within(change.field, ELSEWHERE):
            yield change


def _fields_of(
    before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> Iterator[Change]:
    old, new = _as_texts(before), _as_texts(now)
    for field in sorted(old.keys() | new.keys()):
        texts = old.get(field, ABSENT), new.get(field, ABSENT)
        # A section without any field stands in the list itself.
        if texts[0] != texts[1] and set(texts) != {"{}", ABSENT}:
            yield Change(f"{prefix}{field}", *texts)


def _as_texts(config: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a config as JSON: 1 == True in Python, while they are different settings."""
    return {field: json.dumps(value) for field, value in config_lib.fields(config).items()}


def _refuse_fewer_iterations(change: Change, begun: set[tuple[str, str]]) -> None:
    numbers = [int(name.partition("-")[2]) for ledger, name in begun if ledger == "picks"]
    if change.field == "stage1.iterations" and numbers and int(change.now) < max(numbers):
        last = stage_names.picks(max(numbers)).name
        raise ValueError(
            f"{_text(change)}, but step {last} is done; set it to {max(numbers)} or more"
        )


def _refuse_if_read(store: Store, change: Change, step: Step) -> None:
    """Raise ValueError where a step that has begun read a field that may not change any more."""
    reader = reader_of(step.ledger, step.stage.name)
    if reader is None:
        return
    # A source that was imported by hand and is in the config now: importing it again compares.
    is_new = change.before == ABSENT and change.field.startswith("sources.")
    if within(change.field, reader.fixes) and not is_new:
        raise ValueError(
            f"{_text(change)}, but step {step.stage.name} was done with what it was, and later "
            "steps build on it; change it back, or use another folder"
        )
    # Written at once into several ledgers, and killed in between: its rows must still fit.
    is_half = not step.stage.sliced and not step.stage.has(store)
    if is_half and within(change.field, reader.reads):
        raise ValueError(
            f"{_text(change)}, but step {step.stage.name} is half done; change it back, run until "
            "the step is done, and change it then"
        )


def _since(
    store: Store,
    field: str,
    plan: Sequence[Step],
    begun_steps: Sequence[Step],
    dealt: Collection[str],
) -> str | None:
    """The first step that is not done and reads a field."""
    # Who has a task keeps it, whoever comes later.
    if field in DEALING:
        plan = [step for step in plan if step.stage.name not in dealt or step in begun_steps]
    last = max((plan.index(step) for step in begun_steps), default=-1)
    for i, step in enumerate(plan):
        # A step that later ones follow is done. The last one may be, if it is written at once.
        is_done = i < last or (i == last and not step.stage.sliced and step.stage.has(store))
        reader = reader_of(step.ledger, step.stage.name)
        if reader and not is_done and within(field, (*reader.reads, *reader.fixes)):
            return step.stage.name
    return None


def sentence(change: Change) -> str:
    """What is said of a change on the screen."""
    sections = []
    for reader in READERS:
        sections += [section.partition(".{")[0] for section in (*reader.reads, *reader.fixes)]
    if not within(change.field, sections):
        return f"{_text(change)}: counts from now on"
    if change.since is None:
        return f"{_text(change)}: no step that is left reads it"
    return f"{_text(change)}: counts from step {change.since} on"


def _text(change: Change) -> str:
    return f"{change.field}: {change.before} -> {change.now}"
