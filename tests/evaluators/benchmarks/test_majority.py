"""Answers are read as people read them; the vote equals enumeration of all draws."""

import itertools

import numpy as np
import pytest

from rewardjax.evaluators.benchmarks import majority
from rewardjax.stats import best_of_n


@pytest.mark.parametrize(
    "text, answer",
    [
        ("3 + 4 = 7.\n\nThe answer is 7.", "7"),
        ("The answer is $3,120,000 (not 5)", "3120000"),
        ("so 12.50 dollars #### 12.5", "12.5"),
        ("first I thought the answer is 4, but the answer is \\boxed{-5}. 9", "-5"),
        ("It takes 3 days and 4 hours", "4"),
        ("The answer is seven", None),
        ("With 8 apples the answer is clear", "8"),
        ("", None),
    ],
)
def test_final_answer(text, answer):
    assert majority.final_answer(text) == answer


def by_enumeration(answers, correct, K):
    values = []
    for draw in itertools.combinations(range(len(answers)), K):
        votes = [answers[i] for i in draw if answers[i] is not None]
        if not votes:
            values.append(np.mean(correct))
            continue
        most = max(map(votes.count, votes))
        winners = {vote for vote in votes if votes.count(vote) == most}
        values.append(
            np.mean(
                [
                    np.mean([c for a, c in zip(answers, correct, strict=True) if a == w])
                    for w in winners
                ]
            )
        )
    return np.mean(values)


def test_the_vote_equals_enumeration_up_to_sampling():
    answers = [["7", "7", "8", "9", None, "8"], ["1", "1", "1", "2", "3", "4"]]
    correct = [[0, 0, 1, 0, 0, 1], [1, 1, 1, 0, 0, 0]]
    ks = [1, 2, 3, 6]
    found = majority.curve(answers, correct, ks, draws=20000)
    expected = np.mean(
        [[by_enumeration(a, c, K) for K in ks] for a, c in zip(answers, correct, strict=True)],
        axis=0,
    )
    np.testing.assert_allclose(found["score"], expected, atol=0.01)
    np.testing.assert_allclose(found["score"][-1], (0.5 + 1) / 2)
    assert found["prompts"] == 2 and found["ks"] == ks


def test_one_response_is_a_random_pick_and_all_votes_are_like_vote_shares_as_rewards():
    rng = np.random.default_rng(0)
    answers = [[str(x) for x in rng.integers(0, 3, 9)] for _ in range(20)]
    correct = [[int(a == "0") for a in row] for row in answers]
    found = majority.curve(answers, correct, [1, 9])
    shares = [[row.count(a) for a in row] for row in answers]
    # Classes that share the first place share the vote by class here and by response there: the
    # same, as they are equally large.
    np.testing.assert_allclose(found["score"][1], best_of_n.curve(shares, correct, [9])["score"][0])
    np.testing.assert_allclose(
        found["score"][0], best_of_n.curve(shares, correct, [1])["random"][0], atol=0.03
    )
    with pytest.raises(ValueError, match="9 responses there are, got \\[10\\]"):
        majority.curve(answers, correct, [10])


def test_where_nobody_votes_a_random_response_is_taken():
    answers, correct = [[None, None, "1"]], [[0, 0, 1]]
    curve = majority.curve(answers, correct, [1, 3], draws=20000)
    np.testing.assert_allclose(curve["score"][0], 2 / 3 * 1 / 3 + 1 / 3, atol=0.01)
    assert curve["score"][1] == 1.0, "the only vote decides"
