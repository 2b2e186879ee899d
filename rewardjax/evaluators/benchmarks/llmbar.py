"""LLMBar (arXiv 2310.07641): 419 pairs of which one response follows the instruction and the other only looks good.

RewardBench's Chat Hard section takes five of its six subsets from here, so its LLMBar part can be measured from the original files.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from rewardjax.data import sources
from rewardjax.data.groups import BadRow, Group
from rewardjax.evaluators import records as benchmark
from rewardjax.evaluators.benchmarks import rewardbench
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards

TITLE = "LLMBar (part of RewardBench's Chat Hard)"
HUB = None
SOURCE = (
    "github.com/princeton-nlp/LLMBar (MIT): "
    "natural.json and the adversarial neighbor, gptinst, gptout and manual .json"
)
CHANCE = 0.5
SUBSETS = {
    "natural.json": "llmbar-natural",
    "neighbor.json": "llmbar-adver-neighbor",
    "gptinst.json": "llmbar-adver-GPTInst",
    "gptout.json": "llmbar-adver-GPTOut",
    "manual.json": "llmbar-adver-manual",
}


def load(path: str | pathlib.Path) -> Examples:
    """The folder that has the five files. Raises FileNotFoundError where it has none of them; other files there are not read."""
    folder = benchmark.local(path)
    files = [folder / name for name in SUBSETS if (folder / name).is_file()]
    if not files:
        raise FileNotFoundError(f"{path}: none of {', '.join(SUBSETS)} is there")
    records = (
        (f"{file.name}:{row}", {"row": row, "subset": SUBSETS[file.name], **record})
        for file in files
        for row, record in enumerate(sources.open_source(file))
    )
    return benchmark.collect("llmbar", records, _read, files)


def _read(record: dict[str, Any]) -> tuple[Item, Group]:
    label = record.get("label")
    if label not in (1, 2):
        raise BadRow("bad_schema", f"label = {label!r}: 1 or 2")
    responses = [benchmark.text(record, f"output_{k}") for k in (label, 3 - label)]
    subset = record["subset"]
    return benchmark.example(
        f"{subset}/{record['row']}",
        subset,
        {},
        benchmark.user(benchmark.text(record, "input")),
        responses,
    )


def better(item: Item, responses: int) -> list[tuple[int, int]]:
    """The response that follows the instruction, which comes first, over the other."""
    return benchmark.first_better(1, responses)


def summarize(items: Sequence[Item], rewards: Rewards) -> Result:
    """The five subsets as parts; the headline is their mean weighted as RewardBench weighs them, over those that are there."""
    rows = benchmark.by_subset(items, rewards)
    parts: dict[str, Part] = {}
    for subset in SUBSETS.values():
        pairs = np.array([found for _, found in rows.get(subset, [])]).reshape(-1, 2)
        parts[subset] = benchmark.mean_part(
            *benchmark.strict_wins(*pairs.T), rewardbench.EXPECTED[subset]
        )
    scores = rewardbench.section_scores(
        {name: part.value for name, part in parts.items() if part.value is not None}
    )
    rule = "mean of 5 subsets weighted by RewardBench's counts"
    return Result("llmbar", scores.get("Chat Hard"), rule, CHANCE, parts)
