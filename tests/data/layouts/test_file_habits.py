"""What shows only over many records of a file."""

import pytest

from rewardjax.data.formats import decide
from rewardjax.data.layouts import mapping

Q, GOOD, BAD = "Which of these floats?", "A cork floats.", "A coin floats."
PAIR = {"prompt": Q, "chosen": GOOD, "rejected": BAD}


def read(records, columns=None, labels=None):
    return decide("f", "f", records, mapping.read(columns, labels))


@pytest.mark.parametrize(
    "end", ["</s>", "<|im_end|>", "<|eot_id|>\n", "<|endoftext|>", "<eos>", "<end_of_turn>"]
)
def test_a_file_whose_answers_end_with_a_turn_marker_is_refused(end):
    ended = PAIR | {"chosen": GOOD + end, "rejected": BAD + end}
    match = rf"responses of 2 of the first 3 records end with {end.strip()}"
    with pytest.raises(ValueError, match=match.replace("|", r"\|")):
        read([ended, PAIR, ended])
    # On one side alone it would be the label.
    with pytest.raises(ValueError, match="responses of 1 of the first 1 records end with"):
        read([PAIR | {"chosen": GOOD + end}])
    # An answer about prompt formats is one.
    assert read([ended, PAIR, PAIR]).layouts == ("pairs of texts",)


@pytest.mark.parametrize("name", ["label", "winner", "choice", "preference_label"])
@pytest.mark.parametrize("values", [(0, 1), (1, 2), (True, False), ("0", "1"), (0.2, 0.9)])
def test_numbers_beside_chosen_and_rejected_that_differ_are_asked_for(name, values):
    records = [PAIR | {name: value} for value in values]
    if name == "preference_label":  # no name of a verdict: only named
        assert read(records).unused == (name,)
        return
    with pytest.raises(ValueError, match=rf"`{name}` beside chosen and rejected is .*data.labels="):
        read(records)
    assert read(records, {name: ""}).unused == (name,)
    if values == (0, 1):
        assert read(records, labels="{0: first, 1: tie}").unused == ()


def test_the_same_number_in_every_record_says_nothing():
    assert read([PAIR | {"label": 1}] * 3).unused == ("label",)
