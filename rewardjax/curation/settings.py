"""Which settings a step of the loop reads, and which it was made with.

A step is told by the name of its stage. `READERS` says which fields of the config its rows depend
on; the store keeps their values with each shard (`Store.settings`). A field that a step has read
may change for the steps that are left, unless later ones build on what it was: vectors of two
embedders cannot be compared. Such fields are `fixes` of the step (`setting_changes.py`).
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax import config as config_lib
from rewardjax import fingerprint
from rewardjax.curation.judges.judge_prompts import judge_prompt
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.ledger.manifests import Manifest
from rewardjax.curation.ledger.store import Store

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
# In a recorded config, and nowhere else: path -> fingerprint of the judges' own prompts.
PROMPT_FILES = "prompt_files"


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
    reader = reader_of(ledger, stage)
    if reader is None:
        return None
    sections = (*reader.reads, *reader.fixes)
    values = {}
    for field, value in config_lib.fields(judges_by_name(config, _iteration(stage))).items():
        if within(field, sections) and not within(field, ELSEWHERE):
            values[field] = value
    return values


def judges_in(values: Mapping[str, Any]) -> list[str]:
    """The names of the judges in what `read_by` says of a stage that asks judges."""
    return sorted({field.split(".")[1] for field in values if field.startswith("judges.")})


def judges_that_changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The judges that two results of `read_by` both have, with other settings."""
    names = []
    for name in judges_in(now):
        old, new = _of_judge(before, name), _of_judge(now, name)
        if old and old != new:
            names.append(name)
    return names


def _of_judge(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {field: values[field] for field in values if within(field, (f"judges.{name}",))}


def judges_by_name(config: Mapping[str, Any], iteration: int | None = None) -> dict[str, Any]:
    """The config with name -> judge in place of its lists: of all, or those of one iteration."""
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


def reader_of(ledger: str, stage: str) -> Reader | None:
    """Who reads settings for a stage, its fields filled in."""
    for reader in READERS:
        match = re.fullmatch(reader.name, stage)
        if match and ledger == reader.ledger:
            fixes = tuple(field.format(*match.groups()) for field in reader.fixes)
            return reader._replace(fixes=fixes)
    return None


def within(field: str, sections: Iterable[str]) -> bool:
    """Whether a dotted field is one of these, or lies in one of these sections."""
    return any(field == section or field.startswith(f"{section}.") for section in sections)


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
    reader = reader_of(manifest["ledger"], manifest["stage"])
    values = store.settings(manifest)
    if reader is None or not isinstance(values, dict):
        return {}
    sections = (*reader.reads, *reader.fixes)
    return {field: value for field, value in values.items() if within(field, sections)}


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
