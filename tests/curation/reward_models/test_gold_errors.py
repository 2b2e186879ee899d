"""The gold set:

margins follow labels, the temperature is the minimizer, tables and McNemar agree with counts done
by hand.
"""

import numpy as np
import pytest
from scipy import stats

from rewardjax.curation.reward_models import gold_errors

RNG = np.random.default_rng(5)


def score_row(pair_id, a, b):
    return {"pair_id": pair_id, "reward_a": a, "reward_b": b}


def test_margins_follow_the_label_and_leave_out_what_has_none():
    labels = {"p3": "b", "p1": "a", "p2": "tie", "p4": "a", "p5": "undecided"}
    scores = [
        score_row("p1", 2.0, 0.5),
        score_row("p3", 2.0, 0.5),
        score_row("p2", 1.0, 0.0),
        score_row("other", 9.0, 0.0),
    ]
    ids, margin, left_out = gold_errors.margins(labels, scores)
    assert ids == ["p1", "p3"] and margin.tolist() == [1.5, -1.5] and left_out == 3
    with pytest.raises(ValueError, match="p1 is scored twice"):
        gold_errors.margins(labels, [score_row("p1", 1, 0)] * 2)


@pytest.mark.parametrize("truth", [0.3, 1.0, 12.0])
def test_temperature_is_found_again(truth):
    size = RNG.normal(0, 3, 40_000) * truth
    right = RNG.random(len(size)) < 1 / (1 + np.exp(-size / truth))
    assert gold_errors.fit_temperature(np.where(right, size, -size)) == pytest.approx(
        truth, rel=0.05
    )


def test_temperature_is_a_minimum_and_follows_the_scale():
    margin = RNG.normal(0.7, 1.0, 500)
    loss = lambda t: np.mean(np.logaddexp(0, -margin / t))
    best = gold_errors.fit_temperature(margin)
    assert loss(best) <= min(loss(best * 0.999), loss(best * 1.001))
    assert gold_errors.fit_temperature(1000 * margin) == pytest.approx(1000 * best, rel=1e-6)


def test_temperature_of_margins_with_one_sign_is_the_bound():
    margin = np.array([1.0, 2.0, 3.0])
    assert gold_errors.fit_temperature(margin) == pytest.approx(2.0 / gold_errors.FAR, rel=1e-3)
    assert gold_errors.fit_temperature(-margin) == pytest.approx(2.0 * gold_errors.FAR, rel=1e-3)
    with pytest.raises(ValueError, match="temperature"):
        gold_errors.fit_temperature(np.array([1.0, np.nan]))


@pytest.mark.parametrize("margin", [[0.0, 0.0], []])
def test_a_model_that_prefers_nothing_is_measured_and_never_right(margin):
    assert gold_errors.fit_temperature(np.array(margin)) == 1.0
    rows = [{"pair_id": str(i), "reward_a": m, "reward_b": 0.0} for i, m in enumerate(margin)]
    if rows:
        report = gold_errors.report({"0": "a", "1": "b"}, rows, {})
        assert report["accuracy"] == 0.0 and report["p"] == {"0": 0.5, "1": 0.5}


def test_error_table_counts():
    p = np.array([0.9, 0.2, 0.5, 0.7, 0.4])
    rows = gold_errors.error_table(
        p, {"task_category": ["Math", "Math", "Advice seeking", "Math", None]}
    )
    assert [(row["value"], row["pairs"], row["errors"]) for row in rows] == [
        ("all", 5, 3),
        ("Advice seeking", 1, 1),
        ("Math", 3, 1),
        ("unknown", 1, 1),
    ]
    assert rows[0]["error"] == 0.6 and rows[0]["low"] < 0.6 < rows[0]["high"]
    assert rows[2]["mean_p"] == pytest.approx(0.6)
    with pytest.raises(ValueError, match="2 values for 5 pairs"):
        gold_errors.error_table(p, {"objectivity": ["Objective"] * 2})


def test_worst_offenders():
    rows = gold_errors.worst(np.array([0.3, 0.9, 0.1, 0.3]), ["d", "c", "b", "a"], most=2)
    assert [row["pair_id"] for row in rows] == ["b", "a"]


def test_mcnemar_by_hand():
    now = {
        str(i): right
        for i, right in enumerate([True] * 50 + [True] * 9 + [False] * 2 + [False] * 10)
    }
    before = {
        str(i): right
        for i, right in enumerate([True] * 50 + [False] * 9 + [True] * 2 + [False] * 10)
    } | {"only here": True}
    found = gold_errors.mcnemar(now, before)
    assert (found["both_right"], found["gained"], found["lost"], found["both_wrong"]) == (
        50,
        9,
        2,
        10,
    )
    assert found["pairs"] == 71 and found["unmatched"] == 1
    assert found["difference"] == pytest.approx(7 / 71) and found["low"] < 7 / 71 < found["high"]
    assert found["p_value"] == pytest.approx(
        2 * stats.binom.cdf(2, 11, 0.5)
    )  # the exact test, from its definition
    back = gold_errors.mcnemar(before, now)
    assert back["difference"] == -found["difference"] and back["p_value"] == pytest.approx(
        found["p_value"]
    )


def test_mcnemar_interval_covers():
    inside = 0
    for trial in range(300):
        rng = np.random.default_rng(trial)
        kind = rng.choice(4, size=200, p=[0.6, 0.15, 0.1, 0.15])  # true difference 0.05
        now = {str(i): k in (0, 1) for i, k in enumerate(kind)}
        before = {str(i): k in (0, 2) for i, k in enumerate(kind)}
        found = gold_errors.mcnemar(now, before)
        inside += found["low"] <= 0.05 <= found["high"]
    assert 0.91 < inside / 300 < 0.99


def test_report_hangs_together():
    labels = {f"p{i}": "ab"[i % 2] for i in range(60)} | {"tie": "tie"}
    scores = [score_row(f"p{i}", *RNG.normal(size=2)) for i in range(60)]
    attributes = {
        f"p{i}": {"task_category": "Math", "objectivity": "Objective", "controversiality": "Low"}
        for i in range(30)
    }
    first = gold_errors.report(labels, scores, attributes)
    assert first["pairs"] == 60 and first["left_out"] == 1 and first["against_previous"] is None
    assert (
        first["accuracy"]
        == np.mean(list(first["correct"].values()))
        == 1 - first["errors"][0]["error"]
    )
    assert {row["value"] for row in first["errors"]} == {
        "all",
        "Math",
        "unknown",
        "Objective",
        "Low",
    }
    again = gold_errors.report(labels, scores, attributes, previous=first["correct"])
    assert (
        again["against_previous"]["difference"] == 0 and again["against_previous"]["p_value"] == 1
    )
    with pytest.raises(ValueError, match="none of the 61"):
        gold_errors.report(labels, [], {})
