"""Did the training set contain the test? Shared 13-grams between the user's turns of training prompts and of benchmarks.

The paper drops a training pair whose first prompt turn shares any 13-gram with an evaluation prompt, and found about 23 % of such flags
to be false. So nothing is dropped here: every overlap is a row with its evidence, for a person to judge. All turns of the user are
compared, not only the first. A prompt with fewer than 13 words has no 13-gram; it is found only where a whole training turn equals it, and
those prompts are counted.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rewardjax.data import formats, ngrams
from rewardjax.data.groups import BadRow, Group
from rewardjax.data.sources import Source
from rewardjax.evaluators.records import Examples

WINDOW = 512  # training records looked up together
N = 13


class Prompts(NamedTuple):
    """The indexed turns of the benchmarks' prompts: turn i is of item `items[i]` of benchmark `benchmarks[i]`."""

    index: ngrams.Index
    benchmarks: list[str]
    items: list[str]


def index_prompts(examples: Mapping[str, Examples], n: int = N, mode: str = "paper") -> Prompts:
    """The index of all benchmarks' prompts; `mode` is one of ngrams.TOKENS."""
    turns = [
        (name, item.id, text)
        for name, one in examples.items()
        for item, group in zip(one.items, one.groups, strict=True)
        for text in _turns(group)
    ]
    names, ids, texts = zip(*turns, strict=True) if turns else ((), (), ())
    return Prompts(ngrams.build(texts, n, mode), list(names), list(ids))


def _turns(group: Group) -> list[str]:
    return [
        message["content"]
        for message in group.prompt
        if message["role"] == "user" and isinstance(message.get("content"), str)
    ]


def find(prompts: Prompts, source: Source) -> Iterator[tuple[int, int, list[dict[str, Any]]]]:
    """For each window of `source`: its records, how many of them are no group, and a row for each (training record, benchmark item) that
    overlap: source, row, id, benchmark, item, shared, coverage, ngram (as in `ngrams.Match`; shared 0: equal short prompts)."""
    records = enumerate(source)
    while window := list(itertools.islice(records, WINDOW)):
        texts, owners, unread = [], [], 0
        for row, record in window:
            try:
                group = formats.to_group(record, row, source.name)
                mine = _turns(group)
            except BadRow:
                unread += 1
                continue
            texts += mine
            owners += [(row, group.id)] * len(mine)
        best: dict[tuple[int, str, str], dict[str, Any]] = {}
        for (row, id), matches in zip(
            owners, ngrams.look_up(prompts.index, texts, short=True), strict=True
        ):
            for match in matches:
                where = {
                    "benchmark": prompts.benchmarks[match.text],
                    "item": prompts.items[match.text],
                }
                found = {"source": source.name, "row": row, "id": id, **where, **match._asdict()}
                found.pop("text")
                key = (row, found["benchmark"], found["item"])
                if key not in best or best[key]["coverage"] < match.coverage:
                    best[key] = found
        yield len(window), unread, list(best.values())


def counts(prompts: Prompts, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a benchmark: its prompts, those too short for an n-gram, those found in training data, and the training records involved."""
    short = {text for texts in prompts.index.short.values() for text in texts}
    table = []
    for name in dict.fromkeys(prompts.benchmarks):
        turns = [i for i, benchmark in enumerate(prompts.benchmarks) if benchmark == name]
        long_enough = {prompts.items[i] for i in turns if i not in short}
        items = {prompts.items[i] for i in turns}
        mine = [row for row in rows if row["benchmark"] == name]
        hit = {row["item"] for row in mine}
        table.append(
            {
                "benchmark": name,
                "prompts": len(items),
                "too short": len(items - long_enough),
                "found": len(hit),
                "share": len(hit) / len(items),
                "training records": len({(row["source"], row["row"]) for row in mine}),
            }
        )
    return table
