"""Agreement: a textbook table, invariances, and intervals that cover what they should."""

import numpy as np
import pytest

from rewardjax.curation import agreement

RNG = np.random.default_rng(3)


def votes(table, labels=("chosen", "rejected")):
    """Two lists of votes with this confusion table."""
    cells = [(labels[i], labels[j]) for i in range(len(labels)) for j in range(len(labels)) for _ in range(table[i][j])]
    return [a for a, _ in cells], [b for _, b in cells]


def test_textbook_table():
    a, b = votes([[20, 5], [10, 15]])  # agreement 0.7, expected 0.5 * 0.6 + 0.5 * 0.4 = 0.5, kappa 0.4
    labels, table = agreement.confusion(a, b)
    assert labels == ["chosen", "rejected"] and table.tolist() == [[20, 5], [10, 15]]
    result = agreement.compare(a, b)
    np.testing.assert_allclose([result["agreement"], result["kappa"]], [0.7, 0.4], atol=1e-12)
    assert result["items"] == 50 and result["missing"] == 0
    assert result["agreement_low"] < 0.7 < result["agreement_high"] and result["kappa_low"] < 0.4 < result["kappa_high"]


def test_bootstrap_interval_is_close_to_the_asymptotic_one():
    a, b = votes([[800, 200], [400, 600]])
    result = agreement.compare(a, b)
    p = np.array([[800, 200], [400, 600]]) / 2000
    observed, expected = 0.7, 0.5
    standard_error = np.sqrt(observed * (1 - observed) / 2000) / (1 - expected)  # Cohen's 1960 formula, within a few per cent here
    np.testing.assert_allclose(result["kappa_high"] - result["kappa_low"], 2 * 1.96 * standard_error, rtol=0.1)
    assert agreement.kappa_of(p * 2000) == pytest.approx(0.4)


def test_symmetric_and_blind_to_names_and_order():
    a, b = votes([[9, 4, 1], [2, 8, 3], [0, 5, 7]], labels=("A", "B", "tie"))
    base = agreement.compare(a, b)
    renamed = {"A": 2, "B": 0, "tie": 1}
    order = RNG.permutation(len(a))
    again = agreement.compare([renamed[b[i]] for i in order], [renamed[a[i]] for i in order])
    for name in ("agreement", "kappa", "agreement_low", "agreement_high", "items"):
        np.testing.assert_allclose(again[name], base[name], atol=1e-12)


def test_perfect_independent_and_opposite_sources():
    truth = RNG.integers(0, 2, 4000)
    assert agreement.compare(truth, truth)["kappa"] == 1
    independent = agreement.compare(truth, RNG.random(4000) < 0.8)
    assert independent["kappa_low"] < 0 < independent["kappa_high"] and 0.4 < independent["agreement"] < 0.6
    assert agreement.compare([0, 1] * 10, [1, 0] * 10)["kappa"] == -1


def test_missing_votes_are_counted_and_undefined_is_none():
    result = agreement.compare(["x", None, "x", "x"], ["x", "x", None, "x"])
    assert (result["items"], result["missing"], result["agreement"]) == (2, 2, 1.0)
    assert result["kappa"] is None and result["kappa_low"] is None  # one label only: chance already explains everything
    nothing = agreement.compare([None], ["x"])
    assert nothing["items"] == 0 and nothing["agreement"] is None


def test_cells_partition_the_items():
    n = 300
    truth, noisy = RNG.integers(0, 2, n), RNG.integers(0, 2, n)
    cells = [("math", "objective") if i % 3 else ("advice", "subjective") for i in range(n)]
    source = [int(t) if cell[0] == "math" else int(x) for t, x, cell in zip(truth, noisy, cells, strict=True)]
    result = agreement.by_cell(source, truth.tolist(), cells)
    assert list(result) == [("math", "objective"), ("advice", "subjective")]
    assert result["math", "objective"]["agreement"] == 1 and result["advice", "subjective"]["kappa_high"] < 0.5
    whole = agreement.compare(source, truth.tolist())
    np.testing.assert_allclose(sum(cell["agreement"] * cell["items"] for cell in result.values()) / n, whole["agreement"])


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="2 and 1 labels"):
        agreement.compare(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="'b'.*not among"):
        agreement.confusion(["a", "b"], ["a", "a"], labels=["a"])
    with pytest.raises(ValueError, match="but 1 cells"):
        agreement.by_cell(["a", "b"], ["a", "b"], ["x"])
