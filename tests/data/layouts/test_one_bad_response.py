"""A response that cannot be read costs itself alone, in whichever layout it stands."""

import pytest

from rewardjax.data.formats import decide
from rewardjax.data.groups import BadRecord, check, response_faults
from rewardjax.data.layouts import mapping

Q, GOOD = "Which of these floats?", "A cork floats."
LAYOUTS = {
    "chosen and rejected": ("chosen", "rejected", {}),
    "response_a and response_b": ("response_a", "response_b", {"winner": "a"}),
    "PKU-SafeRLHF": ("response_0", "response_1", {"better_response_id": 0}),
    "stack-exchange": ("response_j", "response_k", {}),
}
# What was among the completions of one step: allenai/open-instruct PR #224; a reranker that lost
# all documents over an empty one: volcengine/OpenViking PR #1345.
UNREADABLE = [
    *("", 5, ["x"], {"model": "m"}),
    "\n\nHuman: What?\n\nAssistant: That.",
    "<|im_start|>assistant\nA coin.",
    [{"role": "assistant", "content": [{"type": "image", "image": "x.png"}]}],
    [{"role": "user", "content": "What?"}],
]


def group_of(record):
    return decide("f", "f", [record], mapping.read()).to_group(record, 0)


@pytest.mark.parametrize("bad", UNREADABLE)
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_other_response_of_a_pair_can_be_scored(layout, place, bad):
    *names, verdict = LAYOUTS[layout]
    record = {"prompt": Q, names[place]: bad, names[1 - place]: GOOD} | verdict
    group = group_of(record)
    assert list(response_faults(group)) == [place]
    assert group.responses[1 - place] == [{"role": "assistant", "content": GOOD}]
    # There is no pair to train on.
    with pytest.raises(BadRecord, match=rf"responses\[{place}\]"):
        check(group)


@pytest.mark.parametrize("place", [0, 1])
def test_a_side_that_is_null_is_named(place):
    names = ("chosen", "rejected")
    record = {"prompt": Q, names[place]: None, names[1 - place]: GOOD}
    with pytest.raises(BadRecord, match=f"{names[place]} = None, neither a text nor"):
        check(group_of(record))


def test_a_pair_of_which_nothing_can_be_read_is_refused_with_the_reason():
    record = {"prompt": Q, "chosen": "<|im_start|>assistant\nyes", "rejected": "<|im_start|>"}
    with pytest.raises(ValueError, match="chosen already holds a chat template"):
        group_of(record)
