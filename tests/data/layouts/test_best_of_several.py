"""Which of several responses is the best is read where it is certain, and else asked for."""

import pytest

from rewardjax.data.formats import decide
from rewardjax.data.groups import Pair, check
from rewardjax.data.layouts import mapping

Q, GOOD, BAD, ODD = "Which of these floats?", "A cork floats.", "A coin floats.", "Nothing does."
THREE = {"prompt": Q, "responses": [BAD, GOOD, ODD]}
BEST = [Pair(1, 0), Pair(1, 2)]


def group_of(record, columns=None, labels=None):
    reading = decide("f", "f", [record], mapping.read(columns, labels))
    return check(reading.to_group(record, 0))[0]


@pytest.mark.parametrize("name", ["best_index", "chosen_index", "chosen_idx", "preferred_index"])
def test_an_index_counts_from_zero(name):
    assert group_of(THREE | {name: 1}).pairs == BEST
    for outside in (3, -1, 0.5):
        with pytest.raises(ValueError, match=rf"{name} = {outside}: .*{{best_number: {name}}}"):
            group_of(THREE | {name: outside})


@pytest.mark.parametrize("name", ["best", "label", "winner", "chosen", "choice", "gold", "worst"])
@pytest.mark.parametrize("value", [1, 0, "2", True])
def test_a_place_that_may_count_from_zero_or_one_is_asked_for(name, value):
    with pytest.raises(ValueError, match=rf"`{name}` = .*{{best_index: {name}}} if places count"):
        group_of(THREE | {name: value})
    assert group_of(THREE | {name: value}, {name: ""}).pairs == []


def test_the_place_is_read_once_it_is_named():
    assert group_of(THREE | {"best": 1}, "{best_index: best}").pairs == BEST
    assert group_of(THREE | {"best": 2}, "{best_number: best}").pairs == BEST
    with pytest.raises(ValueError, match="best_number = 0: places count from 1"):
        group_of(THREE | {"best": 0}, "{best_number: best}")


@pytest.mark.parametrize("name", ["best", "best_response", "chosen", "winner"])
def test_the_best_response_may_be_named_by_its_text_or_model(name):
    assert group_of(THREE | {name: GOOD}).pairs == BEST
    by_model = [{"model": "a-7b", "text": BAD}, {"model": "b-7b", "text": GOOD}]
    assert group_of({"prompt": Q, "responses": by_model, name: "b-7b"}).pairs == [Pair(1, 0)]
    with pytest.raises(ValueError, match=rf"{name} = 'c-7b' is 0 of the 2 responses"):
        group_of({"prompt": Q, "responses": by_model, name: "c-7b"})


def test_a_verdict_in_words_on_two_responses_of_a_list():
    two = {"prompt": Q, "responses": [BAD, GOOD]}
    assert group_of(two | {"winner": "B"}).pairs == [Pair(1, 0)]
    assert group_of(two | {"winner": "tie"}).pairs == [Pair(0, 1, target=0.5, tie=True)]
    labels = "{0: first, 1: second}"
    for name in ("winner", "label"):
        assert group_of(two | {name: 1}, labels=labels).pairs == [Pair(1, 0)]


@pytest.mark.parametrize("mark", ["is_chosen", "is_selected", "is_best", "preferred", "accepted"])
@pytest.mark.parametrize("yes, no", [(True, False), (1, 0), (True, None)])
def test_responses_may_be_marked_as_better(mark, yes, no):
    items = [{"text": BAD, mark: no}, {"text": GOOD, mark: yes}, {"text": ODD, mark: no}]
    assert group_of({"prompt": Q, "responses": items}).pairs == BEST


@pytest.mark.parametrize("name", ["votes", "grade", "label", "preference", "correctness"])
def test_a_number_of_each_response_that_may_be_its_label_is_asked_for(name):
    items = [{"text": BAD, name: 1}, {"text": GOOD, name: 3}]
    record = {"prompt": Q, "responses": items}
    with pytest.raises(ValueError, match=rf"`responses.{name}` may label .*{{scores: responses."):
        group_of(record)
    assert group_of(record, f"{{scores: responses.{name}}}").pairs == [Pair(1, 0, margin=2.0)]


@pytest.mark.parametrize("name", ["ranking", "rank", "votes", "human_scores", "label", "rating"])
def test_a_list_that_may_label_the_responses_is_asked_for(name):
    with pytest.raises(ValueError, match=rf"`{name}` = .* may label the responses.*ranks: {name}"):
        group_of(THREE | {name: [1, 2, 3]})
    assert group_of(THREE | {name: [3, 1, 2]}, f"{{ranks: {name}}}").pairs[0] == Pair(1, 0)


def test_what_points_at_no_response_is_only_named():
    for more in ({"answer": 1}, {"lengths": [1, 2, 3]}, {"label": "math"}, {"window": 1}):
        reading = decide("f", "f", [THREE | more], mapping.read())
        assert reading.unused == tuple(more)


def test_rewards_of_another_model_are_scores():
    assert group_of(THREE | {"rewards": [0.5, 2.5, 0.5]}).pairs[-2:] == [
        Pair(1, 0, margin=2.0),
        Pair(1, 2, margin=2.0),
    ]


def test_two_responses_without_a_verdict_can_be_scored():
    group = group_of({"prompt": Q, "response_a": GOOD, "response_b": BAD})
    assert [response[0]["content"] for response in group.responses] == [GOOD, BAD]
    assert group.pairs == []
    # What may be the verdict is asked for.
    with pytest.raises(ValueError, match=r"data.columns=\{label: verdict_of_ann\}"):
        group_of({"prompt": Q, "response_a": GOOD, "response_b": BAD, "verdict_of_ann": "a"})
