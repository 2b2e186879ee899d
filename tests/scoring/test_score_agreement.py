"""Rewards beside labels: what is counted, what is left out, and what is shown."""

import numpy as np

from rewardjax.data.formats import to_group
from rewardjax.evaluators.benchmarks.pairs import pair_metrics
from rewardjax.scoring.agreement import (
    SHOWN,
    WORST,
    Agreement,
    agreement,
    figures,
    preferences,
    sentences,
    total,
)


def stated(*records):
    return [preferences(to_group(record, row, "in"), row) for row, record in enumerate(records)]


def pair(better="yes", worse="no", prompt="One?"):
    return {"prompt": prompt, "chosen": better, "rejected": worse}


def test_accuracy_and_interval_are_those_of_an_evaluation():
    rng = np.random.default_rng(0)
    # Few values, so that some pairs have equal rewards.
    chosen, rejected = rng.integers(0, 4, (2, 50))
    rewards = {}
    for row in range(50):
        rewards[row, 0], rewards[row, 1] = float(chosen[row]), float(rejected[row])
    agreed = agreement(stated(*[pair()] * 50), rewards)
    expected = pair_metrics(chosen, rejected)
    measured = figures(agreed)
    assert measured["ties"] == round(expected["ties"] * 50) > 0
    for name in ("pairs", "accuracy", "wilson_low", "wilson_high"):
        assert measured[name] == expected[name]


def test_parts_add_up_to_the_whole():
    rewards = {(row, k): float((row * 7 + k * 3) % 5) for row in range(30) for k in range(2)}
    records = stated(*[pair()] * 30)
    parts = [agreement(records[first : first + 10], rewards) for first in (0, 10, 20)]
    assert total(parts) == agreement(records, rewards)


def test_what_cannot_be_compared_is_left_out_and_told():
    labeled_tie = {"prompt": "?", "response_a": "x", "response_b": "y", "winner": "tie"}
    records = stated(pair(), labeled_tie, pair("same", "same"), pair(" ", "no"), pair())
    agreed = agreement(records, {(0, 0): 1.0, (0, 1): 0.0, (4, 0): 1.0})
    counts = agreed._replace(worst=())
    assert counts == Agreement(pairs=1, right=1, label_ties=1, unusable=2, unscored=1)
    (sentence,) = sentences(agreed)
    assert "accuracy 1.000" in sentence and "1 of 1 labeled pairs" in sentence
    for told in ("1 that are labeled as ties", "2 of equal or unus", "1 without a reward"):
        assert told in sentence


def test_a_label_may_prefer_the_response_that_came_as_the_rejected_one():
    record = {"prompt": "?", "response_a": "x", "response_b": "y", "winner": "model_b"}
    (preference,) = stated(record)[0].pairs
    texts = preference.better_text, preference.worse_text
    assert texts == ("y", "x")


def test_the_worst_pairs_are_shown_with_the_beginning_of_their_texts():
    records = [pair(f"better {k}", "worse \x1b[31m" + "word " * 40) for k in range(8)]
    rewards = {}
    for row in range(8):
        rewards[row, 0], rewards[row, 1] = 0.0, float(row) - 1
    agreed = agreement(stated(*records), rewards)
    assert [row["row"] for row in agreed.worst] == [7, 6, 5, 4, 3] and len(agreed.worst) == WORST
    assert (agreed.right, agreed.ties) == (1, 1)
    assert len(agreed.worst[0]["worse_text"]) == SHOWN
    told, _, table = sentences(agreed)
    assert "1 of them have equal rewards, which count as wrong" in told
    # Somebody else's texts do not steer the terminal.
    assert "\x1b" not in table and "better 7" in table and "-6.000" in table


def test_data_without_labels_are_passed_over_in_silence():
    unlabeled = {"prompt": "?", "responses": ["x", "y"]}
    assert sentences(agreement(stated(unlabeled), {(0, 0): 1.0, (0, 1): 0.0})) == []
