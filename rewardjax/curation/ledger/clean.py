"""Cleaning the text in a store: near duplicates, contamination with benchmark prompts, personal data.

Nothing is dropped in silence. What is found becomes a row of the ledger `findings` with its evidence: `hold` keeps a pair out until a
reviewer restores it (the paper restored 23% of what the first 13-gram pass flagged), `flag` only notes it. Unusable rows and exact
duplicates never get this far: intake.py lists and merges them.

The work is functions of (shards, rank, world size), shard by shard and then once over all: run in this process, or by datatrove's
executors on the cores of a machine, on Slurm or on Ray. Every task writes shards of its own and may be killed and repeated.
"""

import collections
import functools
import importlib
import json
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import rensa

from rewardjax import config as config_lib
from rewardjax import files, fingerprint
from rewardjax.curation.ledger.store import Store
from rewardjax.data import formats, ngrams
from rewardjax.data.sources import open_source

STAGE = "clean"
EXECUTORS = {
    "local": "datatrove.executor.local:LocalPipelineExecutor",
    "slurm": "datatrove.executor.slurm:SlurmPipelineExecutor",
    "ray": "datatrove.executor.ray:RayPipelineExecutor",
}
BANDS, ROWS = (
    20,
    6,
)  # of a signature: two texts of similarity s meet in a band with probability 1 - (1 - s^6)^20: 0.998 at 0.8
SHINGLE = 5  # words
BATCH = 500  # texts looked up at a time
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


def clean(
    store: Store,
    *,
    benchmarks: Mapping[str, str] | None = None,
    n: int = 13,
    modes: Sequence[str] = ("paper", "strict"),
    near: float | None = 0.8,
    pii: str | None = "rewardjax.curation.ledger.clean:find_pii",
    executor: Mapping[str, Any] | None = None,
) -> dict[str, int]:
    """Look through every pair of the store that was not cleaned yet with these settings; counts by finding.

    benchmarks: name -> source of records with a prompt that must not be trained on. n, modes: a shared n-gram of tokens as ngrams.TOKENS
    has them holds a pair (paper: 13, any prompt turn). near: of pairs whose word 5-grams (prompt and both responses) have an estimated
    Jaccard similarity of at least this, all but the first by pair_id are held; None: not looked for. pii: "module:function", text -> the
    kinds of personal data in it; flags only. executor: None to work in this process, or {"name": "local" | "slurm" | "ray", "tasks": N,
    ...} with that datatrove executor's own keyword arguments; Slurm's returns when the jobs are queued: call again when they are done.
    Raises ValueError for an unknown executor or mode, or an unreadable benchmark."""
    settings = {
        "n": n,
        "modes": list(modes),
        "near": near,
        "pii": pii,
        "benchmarks": _benchmarks(benchmarks or {}),
    }
    names = [(m["stage"], m["unit"]) for m in store.manifests("pairs")]
    name, state = fingerprint.of_json(settings), store.fingerprint("pairs")
    work = store.folder / "work" / f"clean-{name}"
    work.mkdir(parents=True, exist_ok=True)
    (work / "prompts.json").write_text(json.dumps(_prompts(benchmarks or {})))
    given: dict[str, Any] = dict(
        folder=str(store.folder), work=str(work), names=names, settings=settings
    )
    look = functools.partial(_look_through, name=name, **given)
    merge = (
        functools.partial(_hold_near_duplicates, unit=f"{name}-{state}", **given)
        if near is not None
        else _nothing
    )
    if executor:
        first = _executor(work / f"look-{state}", look, executor)
        _executor(work / f"merge-{state}", merge, {**executor, "tasks": 1, "depends": first}).run()
    else:
        for step in (look, merge):
            collections.deque(step(None, 0, 1), maxlen=0)
    counts = store.query(
        "select finding, count(distinct pair_id) as pairs from findings where action in ('hold', 'flag') group by finding"
    ).to_pylist()
    return {row["finding"]: row["pairs"] for row in counts}


def find_pii(text: str) -> list[str]:
    """Kinds of personal data that patterns find in a text: a hook's contract and its default."""
    found = [
        kind for kind, pattern in PII.items() if kind != "card number" and pattern.search(text)
    ]
    return found + (
        ["card number"]
        if any(_luhn(match[0]) for match in PII["card number"].finditer(text))
        else []
    )


def _luhn(text: str) -> bool:
    """Whether the digits end in the check digit that card numbers have."""
    digits = [int(char) for char in text if char.isdigit()][::-1]
    return sum(digits[::2]) % 10 == (-sum(sum(divmod(2 * d, 10)) for d in digits[1::2])) % 10


# ---------------------------------------------------------------------------------------------------------------- benchmark prompts


def _benchmarks(benchmarks: Mapping[str, str]) -> dict[str, str]:
    return {name: open_source(path).fingerprint() for name, path in sorted(benchmarks.items())}


def _prompts(benchmarks: Mapping[str, str]) -> list[dict[str, str]]:
    """benchmark, id, text of every prompt turn that people wrote. Raises ValueError naming a record without a prompt."""
    found = []
    for name, path in sorted(benchmarks.items()):
        for row, record in enumerate(open_source(path)):
            prompt = next(
                (record[key] for key in formats.PROMPTS if record.get(key) is not None), None
            )
            if prompt is None:
                raise ValueError(
                    f"benchmark {name}: {path}, row {row}: no prompt; it needs one of {', '.join(formats.PROMPTS)}"
                )
            turns = (
                [prompt]
                if isinstance(prompt, str)
                else [m["content"] for m in prompt if m.get("role") == "user"]
            )
            found += [
                {"benchmark": name, "id": str(record.get("id", row)), "text": text}
                for text in turns
            ]
    return found


# ---------------------------------------------------------------------------------------------------------------- tasks


def _executor(folder: pathlib.Path, step: Callable, options: Mapping[str, Any]) -> Any:
    """A datatrove executor that runs a step, its completions and logs in `folder`."""
    name, options = (
        options.get("name"),
        {key: value for key, value in options.items() if key != "name"},
    )
    if name not in EXECUTORS:
        raise ValueError(f"executor.name = {name!r}, not one of {', '.join(EXECUTORS)}")
    module, _, attribute = EXECUTORS[name].partition(":")
    made = getattr(importlib.import_module(module), attribute)(
        [step], logging_dir=str(folder), **options
    )
    if name == "local":
        import multiprocess  # datatrove's; by default it forks, which a process with JAX's threads may not survive

        multiprocess.set_start_method("forkserver", force=True)  # pyright: ignore[reportAttributeAccessIssue]
    return made


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
    names: list,
    settings: dict,
) -> Iterator[Any]:
    """A task: its share of the shards, one after another; findings to the ledger, signatures to `work`."""
    store = Store(folder)
    path_of = lambda stage, unit: pathlib.Path(work, f"{stage}.{unit}.npy")
    done = lambda stage, unit: (
        store.has("findings", STAGE, f"{stage}-{unit}-{name}")
        and (settings["near"] is None or path_of(stage, unit).exists())
    )
    todo = [shard for shard in names[rank::world_size] if not done(*shard)]
    prompts = json.loads(pathlib.Path(work, "prompts.json").read_text()) if todo else []
    indices = [
        ngrams.build([prompt["text"] for prompt in prompts], settings["n"], mode)
        for mode in settings["modes"]
    ]
    hook = _load(settings["pii"]) if settings["pii"] else None
    for stage, unit in todo:
        shard = f"{stage}-{unit}-{name}"
        rows = store.query(
            "select pair_id, prompt, response_a, response_b from pairs where stage = ? and unit = ?",
            [stage, unit],
        ).to_pylist()
        rows.sort(key=lambda row: row["pair_id"])
        texts = [
            [json.loads(row[side]) for side in ("prompt", "response_a", "response_b")]
            for row in rows
        ]
        ids = [row["pair_id"] for row in rows]
        found = list(_contaminated(ids, texts, prompts, indices, settings["modes"]))
        found += _personal(ids, texts, hook) if hook else []
        if settings["near"] is not None:
            _save(
                path_of(stage, unit),
                np.stack([_signature(text) for text in texts])
                if texts
                else np.zeros((0, BANDS * ROWS), np.uint32),
            )
        store.append("findings", STAGE, shard, found, config=settings)
        yield shard


def _load(path: str) -> Callable[[str], list[str]]:
    module, _, attribute = config_lib.current_path(path).partition(":")
    return getattr(importlib.import_module(module), attribute)


def _contaminated(
    ids: list[str],
    texts: list,
    prompts: list[dict],
    indices: list[ngrams.Index],
    modes: Sequence[str],
) -> Iterator[dict]:
    """A finding for each pair whose prompt shares an n-gram with a benchmark prompt, or is one of the short ones word for word."""
    asked = [_text([m for m in prompt if m["role"] == "user"]) for prompt, _, _ in texts]
    for first in range(0, len(ids), BATCH):
        batch = asked[first : first + BATCH]
        looked_up = [ngrams.look_up(index, batch, short=True) for index in indices]
        for i in range(len(batch)):
            hits = [
                {
                    **prompts[match.text],
                    "mode": mode,
                    "shared": match.shared,
                    "coverage": round(match.coverage, 4),
                    "ngram": match.ngram,
                }
                for mode, found in zip(modes, looked_up, strict=True)
                for match in found[i][:3]
            ]
            if hits:
                evidence = [
                    {key: value for key, value in hit.items() if key != "text"} for hit in hits
                ]
                yield {
                    "pair_id": ids[first + i],
                    "finding": "contaminated",
                    "action": "hold",
                    "evidence": json.dumps(evidence),
                }


def _personal(ids: list[str], texts: list, hook: Callable[[str], list[str]]) -> Iterator[dict]:
    for pair_id, sides in zip(ids, texts, strict=True):
        found = {
            name: kinds
            for name, side in zip("pab", sides, strict=True)
            if (kinds := hook(_text(side)))
        }
        if found:
            evidence = {
                {"p": "prompt", "a": "response_a", "b": "response_b"}[name]: kinds
                for name, kinds in found.items()
            }
            yield {
                "pair_id": pair_id,
                "finding": "pii",
                "action": "flag",
                "evidence": json.dumps(evidence),
            }


# ---------------------------------------------------------------------------------------------------------------- near duplicates


def _text(messages: list) -> str:
    return "\n".join(message["content"] for message in messages)


def _signature(sides: list) -> np.ndarray:
    """MinHash [BANDS * ROWS] of the word 5-grams of prompt and responses. Numbers stay what they are: in a task they are the point."""
    words = re.findall(r"\w+", "\n".join(map(_text, sides)).lower())
    shingles = [" ".join(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1))]
    minhash = rensa.RMinHash(num_perm=BANDS * ROWS, seed=1)  # pyright: ignore[reportAttributeAccessIssue]
    minhash.update(shingles)
    return np.array(minhash.digest(), np.uint32)


def _save(path: pathlib.Path, array: np.ndarray) -> None:
    with files.replacing(path) as part, open(part, "wb") as file:
        np.save(file, array)


def _hold_near_duplicates(
    _: Any,
    rank: int,
    world_size: int,
    *,
    unit: str,
    folder: str,
    work: str,
    names: list,
    settings: dict,
) -> Iterator[Any]:
    """The task that sees all signatures: holds every pair but the first of each cluster."""
    store = Store(folder)
    if not store.has("findings", f"{STAGE}-near", unit):
        ids = np.concatenate([_shard_ids(store, *name) for name in names] or [np.array([], str)])
        parts = [
            np.load(pathlib.Path(work, f"{stage}.{shard}.npy"), mmap_mode="r")
            for stage, shard in names
        ]
        order = np.argsort(ids)
        ids, signatures = (
            ids[order],
            np.concatenate(parts)[order] if parts else np.zeros((0, BANDS * ROWS), np.uint32),
        )
        rows = []
        for i, j in enumerate(near_duplicates(signatures, settings["near"]).tolist()):
            if i != j:
                evidence = {
                    "of": str(ids[j]),
                    "similarity": round(float(np.mean(signatures[i] == signatures[j])), 3),
                }
                rows.append(
                    {
                        "pair_id": str(ids[i]),
                        "finding": "near_duplicate",
                        "action": "hold",
                        "evidence": json.dumps(evidence),
                    }
                )
        store.append("findings", f"{STAGE}-near", unit, rows, config=settings)
    yield unit


def _shard_ids(store: Store, stage: str, unit: str) -> np.ndarray:
    sql = "select pair_id from pairs where stage = ? and unit = ? order by pair_id"
    return np.array(store.query(sql, [stage, unit]).column("pair_id").to_pylist(), str)


def near_duplicates(signatures: np.ndarray, threshold: float) -> np.ndarray:
    """For each of [N, BANDS * ROWS] signatures the first one of its cluster, itself where it is alone or first. Two belong together when
    they share a band and agree in at least `threshold` of their places, or when a chain of such pairs joins them."""
    parent = np.arange(len(signatures))
    multipliers = np.random.default_rng(0).integers(2**64, size=ROWS, dtype=np.uint64) | np.uint64(
        1
    )

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    for band in range(BANDS):
        keys = (
            signatures[:, band * ROWS : (band + 1) * ROWS].astype(np.uint64) @ multipliers
        )  # modulo 2^64; collisions are checked below
        order = np.argsort(keys, kind="stable")
        same = (
            np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
            if len(order) > 1
            else np.empty(0, np.int64)
        )
        left, right = (
            order[same],
            order[same + 1],
        )  # neighbors with the same band, lower number first
        close = (
            np.mean(signatures[left] == signatures[right], axis=1) >= threshold
            if len(same)
            else np.empty(0, bool)
        )
        for i, j in zip(left[close].tolist(), right[close].tolist(), strict=True):
            low, high = sorted((root(i), root(j)))
            parent[high] = low
    return np.array([root(i) for i in range(len(signatures))], np.int64)
