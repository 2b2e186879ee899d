import pytest
from test_aggregate import simulated, votes

from rewardjax.curation.judges import bias


def test_position_measures_of_three_plain_characters():
    rows = []
    for k in range(10):
        rows += votes(f"p{k}", "fair", "ab:a", "ba:a", "ab:a", "ba:a")
        rows += votes(f"p{k}", "first", "ab:a", "ba:b", "ab:a", "ba:b")
        rows += votes(f"p{k}", "last", "ab:b", "ba:a")
        rows += votes(f"p{k}", "shy", "ab:tie", "ba:tie")
    found = bias.position(rows)
    of = lambda measure: {voter: figures[measure]["share"] for voter, figures in found.items()}
    assert of("consistency") == {"fair": 1.0, "first": 0.0, "last": 0.0, "shy": 1.0}
    assert of("repetition") == {"fair": 1.0, "first": 1.0, "last": None, "shy": None}
    assert of("primacy") == {"fair": None, "first": 1.0, "last": 0.0, "shy": None}
    assert (
        of("said_first") == {"fair": 0.5, "first": 1.0, "last": 0.0, "shy": 0.0}
        and of("said_tie")["shy"] == 1.0
    )
    assert found["fair"]["consistency"]["count"] == 40 and found["fair"]["consistency"]["low"] > 0.9


def test_a_judge_that_hardly_ever_decides_is_named_and_an_honest_tie_is_not():
    ties = {"judge:blind": 19, "judge:careful": 18, "judge:new": 19, "judge:sure": 0}
    answers = {"judge:blind": 20, "judge:careful": 20, "judge:new": 19, "judge:sure": 40}
    (warning,) = bias.undecided_judges(answers, ties)
    assert warning.startswith('judge:blind says "No preference" in 19 of 20 answers')


def test_measures_find_the_bias_that_was_put_in():
    rows, _ = simulated(2000, {"fair": (0.9, 0.0), "biased": (0.9, 0.4)}, samples=2)
    found = bias.position(rows)
    assert found["fair"]["primacy"]["low"] < 0.5 < found["fair"]["primacy"]["high"]
    assert found["biased"]["said_first"]["share"] == pytest.approx(0.4 + 0.6 * 0.5, abs=0.02)
    assert found["biased"]["consistency"]["share"] < found["fair"]["consistency"]["share"] - 0.2


def test_a_judge_of_length_shows_a_gap_and_an_honest_one_none():
    more, reference, rows = {}, {}, []
    for k in range(200):
        pair = f"p{k}"
        more[pair], reference[pair] = (5.0 if k % 2 else -5.0), ("a" if k % 4 < 2 else "b")
        rows += votes(pair, "honest", f"ab:{reference[pair]}", f"ba:{reference[pair]}")
        rows += votes(pair, "longer", "ab:a" if k % 2 else "ab:b")
    found = bias.leaning(rows, more, reference)
    assert found["honest"]["gap"] == 0.0 and found["honest"]["prefers_more"]["share"] == 0.5
    assert found["longer"]["gap"] == 1.0 and found["longer"]["prefers_more"]["share"] == 1.0
    assert found["longer"]["reference_prefers_more"]["share"] == 0.5


def test_pairs_without_a_difference_and_ties_are_left_out():
    rows = votes("p", "j", "ab:a", "ba:tie") + votes("q", "j", "ab:a")
    found = bias.leaning(rows, {"p": 0.0, "q": 3.0}, {"p": "a", "q": "tie"})["j"]
    assert (
        found["prefers_more"]["count"] == 1
        and found["gap"] is None
        and found["agreement_more"]["share"] is None
    )


def test_opinions_without_an_order_have_no_position():
    assert bias.position([{"pair_id": "p", "voter": "human:x", "value": "a", "shown": None}]) == {}


def test_features_of_responses():
    say = lambda text: [{"role": "assistant", "content": text}]
    assert bias.longer([("p", say("abc"), say("a"))]) == {"p": 2.0}
    assert bias.difference([("p", say("**a**"), say("a"))], lambda text: text.count("*")) == {
        "p": 4
    }
