"""JudgeBench: macro and micro numbers from published category scores, ties, two games."""

import numpy as np
import pytest

from rewardjax.evaluators.benchmarks import judgebench
from rewardjax.evaluators.records import Item

# Published scores (knowledge, reasoning, math, coding) of the paper's table, with macro and micro.
PUBLISHED = {
    "Qwen3-0.6B": ((62.3, 66.3, 82.1, 59.5), 67.6, 66.3),
    "Llama-3.2-3B": ((64.3, 65.3, 87.5, 59.5), 69.2, 67.7),
    "Llama-3.1-8B": ((76.6, 75.5, 89.3, 78.6), 80.0, 78.6),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_golden_macro_and_micro(name):
    scores, macro, micro = PUBLISHED[name]
    items, rewards = [], []
    for (category, size), score in zip(judgebench.EXPECTED["gpt"].items(), scores, strict=True):
        for i in range(size):
            label = "A>B" if i % 2 else "B>A"
            right = i < round(score / 100 * size)
            items.append(Item(f"{category}/{i}", f"gpt/{category}", {"label": label}))
            rewards.append(
                np.array([1.0, 0.0]) if right == (label == "A>B") else np.array([0.0, 1.0])
            )
    result = judgebench.summarize(items, rewards)
    assert 100 * result.headline == pytest.approx(macro, abs=0.05)
    assert 100 * result.other["gpt"]["micro"] == pytest.approx(micro, abs=0.05)
    assert result.other["gpt"]["two games, micro"] == result.other["gpt"]["micro"]  # no ties
    assert not result.partial and "claude" not in result.other


def test_a_tie_is_right_when_the_label_is_b_and_never_in_two_games():
    assert judgebench.one_game([1, 1, 2, 2], [1, 1, 1, 1], [True, False, True, False]).tolist() == [
        False,
        True,
        True,
        False,
    ]
    items = [Item(str(i), "gpt/Math", {"label": label}) for i, label in enumerate(("A>B", "B>A"))]
    result = judgebench.summarize(items, [np.zeros(2), np.zeros(2)])
    assert result.parts["Math"].value == 0.5 and result.parts["Math"].ties == 2
    assert result.other["gpt"]["two games, micro"] == 0.0


def test_two_games_need_a_positive_sum():
    cases = [  # forward, backward (as seen with the answers exchanged), label -> right
        ("A>B", "B>A", "A>B", True),
        ("A>B", None, "A>B", True),  # one right and one tie
        (None, "B>A", "A>B", True),
        ("A>B", "A>B", "A>B", False),  # one right and one wrong
        (None, None, "A>B", False),
        ("B>A", "A>B", "A>B", False),
        ("B>A", "A>B", "B>A", True),
    ]
    forward, backward, label, right = zip(*cases, strict=True)
    assert judgebench.two_games(forward, backward, label).tolist() == list(right)


def test_the_claude_pairs_alone_make_no_headline():
    items = [Item("0", "claude/Coding", {"label": "A>B"})]
    result = judgebench.summarize(items, [np.array([1.0, 0.0])])
    assert result.headline is None and result.partial and result.other["claude"]["micro"] == 1.0
    assert result.subsets["claude/Coding"].expected == 31 and "missing" in result.notes[0]


def test_unscored_pairs_count_nowhere():
    items = [Item(str(i), "gpt/Math", {"label": "A>B"}) for i in range(2)]
    result = judgebench.summarize(items, [np.array([1.0, 0.0]), np.array([np.nan, 0.0])])
    assert (
        result.parts["Math"].n,
        result.parts["Math"].unscored,
        result.other["gpt"]["pairs"],
    ) == (1, 1, 1)


def test_the_miniature_has_both_files():
    examples = judgebench.load("assets:benchmarks/judgebench")
    assert {item.subset for item in examples.items} == {
        f"{split}/{name}" for split, sizes in judgebench.EXPECTED.items() for name in sizes
    }
    assert {item.label["label"] for item in examples.items} == {"A>B", "B>A"}
