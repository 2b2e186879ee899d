"""A reward model's opinion of pairs: rewards of both responses, as rows of the `scores` ledger.

That no model is asked about a pair it was trained on is checked where it is asked (`seats.score`)
and again where its rewards are stored and used (`ledger/cross_fit.py`).
"""

from collections.abc import Sequence

from rewardjax.curation.ledger.rows import PairText, ScoreRow
from rewardjax.curation.workspace import RewardModel
from rewardjax.data.groups import BadRecord


def score_pairs(
    model: RewardModel, pairs: Sequence[PairText], *, seat: str
) -> tuple[list[ScoreRow], dict[str, BadRecord]]:
    """Score pairs; every one is in exactly one of the two results.

    Args:
        model: whom to ask.
        pairs: as `Store.texts` gives them.
        seat: which seat the model has ("gold", "best"); the ledger's column `scorer`.

    Returns:
        Rows of `scores`, and pair_id -> why it cannot be scored.
    """
    rows: list[ScoreRow] = []
    unscorable = {}
    for pair, reward in zip(pairs, model.rewards(pairs), strict=True):
        # It gets no row, which decisions see as "none"; a reward of 0 would be an opinion.
        if isinstance(reward, BadRecord):
            unscorable[pair["pair_id"]] = reward
        else:
            reward_a, reward_b = reward
            rows.append(
                {
                    "pair_id": pair["pair_id"],
                    "scorer": seat,
                    "model": model.name,
                    "contract": model.contract,
                    "reward_a": float(reward_a),
                    "reward_b": float(reward_b),
                }
            )
    return rows, unscorable
