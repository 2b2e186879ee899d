"""No reward model votes on a pair that it was trained on: the one check, and the folds.

A model is sure of what it has seen, wrong labels included, so its opinion about its own training
pairs says nothing about them. Either a pool is scored that no model of the pass has seen, or each
pair by a model that was trained without the pair's fold.
"""

import duckdb

from rewardjax import fingerprint


class OwnTrainingPair(ValueError):
    """A reward model was asked about pairs that it was trained on."""


def fold_of(pair_id: str, folds: int) -> int:
    """The fold of a pair, 0 .. folds - 1. Raises ValueError for fewer than 2 folds.

    By hash of its id, so that a pair keeps its fold whatever else joins the pool.
    """
    if folds < 2:
        raise ValueError(f"folds = {folds}: cross-fitting needs at least 2")
    return int(fingerprint.of_bytes(f"fold/{pair_id}".encode()), 16) % folds


def refuse_own_training_pairs(connection: duckdb.DuckDBPyConnection, judged: str) -> None:
    """Raise OwnTrainingPair where a row of `judged` speaks of a pair that its model was trained on.

    Args:
        connection: over the ledgers (`Store.connect`).
        judged: a table, or a subquery in brackets, with the columns pair_id and model.
    """
    own = connection.execute(
        f"""select model, min(pair_id), count(distinct pair_id) from {judged}
        semi join training using (pair_id, model) group by model order by model"""
    ).fetchall()
    if own:
        model, pair_id, count = own[0]
        raise OwnTrainingPair(
            f"reward model {model} was trained on {count} of the pairs that it is to judge, such "
            f"as {pair_id}; score each with a model of a fold that did not hold it (cross-fit)"
        )
