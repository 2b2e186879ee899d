"""Near duplicates: pairs whose prompt and both responses are alike, and nothing else."""

import random

import numpy as np
import pytest
from ledgers import pair

from rewardjax.curation.cleaning import near_duplicates, near_findings
from rewardjax.curation.cleaning.near_duplicates import shingles, similarity

WORDS = [f"{a}{b}" for a in "bcdfghklmnprstvz" for b in ("alo", "enu", "iri", "oka", "ume", "ast")]


def sentence(rng, words):
    return " ".join(rng.choice(WORDS) for _ in range(words))


def changed(text, place=0):
    words = text.split()
    words[place] = "changed"
    return " ".join(words)


RNG = random.Random(0)
PROMPT, A, B, C = (sentence(RNG, words) for words in (400, 200, 80, 80))


@pytest.mark.parametrize(
    "other, alike",
    [
        ((PROMPT, A, B), True),
        ((changed(PROMPT), changed(A), changed(B)), True),
        ((PROMPT, B, A), True),  # which response is `a` depends on how its text begins
        ((PROMPT, changed(B), changed(A)), True),
        ((PROMPT, A, C), False),  # most of the text is the same
        ((PROMPT, C, A), False),
        ((PROMPT, A, A), False),
        ((sentence(RNG, 400), A, B), False),
        ((PROMPT, A, B[: len(B) // 2]), False),
    ],
)
def test_a_pair_is_compared_part_by_part(other, alike):
    parts = ((PROMPT, A, B), other)
    one, two = ([shingles(part) for part in each] for each in parts)
    assert (similarity(one, two) >= 0.8) == alike
    signatures = near_duplicates.stack([near_duplicates.signature(each) for each in parts])
    assert (near_duplicates.groups(signatures, 0.8) == [[0, 1]]) == alike


@pytest.mark.parametrize(
    "one, two",
    [
        ("What is 12 * 7?", "What is 12 + 7?"),
        ("What is 12 * 7?", "What is 12 * 8?"),
        ("!", "?"),
        ("Yes.", "No."),
        ("", "Yes."),
        ("\u4f60\u597d\u5417", "\u4f60\u597d\u5462"),
    ],
)
def test_short_texts_that_differ_in_a_mark_are_different(one, two):
    assert shingles(one).isdisjoint(shingles(two))


def test_signatures_propose_nearly_all_alike_pairs():
    rng = random.Random(1)
    signatures, count = [], 300
    for _ in range(count):
        parts = [sentence(rng, 60) for _ in range(3)]
        signatures += [
            near_duplicates.signature(parts),
            near_duplicates.signature([changed(part, 30) for part in parts]),  # 0.84 each
        ]
    groups = near_duplicates.groups(np.stack(signatures), 0.8)
    assert len(groups) > 0.97 * count
    assert all(right == left + 1 and left % 2 == 0 for left, right in groups)
    assert near_duplicates.groups(near_duplicates.stack([]), 0.8) == []


def test_a_pair_is_held_for_one_that_stays_and_not_for_a_chain():
    text = sentence(random.Random(2), 100)
    steps = [text]
    for place in (10, 30, 50, 70):
        steps.append(changed(steps[-1], place))
    group = [(str(i), [shingles(step)] * 3) for i, step in enumerate(steps)]
    # Each is alike to the next, and 2 is no longer alike to 0.
    assert [row[:2] for row in near_duplicates.held(group, 0.85)] == [("1", "0"), ("3", "2")]


def test_of_two_alike_pairs_the_one_that_was_there_first_stays(tmp_path):
    from rewardjax.curation.ledger.store import Store

    store = Store(tmp_path)
    store.append("pairs", "old", "0", [pair("ff", prompt='[{"role": "user", "content": "q"}]')])
    store.append("pairs", "new", "0", [pair("00", prompt='[{"role": "user", "content": "q"}]')])
    signature = near_duplicates.stack([near_duplicates.signature(["q", "x", "y"])])
    signatures = {("new", "0"): signature, ("old", "0"): signature}
    ids = lambda earlier: [
        row["pair_id"] for row in near_findings.rows(store, signatures, earlier, 0.8, "hold")
    ]
    assert ids([]) == ["ff"]
    assert ids([[["old", "0"]]]) == ["00"]
