"""A step computed twice, now and then, to catch hardware that computes wrongly and says nothing.

Such a device ruins a run without a single error (Hochschild et al., "Cores that don't count",
HotOS 2021). Forward and backward pass, nearly all of the arithmetic of a step, give the same bits
when they are done again. Where they do not, nothing of the step is applied: the job ends, and a
restart goes on from the last checkpoint, with luck on another machine.
"""

import collections
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from rewardjax.command import errors
from rewardjax.command.exit_codes import ExitCode
from rewardjax.models.checkpoints import tree_fingerprint


class Corrupted(errors.Ending):
    """The same step gave two results."""

    # A host is at fault, as where one hangs: to be restarted, and counted.
    code = ExitCode.HANG


def is_due(step: int, *, every: int = 0) -> bool:
    """Whether `step` is to be computed twice, which costs the time of a step.

    A GPU gives the same bits twice only with XLA_FLAGS=--xla_gpu_deterministic_ops=true.

    Args:
        step: the step.
        every: of how many steps one is computed twice and compared, bit by bit; 0 for none.
    """
    return every > 0 and step % every == 0


def computed_twice(compute: Callable[[], Any], step: int) -> Any:
    """What `compute` returns, a tree of arrays, if it returns the same bits twice.

    Raises:
        Corrupted: naming the devices on which it does not.
    """
    # Only fingerprints are kept of the first: a second tree of gradients may not fit.
    first = _on_each_device(compute())
    result = compute()
    second = _on_each_device(result)
    differing = [device for device in first if first[device] != second[device]]
    if differing:
        # Gradients are summed over devices: a wrong number of one may be in the sums of all.
        raise Corrupted(
            f"step {step} was computed twice, and the gradients on {len(differing)} of the "
            f"{len(first)} devices of process {jax.process_index()} differ "
            f"({', '.join(map(str, differing[:8]))}); nothing of the step was applied; the same "
            "command goes on from the last checkpoint, and if this comes again on the same "
            "machine, take it out of service"
        )
    return result


def _on_each_device(tree: Any) -> dict[str, str]:
    """The fingerprint of what lies on each device of this process, by the device's name."""
    sums: dict[str, list[np.ndarray]] = collections.defaultdict(list)
    # The loop forbids transfers, so that none slips into a step; these are few bytes and meant.
    with jax.transfer_guard("allow"):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            for shard in _sums_by_device(path, leaf).addressable_shards:
                sums[str(shard.device)].append(np.asarray(shard.data)[0])
    return {device: tree_fingerprint.combine(parts) for device, parts in sums.items()}


def _sums_by_device(path: Any, leaf: jax.Array) -> jax.Array:
    """The two sums of what each device holds of an array, [devices, 2], a row on each of them."""
    sharding = leaf.sharding
    assert isinstance(sharding, jax.NamedSharding), "all arrays of a step lie on the mesh"
    return _program(sharding.mesh, sharding.spec)(leaf, tree_fingerprint.salt(path))


# Kept, or each check of a run would compile it anew.
@functools.cache
def _program(mesh: Any, spec: jax.P) -> Callable[[jax.Array, np.uint32], jax.Array]:
    def of_part(part: jax.Array, salt: jax.Array) -> jax.Array:
        return tree_fingerprint.sums(part, salt)[None]

    # Nothing is exchanged: of an array that is replicated, only one copy may be wrong.
    return jax.jit(
        jax.shard_map(
            of_part,
            mesh=mesh,
            in_specs=(spec, jax.P()),
            out_specs=jax.P(mesh.axis_names),
            check_vma=False,
        )
    )
