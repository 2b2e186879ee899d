"""Agreement: a textbook table, invariances, and intervals that cover what they should."""

import numpy as np
import pytest

from rewardjax.stats import agreement

RNG = np.random.default_rng(3)


def votes(table, labels=("chosen", "rejected")):
    """Two lists of votes with this confusion table."""
    cells = [
        (labels[i], labels[j])
        for i in range(len(labels))
        for j in range(len(labels))
        for _ in range(table[i][j])
    ]
    return [a for a, _ in cells], [b for _, b in cells]


def test_textbook_table():
    a, b = votes(
        [[20, 5], [10, 15]]
    )  # agreement 0.7, expected 0.5 * 0.6 + 0.5 * 0.4 = 0.5, kappa 0.4
    labels, table = agreement.confusion(a, b)
    assert labels == ["chosen", "rejected"] and table.tolist() == [[20, 5], [10, 15]]
    result = agreement.compare(a, b)
    np.testing.assert_allclose([result["agreement"], result["kappa"]], [0.7, 0.4], atol=1e-12)
    assert result["items"] == 50 and result["missing"] == 0
    assert (
        result["agreement_low"] < 0.7 < result["agreement_high"]
        and result["kappa_low"] < 0.4 < result["kappa_high"]
    )


def test_bootstrap_interval_is_close_to_the_asymptotic_one():
    a, b = votes([[800, 200], [400, 600]])
    result = agreement.compare(a, b)
    p = np.array([[800, 200], [400, 600]]) / 2000
    observed, expected = 0.7, 0.5
    standard_error = np.sqrt(observed * (1 - observed) / 2000) / (
        1 - expected
    )  # Cohen's 1960 formula, within a few per cent here
    np.testing.assert_allclose(
        result["kappa_high"] - result["kappa_low"], 2 * 1.96 * standard_error, rtol=0.1
    )
    assert agreement.kappa_of(p * 2000) == pytest.approx(0.4)


@pytest.mark.parametrize("table", [[[20, 5], [10, 15]], [[9, 4, 1], [2, 8, 3], [0, 5, 7]]])
def test_kappa_is_that_of_scikit_learn(table):
    metrics = pytest.importorskip("sklearn.metrics")
    a, b = votes(table, labels="abc"[: len(table)])
    assert agreement.compare(a, b)["kappa"] == pytest.approx(metrics.cohen_kappa_score(a, b))


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
    assert (
        independent["kappa_low"] < 0 < independent["kappa_high"]
        and 0.4 < independent["agreement"] < 0.6
    )
    assert agreement.compare([0, 1] * 10, [1, 0] * 10)["kappa"] == -1


def test_missing_votes_are_counted_and_undefined_is_none():
    result = agreement.compare(["x", None, "x", "x"], ["x", "x", None, "x"])
    assert (result["items"], result["missing"], result["agreement"]) == (2, 2, 1.0)
    assert (
        result["kappa"] is None and result["kappa_low"] is None
    )  # one label only: chance already explains everything
    nothing = agreement.compare([None], ["x"])
    assert nothing["items"] == 0 and nothing["agreement"] is None


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="2 and 1 labels"):
        agreement.compare(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="'b'.*not among"):
        agreement.confusion(["a", "b"], ["a", "a"], labels=["a"])


# ------------------------------------------------------------------ reward models, and everybody


def test_votes_of_rewards():
    assert agreement.votes_of([1.0, 0.0, 2.0, np.nan], [0.5, 1.0, 2.0, 1.0]) == [
        "a",
        "b",
        "tie",
        None,
    ]


def test_vote_table_by_hand():
    votes = {
        "original": ["a", "a", "a", "b", "a", "a"],
        "gold": ["a", "b", "a", "b", "b", "a"],
        "judges": [None, "b", None, "a", "b", "tie"],
    }
    decision = ["keep", "flip", "keep", "keep", "discard", "keep"]
    audit = ["a", "b", "b", None, "a", None]
    rows = agreement.vote_table(votes, decision, audit)
    assert sum(row["pairs"] for row in rows) == 6
    assert rows[0] == {
        "original": "a",
        "gold": "a",
        "judges": None,
        "pairs": 2,
        "discard": 0,
        "flip": 0,
        "keep": 2,
        "audited": 2,
        "original right": 0.5,
        "gold right": 0.5,
        "judges right": 0.0,
    }
    turned = next(row for row in rows if row["judges"] == "b")
    assert (turned["pairs"], turned["flip"], turned["discard"], turned["gold right"]) == (
        2,
        1,
        1,
        0.5,
    )
    assert [row["gold right"] for row in rows if row["audited"] == 0] == [None, None]
    assert agreement.vote_table({"original": ["a"]}) == [{"original": "a", "pairs": 1}]
    with pytest.raises(ValueError, match="different length"):
        agreement.vote_table(votes, decision[:2])


def test_decision_precision_by_hand():
    original = ["a", "a", "b", "a", "b", "a", "a"]
    decision = ["keep", "keep", "keep", "flip", "flip", "flip", "discard"]
    audit = ["a", "b", None, "b", "a", "tie", "a"]
    found = agreement.decision_precision(original, decision, audit)
    assert (
        found["keep"]["pairs"],
        found["keep"]["audited"],
        found["keep"]["right"],
        found["keep"]["precision"],
    ) == (3, 2, 1, 0.5)
    assert (found["flip"]["pairs"], found["flip"]["audited"], found["flip"]["right"]) == (3, 3, 2)
    assert found["flip"]["low"] < 2 / 3 < found["flip"]["high"]
    assert agreement.decision_precision(["a"], ["discard"], ["a"])["keep"]["precision"] is None
