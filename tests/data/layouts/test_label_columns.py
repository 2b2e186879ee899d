"""What says which response is better is never guessed, and never read the other way round."""

import pytest

from rewardjax.data.formats import decide
from rewardjax.data.groups import BadRecord, Pair, check
from rewardjax.data.layouts import mapping

Q, GOOD, BAD = "Which of these floats?", "A cork floats.", "A coin floats."
ZERO_ONE = {"prompt": Q, "response_0": GOOD, "response_1": BAD}
ONE_TWO = {"prompt": Q, "response_1": GOOD, "response_2": BAD}
A_B = {"prompt": Q, "response_a": GOOD, "response_b": BAD}
CHOSEN = {"prompt": Q, "chosen": GOOD, "rejected": BAD}
FIRST, SECOND = Pair(0, 1), Pair(1, 0)


def group_of(record, columns=None, labels=None):
    reading = decide("f", "f", [record], mapping.read(columns, labels))
    return check(reading.to_group(record, 0))[0]


@pytest.mark.parametrize(
    "responses, winner, pair",
    [
        (ZERO_ONE, "response_0", FIRST),
        (ZERO_ONE, "response_1", SECOND),
        (ZERO_ONE, "Model 1", SECOND),
        (ONE_TWO, "response_1", FIRST),
        (ONE_TWO, "output_2", SECOND),
        ({"prompt": Q, "answer_0": GOOD, "answer_1": BAD}, "answer_1", SECOND),
        (A_B | {"model_a": "m", "model_b": "n"}, "n", SECOND),
        (A_B | {"model_a": "m", "model_b": "n"}, "m", FIRST),
    ],
)
def test_a_verdict_is_read_by_the_names_of_the_columns(responses, winner, pair):
    assert group_of(responses | {"winner": winner}).pairs == [pair]


@pytest.mark.parametrize(
    "record",
    [
        ONE_TWO | {"winner": "response_0"},
        A_B | {"winner": "response_1"},  # the first, or the second after response_0
        A_B | {"winner": "m", "model_a": "m", "model_b": "m"},
        A_B | {"winner": 0.7},
        A_B | {"winner": -1},
        A_B | {"winner": True},
        A_B | {"winner": "left"},
    ],
)
def test_a_verdict_that_names_no_column_is_asked_for(record):
    with pytest.raises(ValueError, match="which response is that"):
        group_of(record)


# A strength is signed in HelpSteer2 (NVIDIA/NeMo-Aligner PR #361 asks about its side), and
# elsewhere the size of a preference that another column names.
def test_a_strength_that_contradicts_a_verdict_is_refused():
    record = ONE_TWO | {"preference_strength": 2}
    assert group_of(record).pairs == [Pair(1, 0, margin=2.0)]
    assert group_of(record | {"winner": "response_2"}).pairs == [Pair(1, 0, margin=2.0)]
    with pytest.raises(ValueError, match="preference = 'response_1' contradicts preference_stre"):
        group_of(record | {"preference": "response_1"})
    with pytest.raises(ValueError, match="label = 1: which response is that"):
        group_of(record | {"label": 1})
    named = group_of(record | {"preference": "response_1"}, "{preference_strength: ''}")
    assert named.pairs == [FIRST]


def test_two_verdicts_that_contradict_each_other_are_refused():
    assert group_of(A_B | {"label": "a", "winner": "model_a"}).pairs == [FIRST]
    with pytest.raises(ValueError, match="winner = 'a' contradicts label = 'b'"):
        group_of(A_B | {"label": "b", "winner": "a"})


def test_a_preference_of_zero_beside_chosen_is_asked_for():
    assert group_of(CHOSEN | {"preference": 0.25}).pairs == [Pair(0, 1, target=0.25)]
    for zero in (0, 0.0, "0"):
        with pytest.raises(ValueError, match=r"data.columns=\{target: preference\}"):
            group_of(CHOSEN | {"preference": zero})
    named = group_of(CHOSEN | {"preference": 0}, "{target: preference}")
    assert named.pairs == [Pair(0, 1, target=0.0)]
    assert group_of(CHOSEN | {"preference": 0}, "{preference: ''}").pairs == [FIRST]


# The order of a ranking was once the wrong way around: SensAI-PT/LLaMa2lang PR #52.
def test_ranks_that_scores_contradict_are_refused():
    record = {"prompt": Q, "responses": [GOOD, BAD, "x"], "scores": [9, 5, 1]}
    assert group_of(record | {"ranks": [0, 1, 2]}).pairs[0] == Pair(0, 1, margin=4.0)
    # Two annotators need not agree on every pair.
    assert group_of(record | {"ranks": [0, 2, 1]}).pairs[-1] == Pair(2, 1, margin=-4.0)
    with pytest.raises(ValueError, match="ranks = .* contradict scores = "):
        group_of(record | {"ranks": [3, 2, 1]})


@pytest.mark.parametrize("labels", [{"0": 1, "1": 4}, "14", 4])
@pytest.mark.parametrize("name", ["scores", "ranks", "correct"])
def test_labels_of_a_list_are_a_list(name, labels):
    with pytest.raises(ValueError, match=f"{name} = .* not a list"):
        group_of({"prompt": Q, "responses": [GOOD, BAD], name: labels})


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_response_without_a_label_is_in_no_pair_and_costs_no_other(missing):
    pair = [Pair(0, 2, margin=2.0)]
    record = {"prompt": Q, "responses": [GOOD, BAD, "x"], "scores": [3, missing, 1]}
    assert group_of(record).pairs == pair
    items = [{"text": GOOD, "score": 3}, {"text": BAD, "score": missing}, {"text": "x", "score": 1}]
    assert group_of({"prompt": Q, "responses": items}).pairs == pair
    items = [items[1], items[0], items[2]]
    assert group_of({"prompt": Q, "responses": items}).pairs == [Pair(1, 2, margin=2.0)]
    right = {"prompt": Q, "responses": [GOOD, BAD, "x"], "correct": [True, missing, False]}
    assert group_of(right).pairs == [Pair(0, 2)] and group_of(right).correct is None


def test_a_response_beyond_the_scores_is_refused():
    with pytest.raises(ValueError, match="response_3 has no score among 2 scores"):
        group_of(ONE_TWO | {"response_3": "x", "scores": [1, 2]})


@pytest.mark.parametrize("margin", [1e39, -1e39, 10**400, float("nan"), "inf"])
def test_a_margin_that_is_infinite_as_a_float32_is_refused(margin):
    with pytest.raises(ValueError, match="margin = .* not a finite number"):
        group_of(CHOSEN | {"margin": margin})


@pytest.mark.parametrize(
    "columns, record",
    [
        ("{prompt: 0}", {"0": Q}),
        ("{prompt: no}", {"no": Q}),
        ({"prompt": 0}, {"0": Q}),
    ],
)
def test_a_column_may_have_any_name(columns, record):
    record = record | {"chosen": GOOD, "rejected": BAD}
    assert group_of(record, columns).prompt[0]["content"] == Q


@pytest.mark.parametrize(
    "labels, winner, pair",
    [
        ("{yes: first, no: second}", "no", SECOND),
        ("{true: first, false: second}", False, SECOND),
        ("{1: first, 2: second}", "2.0", SECOND),
        ("{1.0: first, 2.0: second}", 2, SECOND),
        ("{-1: first, 1: second}", -1, FIRST),
        ("{null: tie, x: first}", None, Pair(0, 1, target=0.5, tie=True)),
    ],
)
def test_a_label_may_have_any_spelling(labels, winner, pair):
    assert group_of(A_B | {"winner": winner}, labels=labels).pairs == [pair]


def test_a_misspelt_field_of_the_mapping_is_named():
    sides = {
        side: [{"role": "user", "content": Q}, {"role": "assistant", "content": text}]
        for side, text in (("chosen", GOOD), ("rejected", BAD))
    }
    with pytest.raises(ValueError, match="no field called promt is read"):
        group_of(sides | {"question": "Something else"}, "{promt: question}")
    assert group_of(CHOSEN | {"uid": 7}, "{id: uid}").id == "7"


def test_a_field_of_an_unforeseen_type_costs_its_record_alone():
    record = {"instruction": Q, "completions": [{"response": GOOD, "overall_score": 1}]}
    for odd in ({"completions": 5}, {"completions": ["x"]}, {"completions": [None]}):
        with pytest.raises(BadRecord, match="another type than in UltraFeedback"):
            decide("f", "f", [record], mapping.read()).to_group(record | odd, 0)


def test_a_truth_value_is_no_rank_and_no_margin():
    with pytest.raises(ValueError, match="ranks = True, not a finite number"):
        group_of({"prompt": Q, "responses": [GOOD, BAD], "ranks": [True, False]})
    with pytest.raises(ValueError, match="margin = True"):
        group_of(CHOSEN | {"margin": True})
    # Scores that are all true or false say which responses are right.
    assert group_of({"prompt": Q, "responses": [GOOD, BAD], "scores": [False, True]}).pairs == [
        SECOND
    ]


def test_a_verdict_that_is_null_is_named_as_such():
    with pytest.raises(ValueError, match=r"winner is null; .* data.labels=\{null: tie\}"):
        group_of(A_B | {"winner": None})


def test_a_label_beside_chosen_and_rejected_does_not_say_the_opposite():
    labels = "{0: first, 1: second}"
    assert group_of(CHOSEN | {"label": 0}, labels=labels).pairs == [FIRST]
    with pytest.raises(ValueError, match="label = 'second' contradicts the names of chosen"):
        group_of(CHOSEN | {"label": 1}, labels=labels)
    with pytest.raises(ValueError, match="winner = 'rejected' contradicts"):
        group_of(CHOSEN | {"winner": "rejected"})
    # A letter is the place that the better one had before.
    assert group_of(CHOSEN | {"winner": "B"}).pairs == [FIRST]
    reading = decide("f", "f", [CHOSEN | {"label": 1}], mapping.read())
    assert reading.unused == ("label",)
