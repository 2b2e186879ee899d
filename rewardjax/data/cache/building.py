"""A token cache built shard by shard, by one process or many, killed or not.

    FOLDER/plan.json    how many records each file has
    FOLDER/refused      why nothing of the data will be used, found out by one of the processes
    FOLDER/tally/       how far each process is
    FOLDER/tasks/       what tasks of an engine are given (`rewardjax.prepare`)

`token_cache` has the files that remain. What is done stays done: the same build, started again,
makes the shards that are missing, with however many processes, and they are the same bytes.
"""

import contextlib
import dataclasses
import itertools
import json
import pathlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rewardjax import fingerprint
from rewardjax.command import errors
from rewardjax.command.background import beside
from rewardjax.command.running import Running, Step, clock_text
from rewardjax.data import accounting, formats, token_cache
from rewardjax.data.cache import counts, shards, stretches, tally
from rewardjax.data.cache.shards import Shard
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.tokenize import Settings, tokenize_record
from rewardjax.io import files, own_files

PLAN, REFUSED, TASKS = "plan.json", "refused", "tasks"
# Records of a shard: enough of them that small data keep several processes busy, and large data
# are not thousands of files.
FEWEST, SHARDS, MOST = 1024, 64, 65_536


class Stopped(Exception):
    """Another process of this build has found a reason to refuse the data."""


@dataclasses.dataclass(frozen=True)
class Build:
    """What every process needs to know; travels to other machines.

    counts: of the records of each file. max_dropped: the share of a file that may be unusable.
    """

    folder: pathlib.Path
    source: Any
    tokenizer: ChatTokenizer
    readings: Sequence[formats.Reading]
    settings: Settings
    counts: Sequence[int]
    shards: int
    max_dropped: float

    @property
    def records(self) -> int:
        """Of all files."""
        return sum(self.counts)

    def shard(self, number: int) -> Shard:
        """One of the shards."""
        return Shard(self.folder, number, self.shards)

    def missing(self) -> list[int]:
        """The shards that are not whole, for which those that are there are read."""
        numbers = []
        for part in map(self.shard, range(self.shards)):
            if not shards.is_done(part):
                # From here on its record alone tells whether it is whole.
                files.remove(part.record)
                for path in (part.index, part.groups):
                    # No file can take the place of a folder.
                    if path.is_dir():
                        files.remove(path)
                numbers.append(part.number)
        return numbers

    def records_in(self, numbers: Sequence[int]) -> int:
        """How many records some of the shards have."""
        spans = [self.shard(number).span(self.records) for number in numbers]
        return sum(stop - first for first, stop in spans)


# Makes some shards of a build, in whatever processes.
Spread = Callable[[Build, Sequence[int]], None]


# ------------------------------------------------------------------ the plan


def plan(
    folder: pathlib.Path,
    source: Any,
    readings: Sequence[formats.Reading],
    count: int | None,
) -> tuple[list[int], int]:
    """The records of each file, and the number of shards: `count`, or what suits the data.

    The shards that are there stay what they are, and it is said where `count` is another.
    """
    of_files = _counted(folder / PLAN)
    if of_files is None:
        of_files = [file.count() for file in stretches.files_of(source, readings)]
        with files.replacing(folder / PLAN) as part:
            part.write_text(json.dumps(fingerprint.with_checksum({"counts": of_files})))
    records = sum(of_files)
    begun = _shards_in(folder)
    if begun is not None:
        if count not in (None, begun):
            say(f"{source.name}: going on with the {begun} shards that it has")
        return of_files, begun
    if count is None:
        size = min(max(records // SHARDS, FEWEST), MOST)
        count = -(-records // size)
    # Not more than there are records, and one where there are none.
    return of_files, max(1, min(count, records))


def _counted(path: pathlib.Path) -> list[int] | None:
    """The records of each file, where an earlier start has counted them."""
    try:
        begun = own_files.read(path)
        if token_cache.checksum_holds(begun):
            return begun["counts"]
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return None


def _shards_in(folder: pathlib.Path) -> int | None:
    """Of how many shards those in a folder are; None where there is none."""
    counts = [int(path.stem.rpartition("-")[2]) for path in folder.glob("shard-*-of-?????.json")]
    return max(counts, key=counts.count, default=None)


# ------------------------------------------------------------------ shards of one process


def build(job: Build, numbers: Sequence[int]) -> Iterator[int]:
    """Make the shards `numbers`, ascending, in this process; yields each that is done.

    Consecutive ones are read in one pass. What the data's user must change is written to REFUSED
    as well, for the other processes. Raises Stopped where one of them has done so.
    """
    tallied = tally.Tally(job.folder)
    try:
        for run in runs_of(numbers):
            yield from _build_run(job, run, tallied)
    except Exception as error:
        refusal = _refusal(job, error)
        if refusal is None:
            raise
        # A disk that is full may take no more of this either.
        with (
            contextlib.suppress(OSError),
            files.replacing(job.folder / REFUSED, many_writers=True) as part,
        ):
            part.write_text("\n".join(errors.sentences(refusal)))
        raise refusal from None
    finally:
        tallied.write()


def _refusal(job: Build, error: Exception) -> Exception | None:
    """What an error tells the user to change; None for a bug."""
    if errors.is_full_disk(error):
        return ValueError(
            f"{job.folder}: no space left on the disk for the tokens of {job.source.name}; free "
            "some and start the same command again, which goes on with the missing shards"
        )
    if errors.is_mistake(error):
        return error
    return None


def refuse(folder: pathlib.Path) -> None:
    """Raise ValueError where a process has found a reason to refuse the data."""
    path = folder / REFUSED
    if path.exists():
        raise errors.Refusal(path.read_text().splitlines())


def runs_of(numbers: Sequence[int]) -> list[list[int]]:
    """Ascending numbers as lists without a gap."""
    runs: list[list[int]] = []
    for number in numbers:
        if not runs or number != runs[-1][-1] + 1:
            runs.append([])
        runs[-1].append(number)
    return runs


def _build_run(job: Build, run: Sequence[int], tallied: tally.Tally) -> Iterator[int]:
    """Make consecutive shards in one pass over their records."""
    first, _ = job.shard(run[0]).span(job.records)
    _, stop = job.shard(run[-1]).span(job.records)
    source_files = stretches.files_of(job.source, job.readings)
    records = stretches.records_of(source_files, job.counts, first, stop)
    early = _Early(job)
    for number in run:
        shard = job.shard(number)
        first, stop = shard.span(job.records)
        shard_counts = counts.Counts(job.readings)
        report: dict[str, Any] = {}
        with shards.writing(shard, report) as writer:
            for record in itertools.islice(records, stop - first):
                outcome = tokenize_record(record, job.tokenizer, job.readings, job.settings)
                shard_counts.add(record[0], outcome)
                early.add(record[0], outcome)
                if outcome.encoded:
                    writer.add(record[0], outcome.encoded, outcome.pairs)
                # Four bytes each: the header's few numbers count as tokens.
                if tallied.add(len(outcome.encoded) // 4) and (job.folder / REFUSED).exists():
                    raise Stopped(f"{job.folder / REFUSED} says why")
            report |= shard_counts.report_of_part()
        yield number


class _Early:
    """Refuses a file of which too many early records are unusable, before the rest is tokenized.

    Only by whoever reads the file from its first record on.
    """

    def __init__(self, job: Build):
        self._counts = counts.Counts(job.readings)
        self._starts = [0, *itertools.accumulate(job.counts)]
        self._max_dropped = job.max_dropped
        self._spelling = formats.spelling_of(job.source)

    def add(self, number: int, outcome: Any) -> None:
        """Book record `number`. Raises ValueError where it is the one too many."""
        place = number - self._starts[outcome.file]
        if place >= accounting.EARLY:
            return
        self._counts.add(number, outcome)
        file = self._counts.files[outcome.file]
        if file.records == accounting.EARLY:
            file.refuse(self._max_dropped, self._spelling)


# ------------------------------------------------------------------ the whole


def make(job: Build, missing: Sequence[int], inputs: dict[str, Any], spread: Spread) -> None:
    """Make the missing shards, and of all shards the cache in its folder.

    Raises ValueError where no pair is left, or a process refuses the data.
    """
    if missing:
        _make_shards(job, missing, spread)
    parts = list(map(job.shard, range(job.shards)))
    if still := [part.number for part in parts if not part.record.exists()]:
        raise ValueError(
            f"{job.source.name}: {len(still)} of {len(parts)} shards are not done; start the same "
            "command again, which makes only those"
        )
    records = list(map(shards.read, parts))
    total = counts.sum_of(job.readings, (record["counts"] for record in records))
    if not total.pairs["kept"]:
        raise ValueError(accounting.nothing_left(job.source.name, total.files))
    names, known = [], {}
    for part, record in zip(parts, records, strict=True):
        names += [part.groups.name, part.index.name, part.record.name]
        known |= record["checksums"]
    manifest = {
        "fingerprint": job.folder.name,
        "inputs": inputs,
        "source": job.source.name,
        "pad_id": job.tokenizer.pad_id,
    }
    token_cache.finish(job.folder, names, known, manifest | total.report_of_all())
    clear(job.folder, keep=[*names, token_cache.MANIFEST])


def _make_shards(job: Build, missing: Sequence[int], spread: Spread) -> None:
    done = job.records - job.records_in(missing)
    running, began = Running(), time.monotonic()
    # Tasks of an engine may be at work since an earlier start of this command.
    before = tally.total(job.folder)
    with (
        running.step(f"tokenize {job.source.name}", job.records, unit="record", done=done) as step,
        beside(_show, job, step, before),
    ):
        spread(job, missing)
    refuse(job.folder)
    new, seconds = tally.total(job.folder).since(before), time.monotonic() - began
    say(
        f"tokenized {new.records:,} records of {job.source.name}, {new.tokens:,} tokens, in "
        f"{clock_text(seconds)}: {new.per_core:,.0f} tokens per second and core"
    )


def _show(job: Build, step: Step, before: tally.Sum, stop: threading.Event) -> None:
    """Tell a step how far all processes are, until `stop`."""
    done, total = step.done, job.records
    while not stop.wait(tally.WRITES_EVERY / 2):
        new = tally.total(job.folder).since(before)
        rate = new.tokens / step.seconds
        note = f"{rate:,.0f} tokens/s, {new.per_core:,.0f} per core"
        # What a killed process had not finished is counted again when it is done again.
        step.advance(min(done + new.records, total) - step.done, note)


def clear(folder: pathlib.Path, keep: Sequence[str]) -> None:
    """Remove everything but `keep` from the folder of a cache, whose owner calls this."""
    for path in folder.iterdir():
        # The owner's own files; those of nobody who is alive.
        if path.name in keep or path.name.startswith("owner."):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def say(line: str) -> None:
    """Tell the user something."""
    print(line, file=sys.stderr, flush=True)


def here(job: Build, missing: Sequence[int]) -> None:
    """Make shards in this process."""
    for _ in build(job, missing):
        pass
