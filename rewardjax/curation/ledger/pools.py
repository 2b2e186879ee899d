"""Where a pair stands: in exactly one pool, derived from the ledger each time it is asked.

The paper's pools, and `curated` for the wild pairs that Stage 2 kept or flipped. The rule is a
list, STANDINGS, of which the first entry that fits a pair's facts counts: `standing` looks it up
for one pair, as a simulation may, and `sql` is the same list as a query over the ledger.
"""

from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa

from rewardjax.curation.ledger.decisions import AFTER_ALL, HELD, HUMAN_VERDICTS, LAST, SIDE, fill
from rewardjax.curation.ledger.rows import ENTRIES
from rewardjax.curation.ledger.store import Store

POOLS = ("gold", "silver", "curated", "unverified", "wild", "discarded")
HELD_BACK = "held for review"

# What is known about a pair, and in which words. humans: their verdict; decided: the action of the
# latest decision; panel: the judges' merged vote.
FACTS = {
    "entry": ENTRIES,
    "held": ("yes", "no"),
    "humans": ("a", "b", "tie", "undecided", "none"),
    "decided": ("keep", "flip", "annotate", "discard", "none"),
    "panel": ("a", "b", "tie", "none"),
}


class Standing(NamedTuple):
    """Where a pair stands, and why.

    by: whose word counts (a fact, or "original" for the label that the pair came with); reason: in
    words, "" where it is the decision's own rule; labeled: whether the pair goes on with a label,
    the one of `by`.
    """

    pool: str
    by: str
    reason: str = ""
    labeled: bool = True


# The facts that must hold, each as alternatives, and the standing. People go before decisions, and
# decisions before judges. A pair that people see as a tie is gold, with the value "tie", so that
# nobody is asked about it again; one that judges see as a tie is discarded.
STANDINGS: tuple[tuple[dict[str, str], Standing], ...] = (
    ({"held": "yes"}, Standing("discarded", "original", HELD_BACK, labeled=False)),
    (
        {"humans": "undecided"},
        Standing("discarded", "humans", "people could not decide", labeled=False),
    ),
    ({"humans": "a|b|tie"}, Standing("gold", "humans", "people")),
    ({"decided": "discard"}, Standing("discarded", "decided", labeled=False)),
    (
        {"entry": "unverified|gold", "panel": "a|b", "decided": "keep|flip"},
        Standing("silver", "decided"),
    ),
    ({"entry": "unverified|gold", "panel": "a|b"}, Standing("silver", "panel", "judges")),
    (
        {"entry": "unverified|gold", "panel": "tie"},
        Standing("discarded", "panel", "judges", labeled=False),
    ),
    ({"entry": "wild", "decided": "keep|flip"}, Standing("curated", "decided")),
    # Of gold without a vote that counts nobody knows more than of an unverified pair.
    ({"entry": "unverified|gold"}, Standing("unverified", "original", "original label")),
    ({"entry": "wild"}, Standing("wild", "original", "original label")),
)


def standing(facts: Mapping[str, str]) -> Standing:
    """Where a pair with these facts stands. Raises KeyError for a missing fact."""
    for required, result in STANDINGS:
        if all(facts[fact] in words.split("|") for fact, words in required.items()):
            return result
    raise ValueError(f"pools: no standing fits {dict(facts)}")


# ------------------------------------------------------------------ the same as a query


def _place_sql() -> str:
    """The place of the first standing that fits, of the columns FACTS."""
    whens = []
    for place, (required, _) in enumerate(STANDINGS):
        tests = []
        for fact, words in required.items():
            alternatives = ", ".join(f"'{word}'" for word in words.split("|"))
            tests.append(f"{fact} in ({alternatives})")
        whens.append(f"when {' and '.join(tests)} then {place}")
    return f"case {' '.join(whens)} end"


def _of_standing_sql(column: str) -> str:
    """A column of the query, of the place of a pair's standing."""
    whens = []
    for place, (_, result) in enumerate(STANDINGS):
        value = "null"
        if column == "pool":
            value = f"'{result.pool}'"
        elif column == "reason":
            value = f"'{result.reason}'"
            if not result.reason:
                value = "decided || ': ' || rule"
        elif column == "since":
            value = f"{result.by}_since"
        elif result.labeled:
            value = f"{result.by}_value"
        whens.append(f"when {place} then {value}")
    return f"case place {' '.join(whens)} end as {column}"


# For each source of a label its value, and the iteration since which it stands.
_POOLS = f"""
with original as (
    select pair_id, case sign(sum({SIDE})) when 1 then 'a' when -1 then 'b' else 'tie' end as value
    from votes where kind = 'original' group by pair_id
), verdicts as (
    select pair_id, iteration,
        case side when 1 then 'a' when -1 then 'b' when 0 then 'tie' else 'undecided' end as value
    from ({HUMAN_VERDICTS})
), merged as (
    select pair_id, arg_max(value, iteration) as value, max(iteration) as iteration
    from votes where kind = 'panel' and voter = $judges and iteration <= $last group by pair_id
), decisions_so_far as (
    select pair_id, max(iteration) as iteration,
        arg_max(action, (iteration, round)) as action,
        arg_max(value, (iteration, round)) as value,
        arg_max(rule, (iteration, round)) as rule
    from decisions where iteration <= $last group by pair_id
), facts as (
    select pair_id, source, entry,
        if(held.pair_id is null, 'no', 'yes') as held,
        coalesce(verdicts.value, 'none') as humans,
        verdicts.value as humans_value, verdicts.iteration as humans_since,
        coalesce(decisions_so_far.action, 'none') as decided,
        decisions_so_far.value as decided_value, decisions_so_far.iteration as decided_since,
        decisions_so_far.rule as rule,
        coalesce(merged.value, 'none') as panel,
        merged.value as panel_value, merged.iteration as panel_since,
        original.value as original_value, 0 as original_since
    from pairs
    left join original using (pair_id)
    left join verdicts using (pair_id)
    left join merged using (pair_id)
    left join decisions_so_far using (pair_id)
    left join ({HELD}) as held using (pair_id)
), placed as (select *, {_place_sql()} as place from facts)
select pair_id, source, entry, original_value as original, {_of_standing_sql("pool")},
    {_of_standing_sql("value")}, {_of_standing_sql("reason")}, {_of_standing_sql("since")}
from placed"""


def sql(iteration: int | None = None, judges: str = "panel") -> str:
    """The query behind `pools`, to count and filter in DuckDB where there are many pairs."""
    if iteration is None:
        iteration = LAST
    return fill(_POOLS, last=iteration, judges=judges, low="", high=AFTER_ALL)


def pools(store: Store, iteration: int | None = None, judges: str = "panel") -> pa.Table:
    """Every pair once, by pair_id, as it stood after `iteration`.

    Columns: pair_id, source, entry, original (the label it came with), pool, value (the label it
    goes on with: "a", "b", "tie" or null), reason (in words), since (the iteration that put it
    there). judges: the voter whose merged votes count.
    """
    return store.query(f"{sql(iteration, judges)} order by pair_id")


def sizes(store: Store, iteration: int | None = None, judges: str = "panel") -> dict[str, int]:
    """Pairs in each pool after `iteration`."""
    rows = store.query(
        f"select pool, count(*) as pairs from ({sql(iteration, judges)}) group by pool"
    ).to_pylist()
    return dict.fromkeys(POOLS, 0) | {row["pool"]: row["pairs"] for row in rows}


def ids(
    store: Store, pool: str, iteration: int | None = None, judges: str = "panel"
) -> pa.ChunkedArray:
    """The pairs in a pool after `iteration`, in order, as Arrow: there may be millions."""
    query = f"select pair_id from ({sql(iteration, judges)}) where pool = ? order by pair_id"
    return store.query(query, [pool]).column("pair_id")


def labels(
    store: Store, pool: str, iteration: int | None = None, judges: str = "panel"
) -> dict[str, str | None]:
    """pair_id -> label of the pairs in a pool after `iteration`, by pair_id."""
    rows = store.query(
        f"select pair_id, value from ({sql(iteration, judges)}) where pool = ? order by pair_id",
        [pool],
    ).to_pylist()
    return {row["pair_id"]: row["value"] for row in rows}
