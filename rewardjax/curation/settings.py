"""Which settings a step of the loop reads: what may change between two starts, and from when.

A step is told by the name of its stage. `READERS` says which fields of the config its rows depend
on; the store keeps their values with each shard (`Store.settings`). A field that a step has read
may change for the steps that are left, unless later ones build on what it was: vectors of two
embedders cannot be compared. Such fields are `fixes` of the step.
"""

import dataclasses
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax import config as config_lib
from rewardjax import fingerprint
from rewardjax.curation.judges.judge_prompts import judge_prompt
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.ledger.stage_names import Stage
from rewardjax.curation.ledger.store import Manifest, Store

# Where and how fast, never what: no step keeps these, and they may always change.
ELSEWHERE = (
    "engine",
    # Its name in workspaces of earlier versions.
    "clean.executor",
    *(f"embedder.server.{name}" for name in ("base_url", "batch", "max_in_flight", "timeout")),
    *(f"embedder.server.{name}" for name in ("retries", "price_input", "key_env")),
    "train.mesh",
    "train.compute",
    "train.log",
    "train.data.cache",
)
ELSEWHERE_OF_JUDGES = ("base_url", "max_in_flight", "timeout", "retries", "key_env")
# The config's lists of who is asked.
PANELS = ("judges", "taggers")


# What a step of people reads when its tasks are dealt.
DEALING = ("people.annotators", "people.overlap", "people.checks")

# In a recorded config, and nowhere else: path -> fingerprint of the judges' own prompts.
PROMPT_FILES = "prompt_files"

# How a field that is not there, and a judge that is, are written.
ABSENT, ASKED = "(absent)", "asked"


class Reader(NamedTuple):
    """Fields, or whole sections, that steps read.

    ledger: that the step appends to first. name: a pattern of the stage's name; its group, where it
    has one, is the iteration, or the name of a source.
    """

    ledger: str
    name: str
    # These may differ from one such step to the next.
    reads: tuple[str, ...] = ()
    # These stay what they were from the first such step on. {0} is the group of `name`.
    fixes: tuple[str, ...] = ()


READERS = (
    Reader(
        "votes",
        r"import-(.+)",
        # Not its path: another file under this name is refused by what is in it (`take_in`).
        fixes=tuple(f"sources.{{0}}.{name}" for name in ("entry", "split", "columns", "labels")),
    ),
    Reader("attributes", r"tag", ("tag", *PANELS)),
    Reader("attributes", r"tag-wild-(\d+)", ("tag", *PANELS)),
    Reader("embeddings", r"embed(?:-wild-\d+)?", fixes=("embedder",)),
    Reader("picks", r"pick-0", ("stage1.human_share",), fixes=("seed", "stage1.first")),
    Reader(
        "picks",
        r"pick-\d+",
        ("stage1.budget", "stage1.select", "stage1.k_max", "stage1.human_share", "calibrate"),
        fixes=("seed",),
    ),
    Reader("votes", r"people-\d+", ("people", "prices.gold")),
    Reader("votes", r"audit-\d+-\d+", ("people", "prices.gold")),
    Reader("votes", r"label-(?:wild-)?(\d+)-judges", ("judges", "shots", PROMPT_FILES)),
    Reader("votes", r"label-(?:wild-)?\d+-panel", ("panel", "judging.quorum")),
    Reader("training", r"gold-\d+-fold-\d+", ("train",), fixes=("stage2.folds",)),
    Reader("training", r"(?:best|gold)-\d+", ("train",)),
    Reader("decisions", r"stage2-(?:ask|final)-\d+", fixes=("stage2", "calibrate")),
)


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


# ------------------------------------------------------------------ what a step reads


def recorded(config: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved config as a workspace keeps it: without where its judges are."""
    kept = {**config, PROMPT_FILES: {}}
    for panel in PANELS:
        kept[panel] = []
        for judge in config[panel]:
            kept[panel].append({key: judge[key] for key in judge if key not in ELSEWHERE_OF_JUDGES})
            path = judge.get("prompt", "")
            # The file may say something else tomorrow, under the same name.
            if path.endswith(".toml"):
                prompt = dataclasses.asdict(judge_prompt(path))
                kept[PROMPT_FILES][path] = fingerprint.of_json(prompt)
    return kept


def read_by(config: Mapping[str, Any], ledger: str, stage: str) -> dict[str, Any] | None:
    """The values that the rows of a stage depend on, by field; None where no field matters.

    config: as `recorded`.
    """
    reader = _reader(ledger, stage)
    if reader is None:
        return None
    sections = (*reader.reads, *reader.fixes)
    values = {}
    for field, value in config_lib.fields(_judges_by_name(config, _iteration(stage))).items():
        if _within(field, sections) and not _within(field, ELSEWHERE):
            values[field] = value
    return values


def judges_in(values: Mapping[str, Any]) -> list[str]:
    """The names of the judges in what `read_by` says of a stage that asks judges."""
    return sorted({field.split(".")[1] for field in values if field.startswith("judges.")})


def judges_that_changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The judges that two results of `read_by` both have, with other settings."""
    names = []
    for name in judges_in(now):
        old, new = (
            {field: values[field] for field in values if field.startswith(f"judges.{name}.")}
            for values in (before, now)
        )
        if old and old != new:
            names.append(name)
    return names


def _judges_by_name(config: Mapping[str, Any], iteration: int | None = None) -> dict[str, Any]:
    """The config with name -> judge in place of its lists; those of one iteration, if it is given.

    An empty list stays one: a section without fields would not be told.
    """
    by_name = {**config}
    for panel in PANELS:
        serving = {}
        for judge in config[panel]:
            first, last = judge.get("first", 0), judge.get("last")
            if iteration is None or (first <= iteration and (last is None or iteration <= last)):
                serving[judge["name"]] = judge
        by_name[panel] = serving
    return by_name


def _iteration(stage: str) -> int | None:
    """The iteration that a stage of judges or taggers belongs to; None for other stages."""
    if stage == stage_names.TAG.name:
        return stage_names.TAG.iteration
    match = re.fullmatch(r"(?:tag|label)-(?:wild-)?(\d+)(?:-judges)?", stage)
    if match:
        return int(match[1])
    return None


def _reader(ledger: str, stage: str) -> Reader | None:
    """Who reads settings for a stage, its fields filled in."""
    for reader in READERS:
        match = re.fullmatch(reader.name, stage)
        if match and ledger == reader.ledger:
            fixes = tuple(field.format(*match.groups()) for field in reader.fixes)
            return reader._replace(fixes=fixes)
    return None


def _within(field: str, sections: Iterable[str]) -> bool:
    """Whether a dotted field is one of these, or lies in one of these sections."""
    return any(field == section or field.startswith(f"{section}.") for section in sections)


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
    old, new = _judges_by_name(before), _judges_by_name(now)
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
        if change.field not in PANELS and not _within(change.field, ELSEWHERE):
            yield change


def _fields_of(
    before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> Iterator[Change]:
    old, new = config_lib.fields(before), config_lib.fields(now)
    for field in sorted(old.keys() | new.keys()):
        # As text: 1 == True in Python, while they are different settings.
        texts = [json.dumps(values[field]) if field in values else ABSENT for values in (old, new)]
        # A section without any field stands in the list itself.
        if texts[0] != texts[1] and set(texts) != {"{}", ABSENT}:
            yield Change(f"{prefix}{field}", *texts)


def _refuse_fewer_iterations(change: Change, begun: set[tuple[str, str]]) -> None:
    numbers = [int(name.partition("-")[2]) for ledger, name in begun if ledger == "picks"]
    if change.field == "stage1.iterations" and numbers and int(change.now) < max(numbers):
        last = stage_names.picks(max(numbers)).name
        raise ValueError(
            f"{_text(change)}, but step {last} is done; set it to {max(numbers)} or more"
        )


def _refuse_if_read(store: Store, change: Change, step: Step) -> None:
    """Raise ValueError where a step that has begun read a field that may not change any more."""
    reader = _reader(step.ledger, step.stage.name)
    if reader is None:
        return
    # A source that was imported by hand and is in the config now: importing it again compares.
    is_new = change.before == ABSENT and change.field.startswith("sources.")
    if _within(change.field, reader.fixes) and not is_new:
        raise ValueError(
            f"{_text(change)}, but step {step.stage.name} was done with what it was, and later "
            "steps build on it; change it back, or use another folder"
        )
    # Written at once into several ledgers, and killed in between: its rows must still fit.
    is_half = not step.stage.sliced and not step.stage.has(store)
    if is_half and _within(change.field, reader.reads):
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
        reader = _reader(step.ledger, step.stage.name)
        if reader and not is_done and _within(field, (*reader.reads, *reader.fixes)):
            return step.stage.name
    return None


def sentence(change: Change) -> str:
    """What is said of a change on the screen."""
    sections = []
    for reader in READERS:
        sections += [section.partition(".{")[0] for section in (*reader.reads, *reader.fixes)]
    if not _within(change.field, sections):
        return f"{_text(change)}: counts from now on"
    if change.since is None:
        return f"{_text(change)}: no step that is left reads it"
    return f"{_text(change)}: counts from step {change.since} on"


def _text(change: Change) -> str:
    return f"{change.field}: {change.before} -> {change.now}"


# ------------------------------------------------------------------ what applied to which step


def applied(store: Store) -> list[dict[str, str]]:
    """A row for each value of each field that was not the same in all steps, with the steps.

    A step of which only some units were made with a value is named with the first of them.
    """
    shards: list[tuple[Manifest, dict[str, str]]] = []
    for ledger in sorted({reader.ledger for reader in READERS}):
        for manifest in store.manifests(ledger):
            values = _kept(store, manifest)
            if values:
                shards.append((manifest, _texts(values)))
    shards.sort(key=lambda shard: (shard[0]["iteration"], shard[0]["stage"], shard[0]["unit"]))
    units: dict[str, int] = {}
    by_value: dict[str, dict[str, list[Manifest]]] = {}
    for manifest, values in shards:
        units[manifest["stage"]] = units.get(manifest["stage"], 0) + 1
        for field, value in values.items():
            by_value.setdefault(field, {}).setdefault(value, []).append(manifest)
    rows = []
    for field, manifests_of in sorted(by_value.items()):
        if len(manifests_of) > 1:
            for value, manifests in manifests_of.items():
                rows.append({"setting": field, "value": value, "steps": _stages(manifests, units)})
    return rows


def of_shards(store: Store, shards: Iterable[tuple[str, str, str]]) -> list[str]:
    """Of the settings that changed, those of these shards, each (ledger, stage, unit), as lines."""
    changed = {row["setting"] for row in applied(store)}
    lines = []
    for ledger, stage, unit in dict.fromkeys(shards):
        texts = _texts(_kept(store, store.manifest(ledger, stage, unit)))
        for name in sorted(changed & texts.keys()):
            lines.append(f"{stage}.{unit}: {name} = {texts[name]}")
    return lines


def _kept(store: Store, manifest: Manifest) -> dict[str, Any]:
    """What a shard's step read of the config; nothing where a shard keeps settings of its own."""
    reader = _reader(manifest["ledger"], manifest["stage"])
    values = store.settings(manifest)
    if reader is None or not isinstance(values, dict):
        return {}
    sections = (*reader.reads, *reader.fixes)
    return {field: value for field, value in values.items() if _within(field, sections)}


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Settings as text, and for each judge that it was asked."""
    texts = {field: json.dumps(value) for field, value in values.items()}
    judges = judges_in(values)
    if judges:
        texts["judges"] = ", ".join(judges)
    return texts


def _stages(manifests: Sequence[Manifest], units: Mapping[str, int]) -> str:
    """The stages of shards; one with units of other settings too by the first unit of these."""
    names = []
    for stage in dict.fromkeys(m["stage"] for m in manifests):
        of_stage = [m["unit"] for m in manifests if m["stage"] == stage]
        if len(of_stage) < units[stage]:
            names.append(f"{stage} (from unit {of_stage[0]})")
        else:
            names.append(stage)
    return ", ".join(names)
