"""How often people, judges, reward models and original labels say the same, as of an iteration.

One query counts every combination of opinions; the tables of two sources are sums over these.
"""

from typing import Any

import numpy as np

from rewardjax.curation.ledger import pools
from rewardjax.curation.ledger.decisions import AFTER_ALL, HUMAN_VERDICTS, fill
from rewardjax.curation.ledger.store import Store
from rewardjax.stats import agreement

# Whose labels are compared with whose.
COMPARED = (
    ("people", "original"),
    ("panel", "original"),
    ("panel", "people"),
    ("best RM", "people"),
    # Only where the gold RM is cross-fitted: it was trained on what people said.
    ("gold RM", "people"),
    ("best RM", "original"),
    ("gold RM", "best RM"),
)
VALUES = ("a", "b", "tie")

_COMBINATIONS = f"""
    with spoken(pair_id, source, value) as (
        select pair_id, 'original', original from ($original) where original is not null
        union all
        select pair_id, 'people', case side when 1 then 'a' when -1 then 'b' else 'tie' end
            from ({HUMAN_VERDICTS}) where side is not null
        union all
        select pair_id, 'panel', arg_max(value, iteration) from votes
            where kind = 'panel' and iteration <= $last group by pair_id
        union all
        select pair_id, scorer || ' RM', case sign(arg_max(reward_a - reward_b, iteration))
                when 1 then 'a' when -1 then 'b' else 'tie' end
            from scores where scorer in ('best', 'gold') and iteration <= $last
            group by pair_id, scorer
    ), by_pair as (
        select pair_id,
            any_value(value) filter (source = 'original') as original,
            any_value(value) filter (source = 'people') as people,
            any_value(value) filter (source = 'panel') as panel,
            any_value(value) filter (source = 'best RM') as "best RM",
            any_value(value) filter (source = 'gold RM') as "gold RM"
        from spoken group by pair_id
    )
    select * exclude (pair_id), count(*) as pairs from by_pair group by all"""


def agreements(store: Store, iteration: int) -> list[dict[str, Any]]:
    """A row per two sources of COMPARED that speak about the same pairs.

    Agreement with its interval, and kappa.
    """
    # The query for the original labels is itself a query with names of its own.
    combinations = _COMBINATIONS.replace("$original", pools.sql(iteration))
    values = {"last": iteration, "low": "", "high": AFTER_ALL}
    counted = store.query(fill(combinations, **values)).to_pylist()
    rows = []
    for who, against in COMPARED:
        table = np.zeros((len(VALUES), len(VALUES)), np.int64)
        for row in counted:
            if row[who] is not None and row[against] is not None:
                table[VALUES.index(row[who]), VALUES.index(row[against])] += row["pairs"]
        if not table.any():
            continue
        figures = agreement.compare_counts(table, resamples=200)
        row: dict[str, Any] = {"who": who, "against": against}
        for name in ("items", "agreement", "agreement_low", "agreement_high", "kappa"):
            row[name] = figures[name]
        rows.append(row)
    return rows
