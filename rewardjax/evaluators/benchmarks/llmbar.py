"""LLMBar (arXiv 2310.07641): 419 pairs of which one response follows the instruction.

The other only looks good. RewardBench's Chat Hard section takes five of its six subsets from here,
so its LLMBar part can be measured from the original files.
"""

import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from rewardjax.data.groups import BadRecord, Group
from rewardjax.evaluators import finder, reading, rules
from rewardjax.evaluators.benchmarks import Truncation, rewardbench
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards

TITLE = "LLMBar (part of RewardBench's Chat Hard)"
HUB = None
SOURCE = "github.com/princeton-nlp/LLMBar (MIT): its folder Dataset/LLMBar"
CHANCE = 0.5
# RewardBench's, of which its pairs are a part: LLMBar itself measured judges only.
TRUNCATION = Truncation("left", 2048)
# By the word that a file or a folder is named after, RewardBench's names for what is in it.
SUBSETS = {
    "natural": "llmbar-natural",
    "neighbor": "llmbar-adver-neighbor",
    "gptinst": "llmbar-adver-GPTInst",
    "gptout": "llmbar-adver-GPTOut",
    "manual": "llmbar-adver-manual",
}
LAYOUT = finder.Layout([("input", "output_1", "output_2", "label")])


def load(path: str | pathlib.Path) -> Examples:
    """The repository, its folder Dataset/LLMBar, or files named after the five subsets.

    Other sets of the repository that are laid out alike, such as FairEval, are not read.
    """
    return finder.load("llmbar", [path], LAYOUT, _read, _subset_of)


def _subset_of(unit: finder.Unit) -> dict[str, Any]:
    """The subset that the end of a unit's path names."""
    # Of the folders above the one that was named none but the file's own, which may be Natural.
    for part in (*reversed(unit.place.parts), unit.source.files[0].parent.name):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in SUBSETS:
                return {"subset": SUBSETS[word]}
    raise BadRecord("bad_schema", f"is named after none of {', '.join(SUBSETS)}")


def _read(record: dict[str, Any]) -> tuple[Item, Group]:
    label = record.get("label")
    if label not in (1, 2):
        raise BadRecord("bad_schema", f"label = {label!r}: 1 or 2")
    subset = record["subset"]
    return reading.example(
        f"{subset}/{record['row']}",
        subset,
        {},
        reading.user(reading.text(record, "input")),
        # The output that follows the instruction first.
        [reading.text(record, f"output_{k}") for k in (label, 3 - label)],
    )


def better(item: Item, responses: int) -> list[tuple[int, int]]:
    """The response that follows the instruction, which comes first, over the other."""
    return rules.first_better(1, responses)


def summarize(items: Sequence[Item], rewards: Rewards) -> Result:
    """The five subsets as parts.

    The headline is their mean weighted as RewardBench weighs them, over those that are there.
    """
    by_subset = rules.by_subset(items, rewards)
    parts: dict[str, Part] = {}
    for subset in SUBSETS.values():
        table = np.array([pair for _, pair in by_subset.get(subset, [])]).reshape(-1, 2)  # [N, 2]
        credit, ties = rules.strict_wins(table[:, 0], table[:, 1])
        # RewardBench took the subsets whole, so its counts are LLMBar's.
        parts[subset] = rules.mean_part(credit, ties, rewardbench.EXPECTED[subset])
    accuracies = {name: part.value for name, part in parts.items() if part.value is not None}
    headline = rewardbench.section_scores(accuracies).get("Chat Hard")
    rule = "mean of 5 subsets weighted by RewardBench's counts"
    return Result("llmbar", headline, rule, CHANCE, parts)
