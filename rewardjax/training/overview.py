"""What a run is about to do, in a few lines: a job's first minute explains itself."""

import os
import pathlib
from collections import Counter
from typing import Any

import jax

from rewardjax import config as config_lib
from rewardjax.data import accounting
from rewardjax.data.ranked import RankedGroups
from rewardjax.data.token_cache import TokenizedPairs
from rewardjax.models.reward import count_parameters
from rewardjax.models.trainable import path_of
from rewardjax.training.preflight import row_fit

# Device files -> the accelerator, and what installs its support.
ACCELERATORS = {"nvidia[0-9]*": ("an NVIDIA GPU", "gpu"), "accel[0-9]*": ("a TPU", "tpu")}


def text(
    workdir: pathlib.Path,
    config: config_lib.Config,
    data: TokenizedPairs | RankedGroups,
    trainable: Any,
    frozen: Any,
    total_steps: int,
) -> str:
    """Steps and data, devices and mesh, the size of a step, and parameters by group."""
    batch, mesh = config.batch, jax.sharding.get_mesh()
    kind = "groups" if isinstance(data, RankedGroups) else "pairs"
    per_epoch = len(data) / batch.pairs
    # The mean over all data: which tokens a step has is decided by its pairs.
    tokens = data.lengths.sum() / len(data) * batch.pairs
    axes = ", ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    lines = [
        f"training in {workdir}: {total_steps} steps of {batch.pairs} {kind}, "
        f"{total_steps / per_epoch:.3g} epochs of {len(data):,} {kind} "
        f"({per_epoch:.4g} steps each)",
        f"  devices     {jax.device_count()} of kind {jax.devices()[0].device_kind}, "
        f"processes: {jax.process_count()}, mesh: {axes}",
        f"  a step      about {tokens:,.0f} tokens, shared prefixes counted once, in "
        f"micro-batches of {batch.rows} rows of {batch.row_length:,} slots, "
        f"{row_fit.filled(config, data, total_steps):.0%} of them filled",
        f"  trained     {_counts(trainable)}",
    ]
    if jax.tree.leaves(frozen):
        lines.append(f"  frozen      {_counts(frozen)}")
    return "\n".join(lines)


def kept(name: str, pairs: TokenizedPairs) -> str:
    """A line on a data set: pairs that were kept, and those that were dropped with the reasons."""
    return f"  {name.removeprefix('evals.'):<11} {accounting.losses(pairs.manifest)}"


def idle_accelerator(devices: pathlib.Path = pathlib.Path("/dev")) -> str | None:
    """A warning where the machine has an accelerator and JAX computes on the CPU.

    Nothing where JAX_PLATFORMS says that this is meant.
    """
    if jax.default_backend() != "cpu" or os.environ.get("JAX_PLATFORMS") == "cpu":
        return None
    for pattern, (kind, extra) in ACCELERATORS.items():
        if any(devices.glob(pattern)):
            return (
                f"warning: this machine has {kind}, and JAX computes on the CPU; install its "
                f"support (pip install 'rewardjax[{extra}]'), or set JAX_PLATFORMS=cpu"
            )
    return None


def count_by_group(params: Any) -> Counter[str]:
    """Numbers in the arrays of a parameter tree, by the first two parts of their paths."""
    counts: Counter[str] = Counter()
    for key_path, array in jax.tree_util.tree_leaves_with_path(params):
        counts["/".join(path_of(key_path).split("/")[:2])] += array.size
    return counts


def _counts(params: Any) -> str:
    counts = count_by_group(params)
    groups = ", ".join(f"{group} {count:,}" for group, count in counts.items())
    return f"{count_parameters(params):,} parameters: {groups}"
