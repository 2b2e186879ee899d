"""Reward every response of a data set.

    python -m rewardjax.score --model DIR --input FILE --output OUT.parquet [--workers N]
    python -m rewardjax.score merge OUT.parquet
    python -m rewardjax.score verify OUT.parquet

DIR is an exported Hugging Face folder or the workdir of a run; FILE any format of
`data/formats.py`, or groups `{"id", "prompt": [messages], "responses": [text, ...]}`. OUT
(`.parquet` or `.jsonl`) gets a row `id, row, response_index, reward` for each response, where `row`
is the record's place in the data (an id may occur twice); what cannot be scored is listed with its
reason in `OUT.quarantine.jsonl`, the score contract goes to `OUT.contract.json`, and what was
scored by what, with checksums, to `OUT.record.json`. A command that was killed goes on where it
was; the same command on other hosts that share the folder of OUT takes part in the work. `merge`
puts the parts of a finished pass together without a model, and `verify` says whether OUT is what
was written.
"""

import collections
import contextlib
import json
import math
import pathlib
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from rewardjax import fingerprint
from rewardjax.command import errors
from rewardjax.command.background import beside
from rewardjax.command.running import Running, Step
from rewardjax.data import accounting, formats, sources, spelling
from rewardjax.io import files, storage
from rewardjax.models.checkpoints import tree_fingerprint
from rewardjax.parallel.mesh import make_mesh
from rewardjax.scoring import contract, units
from rewardjax.scoring import model as scorer
from rewardjax.scoring.passes import merge, parts, plan, records
from rewardjax.scoring.passes.tables import WRITERS
from rewardjax.scoring.passes.work import looks_every, work

MAX_DROPPED = 0.2  # share of the records that may be unreadable


def score_file(
    model: scorer.Scorer,
    source: sources.Source,
    output: str | pathlib.Path,
    columns: Any = None,
    labels: Any = None,
    max_dropped: float = MAX_DROPPED,
) -> dict[str, int]:
    """Score `source` into `output`, which appears only when it is whole.

    Every response of every record has a row, or is in the quarantine with its reason; a record that
    is not a group has one entry there, with response_index -1. Any number of processes may do this
    at the same time. columns, labels: as for `data.prepare.prepare`.

    Returns the counts of records, scores and quarantine entries; `unreadable` are whole records.

    Raises:
        ValueError: where more than `max_dropped` of the first records are unreadable, or another
            pass is on the way to `output`.
    """
    refuse_output(output)
    output = storage.path_of(output)
    files.make_folder(output.parent)
    readings = formats.readings(source, columns, labels)
    this = plan_of(model, source, columns, labels)
    folder = parts.folder_of(output)
    record = _record_of(output, this)
    if record is None:
        plan.join(folder, this)
        # Beside the parts, so that whoever puts them together needs no model.
        with files.replacing(folder / contract.FILE, many_writers=True) as part:
            contract.save(model.contract, part)
        judge = _Judge(folder, this, max_dropped)
        with _progress(folder, this):
            work(folder, this, model, source, readings, output.suffix, judge)
        _merge(folder, output, this)
        record = merge.verify(output)
    account = units.Account(**record["account"])
    _tell(account, output)
    return account.counts


def plan_of(
    model: scorer.Scorer, source: sources.Source, columns: Any = None, labels: Any = None
) -> plan.Plan:
    """What scoring `source` with `model` is, for others that take part to compare."""
    settings = [columns, labels, model.compute_dtype]
    return plan.Plan(
        input=source.name,
        records=len(source),
        data=source.fingerprint(),
        model=tree_fingerprint.of_tree(model.params),
        contract=model.contract.fingerprint,
        settings=fingerprint.of_json(settings),
        unit=plan.UNIT,
    )


def _record_of(output: pathlib.Path, this: plan.Plan) -> dict[str, Any] | None:
    """The record of `output` if that is what this pass would write; other scores are replaced."""
    try:
        record = merge.verify(output)
    except merge.Damaged:
        return None
    if {name: record[name] for name in plan.Plan._fields} != this._asdict():
        return None
    return record


def _merge(folder: pathlib.Path, output: pathlib.Path, this: plan.Plan) -> None:
    try:
        merge.merge(folder, output)
    except (merge.Damaged, FileNotFoundError):
        # Another worker has put the parts together, and taken them away, at the same time.
        if _record_of(output, this) is None:
            raise


class _Judge:
    """Stops a worker where the first records of a file say that it is misread."""

    def __init__(self, folder: pathlib.Path, this: plan.Plan, max_dropped: float):
        self._folder, self._max_dropped = folder, max_dropped
        # A file without so many records is judged when it is done.
        self._first = 0
        if this.records >= accounting.EARLY:
            self._first = math.ceil(accounting.EARLY / this.unit)

    def __call__(self, unit: int, account: units.Account) -> None:
        """Raise ValueError where too many records of the first units are unreadable."""
        if unit >= self._first:
            return
        accounts = [account]
        for other in set(range(self._first)) - {unit}:
            path = parts.commit_path(self._folder, other)
            # Once all of them are there: a few bad records at the start of a file say little.
            if not path.exists():
                return
            accounts.append(records.account_of(records.read(path, ["account"]), path))
        counts = units.total(accounts)
        refuse_misread(counts.counts, self._max_dropped, f"the first: {counts.first:.300}")


@contextlib.contextmanager
def _progress(folder: pathlib.Path, this: plan.Plan) -> Iterator[None]:
    """Tell of the records that all workers have done, with rate and ETA, while the block runs."""
    running = Running().step("score", this.records, unit="record", done=_done(folder, this))
    with running as step, beside(_look, step, folder, this):
        yield


def _look(step: Step, folder: pathlib.Path, this: plan.Plan, stop: threading.Event) -> None:
    while not stop.wait(looks_every(folder)):
        # Where another worker has put the parts together, they are gone.
        step.advance(max(0.0, _done(folder, this) - step.done))


def _done(folder: pathlib.Path, this: plan.Plan) -> int:
    """Records of the units that are done, the last of which may be smaller."""
    return min(len(parts.committed(folder)) * this.unit, this.records)


def _tell(account: units.Account, output: pathlib.Path) -> None:
    """Say what has no score, and what is read otherwise than its owner may think."""
    if account.first:
        print(_lost(account, output), file=sys.stderr)
    for sentence in accounting.remarks(
        account.counts["with_control_strings"],
        account.control_example,
        account.unprinted,
        account.late_columns,
        account.counts["shortened"],
    ):
        print(sentence, file=sys.stderr)


def refuse_misread(counts: dict[str, int], max_dropped: float, why: str) -> None:
    """Raise ValueError where a larger share than `max_dropped` of the records is unreadable."""
    share = counts["unreadable"] / max(counts["records"], 1)
    if share > max_dropped:
        raise ValueError(
            f"{share:.0%} of {counts['records']:,} records cannot be read, {why}; --max_dropped "
            f"{max_dropped} is the share that may be lost"
        )


def refuse_output(output: str | pathlib.Path) -> None:
    """Raise ValueError where no scores can be written to the file `output`."""
    output = storage.path_of(output)
    if output.suffix not in WRITERS:
        raise ValueError(f"--output {output}: the name must end with {' or '.join(WRITERS)}")
    if output.is_dir():
        raise ValueError(f"--output {output} is a folder; name a file")
    # Beside it too: whoever opened a pipe there would wait for ever.
    for path in (output, *merge.beside(output)):
        files.refuse_pipe(path)
    if reason := files.unwritable(output.parent, addresses=True):
        raise ValueError(f"--output {output}: {reason}")


def refuse_overwriting(source: sources.Source, output: str | pathlib.Path) -> None:
    """Raise ValueError where the scores would take the place of the data, or be read as data."""
    for file in getattr(source, "files", ()):
        if storage.is_same(file, output):
            raise ValueError(f"--output {output} is a file of --input; name another one")


def refuse_share(max_dropped: float) -> None:
    """Raise ValueError for what is no share, such as a percentage."""
    if not 0 <= max_dropped <= 1:
        raise ValueError(f"--max_dropped {max_dropped:g}: a share from 0 to 1, as in 0.2 for 20%")


def _input_readings(source: sources.Source, columns: Any, labels: Any) -> Sequence[formats.Reading]:
    """How each file is read. Raises ValueError where there is nothing to read."""
    if not len(source):
        raise ValueError(f"--input: {source.name} has no records")
    return formats.readings(source, columns, labels)


def _lost(account: units.Account, output: pathlib.Path) -> str:
    """A sentence about what has no score: whole records, and single responses of others."""
    reasons = collections.Counter(account.reasons).most_common()
    by_reason = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
    return (
        f"warning: {account.counts['scored']:,} responses scored, "
        f"{account.counts['quarantined']:,} records or responses not ({by_reason}), the first: "
        f"{account.first:.300}; all of them are in {output.name}.quarantine.jsonl"
    )


@errors.one_line("rewardjax.score")
def main() -> None:
    """Run the command."""
    if sys.argv[1:2] in (["merge"], ["verify"]):
        _of_output(sys.argv[1], sys.argv[2:])
        return
    parser = errors.ArgumentParser(
        prog="python -m rewardjax.score", description="Reward every response of a data set."
    )
    parser.add_argument(
        "--model",
        required=True,
        help="Hugging Face folder of a reward model, ORG/NAME of the hub, or the workdir of a run",
    )
    parser.add_argument(
        *("--input", "--data"),
        required=True,
        help="data to score: file, glob, folder, tfds:NAME, hf://ORG/NAME",
    )
    spelling.add_flags(parser)
    parser.add_argument(
        "--output",
        required=True,
        help="where the scores go: a name ending with .parquet or .jsonl, on a disk or gs://BUCKET",
    )
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        help="the trunk's arithmetic; default: what the model was trained with, and for a folder "
        "without a score contract the dtype of its config.json",
    )
    parser.add_argument(
        "--max_dropped",
        type=float,
        default=MAX_DROPPED,
        help="exit with code 2 where a larger share of the records cannot be read (default 0.2)",
    )
    parser.add_argument("--step", type=int, help="which checkpoint of a run; default: the newest")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes of this machine; each holds the model (default 1)",
    )
    args = parser.parse_args()
    # Before the model, which takes long: a misspelt name should not have to wait for it.
    complaints = errors.Complaints()
    complaints.of(refuse_output, args.output)
    complaints.of(refuse_share, args.max_dropped)
    if args.workers < 1:
        complaints.add([f"--workers {args.workers}: at least 1"])
    complaints.of(scorer.refuse_missing, args.model, args.step)
    source = complaints.of(
        sources.open_source, args.input, split=args.split, spelling=spelling.FLAGS
    )
    readings = None
    if source is not None:
        complaints.of(refuse_overwriting, source, args.output)
        readings = complaints.of(_input_readings, source, args.columns, args.labels)
    complaints.refuse()
    assert source is not None, "its refusal would have been raised"
    for reading in readings or ():
        print(reading.sentence(), file=sys.stderr)
    with _helpers(args.workers - 1):
        # Each process is a worker for itself, though a TPU slice may show it everybody's devices.
        mesh = make_mesh(devices=jax.local_devices())
        model = scorer.load(args.model, dtype=args.dtype, mesh=mesh, step=args.step)
        counts = score_file(
            model, source, args.output, args.columns, args.labels, max_dropped=args.max_dropped
        )
    print(json.dumps(counts | {"output": args.output, "contract": model.contract.fingerprint}))
    # After the files are whole: the quarantine says what to mend, the exit code is for scripts.
    if not counts["scored"]:
        raise ValueError(f"{args.input}: no response could be scored; the reasons are above")
    refuse_misread(counts, args.max_dropped, "the reasons are above")


@contextlib.contextmanager
def _helpers(count: int) -> Iterator[None]:
    """So many more processes of the same command while the block runs."""
    # The last --workers counts. What they say is what this process says.
    command = [sys.executable, "-m", "rewardjax.score", *sys.argv[1:], "--workers", "1"]
    helpers = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(count)
    ]
    try:
        yield
        for helper in helpers:
            helper.wait()
    finally:
        # Where this process has failed; whatever they had begun does not count.
        for helper in helpers:
            helper.kill()
            helper.wait()


def _of_output(verb: str, arguments: Sequence[str]) -> None:
    """`merge` or `verify`, which need no model."""
    parser = errors.ArgumentParser(
        prog=f"python -m rewardjax.score {verb}",
        description="Put the parts of a finished pass together, or check a file of scores.",
    )
    parser.add_argument("output", help="OUT.parquet or OUT.jsonl")
    args = parser.parse_args(arguments)
    output = storage.path_of(args.output)
    folder = parts.folder_of(output)
    if verb == "merge" and folder.exists():
        merge.merge(folder, output)
    print(json.dumps(merge.verify(output)))


if __name__ == "__main__":
    main()
