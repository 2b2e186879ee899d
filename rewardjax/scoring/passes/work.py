"""One worker of a pass: it takes whatever units nobody has done or is doing."""

import contextlib
import itertools
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from rewardjax.data import formats
from rewardjax.io import files, storage
from rewardjax.scoring import model as scorer
from rewardjax.scoring import units
from rewardjax.scoring.passes import parts
from rewardjax.scoring.passes.plan import Plan
from rewardjax.scoring.passes.tables import WRITERS, schema

# Seconds between two looks at the units that others are doing. In a bucket a look is a request for
# each thousand objects, and they are counted and paid for.
LOOKS_EVERY, LOOKS_AT_BUCKET_EVERY = 1.0, 10.0
Item = TypeVar("Item")


class Claimed(NamedTuple):
    """A unit that this worker does, tokenized."""

    unit: int
    tokenized: units.Tokenized
    claim: contextlib.ExitStack


def work(
    folder: pathlib.Path,
    plan: Plan,
    model: scorer.Scorer,
    source: Any,
    readings: Sequence[formats.Reading],
    suffix: str,
    judge: Callable[[int, units.Account], None],
    texts: bool = False,
) -> None:
    """Do units until all of the pass are done, by whomever.

    texts: whether rows have the prompt and the response too. judge: is told the account of each
    unit of this worker before it is committed, and may raise.
    """
    while folder.exists() and len(parts.committed(folder)) < plan.units:
        try:
            # Tokenized a unit ahead, on another thread than the one that feeds the device.
            for claimed in _a_step_ahead(_claim(folder, plan, model, source, readings, texts)):
                with claimed.claim:
                    _do(folder, model, claimed, suffix, judge, texts)
        except FileNotFoundError:
            # Gone where another worker has put the parts together.
            if folder.exists():
                raise
        # What is not done now others do; a unit whose worker is gone is free after a while.
        if len(parts.committed(folder)) < plan.units:
            time.sleep(looks_every(folder))


def looks_every(folder: pathlib.Path) -> float:
    """Seconds between two looks at what is done of the pass in `folder`."""
    if storage.is_address(folder):
        return LOOKS_AT_BUCKET_EVERY
    return LOOKS_EVERY


def _claim(
    folder: pathlib.Path,
    plan: Plan,
    model: scorer.Scorer,
    source: Any,
    readings: Sequence[formats.Reading],
    texts: bool,
) -> Iterator[Claimed]:
    """The units that are free, in the order of the input, each with its records tokenized."""
    # One listing: in a bucket each question about one of thousands of units is a request.
    undone = set(range(plan.units)) - parts.committed(folder)
    if not any(_is_free(folder, unit) for unit in sorted(undone)):
        return
    records = formats.numbered(source)
    for unit in range(plan.units):
        window = list(itertools.islice(records, plan.unit))
        if unit not in undone or not _is_free(folder, unit):
            continue
        with contextlib.ExitStack() as claim:
            if not claim.enter_context(parts.claimed(folder, unit)):
                continue
            # Between the look and the claim another may have finished it.
            if parts.commit_path(folder, unit).exists():
                continue
            tokenized = units.tokenize(window, readings, source.name, model, texts)
            # From here on the claim is the consumer's.
            yield Claimed(unit, tokenized, claim.pop_all())


def _is_free(folder: pathlib.Path, unit: int) -> bool:
    return not parts.commit_path(folder, unit).exists() and not parts.is_claimed(folder, unit)


def _do(
    folder: pathlib.Path,
    model: scorer.Scorer,
    claimed: Claimed,
    suffix: str,
    judge: Callable[[int, units.Account], None],
    texts: bool,
) -> None:
    tokenized = claimed.tokenized
    rows, without_number = units.score(model, tokenized.ready)
    quarantine = tokenized.quarantine + without_number
    account = units.account(tokenized, rows, quarantine)
    judge(claimed.unit, account)
    endings = {"scores": suffix, "quarantine": ".quarantine.jsonl"}
    attempted = parts.attempt(folder, claimed.unit, **endings)
    writer = WRITERS[suffix]
    with (
        files.replacing(attempted.files["scores"]) as part,
        writer(part, schema(texts)) as write,
    ):
        write(rows)
    with files.replacing(attempted.files["quarantine"]) as part, open(part, "w") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in quarantine)
    parts.commit(folder, attempted, account._asdict())


def _a_step_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """`items`, the next of which is made on a thread while one is used."""
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, items, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, items, None)
            yield item
