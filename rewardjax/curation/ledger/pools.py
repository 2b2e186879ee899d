"""Where a pair stands: in exactly one pool, derived from the ledger each time it is asked.

The paper's pools, and `curated` for the wild pairs that Stage 2 kept or flipped.
"""

import pyarrow as pa

from rewardjax.curation.ledger.decisions import AFTER_ALL, HELD, HUMAN_VERDICTS, LAST, SIDE, fill
from rewardjax.curation.ledger.store import Store

POOLS = ("gold", "silver", "curated", "unverified", "wild", "discarded")

HELD_BACK = "held for review"

# value: the label the pair goes on with ("a", "b", "tie" or null); since: the iteration that put it there; reason: in words.
_POOLS = f"""
with original as (
    select pair_id, case sign(sum({SIDE})) when 1 then 'a' when -1 then 'b' else 'tie' end as value
    from votes where kind = 'original' group by pair_id
), humans as (
    select pair_id, case side when 1 then 'a' when -1 then 'b' when 0 then 'tie' else 'undecided' end as value, iteration
    from ({HUMAN_VERDICTS})
), panel as (
    select pair_id, arg_max(value, iteration) as value, max(iteration) as iteration
    from votes where kind = 'panel' and voter = $judges and iteration <= $last group by pair_id
), decided as (
    select pair_id, arg_max(action, (iteration, round)) as action, arg_max(value, (iteration, round)) as value,
        arg_max(rule, (iteration, round)) as rule, max(iteration) as iteration
    from decisions where iteration <= $last group by pair_id
), held as (select pair_id, true as held from ({HELD}))
select pair_id, source, entry, original.value as original,
    case when held then 'discarded'
        when humans.value = 'undecided' then 'discarded'
        when humans.value is not null then 'gold'
        when decided.action = 'discard' then 'discarded'
        when entry = 'unverified' and panel.value in ('a', 'b') then 'silver'
        when entry = 'unverified' and panel.value is not null then 'discarded'
        when entry = 'wild' and decided.action in ('keep', 'flip') then 'curated'
        else entry end as pool,
    case when held or humans.value = 'undecided' then null
        when humans.value is not null then humans.value
        when decided.action = 'discard' then null
        when decided.action in ('keep', 'flip') then decided.value
        when entry = 'unverified' and panel.value is not null then if(panel.value in ('a', 'b'), panel.value, null)
        else original.value end as value,
    case when held then '{HELD_BACK}'
        when humans.value = 'undecided' then 'people could not decide'
        when humans.value is not null then 'people'
        when decided.action in ('keep', 'flip', 'discard') then decided.action || ': ' || decided.rule
        when entry = 'unverified' and panel.value is not null then 'judges'
        else 'original label' end as reason,
    case when humans.value is not null then humans.iteration
        when decided.action in ('keep', 'flip', 'discard') then decided.iteration
        when entry = 'unverified' and panel.value is not null then panel.iteration
        else 0 end as since
from pairs
left join original using (pair_id) left join humans using (pair_id) left join panel using (pair_id) left join decided using (pair_id)
left join held using (pair_id)"""


def sql(iteration: int | None = None, judges: str = "panel") -> str:
    """The query behind `pools`, to count and filter in DuckDB where there are many pairs."""
    last = LAST if iteration is None else iteration
    return fill(_POOLS, last=last, judges=judges, low="", high=AFTER_ALL)


def pools(store: Store, iteration: int | None = None, judges: str = "panel") -> pa.Table:
    """Every pair once, by pair_id: pair_id, source, entry, original, pool, value, reason, since; as it stood after `iteration`.

    People decide before decisions, decisions before judges. A pair that people see as a tie is gold with value "tie"; one that judges
    see as a tie is discarded. `value` of an unverified or wild pair is the label it came with."""
    return store.query(f"{sql(iteration, judges)} order by pair_id")


def sizes(store: Store, iteration: int | None = None, judges: str = "panel") -> dict[str, int]:
    """Pairs in each pool after `iteration`."""
    rows = store.query(
        f"select pool, count(*) as pairs from ({sql(iteration, judges)}) group by pool"
    ).to_pylist()
    return dict.fromkeys(POOLS, 0) | {row["pool"]: row["pairs"] for row in rows}


def labels(
    store: Store, pool: str, iteration: int | None = None, judges: str = "panel"
) -> dict[str, str | None]:
    """pair_id -> label of the pairs in a pool after `iteration`, by pair_id."""
    rows = store.query(
        f"select pair_id, value from ({sql(iteration, judges)}) where pool = ? order by pair_id",
        [pool],
    ).to_pylist()
    return {row["pair_id"]: row["value"] for row in rows}
