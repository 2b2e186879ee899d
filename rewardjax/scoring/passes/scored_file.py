"""A file of scores from a data set: a pass from its plan to the merged file, and what is told.

Any number of processes may do this for the same file at the same time.
"""

import collections
import contextlib
import math
import pathlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from rewardjax import fingerprint
from rewardjax.command.background import beside
from rewardjax.command.running import Running, Step
from rewardjax.data import accounting, formats, sources
from rewardjax.io import files, storage
from rewardjax.models.checkpoints import tree_fingerprint
from rewardjax.scoring import agreement, contract, units
from rewardjax.scoring import model as scorer
from rewardjax.scoring.passes import merge, parts, plan, records
from rewardjax.scoring.passes.tables import WRITERS
from rewardjax.scoring.passes.work import looks_every, work

MAX_DROPPED = 0.2  # share of the records that may be unreadable
NOT_COMPARED = (
    "the rewards are not compared with labels, which the version that scored these records did not "
    "do; remove the output to score again"
)


def score_file(
    model: scorer.Scorer,
    source: sources.Source,
    output: str | pathlib.Path,
    columns: Any = None,
    labels: Any = None,
    max_dropped: float = MAX_DROPPED,
    texts: bool = False,
) -> units.Account:
    """Score `source` into `output`, which appears only when it is whole.

    Every response of every record has a row, or is in the quarantine with its reason; a record that
    is not a group has one entry there, with response_index -1. Any number of processes may do this
    at the same time. columns, labels: as for `data.prepare.prepare`. texts: whether rows have the
    `prompt` and the `response` too.

    Returns what became of the records: counts, of which `unreadable` are whole records, and how
    far the rewards agree with the labels.

    Raises:
        ValueError: where more than `max_dropped` of the first records are unreadable, or another
            pass is on the way to `output`.
    """
    refuse_output(output)
    output = storage.path_of(output)
    files.make_folder(output.parent)
    readings = formats.readings(source, columns, labels)
    this = plan_of(model, source, columns, labels, texts)
    folder = parts.folder_of(output)
    record = _record_of(output, this)
    if record is None:
        plan.join(folder, this)
        # Beside the parts, so that whoever puts them together needs no model.
        with files.replacing(folder / contract.FILE, many_writers=True) as part:
            contract.save(model.contract, part)
        judge = _Judge(folder, this, max_dropped)
        with _progress(folder, this):
            work(folder, this, model, source, readings, output.suffix, judge, texts)
        _merge(folder, output, this)
        record = merge.verify(output)
    account = units.Account(**record["account"])
    _tell(account, output)
    return account


def plan_of(
    model: scorer.Scorer,
    source: sources.Source,
    columns: Any = None,
    labels: Any = None,
    texts: bool = False,
) -> plan.Plan:
    """What scoring `source` with `model` is, for others that take part to compare."""
    settings = [columns, labels, model.compute_dtype]
    # Only then, so that a pass of an earlier version, which had no texts, is gone on with.
    if texts:
        settings.append("texts")
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
    """Say what has no score, what is read otherwise than its owner may think, and what is wrong."""
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
    if account.agreement is None:
        print(NOT_COMPARED, file=sys.stderr)
        return
    for sentence in agreement.sentences(agreement.Agreement(**account.agreement)):
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
        raise ValueError(f"--output {output}: the name must end with {', '.join(WRITERS)}")
    if output.is_dir():
        raise ValueError(f"--output {output} is a folder; name a file")
    # Beside it too: whoever opened a pipe there would wait for ever.
    for path in (output, *merge.beside(output)):
        files.refuse_pipe(path)
    if reason := files.unwritable(output.parent, addresses=True):
        raise ValueError(f"--output {output}: {reason}")


def _lost(account: units.Account, output: pathlib.Path) -> str:
    """A sentence about what has no score: whole records, and single responses of others."""
    reasons = collections.Counter(account.reasons).most_common()
    by_reason = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
    return (
        f"warning: {account.counts['scored']:,} responses scored, "
        f"{account.counts['quarantined']:,} records or responses not ({by_reason}), the first: "
        f"{account.first:.300}; all of them are in {output.name}.quarantine.jsonl"
    )
