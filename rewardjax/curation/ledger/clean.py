"""Cleaning the text in a store: near duplicates, contamination, personal data.

Nothing is dropped in silence. What cleaning finds becomes a row of the ledger `findings` with its
evidence: `hold` keeps a pair out until a reviewer restores it (the paper restored 23% of what the
first 13-gram pass flagged), `flag` only notes it. Unusable rows and exact duplicates never get this
far: `intake` lists and merges them.

The work is functions of (shards, rank, world size), shard by shard and then once over all: run in
this process, or by datatrove's executors on the cores of a machine, on Slurm or on Ray. Every task
writes shards of its own and may be killed and repeated.
"""

import collections
import functools
import importlib
import json
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np

from rewardjax import config as config_lib
from rewardjax import files, fingerprint
from rewardjax.curation.ledger import contamination, near_duplicates
from rewardjax.curation.ledger.rows import FindingRow
from rewardjax.curation.ledger.store import Store
from rewardjax.data.groups import Message
from rewardjax.data.sources import open_named

STAGE = "clean"
EXECUTORS = {
    "local": "datatrove.executor.local:LocalPipelineExecutor",
    "slurm": "datatrove.executor.slurm:SlurmPipelineExecutor",
    "ray": "datatrove.executor.ray:RayPipelineExecutor",
}
# Patterns of our own, as datatrove's formatters replace what they match and do not say what it was,
# and knows neither phone nor card numbers. A pattern only flags: a false alarm costs a look.
PII = {
    "e-mail": re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}\b"),
    "phone": re.compile(
        r"(?<![\w.])(?:\+\d{1,3}[ .-]?)?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-])"
    ),
    "IP address": re.compile(
        r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])"
    ),
    "social security number": re.compile(
        r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])"
    ),
    "card number": re.compile(r"(?<![\w-])(?:\d[ -]?){13,19}(?![\w-])"),
}

# Stage and unit of a shard of `pairs`.
Shard = tuple[str, str]
# Text -> the kinds of personal data in it.
Hook = Callable[[str], list[str]]


class Settings(TypedDict):
    """What cleaning looks for; its fingerprint names the shards of findings."""

    n: int
    modes: list[str]
    near: float | None
    pii: str | None
    # Name -> fingerprint of the source.
    benchmarks: dict[str, str]


class Texts(NamedTuple):
    """The texts of a pair."""

    pair_id: str
    prompt: list[Message]
    response_a: list[Message]
    response_b: list[Message]


def clean(
    store: Store,
    *,
    benchmarks: Mapping[str, str | Mapping[str, str]] | None = None,
    n: int = 13,
    modes: Sequence[str] = ("paper", "strict"),
    near: float | None = 0.8,
    pii: str | None = "rewardjax.curation.ledger.clean:find_pii",
    executor: Mapping[str, Any] | None = None,
) -> dict[str, int]:
    """Look through every pair of the store that was not cleaned yet with these settings.

    Args:
        store: it is given the findings.
        benchmarks: name -> source of records with a prompt that must not be trained on, or
            {"source", "split"} where it has several splits.
        n: words; a shared n-gram holds a pair (paper: 13, any prompt turn).
        modes: how a text is cut into words, names of ngrams.TOKENS; each is tried.
        near: of pairs whose word 5-grams (prompt and both responses) have an estimated Jaccard
            similarity of at least this, all but the first by pair_id are held; None: not looked
            for.
        pii: "module:function", text -> the kinds of personal data in it; flags only.
        executor: None to work in this process, or {"name": "local" | "slurm" | "ray", "tasks": N,
            ...} with that datatrove executor's own keyword arguments. Slurm's returns when the
            jobs are queued: call again when they are done.

    Returns:
        Counts of pairs by finding.

    Raises:
        ValueError: for an unknown executor or mode, or an unreadable benchmark.
    """
    benchmarks = benchmarks or {}
    settings = Settings(
        n=n,
        modes=list(modes),
        near=near,
        pii=pii,
        benchmarks={
            name: open_named(entry).fingerprint() for name, entry in sorted(benchmarks.items())
        },
    )
    shards = [(m["stage"], m["unit"]) for m in store.manifests("pairs")]
    name, state = fingerprint.of_json(settings), store.fingerprint("pairs")
    work = store.folder / "work" / f"clean-{name}"
    work.mkdir(parents=True, exist_ok=True)
    (work / "prompts.json").write_text(json.dumps(contamination.read_prompts(benchmarks)))
    # Partial functions of plain values, as executors send them to other processes.
    shared: dict[str, Any] = {
        "folder": str(store.folder),
        "work": str(work),
        "shards": shards,
        "settings": settings,
    }
    look = functools.partial(_look_through, name=name, **shared)
    merge: Callable[..., Iterator[Any]] = _nothing
    if near is not None:
        merge = functools.partial(
            _hold_near_duplicates, unit=f"{name}-{state}", threshold=near, **shared
        )
    if executor:
        first = _executor(work / f"look-{state}", look, executor)
        _executor(work / f"merge-{state}", merge, {**executor, "tasks": 1, "depends": first}).run()
    else:
        for step in (look, merge):
            collections.deque(step(None, 0, 1), maxlen=0)
    counts = store.query(
        "select finding, count(distinct pair_id) as pairs from findings "
        "where action in ('hold', 'flag') group by finding"
    )
    return {row["finding"]: row["pairs"] for row in counts.to_pylist()}


def find_pii(text: str) -> list[str]:
    """Kinds of personal data that patterns find in a text: a hook's contract and its default."""
    kinds = []
    for kind, pattern in PII.items():
        # Long numbers abound in tasks: only those with a right check digit count.
        is_valid = _has_check_digit if kind == "card number" else bool
        if any(is_valid(match[0]) for match in pattern.finditer(text)):
            kinds.append(kind)
    return kinds


def _has_check_digit(number: str) -> bool:
    """Whether the last digit is right by Luhn's formula (ISO/IEC 7812)."""
    digits = [int(char) for char in reversed(number) if char.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


# ------------------------------------------------------------------ tasks


def _executor(folder: pathlib.Path, step: Callable, options: Mapping[str, Any]) -> Any:
    """A datatrove executor that runs a step, its completions and logs in `folder`."""
    name = options.get("name")
    if name not in EXECUTORS:
        raise ValueError(f"executor.name = {name!r}, not one of {', '.join(EXECUTORS)}")
    own_options = {key: value for key, value in options.items() if key != "name"}
    module, _, attribute = EXECUTORS[name].partition(":")
    executor_class = getattr(importlib.import_module(module), attribute)
    executor = executor_class([step], logging_dir=str(folder), **own_options)
    if name == "local":
        # By default datatrove's library forks, which a process with JAX's threads may not survive.
        multiprocess: Any = importlib.import_module("multiprocess")
        multiprocess.set_start_method("forkserver", force=True)
    return executor


def _nothing(_: Any, rank: int, world_size: int) -> Iterator[Any]:
    yield from ()


def _look_through(
    _: Any,
    rank: int,
    world_size: int,
    *,
    name: str,
    folder: str,
    work: str,
    shards: list[Shard],
    settings: Settings,
) -> Iterator[Any]:
    """A task: its share of the shards, one after another.

    Findings go to the ledger, signatures to `work`.
    """
    store = Store(folder)
    todo = []
    for stage, unit in shards[rank::world_size]:
        has_findings = store.has("findings", STAGE, f"{stage}-{unit}-{name}")
        has_signatures = settings["near"] is None or _signatures_path(work, stage, unit).exists()
        if not (has_findings and has_signatures):
            todo.append((stage, unit))
    if not todo:
        return
    prompts = json.loads(pathlib.Path(work, "prompts.json").read_text())
    for stage, unit in todo:
        pairs = _texts(store, stage, unit)
        findings = list(_contaminated(pairs, prompts, settings))
        if settings["pii"] is not None:
            findings += _personal(pairs, _hook(settings["pii"]))
        if settings["near"] is not None:
            signatures = [near_duplicates.signature(_all_text(pair)) for pair in pairs]
            path = _signatures_path(work, stage, unit)
            with files.replacing(path) as part, open(part, "wb") as file:
                np.save(file, near_duplicates.stack(signatures))
        # After the signatures: the findings say that the shard is done.
        store.append("findings", STAGE, f"{stage}-{unit}-{name}", findings, config=settings)
        yield stage, unit


def _signatures_path(work: str, stage: str, unit: str) -> pathlib.Path:
    return pathlib.Path(work, f"{stage}.{unit}.npy")


def _hook(path: str) -> Hook:
    module, _, attribute = config_lib.current_path(path).partition(":")
    return getattr(importlib.import_module(module), attribute)


def _texts(store: Store, stage: str, unit: str) -> list[Texts]:
    """The pairs of a shard, by pair_id."""
    rows = store.query(
        "select pair_id, prompt, response_a, response_b from pairs "
        "where stage = ? and unit = ? order by pair_id",
        [stage, unit],
    ).to_pylist()
    pairs = []
    for row in rows:
        prompt, a, b = (json.loads(row[name]) for name in ("prompt", "response_a", "response_b"))
        pairs.append(Texts(row["pair_id"], prompt, a, b))
    return pairs


def _text(messages: list[Message]) -> str:
    return "\n".join(message["content"] for message in messages)


def _user_text(prompt: list[Message]) -> str:
    # Turns of people only: what a model said before may quote anything.
    return _text([message for message in prompt if message["role"] == "user"])


def _all_text(pair: Texts) -> str:
    return "\n".join([_text(pair.prompt), _text(pair.response_a), _text(pair.response_b)])


def _contaminated(
    pairs: list[Texts], prompts: list[contamination.BenchmarkPrompt], settings: Settings
) -> Iterator[FindingRow]:
    """A finding for each pair whose prompt shares an n-gram with a benchmark prompt."""
    texts = [_user_text(pair.prompt) for pair in pairs]
    all_hits = contamination.find(texts, prompts, n=settings["n"], modes=settings["modes"])
    for pair, hits in zip(pairs, all_hits, strict=True):
        if hits:
            yield FindingRow(
                pair_id=pair.pair_id,
                finding="contaminated",
                action="hold",
                evidence=json.dumps(hits),
            )


def _personal(pairs: list[Texts], hook: Hook) -> Iterator[FindingRow]:
    """A finding for each pair in which the hook finds personal data."""
    for pair in pairs:
        evidence = {}
        for side in ("prompt", "response_a", "response_b"):
            kinds = hook(_text(getattr(pair, side)))
            if kinds:
                evidence[side] = kinds
        if evidence:
            yield FindingRow(
                pair_id=pair.pair_id, finding="pii", action="flag", evidence=json.dumps(evidence)
            )


def _hold_near_duplicates(
    _: Any,
    rank: int,
    world_size: int,
    *,
    unit: str,
    threshold: float,
    folder: str,
    work: str,
    shards: list[Shard],
    settings: Settings,
) -> Iterator[Any]:
    """The task that sees all signatures: holds every pair but the first of each cluster."""
    store = Store(folder)
    if not store.has("findings", f"{STAGE}-near", unit):
        ids: list[str] = []
        signatures = [near_duplicates.stack([])]
        for stage, shard_unit in shards:
            ids += _pair_ids(store, stage, shard_unit)
            signatures.append(np.load(_signatures_path(work, stage, shard_unit), mmap_mode="r"))
        # By pair_id over all shards, so that the first of a cluster does not depend on how pairs
        # were spread over shards.
        order = np.argsort(np.array(ids, str))
        rows = _near_findings([ids[i] for i in order], np.concatenate(signatures)[order], threshold)
        store.append("findings", f"{STAGE}-near", unit, rows, config=settings)
    yield unit


def _pair_ids(store: Store, stage: str, unit: str) -> list[str]:
    """The pairs of a shard, in the order of its signatures."""
    sql = "select pair_id from pairs where stage = ? and unit = ? order by pair_id"
    return store.query(sql, [stage, unit]).column("pair_id").to_pylist()


def _near_findings(ids: list[str], signatures: np.ndarray, threshold: float) -> list[FindingRow]:
    """Findings for all but the first of each cluster; ids [N] and their signatures [N, S]."""
    findings = []
    for i, first in enumerate(near_duplicates.clusters(signatures, threshold).tolist()):
        if i == first:
            continue
        similarity = float(np.mean(signatures[i] == signatures[first]))
        evidence = {"of": ids[first], "similarity": round(similarity, 3)}
        findings.append(
            FindingRow(
                pair_id=ids[i],
                finding="near_duplicate",
                action="hold",
                evidence=json.dumps(evidence),
            )
        )
    return findings
