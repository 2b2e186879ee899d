"""A reward model's opinion of pairs: rewards of both responses, or why there are none.

That no model is asked about a pair it was trained on is checked where it is asked (`seats.score`)
and again where its rewards are stored and used (`ledger/cross_fit.py`).
"""

from collections.abc import Sequence

import pyarrow as pa

from rewardjax.curation.ledger.rows import SCHEMAS, PairText
from rewardjax.curation.workspace import RewardModel
from rewardjax.data.groups import BadRecord

# The columns of the ledger `scores`, and why a pair has no rewards; one of the two is null. In one
# table, since that is what a task of an engine leaves of a unit.
OPINIONS = pa.schema(
    [*(field.with_nullable(True) for field in SCHEMAS["scores"]), ("reason", pa.string())]
)


def score_pairs(model: RewardModel, pairs: Sequence[PairText], *, seat: str) -> pa.Table:
    """Score pairs; every one has a row of OPINIONS.

    Args:
        model: whom to ask.
        pairs: as `Store.texts` gives them.
        seat: which seat the model has ("gold", "best"); the ledger's column `scorer`.
    """
    rows = []
    for pair, reward in zip(pairs, model.rewards(pairs), strict=True):
        row = {
            "pair_id": pair["pair_id"],
            "scorer": seat,
            "model": model.name,
            "contract": model.contract,
        }
        if isinstance(reward, BadRecord):
            row["reason"] = reward.reason
        else:
            reward_a, reward_b = reward
            row |= {"reward_a": float(reward_a), "reward_b": float(reward_b)}
        rows.append(row)
    return pa.Table.from_pylist(rows, OPINIONS)


def scored(opinions: pa.Table) -> pa.Table:
    """The rows of the ledger `scores` among OPINIONS."""
    # A pair without rewards gets no row, which decisions see as "none"; a reward of 0 would be an
    # opinion.
    rewarded = opinions.filter(opinions.column("reason").is_null())
    return rewarded.drop_columns("reason").cast(SCHEMAS["scores"])


def unscorable(opinions: pa.Table) -> dict[str, str]:
    """pair_id -> why it has no rewards."""
    lost = opinions.filter(opinions.column("reason").is_valid())
    return dict(zip(*lost.select(["pair_id", "reason"]).to_pydict().values(), strict=True))
