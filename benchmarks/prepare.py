"""Tokens per CPU second and memory of `rewardjax.prepare`, and what is left where it is killed.

    python -m benchmarks.prepare [--records 6000] [--workers 2] [--part 1] [--kills 20]
        [--data ../shared/data] [--tokenizer DIR] [--smoke]

The command itself is run, on the mixed folder of `real_files` (JSON lines, gzip, CSV, Parquet,
Arrow): with so many records, 4 times and 16 times as many; `--part N` has texts an N-th as long, so
that memory is that of as many records and time that of fewer tokens. CPU seconds are those of all
its processes; memory is what all of them hold together, and the most that one of them ever held.
Then it is killed by SIGKILL, itself or a process that it has started, and started again, until it
was killed often enough; what it leaves is compared byte by byte with a run that nobody disturbed,
and shards that were done are watched: none may be made again. Hours for 26 million pairs follow
from CPU seconds per pair, start-up left out. Prints one JSON line last.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks import real_files
from rewardjax.data import token_cache

TIMES = (1, 4, 16)
PAIRS = 26_000_000
CORES = (16, 96)
SHARDS = 96  # of the build that is killed, so that there is always something done and something not
MAX_LENGTH = 4096
# The fields that a run of the command reads; everything else is a training run's.
CONFIG = """
from rewardjax.defaults import training
def get_config(arg=None):
    config = training()
    config.data.max_length = config.batch.row_length = {max_length}
    # Any tokenizer, and not that of a folder of weights.
    config.model.update(folder=None, init_head=False, variant="tiny-qwen3")
    return config
"""


class Cost(NamedTuple):
    """What a run took. Memory in MiB: of all processes at once, and of the largest one."""

    seconds: float
    cpu_s: float
    together_mib: float
    largest_mib: float


class Command(NamedTuple):
    """`rewardjax.prepare` on one source."""

    config: pathlib.Path
    source: pathlib.Path
    tokenizer: str
    workers: int

    def start(self, cache: pathlib.Path, *more: str) -> subprocess.Popen:
        """Start it; its processes are a group of their own."""
        fields = {
            "data.source": self.source,
            "data.cache": cache,
            "tokenizer.folder": self.tokenizer,
        }
        changes = [f"--config.{name}={value}" for name, value in fields.items()]
        arguments = [f"--config={self.config}", *changes, "--workers", str(self.workers), *more]
        return subprocess.Popen(
            [sys.executable, "-m", "rewardjax.prepare", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


# ------------------------------------------------------------------ cost


def measure(command: Command, cache: pathlib.Path) -> tuple[Cost, dict[str, Any]]:
    """Run the command to its end: what it took, and the JSON that it printed of the data."""
    began, together, largest = time.monotonic(), 0.0, 0.0
    process = command.start(cache)
    while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
        sizes = [_memory(pid) for pid in [process.pid, *_children(process.pid)]]
        together = max(together, sum(now for now, _ in sizes))
        largest = max(largest, *(most for _, most in sizes))
        time.sleep(0.05)
    _, status, usage = ended
    process.returncode = os.waitstatus_to_exitcode(status)
    output, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"rewardjax.prepare ended with {process.returncode}: {errors}")
    # Of the process and of all that it has waited for.
    cpu_s = usage.ru_utime + usage.ru_stime
    cost = Cost(time.monotonic() - began, cpu_s, together, largest)
    return cost, json.loads(output.splitlines()[-1])["data"]


def _children(pid: int) -> list[int]:
    """The processes that one has started, as the kernel of Linux lists them."""
    try:
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return list(map(int, text.split()))


def _memory(pid: int) -> tuple[float, float]:
    """MiB that a process holds, and the most that it ever held; 0 where it has ended."""
    sizes = {}
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            sizes[name] = value
        return int(sizes["VmRSS"].split()[0]) / 1024, int(sizes["VmHWM"].split()[0]) / 1024
    except (OSError, KeyError):
        return 0.0, 0.0


# ------------------------------------------------------------------ kills


class Kills(NamedTuple):
    """What became of builds that were killed. redone: shards that were made twice."""

    kills: int
    of_workers: int
    builds: int
    starts: int
    redone: int
    identical: bool


def kill_often(command: Command, scratch: pathlib.Path, kills: int) -> Kills:
    """Kill builds at random moments and start them again, until there were so many kills."""
    undisturbed = _build(command, scratch / "undisturbed")
    rng = random.Random(0)
    done, of_workers, builds, starts, redone, identical = 0, 0, 0, 0, 0, True
    while done < kills:
        cache = scratch / f"killed-{builds}"
        while True:
            before = _shards(cache)
            process = command.start(cache, "--shards", str(SHARDS))
            starts += 1
            victim = None
            if done < kills:
                victim = _kill(process, cache, len(before), rng)
            # Its processes hold the other ends: they must have noticed that it is gone.
            process.communicate(timeout=300)
            # By its number and time: what was made again is another file.
            after = _shards(cache)
            redone += sum(after.get(name) != place for name, place in before.items())
            if process.returncode == 0:
                break
            # A process that had nothing left to do was not missed, and does not count.
            if victim is not None:
                done += 1
                of_workers += victim != process.pid
        builds += 1
        identical &= _files(cache) == undisturbed
    return Kills(done, of_workers, builds, starts, redone, identical)


def _build(command: Command, cache: pathlib.Path) -> dict[str, bytes]:
    process = command.start(cache, "--shards", str(SHARDS))
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(errors)
    return _files(cache)


def _kill(
    process: subprocess.Popen, cache: pathlib.Path, before: int, rng: random.Random
) -> int | None:
    """Kill a build, or one of its processes, at a random moment; which one, None if it ended."""
    # Every other time behind the first shard that this start has made, so that there is progress.
    if rng.random() < 0.5:
        while process.poll() is None and len(_shards(cache)) <= before:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.5))
    else:
        time.sleep(rng.uniform(0, 10))
    victim = rng.choice([process.pid, *_children(process.pid)])
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        return None
    # One that has ended by itself is there until it is waited for.
    if process.poll() == 0:
        return None
    return victim


def _shards(cache: pathlib.Path) -> dict[str, tuple[int, int]]:
    """Number and time of the record of each shard that is done."""
    places = {}
    for path in cache.glob("*/shard-*-of-*.json"):
        status = path.stat()
        places[path.name] = status.st_ino, status.st_mtime_ns
    return places


def _files(cache: pathlib.Path) -> dict[str, bytes]:
    """The bytes of the only token cache in a folder, by name."""
    (manifest,) = cache.glob(f"*/{token_cache.MANIFEST}")
    contents = {}
    for path in manifest.parent.iterdir():
        if not path.name.startswith("owner."):
            contents[path.name] = path.read_bytes()
    return contents


# ------------------------------------------------------------------ the result


def hours(sizes: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Hours for PAIRS pairs by number of cores, from CPU seconds per pair of larger sources."""
    first, last = sizes[0], sizes[-1]
    per_pair = (last["cpu_s"] - first["cpu_s"]) / (last["pairs"] - first["pairs"])
    return {str(cores): round(PAIRS * per_pair / cores / 3600, 2) for cores in CORES}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure every size, kill builds, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prepare")
    # Of each of the six files a thousand are looked at first, which takes memory too.
    parser.add_argument("--records", type=int, default=6000, help="of the smallest source")
    parser.add_argument("--part", type=int, default=1, help="texts an N-th as long")
    parser.add_argument("--workers", type=int, default=2, help="processes that tokenize")
    parser.add_argument("--kills", type=int, default=20, help="0: none, only figures")
    parser.add_argument("--smoke", action="store_true", help="a few records: times do not count")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("../shared/data"))
    parser.add_argument("--tokenizer", help="folder; default: Qwen3's of --data, or the shipped")
    args = parser.parse_args(argv)
    records, kills, times = args.records, args.kills, TIMES
    tokenizer = args.tokenizer
    if tokenizer is None:
        tokenizer = "assets:world"
        real = args.data / "tokenizers" / "qwen3"
        # The shipped one is loaded at once.
        if real.is_dir() and not args.smoke:
            tokenizer = str(real)
    if args.smoke:
        records, kills, times = 120, 2, (1, 4)
    text = real_files.text_of(args.data)
    sizes: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        scratch = pathlib.Path(name)
        config = scratch / "config.py"
        config.write_text(CONFIG.format(max_length=MAX_LENGTH))
        for factor in times:
            source = scratch / f"source-{factor}"
            bytes_in = real_files.write_source(source, text, factor * records, args.part)
            command = Command(config, source, tokenizer, args.workers)
            cost, made = measure(command, scratch / f"cache-{factor}")
            assert made["records"] == factor * records, made
            sizes.append(
                {
                    "records": made["records"],
                    "source_mib": round(bytes_in / 2**20, 1),
                    "pairs": made["pairs"],
                    "tokens": made["tokens"],
                    "seconds": round(cost.seconds, 1),
                    "cpu_s": round(cost.cpu_s, 1),
                    "tokens_per_cpu_s": round(made["tokens"] / cost.cpu_s),
                    "together_mib": round(cost.together_mib),
                    "largest_mib": round(cost.largest_mib),
                }
            )
            print(json.dumps(sizes[-1]), flush=True)
        killed: dict[str, Any] = {}
        if kills:
            command = Command(config, scratch / "source-1", tokenizer, args.workers)
            killed = kill_often(command, scratch, kills)._asdict()
    first, last = sizes[0], sizes[-1]
    packages = ("tokenizers", "array_record", "pyarrow", "jax")
    result = {
        "benchmark": "prepare",
        "smoke": args.smoke,
        "tokenizer": pathlib.Path(tokenizer).name,
        "workers": args.workers,
        "part": args.part,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "sizes": sizes,
        # Without the seconds that every start takes.
        "tokens_per_core_s": round(
            (last["tokens"] - first["tokens"]) / (last["cpu_s"] - first["cpu_s"])
        ),
        "memory_ratio": round(last["together_mib"] / first["together_mib"], 3),
        "hours_for_26m_pairs_by_cores": hours(sizes),
    }
    result |= killed
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    main()
