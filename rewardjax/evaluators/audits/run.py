"""What an accuracy hides, for the benchmarks of an evaluation: bias, counterfactual changes, overlap with the training data."""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from rewardjax import files
from rewardjax.data.sources import Source
from rewardjax.evaluators import preferences
from rewardjax.evaluators.audits import bias, counterfactual, overlap
from rewardjax.evaluators.records import Examples
from rewardjax.evaluators.stored_rewards import Scores

EVIDENCE = 30  # overlaps that the record shows; all are in the file


def bias_of(examples: Mapping[str, Examples], scores: Mapping[str, Scores]) -> dict[str, Any]:
    """`bias.summary` of every benchmark, from the scores that there are."""
    found = {}
    for name, one in examples.items():
        labels = [
            preferences.quality(one.name, item, len(group.responses))
            for item, group in zip(one.items, one.groups, strict=True)
        ]
        found[name] = bias.summary(bias.annotate(one).items, scores[name].rewards, labels)
    return found


def counterfactual_of(
    examples: Mapping[str, Examples],
    score: Callable[[str, Examples], Scores],
    benchmarks: tuple[str, ...],
    most: int,
) -> dict[str, Any]:
    """`counterfactual.summary` of `benchmarks`, as far as their files are there, on at most `most` examples of each, evenly taken.

    score: (name, examples) -> their scores."""
    found = {}
    for name in benchmarks:
        if name in examples:
            scores = score(
                f"counterfactual-{name}", counterfactual.expand(_thinned(examples[name], most))
            )
            found[name] = counterfactual.summary(scores.items, scores.rewards, scores.prompts)
    return found


def _thinned(examples: Examples, most: int) -> Examples:
    keep = np.unique(
        np.linspace(0, len(examples.items) - 1, min(most, len(examples.items))).round().astype(int)
    )
    return dataclasses.replace(
        examples, items=[examples.items[i] for i in keep], groups=[examples.groups[i] for i in keep]
    )


def overlap_of(
    examples: Mapping[str, Examples], training: Sequence[Source], file: pathlib.Path
) -> dict[str, Any]:
    """Overlap of training data with the benchmarks' prompts.

    Every overlap becomes a line of `file`; the record has the counts, how many records were read and how many were no group, and the
    first EVIDENCE rows of the highest coverage."""
    prompts = overlap.index_prompts(examples)
    rows, records, unread = [], 0, 0
    for source in training:
        with tqdm(
            total=len(source),
            desc=f"overlap with {source.name}",
            unit="records",
            disable=not sys.stderr.isatty(),
        ) as bar:
            for read, bad, found in overlap.find(prompts, source):
                records, unread = records + read, unread + bad
                rows += found
                bar.update(read)
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with files.replacing(file) as part:
        part.write_text(lines, encoding="utf-8")
    evidence = sorted(rows, key=lambda row: (-row["coverage"], -row["shared"]))[:EVIDENCE]
    return {
        "records": records,
        "unread": unread,
        "n": overlap.N,
        "counts": overlap.counts(prompts, rows),
        "evidence": evidence,
    }
