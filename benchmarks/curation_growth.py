"""The whole of curation at growing sizes, each step in a process of its own: what grows per pair.

`python -m benchmarks.curation_scale --full --folder /tmp/growth` runs it. Texts are synthetic and
as long as HH's; a sample of the pairs is described and judged over real HTTP, the others by
stand-ins in the process that answer at once. Reward models are stand-ins too: what is measured is
what curation itself costs around them.

    import  clean  tag  embed  judge  retrieve  score  decide  export  report
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import itertools
import json
import operator
import os
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

from rewardjax.curation.cleaning.clean import clean
from rewardjax.curation.defaults import curation
from rewardjax.curation.intake.intake import take_in
from rewardjax.curation.judges import scripted_server
from rewardjax.curation.judges.prompts import Item
from rewardjax.curation.judges.scripted_judge import Behavior, Truth
from rewardjax.curation.ledger import decisions, pools, stage_names, write_pairs
from rewardjax.curation.ledger.rows import SCHEMAS, PairText
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
# Pairs that people are simulated to have seen, the same number at all real sizes: what a pair takes
# in retrieval grows with it.
GOLD_SHARE, MOST_GOLD = 0.01, 2_000
# Pairs that are retrieved.
BUDGET_SHARE, MOST_BUDGET = 0.01, 4_000
# Pairs that are asked about over HTTP.
ASKED_SHARE, MOST_ASKED = 0.01, 20_000
# Pairs of a pool per unit of distance between the units that ask, so that small pools ask too.
PER_STRIDE = 2_500
MANY = 40_000_000  # pairs of the paper's curation, which figures are extrapolated to
JUDGES, SAMPLES = ("one", "two"), 2
# CPU seconds at the largest size. Figures of less differ by a tenth from run to run, and with what
# the other core does: such a step is run again at one size after another, TURNS times.
SHORT, TURNS = 60.0, 3


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


def _luck(pair_ids: Sequence[str], salt: int) -> np.ndarray:
    """Numbers in [0, 1) that depend on each id and the salt alone, [n]."""
    # SplitMix64's last steps (Steele, Lea and Flood 2014): ids are hashes already, and each salt
    # must give numbers that have nothing to do with another's.
    mixed = np.array([int(pair_id[:16], 16) for pair_id in pair_ids], np.uint64)
    mixed += np.uint64(0x9E3779B97F4A7C15 * (salt + 1) % 2**64)
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return (mixed >> np.uint64(11)) / 2**53


def _either(pair_ids: Sequence[str], salt: int) -> np.ndarray:
    """One of the two sides for each pair, text [n]."""
    return np.where(_luck(pair_ids, salt) < 0.5, "a", "b")


@dataclasses.dataclass(frozen=True)
class Answering:
    """Plug-ins that answer at once, but about a sample that the servers are asked about.

    They answer in Arrow: as Python rows they would take longer than what is measured.
    """

    asked_share: float
    # Units from one that asks the servers to the next, which asks all the more of its pairs: to
    # open a connection for a few pairs of every unit would take longer than to ask them.
    stride: int
    units: Iterator[int] = dataclasses.field(default_factory=itertools.count)

    def judge(self, ws: Workspace, items: Sequence[Item], stage: Stage) -> pa.Table:
        """Votes of two judges with two samples each, with evidence as long as a real one's."""
        return self._answers(ws, items, stage, "votes", product.judge, _votes)

    def describe(self, ws: Workspace, items: Sequence[Item], stage: Stage) -> pa.Table:
        """Attributes by one judge."""
        return self._answers(ws, items, stage, "attributes", product.describe, _attributes)

    def _answers(
        self,
        ws: Workspace,
        items: Sequence[Item],
        stage: Stage,
        ledger: str,
        over_http: Callable[..., Iterable[Row]],
        at_once: Callable[[Sequence[Item]], pa.Table],
    ) -> pa.Table:
        count = 0
        if next(self.units) % self.stride == 0:
            count = round(self.asked_share * self.stride * len(items))
        # Ids are hashes: the first ones are a sample at random.
        asked, others = items[:count], items[count:]
        schema = pa.schema([field.with_nullable(True) for field in SCHEMAS[ledger]])
        rows: list[Row] = []
        if asked:
            rows = list(over_http(ws, asked, stage))
        return pa.concat_tables([pa.Table.from_pylist(rows, schema), at_once(others).cast(schema)])

    def train(self, ws: Workspace, training: Training) -> None:
        """Nothing: the reward models are stand-ins."""

    def load(self, ws: Workspace, training: Training) -> RewardModel:
        """A model that prefers what the hash of a pair says."""
        name = training.stage.name

        def rewards(pairs: Sequence[PairText]) -> list[tuple[float, float]]:
            salt = 5 + name.startswith("gold")
            luck = _luck([pair["pair_id"] for pair in pairs], salt) - 0.5
            return [(reward, 0.0) for reward in luck.tolist()]

        return RewardModel(name, "stand-in", rewards)


def _votes(items: Sequence[Item]) -> pa.Table:
    pair_ids = [item.pair_id for item in items]
    rationale = "The first is more to the point and says how sure it is. " * 4
    evidence = []
    for item in items:
        shown = json.dumps([example.pair_id for example in item.examples])
        evidence.append(
            f'{{"call": "{item.pair_id}", "examples": {shown}, "rationale": "{rationale}"}}'
        )
    tables = []
    for salt, judge in enumerate(JUDGES, start=1):
        for sample, shown in enumerate(("ab", "ba")):
            columns = {
                "pair_id": pair_ids,
                "voter": pa.repeat(f"judge:{judge}", len(items)),
                "kind": pa.repeat("judge", len(items)),
                "value": _either(pair_ids, salt),
                "sample": pa.repeat(sample, len(items)),
                "confidence": pa.nulls(len(items), pa.float32()),
                "shown": pa.repeat(shown, len(items)),
                "evidence": evidence,
            }
            tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def _attributes(items: Sequence[Item]) -> pa.Table:
    pair_ids = [item.pair_id for item in items]
    degree = (3 * _luck(pair_ids, 1)).astype(int)
    columns = {
        "pair_id": pair_ids,
        "voter": pa.repeat("judge:one", len(items)),
        "kind": pa.repeat("judge", len(items)),
        "task_category": pa.repeat("Advice seeking", len(items)),
        "objectivity": pa.repeat("Subjective", len(items)),
        "controversiality": np.array(("Low", "Medium", "High"))[degree],
        "desired_attributes": pa.repeat("helpful, harmless, honest", len(items)),
        "annotation_guideline": [
            f"Prefer what answers the question; case {pair_id[:4]}." for pair_id in pair_ids
        ],
        "evidence": pa.nulls(len(items), pa.string()),
    }
    return pa.table(columns)


@contextlib.contextmanager
def workspace(folder: pathlib.Path, pairs: int, server: str) -> Iterator[Workspace]:
    """The workspace of one size."""
    config = curation()
    config.sources = {"hh": {"source": str(folder / "source.parquet"), "entry": "unverified"}}
    settings = {"base_url": server, "samples": SAMPLES, "answer_format": "json_object"}
    config.judges = tuple({"name": name, "model": name, **settings} for name in JUDGES)
    share = min(ASKED_SHARE, MOST_ASKED / pairs)
    answering = Answering(share, stride=min(round(1 / share), max(1, pairs // PER_STRIDE)))
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
    # As the product does by default, which looks for no near duplicates.
    counts = clean(ws.store)
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
    count = int(min(MOST_GOLD, GOLD_SHARE * pairs))
    return _pool(ws)[:count].to_pylist()


def _judge(ws: Workspace) -> Any:
    pool = _pool(ws)
    gold = _gold(ws, len(pool))
    votes = []
    for pair_id in gold:
        vote = {"pair_id": pair_id, "voter": "human:ann", "kind": "human", "sample": 0}
        votes.append(vote | {"value": str(_either([pair_id], 3)[0])})
    stage_names.people(0).append(ws.store, "votes", votes)
    asked, merged = stage_names.judges(0), stage_names.panel(0)
    labels = pools.labels(ws.store, "gold", 0)
    labeling.judge(ws, pool[len(gold) :], asked, merged, labels)


def _retrieve(ws: Workspace) -> Any:
    pool = _pool(ws)
    gold = _gold(ws, len(pool))
    rest = pool[len(gold) :]
    p = _luck(gold, 4)
    neighbors = rules.neighbors_in(labeling.vectors(ws, gold), labeling.vectors(ws, rest))
    budget = int(min(MOST_BUDGET, BUDGET_SHARE * len(rest)))
    retrieved = rules.retrieve(p, neighbors, len(rest), 8, budget)
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
    page = report.stage1_page(0)
    (ws.folder / "reports" / page).unlink(missing_ok=True)
    report.write(ws, 0, page)


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
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        # Since this program began: `ru_maxrss` also counts the process that started it.
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
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


def _copy(workspace: pathlib.Path, copy: pathlib.Path) -> None:
    """A copy that shares the store's tables, which nothing ever writes into again."""

    def link_or_copy(source: str, destination: str) -> None:
        if source.endswith(".parquet"):
            os.link(source, destination)
        else:
            # The cache of calls is a database: a link to it would answer the next run's questions.
            shutil.copy2(source, destination)

    shutil.copytree(workspace, copy, copy_function=link_or_copy)


def _run(here: pathlib.Path, pairs: int, step: str, server: str) -> dict[str, Any]:
    """A step's figures; the state before it is kept for `_again`."""
    workspace, before = here / "workspace", here / "before"
    if workspace.exists():
        # A step that is done costs nothing when it runs again.
        _copy(workspace, before)
    return _in_a_child(here, pairs, step, server)


def _again(here: pathlib.Path, pairs: int, step: str, server: str) -> dict[str, Any]:
    """The figures of a step that `_run` has run, from the same state."""
    workspace, before = here / "workspace", here / "before"
    shutil.rmtree(workspace)
    if before.exists():
        _copy(before, workspace)
    return _in_a_child(here, pairs, step, server)


def _median(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The run of median cost, with the cost of all."""
    runs = sorted(runs, key=operator.itemgetter("cpu_seconds"))
    all_seconds = [run["cpu_seconds"] for run in runs]
    return runs[len(runs) // 2] | {"cpu_seconds_of_runs": all_seconds}


def measure(
    folder: pathlib.Path, sizes: Sequence[int], steps: Sequence[str], at_once: int = 1
) -> dict[str, Any]:
    """Every step at every size, prints a line per step, returns all figures.

    A failed step or an interruption ends the run and not the report: what was measured until then
    is returned, and `stopped` says why.

    Args:
        folder: a folder in it for each size.
        sizes: pairs; the smallest first, which shows what a step takes before its first pair.
        steps: names of STEPS, in order.
        at_once: sizes that are measured side by side; with 2, the largest beside all others.
    """
    sizes = sorted(sizes)
    lanes = [sizes]
    if at_once == 2:
        lanes = [sizes[:-1], sizes[-1:]]
    started = time.monotonic()
    figures: dict[str, dict[int, dict[str, Any]]] = {step: {} for step in steps}
    disk: dict[int, float] = {}
    behaviors = {name: Behavior() for name in JUDGES}
    stopped = []
    for pairs in sizes:
        write_source(folder / str(pairs) / "source.parquet", pairs)
        shutil.rmtree(folder / str(pairs) / "workspace", ignore_errors=True)
    with (
        scripted_server.serve(behaviors, Truth()) as server,
        concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool,
    ):

        def walk(lane: Sequence[int], step: str) -> None:
            for pairs in lane:
                figures[step][pairs] = _run(folder / str(pairs), pairs, step, server.url)
                disk[pairs] = _gigabytes(folder / str(pairs))

        def in_turns(step: str) -> None:
            runs: dict[int, list[dict[str, Any]]] = {pairs: [] for pairs in sizes}
            for _ in range(TURNS):
                for pairs in sizes:
                    here = folder / str(pairs)
                    runs[pairs].append(_again(here, pairs, step, server.url))
            figures[step] = {pairs: _median(runs[pairs]) for pairs in sizes}

        try:
            # A step at all sizes before the next one: a machine that is slower for some minutes is
            # so for all sizes that are compared.
            for step in steps:
                for each in [pool.submit(walk, lane, step) for lane in lanes]:
                    each.result()
                if max(run["cpu_seconds"] for run in figures[step].values()) < SHORT:
                    in_turns(step)
                for pairs in sizes:
                    print(json.dumps({"step": step, "pairs": pairs, **figures[step][pairs]}))
                    shutil.rmtree(folder / str(pairs) / "before", ignore_errors=True)
                sys.stdout.flush()
        except (subprocess.CalledProcessError, KeyboardInterrupt) as error:
            stopped.append(str(error) or type(error).__name__)
    measured = {step: grown(by_size) for step, by_size in figures.items() if len(by_size) > 1}
    return {
        "sizes": sizes,
        "at_once": at_once,
        "seconds": round(time.monotonic() - started),
        "stopped": stopped,
        "disk_gb": dict(sorted(disk.items())),
        "steps": measured,
    }


def _gigabytes(folder: pathlib.Path) -> float:
    paths = folder.rglob("*")
    return round(sum(path.stat().st_size for path in paths if path.is_file()) / 1e9, 3)


def grown(by_size: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """What a step takes per pair at each size, and what its memory grows by from the first on.

    start_seconds: CPU at the smallest size, where nearly all of it is programs that are loaded and
    compiled. cpu_ms_per_pair: at each further size, beyond the smallest; where it is flat the step
    is linear. worst_growth: its largest value over its value at the first of them, less 1.
    bytes_per_pair: of peak memory, from the smallest to the largest size; 0 where it is bounded.
    at_40m: CPU hours and peak memory in GB, extrapolated from the last two sizes along a line.
    """
    start, *sizes = sorted(by_size)
    before, last = sorted(by_size)[-2:]
    grown_mb = by_size[last]["peak_mb"] - by_size[start]["peak_mb"]
    further = (MANY - last) / (last - before)
    at_many = {}
    for name in ("cpu_seconds", "peak_mb"):
        increase = by_size[last][name] - by_size[before][name]
        at_many[name] = by_size[last][name] + further * increase
    start_seconds = by_size[start]["cpu_seconds"]
    per_pair = [1e3 * (by_size[n]["cpu_seconds"] - start_seconds) / (n - start) for n in sizes]
    return {
        "at_40m": {
            "cpu_hours": round(at_many["cpu_seconds"] / 3600, 2),
            "peak_gb": round(at_many["peak_mb"] / 1024, 1),
        },
        "pairs": sizes,
        "start_seconds": start_seconds,
        "cpu_seconds": [by_size[n]["cpu_seconds"] for n in sizes],
        "cpu_ms_per_pair": [round(each, 4) for each in per_pair],
        "worst_growth": round(max(per_pair) / max(per_pair[0], 1e-9) - 1, 3),
        "peak_mb": [by_size[n]["peak_mb"] for n in sizes],
        "bytes_per_pair": round(grown_mb * 2**20 / (last - start)),
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
