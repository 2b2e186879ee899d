"""What became of the pairs: from where they came, through cleaning and the pools, to their fate.

Everything is counted by one DuckDB query, so that nothing grows with the number of pairs.
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from rewardjax.curation.ledger import pools
from rewardjax.curation.ledger.decisions import LAST, fill
from rewardjax.curation.ledger.pools import HELD_BACK
from rewardjax.curation.ledger.store import Store

# In the order in which they are told and drawn. "first label": the pair came without a side.
KEPT, FLIPPED, FIRST_LABEL = "kept", "flipped", "first label"
TIE, DISCARDED, HELD = "tie", "discarded", "held for review"
ANNOTATE, OPEN = "annotate", "not labeled"
# Headings of the columns of a Sankey plot, for `columns`.
COLUMNS = ("imported from", "after cleaning", "pool", "what became of it")
FATES = (KEPT, FLIPPED, FIRST_LABEL, TIE, DISCARDED, HELD, ANNOTATE, OPEN)

# One row per pair: its standing with what became of it. `annotate` is the last word of Stage 2's
# table that waits for judges; of Stage 1's it only says that the pair was not picked yet.
_FATES = """
    select standing.*, case
        when reason = $held then 'held for review'
        when pool = 'discarded' then 'discarded'
        when pool = 'wild' and action = 'annotate' then 'annotate'
        when pool in ('unverified', 'wild') then 'not labeled'
        when coalesce(value, 'tie') = 'tie' then 'tie'
        when coalesce(original, 'tie') = 'tie' then 'first label'
        when value = original then 'kept'
        else 'flipped' end as fate
    from ({pools}) as standing
    left join (
        select pair_id, arg_max(action, (iteration, round)) as action
        from decisions where iteration <= $last group by pair_id
    ) using (pair_id)"""

# The pool in which a pair was dealt with: of the wild pool all that ever was in it.
_COURSES = """
    select source, entry, case
        when fate = $held then $held else entry end as cleaned, case
        when fate = $held then null
        when entry = 'wild' and pool <> 'gold' then 'wild'
        when pool = 'discarded' then entry
        else pool end as pool, fate, count(*) as pairs
    from ({fates}) group by all order by all"""


class Course(NamedTuple):
    """The way of some pairs: source, pool they entered or "held for review", pool, fate.

    pool: None for pairs that cleaning held back.
    """

    source: str
    cleaned: str
    pool: str | None
    fate: str
    pairs: int


def sql(iteration: int | None = None) -> str:
    """The query for every pair once, as `pools.sql` with a column `fate` of FATES more."""
    last = iteration
    if last is None:
        last = LAST
    return fill(_FATES.format(pools=pools.sql(iteration)), held=HELD_BACK, last=last)


def courses(store: Store, iteration: int | None = None) -> list[Course]:
    """How many pairs went which way, after `iteration`; None: as things stand."""
    rows = store.query(fill(_COURSES.format(fates=sql(iteration)), held=HELD_BACK)).to_pylist()
    return [
        Course(row["source"], row["cleaned"], row["pool"], row["fate"], row["pairs"])
        for row in rows
    ]


def counts(ways: list[Course]) -> dict[str, int]:
    """Pairs by fate, in the order of FATES, zeros included."""
    totals: dict[str, int] = dict.fromkeys(FATES, 0)
    for way in ways:
        totals[way.fate] += way.pairs
    return totals


def columns(ways: list[Course]) -> list[Mapping[tuple[str, str], int]]:
    """The bands between two neighboring columns of a Sankey plot: (from, to) -> pairs.

    Columns: the source, what cleaning let into which pool, the pool in which the pair was dealt
    with, its fate.
    """
    bands: list[Counter[tuple[str, str]]] = [Counter(), Counter(), Counter()]
    for way in sorted(ways, key=lambda way: FATES.index(way.fate)):
        bands[0][way.source, way.cleaned] += way.pairs
        # What is held goes no further.
        if way.pool is not None:
            bands[1][way.cleaned, way.pool] += way.pairs
            bands[2][way.pool, way.fate] += way.pairs
    return list(bands)
