"""Retrieval:

the k(p) rule to the last value, and a search that is exact, whatever the mesh, and whatever is
equal.
"""

import jax
import numpy as np
import pytest

from rewardjax.curation.retrieval import embed, search
from rewardjax.parallel.mesh import AXES

RNG = np.random.default_rng(11)


def mesh(*shape):
    devices = jax.devices()[: int(np.prod(shape))]
    return jax.make_mesh(shape, AXES, devices=devices)


def vectors(n, width=64, rng=RNG):
    return search.on_grid(embed.unit(rng.normal(size=(n, width))))


def brute(query, base, k):
    """The definition: sort by (similarity down, row up)."""
    similarity = query.astype(np.int64) @ base.astype(np.int64).T
    row = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return row, np.take_along_axis(similarity, row, axis=1)


# ------------------------------------------------------------------ k(p)


@pytest.mark.parametrize(
    ("p", "k"),
    [
        (0.0, 8),
        (0.3, 8),
        (0.5, 8),
        (np.nextafter(0.5, 1), 4),
        (0.6, 4),
        (0.625, 3),
        (0.75, 2),
        (0.875, 1),
        (0.999, 1),
        (np.nextafter(1, 0), 1),
        (1.0, 0),
    ],
)
def test_pull_count_is_the_papers(p, k):
    assert search.pull_count(np.array([p]))[0] == k


def test_pull_count_ignores_rounding_and_refuses_what_is_no_probability():
    assert search.pull_count(np.array([0.7, 0.9, 0.8]), k_max=10).tolist() == [
        3,
        1,
        2,
    ]  # 10 * (1 - 0.7) is 3.0000000000000004
    p = np.linspace(0, 1, 999)
    counts = search.pull_count(p)
    assert (np.diff(counts) <= 0).all() and counts.min() == 0 and counts.max() == 8
    for wrong in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="is not a probability"):
            search.pull_count(np.array([wrong]))


def test_pull_order_overlaps_and_budget():
    p = np.array([0.9, 0.5, 0.2, 1.0])  # pulls 1, 2, 2, 0 of k_max = 2: ceil(2 * 0.1) = 1
    rows = np.array([[7, 8], [4, 3], [3, 5], [1, 2]])
    similarity = np.array([[90, 80], [70, 60], [50, 40], [30, 20]])
    pulled = search.pull(p, rows, similarity, k_max=2)
    # errors, nearest first: query 2 -> 3, query 1 -> 4; then second ones: 2 -> 5, 1 -> 3 (again);
    # then query 0 -> 7
    assert pulled.row.tolist() == [3, 4, 5, 7]
    assert pulled.query.tolist() == [2, 1, 2, 0] and pulled.rank.tolist() == [0, 0, 1, 0]
    assert pulled.similarity.tolist() == [50, 70, 40, 90] and pulled.overlaps == 1
    assert search.pull(p, rows, similarity, k_max=2, budget=2).row.tolist() == [3, 4]
    missing = np.where(rows == 3, -1, rows)
    assert search.pull(p, missing, similarity, k_max=2).row.tolist() == [4, 5, 7]
    with pytest.raises(ValueError, match="pull"):
        search.pull(p, rows, similarity, k_max=3)


# ------------------------------------------------------------------ search


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 1), (1, 2, 4)])
def test_search_is_exact_on_every_mesh(shape):
    query, base = vectors(37), vectors(3000)
    with jax.set_mesh(mesh(*shape)):
        for k, chunk, block in ((8, 256, 16), (1, search.PLACES, 256)):
            row, similarity = search.nearest(query, base, k, chunk=chunk, block=block)
            wanted_row, wanted = brute(query, base, k)
            np.testing.assert_array_equal(row, wanted_row)
            np.testing.assert_array_equal(similarity, wanted)


def test_ties_go_to_the_lower_row_wherever_they_lie():
    few = vectors(5)
    base = few[RNG.integers(0, 5, 2500)]  # hundreds of copies of each
    query = vectors(9)
    wanted, _ = brute(query, base, 20)
    for shape, chunk in (((1, 1, 1), 128), ((2, 2, 2), 128), ((1, 4, 1), 512)):
        with jax.set_mesh(mesh(*shape)):
            np.testing.assert_array_equal(search.nearest(query, base, 20, chunk=chunk)[0], wanted)


def test_equals_faiss():
    faiss = pytest.importorskip("faiss", reason="faiss-cpu is a development requirement")
    query, base = vectors(64, 256), vectors(5000, 256)
    index = faiss.IndexFlatIP(256)
    index.add(base.astype(np.float32))
    theirs, their_rows = index.search(query.astype(np.float32), 8)
    with jax.set_mesh(mesh(2, 2, 1)):
        row, similarity = search.nearest(query, base, 9)
    row, clear = (
        row[:, :8],
        np.diff(similarity, axis=1).all(axis=1),
    )  # where no two of the first nine are equal FAISS has no choice
    np.testing.assert_array_equal(similarity[:, :8], theirs.astype(np.int64))
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(row[clear], their_rows[clear])


def test_the_grid_finds_what_floats_find():
    query, base = embed.unit(RNG.normal(size=(100, 256))), embed.unit(RNG.normal(size=(4000, 256)))
    exact = np.argsort(-(query @ base.T), axis=1)[:, :8]
    with jax.set_mesh(mesh(1, 1, 1)):
        row, similarity = search.nearest(search.on_grid(query), search.on_grid(base), 8)
    assert (
        np.mean([len(set(a) & set(b)) for a, b in zip(row.tolist(), exact.tolist(), strict=True)])
        > 7.5
    )
    cosine = np.take_along_axis(query @ base.T, row, axis=1)
    np.testing.assert_allclose(similarity / search.GRID**2, cosine, atol=0.01)


def test_extremes_of_the_grid_keep_their_order():
    one = np.zeros((1, 1024), np.float32)
    one[0, :7] = 7**-0.5  # the longest a row gets: nothing is clipped
    base = np.concatenate([-one, one, one * 0.999])
    with jax.set_mesh(mesh(1, 1, 1)):
        row, similarity = search.nearest(search.on_grid(one), search.on_grid(base), 3)
    assert row.tolist() == [[1, 2, 0]] and similarity[0, 0] == -similarity[0, 2] > 110_000


def test_a_base_smaller_than_k_and_bad_input():
    query, base = vectors(3), vectors(2)
    with jax.set_mesh(mesh(1, 2, 1)):
        row, similarity = search.nearest(query, base, 4)
        assert (row[:, 2:] == -1).all() and (similarity[:, 2:] == search.NOTHING).all()
        np.testing.assert_array_equal(row[:, :2], brute(query, base, 2)[0])
        with pytest.raises(ValueError, match="int8"):
            search.nearest(query.astype(np.float32), base, 1)
        with pytest.raises(ValueError, match="k = 129"):
            search.nearest(query, base, 129)
        with pytest.raises(ValueError, match="base not empty"):
            search.nearest(query, base[:0], 1)
        with pytest.raises(ValueError, match="rows come from on_grid"):
            search.nearest(np.full((1, 64), 127, np.int8), base, 1)
    with pytest.raises(ValueError, match="vector 1 has length"):
        search.on_grid(np.stack([np.ones(4) / 2, np.ones(4)]))
    with pytest.raises(ValueError, match="at most 1024"):
        search.on_grid(np.zeros((1, 2048)))


def test_the_step_is_planned_without_arrays():
    step, arguments = search.abstract_step(mesh(2, 4, 1), queries=1000, width=256, k=8)
    lowered = step.lower(*arguments)
    assert [tuple(x.shape) for x in jax.tree.leaves(lowered.out_info)] == [(8, 4, 256, 8)] * 2
