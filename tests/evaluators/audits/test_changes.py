"""Changes keep what a text says, its numbers and its code."""

import re

import pytest

from rewardjax.evaluators.audits import changes

TEXTS = [
    "It's 7. However, you can't use `don't` here, e.g. in\n```\nhowever, don't\n```\n"
    "Thus, we need to stop.",
    "Shopping:\n- apples\n- pears\n- plums\n\nDone.",
    "4",
    "Let's add: 3 + 4 = 7.  **7**",
]


def words(text):
    return re.findall(r"\w+", text)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", changes.CHANGES)
def test_changes_are_changes_and_keep_numbers_and_code(name, text):
    new = changes.CHANGES[name](text)
    assert new == changes.CHANGES[name](text)  # nothing is random
    if new is None:
        assert name in ("paraphrase", "list order")
        return
    assert new != text
    assert re.findall(r"\d+", new) == re.findall(r"\d+", text)
    assert [code for code in changes.CODE.findall(text)] == [
        code for code in changes.CODE.findall(new)
    ]
    if name not in ("paraphrase", "list order"):
        assert text.strip() in new


def test_paraphrase_swaps_phrases_and_keeps_capitals():
    text = (
        "However, it isn't so. I can’t say... For example, Can't and WON'T; first, in order to win. "
        "scan't"
    )
    assert changes.paraphrase(text) == (
        "Nevertheless, it is not so. I can’t say... For instance, Cannot and Will not; "
        "to begin with, so as to win. scan't"
    )
    assert changes.paraphrase("7 + 5 = 12.") is None
    assert changes.paraphrase(TEXTS[0]) == (
        "It's 7. Nevertheless, you cannot use `don't` here, for example in\n"
        "```\nhowever, don't\n```\nHence, we have to stop."
    )


def test_every_phrase_is_another_one_and_found():
    for old, new in changes.PHRASES.items():
        assert (
            old == old.lower() != new.lower() and changes.paraphrase(f"x {old} y") == f"x {new} y"
        )


def test_list_order_reverses_flat_bullets_only():
    assert changes.list_order(TEXTS[1]) == "Shopping:\n- plums\n- pears\n- apples\n\nDone."
    assert changes.list_order("* a\n* b") == "* b\n* a"
    assert changes.list_order("1. a\n2. b") is None  # numbers are an order
    assert changes.list_order("- then a\n- b\n") is None
    assert changes.list_order("- a\n  - of a\n- b\n") is None  # nested: no two flat lines in a row
    assert changes.list_order("```\n- a\n- b\n```") is None
    assert sorted(words(changes.list_order("- a b\n- c\n- d\n\nx\n- e\n- f"))) == list("abcdefx")
