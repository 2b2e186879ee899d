"""The whole of curation at growing sizes, each step in a process of its own: what grows per pair.

`python -m benchmarks.curation_scale --full --folder /tmp/growth` runs it. Texts are synthetic and
as long as HH's; a sample of the pairs is described and judged over real HTTP, the others by
stand-ins in the process that answer at once. Reward models are stand-ins too: what is measured is
what curation itself costs around them.

    import  clean  tag  embed  judge  retrieve  score  decide  export  report
"""

import argparse
import contextlib
import dataclasses
import json
import pathlib
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rewardjax import fingerprint
from rewardjax.curation.cleaning.clean import clean
from rewardjax.curation.defaults import curation
from rewardjax.curation.judges import scripted_server
from rewardjax.curation.judges.prompts import Item
from rewardjax.curation.judges.scripted_judge import Behavior
from rewardjax.curation.ledger import decisions, pools, stage_names, write_pairs
from rewardjax.curation.ledger.intake import take_in
from rewardjax.curation.ledger.rows import PairText
from rewardjax.curation.ledger.stage_names import Stage
from rewardjax.curation.retrieval import embed
from rewardjax.curation.reward_models import seats
from rewardjax.curation.stages import labeling, product, report, rules
from rewardjax.curation.workspace import RewardModel, Row, Training, Workspace, open_workspace
from rewardjax.data.sources import open_named

# Natural logarithms of lengths in characters, mean and standard deviation, in the 2,312 pairs of
# the test split of HH's harmless half: of the prompt, and of the responses.
PROMPT, RESPONSE = (5.63, 1.12), (4.79, 1.01)
# Words differ in frequency as 1 / rank, as those of a language do: a uniform vocabulary would give
# the hashed features of the embedder no common ones.
WORDS = 30_000
WRITTEN = 10_000  # pairs written to the source at a time
GOLD_SHARE, MOST_GOLD = 0.001, 2_000
# Pairs that are asked about over HTTP.
ASKED_SHARE, MOST_ASKED = 0.01, 20_000
MANY = 40_000_000  # pairs of the paper's curation, which figures are extrapolated to
JUDGES, SAMPLES = ("one", "two"), 2


# ------------------------------------------------------------------ texts


def write_source(path: pathlib.Path, pairs: int) -> None:
    """A Parquet file of prompt, chosen and rejected, the same for the same number."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfw"))
    words = np.array(["".join(rng.choice(letters, size)) for size in rng.integers(2, 9, WORDS)])
    weight = 1 / np.arange(1, WORDS + 1)
    weight /= weight.sum()
    part = path.with_suffix(".part")
    fields = ("prompt", "chosen", "rejected")
    schema = pa.schema([(name, pa.string()) for name in fields])
    with pq.ParquetWriter(part, schema, compression="zstd") as writer:
        for first in range(0, pairs, WRITTEN):
            count = min(WRITTEN, pairs - first)
            lengths = [PROMPT, RESPONSE, RESPONSE]
            columns = [_texts(rng, words, weight, count, *length) for length in lengths]
            writer.write_table(pa.table(dict(zip(fields, columns, strict=True)), schema))
    part.rename(path)


def _texts(
    rng: np.random.Generator,
    words: np.ndarray,
    weight: np.ndarray,
    count: int,
    mean: float,
    deviation: float,
) -> list[str]:
    """`count` texts whose lengths in characters are about log-normal."""
    # A word and its blank are six characters on average.
    sizes = np.ceil(np.exp(rng.normal(mean, deviation, count)) / 6).astype(int).clip(1, 2_000)
    drawn = words[rng.choice(len(words), sizes.sum(), p=weight)]
    return [" ".join(part) for part in np.split(drawn, np.cumsum(sizes)[:-1])]


# ------------------------------------------------------------------ who answers


def _luck(*key: str | int) -> float:
    """A number in [0, 1) that depends on the key alone."""
    return int(fingerprint.of_json(key), 16) / 16**16


@dataclasses.dataclass(frozen=True)
class Answering:
    """Plug-ins that answer at once, but about a sample that the servers are asked about."""

    asked_share: float

    def judge(self, ws: Workspace, items: Sequence[Item], stage: Stage) -> Iterable[Row]:
        """Votes of two judges with two samples each, with evidence as long as a real one's."""
        asked = [item for item in items if _luck(item.pair_id) < self.asked_share]
        if asked:
            yield from product.judge(ws, asked, stage)
        over_http = {item.pair_id for item in asked}
        for item in items:
            if item.pair_id not in over_http:
                yield from _votes(item)

    def describe(self, ws: Workspace, items: Sequence[Item], stage: Stage) -> Iterable[Row]:
        """Attributes by one judge."""
        asked = [item for item in items if _luck(item.pair_id) < self.asked_share]
        if asked:
            yield from product.describe(ws, asked, stage)
        over_http = {item.pair_id for item in asked}
        for item in items:
            if item.pair_id not in over_http:
                yield _attributes(item.pair_id)

    def train(self, ws: Workspace, training: Training) -> None:
        """Nothing: the reward models are stand-ins."""

    def load(self, ws: Workspace, training: Training) -> RewardModel:
        """A model that prefers what the hash of a pair says."""
        name = training.stage.name

        def rewards(pairs: Sequence[PairText]) -> list[tuple[float, float]]:
            return [(_luck(name, pair["pair_id"]) - 0.5, 0.0) for pair in pairs]

        return RewardModel(name, "stand-in", rewards)


def _votes(item: Item) -> Iterator[Row]:
    for judge in JUDGES:
        for sample, shown in enumerate(("ab", "ba")):
            evidence = {
                "call": fingerprint.of_json([item.pair_id, judge, sample]),
                "examples": [example.pair_id for example in item.examples],
                "rationale": "The first is more to the point and says how sure it is. " * 4,
            }
            yield {
                "pair_id": item.pair_id,
                "voter": f"judge:{judge}",
                "kind": "judge",
                "value": ("a", "b")[_luck(item.pair_id, judge) < 0.5],
                "sample": sample,
                "shown": shown,
                "evidence": json.dumps(evidence),
            }


def _attributes(pair_id: str) -> Row:
    return {
        "pair_id": pair_id,
        "voter": "judge:one",
        "kind": "judge",
        "task_category": "Advice seeking",
        "objectivity": "Subjective",
        "controversiality": ("Low", "Medium", "High")[int(3 * _luck(pair_id))],
        "desired_attributes": "helpful, harmless, honest",
        "annotation_guideline": f"Prefer what answers the question; case {pair_id[:4]}.",
        "evidence": None,
    }


@contextlib.contextmanager
def workspace(folder: pathlib.Path, pairs: int, server: str) -> Iterator[Workspace]:
    """The workspace of one size."""
    config = curation()
    config.sources = {"hh": {"source": str(folder / "source.parquet"), "entry": "unverified"}}
    settings = {"base_url": server, "samples": SAMPLES, "answer_format": "json_object"}
    config.judges = tuple({"name": name, "model": name, **settings} for name in JUDGES)
    answering = Answering(min(ASKED_SHARE, MOST_ASKED / pairs))
    plugins = dataclasses.replace(
        product.PLUGINS,
        judge=answering.judge,
        describe=answering.describe,
        train=answering.train,
        load=answering.load,
    )
    with open_workspace(folder / "workspace", config, plugins) as ws:
        yield ws


# ------------------------------------------------------------------ steps


def _import(ws: Workspace) -> Any:
    source = ws.config.sources.hh
    return take_in(ws.store, open_named(source), entry=source.entry, name="hh")


def _clean(ws: Workspace) -> Any:
    counts = clean(ws.store, near=0.8)
    # As `stage1.prepare` does.
    ws.store.compact("pairs", stage_names.imported("hh").name, least=2)
    return counts


def _pool(ws: Workspace) -> Any:
    return pools.ids(ws.store, "unverified", stage_names.IMPORTED)


def _tag(ws: Workspace) -> Any:
    labeling.tag(ws, _pool(ws), stage_names.TAG)


def _embed(ws: Workspace) -> Any:
    labeling.embed(ws, _pool(ws), stage_names.EMBED)


def _gold(ws: Workspace, pairs: int) -> list[str]:
    """What people are simulated to have seen: the first pairs by id, which is a hash."""
    count = int(min(MOST_GOLD, max(10, GOLD_SHARE * pairs)))
    return _pool(ws)[:count].to_pylist()


def _judge(ws: Workspace) -> Any:
    pool = _pool(ws)
    gold = _gold(ws, len(pool))
    votes = []
    for pair_id in gold:
        vote = {"pair_id": pair_id, "voter": "human:ann", "kind": "human", "sample": 0}
        votes.append(vote | {"value": ("a", "b")[_luck(pair_id, "ann") < 0.5]})
    stage_names.people(0).append(ws.store, "votes", votes)
    asked, merged = stage_names.judges(0), stage_names.panel(0)
    labels = pools.labels(ws.store, "gold", 0)
    labeling.judge(ws, pool[len(gold) :], asked, merged, labels)


def _retrieve(ws: Workspace) -> Any:
    pool = _pool(ws)
    gold = _gold(ws, len(pool))
    rest = pool[len(gold) :]
    p = np.array([_luck(pair_id, "p") for pair_id in gold])
    neighbors = rules.neighbors_in(labeling.vectors(ws, gold), labeling.vectors(ws, rest))
    retrieved = rules.retrieve(p, neighbors, len(rest), 8, min(len(rest) // 100, 5_000))
    return {"retrieved": len(retrieved.row), "k_max": retrieved.k_max}


def _score(ws: Workspace) -> Any:
    pool = _pool(ws)
    for seat in ("best", "gold"):
        training = Training(stage_names.trained(seat, 1), {}, {}, ws.folder / "models")
        seats.score(ws, training, seat, pool, stage_names.scored_wild(seat, 1))


def _decide(ws: Workspace) -> Any:
    return decisions.decide(ws.store, stage_names.decided(0), table="flip_both", iteration=0)


def _export(ws: Workspace) -> Any:
    output = ws.folder / "data" / "curated.parquet"
    return write_pairs.export(ws.store, output)


def _report(ws: Workspace) -> Any:
    (ws.folder / "reports" / "iteration-0.html").unlink(missing_ok=True)
    report.write(ws, 0, report.stage1_page(0))


STEPS: dict[str, Callable[[Workspace], Any]] = {
    "import": _import,
    "clean": _clean,
    "tag": _tag,
    "embed": _embed,
    "judge": _judge,
    "retrieve": _retrieve,
    "score": _score,
    "decide": _decide,
    "export": _export,
    "report": _report,
}


# ------------------------------------------------------------------ measuring


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_step(folder: pathlib.Path, pairs: int, step: str, server: str) -> dict[str, Any]:
    """One step in this process: CPU seconds, peak memory, and what it came to."""
    with workspace(folder, pairs, server) as ws:
        # Whatever the first JAX computation takes is no part of a pair's.
        embed.static(width=8).embed(["warm"])
        before, started = _cpu_seconds(), time.monotonic()
        memory_before = _peak_mb()
        outcome = STEPS[step](ws)
        return {
            "cpu_seconds": round(_cpu_seconds() - before, 2),
            "seconds": round(time.monotonic() - started, 2),
            "peak_mb": round(_peak_mb(), 1),
            "memory_before_mb": round(memory_before, 1),
            "outcome": outcome,
        }


def _in_a_child(folder: pathlib.Path, pairs: int, step: str, server: str) -> dict[str, Any]:
    # A process of its own: the peak of a process never falls, so that one step would hide another.
    command = [sys.executable, "-m", "benchmarks.curation_growth", str(folder)]
    command += ["--pairs", str(pairs), "--step", step, "--server", server]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def measure(folder: pathlib.Path, sizes: Sequence[int], steps: Sequence[str]) -> dict[str, Any]:
    """Every step at every size, smallest first; prints a line per step, returns all figures."""
    sizes = sorted(sizes)
    figures: dict[str, dict[int, dict[str, Any]]] = {step: {} for step in steps}
    behaviors = {name: Behavior() for name in JUDGES}
    with scripted_server.serve(behaviors, {}) as server:
        for pairs in sizes:
            here = folder / str(pairs)
            write_source(here / "source.parquet", pairs)
            # A step that is done costs nothing when it runs again.
            shutil.rmtree(here / "workspace", ignore_errors=True)
            for step in steps:
                figures[step][pairs] = _in_a_child(here, pairs, step, server.url)
                print(
                    json.dumps({"step": step, "pairs": pairs, **figures[step][pairs]}), flush=True
                )
    disk = {}
    for pairs in sizes:
        paths = (folder / str(pairs)).rglob("*")
        disk[pairs] = sum(path.stat().st_size for path in paths if path.is_file()) / 1e9
    growth = {step: grown(by_size) for step, by_size in figures.items()}
    return {"sizes": sizes, "disk_gb": disk, "steps": growth}


def grown(by_size: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """What a step takes per pair at each size, and what its memory grows by from the first on.

    cpu_ms_per_pair: at each size; where it is flat the step is linear. bytes_per_pair: of peak
    memory, between the smallest and the largest size; 0 where it is bounded. at_40m: CPU hours and
    peak memory in GB, extrapolated from the last two sizes along a line.
    """
    sizes = sorted(by_size)
    first, last = sizes[0], sizes[-1]
    grown_mb = by_size[last]["peak_mb"] - by_size[first]["peak_mb"]
    before = by_size[sizes[max(0, len(sizes) - 2)]]
    further = (MANY - last) / max(1, last - sizes[max(0, len(sizes) - 2)])
    at_many = {}
    for name in ("cpu_seconds", "peak_mb"):
        at_many[name] = by_size[last][name] + further * (by_size[last][name] - before[name])
    return {
        "at_40m": {
            "cpu_hours": round(at_many["cpu_seconds"] / 3600, 2),
            "peak_gb": round(at_many["peak_mb"] / 1024, 1),
        },
        "cpu_ms_per_pair": [round(1e3 * by_size[n]["cpu_seconds"] / n, 4) for n in sizes],
        "peak_mb": [by_size[n]["peak_mb"] for n in sizes],
        "bytes_per_pair": round(grown_mb * 2**20 / max(1, last - first)),
    }


def main() -> None:
    """Run one step: what `measure` starts in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curation_growth")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--pairs", type=int, required=True)
    parser.add_argument("--step", choices=STEPS, required=True)
    parser.add_argument("--server", required=True)
    args = parser.parse_args()
    result = run_step(args.folder, args.pairs, args.step, args.server)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
