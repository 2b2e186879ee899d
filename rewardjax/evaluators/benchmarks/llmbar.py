"""LLMBar (arXiv 2310.07641): 419 pairs of which one response follows the instruction.

The other only looks good. RewardBench's Chat Hard section takes five of its six subsets from here,
so its LLMBar part can be measured from the original files.
"""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rewardjax.data import sources
from rewardjax.data.groups import BadRecord, Group
from rewardjax.evaluators import records
from rewardjax.evaluators.benchmarks import rewardbench
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards

TITLE = "LLMBar (part of RewardBench's Chat Hard)"
HUB = None
SOURCE = (
    "github.com/princeton-nlp/LLMBar (MIT): "
    "natural.json and the adversarial neighbor, gptinst, gptout and manual .json"
)
CHANCE = 0.5
# Files, by RewardBench's names for what is in them.
SUBSETS = {
    "natural.json": "llmbar-natural",
    "neighbor.json": "llmbar-adver-neighbor",
    "gptinst.json": "llmbar-adver-GPTInst",
    "gptout.json": "llmbar-adver-GPTOut",
    "manual.json": "llmbar-adver-manual",
}


def load(path: str | pathlib.Path) -> Examples:
    """The folder that has the five files; other files there are not read.

    Raises FileNotFoundError where it has none of them.
    """
    folder = records.local(path)
    files = [folder / name for name in SUBSETS if (folder / name).is_file()]
    if not files:
        raise FileNotFoundError(f"{path}: none of {', '.join(SUBSETS)} is there")

    def rows() -> Iterator[tuple[str, dict[str, Any]]]:
        for file in files:
            for row, record in enumerate(sources.open_source(file)):
                # The files number nothing: a record is known by its place.
                yield f"{file.name}:{row}", {"row": row, "subset": SUBSETS[file.name], **record}

    return records.collect("llmbar", rows(), _read, files)


def _read(record: dict[str, Any]) -> tuple[Item, Group]:
    label = record.get("label")
    if label not in (1, 2):
        raise BadRecord("bad_schema", f"label = {label!r}: 1 or 2")
    subset = record["subset"]
    return records.example(
        f"{subset}/{record['row']}",
        subset,
        {},
        records.user(records.text(record, "input")),
        # The output that follows the instruction first.
        [records.text(record, f"output_{k}") for k in (label, 3 - label)],
    )


def better(item: Item, responses: int) -> list[tuple[int, int]]:
    """The response that follows the instruction, which comes first, over the other."""
    return records.first_better(1, responses)


def summarize(items: Sequence[Item], rewards: Rewards) -> Result:
    """The five subsets as parts.

    The headline is their mean weighted as RewardBench weighs them, over those that are there.
    """
    by_subset = records.by_subset(items, rewards)
    parts: dict[str, Part] = {}
    for subset in SUBSETS.values():
        table = np.array([pair for _, pair in by_subset.get(subset, [])]).reshape(-1, 2)  # [N, 2]
        credit, ties = records.strict_wins(table[:, 0], table[:, 1])
        # RewardBench took the subsets whole, so its counts are LLMBar's.
        parts[subset] = records.mean_part(credit, ties, rewardbench.EXPECTED[subset])
    accuracies = {name: part.value for name, part in parts.items() if part.value is not None}
    headline = rewardbench.section_scores(accuracies).get("Chat Hard")
    rule = "mean of 5 subsets weighted by RewardBench's counts"
    return Result("llmbar", headline, rule, CHANCE, parts)
