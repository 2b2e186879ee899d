"""The memory that a training step takes on a CPU: ours and the peer's, each alone in a process.

    python -m benchmarks.step_memory [--smoke]

A part of `benchmarks.train_step`, whose sizes and pairs these are, for itself. `memory_ratio_short`
and `_long`: the peer's peak without checkpointing over ours; `memory_ratio_trl_default_short` and
`_long`: that of TRL's defaults, which checkpoint. Prints one JSON line last.

Memory is that of the whole process, less what it holds before it has weights: weights, moments,
gradients and activations, and what allocators keep. `with_first_mb` is the peak since then, in
which our side's first step compiles; `peak_mb` is that of the steps after the first.
"""

import concurrent.futures
import multiprocessing
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import torch

from benchmarks import command, lengths, ours, peer
from benchmarks.sizes import Size, pin
from rewardjax.data.plan import step_pairs
from rewardjax.data.token_cache import TokenizedPairs
from rewardjax.parallel.mesh import make_mesh

# Steps' worth of pairs to draw batches from; the peer sorts over as many, as transformers' length
# sampler does.
WINDOW = 50
SIDES = ("ours", "ours_full_remat", "peer", "trl_default")


def compare(
    size: Size, platform: str, shared: pathlib.Path, folder: pathlib.Path
) -> dict[str, Any]:
    """Memory and ratios for both distributions of lengths; `folder` is for weights and tokens."""
    if platform != "cpu":
        raise SystemExit("--platform: the memory of a CPU's processes is what is measured")
    ours.init(size, folder / "hf")
    result: dict[str, Any] = {"memory": {}}
    for case in lengths.DISTRIBUTIONS:
        many, vocab_size = size.pairs * WINDOW, size.model.vocab_size
        lengths.random_pairs(folder / case, case, many, size.max_length, vocab_size)
        by_side = measure(size, folder / "hf", folder / case)
        result |= ratios(by_side, case)
        result["memory"][case] = by_side
    return result


def ratios(by_side: dict[str, dict[str, float]], case: str) -> dict[str, float]:
    """The peer's peaks over ours."""
    peak = {side: figures["peak_mb"] for side, figures in by_side.items()}
    return {
        f"memory_ratio_{case}": round(peak["peer"] / peak["ours"], 3),
        f"memory_ratio_trl_default_{case}": round(peak["trl_default"] / peak["ours"], 3),
    }


def measure(size: Size, hf: pathlib.Path, pairs: pathlib.Path) -> dict[str, dict[str, float]]:
    """Megabytes by side, for a model's folder and a folder of tokens."""
    by_side = {}
    for side in SIDES:
        # Spawned: a fork would begin with what its parent holds. And in a process of its own, as
        # allocators keep what an earlier side has freed.
        spawn = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, spawn) as alone:
            by_side[side] = alone.submit(_of_side, side, size, hf, pairs).result()
    return by_side


def _of_side(side: str, size: Size, hf: pathlib.Path, folder: pathlib.Path) -> dict[str, float]:
    jax.config.update("jax_platforms", "cpu")
    pin()
    torch.set_num_threads(1)
    pairs = TokenizedPairs.open(folder)
    with jax.set_mesh(make_mesh()):
        before = _status_mb("VmRSS")
        step = _step(side, size, hf, pairs)
        step(0)
        with_first = _status_mb("VmHWM")
        # The kernel's peak begins anew (proc(5)).
        pathlib.Path("/proc/self/clear_refs").write_text("5")
        for k in range(1, size.steps + 1):
            step(k)
        peak = _status_mb("VmHWM")
    return {"peak_mb": round(peak - before, 1), "with_first_mb": round(with_first - before, 1)}


def _step(
    side: str, size: Size, hf: pathlib.Path, pairs: TokenizedPairs
) -> Callable[[int], object]:
    """A function from the number of a step to that step, over the same pairs for all sides."""
    if side.startswith("ours"):
        remat = {"ours": size.remat, "ours_full_remat": "full"}[side]
        own_step = ours.trainer(size, ours.load(size, hf), pairs, remat)
        return lambda k: own_step()
    default = side == "trl_default"
    batch = {True: size.default_batch, False: size.peer_batch}[default]
    model = peer.load(hf, "cpu", checkpointing=default)
    peer_step = peer.trainer(model, batch, size.dtype)
    return lambda k: peer_step(pairs.load(step_pairs(len(pairs), size.pairs, ours.SEED, k)))


def _status_mb(name: str) -> float:
    """A line of /proc/self/status, in megabytes."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/self/status has no {name}")


if __name__ == "__main__":
    command.run("step_memory", "The memory of a training step beside TRL's.", compare)
