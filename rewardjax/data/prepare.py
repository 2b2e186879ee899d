"""Tokenize a source once, into a folder named after everything that went into it.

Any change of data, tokenizer or settings gives another name, so nothing stale is ever read. The
manifest accounts for every record and pair that came in.
"""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any, cast

import jax
from jax.experimental import multihost_utils

from rewardjax import fingerprint
from rewardjax.data import accounting, formats, token_cache
from rewardjax.data.cache import building, file_hashes, in_bucket, local_processes
from rewardjax.data.cache.building import Build, Spread
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.sources import Source, open_source
from rewardjax.data.token_cache import TokenizedPairs
from rewardjax.data.tokenize import FORMAT, Settings
from rewardjax.io import files, storage


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
    most_untokenized: int | None = None,
    shards: int | None = None,
    spread: Spread | None = None,
) -> TokenizedPairs:
    """The tokenized pairs of `source`, from `cache` if they are there, else built.

    Says on stderr what each file was read as, and how many of its records are kept. In a
    multi-process run process 0 builds and the others wait; `cache` must be on storage that all
    hosts share. One in a bucket is copied to and from the temporary folder of each host
    (cache/in_bucket.py).

    Args:
        source: a file, glob, folder, gs:// address, hf://ORG/NAME, tfds:NAME or world:SPLIT; or a
            source that is open.
        tokenizer: what makes token ids of it.
        cache: the folder of what was tokenized, for later runs.
        max_length: tokens of one conversation.
        max_pair_length: tokens of a pair, what it shares counted once, so that it fits a training
            row; longer ones are dropped and counted, however long their conversations may be.
        over_long: "drop" drops and counts pairs with a longer conversation; "left" takes the oldest
            tokens of its prompt away (never its BOS, never its response).
        pairs_per_group: the most pairs of a group that are kept, chosen by hash of (seed, group id,
            pair); None for all.
        split: the split of the source, where it has several.
        part: the fraction of prompts to keep, by hash of the prompt: (0, 0.9) and (0.9, 1) of one
            source never share a prompt.
        columns: our field -> the source's column, as in {"prompt": "question"}.
        labels: the source's verdicts -> "first", "second" or "tie".
        max_dropped: the share of a file's records that may be unusable, equal and over-long ones
            apart.
        seed: of the choice that pairs_per_group makes.
        workers: processes that tokenize (0: this one); the result is the same.
        most_untokenized: refuse where more records than this are left to tokenize; None for no
            limit.
        shards: files that the groups are in; None for what suits the data.
        spread: how the shards that are missing are made; None for this process and its `workers`.

    Raises:
        ValueError: for settings out of range, for a file that cannot be read or loses more than
            `max_dropped`, and where no pair is left.
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
        "source": file_hashes.of_source(source, cache),
        "tokenizer": tokenizer.fingerprints(),
        "settings": settings.to_record(),
    }
    mapped = formats.meaning(source, columns, labels)
    if mapped.columns or mapped.labels:
        inputs["mapping"] = mapped._asdict()
    folder = in_bucket.disk_of(cache) / fingerprint.of_json(inputs)
    kept = storage.path_of(cache) / folder.name
    if spread is not None and storage.is_address(cache):
        raise ValueError(
            f"{cache}: the machines of an engine do not see what each of them has made; name a "
            "cache on a file system that all of them have"
        )
    # Not locked first: a cache that is there may lie where nothing can be written.
    if jax.process_index() == 0 and not token_cache.is_complete(folder, inputs):
        with token_cache.owning(folder):
            _fetch(kept, folder, inputs)
            # Asked again: another process may have built it in the meantime.
            damaged = token_cache.faults(folder, inputs)
            if damaged != []:
                readings = formats.readings(source, columns, labels)
                _forget(folder, damaged, source)
                counts, shards = building.plan(folder, source, readings, shards)
                job = Build(
                    folder, source, tokenizer, readings, settings, counts, shards, max_dropped
                )
                missing = job.missing()
                _refuse_many(job, missing, most_untokenized)
                building.make(job, missing, inputs, spread or _spread_here(workers))
    if jax.process_index() == 0 and storage.is_address(kept):
        _tell(in_bucket.store(folder, kept))
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"tokenized {folder.name}")
        if storage.is_address(kept) and not token_cache.is_complete(folder, inputs):
            with token_cache.owning(folder):
                _fetch(kept, folder, inputs)
    if not token_cache.is_complete(folder, inputs):
        raise FileNotFoundError(
            f"process {jax.process_index()} does not see {folder}: "
            "cache must be on storage that all hosts share"
        )
    pairs = TokenizedPairs.open(folder)
    by_file = accounting.from_record(pairs.manifest["files"])
    for file in by_file:
        # Also of a cache: another run may have allowed more.
        file.refuse(max_dropped, formats.spelling_of(source))
    if jax.process_index() == 0:
        for line in (*(file.sentence() for file in by_file), *warnings_about(pairs)):
            print(line, file=sys.stderr, flush=True)
    return pairs


def warnings_about(pairs: TokenizedPairs) -> list[str]:
    """A sentence for each file of the pairs' source that lost more than 1% of its records."""
    sentences = [file.warning() for file in accounting.from_record(pairs.manifest["files"])]
    return [sentence for sentence in sentences if sentence is not None]


def _fetch(kept: pathlib.Path, folder: pathlib.Path, inputs: dict[str, Any]) -> None:
    if storage.is_address(kept):
        _tell(in_bucket.fetch(kept, folder, inputs))


def _tell(sentence: str | None) -> None:
    if sentence is not None:
        building.say(sentence)


def _spread_here(workers: int) -> Spread:
    if workers < 1:
        return building.here
    return local_processes.spread(workers)


def _forget(folder: pathlib.Path, damaged: Sequence[str] | None, source: Source) -> None:
    """Say which files are damaged, once, and keep only what can be gone on with."""
    if damaged:
        building.say(
            f"{folder}: damaged, not whole or of something else: {', '.join(damaged)}; it is made "
            f"anew from {source.name}"
        )
        files.remove(folder / token_cache.MANIFEST)
    endings = (token_cache.GROUPS, token_cache.INDEX, ".json")
    kept = [path.name for path in folder.glob("*-of-*") if path.suffix in endings]
    kept.append(building.PLAN)
    # Tasks of an engine may be at work, and are waited for.
    if (folder / building.TASKS).exists():
        kept = [path.name for path in folder.iterdir() if path.name != building.REFUSED]
    building.clear(folder, kept)


def _refuse_many(job: Build, missing: Sequence[int], most: int | None) -> None:
    """Raise ValueError where more than `most` records are left to tokenize."""
    records = job.records_in(missing)
    if most is None or records <= most:
        return
    field = formats.spelling_of(job.source).of("data.most_untokenized")
    raise ValueError(
        f"{job.source.name}: {records:,} records are not tokenized, more than {field} = {most:,}; "
        "tokenize them on any machine with CPUs, by `python -m rewardjax.prepare` with the same "
        "--config, or raise the field to do it here"
    )
