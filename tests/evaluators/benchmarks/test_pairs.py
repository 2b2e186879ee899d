"""Pair metrics: identities that hold for any rewards, and values computed by hand."""

import json

import numpy as np
import pytest
from scipy import special

from rewardjax.evaluators import selection
from rewardjax.evaluators.benchmarks import best_of_n, pairs
from rewardjax.stats import intervals

RNG = np.random.default_rng(1)


def rewards(n=500):
    """Rewards on a coarse grid, so that there are ties."""
    return np.round(RNG.normal(0.3, 1, n), 1), np.round(RNG.normal(0, 1, n), 1)


def test_pairs_of_other_columns_are_read_once_they_are_named(tmp_path):
    record = {"ask": "Which?", "response_a": "x", "response_b": "y", "label": 1}
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(record) + "\n" + json.dumps(record | {"label": 0}) + "\n")
    with pytest.raises(ValueError, match="mine.jsonl: cannot be read: label = 1"):
        pairs.load(str(path), columns={"prompt": "ask"})
    examples = pairs.load(str(path), columns="{prompt: ask}", labels="{1: second, 0: first}")
    assert [item.label["pairs"][0][:2] for item in examples.items] == [[1, 0], [0, 1]]


@pytest.mark.parametrize("module", [pairs, best_of_n])
def test_a_set_of_which_much_cannot_be_read_is_refused(tmp_path, module):
    good = {"prompt": "Which?", "responses": ["x", "y"], "correct": [True, False]}
    bad = good | {"responses": ["x", None], "correct": [True, False]}
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in [good, bad, good | {"id": 2}]))
    match = r"mine: 33% of 3 records are unusable, the first: mine:1: .*NAME.max_dropped=0.2 is the"
    with pytest.raises(ValueError, match=match):
        module.load(str(path))
    # The part that is taken is no sample of the records that cannot be read.
    with pytest.raises(ValueError, match="33% of 3 records"):
        module.load(str(path), part=(0.0, 0.5))
    examples = module.load(str(path), max_dropped=0.4)
    assert len(examples.items) == 2 and len(examples.left_out) == 1
    # What is equal says nothing about how the file was read.
    equal = good | {"responses": ["x", "x"]}
    path.write_text("".join(json.dumps(record) + "\n" for record in [good, equal]))
    assert module.load(str(path)).items


def test_a_number_without_records_that_cannot_be_read_is_marked(tmp_path):
    good = {"prompt": "Which?", "chosen": "x", "rejected": "y"}
    path = tmp_path / "mine.jsonl"
    records = [*[good] * 9, good | {"chosen": ""}]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    examples = pairs.load(str(path))
    result = pairs.summarize(examples.items, [np.array([1.0, 0.0])] * 9)
    assert not result.partial
    marked = selection.marked_unread(result, examples)
    assert marked.partial and marked.parts["pairs"].expected == 10
    assert marked.notes == [
        "1 records could not be read, the first: mine:9: empty: responses[0][-1].content = ''"
    ]


def test_exchange_maps_accuracy_to_one_minus_accuracy_minus_ties():
    chosen, rejected = rewards()
    a, b = pairs.pair_metrics(chosen, rejected), pairs.pair_metrics(rejected, chosen)
    assert a["ties"] > 0
    np.testing.assert_allclose(b["accuracy"], 1 - a["accuracy"] - a["ties"], atol=1e-12)
    np.testing.assert_allclose(b["accuracy_ties_half"], 1 - a["accuracy_ties_half"], atol=1e-12)
    assert b["ties"] == a["ties"] and b["margin_mean"] == -a["margin_mean"]


def test_exchange_together_with_the_label_changes_nothing():
    chosen, rejected = rewards()
    target, tie = RNG.choice([0.0, 0.2, 0.5, 0.9, 1.0], 500), RNG.random(500) < 0.1
    lengths = RNG.integers(1, 200, (2, 500))
    a = pairs.pair_metrics(
        chosen,
        rejected,
        target=target,
        tie=tie,
        chosen_length=lengths[0],
        rejected_length=lengths[1],
    )
    b = pairs.pair_metrics(
        rejected,
        chosen,
        target=1 - target,
        tie=tie,
        chosen_length=lengths[1],
        rejected_length=lengths[0],
    )
    assert (
        a["label_ties"] == int(np.sum((target == 0.5) | tie))
        and a["pairs"] + a["label_ties"] == 500
    )
    for name, value in a.items():
        if not name.startswith(("chosen_", "rejected_")):
            np.testing.assert_allclose(b[name], value, atol=1e-12, err_msg=name)


def test_order_of_pairs_does_not_matter():
    chosen, rejected = rewards()
    order = RNG.permutation(500)
    a, b = pairs.pair_metrics(chosen, rejected), pairs.pair_metrics(chosen[order], rejected[order])
    for name, value in a.items():
        np.testing.assert_allclose(b[name], value, atol=1e-12, err_msg=name)


def test_values_by_hand():
    m = pairs.pair_metrics(
        [2.0, 1.0, 0.0, 5.0], [0.0, 1.0, 1.0, 5.5], tie=[False, False, False, True]
    )
    p = special.expit([2.0, 0.0, -1.0])
    expected = dict(
        pairs=3,
        label_ties=1,
        accuracy=1 / 3,
        ties=1 / 3,
        accuracy_ties_half=0.5,
        margin_mean=1 / 3,
        margin_std=np.std([2, 0, -1]),
        nll=-np.mean(np.log(p)),
        brier=np.mean((1 - p) ** 2),
        chosen_mean=1.0,
        chosen_max=2.0,
        rejected_min=0.0,
        rejected_std=np.std([0, 1, 1]),
    )
    for name, value in expected.items():
        np.testing.assert_allclose(m[name], value, rtol=1e-12, err_msg=name)


def test_a_constant_model_scores_what_no_knowledge_scores():
    m = pairs.pair_metrics(np.zeros(50), np.zeros(50))
    assert (m["accuracy"], m["ties"], m["accuracy_ties_half"], m["brier"], m["ece"]) == (
        0,
        1,
        0.5,
        0.25,
        0,
    )
    np.testing.assert_allclose(m["nll"], np.log(2))


def test_wilson_interval():
    low, high = intervals.wilson(8, 10)  # by the formula of Wilson 1927
    z, p, n = 1.959963984540054, 0.8, 10
    center, half = (
        (p + z * z / 2 / n) / (1 + z * z / n),
        z * np.sqrt(p * (1 - p) / n + z * z / 4 / n**2) / (1 + z * z / n),
    )
    np.testing.assert_allclose([low, high], [center - half, center + half], rtol=1e-10)
    assert intervals.wilson(0, 5)[0] == 0 and intervals.wilson(5, 5)[1] == 1


def test_calibration_error_vanishes_for_a_calibrated_model_and_not_for_a_confident_one():
    delta = RNG.normal(0, 2, 40_000)
    target = (RNG.random(40_000) < special.expit(delta)).astype(
        float
    )  # labels drawn from the model's own probabilities
    calibrated = pairs.pair_metrics(delta, np.zeros_like(delta), target=target)
    confident = pairs.pair_metrics(3 * delta, np.zeros_like(delta), target=target)
    assert calibrated["ece"] < 0.012 and confident["ece"] > 0.08
    assert calibrated["nll"] < confident["nll"] and calibrated["accuracy"] == confident["accuracy"]


def test_reliability_bins_have_equal_mass_and_keep_equal_confidences_together():
    bins = pairs.reliability(RNG.normal(size=1000), np.zeros(1000), bins=10)
    assert (
        set(bins["count"]) == {100}
        and np.all(np.diff(bins["confidence"]) > 0)
        and bins["confidence"][0] >= 0.5
    )
    clumped = pairs.reliability([1.0] * 7 + [2.0] * 3, np.zeros(10))
    assert clumped["count"].tolist() == [7, 3] and clumped["frequency"].tolist() == [1, 1]


def test_length_slope_recovers_a_planted_one_whatever_the_prompt_and_the_label_add():
    n = 2000
    length_c, length_r = RNG.integers(10, 400, n), RNG.integers(10, 300, n)
    prompt = 5 * RNG.normal(size=n)
    right, wrong = prompt + 1.5 + 0.004 * length_c, prompt + 0.004 * length_r
    m = pairs.pair_metrics(right, wrong, chosen_length=length_c, rejected_length=length_r)
    np.testing.assert_allclose(m["length_slope"], 0.4, rtol=1e-9)  # per 100 tokens
    np.testing.assert_allclose(
        m["length_accuracy"], np.mean(length_c > length_r) + np.mean(length_c == length_r) / 2
    )
    flip = RNG.random(n) < 0.5  # rows whose label prefers the rejected response say the same thing
    a, b = np.where(flip, [wrong, right], [right, wrong])
    la, lb = np.where(flip, [length_r, length_c], [length_c, length_r])
    again = pairs.pair_metrics(
        a, b, target=np.where(flip, 0.0, 1.0), chosen_length=la, rejected_length=lb
    )
    np.testing.assert_allclose(
        [again["length_slope"], again["length_accuracy"]],
        [m["length_slope"], m["length_accuracy"]],
        rtol=1e-9,
    )
    as_rewards = pairs.pair_metrics(length_c, length_r)
    np.testing.assert_allclose(m["length_accuracy"], as_rewards["accuracy_ties_half"])
    equal = pairs.pair_metrics([1.0, 2.0], [0.0, 0.0], chosen_length=[5, 6], rejected_length=[3, 4])
    assert equal["length_slope"] is None


def test_nothing_to_judge_is_counted_and_not_invented():
    assert pairs.pair_metrics([], []) == {"pairs": 0, "label_ties": 0}
    assert pairs.pair_metrics([1.0], [0.0], tie=[True]) == {"pairs": 0, "label_ties": 1}


def test_bad_input_is_refused_with_counts():
    with pytest.raises(
        ValueError, match="chosen: 2 of 3 values are not finite, the first at pair 1"
    ):
        pairs.pair_metrics([1.0, np.nan, np.inf], [0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match=r"rejected: expected shape \[3\], got \[2\]"):
        pairs.pair_metrics([1.0, 1.0, 1.0], [0.0, 0.0])
    with pytest.raises(ValueError, match="both chosen_length and rejected_length"):
        pairs.pair_metrics([1.0], [0.0], chosen_length=[3])
