"""Scoring pairs: the scorer's own rewards, in the ledger's words."""

import numpy as np

from rewardjax.curation.reward_models import checkpoints, score_pairs
from rewardjax.curation.workspace import RewardModel
from rewardjax.scoring import model as scorer

PROMPT = [{"role": "user", "content": "What is 2 + 3?"}]


def pair(pair_id, a, b, prompt=PROMPT):
    message = lambda text: [{"role": "assistant", "content": text}]
    return {
        "pair_id": pair_id,
        "prompt": prompt,
        "response_a": message(a),
        "response_b": message(b),
        "tools": None,
    }


def test_rows_are_the_scorers_rewards(exported):
    model = scorer.load(exported)
    rewards = lambda pairs: checkpoints.rewards(model, pairs)
    asked = RewardModel("weights", model.contract.fingerprint, rewards)
    pairs = [pair("p1", "5", "6"), pair("p2", "It is 5.", "I do not know."), pair("p3", "5", " ")]
    opinions = score_pairs.score_pairs(asked, pairs, seat="gold")
    rows = score_pairs.scored(opinions).to_pylist()
    assert [row["pair_id"] for row in rows] == ["p1", "p2"]
    assert score_pairs.unscorable(opinions) == {"p3": "empty"}
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
    assert score_pairs.score_pairs(asked, pairs, seat="gold") == opinions
