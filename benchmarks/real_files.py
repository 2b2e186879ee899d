"""Records and tokens per CPU second of `rewardjax.check` and of tokenizing, and their peak memory.

    python -m benchmarks.real_files [--records 100000 1000000] [--part 4] [--smoke]

The source is one folder of six files, each of another layout and format: transcripts as gzipped
JSON lines, TRL pairs as JSON lines, HelpSteer's strengths as one Parquet row group, ranked groups
as a JSON array, verdicts as CSV, Chatbot Arena as an Arrow stream. Lengths are those of `lengths`
(short prompts), with `--part N` an N-th of them: the time is that of fewer tokens, the memory that
of as many records. 3% of the records are bad, in four ways. Each command runs in a process of its
own: CPU seconds are those of all its processes, peak memory that of the largest of them. Tokenizing
is `data/prepare`, as training calls it. `memory_ratio`: the peak of the most records over that of
the fewest. Prints one JSON line last.
"""

import argparse
import csv
import gzip
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import lengths
from rewardjax.aot import assumed_lengths
from rewardjax.data.sources import open_source

SIZES = (100_000, 1_000_000)
SMOKE = (300, 600)
CHARACTERS = 4  # of a token of English
LONGEST = 16_000  # characters of one text
BAD = 33  # of so many records one is bad
AT_ONCE = 1000  # records of a batch that is written
MAX_LENGTH = 4096
# Run in a process of its own, so that its memory is its own.
PREPARE = f"""
import sys
from rewardjax import assets
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.prepare import prepare
source, tokenizer, cache, workers = sys.argv[1:]
tokenizer = ChatTokenizer.load(assets.resolve(tokenizer, weights=False))
pairs = prepare(source=source, tokenizer=tokenizer, cache=cache, max_length={MAX_LENGTH},
                workers=int(workers))
print(pairs.manifest["records"]["in"], pairs.manifest["tokens"]["shared"], len(pairs))
"""


# A small process between this one and the measured one: the kernel counts what a process had
# before it became another program, and that would be this one's memory.
LAUNCH = """
import json, resource, subprocess, sys
code = subprocess.run([sys.executable, *sys.argv[1:]]).returncode
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]))
sys.exit(code)
"""


class Cost(NamedTuple):
    """What a command took: CPU seconds of all its processes, MiB of the largest, its output."""

    cpu_s: float
    peak_mib: float
    output: list[str]


def measure(*command: str) -> Cost:
    """Run Python with `command`. Raises CalledProcessError where it fails."""
    launch = [sys.executable, "-c", LAUNCH, *command]
    done = subprocess.run(launch, stdout=subprocess.PIPE, text=True, check=True)
    *output, usage = done.stdout.splitlines()
    cpu_s, peak_mib = json.loads(usage)
    return Cost(cpu_s, peak_mib, output)


# ------------------------------------------------------------------ the mixed source


class Draw(NamedTuple):
    """The texts of one record, and the place of its fault, if any."""

    number: int
    prompt: str
    first: str
    second: str


def text_of(shared: pathlib.Path) -> str:
    """English to cut texts from: real dialogues where they are at hand, else the world's."""
    real = shared / lengths.REAL["hh"]
    if real.is_file():
        return " ".join(record["chosen"] for record in open_source(str(real)))
    world = open_source("world:train?num=2000")
    return " ".join(record["prompt"][-1]["content"] for record in world)


def draws(text: str, records: int, seed: int, part: int) -> Iterator[Draw]:
    """Texts of `records` records, a `part`-th as long as `lengths` has them, every BAD-th bad."""
    generator = np.random.default_rng(seed)
    # Markers of turns would make transcripts of plain answers.
    text = text.replace("\n\nHuman:", " ").replace("\n\nAssistant:", " ")
    number = 0
    while number < records:
        count = min(AT_ONCE, records - number)
        tokens_n3 = assumed_lengths.draw("short", count, seed=seed + number)
        sizes_n3 = np.minimum(tokens_n3 * CHARACTERS // part, LONGEST)
        starts_n3 = generator.integers(0, len(text) - LONGEST, sizes_n3.shape)
        for starts, sizes in zip(starts_n3.tolist(), sizes_n3.tolist(), strict=True):
            texts = [text[a : a + size] for a, size in zip(starts, sizes, strict=True)]
            # No two texts are equal, which would be a fault of another kind.
            prompt, first, second = (f"{part} {number}.{k}" for k, part in enumerate(texts))
            if number % BAD == BAD - 1:
                faults = ((prompt, "", second), (" ", first, second), (prompt, first, first))
                faults += ((prompt, first, second + "\0"),)
                prompt, first, second = faults[number // BAD % len(faults)]
            yield Draw(number, prompt, first, second)
            number += 1


def _user(draw: Draw) -> list[dict[str, str]]:
    return [{"role": "user", "content": draw.prompt}]


def _turns(draw: Draw, answer: str) -> list[dict[str, str]]:
    return [*_user(draw), {"role": "assistant", "content": answer}]


def _trl(draw: Draw) -> dict[str, Any]:
    sides = {"chosen": _turns(draw, draw.first), "rejected": _turns(draw, draw.second)}
    return {"id": f"trl-{draw.number}", "prompt": draw.prompt, **sides}


def _transcript(draw: Draw) -> dict[str, Any]:
    start = f"\n\nHuman: {draw.prompt}\n\nAssistant: "
    return {"chosen": start + draw.first, "rejected": start + draw.second}


def _strength(draw: Draw) -> dict[str, Any]:
    sides = {"response_1": draw.first, "response_2": draw.second}
    return {"prompt": draw.prompt, **sides, "preference_strength": draw.number % 7 - 3}


def _ranked(draw: Draw) -> dict[str, Any]:
    responses = [draw.first, draw.second, f"I do not know, {draw.number}."]
    return {"prompt": _user(draw), "responses": responses, "scores": [3.5, 2.0, 1.0]}


def _verdict(draw: Draw) -> dict[str, Any]:
    winner = ("model_a", "model_b", "tie")[draw.number % 3]
    sides = {"response_a": draw.first, "response_b": draw.second}
    return {"question": draw.prompt, **sides, "winner": winner}


def _arena(draw: Draw) -> dict[str, Any]:
    sides = {
        "conversation_a": _turns(draw, draw.first),
        "conversation_b": _turns(draw, draw.second),
    }
    return {"question_id": f"q{draw.number}", **sides, "winner": "model_a", "turn": 1}


def write_source(folder: pathlib.Path, text: str, records: int, part: int) -> int:
    """`records` records over the six files of a new folder; returns their bytes."""
    folder.mkdir(parents=True)
    share = records // 6
    sets = [draws(text, share, seed, part) for seed in range(5)]
    sets.append(draws(text, records - 5 * share, 5, part))
    with gzip.open(folder / "transcripts.jsonl.gz", "wt", compresslevel=1) as file:
        file.writelines(json.dumps(_transcript(draw)) + "\n" for draw in sets[0])
    with open(folder / "trl.jsonl", "w") as file:
        file.writelines(json.dumps(_trl(draw)) + "\n" for draw in sets[1])
    with open(folder / "ranked.json", "w") as file:
        for place, draw in enumerate(sets[2]):
            file.write(",[\n"[not place] + json.dumps(_ranked(draw)) + "\n")
        file.write("]\n")
    with open(folder / "verdicts.csv", "w", newline="") as file:
        table = csv.DictWriter(file, ["question", "response_a", "response_b", "winner"])
        table.writeheader()
        # A table of text has no NUL.
        for draw in sets[3]:
            table.writerow(_verdict(draw._replace(second=draw.second.replace("\0", ""))))
    _write_tables(folder, sets[4], sets[5])
    return sum(file.stat().st_size for file in folder.iterdir())


def _write_tables(folder: pathlib.Path, strengths: Iterator[Draw], arena: Iterator[Draw]) -> None:
    """A Parquet file of one row group, as writers make it by default, and an Arrow stream."""
    columns: dict[str, list[pa.Array]] = {}
    for batch in _batches(map(_strength, strengths)):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            columns.setdefault(name, []).append(column)
    table = pa.table({name: pa.chunked_array(parts) for name, parts in columns.items()})
    pq.write_table(table, folder / "strengths.parquet")
    batches = _batches(map(_arena, arena))
    first = next(batches)
    with pa.ipc.new_stream(folder / "arena.arrow", first.schema) as stream:
        stream.write_batch(first)
        for batch in batches:
            stream.write_batch(batch)


def _batches(records: Iterator[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
    rows = []
    for record in records:
        rows.append(record)
        if len(rows) == AT_ONCE:
            yield pa.RecordBatch.from_pylist(rows)
            rows = []
    if rows:
        yield pa.RecordBatch.from_pylist(rows)


# ------------------------------------------------------------------ the measurement


def measure_size(
    records: int, text: str, tokenizer: str, workers: int, scratch: pathlib.Path, part: int
) -> dict[str, Any]:
    """Costs of the three commands on a source of `records` records."""
    folder = scratch / f"source-{records}"
    size = write_source(folder, text, records, part)
    check = measure("-m", "rewardjax.check", str(folder))
    arguments = (str(folder), tokenizer, str(scratch / "cache"), str(workers))
    prepared = measure("-c", PREPARE, *arguments)
    read, tokens, pairs = map(int, prepared.output[-1].split())
    assert read == records, f"{read} of {records} records were read"
    return {
        "records": records,
        "source_mib": round(size / 2**20),
        "pairs": pairs,
        "tokens": tokens,
        "check_records_per_cpu_s": round(records / check.cpu_s),
        "check_peak_mib": round(check.peak_mib),
        "tokenize_records_per_cpu_s": round(records / prepared.cpu_s),
        "tokenize_tokens_per_cpu_s": round(tokens / prepared.cpu_s),
        "tokenize_peak_mib": round(prepared.peak_mib),
    }


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure every size, and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.real_files", description="Cost of reading a mixed source."
    )
    parser.add_argument("--records", type=int, nargs="+", default=SIZES)
    parser.add_argument("--workers", type=int, default=0, help="processes that tokenize")
    parser.add_argument("--part", type=int, default=1, help="texts an N-th as long")
    parser.add_argument("--smoke", action="store_true", help="a few records: times do not count")
    parser.add_argument("--shared", type=pathlib.Path, default=pathlib.Path("../shared/data"))
    args = parser.parse_args(argv)
    records, tokenizer = args.records, args.shared / "tokenizers" / "qwen3"
    # The shipped one is loaded at once.
    if args.smoke or not tokenizer.is_dir():
        tokenizer = "assets:world"
    if args.smoke:
        records = SMOKE
    text = text_of(args.shared)
    sizes = []
    for count in records:
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            size = measure_size(count, text, str(tokenizer), args.workers, folder, args.part)
            sizes.append(size)
        print(json.dumps(sizes[-1]), flush=True)
    packages = ("tokenizers", "pyarrow", "jax")
    result = {
        "benchmark": "real_files",
        "tokenizer": getattr(tokenizer, "name", tokenizer),
        "workers": args.workers,
        "part": args.part,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "sizes": sizes,
        "memory_ratio": {
            name: round(sizes[-1][f"{name}_peak_mib"] / sizes[0][f"{name}_peak_mib"], 3)
            for name in ("check", "tokenize")
        },
    }
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    main()
