"""Rows from the real packer, and what every attention backend is compared on."""

import jax
import numpy as np

from rewardjax.data import pack
from rewardjax.data.pack import TokenGroup

nothing = np.array([], np.int32)


def random_groups(seed, count, longest):
    """Groups of one, two or three responses;

    every fourth has a branch without tokens of its own, every fifth nothing to share.
    """
    rng = np.random.default_rng(seed)
    tokens = lambda low: rng.integers(0, 9, rng.integers(low, longest)).astype(np.int32)
    groups = []
    for g in range(count):
        prefix, suffixes = tokens(1), [tokens(1) for _ in range(rng.integers(1, 4))]
        if g % 4 == 0:
            suffixes[0] = nothing
        groups.append(
            TokenGroup(nothing, [tokens(1), tokens(1)])
            if g % 5 == 3
            else TokenGroup(prefix, suffixes)
        )
    return groups


def intervals(seed, rows, length):
    """see_from, see_to [rows, length]:

    packed rows, of which the last is nearly empty and the one before it holds one response alone.
    """
    groups = random_groups(seed, 6 * rows, length // 4)
    full = pack.pack_groups(groups, length, pairs_per_row=8, pad_id=0)
    alone = pack.pack_groups(
        [TokenGroup(nothing, [np.ones(length, np.int32)])], length, pairs_per_row=8, pad_id=0
    )
    empty = pack.pack_groups(
        [TokenGroup(nothing, [np.ones(3, np.int32)])], length, pairs_per_row=8, pad_id=0
    )
    assert len(full["see_from"]) >= rows - 2
    return tuple(
        np.concatenate([full[name][: rows - 2], alone[name], empty[name]])
        for name in ("see_from", "see_to")
    )


def inputs(seed, see_from, heads, kv_heads, head_dim, dtype=np.float32):
    """Random q, k, v and the cotangent of the output."""
    rng = np.random.default_rng(seed)
    return tuple(
        rng.normal(size=(*see_from.shape, n, head_dim)).astype(dtype)
        for n in (heads, kv_heads, kv_heads, heads)
    )


def output_and_grads(backend):
    """Compiled function of (q, k, v, cotangent, see_from, see_to):

    the output, and the gradients of q, k and v.
    """

    @jax.jit
    def run(q, k, v, probe, see_from, see_to):
        out, pull = jax.vjp(lambda *qkv: backend(*qkv, see_from, see_to), q, k, v)
        return out, *pull(probe)

    return run


def assert_same(found, expected, tolerance=2e-6):
    """Largest difference relative to the largest entry, array by array."""
    for ours, theirs in zip(found, expected, strict=True):
        ours, theirs = (np.asarray(x, np.float32) for x in (ours, theirs))
        assert np.isfinite(ours).all()
        assert np.max(np.abs(ours - theirs)) <= tolerance * np.max(np.abs(theirs))
