"""Error-driven adaptive retrieval (paper, section 1.3).

It asks for the unverified pairs most like the gold pairs that a reward model gets wrong. The search
is exact. Vectors are put on a grid of 8-bit integers, so that a similarity is a sum of integers
below 2^24: any matmul precision, sharding, chunk or platform adds it up to the same number, and
equal similarities are really equal. Of those the lower row wins.

Letters: Q queries, N base rows, C base rows of one device's chunk, D width, K neighbors, P devices;
G groups of g rows in a chunk.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from rewardjax.parallel.mesh import AXES

# Steps to length 1. An entry of a unit vector beyond 127 / 340 is clipped; a 256-wide one rarely
# has such an entry, and with fewer steps the others would be rounded more.
GRID = 340
# Base rows of a chunk on one device: similarity (18 bits) and place (14) share the 32 bits of a
# key.
PLACES = 2**14
# Neighboring base rows whose best is looked at first.
GROUP = 128
# Queries compared at a time on a device: [QUERIES, PLACES] similarities are in memory.
QUERIES = 256
# So that 127 * 127 * width stays below 2^24, up to which float32 counts exactly.
WIDEST = 1024
# Length of a row on the grid: similarities so stay below 2^17.
LONGEST = 362
# The similarity of a neighbor that is missing.
NOTHING = np.iinfo(np.int32).min


# ------------------------------------------------------------------ the k(p) rule


def pull_count(p: np.ndarray, k_max: int = 8) -> np.ndarray:
    """How many neighbors a gold pair pulls, int32 [n] (paper, section 1.3).

    k_max for p <= 1/2, ceil(k_max * (1 - p)) above. With k_max = 8: 8 up to p = 1/2, then 4 at
    once; 1 from 0.875 to just below 1; 0 at exactly 1.

    Raises:
        ValueError: where p is not a probability.
    """
    p = np.asarray(p, np.float64)
    is_probability = (p >= 0) & (p <= 1)
    if not is_probability.all():
        raise ValueError(f"pull_count: p = {p[~is_probability][0]} is not a probability")
    product = k_max * (1 - p)
    # 10 * (1 - 0.7) is 3.0000000000000004, and must pull 3.
    whole = np.rint(product)
    is_whole = (whole >= 1) & (np.abs(product - whole) < 1e-9)
    rounded_up = np.where(is_whole, whole, np.ceil(product))
    return np.where(p <= 0.5, k_max, rounded_up).astype(np.int32)


class Pulled(NamedTuple):
    """Distinct base rows [n], in the order they were pulled, each with its first pull."""

    row: np.ndarray
    query: np.ndarray
    # 0: the query's nearest neighbor.
    rank: np.ndarray
    similarity: np.ndarray
    # Pulls of a row that had been pulled already.
    overlaps: int


def pull(
    p: np.ndarray,
    rows: np.ndarray,
    similarity: np.ndarray,
    k_max: int = 8,
    budget: int | None = None,
) -> Pulled:
    """The base rows that gold pairs pull from their neighbors.

    Errors (p <= 1/2) come before the rest, then nearest neighbors before second ones, then the
    lower p, then the lower query: what is pulled first when a budget ends the list.

    Args:
        p: [Q], probability that the reward model gives the gold label.
        rows: [Q, K], K >= k_max, from `nearest`; -1 where a neighbor is missing.
        similarity: [Q, K].
        k_max: of `pull_count`.
        budget: rows at most.

    Raises:
        ValueError: for shapes that do not fit.
    """
    p = np.asarray(p, np.float64)
    if rows.shape != similarity.shape or len(rows) != len(p) or rows.shape[1] < k_max:
        raise ValueError(
            f"pull: p {p.shape}, rows {rows.shape}, similarity {similarity.shape}; "
            f"expected [Q], and [Q, {k_max} or more] twice"
        )
    is_pulled_QK = np.arange(rows.shape[1]) < pull_count(p, k_max)[:, None]
    query, rank = np.nonzero(is_pulled_QK & (rows >= 0))
    # The last key is the first to sort by.
    order = np.lexsort((query, p[query], rank, p[query] > 0.5))
    query, rank = query[order], rank[order]
    reached = rows[query, rank]
    first = np.sort(np.unique(reached, return_index=True)[1])
    kept = first[:budget]
    query, rank = query[kept], rank[kept]
    overlaps = len(reached) - len(first)
    return Pulled(reached[kept], query, rank, similarity[query, rank], overlaps)


# ------------------------------------------------------------------ exact search


def on_grid(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1 or less, float [n, D], on the grid that is searched: int8 [n, D].

    Raises:
        ValueError: for longer vectors, ones that are not finite, and D over WIDEST.
    """
    vectors = np.asarray(vectors, np.float32)
    if vectors.ndim != 2 or vectors.shape[1] > WIDEST:
        raise ValueError(
            f"retrieval: vectors have shape {vectors.shape}, expected [n, at most {WIDEST}]"
        )
    size = np.linalg.norm(vectors, axis=1)
    # Written so that NaN is bad too.
    bad = np.flatnonzero(~(size < 1 + 1e-3))
    if len(bad):
        raise ValueError(
            f"retrieval: vector {bad[0]} has length {size[bad[0]]:.4g}; "
            "scale rows to 1 (embed.unit)"
        )
    return np.clip(np.rint(vectors * GRID), -127, 127).astype(np.int8)


def nearest(
    query: np.ndarray, base: np.ndarray, k: int, *, chunk: int = PLACES, block: int = QUERIES
) -> tuple[np.ndarray, np.ndarray]:
    """The k most similar base rows of every query.

    Runs on the current mesh: `chunk` base rows per device at a time stream past all queries,
    `block` of these at a time, so that a device holds about Q * (D + 8 k) + chunk * (D + 8 block)
    bytes. The result depends on none of mesh, chunk and block.

    Args:
        query: int8 [Q, D] from `on_grid`.
        base: int8 [N, D]; may be a memory map, of which each process reads only its rows.
        k: 1 to GROUP.
        chunk: a multiple of GROUP up to PLACES.
        block: queries at a time.

    Returns:
        Base rows int32 [Q, k], and similarities int32 [Q, k] in units of GRID ** -2. Best first, of
        equal ones the lower row; -1 and NOTHING where the base has fewer than k rows.

    Raises:
        ValueError: for other dtypes or shapes, rows that are longer than `on_grid` makes them, and
            k or chunk out of range.
    """
    is_matrices = query.ndim == base.ndim == 2 and query.shape[1] == base.shape[1]
    if query.dtype != np.int8 or base.dtype != np.int8 or not is_matrices:
        raise ValueError(
            f"nearest: query {query.dtype}{query.shape}, base {base.dtype}{base.shape}; "
            "expected int8 [Q, D] and [N, D] (on_grid)"
        )
    mesh = jax.sharding.get_mesh()
    queries, rows = len(query), len(base)
    # Few queries need no full block; a multiple of 8 keeps the number of shapes, and so of
    # compilations, small.
    block = min(block, -(-queries // 8) * 8)
    chunk = chunk_rows(rows, mesh.size, chunk)
    if not 0 < chunk <= PLACES or chunk % GROUP:
        raise ValueError(
            f"nearest: chunk = {chunk} of {rows} base rows; it must be a multiple of {GROUP} up to "
            f"{PLACES}, and a base not empty"
        )
    step, finish = search(mesh, k)
    padded = -(-queries // block) * block
    on_device = _place(query, 0, padded, mesh, P()).reshape(-1, block, query.shape[1])
    best = _nothing_yet(mesh, padded // block, block, k)
    for first in range(0, rows, chunk * mesh.size):
        here = _place(base, first, chunk * mesh.size, mesh, P(AXES))
        best = step(best, on_device, here, np.int32(first), np.int32(rows))
    similarity, row = (np.asarray(x).reshape(padded, k)[:queries] for x in finish(best))
    return np.where(similarity == NOTHING, -1, row), similarity


def chunk_rows(rows: int, devices: int, most: int = PLACES) -> int:
    """Base rows of a chunk on one device.

    Whole groups, as many as `rows` fill on `devices`, at most `most`.
    """
    return min(most, -(-rows // (devices * GROUP)) * GROUP)


@functools.lru_cache(maxsize=8)
def search(mesh: jax.sharding.Mesh, k: int) -> tuple[Callable, Callable]:
    """Two functions, jitted for `mesh`: `step` looks at a chunk, `finish` joins the devices.

    `step(best, query, base, first, rows) -> best`. best: (similarity, row), int32 [P, blocks,
    block, k], of each device's rows so far. query: int8 [blocks, block, D], on every device. base:
    int8 [P * chunk, D], split over all devices; its first row is row `first` of `rows` in all.
    `finish(best) -> similarity, row`, each [blocks, block, k].

    Raises:
        ValueError: for k outside 1 .. GROUP.
    """
    if not 1 <= k <= GROUP:
        raise ValueError(f"nearest: k = {k}, must be 1 to {GROUP}")

    def step(best, query, base, first, rows):
        similarity, row = best
        start = first + jax.lax.axis_index(AXES) * base.shape[0]

        def look_at_block(block):
            similarity, row, query_QD = block
            return _merge(similarity, row, *_best_of_chunk(query_QD, base, start, rows, k))

        # Block after block, not all at once: memory.
        similarity, row = jax.lax.map(look_at_block, (similarity[0], row[0], query))
        return similarity[None], row[None]

    def finish(best):

        def side_by_side(x):
            # [P, blocks, block, k] -> [blocks, block, P * k] on every device.
            return jnp.moveaxis(jax.reshard(x, P()), 0, 2).reshape(*x.shape[1:3], -1)

        similarity, row = best
        return _first_k(side_by_side(similarity), side_by_side(row), k)

    split = P(AXES)
    step = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=((split, split), P(), split, P(), P()),
        out_specs=(split, split),
        check_vma=False,
    )
    return jax.jit(step, donate_argnums=0), jax.jit(finish)


def abstract_step(
    mesh: jax.sharding.Mesh,
    *,
    queries: int,
    width: int,
    k: int,
    chunk: int = PLACES,
    block: int = QUERIES,
) -> tuple[Callable, tuple]:
    """The jitted step of `search` and its abstract arguments.

    What `compile` plans a search with, whatever the size of the base.
    """
    blocks = -(-queries // block)
    split, everywhere = NamedSharding(mesh, P(AXES)), NamedSharding(mesh, P())
    best = jax.ShapeDtypeStruct((mesh.size, blocks, block, k), jnp.int32, sharding=split)
    query = jax.ShapeDtypeStruct((blocks, block, width), jnp.int8, sharding=everywhere)
    base = jax.ShapeDtypeStruct((mesh.size * chunk, width), jnp.int8, sharding=split)
    number = jax.ShapeDtypeStruct((), jnp.int32, sharding=everywhere)
    return search(mesh, k)[0], ((best, best), query, base, number, number)


def _best_of_chunk(query_QD, base_CD, start, rows, k):
    """The best of this device's base rows start .. start + C: (similarity, row), each [Q, k].

    Those from row `rows` on are padding.
    """
    C = base_CD.shape[0]
    groups = C // GROUP
    k_groups = min(k, groups)
    # Entries and products are exact in every matmul precision there is, and so is their float32
    # sum: it is below 2^24.
    similarity_QC = jnp.einsum(
        "QD,CD->QC", query_QD.astype(jnp.float32), base_CD.astype(jnp.float32)
    ).astype(jnp.int32)
    place_1C = jnp.arange(C, dtype=jnp.int32)[None, :]
    # Similarity and place in one number: no two keys are equal, and a larger one is a better row.
    key_QC = similarity_QC * PLACES + (PLACES - 1 - place_1C)
    # Padding lies below all others, and no two of it are equal either.
    key_QC = jnp.where(start + place_1C < rows, key_QC, NOTHING + place_1C)
    # Each of the k best lies in one of the k groups with the best maxima.
    key_QGg = key_QC.reshape(-1, groups, GROUP)
    _, group_QK = _largest(key_QGg.max(axis=-1), k_groups)
    near_QKg = jnp.take_along_axis(key_QGg, group_QK[..., None], axis=1)
    key_Qk, _ = _largest(near_QKg.reshape(-1, k_groups * GROUP), k)
    is_row_Qk = key_Qk >= NOTHING + PLACES
    row_Qk = start + PLACES - 1 - key_Qk % PLACES
    similarity_Qk = jnp.where(is_row_Qk, key_Qk // PLACES, NOTHING)
    # What is missing comes last among equals.
    return similarity_Qk, jnp.where(is_row_Qk, row_Qk, np.iinfo(np.int32).max)


def _largest(x, k):
    """(values, places) of the k largest of the last axis, whose values all differ."""

    # For a few of many, rounds of looking for the maximum are 20 times as fast on a CPU as
    # `jax.lax.top_k`, which sorts integers.
    def take(remaining, _):
        value, place = remaining.max(axis=-1), remaining.argmax(axis=-1)
        remaining = jnp.where(remaining == value[..., None], NOTHING, remaining)
        return remaining, (value, place)

    _, largest = jax.lax.scan(take, x, length=k)
    return jax.tree.map(lambda each: jnp.moveaxis(each, 0, -1), largest)


def _merge(similarity, row, new_similarity, new_row):
    """The k best of both, each [..., k]."""
    similarities = jnp.concatenate([similarity, new_similarity], axis=-1)
    rows = jnp.concatenate([row, new_row], axis=-1)
    return _first_k(similarities, rows, similarity.shape[-1])


def _first_k(similarity, row, k):
    """The k best of the last axis, of equal ones the lower row."""
    # -1 - x turns the order round without overflowing, as -x would for NOTHING.
    descending, row = jax.lax.sort((-1 - similarity, row), num_keys=2)
    return -1 - descending[..., :k], row[..., :k]


def _nothing_yet(
    mesh: jax.sharding.Mesh, blocks: int, block: int, k: int
) -> tuple[jax.Array, jax.Array]:
    """The `best` of no rows."""
    sharding = NamedSharding(mesh, P(AXES))

    # Made on the devices: no host holds all of it.
    @jax.jit
    def fill(value):
        return jnp.full((mesh.size, blocks, block, k), value, jnp.int32, out_sharding=sharding)

    return fill(NOTHING), fill(np.iinfo(np.int32).max)


def _place(array: Any, first: int, size: int, mesh: jax.sharding.Mesh, spec: P) -> jax.Array:
    """Rows first .. first + size of a host array on the mesh, zeros after its end.

    A process touches only the rows that its devices hold.
    """

    def part(index: Any) -> np.ndarray:
        low, high, _ = index[0].indices(size)
        rows = np.asarray(array[first + low : first + high])
        longest = np.linalg.norm(rows.astype(np.float32), axis=1).max(initial=0)
        if longest > LONGEST:
            raise ValueError(
                f"nearest: a row among {first + low} .. {first + high} has length {longest:.0f} "
                "on the grid; rows come from on_grid"
            )
        padding = np.zeros((high - low - len(rows), array.shape[1]), array.dtype)
        return np.concatenate([rows, padding])

    return jax.make_array_from_callback((size, array.shape[1]), NamedSharding(mesh, spec), part)
