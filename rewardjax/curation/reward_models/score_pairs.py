"""A reward model's opinion of a pool: rewards of both responses of every pair, as rows of the `scores` ledger.

A reward model may not judge a pair that it was trained on (cross-fit). Two ways out: pairs that no model of the pass has seen, or one model
a fold, each trained without the pairs of its fold (`fold_of`) and scoring only those.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from rewardjax import fingerprint
from rewardjax.data.groups import BadRow, Group
from rewardjax.scoring import model as scorer
from rewardjax.scoring.prepare import prepare_whole


class OwnTrainingPair(ValueError):
    """A reward model was asked about pairs that it was trained on."""


def fold_of(pair_id: str, folds: int) -> int:
    """The fold of a pair, 0 .. folds - 1: by hash of its id, so that a pair keeps its fold whatever else joins the pool."""
    if folds < 2:
        raise ValueError(f"folds = {folds}: cross-fitting needs at least 2")
    return int(fingerprint.of_bytes(f"fold/{pair_id}".encode()), 16) % folds


def refuse_own_pairs(pair_ids: Iterable[str], trained_on: Collection[str], model: str) -> None:
    """Raises OwnTrainingPair, with the first few ids, where `model` was trained on any of `pair_ids`."""
    own = sorted(set(pair_ids) & set(trained_on))
    if own:
        raise OwnTrainingPair(
            f"reward model {model} was trained on {len(own)} of these pairs ({', '.join(own[:3])}{', ...' if len(own) > 3 else ''}); "
            f"score them with a model of another fold"
        )


def score_pairs(
    model: scorer.Scorer,
    pairs: Sequence[Mapping[str, Any]],
    *,
    chair: str,
    name: str,
    trained_on: Collection[str] = (),
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(rows of `scores`, pairs that cannot be scored) for `pairs` as `Store.texts` gives them; every pair is in exactly one of the two.

    chair: what the model sits as ("gold", "best", ...), the ledger's `scorer`. name: fingerprint of its weights. trained_on: pair ids that
    it has seen. A pair that cannot be scored is {"pair_id", "reason", "detail"}, reason a key of groups.REASONS. The same pairs in the same
    order give the same bits. Raises OwnTrainingPair before anything is computed.
    """
    refuse_own_pairs((pair["pair_id"] for pair in pairs), trained_on, name)
    ready, bad = [], []
    for pair in pairs:
        try:
            group = Group(
                pair["pair_id"], pair["prompt"], [pair["response_a"], pair["response_b"]], []
            )
            tokens = prepare_whole(
                group, model.tokenizer, model.contract.max_length, model.contract.over_long
            )
            ready.append((group.id, tokens))
        except BadRow as error:
            bad.append({"pair_id": pair["pair_id"], "reason": error.reason, "detail": error.detail})
    rewards = scorer.token_groups(model, [tokens for _, tokens in ready]) if ready else []
    about = {"scorer": chair, "model": name, "contract": model.contract.fingerprint}
    rows = [
        {"pair_id": pair_id, **about, "reward_a": float(reward[0]), "reward_b": float(reward[1])}
        for (pair_id, _), reward in zip(ready, rewards, strict=True)
    ]
    return rows, bad
