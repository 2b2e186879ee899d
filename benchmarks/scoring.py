"""Rewards of many responses, ours against padded batches through transformers, on the same weights
and tokens.

    python -m benchmarks.scoring [--platform=gpu] [--smoke] [--shared=../shared/data]

`ratio`: pairs with short prompts; `ratio_long`: with long ones; `ratio_best_of_n`: 32 responses to
each of eight long prompts, in rows of the shape that `score` takes; `ratio_gsm`: real pairs. The
peer takes batches of conversations in their order, padded to the longest, as TRL's evaluation and
reward-bench do; of the best of 32, the responses of one prompt. `ratio_sorted`,
`ratio_best_of_n_sorted`: all conversations sorted by length. Both sides take turns. On the CPU: CPU
seconds of one core, float32. On a GPU: wall seconds, bfloat16, and MFU on useful FLOPs. Prints one
JSON line last.
"""

import dataclasses
import json
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from benchmarks import command, lengths, ours, peer
from benchmarks.sizes import Size, cost
from rewardjax.data.pack import TokenGroup
from rewardjax.models import flops
from rewardjax.scoring import shapes

STEPS = 4  # training steps' worth of pairs in a measurement
TOKENS_PER_DEVICE = 16_384  # of one batch, the default of scoring.model.load


def needed_tokens(groups: Sequence[TokenGroup]) -> int:
    """Tokens that differ: each prompt once."""
    return sum(len(group.prefix) + sum(map(len, group.suffixes)) for group in groups)


def forward_flops(size: Size, groups: Sequence[TokenGroup]) -> float:
    """Useful FLOPs of scoring the groups: each token once, each visible (query, key) entry once."""
    triangle = lambda n: n * (n + 1) // 2
    entries = sum(
        triangle(len(group.prefix))
        + sum(triangle(len(suffix)) + len(group.prefix) * len(suffix) for suffix in group.suffixes)
        for group in groups
    )
    return flops.forward_flops(size.model, needed_tokens(groups), entries)


def sort_by_length(groups: Sequence[TokenGroup]) -> list[TokenGroup]:
    """Every conversation alone, the shortest first."""
    alone = [TokenGroup(group.prefix, [suffix]) for group in groups for suffix in group.suffixes]
    return sorted(alone, key=lambda group: len(group.prefix) + len(group.suffixes[0]))


def measure(
    size: Size,
    platform: str,
    params: Any,
    model: Any,
    groups: Sequence[TokenGroup],
    shape: shapes.RowShape,
    batch: int,
    rounds: str,
) -> dict[str, float | None]:
    """Median costs of each side over some rounds, the largest difference of rewards, and on a
    GPU our speed.
    """
    our, their = ours.scorer(size, params, shape), peer.scorer(model, batch, size.dtype)
    alone = sort_by_length(groups)
    found: dict[str, Any] = {}
    work = {
        "ours": lambda: found.update(ours=our(groups)),
        "peer": lambda: found.update(peer=their(groups)),
        "peer_sorted": lambda: their(alone),
    }
    # Compiles and warms up. Ours takes all groups: of one alone it might make rows of another kind.
    our(groups)
    their(groups[:1])
    seconds: dict[str, list[float]] = {side: [] for side in work}
    for _ in tqdm(range(size.steps), rounds, unit="rounds"):
        for side, run in work.items():
            seconds[side].append(cost(run, platform))
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    result: dict[str, float | None] = {
        f"{side}_s": round(value, 4) for side, value in medians.items()
    }
    result["spread"] = round(max(max(values) / min(values) for values in seconds.values()), 3)
    result["max_reward_diff"] = max(
        float(np.abs(a - b).max()) for a, b in zip(found["ours"], found["peer"], strict=True)
    )
    if platform == "gpu":
        peak = flops.peak_flops(jax.devices()[0].device_kind)
        result["pairs_per_s"] = round(len(groups) / medians["ours"], 2)
        result["mfu"] = peak and round(
            forward_flops(size, groups) / medians["ours"] / (peak * jax.sharding.get_mesh().size), 4
        )
    return result


def compare(
    size: Size, platform: str, shared: pathlib.Path, folder: pathlib.Path
) -> dict[str, Any]:
    """All cases of one size; `folder` is for weights and tokens."""
    params = ours.init(size, folder / "hf")
    model = peer.load(folder / "hf", platform)
    vocab_size, many = size.model.vocab_size, size.pairs * STEPS
    best = dataclasses.replace(size, max_length=size.best_of_length)
    random = lambda name, of, groups, responses: lengths.random_groups(
        lengths.draw(name, groups, responses, of.max_length, 0), vocab_size, 0
    )
    best_of = random("long", best, size.prompts, size.best_of)
    pairs = ours.row_shape(size)
    trees = shapes.of_groups(best_of, TOKENS_PER_DEVICE, jax.sharding.get_mesh().size)
    cases: dict[str, tuple[list[TokenGroup], shapes.RowShape, int]] = {
        "short": (random("short", size, many, 2), pairs, 2 * size.peer_batch),
        "long": (random("long", size, many, 2), pairs, 2 * size.peer_batch),
        "best_of_n": (best_of, trees, size.best_of),
    }
    if shared.is_dir():
        real = lengths.real_pairs(folder / "gsm", shared, "gsm", many, size.max_length, vocab_size)
        cases["gsm"] = (real.load(range(len(real))), pairs, 2 * size.peer_batch)
    else:
        print(f"gsm: no real text at {shared}", flush=True)
    found = {}
    for name, (groups, shape, batch) in cases.items():
        found[name] = measure(size, platform, params, model, groups, shape, batch, name)
        print(name, json.dumps(found[name]), flush=True)
    ratio = lambda name, side: round(found[name][f"{side}_s"] / found[name]["ours_s"], 3)
    ratios = {
        "ratio" if name == "short" else f"ratio_{name}": ratio(name, "peer") for name in found
    }
    ratios |= {
        "ratio_sorted": ratio("short", "peer_sorted"),
        "ratio_best_of_n_sorted": ratio("best_of_n", "peer_sorted"),
    }
    return ratios | {
        "max_reward_diff": max(one["max_reward_diff"] for one in found.values()),
        "cases": found,
    }


if __name__ == "__main__":
    command.run("scoring", "Scoring against padded batches.", compare)
