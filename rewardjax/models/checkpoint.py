"""Checkpoints: everything Orbax is in this file.

A step on disk holds trees of arrays by name (`params`, `opt`) and `meta`, a JSON record with the
data position, what the run is bound to, and a fingerprint of each tree. Orbax restores a flipped
bit without a word; the fingerprint does not, and a damaged step makes the restore fall back to the
one before it.
"""

import pathlib
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers

Manager = ocp.CheckpointManager


class DamagedCheckpoint(Exception):
    """No step of a checkpoint folder could be restored and verified."""


def open_manager(folder: str | pathlib.Path, *, keep: int = 2, best: str | None = None) -> Manager:
    """A manager of `folder` that keeps the `keep` latest steps.

    Where `best` names a metric, it also keeps the step that scored highest.
    """
    policies: list[Any] = [checkpoint_managers.LatestN(keep)]
    if best is not None:
        policies.append(
            checkpoint_managers.BestN(
                get_metric_fn=lambda metrics: metrics[best],
                n=1,
                keep_checkpoints_without_metrics=False,
            )
        )
    return ocp.CheckpointManager(
        pathlib.Path(folder).absolute(),
        options=ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            cleanup_tmp_directories=True,
            enable_async_checkpointing=True,
        ),
    )


def steps_of(folder: str | pathlib.Path) -> list[int]:
    """The steps that `folder` has finished checkpoints of, in order, without opening a manager."""
    # A checkpoint that is being written, or was cut off, has another name than its step.
    names = [path.name for path in pathlib.Path(folder).glob("*")]
    return sorted(int(name) for name in names if name.isdecimal())


def save(
    manager: Manager,
    step: int,
    trees: dict[str, Any],
    meta: dict,
    metrics: dict[str, float] | None = None,
) -> None:
    """Start an asynchronous save of `trees` and `meta` as `step`.

    A failure of the previous save is raised here, not swallowed.
    """
    # One save at a time: two would hold two copies of the state on the host.
    manager.wait_until_finished()
    meta = meta | {"fingerprints": {name: fingerprint(tree) for name, tree in trees.items()}}
    items = {name: ocp.args.StandardSave(tree) for name, tree in trees.items()}
    manager.save(
        step, args=ocp.args.Composite(**items, meta=ocp.args.JsonSave(meta)), metrics=metrics
    )


def read_meta(manager: Manager, step: int) -> dict:
    """The JSON record of `step`, without its arrays."""
    return manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"]


def newest_meta(manager: Manager) -> dict | None:
    """The JSON record of the newest step whose record can be read.

    None where the folder holds no step. Raises DamagedCheckpoint with the reason for each step.
    """
    manager.reload()
    reasons = []
    for step in sorted(manager.all_steps(), reverse=True):
        # Any error, as in `restore`, which will not use such a step either.
        try:
            return read_meta(manager, step)
        except Exception as error:
            reasons.append(_reason(step, error))
    if reasons:
        raise DamagedCheckpoint(f"{manager.directory}: " + "; ".join(reasons))
    return None


def _reason(step: int, error: Exception) -> str:
    return f"step {step}: {type(error).__name__}: {(str(error) or '-').splitlines()[0]}"


def restore(
    manager: Manager, abstract_trees: dict[str, Any], step: int | None = None
) -> tuple[int, dict[str, Any], dict]:
    """Restore and verify the named trees of `step`, or of the newest step that verifies.

    Arrays are laid out as `abstract_trees` says. Returns (step, trees, meta). Raises
    DamagedCheckpoint with the reason for each step that was tried.
    """
    manager.reload()
    if step is None:
        steps = sorted(manager.all_steps(), reverse=True)
    else:
        steps = [step]
    items = {name: ocp.args.StandardRestore(tree) for name, tree in abstract_trees.items()}
    reasons = []
    for candidate in steps:
        # Orbax and TensorStore raise many kinds of error for a file that is truncated, missing or
        # half copied, and each of them means the same here.
        try:
            restored = manager.restore(
                candidate, args=ocp.args.Composite(**items, meta=ocp.args.JsonRestore())
            )
            trees, meta = {name: restored[name] for name in items}, restored["meta"]
            damaged = [
                name for name in trees if fingerprint(trees[name]) != meta["fingerprints"][name]
            ]
            if not damaged:
                return candidate, trees, meta
            reasons.append(
                f"step {candidate}: `{damaged[0]}` does not have the fingerprint recorded when it "
                "was saved"
            )
        except Exception as error:
            reasons.append(_reason(candidate, error))
        logging.error("checkpoint %s is damaged: %s", manager.directory, reasons[-1])
    explanation = "; ".join(reasons) or "there is no finished checkpoint here"
    raise DamagedCheckpoint(f"{manager.directory}: {explanation}")


def abstract(tree: Any) -> Any:
    """Shapes, dtypes and shardings of `tree`, to restore onto."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)


def fingerprint(tree: Any) -> str:
    """64 bits that depend on every bit of every array and on nothing else.

    Not on sharding, device count or process count. Each element, read as an unsigned integer, is
    multiplied by an odd hash of its global index and the products are added modulo 2^32, which is
    associative and therefore the same in any order of reduction. Two such sums make the
    fingerprint.
    """
    sums = np.zeros(2, np.uint32)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        # The name is part of it: two weights of one shape must not be exchangeable.
        salt = np.uint32(zlib.crc32(jax.tree_util.keystr(path).encode()))
        sums = sums * np.uint32(31) + np.asarray(_leaf_sums(leaf, salt))
    return f"{sums[0]:08x}{sums[1]:08x}"


@jax.jit
def _leaf_sums(leaf: jax.Array, salt: jax.Array) -> jax.Array:
    unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[leaf.dtype.itemsize]
    if leaf.dtype == jnp.bool_:  # has no bits that can be reinterpreted
        bits = leaf.astype(jnp.uint8)
    else:
        bits = jax.lax.bitcast_convert_type(leaf, unsigned)
    index = jnp.zeros(leaf.shape, jnp.uint32)
    for axis in range(leaf.ndim):
        index = index * np.uint32(leaf.shape[axis]) + jax.lax.broadcasted_iota(
            jnp.uint32, leaf.shape, axis
        )
    # A zero still counts for its place: without the 1, zeros could be inserted or dropped unseen.
    bits = bits.astype(jnp.uint32) + np.uint32(1)

    def weighted_sum(multiplier: int) -> jax.Array:
        mixed = (index + salt) * np.uint32(multiplier)
        mixed = (mixed ^ (mixed >> 15)) * np.uint32(2246822519)
        return jnp.sum(bits * (mixed | np.uint32(1)), dtype=jnp.uint32)

    return jnp.stack([weighted_sum(2654435761), weighted_sum(3266489917)])
