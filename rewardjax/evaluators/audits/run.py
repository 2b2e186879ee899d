"""What an accuracy hides, for the benchmarks of an evaluation: bias, empty changes, overlap."""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from rewardjax.command import terminal
from rewardjax.evaluators import preferences
from rewardjax.evaluators.audits import bias, counterfactual, mistakes, overlap
from rewardjax.evaluators.records import Examples
from rewardjax.evaluators.stored_rewards import Scores
from rewardjax.io import files

# Overlaps that the record, and so the page, shows: as many as a person looks through. All are in
# the file.
EVIDENCE = 30


def bias_of(examples: Mapping[str, Examples], scores: Mapping[str, Scores]) -> dict[str, Any]:
    """`bias.summary` of every benchmark, from the scores that there are."""
    summaries = {}
    for name, benchmark in examples.items():
        quality = [
            preferences.quality(benchmark.name, item, len(group.responses))
            for item, group in zip(benchmark.items, benchmark.groups, strict=True)
        ]
        items = bias.annotate(benchmark).items
        summaries[name] = bias.summary(items, scores[name].rewards, quality)
    return summaries


def counterfactual_of(
    examples: Mapping[str, Examples],
    score: Callable[[str, Examples, str], Scores],
    benchmarks: tuple[str, ...],
    most: int,
) -> dict[str, Any]:
    """`counterfactual.summary` of `benchmarks`, as far as their files are there.

    Args:
        examples: name of a benchmark -> its examples.
        score: (name, examples, the benchmark that they are changes of) -> their scores, cut as
            there.
        benchmarks: names of those whose responses are changed and scored again.
        most: examples of each benchmark, whose responses are all scored some seven times.
    """
    summaries = {}
    for name in benchmarks:
        if name in examples:
            expanded = counterfactual.expand(_thinned(examples[name], most))
            scores = score(f"counterfactual-{name}", expanded, examples[name].name)
            summaries[name] = counterfactual.summary(scores.items, scores.rewards, scores.prompts)
    return summaries


def _thinned(examples: Examples, most: int) -> Examples:
    """At most `most` examples, evenly taken: the first of a file are often all of one subset."""
    count = len(examples.items)
    keep = np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))
    return dataclasses.replace(
        examples, items=[examples.items[i] for i in keep], groups=[examples.groups[i] for i in keep]
    )


def mistakes_of(
    examples: Mapping[str, Examples], scores: Mapping[str, Scores], file: pathlib.Path
) -> dict[str, Any]:
    """`mistakes.of_benchmark` of every benchmark that has some, by name; with texts in `file`."""
    by_name: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for name, benchmark in examples.items():
        worst = mistakes.of_benchmark(benchmark, scores[name])
        if worst:
            by_name[name] = worst
            rows += [{"benchmark": name, **row} for row in mistakes.with_texts(worst, benchmark)]
    with (
        files.replacing(file, many_writers=True) as part,
        open(part, "w", encoding="utf-8") as opened,
    ):
        for row in rows:
            opened.write(json.dumps(row) + "\n")
    return by_name


def overlap_of(
    examples: Mapping[str, Examples], training: Sequence[overlap.Training], file: pathlib.Path
) -> dict[str, Any]:
    """Overlap of training data with the benchmarks' prompts.

    Every overlap becomes a line of `file`. The record has the counts, how many records were read
    and how many were no group, and the first EVIDENCE rows of the highest coverage.
    """
    prompts = overlap.index_prompts(examples)
    flags: list[overlap.Flag] = []
    records, unread = 0, 0
    for source, columns, labels in training:
        with tqdm(
            total=len(source),
            desc=f"overlap with {source.name}",
            unit="records",
            nrows=terminal.ROWS,
            disable=not sys.stderr.isatty(),
        ) as bar:
            for window in overlap.find(prompts, source, columns=columns, labels=labels):
                records += window.records
                unread += window.unread
                flags += window.flags
                bar.update(window.records)
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(flag, ensure_ascii=False) + "\n" for flag in flags)
    with files.replacing(file, many_writers=True) as part:
        part.write_text(lines, encoding="utf-8")
    # Coverage first: a whole prompt is stronger evidence than a long phrase of a longer one.
    ranked = sorted(flags, key=lambda flag: (-flag["coverage"], -flag["shared"]))
    return {
        "records": records,
        "unread": unread,
        "n": overlap.N,
        "counts": overlap.counts(prompts, flags),
        "evidence": ranked[:EVIDENCE],
    }
