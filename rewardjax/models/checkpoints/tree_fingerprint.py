"""64 bits that stand for a tree of arrays, however it is sharded."""

import zlib
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def of_tree(tree: Any) -> str:
    """64 bits that depend on every bit of every array and on nothing else.

    Not on sharding, device count or process count. Each element, read as an unsigned integer, is
    multiplied by an odd hash of its global index and the products are added modulo 2^32, which is
    associative and therefore the same in any order of reduction. Two such sums make the
    fingerprint.
    """
    return combine(leaf_sums(*entry) for entry in jax.tree_util.tree_leaves_with_path(tree))


def leaf_sums(path: Any, leaf: jax.Array) -> np.ndarray:
    """The two sums of one array, [2] uint32."""
    return np.asarray(sums(leaf, salt(path)))


def salt(path: Any) -> np.uint32:
    """A number that stands for an array's name: weights of one shape must not be exchangeable."""
    return np.uint32(zlib.crc32(jax.tree_util.keystr(path).encode()))


def combine(sums_of_leaves: Iterable[np.ndarray]) -> str:
    """The fingerprint of a tree from the sums of its leaves, in their order."""
    total = np.zeros(2, np.uint32)
    for leaf in sums_of_leaves:
        total = total * np.uint32(31) + leaf
    return f"{total[0]:08x}{total[1]:08x}"


@jax.jit
def sums(leaf: jax.Array, salt: jax.Array) -> jax.Array:
    """The two sums of an array with a salt of its own, [2] uint32, left on its devices."""
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
