"""Bad rows and files through the four commands that read data, as a user types them.

    python -m benchmarks.bad_rows [--smoke]

Every row of `bad_row_cases` stands in a file beside good ones, all of them together and each in a
file of its own; every hostile file is read by itself (--smoke: all rows together, some files).
`train`, `score`, `evaluate` and `curate import` read each. A bad row costs itself: the command ends
with 0, and each row of the file is used or counted as lost, with its reason. A file that cannot be
read is refused in one sentence, with code 2. Printed last, one JSON line, in which these are 0:

    crashes      commands that ended otherwise, by a signal or by the clock
    tracebacks   commands that printed one
    uncounted    files of which rows are missing in the account, or are there twice
    stopped      files with a bad row that were refused whole
    nan_outputs  written files with a number that is not finite
"""

import argparse
import json
import math
import os
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from benchmarks import bad_row_cases
from benchmarks.forks import ROOT, Ended, run_all
from rewardjax.command.exit_codes import ExitCode
from rewardjax.data.sources import open_source

SECONDS = 300.0  # of one command; none needs a tenth on an idle machine
SMOKE_STRIDE = 18  # of the hostile files, of which --smoke reads one in so many
# Files that hold good rows beside what is wrong with them: nothing but the rows may be lost.
READABLE = (
    *("array_with_a_number.json", "torn.jsonl", "zeros_behind.jsonl", "no_gzip.jsonl.gz"),
    *("short_row.csv", "latin_1.csv", "not_utf8.parquet", "nulls.parquet", "dates.parquet"),
)
# How the sentence of a refusal begins.
SAYS = {
    "train": "rewardjax.train: ",
    "score": "rewardjax.score: ",
    "evaluate": "rewardjax.evaluate: ",
    "import": "rewardjax.curate import: ",
}
CONFIG = """
from rewardjax import config

def get_config(arg=None):
    tiny = config.load({tiny!r}, {{"steps": 1, "batch.pairs": 4, "checkpoint.every": 0}})
    with tiny.unlocked():
        tiny.evals = {{}}
        tiny.checkpoint.keep.best = None
    return tiny
"""


class Case(NamedTuple):
    """A file that the commands read."""

    name: str
    path: pathlib.Path
    readable: bool  # whether a command that refuses it is at fault


class Verdict(NamedTuple):
    """What was wrong with one command on one file."""

    case: str
    verb: str
    fault: str
    detail: str


def cases(folder: pathlib.Path, smoke: bool) -> list[Case]:
    """All files, written below `folder`."""
    rows = bad_row_cases.rows()
    every = bad_row_cases.beside_good_ones(list(rows.values()))
    found = [Case("all rows", bad_row_cases.write(folder, "all.jsonl", every), True)]
    files = list(bad_row_cases.files().items())
    if smoke:
        files = files[::SMOKE_STRIDE]
    for name, data in files:
        found.append(Case(name, bad_row_cases.write(folder, name, data), name in READABLE))
    if smoke:
        return found
    for name, row in rows.items():
        data = bad_row_cases.beside_good_ones([row])
        found.append(Case(name, bad_row_cases.write(folder, f"row_{name}.jsonl", data), True))
    return found


def make_model(folder: pathlib.Path) -> pathlib.Path:
    """A tiny model as a Hugging Face folder, and the config that the cases are trained with."""
    config = folder / "config.py"
    config.write_text(CONFIG.format(tiny=str(ROOT / "configs/tiny.py")))
    train = ["rewardjax.train", f"--config={config}", f"--workdir={folder / 'run'}"]
    train += [f"--config.data.cache={folder / 'cache'}"]
    export = ["rewardjax.export", "--from", str(folder / "run"), "--output", str(folder / "hf")]
    for ended in run_all([train, export], folder):
        if ended.returncode:
            raise RuntimeError(ended.stderr)
    return folder / "hf"


def commands(case: Case, out: pathlib.Path, model: pathlib.Path) -> dict[str, list[str]]:
    """What a user types, by the verb."""
    benchmark = f"module=rewardjax.evaluators.benchmarks.pairs,data={case.path}"
    return {
        "train": [
            *("rewardjax.train", f"--config={model.parent / 'config.py'}"),
            *(f"--workdir={out / 'train'}", f"--config.data.source={case.path}"),
            f"--config.data.cache={out / 'cache'}",
        ],
        "score": [
            *("rewardjax.score", "--model", str(model), "--input", str(case.path)),
            *("--output", str(out / "score" / "out.jsonl")),
        ],
        "evaluate": [
            *("rewardjax.evaluate", f"--config={ROOT / 'configs/eval/own.py'}:{benchmark}"),
            *(f"--config.model={model}", f"--config.output={out / 'evaluate'}"),
        ],
        "import": [
            *("rewardjax.curate", "import", str(out / "import"), "--source", str(case.path)),
            *("--name", "bad", "--entry", "wild"),
        ],
    }


# ------------------------------------------------------------------ what a command left


def judge(case: Case, verb: str, ended: Ended, out: pathlib.Path) -> Iterator[Verdict]:
    """Everything that is wrong with one command."""
    last = (ended.stderr.strip().splitlines() or [""])[-1]
    if "Traceback (most recent call last)" in ended.stderr + ended.stdout:
        yield Verdict(case.name, verb, "tracebacks", last)
    is_told = any(line.startswith(SAYS[verb]) for line in ended.stderr.splitlines())
    is_refused = ended.returncode == ExitCode.USER and is_told
    if ended.returncode != 0 and not is_refused:
        yield Verdict(case.name, verb, "crashes", f"code {ended.returncode}: {last:.300}")
    elif is_refused and case.readable:
        yield Verdict(case.name, verb, "stopped", last[:300])
    elif ended.returncode == 0:
        lost = ACCOUNTS[verb](out, len(open_source(case.path)))
        if lost is not None:
            yield Verdict(case.name, verb, "uncounted", lost)
    for path in not_finite_below(out / verb):
        yield Verdict(case.name, verb, "nan_outputs", str(path.relative_to(out)))


def of_training(out: pathlib.Path, rows: int) -> str | None:
    """What is wrong with the manifest's account."""
    (manifest,) = (out / "cache").glob("*/manifest.json")
    records = json.loads(manifest.read_text())["records"]
    parts = sum(count for name, count in records.items() if name != "in")
    if records["in"] == rows == parts:
        return None
    return f"{rows} rows, {records}"


def of_scoring(out: pathlib.Path, rows: int) -> str | None:
    """What is wrong with the scores and their quarantine."""
    places = []
    for name in ("out.jsonl", "out.jsonl.quarantine.jsonl"):
        for line in (out / "score" / name).read_text().splitlines():
            entry = json.loads(line)
            places.append((entry["row"], entry["response_index"]))
    record = json.loads((out / "score" / "out.jsonl.record.json").read_text())
    records = record["account"]["counts"]["records"]
    named = {row for row, _ in places}
    if len(set(places)) == len(places) and named == set(range(rows)) and records == rows:
        return None
    return f"{rows} rows, {records} records, {len(named)} of them in the files, {len(places)} times"


def of_evaluation(out: pathlib.Path, rows: int) -> str | None:
    """What is wrong with the results' account: examples that count, or are listed as left out."""
    record = json.loads((out / "evaluate" / "results.json").read_text())
    (result,) = record["results"].values()
    used = 0
    for part in result["parts"].values():
        used += part["n"] + part["unused"] + part["unscored"]
    left_out = sum(map(len, record["left_out"].values()))
    if used + left_out == rows:
        return None
    return f"{rows} rows, {used} used, {left_out} left out"


def of_import(out: pathlib.Path, rows: int) -> str | None:
    """What is wrong with the ledger: rows of the source that no vote and no reject names."""
    named = set()
    for ledger, column in (("votes", "sample"), ("rejects", "row")):
        for path in (out / "import" / "store" / ledger).rglob("*.parquet"):
            named |= set(pq.read_table(path).column(column).to_pylist())
    if named == set(range(rows)):
        return None
    return f"{rows} rows, {sorted(set(range(rows)) ^ named)[:5]} missing or too many"


ACCOUNTS = {
    "train": of_training,
    "score": of_scoring,
    "evaluate": of_evaluation,
    "import": of_import,
}


def not_finite_below(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """The JSON and Parquet files below a folder that hold NaN or an infinity."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".json", ".jsonl"):
            texts = path.read_text(encoding="utf-8").splitlines()
            if path.suffix == ".json":
                texts = ["\n".join(texts)]
            if any(map(_has_not_finite, texts)):
                yield path
        elif path.suffix == ".parquet":
            for column in pq.read_table(path).columns:
                values = [x for x in column.to_pylist() if isinstance(x, float)]
                if not all(map(math.isfinite, values)):
                    yield path


def _has_not_finite(text: str) -> bool:
    found: list[str] = []
    json.loads(text, parse_constant=found.append)
    return bool(found)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run all commands on all cases; prints the result as the last line, and returns it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bad_rows")
    parser.add_argument("--smoke", action="store_true", help="all rows in one file, and some files")
    parser.add_argument(
        "--only", default="", help="the cases whose name has this in it, for looking closer"
    )
    args = parser.parse_args(argv)
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled"))
        model = make_model(folder)
        found = [case for case in cases(folder / "data", args.smoke) if args.only in case.name]
        asked, places = [], []
        for case in found:
            out = folder / "out" / case.path.parent.name
            out.mkdir(parents=True)
            for verb, command in commands(case, out, model).items():
                asked.append(command)
                places.append((case, verb, out))
        for ended, (case, verb, out) in zip(
            run_all(asked, folder, seconds=SECONDS), places, strict=True
        ):
            verdicts.extend(judge(case, verb, ended, out))
    faults = ("crashes", "tracebacks", "uncounted", "stopped", "nan_outputs")
    result = {"benchmark": "bad_rows", "smoke": args.smoke, "cases": len(found)}
    result |= {"commands": len(asked)}
    for fault in faults:
        result[fault] = sum(verdict.fault == fault for verdict in verdicts)
    for verdict in verdicts:
        print(f"{verdict.fault}: {verdict.case}, {verdict.verb}: {verdict.detail}")
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    main()
