"""Error-driven adaptive retrieval: the unverified pairs most like the gold pairs that a reward model gets wrong (paper, section 1.3).

The search is exact. Vectors are put on a grid of 8-bit integers, so that a similarity is a sum of integers below 2^24: any matmul
precision, sharding, chunk or platform adds it up to the same number, and equal similarities are really equal. Of those the lower row wins.

Letters: Q queries, C base rows of one device's chunk, D width, K neighbors, P devices.
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

GRID = 340  # steps to length 1: an entry of a unit vector beyond 127 / 340 is clipped, which a 256-wide one rarely has
PLACES = (
    2**14
)  # base rows of a chunk on one device; similarity and place share the 32 bits of a key
GROUP = 128  # neighboring base rows whose best is looked at first
QUERIES = (
    256  # queries compared at a time on a device: [QUERIES, PLACES] similarities are in memory
)
WIDEST = 1024  # so that 127 * 127 * width stays below 2^24
LONGEST = 362  # of a row on the grid, whose similarities so stay below 2^17
NOTHING = np.iinfo(np.int32).min


# ---------------------------------------------------------------------------------------------------------------- the k(p) rule


def pull_count(p: np.ndarray, k_max: int = 8) -> np.ndarray:
    """How many neighbors a gold pair pulls: k_max for p <= 1/2, ceil(k_max * (1 - p)) above (paper, section 1.3), int32 [n].

    With k_max = 8: 8 up to p = 1/2, then 4 at once; 1 from 0.875 to just below 1; 0 at exactly 1. A product that is a whole number but for
    float rounding counts as that number. Raises ValueError for what is no probability."""
    p = np.asarray(p, np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"pull_count: p = {p[~((p >= 0) & (p <= 1))][0]} is no probability")
    wanted = k_max * (1 - p)
    whole = np.rint(wanted)
    rounded_up = np.where((whole >= 1) & (np.abs(wanted - whole) < 1e-9), whole, np.ceil(wanted))
    return np.where(p <= 0.5, k_max, rounded_up).astype(np.int32)


class Pulled(NamedTuple):
    """Distinct base rows [n] in the order they were pulled, each with the first pull that reached it; `overlaps`: pulls of a row that
    had been pulled already."""

    row: np.ndarray
    query: np.ndarray
    rank: np.ndarray  # 0: the query's nearest neighbor
    similarity: np.ndarray
    overlaps: int


def pull(
    p: np.ndarray,
    rows: np.ndarray,
    similarity: np.ndarray,
    k_max: int = 8,
    budget: int | None = None,
) -> Pulled:
    """The base rows that gold pairs with probabilities p [Q] pull, from their neighbors rows, similarity [Q, K] (`nearest`), K >= k_max.

    Errors (p <= 1/2) come before the rest, then nearest neighbors before second ones, then the lower p, then the lower query: what is
    pulled first when a `budget` ends the list. Missing neighbors (row -1) are skipped. Raises ValueError for shapes that do not fit."""
    p = np.asarray(p, np.float64)
    if rows.shape != similarity.shape or len(rows) != len(p) or rows.shape[1] < k_max:
        raise ValueError(
            f"pull: p {p.shape}, rows {rows.shape}, similarity {similarity.shape}; expected [Q], and [Q, {k_max} or more] twice"
        )
    query, rank = np.nonzero(
        (np.arange(rows.shape[1]) < pull_count(p, k_max)[:, None]) & (rows >= 0)
    )
    order = np.lexsort((query, p[query], rank, p[query] > 0.5))
    query, rank = query[order], rank[order]
    reached = rows[query, rank]
    first = np.sort(np.unique(reached, return_index=True)[1])
    kept = first[:budget]
    query, rank = query[kept], rank[kept]
    return Pulled(reached[kept], query, rank, similarity[query, rank], len(reached) - len(first))


# ---------------------------------------------------------------------------------------------------------------- exact search


def on_grid(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1 or less, float [n, D], on the grid that is searched: int8 [n, D].

    Raises ValueError for longer vectors, ones that are not finite, and D over WIDEST."""
    vectors = np.asarray(vectors, np.float32)
    if vectors.ndim != 2 or vectors.shape[1] > WIDEST:
        raise ValueError(
            f"retrieval: vectors have shape {vectors.shape}, expected [n, at most {WIDEST}]"
        )
    size = np.linalg.norm(vectors, axis=1)
    bad = np.flatnonzero(~(size < 1 + 1e-3))
    if len(bad):
        raise ValueError(
            f"retrieval: vector {bad[0]} has length {size[bad[0]]:.4g}; scale rows to 1 (embed.unit)"
        )
    return np.clip(np.rint(vectors * GRID), -127, 127).astype(np.int8)


def nearest(
    query: np.ndarray, base: np.ndarray, k: int, *, chunk: int = PLACES, block: int = QUERIES
) -> tuple[np.ndarray, np.ndarray]:
    """(base rows [Q, k] int32, similarities [Q, k] int32 in units of GRID ** -2): the k most similar base rows of every query.

    query [Q, D], base [N, D]: int8 from `on_grid`; base may be a memory map, each process reads only its rows. Best first, of equal ones
    the lower row; -1 and NOTHING where the base has fewer than k rows. Runs on the current mesh: `chunk` base rows a device at a time
    stream past all queries, `block` of these at a time, so memory on a device is Q * (D + 8 k) + chunk * (D + 8 block) bytes or so.
    The result depends on none of mesh, chunk and block. Raises ValueError for other dtypes, shapes, longer rows, k outside 1 .. GROUP."""
    if (
        query.dtype != np.int8
        or base.dtype != np.int8
        or query.ndim != 2
        or base.ndim != 2
        or query.shape[1] != base.shape[1]
    ):
        raise ValueError(
            f"nearest: query {query.dtype}{query.shape}, base {base.dtype}{base.shape}; expected int8 [Q, D] and [N, D] (on_grid)"
        )
    mesh = jax.sharding.get_mesh()
    queries, rows, block = len(query), len(base), min(block, -(-len(query) // 8) * 8)
    chunk = chunk_rows(rows, mesh.size, chunk)
    if not 0 < chunk <= PLACES or chunk % GROUP:
        raise ValueError(
            f"nearest: chunk = {chunk} of {rows} base rows; it must be a multiple of {GROUP} up to {PLACES}, and a base not empty"
        )
    step, finish = search(mesh, k)
    padded = -(-queries // block) * block
    on_device = _place(query, 0, padded, mesh, P()).reshape(-1, block, query.shape[1])
    best = _nothing_yet(mesh, padded // block, block, k)
    for first in range(0, rows, chunk * mesh.size):
        here = _place(base, first, chunk * mesh.size, mesh, P(AXES))
        best = step(best, on_device, here, np.int32(first), np.int32(rows))
    similarity, found = (np.asarray(x).reshape(padded, k)[:queries] for x in finish(best))
    return np.where(similarity == NOTHING, -1, found), similarity


def chunk_rows(rows: int, devices: int, most: int = PLACES) -> int:
    """Base rows of a chunk on one device: whole groups, as many as `rows` fill on `devices`, at most `most`."""
    return min(most, -(-rows // (devices * GROUP)) * GROUP)


@functools.lru_cache(maxsize=8)
def search(mesh: jax.sharding.Mesh, k: int) -> tuple[Callable, Callable]:
    """`step(best, query, base, first, rows) -> best` and `finish(best) -> similarity, row`, jitted for `mesh`.

    best: (similarity, row) int32 [P, blocks, block, k], of each device's rows so far; query int8 [blocks, block, D] on every device; base
    int8 [P * chunk, D] split over all devices, its first row being row `first` of `rows` in all. `finish` gives [blocks, block, k]."""
    if not 1 <= k <= GROUP:
        raise ValueError(f"nearest: k = {k}, must be 1 to {GROUP}")

    def step(best, query, base, first, rows):
        similarity, row = best
        start = first + jax.lax.axis_index(AXES) * base.shape[0]
        one = lambda block: _merge(
            block[0], block[1], *_best_of_chunk(block[2], base, start, rows, k)
        )
        similarity, row = jax.lax.map(one, (similarity[0], row[0], query))
        return similarity[None], row[None]

    def finish(best):
        everywhere = lambda x: jax.reshard(x, P())
        side_by_side = lambda x: jnp.moveaxis(everywhere(x), 0, 2).reshape(*x.shape[1:3], -1)
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
    """The jitted step of `search` and its abstract arguments: what `compile` plans a search with, whatever the size of the base."""
    blocks = -(-queries // block)
    shaped = lambda shape, dtype, spec: jax.ShapeDtypeStruct(
        shape, dtype, sharding=NamedSharding(mesh, spec)
    )
    best = shaped((mesh.size, blocks, block, k), jnp.int32, P(AXES))
    number = shaped((), jnp.int32, P())
    base = shaped((mesh.size * chunk, width), jnp.int8, P(AXES))
    return search(mesh, k)[0], (
        (best, best),
        shaped((blocks, block, width), jnp.int8, P()),
        base,
        number,
        number,
    )


def _best_of_chunk(query_QD, base_CD, start, rows, k):
    """(similarity, row) [Q, k] of the best of this device's base rows start .. start + C, those from `rows` on being padding."""
    C = base_CD.shape[0]
    groups, k_here = C // GROUP, min(k, C // GROUP)
    # Entries and products are exact in every matmul precision there is, and so is their float32 sum: it is below 2^24.
    similarity_QC = jnp.einsum(
        "QD,CD->QC", query_QD.astype(jnp.float32), base_CD.astype(jnp.float32)
    ).astype(jnp.int32)
    place_C = jnp.arange(C, dtype=jnp.int32)
    key_QC = similarity_QC * PLACES + (
        PLACES - 1 - place_C
    )  # no two are equal, and a larger one is a better row
    key_QC = jnp.where(
        start + place_C < rows, key_QC, NOTHING + place_C
    )  # below all others, and no two are equal either
    # One of the k best lies in one of the k groups with the best maxima.
    key_QGg = key_QC.reshape(-1, groups, GROUP)
    _, group_QK = _largest(key_QGg.max(axis=-1), k_here)
    near_QKg = jnp.take_along_axis(key_QGg, group_QK[..., None], axis=1)
    key_Qk, _ = _largest(near_QKg.reshape(-1, k_here * GROUP), k)
    some = key_Qk >= NOTHING + PLACES
    row_Qk = start + PLACES - 1 - key_Qk % PLACES
    return jnp.where(some, key_Qk // PLACES, NOTHING), jnp.where(
        some, row_Qk, np.iinfo(np.int32).max
    )


def _largest(x, k):
    """(values, places) of the k largest of the last axis, whose values all differ. For a few of many, rounds of looking for the maximum
    are 20 times as fast on a CPU as `jax.lax.top_k`, which sorts integers."""

    def take(left, _):
        value, place = left.max(axis=-1), left.argmax(axis=-1)
        return jnp.where(left == value[..., None], NOTHING, left), (value, place)

    _, found = jax.lax.scan(take, x, length=k)
    return jax.tree.map(lambda each: jnp.moveaxis(each, 0, -1), found)


def _merge(similarity, row, new_similarity, new_row):
    join = lambda a, b: jnp.concatenate([a, b], axis=-1)
    return _first_k(join(similarity, new_similarity), join(row, new_row), similarity.shape[-1])


def _first_k(similarity, row, k):
    """The k best of the last axis, of equal ones the lower row."""
    descending, row = jax.lax.sort(
        (-1 - similarity, row), num_keys=2
    )  # -1 - x turns the order round without overflowing
    return -1 - descending[..., :k], row[..., :k]


def _nothing_yet(
    mesh: jax.sharding.Mesh, blocks: int, block: int, k: int
) -> tuple[jax.Array, jax.Array]:
    sharding = NamedSharding(mesh, P(AXES))
    full = lambda value: jax.jit(
        lambda: jnp.full((mesh.size, blocks, block, k), value, jnp.int32, out_sharding=sharding)
    )()
    return full(NOTHING), full(np.iinfo(np.int32).max)


def _place(array: Any, first: int, size: int, mesh: jax.sharding.Mesh, spec: P) -> jax.Array:
    """Rows first .. first + size of a host array on the mesh, zeros after its end; a process touches only the rows its devices hold."""

    def part(index: Any) -> np.ndarray:
        low, high, _ = index[0].indices(size)
        found = np.asarray(array[first + low : first + high])
        if (
            len(found)
            and (longest := np.linalg.norm(found.astype(np.float32), axis=1).max()) > LONGEST
        ):
            raise ValueError(
                f"nearest: a row among {first + low} .. {first + high} has length {longest:.0f} on the grid; rows come from on_grid"
            )
        return np.concatenate(
            [found, np.zeros((high - low - len(found), array.shape[1]), array.dtype)]
        )

    return jax.make_array_from_callback((size, array.shape[1]), NamedSharding(mesh, spec), part)
