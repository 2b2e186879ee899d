"""The decision table on plain arrays, as a simulation calls it."""

import itertools

import numpy as np
import pytest

from rewardjax.curation.ledger import decision_tables
from rewardjax.curation.ledger.decision_tables import (
    NEITHER,
    PRESETS,
    SAYS,
    SEATS,
    SILENT,
    UNDECIDED,
    A,
    B,
    Sides,
)
from rewardjax.curation.ledger.rows import ACTIONS, OPINIONS

# The side that says each opinion about an original label of `a`.
SIDE = {"for": A, "against": B, "even": NEITHER, "undecided": UNDECIDED, "none": SILENT}


def sides(situations):
    columns = [[SIDE[word] for word in column] for column in zip(*situations, strict=True)]
    return Sides(*(np.array(column) for column in columns))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_situation_is_decided_by_the_first_rule_that_fits(preset):
    table = PRESETS[preset]
    situations = list(itertools.product(*(SAYS[seat] for seat in SEATS)))
    decided = decision_tables.decide(table, sides(situations))
    for i, words in enumerate(situations):
        rule = decision_tables.first_match(table, dict(zip(SEATS, words, strict=True)))
        assert tuple(OPINIONS[word] for word in decided.opinions[i]) == words
        assert table[decided.rule[i]] is rule
        assert ACTIONS[decided.action[i]] == rule["then"]
        label = {"keep": "a", "flip": "b"}.get(rule["then"])  # of an original label that says a
        value = decided.value[i]
        assert (None if value < 0 else decision_tables.LABELS[value]) == label


def test_frugal_decides_as_flip_both_and_asks_no_judge_in_vain():
    frugal, flip_both = PRESETS["frugal"], PRESETS["flip_both"]
    says = ("for", "against", "even", "none")
    for words in itertools.product(*(SAYS[seat] for seat in SEATS if seat != "judges")):
        seats = dict(zip([seat for seat in SEATS if seat != "judges"], words, strict=True))
        with_judges = [
            decision_tables.first_match(frugal, seats | {"judges": said})["then"] for said in says
        ]
        of_all = [
            decision_tables.first_match(flip_both, seats | {"judges": said})["then"]
            for said in says
        ]
        answered = with_judges[:-1]
        # Whatever judges answer, both tables end the same.
        assert answered == of_all[:-1]
        if with_judges[-1] == "annotate":
            assert len(set(answered)) > 1
        else:
            # Nobody was asked: no answer would have made a difference.
            assert set(of_all[:-1]) == {with_judges[-1]}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_pair_without_a_label_is_treated_alike_whichever_response_is_better(preset):
    table = PRESETS[preset]
    swapped = {"for": "against", "against": "for"}
    kept = {"keep": "flip", "flip": "keep"}
    for words in itertools.product(*(SAYS[seat] for seat in SEATS)):
        opinions = dict(zip(SEATS, words, strict=True))
        if opinions["original"] == "for":
            continue
        mirrored = {seat: swapped.get(word, word) for seat, word in opinions.items()}
        action = decision_tables.first_match(table, opinions)["then"]
        assert decision_tables.first_match(table, mirrored)["then"] == kept.get(action, action)
        # Stage 2 has no label to confirm; in Stage 1 people and judges give one.
        if preset != "stage1" and opinions["humans"] == "none":
            assert action == "discard"


def test_opinions_are_about_the_original_label():
    silent = np.full(2, SILENT)
    about = Sides(np.array([A, B]), np.array([1.0, 1.0]), silent, silent, silent)
    decided = decision_tables.decide(PRESETS["gold_rm"], about)
    assert [ACTIONS[action] for action in decided.action] == ["keep", "flip"]
    # The model prefers a in both: the second pair came with the label b.
    assert [decision_tables.LABELS[value] for value in decided.value] == ["a", "a"]


def test_a_margin_within_the_band_is_even_and_a_temperature_widens_it():
    margin = np.array([-1.0, -0.1, 0.0, 0.1, 1.0])
    side = lambda **how: decision_tables.reward_model_side(margin, **how).tolist()
    assert side(temperature=1.0, band=0.0) == [-1, -1, 0, 1, 1]
    assert side(temperature=1.0, band=0.05) == [-1, 0, 0, 0, 1]
    assert side(temperature=10.0, band=0.05) == [0, 0, 0, 0, 0]
    assert decision_tables.reward_model_side(np.array([1e6, SILENT]), 1.0, 0.1)[0] == 1
