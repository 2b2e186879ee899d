"""What cleaning looked at: for each check and pool, pairs looked at, findings, and who is held.

A check that was never made and a check that found nothing look the same in `findings`. The shards
of findings tell them apart: each says in its manifest what was looked for, and in which shards of
`pairs`.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute

from rewardjax.curation.cleaning.clean import CHECKS, Shard
from rewardjax.curation.ledger import pools as pools_lib
from rewardjax.curation.ledger.decisions import STANDING_FINDINGS
from rewardjax.curation.ledger.store import Store

# The functions of pyarrow.compute are made when it is imported: a type checker knows none of them.
pc: Any = pyarrow.compute

# Where a check is turned on.
FIELDS = {
    "contaminated": "clean.benchmarks",
    "near_duplicate": "clean.near",
    "pii": "clean.pii",
    "judge_directed": "clean",
}

_TABLE = """
with checks as (select unnest($checks) as "check"),
looked_at as (
    select distinct pair_id, looked."check" from pairs
    join looked on pairs.stage = looked.stage and pairs.unit = looked.unit
), about as (
    select pair_id, finding as "check",
        bool_or(action in ('hold', 'flag')) as is_finding,
        bool_or(action = 'restore') as is_restored
    from findings group by all
), held as (
    select distinct pair_id, finding as "check" from ({standing_findings}) where action = 'hold'
)
select checks."check", pool, count(*) as pairs,
    count(looked_at.pair_id) as "looked at",
    count(*) filter (coalesce(is_finding, false)) as findings,
    count(held.pair_id) as held,
    count(*) filter (coalesce(is_restored, false)) as restored
from ({pools}) as standing cross join checks
left join looked_at on standing.pair_id = looked_at.pair_id
    and checks."check" = looked_at."check"
left join about on standing.pair_id = about.pair_id and checks."check" = about."check"
left join held on standing.pair_id = held.pair_id and checks."check" = held."check"
group by all"""


def table(store: Store) -> list[dict[str, Any]]:
    """A row per check and pool that has pairs.

    Columns: check, pool, pairs, "looked at", findings, held (now), restored, result (in words).
    """
    with store.connect() as connection:
        connection.register("looked", _looked(store))
        sql = _TABLE.format(pools=pools_lib.sql(), standing_findings=STANDING_FINDINGS)
        rows = connection.sql(sql, params={"checks": list(CHECKS)}).to_arrow_table().to_pylist()
    rows.sort(key=lambda row: (CHECKS.index(row["check"]), pools_lib.POOLS.index(row["pool"])))
    return [row | {"result": _result(row)} for row in rows]


def looked_at_sql(store: Store, check: str) -> str:
    """The query for the ids of the pairs that a check has seen."""
    looked = _looked(store).filter(pc.field("check") == check)
    shards = [f"('{row['stage']}', '{row['unit']}')" for row in looked.to_pylist()]
    if not shards:
        return "select pair_id from pairs where false"
    return f"select pair_id from pairs where (stage, unit) in ({', '.join(shards)})"


def open_findings_sql(check: str) -> str:
    """The query for the ids of pairs about which a check found what no reviewer has let pass."""
    return f"select distinct pair_id from ({STANDING_FINDINGS}) where finding = '{check}'"


def _looked(store: Store) -> pa.Table:
    """Columns check, stage, unit: what was looked for in which shards of `pairs`."""
    looked = set()
    for m in store.manifests("findings"):
        # Findings of other steps (texts that no model can score), and of earlier versions, do not
        # say what was looked for.
        shards: Sequence[Shard] = m["inputs"].get("shards", ())
        for check in m["inputs"].get("checks", ()):
            looked.update((check, stage, unit) for stage, unit in shards)
    columns = {}
    for place, name in enumerate(("check", "stage", "unit")):
        columns[name] = pa.array([row[place] for row in sorted(looked)], pa.string())
    return pa.table(columns)


def _result(row: dict[str, Any]) -> str:
    if not row["looked at"]:
        return "not looked"
    result = "none"
    if row["findings"]:
        result = str(row["findings"])
    if row["looked at"] < row["pairs"]:
        result += f", {row['pairs'] - row['looked at']} pairs not looked at"
    return result


def lines(store: Store) -> list[str]:
    """What cleaning looked for in the whole store, one line per check, for the screen."""
    totals = {
        check: dict.fromkeys(("pairs", "looked at", "findings", "held"), 0) for check in CHECKS
    }
    for row in table(store):
        for column, count in totals[row["check"]].items():
            totals[row["check"]][column] = count + row[column]
    sentences = []
    for check, total in totals.items():
        if not total["looked at"]:
            sentences.append(f"cleaning: {check}: not looked for ({FIELDS[check]} is not set)")
            continue
        sentence = (
            f"cleaning: {check}: {total['looked at']} of {total['pairs']} pairs looked at, "
            f"{total['findings']} findings, {total['held']} pairs held"
        )
        if total["findings"]:
            sentence += ": `curate review` shows them"
        sentences.append(sentence)
    return sentences
