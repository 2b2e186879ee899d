"""Tokenize a source once, into a folder named after everything that went into it.

Any change of data, tokenizer or settings gives another name, so nothing stale is ever read. The
manifest accounts for every record and pair that came in.
"""

import collections
import dataclasses
import functools
import itertools
import multiprocessing
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from typing import Any, cast

import jax
import tqdm
from array_record.python.array_record_module import ArrayRecordWriter
from jax.experimental import multihost_utils

from rewardjax import fingerprint
from rewardjax.data import accounting, formats, token_cache
from rewardjax.data.accounting import FileAccount
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import BadRecord
from rewardjax.data.sources import Source, open_source
from rewardjax.data.spelling import Spelling
from rewardjax.data.token_cache import TokenizedPairs
from rewardjax.data.tokenize import FORMAT, Outcome, Settings, tokenize_record

EXAMPLES = 20  # dropped records the manifest shows per reason
CHUNK = 64  # records per message to a worker process


def prepare(
    *,
    source: Source | str,
    tokenizer: ChatTokenizer,
    cache: str | pathlib.Path,
    max_length: int,
    max_pair_length: int | None = None,
    over_long: str = "drop",
    pairs_per_group: int | None = None,
    split: str | None = None,
    part: tuple[float, float] = (0.0, 1.0),
    columns: Any = None,
    labels: Any = None,
    max_dropped: float = 0.2,
    seed: int = 0,
    workers: int = 0,
) -> TokenizedPairs:
    """The tokenized pairs of `source`, from `cache` if they are there, else built.

    source: opened, or what `open_source` takes, as `split` is. max_length: tokens of one
    conversation. max_pair_length: tokens of a pair, what it shares counted once, so that it fits a
    training row; longer ones are dropped and counted, however long their conversations may be.
    over_long: "drop" drops and counts pairs with a longer conversation; "left" takes the oldest
    tokens of its prompt away (never its BOS, never its response). pairs_per_group: keep at most so
    many of a group's pairs, chosen by hash of (seed, group id, pair). part: the fraction of prompts
    to keep, by hash of the prompt: (0, 0.9) and (0.9, 1) of one source never share a prompt.
    columns: our field -> the source's column, as in {"prompt": "question"}. labels: the source's
    verdicts -> "first", "second" or "tie". max_dropped: the share of a file's records that may be
    unusable, equal and over-long ones apart. workers: processes that tokenize (0: this one); the
    result is the same.

    Says on stderr what each file was read as, and how many of its records are kept. In a
    multi-process run process 0 builds and the others wait; `cache` must be on storage that all
    hosts share. Raises ValueError for settings out of range, for a file that cannot be read or
    loses more than `max_dropped`, and where no pair is left.
    """
    if isinstance(source, str):
        source = cast(Source, open_source(source, split=split))
    settings = Settings(
        max_length=max_length,
        max_pair_length=max_pair_length,
        over_long=over_long,
        pairs_per_group=pairs_per_group,
        part=part,
        seed=seed,
    )
    inputs: dict[str, Any] = {
        "format": FORMAT,
        "source": source.fingerprint(),
        "tokenizer": tokenizer.fingerprints(),
        "settings": settings.to_record(),
    }
    mapped = formats.meaning(source, columns, labels)
    if mapped.columns or mapped.labels:
        inputs["mapping"] = mapped._asdict()
    folder = pathlib.Path(cache) / fingerprint.of_json(inputs)
    if jax.process_index() == 0:
        # Asked again under the lock: another run on this machine may have built it in the meantime.
        with token_cache.locked(folder):
            if not token_cache.is_complete(folder, inputs):
                readings = formats.readings(source, columns, labels)
                work = functools.partial(
                    tokenize_record, tokenizer=tokenizer, readings=readings, settings=settings
                )
                outcomes = _map(work, formats.numbered(source), workers)
                count = _Counts(readings, max_dropped, formats.spelling_of(source))
                _build(folder, source, inputs, tokenizer.pad_id, outcomes, count)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"tokenized {folder.name}")
    if not token_cache.is_complete(folder, inputs):
        raise FileNotFoundError(
            f"process {jax.process_index()} does not see {folder}: "
            "cache must be on storage that all hosts share"
        )
    pairs = TokenizedPairs.open(folder)
    files = accounting.from_record(pairs.manifest["files"])
    for file in files:
        # Also of a cache: another run may have allowed more.
        file.refuse(max_dropped, formats.spelling_of(source))
    if jax.process_index() == 0:
        for line in (*(file.sentence() for file in files), *warnings_about(pairs)):
            print(line, file=sys.stderr, flush=True)
    return pairs


def warnings_about(pairs: TokenizedPairs) -> list[str]:
    """A sentence for each file of the pairs' source that lost more than 1% of its records."""
    sentences = [file.warning() for file in accounting.from_record(pairs.manifest["files"])]
    return [sentence for sentence in sentences if sentence is not None]


def _build(
    folder: pathlib.Path,
    source: Source,
    inputs: dict[str, Any],
    pad_id: int,
    outcomes: Iterable[Outcome],
    count: "_Counts",
) -> None:
    """Write records and index as outcomes arrive, in the source's order."""
    with token_cache.building(folder) as temporary, token_cache.IndexWriter(temporary) as index:
        writer = ArrayRecordWriter(str(temporary / token_cache.GROUPS), token_cache.GROUPS_OPTIONS)
        progress = tqdm.tqdm(
            outcomes, "tokenize", total=len(source), unit="records", disable=not sys.stderr.isatty()
        )
        for number, outcome in enumerate(progress):
            count.add(number, outcome)
            if not outcome.encoded:
                continue
            index.add(number, outcome.pairs)
            writer.write(outcome.encoded)
        writer.close()
        # It keeps some 50 bytes of every record, on top of which the index would come.
        del writer
        manifest = {
            "fingerprint": folder.name,
            "inputs": inputs,
            "source": source.name,
            "pad_id": pad_id,
        } | count.report()
        if not index.pairs:
            raise ValueError(accounting.nothing_left(source.name, count.files))
        token_cache.finish(temporary, index.columns(), manifest)


class _Counts:
    """Every record and every pair that came in, by what became of it, and records by file too.

    Raises ValueError as soon as a file has lost more than `max_dropped`, before the rest is
    tokenized for nothing.
    """

    def __init__(self, readings: Sequence[formats.Reading], max_dropped: float, spelling: Spelling):
        self.max_dropped, self.spelling = max_dropped, spelling
        self.files = [
            FileAccount(reading.file, reading.sentence(), list(reading.unused))
            for reading in readings
        ]
        self.records = collections.Counter()
        self.pairs = collections.Counter()
        self.tokens = collections.Counter()
        self.dropped: dict[str, dict[str, Any]] = {}
        self.neutralized = 0

    def add(self, number: int, outcome: Outcome) -> None:
        """Book what became of record `number`."""
        self.neutralized += outcome.neutralized
        self.records["in"] += 1
        file = self.files[outcome.file]
        file.records += 1
        for field in outcome.unprinted:
            file.unprinted[field] = file.unprinted.get(field, 0) + 1
        file.shortened += outcome.was_shortened
        for name in outcome.late_columns:
            file.late_columns.setdefault(name, number)
        if outcome.neutralized:
            file.control_records += 1
            file.control_example = file.control_example or outcome.control_example
        if outcome.bad_record:
            self._drop(outcome.bad_record, number, "records")
            file.drop(outcome.bad_record.reason, outcome.bad_record.detail)
        elif outcome.outside_part:
            self.records["outside_part"] += 1
            file.outside_part += 1
        elif outcome.encoded:
            self.records["kept"] += 1
            file.kept += 1
        elif not outcome.bad_pairs:
            # No label tells its responses apart: all of them right, or only one of them.
            self.records["without_pairs"] += 1
            file.without_pairs += 1
        for bad in outcome.bad_pairs:
            self._drop(bad, number, "pairs")
        # Where nothing remains of a record, its first pair's reason stands for it.
        if outcome.bad_pairs and not outcome.encoded:
            first = outcome.bad_pairs[0]
            self._entry(first.reason)["records"] += 1
            file.drop(first.reason, first.detail)
        if file.records == accounting.EARLY:
            file.refuse(self.max_dropped, self.spelling)
        self.pairs["in"] += len(outcome.pairs) + len(outcome.bad_pairs) + outcome.sampled_out
        self.pairs["kept"] += len(outcome.pairs)
        self.pairs["sampled_out"] += outcome.sampled_out
        for _, (shared, chosen, rejected) in outcome.pairs:
            self.tokens["shared"] += shared + chosen + rejected
            self.tokens["unshared"] += 2 * shared + chosen + rejected

    def report(self) -> dict[str, Any]:
        """The manifest's counts. Raises AssertionError where something is not accounted for."""
        records = {
            name: self.records[name] for name in ("in", "kept", "outside_part", "without_pairs")
        }
        pairs = {name: self.pairs[name] for name in ("in", "kept", "sampled_out")}
        for counts, unit in ((records, "records"), (pairs, "pairs")):
            counts["dropped"] = sum(entry[unit] for entry in self.dropped.values())
            out = sum(counts.values()) - counts["in"]
            # A promise of the manifest, checked on every build and not only in tests.
            assert counts["in"] == out, f"{unit} do not add up: {counts}"
        return {
            "records": records,
            "pairs": pairs,
            "dropped": self.dropped,
            "tokens": dict(self.tokens),
            "neutralized": self.neutralized,
            "files": [dataclasses.asdict(file) for file in self.files],
        }

    def _entry(self, reason: str) -> dict[str, Any]:
        return self.dropped.setdefault(reason, {"records": 0, "pairs": 0, "examples": []})

    def _drop(self, bad: BadRecord, number: int, unit: str) -> None:
        entry = self._entry(bad.reason)
        entry[unit] += 1
        if len(entry["examples"]) < EXAMPLES:
            entry["examples"].append([number, bad.detail])


# ------------------------------------------------------------------ worker processes


def _map(
    function: Callable[[Any], Outcome], items: Iterable[Any], workers: int
) -> Iterator[Outcome]:
    """`map` in order, by `workers` processes if any; two chunks per worker are read ahead."""
    if workers < 1:
        yield from map(function, items)
        return
    # Not the pool's own `map`, which reads all items before it gives the first result.
    items, pending = iter(items), collections.deque()
    # A fresh interpreter each: forking a process that runs JAX's threads can deadlock.
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(workers, context, _start_worker, (function,)) as pool:
        while chunk := list(itertools.islice(items, CHUNK)):
            pending.append(pool.submit(_work, chunk))
            if len(pending) > 2 * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()


def _start_worker(function: Callable[[Any], Outcome]) -> None:
    """Keep the function, and with it the tokenizer, in the worker."""
    # Sent along with every chunk it would cost more than the work.
    global _worker_function
    _worker_function = function


def _work(chunk: list[Any]) -> list[Outcome]:
    return [_worker_function(item) for item in chunk]
