"""RewardBench 2: golden numbers of Ties, fractional credit, and what missing questions do."""

import numpy as np
import pytest

from rewardjax.data.groups import BadRecord
from rewardjax.evaluators.benchmarks import rewardbench2
from rewardjax.evaluators.benchmarks.rewardbench2 import Question, best_credit, ties_score
from rewardjax.evaluators.records import Item

GOLDEN = [
    Question("ref", "0", 1, [5, 1, 0]),
    Question("tied", "0", 3, [5, 4.5, 4, 1, 0]),
    Question("ref", "1", 1, [2, 2.5, 0]),
    Question("tied", "1", 2, [3, 1, 0.5, -1]),
]


def test_golden_numbers_of_ties():
    terms = ties_score(GOLDEN)
    expected = {
        "tied": 1.0,
        "ref": 0.5,
        "pref": 0.5,
        "hard": 0.5,
        "margin": 0.0578719701,
        "score": 0.6505787198,
    }
    assert terms == pytest.approx(expected, abs=1e-10)


def test_zero_spread_is_a_limit_or_is_skipped():
    questions = [Question("ref", "0", 1, [5, 1]), Question("tied", "0", 2, [5, 5, 1])]
    assert ties_score(questions)["score"] == pytest.approx(1.01)
    assert ties_score(questions, zero_spread="skip")["score"] == pytest.approx(1.0)
    nothing = [Question("ref", "0", 1, [1, 1]), Question("tied", "0", 2, [1, 1, 1])]  # 0 / 0
    assert ties_score(nothing)["margin"] == 0.0
    with pytest.raises(ValueError, match="zero_spread = 'x'"):
        ties_score(questions, zero_spread="x")


def test_all_wrong_is_below_zero():
    questions = [Question("ref", "0", 1, [0, 1]), Question("tied", "0", 2, [0, -1, 1])]
    assert ties_score(questions)["score"] == pytest.approx(-0.0099505475, abs=1e-10)


def test_a_tied_question_with_one_right_answer_has_no_spread():
    lone = [Question("ref", "7", 1, [0, 1]), Question("tied", "7", 1, [0, 1])]
    terms, before = ties_score(GOLDEN + lone), ties_score(GOLDEN)
    assert {name: terms[name] for name in ("pref", "hard", "margin")} == {
        name: before[name] for name in ("pref", "hard", "margin")
    }
    assert terms["tied"] == pytest.approx(2 / 3) and terms["ref"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "rewards, credit, tied",
    [
        ([2, 1, 0, 0], 1.0, False),
        ([2, 2, 0, 2], 1 / 3, True),
        ([1, 1, 2, 2], 0.0, True),
        ([1, 1, 1, 1], 0.25, True),
        ([3], 1.0, False),
    ],
)
def test_credit_is_shared_at_the_maximum(rewards, credit, tied):
    assert best_credit(rewards) == (pytest.approx(credit), tied)


def test_credit_without_a_reward_is_nan():
    assert np.isnan(best_credit([1.0, np.nan, 0.0, 0.0])[0])


def ties_items(questions):
    items = [
        Item(
            f"{q.kind}:{q.number}",
            "Ties",
            {"correct": q.correct, "kind": q.kind, "number": q.number},
        )
        for q in questions
    ]
    return items, [np.array(q.rewards, np.float64) for q in questions]


def test_summary_has_the_six_subsets_and_names_what_is_missing():
    items, rewards = ties_items(GOLDEN)
    items.append(Item("f1", "Factuality", {"correct": 1}))
    result = rewardbench2.summarize(items, [*rewards, np.array([1.0, 1.0, 0.0, 0.0])])
    assert result.missing == ["Precise IF", "Math", "Safety", "Focus"] and result.partial
    assert result.headline == pytest.approx((0.6505787198 + 0.5) / 2, abs=1e-9)
    assert result.parts["Factuality"].ties == 1 and result.parts["Ties"].n == 4
    assert result.other["ties"]["hard"] == 0.5 and result.other["ties"]["best-of-N credit"] == 0.75


def test_ties_with_half_of_a_number_says_so():
    result = rewardbench2.summarize(*ties_items(GOLDEN[:1]))
    assert result.parts["Ties"].value is None and result.headline is None
    assert any("Ties has no score" in note for note in result.notes) and any(
        "only one of ref and tied" in note for note in result.notes
    )


def test_the_miniature_is_read_whole():
    examples = rewardbench2.load("assets:benchmarks/rewardbench2")
    assert {item.subset for item in examples.items} == set(
        rewardbench2.EXPECTED
    ) and not examples.left_out
    for item, group in zip(examples.items, examples.groups, strict=True):
        assert item.subset == "Ties" or (item.label["correct"] == 1 and len(group.responses) == 4)
    kinds = {
        (item.label["kind"], item.label["number"])
        for item in examples.items
        if item.subset == "Ties"
    }
    assert {kind for kind, _ in kinds} == {"ref", "tied"}


@pytest.mark.parametrize(
    "change, says",
    [
        ({"id": "5"}, "ref:N or tied:N"),
        ({"num_correct": 3}, "num_correct = 3"),
        ({"chosen": "a"}, "chosen"),
        ({"prompt": None}, "prompt"),
    ],
)
def test_a_bad_record_names_its_field(change, says):
    record = {
        "id": "ref:5",
        "prompt": "p",
        "chosen": ["a"],
        "rejected": ["b", "c"],
        "num_correct": 1,
        "subset": "Ties",
    }
    with pytest.raises(BadRecord, match=says):
        rewardbench2._read(record | change)


def test_hard_asks_both_questions_of_a_number_and_pref_the_tied_one():
    close = [Question("ref", "0", 1, [1.5, 1.0]), Question("tied", "0", 2, [5.0, 4.0, 1.0])]
    terms = ties_score(close)
    assert (terms["pref"], terms["hard"]) == (1.0, 0.0), "gaps of 3 and 0.5, a spread of 1"
