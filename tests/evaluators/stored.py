"""Stored scores of one benchmark, made by hand."""

import numpy as np

from rewardjax.evaluators.records import Item
from rewardjax.evaluators.stored_rewards import Scores


def scores(name, rewards, data="d", prompts=None, subset="mt-bench-easy"):
    items = [Item(f"{subset}/{i}", subset, {}) for i in range(len(rewards))]
    shape = [np.ones(len(r), np.int32) for r in rewards]
    prompts = prompts or [str(i) for i in range(len(rewards))]
    return Scores(
        items,
        [np.array(r, np.float32) for r in rewards],
        shape,
        shape,
        [1] * len(rewards),
        prompts,
        [],
        {"benchmark": name, "data": data},
    )
