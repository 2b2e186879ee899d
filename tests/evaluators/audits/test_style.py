"""Each habit is seen where it is, and not where it is not."""

import numpy as np
import pytest

from rewardjax.evaluators.audits import style

NAMES = list(style.FEATURES)


def measure(text):
    return dict(zip(NAMES, style.features(text), strict=True))


def test_length_counts_words_and_cjk_characters():
    assert measure("one two three")["length"] == 2
    assert measure("2+3 is 5, 你好吗")["length"] == 3  # 2, 3, is, 5 and three characters
    assert measure("")["length"] == 0 and measure(" \n")["length"] == 0


def test_lists_are_a_share_of_lines():
    text = "Buy:\n\n- apples\n* pears\n3. plums\n(b) nuts\nThat is all - really."
    assert measure(text)["lists"] == pytest.approx(4 / 6)
    assert measure("-5 is less than 3.\n1.5 is more.\nA. B. wrote it")["lists"] == pytest.approx(
        1 / 3
    )


@pytest.mark.parametrize(
    "mark",
    ["# Title\n", "**bold** ", "`code` ", "[a](b) ", "> quote\n", "```\nx\n```\n", "| a | b |\n"],
)
def test_markdown_is_marks_per_hundred_words(mark):
    plain = "word " * 20
    assert measure(mark + plain)["markdown"] > 0 == measure(plain)["markdown"]
    assert measure("**a** b " * 10)["markdown"] == pytest.approx(50)


def test_hedging_is_hedges_per_hundred_words():
    assert measure("It might rain. I think it will, but I'm not sure.")["hedging"] == pytest.approx(
        100 * 3 / 12
    )
    assert measure("It will rain on the mighty mayor.")["hedging"] == 0


@pytest.mark.parametrize(
    "text",
    [
        "Great question! The answer is 4.",
        "What a truly wonderful idea. Yes.",
        "You're absolutely right, it is 5.",
        "You’re right.",
        "Certainly! Here it is",
        "I'd be happy to help.",
        "That's a really good point.",
        "**Excellent choice!** ...",
        "Thank you for asking.",
    ],
)
def test_flattering_openers(text):
    assert measure(text)["opener"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 4. Great question!",
        "Great Britain is an island.",
        "Sure enough, it rained.",
        "You are 12 years old.",
        "",
    ],
)
def test_other_openers(text):
    assert measure(text)["opener"] == 0


def test_longer_is_not_more_of_everything():
    text = "Perhaps **this**.\n- item\n"
    once, thrice = measure(text), measure(text * 3)
    assert thrice["length"] > once["length"]
    np.testing.assert_allclose(
        [thrice[name] for name in NAMES[1:4]], [once[name] for name in NAMES[1:4]]
    )
