"""Cleaning the text in a store: contamination, near duplicates, personal data, talk to judges.

Nothing is dropped in silence. What cleaning finds becomes a row of the ledger `findings` with its
evidence: `hold` keeps a pair out until a reviewer restores it (the paper restored 23% of what the
first 13-gram pass flagged), `flag` only notes it. Unusable rows and exact duplicates never get this
far: `intake` lists and merges them. What was looked at is recorded too, as a shard without findings
(`coverage` tells): to have found nothing is not to have looked for nothing.

The work is done shard by shard, in this process or on an engine (`engine`), and then once over all
in this process, which only compares signatures.
"""

import functools
import importlib
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import numpy as np
import pyarrow as pa

from rewardjax import config as config_lib
from rewardjax import fingerprint
from rewardjax.command.running import Running
from rewardjax.curation.cleaning import (
    contamination,
    judge_directed,
    near_duplicates,
    near_findings,
)
from rewardjax.curation.ledger import pair_texts, tables
from rewardjax.curation.ledger.pair_texts import Texts
from rewardjax.curation.ledger.rows import FindingAction, FindingRow
from rewardjax.curation.ledger.store import Store
from rewardjax.data.sources import open_named
from rewardjax.engine import spread
from rewardjax.engine.executors import Engine
from rewardjax.engine.tasks import Unit
from rewardjax.io import files

STAGE = "clean"
# What cleaning looks for: words of the column `finding`.
CHECKS = ("contaminated", "near_duplicate", "pii", "judge_directed")
# Raise it where a check finds other things than before: pairs are looked at again then.
RULES = 2

# Stage and unit of a shard of `pairs`.
Shard = tuple[str, str]
# Text -> the kinds of personal data in it.
Hook = Callable[[str], list[str]]


class Settings(TypedDict):
    """What cleaning looks for; its fingerprint names the shards of findings."""

    rules: int
    n: int
    modes: list[str]
    near: float | None
    pii: str | None
    hold: list[str]
    # Name -> fingerprint of the source.
    benchmarks: dict[str, str]


class Looked(TypedDict):
    """The inputs of a shard of findings: what was looked for, and in which shards of `pairs`."""

    # Check -> what of, as settings.
    checks: dict[str, Any]
    shards: list[Shard]
    # Of near duplicates, which are looked for over all shards at once.
    state: NotRequired[str]


def clean(
    store: Store,
    *,
    benchmarks: Mapping[str, str | Mapping[str, str]] | None = None,
    n: int = 13,
    modes: Sequence[str] = ("paper", "strict"),
    near: float | None = None,
    pii: str | None = "rewardjax.curation.cleaning.personal_data:find_pii",
    hold: Sequence[str] = ("contaminated", "near_duplicate"),
    engine: Engine | None = None,
    running: Running | None = None,
) -> dict[str, int]:
    """Look through every pair of the store that was not cleaned yet with these settings.

    Args:
        store: it is given the findings.
        benchmarks: name -> source of records with a prompt that must not be trained on, or
            {"source", "split"} where it has several splits.
        n: words; a shared n-gram is a finding (paper: 13, any prompt turn).
        modes: how a text is cut into words, names of ngrams.TOKENS; each is tried.
        near: of pairs whose prompts and whose responses all have a Jaccard similarity of word
            5-grams of at least this, all but the first by pair_id are findings; None: not looked
            for.
        pii: "module:function", text -> the kinds of personal data in it; None: not looked for.
        hold: the checks whose findings keep a pair out until a reviewer restores it, of CHECKS; the
            others only flag.
        engine: where pairs are looked through; None: in this process.
        running: where it is told how far an engine is.

    Returns:
        Counts of pairs by finding.

    Raises:
        Unfinished: where tasks of an engine did not do their work.
        ValueError: for an unknown mode or check, or an unreadable or empty benchmark.
    """
    benchmarks = benchmarks or {}
    for check in hold:
        if check not in CHECKS:
            raise ValueError(f"clean.hold: {check!r} is not one of {', '.join(CHECKS)}")
    if near is not None and not 0 < near <= 1:
        raise ValueError(f"clean.near = {near} is not in (0, 1]; None does not look for any")
    settings = Settings(
        rules=RULES,
        n=n,
        modes=list(modes),
        near=near,
        pii=pii,
        hold=sorted(hold),
        benchmarks={
            name: open_named(entry).fingerprint() for name, entry in sorted(benchmarks.items())
        },
    )
    shards = [(m["stage"], m["unit"]) for m in store.manifests("pairs")]
    name = fingerprint.of_json(settings)
    work = store.folder / "work" / f"clean-{name}"
    # A partial function of plain values, as engines send it to other processes.
    look = functools.partial(
        _look_through, folder=str(store.folder), signatures=str(work), settings=settings
    )

    def missing() -> list[Unit]:
        shards_left = _to_look_through(store, shards, name, str(work), settings)
        return [Unit(f"{stage}.{unit}", [stage, unit]) for stage, unit in shards_left]

    def join(unit: Unit, rows: pa.Table) -> None:
        looked = Looked(checks=looked_for(settings), shards=[tuple(unit.about)])
        shard = "-".join((*unit.about, name))
        store.append("findings", STAGE, shard, rows, inputs=_as_json(looked), config=settings)

    if units := missing():
        work.mkdir(parents=True, exist_ok=True)
        prompts = contamination.read_prompts(benchmarks)
        config_lib.write_json(work / "prompts.json", prompts)
        if engine is not None and engine.name:
            accounts, told_by = spread.Nothing(), running or Running()
            todo = spread.Work("cleaning", work, missing, look, join, accounts, told_by)
            spread.run(engine, todo)
        else:
            for unit, rows in look(units, work):
                join(unit, rows)
    if near is not None:
        # In this process also where other machines looked: it only compares what they left.
        _add_near_duplicates(store, shards, name, str(work), settings)
    counts = store.query(
        "select finding, count(distinct pair_id) as pairs from findings "
        "where action in ('hold', 'flag') and finding in (select unnest($checks)) "
        "group by finding order by finding",
        {"checks": list(CHECKS)},
    )
    return {row["finding"]: row["pairs"] for row in counts.to_pylist()}


def looked_for(settings: Settings) -> dict[str, Any]:
    """The checks that a look through one shard makes with these settings, and what of."""
    checks: dict[str, Any] = {"judge_directed": judge_directed.VERSION}
    if settings["benchmarks"]:
        checks["contaminated"] = {name: settings[name] for name in ("n", "modes", "benchmarks")}
    if settings["pii"] is not None:
        checks["pii"] = settings["pii"]
    return checks


# ------------------------------------------------------------------ tasks


def _to_look_through(
    store: Store, shards: Sequence[Shard], name: str, work: str, settings: Settings
) -> list[Shard]:
    """The shards that have no findings yet, or whose signatures are missing."""
    todo = []
    for stage, unit in shards:
        has_findings = store.has("findings", STAGE, f"{stage}-{unit}-{name}")
        has_signatures = settings["near"] is None or _signatures_path(work, stage, unit).exists()
        if not (has_findings and has_signatures):
            todo.append((stage, unit))
    return todo


def _look_through(
    units: Sequence[Unit],
    _: pathlib.Path,
    *,
    folder: str,
    signatures: str,
    settings: Settings,
) -> Iterator[tuple[Unit, pa.Table]]:
    """The findings of shards, in no order; their signatures go to the folder `signatures`."""
    if not units:
        return
    store = Store(folder)
    prompts = json.loads(pathlib.Path(signatures, "prompts.json").read_text())
    unit_of: dict[Shard, Unit] = {tuple(unit.about): unit for unit in units}
    for shard, pairs in pair_texts.of_shards(store, list(unit_of)):
        findings = list(_contaminated(pairs, prompts, settings))
        if settings["pii"] is not None:
            findings += _in_texts(pairs, "pii", _hook(settings["pii"]), settings)
        findings += _in_texts(pairs, "judge_directed", _kinds_of_talk, settings)
        if settings["near"] is not None:
            near = [near_duplicates.signature(pair_texts.compared(pair)) for pair in pairs]
            path = _signatures_path(signatures, *shard)
            with files.replacing(path) as part, open(part, "wb") as file:
                np.save(file, near_duplicates.stack(near))
        # After the signatures: the findings say that the shard is done.
        unit = unit_of[shard]
        yield unit, tables.from_dicts("findings", list(map(dict, findings)), unit.name)


def _as_json(looked: Looked) -> dict[str, Any]:
    # As it will be read back: a manifest that is written again is compared with the stored one.
    return json.loads(json.dumps(looked))


def _signatures_path(work: str, stage: str, unit: str) -> pathlib.Path:
    return pathlib.Path(work, f"{stage}.{unit}.npy")


def _hook(path: str) -> Hook:
    module, _, attribute = config_lib.current_path(path).partition(":")
    return getattr(importlib.import_module(module), attribute)


def _kinds_of_talk(text: str) -> list[str]:
    # Without the words: evidence stays where the text of a pair is erased on request.
    return list(judge_directed.find(text))


def _action(check: str, settings: Settings) -> FindingAction:
    if check in settings["hold"]:
        return "hold"
    return "flag"


def _contaminated(
    pairs: list[Texts], prompts: list[contamination.BenchmarkPrompt], settings: Settings
) -> Iterator[FindingRow]:
    """A finding for each pair whose prompt shares an n-gram with a benchmark prompt."""
    texts = [pair_texts.of_users(pair.prompt) for pair in pairs]
    all_hits = contamination.find(texts, prompts, n=settings["n"], modes=settings["modes"])
    for pair, hits in zip(pairs, all_hits, strict=True):
        if hits:
            yield FindingRow(
                pair_id=pair.pair_id,
                finding="contaminated",
                action=_action("contaminated", settings),
                evidence=json.dumps(hits),
            )


def _in_texts(
    pairs: list[Texts], check: str, kinds_in: Hook, settings: Settings
) -> Iterator[FindingRow]:
    """A finding for each pair in whose prompt or responses something is, with its kinds by side."""
    for pair in pairs:
        evidence = {}
        for side in pair_texts.SIDES:
            kinds = kinds_in(pair_texts.text(getattr(pair, side)))
            if kinds:
                evidence[side] = kinds
        if evidence:
            yield FindingRow(
                pair_id=pair.pair_id,
                finding=check,
                action=_action(check, settings),
                evidence=json.dumps(evidence),
            )


def _add_near_duplicates(
    store: Store, shards: Sequence[Shard], name: str, work: str, settings: Settings
) -> None:
    """Compare the signatures of all shards, and append what repeats an earlier pair."""
    stage, state = f"{STAGE}-near", store.fingerprint("pairs")
    unit = f"{name}-{state}"
    if settings["near"] is None or store.has("findings", stage, unit):
        return
    earlier = []
    for m in store.manifests("findings"):
        if m["stage"] == stage and m["unit"].startswith(f"{name}-"):
            earlier.append(m["inputs"]["shards"])
    signatures = {shard: np.load(_signatures_path(work, *shard), mmap_mode="r") for shard in shards}
    rows = near_findings.rows(
        store, signatures, earlier, settings["near"], _action("near_duplicate", settings)
    )
    looked = Looked(checks={"near_duplicate": settings["near"]}, shards=list(shards), state=state)
    store.append("findings", stage, unit, rows, inputs=_as_json(looked), config=settings)
