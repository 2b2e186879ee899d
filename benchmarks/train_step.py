"""A training step of ours against TRL's, on the same weights and pairs: forward, backward, AdamW,
and making the batch from token ids.

    python -m benchmarks.train_step [--platform=gpu] [--smoke] [--shared=../shared/data]

On the CPU a step costs CPU seconds of one core, in float32, and both sides take turns, step by
step; on a GPU it costs wall seconds, in bfloat16, the sides come one after another, as its memory
does not hold all of them, and MFU is on useful FLOPs (each token once, each visible (query, key)
entry once, no recomputation). A ratio is the peer's cost of a needed token over ours.
`ratio_short` and `ratio_long`: one padded batch without checkpointing, its fastest form;
`ratio_trl_default`: TRL's defaults, which are checkpointing and batches of 8;
`ratio_both_checkpoint`: and all of a layer recomputed on our side too; `ratio_sorted`: the peer's
batches cut from all pairs sorted by length; `ratio_hh`, `ratio_gsm`: real text;
`memory_ratio_short` and `_long`: the peer's peak memory over ours (`benchmarks.step_memory`), on
the CPU. Prints one JSON line last.
"""

import functools
import json
import pathlib
import statistics
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from benchmarks import command, lengths, ours, peer, step_memory
from benchmarks.sizes import Size, cost
from rewardjax.data import pack
from rewardjax.data.plan import step_pairs
from rewardjax.data.token_cache import TokenizedPairs
from rewardjax.models import flops as flops_lib

Side = Callable[[int], tuple[float, np.ndarray]]  # step -> its cost and its pairs


def our_side(size: Size, params: Any, pairs: TokenizedPairs, remat: str, platform: str) -> Side:
    step = ours.trainer(size, params, pairs, remat)
    return lambda k: (cost(step, platform), step_pairs(len(pairs), size.pairs, ours.SEED, k))


def peer_side(
    size: Size,
    folder: pathlib.Path,
    pairs: TokenizedPairs,
    platform: str,
    *,
    default: bool = False,
    by_length: bool = False,
) -> Side:
    batch = size.default_batch if default else size.peer_batch
    step = peer.trainer(peer.load(folder, platform, checkpointing=default), batch, size.dtype)
    chosen = (
        _sorted_steps(size, pairs)
        if by_length
        else [step_pairs(len(pairs), size.pairs, ours.SEED, k) for k in range(size.steps + 1)]
    )

    def side(k: int) -> tuple[float, np.ndarray]:
        tokens = pairs.load(chosen[k])
        return cost(lambda: step(tokens), platform), chosen[k]

    return side


def _sorted_steps(size: Size, pairs: TokenizedPairs) -> np.ndarray:
    """[steps + 1, pairs of a step]:

    steps of neighbors in length, taken at even distances from the shortest to the longest.
    """
    order = np.argsort(pairs.lengths[:, 0] + pairs.lengths[:, 1:].max(1), kind="stable")
    steps = order[: len(order) // size.pairs * size.pairs].reshape(-1, size.pairs)
    measured = (np.arange(size.steps) + 0.5) * len(steps) / size.steps
    return steps[[len(steps) // 2, *measured.astype(int)]]  # the first warms up


def measure(
    size: Size,
    pairs: TokenizedPairs,
    sides: dict[str, Callable[[], Side]],
    name: str,
    platform: str,
) -> dict[str, dict[str, float]]:
    """Cost of each side: median seconds of a step; seconds of a thousand needed tokens over all
    steps, as how much a batch pads is chance; and how far its steps are apart.
    """
    needed = pairs.lengths.sum(1)
    found: dict[str, list[tuple[float, int]]] = {side: [] for side in sides}
    # Turns, so that whatever else the machine does meets all sides alike; but every side has
    # weights and moments of its own, which would not fit a GPU at the same time.
    turns = [list(sides)]
    if platform == "gpu":
        turns = [[side] for side in sides]
    for together in turns:
        steps = {side: sides[side]() for side in together}
        for k in tqdm(range(size.steps + 1), f"{name}: {', '.join(together)}", unit="steps"):
            for side, step in steps.items():
                seconds, chosen = step(k)
                if k:  # the first compiles and warms up
                    found[side].append((seconds, int(needed[chosen].sum())))
        del steps, step
        peer.free_memory()
    per_token = lambda steps: [seconds / tokens for seconds, tokens in steps]
    over_all = lambda steps: (
        sum(seconds for seconds, _ in steps) / sum(tokens for _, tokens in steps)
    )
    return {
        side: {
            "step_s": round(statistics.median(seconds for seconds, _ in steps), 4),
            "s_per_1k_tokens": round(1e3 * over_all(steps), 5),
            "spread": round(max(per_token(steps)) / min(per_token(steps)), 3),
        }
        for side, steps in found.items()
    }


def ratio(costs: dict[str, dict[str, Any]], theirs: str, our: str = "ours") -> float:
    return round(costs[theirs]["s_per_1k_tokens"] / costs[our]["s_per_1k_tokens"], 3)


def differences(
    size: Size, params: Any, pairs: TokenizedPairs, folder: pathlib.Path, platform: str
) -> dict[str, float]:
    """Of the rewards and gradients of the first step: the largest difference of rewards, beside
    their spread, and of gradient tensors relative to their norm.
    """
    tokens = pairs.load(step_pairs(len(pairs), size.pairs, ours.SEED, 0))
    model = peer.load(folder, platform)
    theirs = peer.gradients(model, tokens, size.peer_batch, size.dtype)
    our = ours.gradients(size, params, pairs, folder.parent / "gradients")
    apart = [
        float(np.linalg.norm(our[name] - gradient) / np.linalg.norm(gradient))
        for name, gradient in theirs.items()
    ]
    rewards = (
        np.stack(ours.scorer(size, params, ours.row_shape(size))(tokens)),
        np.stack(peer.scorer(model, 2 * size.peer_batch, size.dtype)(tokens)),
    )
    difference = float(np.abs(rewards[0] - rewards[1]).max())
    return {
        "max_reward_diff": difference,
        "reward_std": round(float(rewards[1].std()), 4),
        "max_grad_rel_diff": max(apart),
    }


def layout(size: Size, pairs: TokenizedPairs) -> dict[str, float]:
    """Slots for each needed token of the measured steps: ours in rows, and the peer's padded."""
    steps = [step_pairs(len(pairs), size.pairs, ours.SEED, k) for k in range(1, size.steps + 1)]
    needed = sum(int(pairs.lengths[step].sum()) for step in steps)
    rows = [step.arrays["tokens"].size for step in ours.batches(size, pairs)][1:]
    longest = [pairs.lengths[step, 0] + pairs.lengths[step, 1:].max(1) for step in steps]
    padded = [
        2 * size.peer_batch * int(batch.max())
        for step in longest
        for batch in step.reshape(-1, size.peer_batch)
    ]
    return {
        "our_slots_per_token": round(sum(rows) / needed, 3),
        "peer_slots_per_token": round(sum(padded) / needed, 3),
    }


def on_gpu(size: Size, pairs: TokenizedPairs, our: dict[str, float]) -> dict[str, float | None]:
    """Pairs a second and MFU of our side."""
    lengths_n3 = pairs.lengths[
        np.concatenate(
            [step_pairs(len(pairs), size.pairs, ours.SEED, k) for k in range(1, size.steps + 1)]
        )
    ]
    needed = int(lengths_n3.sum())
    flops = (
        flops_lib.train_flops(size.model, needed, pack.attention_entries(lengths_n3)) / needed
    )  # of a token
    peak = flops_lib.peak_flops(jax.devices()[0].device_kind)
    mfu = peak and flops / (our["s_per_1k_tokens"] / 1e3) / (peak * jax.sharding.get_mesh().size)
    return {
        "mfu": mfu and round(mfu, 4),
        "pairs_per_s": round(len(lengths_n3) / needed / (our["s_per_1k_tokens"] / 1e3), 2),
    }


def compare(
    size: Size, platform: str, shared: pathlib.Path, folder: pathlib.Path
) -> dict[str, Any]:
    """All cases of one size; `folder` is for weights and tokens."""
    params = ours.init(size, folder / "hf")
    result: dict[str, Any] = {}
    costs: dict[str, dict[str, dict[str, Any]]] = {}
    for case in (*lengths.DISTRIBUTIONS, *lengths.REAL):
        where, many = folder / case, size.pairs * step_memory.WINDOW
        if case in lengths.DISTRIBUTIONS:
            pairs = lengths.random_pairs(where, case, many, size.max_length, size.model.vocab_size)
        elif shared.is_dir():
            pairs = lengths.real_pairs(
                where, shared, case, many, size.max_length, size.model.vocab_size
            )
        else:
            print(f"{case}: no real text at {shared}", flush=True)
            continue
        our = functools.partial(our_side, size, params, pairs, platform=platform)
        their = functools.partial(peer_side, size, folder / "hf", pairs, platform)
        sides = {"ours": functools.partial(our, remat=size.remat), "peer": their}
        if case == "short":
            result |= differences(size, params, pairs, folder / "hf", platform)
            peer.free_memory()
            sides |= {
                "ours_full_remat": functools.partial(our, remat="full"),
                "trl_default": functools.partial(their, default=True),
                "peer_sorted": functools.partial(their, by_length=True),
            }
        costs[case] = measure(size, pairs, sides, case, platform)
        if platform == "cpu" and case in lengths.DISTRIBUTIONS:
            memory = step_memory.measure(size, folder / "hf", where)
            result |= step_memory.ratios(memory, case)
            costs[case]["memory"] = memory
        result[f"ratio_{case}"] = ratio(costs[case], "peer")
        if case == "short":
            result["ratio_trl_default"] = ratio(costs[case], "trl_default")
            result["ratio_both_checkpoint"] = ratio(costs[case], "trl_default", "ours_full_remat")
            result["ratio_sorted"] = ratio(costs[case], "peer_sorted")
        costs[case]["layout"] = layout(size, pairs)
        if platform == "gpu":
            costs[case]["gpu"] = on_gpu(size, pairs, costs[case]["ours"])
        print(case, json.dumps(costs[case]), flush=True)
    return result | {"cases": costs}


if __name__ == "__main__":
    command.run("train_step", "A training step against TRL's.", compare)
