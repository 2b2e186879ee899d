"""Evaluations made by hand, and what takes the place of drawing."""

import pathlib

import numpy as np

from rewardjax.evaluators.page.evaluation import Evaluation
from rewardjax.evaluators.records import Item, Part, Result
from rewardjax.evaluators.stored_rewards import Scores


def evaluation(name="model", results=None, scores=None, **record):
    results = results or {}
    record["benchmarks"] = {key: f"title of {key}" for key in results}
    return Evaluation(name, record, results, scores or {})


class Drawn:
    """Takes the place of drawing: remembers the arguments by the name of the file."""

    def __init__(self):
        self.arguments = {}

    def __call__(self, name, function, *args, **kwargs):
        self.arguments[name] = args
        return pathlib.Path(f"{name}.png")


def scored_pairs(rewards, data="files", tie=False):
    """Stored scores of the benchmark `pairs`: one item per row [2] of rewards, the first better."""
    items = [Item(str(i), "all", {"pairs": [[0, 1, 1.0, tie]]}) for i in range(len(rewards))]
    lengths = [np.array([3, 4])] * len(rewards)
    return Scores(
        items=items,
        rewards=[np.array(row, np.float32) for row in rewards],
        tokens=lengths,
        characters=lengths,
        prompt_tokens=[1] * len(rewards),
        prompts=[item.id for item in items],
        unscored=[],
        meta={"benchmark": "pairs", "data": data},
    )


def result(name, value, n, expected):
    return Result(name, value, "accuracy", 0.5, {"all": Part(value, n, expected=expected)})
