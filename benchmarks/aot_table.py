"""Every release config compiled for every TPU slice it names, and how much of causal attention
packed rows leave.

    python -m benchmarks.aot_table [--only qwen3_8b] [--write docs/performance.md]
    python -m benchmarks.aot_table --only qwen3_8b --on v5e:16x16 v6e:8x16 --slices 1 2 4

Each program is compiled by `python -m rewardjax.compile` in a process of its own, one to three
minutes each, and its result kept in --cache under a name made from everything that the program
depends on: a run that is stopped continues, and one that is repeated compiles nothing. Run it once
with each release of jax that is supported. `--write` replaces that release's table in a document;
that of several slices is another one.
Prints one JSON line last.
"""

import argparse
import json
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any, NamedTuple

from tqdm import tqdm

from rewardjax import config as config_lib
from rewardjax import fingerprint
from rewardjax.aot import assumed_lengths
from rewardjax.aot.roofline import BLOCK
from rewardjax.aot.topology import CHIPS

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = "configs/skywork_v2"
SOURCES = (
    "parallel/mesh.py",
    "training/step.py",
    "training/losses.py",
    "training/optim.py",
    "aot/*.py",
    "kernels/*.py",
    "models/*.py",
)  # what the programs are made from
PAIRS = 10_240  # of the final recipe's step
COLUMNS = (
    "model",
    "slice",
    "mesh",
    "remat",
    "state GiB",
    "temp GiB",
    "peak GiB",
    "of GiB",
    "gather",
    "scatter",
    "reduce",
    "other",
    "between",
    "MFU",
    "days",
    "chip-hours",
)


class Job(NamedTuple):
    """One config on a slice it names, or on several of them."""

    config: str
    topology: str
    slices: int
    key: str

    @property
    def model(self) -> str:
        return pathlib.Path(self.config).stem

    @property
    def where(self) -> str:
        if self.slices == 1:
            return self.topology
        return f"{self.slices} x {self.topology}"


def jobs(only: str, on: Sequence[str] = (), slices: Sequence[int] = (1,)) -> list[Job]:
    """The release configs whose name has `only` in it, on all their TPU slices.

    on: these slices alone. slices: so many of each.
    """
    listed = []
    for path in sorted((ROOT / FOLDER).glob("*.py")):
        module = config_lib.load_module(path)
        if path.stem == "release" or only not in path.stem:
            continue
        name = f"{FOLDER}/{path.name}"
        for topology in module.slices():
            if topology.partition(":")[0] not in CHIPS or (on and topology not in on):
                continue
            for count in slices:
                config = module.get_config(f"slice={topology},slices={count}")
                of_program = key(config_lib.resolve(config), topology, count)
                listed.append(Job(name, topology, count, of_program))
    return listed


def key(config: dict[str, Any], topology: str, slices: int = 1) -> str:
    """A name for a program.

    It is the same for two configs that differ only in what is no part of it, such as their data.
    """
    sections = {name: config[name] for name in ("compute", "mesh", "batch", "loss", "optimizer")}
    model = {name: config["model"][name] for name in ("variant", "changes")}
    package = ROOT / "rewardjax"
    code = {
        str(path.relative_to(package)): fingerprint.of_file(path)
        for pattern in SOURCES
        for path in sorted(package.glob(pattern))
    }
    return fingerprint.of_json(
        {
            **sections,
            "model": model,
            "schedule": config["schedule"]["name"],
            "topology": topology,
            "slices": slices,
            "code": code,
            **versions(),
        }
    )


def versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("jax", "libtpu")}


def measured(job: Job, cache: pathlib.Path) -> dict[str, Any]:
    """What `rewardjax.compile` says of a job, from the cache if it is there.

    RuntimeError with its message where it breaks.
    """
    kept = cache / f"{job.key}.json"
    if not kept.exists():
        command = [
            sys.executable,
            "-m",
            "rewardjax.compile",
            f"--config={job.config}",
            f"--topology={job.topology}",
            f"--slices={job.slices}",
            "--json",
        ]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr[-2000:]}")
        cache.mkdir(parents=True, exist_ok=True)
        config_lib.write_json(kept, json.loads(done.stdout.splitlines()[-1]))
    return json.loads(kept.read_text())


def table(rows: dict[Job, dict[str, Any]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "| " + " | ".join("---" for _ in COLUMNS) + " |"]
    for job, row in rows.items():
        mesh = f"{row['mesh']['data']} x {row['mesh']['fsdp']}"
        gib = [f"{row[name]:.2f}" for name in ("state_gib", "temp_gib", "needed_gib", "limit_gib")]
        cells = [job.model, job.where, mesh, row["remat"], *gib]
        if row["fits"]:
            sent = {kind: exchanged["gib"] for kind, exchanged in row["collectives"].items()}
            named = [sent.pop(kind, 0.0) for kind in ("all-gather", "reduce-scatter", "all-reduce")]
            cells += [f"{gib:.1f}" for gib in (*named, sum(sent.values()))]
            cells.append(f"{row['between_slices']['gib']:.2f}")
            cells += [
                f"{row['mfu']:.2f}",
                f"{row['run']['days']:.2f}",
                f"{row['run']['chip_hours']:.0f}",
            ]
        else:
            cells += ["does not fit"] + [""] * (len(COLUMNS) - len(cells) - 1)
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def write(document: pathlib.Path, lines: list[str], name: str) -> None:
    """Replace the table of this release of jax in a document, or add it at the end."""
    jax, libtpu = versions()["jax"], versions()["libtpu"]
    line = ".".join(jax.split(".")[:2])
    begin, end = f"<!-- {name} jax {line} -->", f"<!-- end of {name} jax {line} -->"
    block = "\n".join([begin, f"jax {jax}, libtpu {libtpu}:", "", *lines, end])
    text = document.read_text() if document.exists() else ""
    if begin in text:
        before, after = text.split(begin)[0], text.split(end)[1]
        document.write_text(before + block + after)
    else:
        document.write_text(f"{text.rstrip()}\n\n{block}\n")


def summary(rows: dict[Job, dict[str, Any]], missing: list[Job]) -> dict[str, Any]:
    fitting = {job: row for job, row in rows.items() if row["fits"]}
    worst = lambda name, kinds: max(
        (
            row["exchanges"][name]
            for job, row in fitting.items()
            if job.topology.split(":")[0] in kinds
        ),
        default=None,
    )
    ratio = lambda kind: assumed_lengths.packing(kind, 16_384, 64, BLOCK, PAIRS).live_to_causal
    return {
        **versions(),
        "programs": len(rows),
        "fit": len(fitting),
        "missing": [f"{job.model} {job.where}" for job in missing],
        "over": [
            f"{job.model} {job.where} by {row['over_gib']:.2f} GiB"
            for job, row in rows.items()
            if not row["fits"]
        ],
        "of_table_size": worst("of_table_size", CHIPS),
        "float32_weight_gathers": worst("float32_weight_gathers", CHIPS),
        "full_weight_all_reduces_in_loop_v5": worst(
            "full_weight_all_reduces_in_loop", ("v5e", "v5p")
        ),
        "longest_compile_s": max(
            (row["compile"]["seconds"] for row in rows.values()), default=None
        ),
        "most_host_gib": max((row["compile"]["host_gib"] for row in rows.values()), default=None),
        "mfu": {f"{job.model} {job.where}": row["mfu"] for job, row in fitting.items()},
        "live_to_causal_short": ratio("short"),
        "live_to_causal_long": ratio("long"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.aot_table",
        description="Compile every release config for every slice it names.",
    )
    parser.add_argument("--only", default="", help="configs whose name has this in it")
    parser.add_argument("--on", nargs="*", default=(), help="these slices alone")
    parser.add_argument(
        "--slices", nargs="*", type=int, default=(1,), help="how many slices of each (default 1)"
    )
    parser.add_argument(
        "--cache",
        type=pathlib.Path,
        default=ROOT / "runs/aot_table",
        help="folder of finished rows",
    )
    parser.add_argument(
        "--cached", action="store_true", help="compile nothing: say what the cache holds"
    )
    parser.add_argument("--write", type=pathlib.Path, help="document whose table is replaced")
    args = parser.parse_args()
    rows: dict[Job, dict[str, Any]] = {}
    missing: list[Job] = []
    for job in tqdm(jobs(args.only, args.on, args.slices), unit="program"):
        if args.cached and not (args.cache / f"{job.key}.json").exists():
            missing.append(job)
            continue
        try:
            rows[job] = measured(job, args.cache)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            missing.append(job)
    lines = table(rows)
    print("\n".join(lines))
    if missing:
        print(
            f"missing: {', '.join(f'{job.model} {job.where}' for job in missing)}",
            file=sys.stderr,
        )
    if args.write:
        name = "aot_table"
        if max(args.slices) > 1:
            name = "aot_table of several slices"
        write(args.write, lines, name)
    print(json.dumps(summary(rows, missing)))


if __name__ == "__main__":
    main()
