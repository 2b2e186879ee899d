"""Did the training set contain the test? 13-grams shared by user's turns of both.

The paper drops a training pair whose first prompt turn shares any 13-gram with an evaluation
prompt, and found about 23 % of such flags to be false. So nothing is dropped here: every overlap is
a row with its evidence, for a person to judge. All turns of the user are compared, not only the
first. A prompt with fewer than 13 words has no 13-gram; it is found only where a whole training
turn equals it, and those prompts are counted.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from rewardjax.data import formats, ngrams, sources, spelling
from rewardjax.data.groups import BadRecord, Group
from rewardjax.data.sources import Source
from rewardjax.evaluators.records import Examples

# Training records looked up together: enough that numpy works on large arrays, few enough that the
# texts of a window fit in memory whatever the size of the source.
WINDOW = 512
N = 13  # the paper's


class Prompts(NamedTuple):
    """The indexed turns of the benchmarks' prompts.

    Turn i belongs to item `items[i]` of benchmark `benchmarks[i]`.
    """

    index: ngrams.Index
    benchmarks: list[str]
    items: list[str]


class Flag(TypedDict):
    """A training record that overlaps with a benchmark item, with the evidence of `ngrams.Match`.

    shared is 0 for equal prompts that are too short for an n-gram.
    """

    source: str
    row: int
    id: str
    benchmark: str
    item: str
    shared: int
    coverage: float
    ngram: str


class Window(NamedTuple):
    """What a window of training records has: their number, those that are no group, the flags."""

    records: int
    unread: int
    flags: list[Flag]


class Training(NamedTuple):
    """Training data to compare with, and what its columns and verdicts mean."""

    source: Source
    columns: Any = None
    labels: Any = None


def open_training(name: str, path: str, split: str | None = None, **meaning: Any) -> Training:
    """The entry `name` of a config's `overlap`; `meaning`: columns and labels, as for training."""
    described = spelling.of_entry(f"overlap.{name}")
    source = sources.open_source(path, split=split, name=name, spelling=described)
    return Training(source, **meaning)


def index_prompts(examples: Mapping[str, Examples], n: int = N, mode: str = "paper") -> Prompts:
    """The index of all benchmarks' prompts; `mode` is one of ngrams.TOKENS."""
    benchmarks, items, texts = [], [], []
    for name, benchmark in examples.items():
        for item, group in zip(benchmark.items, benchmark.groups, strict=True):
            for text in _user_turns(group):
                benchmarks.append(name)
                items.append(item.id)
                texts.append(text)
    return Prompts(ngrams.build(texts, n, mode), benchmarks, items)


def _user_turns(group: Group) -> list[str]:
    """Texts of the user's turns; a turn can also hold an image or other parts, which have none."""
    turns = [message for message in group.prompt if message["role"] == "user"]
    return [turn["content"] for turn in turns if isinstance(turn.get("content"), str)]


def find(
    prompts: Prompts,
    source: Source,
    window: int = WINDOW,
    columns: Any = None,
    labels: Any = None,
) -> Iterator[Window]:
    """Flags of `source`, one for each (training record, benchmark item) that overlap.

    In windows of that many records, so that a progress bar can follow. columns, labels: what the
    source's columns and verdicts mean, as for training.
    """
    records = formats.groups_of(source, columns, labels)
    while chunk := list(itertools.islice(records, window)):
        texts: list[str] = []
        owners: list[tuple[int, str]] = []
        unread = 0
        for row, _, group in chunk:
            if isinstance(group, BadRecord):
                # Counted, not raised: this audit reads whatever the training run would skip.
                unread += 1
                continue
            turns = _user_turns(group)
            texts += turns
            owners += [(row, group.id)] * len(turns)
        matches = ngrams.look_up(prompts.index, texts, short=True)
        flags = _flags(prompts, source.name, owners, matches)
        yield Window(len(chunk), unread, flags)


def _flags(
    prompts: Prompts,
    source: str,
    owners: Sequence[tuple[int, str]],
    matches: Sequence[Sequence[ngrams.Match]],
) -> list[Flag]:
    """One flag per (training record, benchmark item): the one with the highest coverage.

    owners, matches [turns]: the record of each training turn, and the indexed turns it meets.
    """
    best: dict[tuple[int, str, str], Flag] = {}
    for (row, id), matches_of_turn in zip(owners, matches, strict=True):
        for match in matches_of_turn:
            flag = Flag(
                source=source,
                row=row,
                id=id,
                benchmark=prompts.benchmarks[match.text],
                item=prompts.items[match.text],
                shared=match.shared,
                coverage=match.coverage,
                ngram=match.ngram,
            )
            # A record can meet an item in several turns, or with one turn several times.
            key = (row, flag["benchmark"], flag["item"])
            if key not in best or best[key]["coverage"] < match.coverage:
                best[key] = flag
    return list(best.values())


def counts(prompts: Prompts, flags: Sequence[Flag]) -> list[dict[str, object]]:
    """One row per benchmark: its prompts, those too short, those found, and the records involved.

    An item is too short if none of its turns has an n-gram.
    """
    short_turns: set[int] = set()
    for turns in prompts.index.short.values():
        short_turns |= set(turns)
    rows: list[dict[str, object]] = []
    # In the order of the config, and without a row for a benchmark that has no text.
    for name in dict.fromkeys(prompts.benchmarks):
        turns = [i for i, benchmark in enumerate(prompts.benchmarks) if benchmark == name]
        items = {prompts.items[i] for i in turns}
        long_enough = {prompts.items[i] for i in turns if i not in short_turns}
        of_benchmark = [flag for flag in flags if flag["benchmark"] == name]
        flagged_items = {flag["item"] for flag in of_benchmark}
        records = {(flag["source"], flag["row"]) for flag in of_benchmark}
        rows.append(
            {
                "benchmark": name,
                "prompts": len(items),
                "too short": len(items - long_enough),
                "found": len(flagged_items),
                "share": len(flagged_items) / len(items),
                "training records": len(records),
            }
        )
    return rows
