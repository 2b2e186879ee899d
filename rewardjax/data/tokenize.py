"""Tokenize a source once, into a folder named after everything that went into it.

Any change of data, tokenizer or settings gives another name, so nothing stale is ever read. The manifest accounts for every record
and pair that came in.
"""

import array
import collections
import dataclasses
import functools
import itertools
import json
import multiprocessing
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import jax
import numpy as np
import tqdm
from array_record.python.array_record_module import ArrayRecordWriter
from jax.experimental import multihost_utils

from rewardjax import fingerprint
from rewardjax.data import formats, groups, token_cache
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import BadRow, Group, Pair
from rewardjax.data.pack import TokenGroup, common_prefix
from rewardjax.data.sources import Source
from rewardjax.data.token_cache import TokenizedPairs

FORMAT = 1  # part of the fingerprint: raise it when a change here, in formats or in chat gives the same input other records
EXAMPLES = 20  # dropped rows the manifest shows per reason
CHUNK = 64  # records per message to a worker process


def tokenize_group(
    group: Group, tokenizer: ChatTokenizer, max_length: int, over_long: str
) -> TokenGroup:
    """Token ids of all K conversations, their longest common prefix split off. Raises BadRow("over_long") where one does not fit."""
    return split_prefix(
        [_tokenize(group, k, tokenizer, max_length, over_long) for k in range(len(group.responses))]
    )


def in_split(group: Group, split: Sequence[float]) -> bool:
    """Whether the hash of the group's prompt, as a fraction, lies in [split[0], split[1])."""
    place = (
        int(fingerprint.of_json(group.prompt)[:13], 16) / 16**13
    )  # 52 bits: exact as a float, and below 1
    return split[0] <= place < split[1]


def prepare(
    *,
    source: Source,
    tokenizer: ChatTokenizer,
    cache: str | pathlib.Path,
    max_length: int,
    max_pair_length: int | None = None,
    over_long: str = "drop",
    pairs_per_group: int | None = None,
    split: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
    workers: int = 0,
) -> TokenizedPairs:
    """The tokenized pairs of `source`, from `cache` if they are there, else built.

    max_length: tokens of one conversation. max_pair_length: tokens of a pair, what it shares counted once, so that it fits a training row;
    longer ones are dropped and counted, however long their conversations may be. over_long: "drop" drops and counts pairs with a longer
    conversation; "left" takes the oldest tokens of its prompt away (never its BOS, never its response). pairs_per_group: keep at most so
    many of a group's pairs, chosen by hash of (seed, group id, pair). split: the fraction of prompts to keep, by hash of the prompt:
    (0, 0.9) and (0.9, 1) of one source never share a prompt. workers: processes that tokenize (0: this one); the result is the same.
    In a multi-process run process 0 builds and the others wait; `cache` must be on storage that all hosts share.
    Raises ValueError for settings out of range and where no pair is left.
    """
    if over_long not in ("drop", "left"):
        raise ValueError(f"over_long = {over_long!r}: 'drop' or 'left'")
    if not 0 <= split[0] < split[1] <= 1:
        raise ValueError(f"split = {split}: two fractions with 0 <= from < to <= 1")
    counts = {
        "max_length": max_length,
        "max_pair_length": max_pair_length,
        "pairs_per_group": pairs_per_group,
    }
    if wrong := [
        f"{name} = {value}" for name, value in counts.items() if value is not None and value < 1
    ]:
        raise ValueError(f"{', '.join(wrong)}: must be at least 1")
    settings = {
        "max_length": max_length,
        "over_long": over_long,
        "pairs_per_group": pairs_per_group,
        "split": list(split),
        "seed": seed,
    }
    settings |= {} if max_pair_length is None else {"max_pair_length": max_pair_length}
    inputs = {
        "format": FORMAT,
        "source": source.fingerprint(),
        "tokenizer": tokenizer.fingerprints(),
        "settings": settings,
    }
    folder = pathlib.Path(cache) / fingerprint.of_json(inputs)
    if jax.process_index() == 0:
        with token_cache.locked(folder):
            if not token_cache.is_complete(folder, inputs):
                assert tokenizer.pad_id is not None  # ChatTokenizer refuses to be without one
                work = functools.partial(
                    _tokenize_record, tokenizer=tokenizer, source=source.name, **settings
                )
                _build(
                    folder, source, inputs, tokenizer.pad_id, _map(work, enumerate(source), workers)
                )
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"tokenized {folder.name}")
    if not token_cache.is_complete(folder, inputs):
        raise FileNotFoundError(
            f"process {jax.process_index()} does not see {folder}: cache must be on storage that all hosts share"
        )
    return TokenizedPairs.open(folder)


class Outcome(NamedTuple):
    """What became of one record; travels between processes."""

    id: str = ""
    outside_split: bool = False
    encoded: bytes = b""  # of the responses that kept pairs use; nothing where no pair is kept
    pairs: list[
        tuple[Pair, tuple[int, int, int]]
    ] = []  # kept, renumbered to the encoded responses; lengths as in the index
    sampled_out: int = 0
    bad_pairs: list[BadRow] = []
    bad_record: BadRow | None = None
    neutralized: int = (
        0  # control strings found in its text, each time a conversation was tokenized
    )


def _tokenize_record(
    item: tuple[int, Any],
    tokenizer: ChatTokenizer,
    source: str,
    max_length: int,
    over_long: str,
    pairs_per_group: int | None,
    split: list[float],
    seed: int,
    max_pair_length: int | None = None,
) -> Outcome:
    row, record = item
    try:
        group, bad = groups.check(formats.to_group(record, row, source))
    except BadRow as error:
        return Outcome(bad_record=error)
    if not in_split(group, split):
        return Outcome(group.id, outside_split=True)

    before = tokenizer.neutralized
    tokens: dict[int, np.ndarray] = {}
    unusable: dict[int, BadRow] = {}
    for k in sorted({k for pair in group.pairs for k in (pair.chosen, pair.rejected)}):
        try:
            tokens[k] = _tokenize(group, k, tokenizer, max_length, over_long)
        except BadRow as error:
            unusable[k] = error
    neutralized = tokenizer.neutralized - before

    kept = []
    for pair in group.pairs:
        errors = [unusable[k] for k in (pair.chosen, pair.rejected) if k in unusable]
        if errors:
            bad.append(errors[0])
        elif np.array_equal(tokens[pair.chosen], tokens[pair.rejected]):
            reason = (
                "equal_after_truncation"
                if over_long == "left" and len(tokens[pair.chosen]) == max_length
                else "equal"
            )
            bad.append(
                BadRow(
                    reason,
                    f"responses[{pair.chosen}] and responses[{pair.rejected}] are the same tokens",
                )
            )
        elif (
            max_pair_length is not None
            and (length := _pair_length(tokens[pair.chosen], tokens[pair.rejected]))
            > max_pair_length
        ):
            detail = f"responses[{pair.chosen}] and responses[{pair.rejected}] take {length} tokens, max_pair_length = {max_pair_length}"
            bad.append(BadRow("over_long", detail))
        else:
            kept.append(pair)
    sample = _sample(kept, pairs_per_group, seed, group.id)
    used = sorted({k for pair in sample for k in (pair.chosen, pair.rejected)})
    pairs = []
    for pair in sample:
        chosen, rejected = tokens[pair.chosen], tokens[pair.rejected]
        shared = common_prefix(chosen, rejected)
        renumbered = dataclasses.replace(
            pair, chosen=used.index(pair.chosen), rejected=used.index(pair.rejected)
        )
        pairs.append((renumbered, (shared, len(chosen) - shared, len(rejected) - shared)))
    encoded = token_cache.encode(split_prefix([tokens[k] for k in used])) if used else b""
    return Outcome(
        group.id,
        encoded=encoded,
        pairs=pairs,
        sampled_out=len(kept) - len(sample),
        bad_pairs=bad,
        neutralized=neutralized,
    )


def _pair_length(a: np.ndarray, b: np.ndarray) -> int:
    """Tokens of two conversations in a row that shares what they have in common."""
    return len(a) + len(b) - common_prefix(a, b)


def _tokenize(
    group: Group, k: int, tokenizer: ChatTokenizer, max_length: int, over_long: str
) -> np.ndarray:
    """Token ids of conversation k, as `shorten` leaves them."""
    tokens = np.asarray(tokenizer.encode(group.prompt + group.responses[k]), np.int32)
    return shorten(tokens, group, k, tokenizer, max_length, over_long)


def shorten(
    tokens: np.ndarray,
    group: Group,
    k: int,
    tokenizer: ChatTokenizer,
    max_length: int,
    over_long: str,
) -> np.ndarray:
    """The token ids of conversation k, cut to `max_length` by the rule `over_long`.

    What is cut depends on this conversation alone, so that its score does not depend on its
    siblings. Raises BadRow("over_long") where the rule does not make it fit.
    """
    excess = len(tokens) - max_length
    if excess <= 0:
        return tokens
    first = 1 if tokens[0] == tokenizer.bos_id else 0
    if over_long == "drop":
        raise BadRow(
            "over_long",
            f"responses[{k}]: the conversation is {len(tokens)} tokens long, max_length = {max_length}",
        )
    prompt = common_prefix(tokens, np.asarray(tokenizer.encode(group.prompt), np.int32))
    if first + excess > prompt:
        raise BadRow(
            "over_long",
            f"responses[{k}]: {len(tokens) - prompt} tokens without the prompt, max_length = {max_length}",
        )
    return np.concatenate([tokens[:first], tokens[first + excess :]])


def split_prefix(conversations: list[np.ndarray]) -> TokenGroup:
    """Conversations as their longest common prefix and what follows it in each."""
    first = conversations[0]
    shared = min((common_prefix(first, other) for other in conversations[1:]), default=len(first))
    return TokenGroup(first[:shared], [tokens[shared:] for tokens in conversations])


def _sample(pairs: list[Pair], count: int | None, seed: int, group_id: str) -> list[Pair]:
    """`count` of the pairs, in their order: those with the smallest hashes, so that the choice depends on nothing but its arguments."""
    if count is None or len(pairs) <= count:
        return pairs
    order = sorted(
        range(len(pairs)),
        key=lambda i: fingerprint.of_json([seed, group_id, pairs[i].chosen, pairs[i].rejected]),
    )
    return [pairs[i] for i in sorted(order[:count])]


def _build(
    folder: pathlib.Path,
    source: Source,
    inputs: dict[str, Any],
    pad_id: int,
    outcomes: Iterable[Outcome],
) -> None:
    """Writes records and index as outcomes arrive, in the source's order; token ids are never held in memory."""
    count = _Counts()
    first_row: dict[str, int] = {}
    columns = {
        "record": array.array("q"),
        "response": array.array("i"),
        "lengths": array.array("i"),
        "row": array.array("q"),
    }
    columns |= {name: array.array("f") for name in ("target", "margin", "tie")}
    with token_cache.building(folder) as temporary:
        writer = ArrayRecordWriter(str(temporary / token_cache.GROUPS), token_cache.GROUPS_OPTIONS)
        progress = tqdm.tqdm(
            outcomes, "tokenize", total=len(source), unit="records", disable=not sys.stderr.isatty()
        )
        for row, outcome in enumerate(progress):
            if outcome.id and first_row.setdefault(outcome.id, row) != row:
                duplicate = BadRow(
                    "bad_schema",
                    f"id = {outcome.id!r} is also row {first_row[outcome.id]}; ids must differ",
                )
                outcome = Outcome(bad_record=duplicate)
            count.add(row, outcome)
            if not outcome.encoded:
                continue
            for pair, lengths in outcome.pairs:
                columns["record"].append(len(columns["row"]))
                columns["response"].extend((pair.chosen, pair.rejected))
                columns["lengths"].extend(lengths)
                for name in ("target", "margin", "tie"):
                    columns[name].append(getattr(pair, name))
            columns["row"].append(row)
            writer.write(outcome.encoded)
        writer.close()
        manifest = {
            "fingerprint": folder.name,
            "inputs": inputs,
            "source": source.name,
            "pad_id": pad_id,
        } | count.report()
        if not columns["record"]:
            raise ValueError(f"{source.name}: no usable pair; {json.dumps(manifest)}")
        arrays = {name: np.array(column) for name, column in columns.items()}
        arrays |= {
            "response": arrays["response"].reshape(-1, 2),
            "lengths": arrays["lengths"].reshape(-1, 3),
        }
        token_cache.finish(temporary, arrays, manifest)


class _Counts:
    """Every record and every pair that came in, by what became of it."""

    def __init__(self):
        self.records, self.pairs, self.tokens = (
            collections.Counter(),
            collections.Counter(),
            collections.Counter(),
        )
        self.dropped: dict[str, dict[str, Any]] = {}
        self.neutralized = 0

    def add(self, row: int, outcome: Outcome) -> None:
        self.neutralized += outcome.neutralized
        self.records["in"] += 1
        if outcome.bad_record:
            self._drop(outcome.bad_record, row, "records")
        elif outcome.outside_split:
            self.records["outside_split"] += 1
        elif outcome.encoded:
            self.records["kept"] += 1
        elif (
            not outcome.bad_pairs
        ):  # no label tells its responses apart: all of them right, or only one of them
            self.records["without_pairs"] += 1
        for bad in outcome.bad_pairs:
            self._drop(bad, row, "pairs")
        if (
            outcome.bad_pairs and not outcome.encoded
        ):  # nothing is left of it: one reason stands for the record
            self._entry(outcome.bad_pairs[0].reason)["records"] += 1
        self.pairs["in"] += len(outcome.pairs) + len(outcome.bad_pairs) + outcome.sampled_out
        self.pairs["kept"] += len(outcome.pairs)
        self.pairs["sampled_out"] += outcome.sampled_out
        for _, (shared, chosen, rejected) in outcome.pairs:
            self.tokens["shared"] += shared + chosen + rejected
            self.tokens["unshared"] += 2 * shared + chosen + rejected

    def report(self) -> dict[str, Any]:
        """The manifest's counts. Raises AssertionError where something came in and is not accounted for."""
        records = {
            name: self.records[name] for name in ("in", "kept", "outside_split", "without_pairs")
        }
        pairs = {name: self.pairs[name] for name in ("in", "kept", "sampled_out")}
        for counts, unit in ((records, "records"), (pairs, "pairs")):
            counts["dropped"] = sum(entry[unit] for entry in self.dropped.values())
            assert counts["in"] == sum(counts.values()) - counts["in"], (
                f"{unit} do not add up: {counts}"
            )
        return {
            "records": records,
            "pairs": pairs,
            "dropped": self.dropped,
            "tokens": dict(self.tokens),
            "neutralized": self.neutralized,
        }

    def _entry(self, reason: str) -> dict[str, Any]:
        return self.dropped.setdefault(reason, {"records": 0, "pairs": 0, "examples": []})

    def _drop(self, bad: BadRow, row: int, unit: str) -> None:
        entry = self._entry(bad.reason)
        entry[unit] += 1
        if len(entry["examples"]) < EXAMPLES:
            entry["examples"].append([row, bad.detail])


def _map(
    function: Callable[[Any], Outcome], items: Iterable[Any], workers: int
) -> Iterator[Outcome]:
    """`map` in order, by `workers` processes if any; at most two chunks per worker are read ahead."""
    if workers < 1:
        yield from map(function, items)
        return
    items, pending = iter(items), collections.deque()
    # A fresh interpreter each: forking a process that runs JAX's threads can deadlock.
    with futures.ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _start_worker, (function,)
    ) as pool:
        while chunk := list(itertools.islice(items, CHUNK)):
            pending.append(pool.submit(_work, chunk))
            if len(pending) > 2 * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()


def _start_worker(function: Callable[[Any], Outcome]) -> None:
    """Keeps the function, and with it the tokenizer, in the worker: sending it along with every chunk would cost more than the work."""
    global _worker_function
    _worker_function = function


def _work(chunk: list[Any]) -> list[Outcome]:
    return [_worker_function(item) for item in chunk]
