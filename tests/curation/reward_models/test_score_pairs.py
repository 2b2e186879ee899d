"""Scoring a pool: the scorer's own rewards, in the ledger's words; and no model judges what it was trained on."""

import numpy as np
import pytest

from rewardjax.curation.reward_models import score_pairs
from rewardjax.scoring import model as scorer

PROMPT = [{"role": "user", "content": "What is 2 + 3?"}]


def pair(pair_id, a, b, prompt=PROMPT):
    message = lambda text: [{"role": "assistant", "content": text}]
    return {
        "pair_id": pair_id,
        "prompt": prompt,
        "response_a": message(a),
        "response_b": message(b),
    }


def test_rows_are_the_scorers_rewards(exported):
    model = scorer.load(exported)
    pairs = [pair("p1", "5", "6"), pair("p2", "It is 5.", "I do not know."), pair("p3", "5", " ")]
    rows, bad = score_pairs.score_pairs(
        model, pairs, chair="gold", name="weights", trained_on={"somewhere else"}
    )
    assert [row["pair_id"] for row in rows] == ["p1", "p2"] and [one["pair_id"] for one in bad] == [
        "p3"
    ]
    assert bad[0]["reason"] == "empty"
    assert rows[0].keys() == {"pair_id", "scorer", "model", "contract", "reward_a", "reward_b"}
    assert (rows[0]["scorer"], rows[0]["model"], rows[0]["contract"]) == (
        "gold",
        "weights",
        model.contract.fingerprint,
    )
    for row, texts in zip(rows, (["5", "6"], ["It is 5.", "I do not know."]), strict=True):
        np.testing.assert_allclose(
            [row["reward_a"], row["reward_b"]],
            scorer.rewards(model, PROMPT, texts),
            rtol=1e-4,
            atol=1e-4,
        )
    assert score_pairs.score_pairs(model, pairs, chair="gold", name="weights") == (rows, bad)


def test_own_training_pairs_are_refused_before_anything_is_computed():
    with pytest.raises(
        score_pairs.OwnTrainingPair, match="rm-7 was trained on 2 of these pairs.*p1, p3"
    ):
        score_pairs.score_pairs(
            None,
            [pair(f"p{i}", "5", "6") for i in range(5)],
            chair="gold",
            name="rm-7",
            trained_on={"p1", "p3", "x"},
        )


def test_folds_partition_the_pool_and_do_not_move():
    ids = [f"{i:016x}" for i in range(3000)]
    folds = [score_pairs.fold_of(pair_id, 3) for pair_id in ids]
    counts = np.bincount(folds, minlength=3)
    assert len(counts) == 3 and counts.min() > 900
    for fold in range(3):  # trained on the others, a model may score its fold, and nothing else
        own = [pair_id for pair_id, f in zip(ids, folds, strict=True) if f == fold]
        others = set(ids) - set(own)
        score_pairs.refuse_own_pairs(own, others, "rm")
        with pytest.raises(score_pairs.OwnTrainingPair):
            score_pairs.refuse_own_pairs(ids, others, "rm")
    with pytest.raises(ValueError, match="at least 2"):
        score_pairs.fold_of("x", 1)
