"""Decisions, from the ledger: each pair's five opinions by one DuckDB query, and what the decision table makes of them.

A decision can be made again from the ledger alone: its shard names the shards that it saw, and `audit` compares. What is said later
changes nothing about a decision that was made.
"""

import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from rewardjax.curation.ledger import cross_fit
from rewardjax.curation.ledger.decision_tables import Rule, outcomes, rules
from rewardjax.curation.ledger.rows import ACTIONS, OPINIONS
from rewardjax.curation.ledger.store import Store

UNDECIDED = 2  # the "side" of people who could not decide
LAST = 2**31 - 1  # later than any iteration
AFTER_ALL = "~"  # sorts after every pair id
PAIRS_AT_ONCE = 2_500_000  # decided in one query: what bounds memory

# ------------------------------------------------------------------------------------ SQL
#
# Fragments that are always the same are put together when this file is imported; everything that differs from query to query is a
# $name, filled in by `fill` and by nothing else. DuckDB's own parameters are not used because `pools.sql` gives out a query as text.

SIDE = "case value when 'a' then 1 when 'b' then -1 else 0 end"


def fill(sql: str, **values: str | float) -> str:
    """A query with each $name replaced by a literal. Raises KeyError for a name without a value."""
    return string.Template(sql).substitute(
        {name: _literal(value) for name, value in values.items()}
    )


def _literal(value: str | float) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


def _enum(words: Sequence[str]) -> str:
    """The SQL type of these words, a byte each where text would be copied."""
    return f"enum({', '.join(map(_literal, words))})"


# One row per pair that people looked at. Of each person the latest vote counts, of several persons the majority: side 1, 0 or -1, null
# where all of them were undecided.
HUMAN_VERDICTS = f"""
    select pair_id, sign(sum({SIDE}) filter (value <> 'undecided')) as side,
        max(iteration) as iteration
    from (
        select * from votes where kind = 'human' and iteration <= $last
            and pair_id >= $low and pair_id < $high
        qualify row_number() over (
            partition by pair_id, voter order by iteration desc, sample desc) = 1
    ) group by pair_id"""

# Pairs that are out until a reviewer lets them in again (findings of clean.py).
HELD = """
    select distinct pair_id from findings where action = 'drop'
    union
    select pair_id from (select distinct pair_id, finding from findings where action = 'hold')
    anti join (select pair_id, finding from findings where action = 'restore') using (pair_id, finding)"""


# A reward model speaks for the sign of its margin, or for neither where P(a) is within the band of 1/2 (decision_tables.
# reward_model_side). Its rewards are of the seat's latest iteration.
def _rewards(place: int, seat: str) -> str:
    return f"""select pair_id, {place}::utinyint, (reward_a - reward_b)::float, iteration
        from scores where scorer = ${seat} and pair_id >= $low and pair_id < $high"""


def _reward_model_side(seat: str) -> str:
    exponent = f"greatest(-80, least(80, {seat} / ${seat}_temperature))"
    return f"""case when abs(1 / (1 + exp(-{exponent})) - 0.5) <= $band then 0
        else sign({seat}) end as {seat}"""


def _opinion(seat: str) -> str:
    return f"""(case when {seat} is null then 'none' when {seat} = {UNDECIDED} then 'undecided'
        when {seat} = 0 then 'even' when {seat} = label then 'for' else 'against' end)::{_enum(OPINIONS)}
        as {seat}"""


# One row per pair that anybody spoke about. One pass: every source gives (pair, seat, side, iteration), and a group takes the latest of
# each seat; joins of five tables would each sort the pairs anew.
_OPINIONS = f"""
    with spoken(pair_id, seat, side, iteration) as (
        select pair_id, 1::utinyint, ({SIDE})::float, iteration from votes
            where kind = 'original' and pair_id >= $low and pair_id < $high
        union all {_rewards(2, "gold")}
        union all {_rewards(3, "best")}
        union all select pair_id, 4::utinyint, ({SIDE})::float, iteration from votes
            where kind = 'panel' and voter = $judges and pair_id >= $low and pair_id < $high
        union all select pair_id, 5::utinyint, coalesce(side, {UNDECIDED})::float, iteration
            from ({HUMAN_VERDICTS})
    ), heard as (
        select pair_id,
            sign(sum(side) filter (seat = 1)) as original,
            arg_max(side, iteration) filter (seat = 2) as gold,
            arg_max(side, iteration) filter (seat = 3) as best,
            arg_max(side, iteration) filter (seat = 4) as judges,
            any_value(side) filter (seat = 5) as humans
        from spoken group by pair_id
    ), sided as (
        select pair_id, original, {_reward_model_side("gold")}, {_reward_model_side("best")},
            judges, humans, case original when -1 then -1 else 1 end as label
        from heard
        semi join (
            select pair_id from pairs where ($entry = '' or entry = $entry)
                and pair_id >= $low and pair_id < $high
        ) as of_entry using (pair_id)
        anti join ({HELD}) as held using (pair_id)
    )
    select pair_id, label,
        (case when original is null then 'none' when original = 0 then 'even' else 'for' end)
            ::{_enum(OPINIONS)} as original,
        {_opinion("gold")}, {_opinion("best")}, {_opinion("judges")}, {_opinion("humans")}
    from sided"""

# The table was written out as the relation `outcomes`: a code for each situation, digits in base 5 (decision_tables.outcomes).
_DECISIONS = f"""
    select pair_id, action::{_enum(ACTIONS)} as action, rule, original, gold, best, judges, humans,
        (case action when 'keep' then if(label = 1, 'a', 'b')
            when 'flip' then if(label = 1, 'b', 'a') end)::{_enum("ab")} as value
    from ({_OPINIONS}) join outcomes on outcomes.code = enum_code(humans)
        + {len(OPINIONS)} * (enum_code(judges) + {len(OPINIONS)} * (enum_code(best)
        + {len(OPINIONS)} * (enum_code(gold) + {len(OPINIONS)} * enum_code(original)::integer)))"""

# ------------------------------------------------------------------------------------ deciding


class Settings(NamedTuple):
    """What a decision depends on besides the table and the ledger.

    gold, best: whose scores sit on these seats; judges: the voter whose merged votes count; *_temperature: of each reward model's margin,
    in reward units (fit on gold); band: a reward model with |p - 0.5| <= band is `even`; entry: only pairs that entered that pool,
    None for all."""

    gold: str = "gold"
    best: str = "best"
    judges: str = "panel"
    gold_temperature: float = 1.0
    best_temperature: float = 1.0
    band: float = 0.0
    entry: str | None = None


def decide(
    store: Store,
    stage: str,
    *,
    table: str | Sequence[Rule],
    iteration: int = 0,
    round: int = 0,
    **settings: Any,
) -> dict[str, int]:
    """Decide every pair that is not held, in shards of the ledger `decisions`; how many got which action.

    table: a preset or rules. settings: of `Settings`. round: of an iteration's decisions about a pair the one of the highest round counts.
    Raises ValueError for a bad table or setting, OwnTrainingPair where a reward model scored a pair that it was trained on."""
    chosen = Settings(**settings)
    if not 0 <= chosen.band < 0.5 or min(chosen.gold_temperature, chosen.best_temperature) <= 0:
        raise ValueError(
            f"band = {chosen.band}, temperatures = {chosen.gold_temperature}, "
            f"{chosen.best_temperature}: need 0 <= band < 0.5 and temperatures > 0"
        )
    config = chosen._asdict() | {"table": [dict(rule) for rule in rules(table)]}
    shards = []
    for ledger in ("pairs", "votes", "scores", "training", "findings"):
        shards += store.manifests(ledger)
    inputs = {"settings": config, "shards": {_name(m): m["content"] for m in shards}}
    with store.connect(shards) as connection:
        # Scores that no seat of this table reads may be of anybody; a model that was trained after it had scored is caught only here.
        judged = "(select pair_id, model from scores where scorer in ($gold, $best))"
        cross_fit.refuse_own_training_pairs(
            connection, fill(judged, gold=chosen.gold, best=chosen.best)
        )
        for unit, (low, high) in _ranges(shards):
            if not store.has("decisions", stage, unit):
                rows = _decided(connection, config, low, high)
                rows = rows.append_column("round", pa.repeat(pa.scalar(round), rows.num_rows))
                about = {"iteration": iteration, "inputs": inputs, "config": config}
                store.append("decisions", stage, unit, rows, **about)
    counts = store.query(
        "select action, count(*) from decisions where stage = ? group by action", [stage]
    )
    return dict(zip(*(column.to_pylist() for column in counts.columns), strict=True))


def recompute(store: Store, stage: str) -> pa.Table:
    """The decisions of a stage anew, from the very shards that it saw and nothing else; sorted by pair_id.
    Raises ValueError where one of them is gone or has changed."""
    decided = [m for m in store.manifests("decisions") if m["stage"] == stage]
    if not decided:
        raise ValueError(f"{store.folder}: there are no decisions of a stage {stage!r}")
    inputs = decided[0]["inputs"]
    now = {_name(m): m for m in store.manifests()}
    for name, content in inputs["shards"].items():
        if name not in now or now[name]["content"] != content:
            raise ValueError(
                f"{store.folder}: {name}, which the decisions of {stage!r} were made from, is gone or has changed"
            )
    shards = [now[name] for name in inputs["shards"]]
    with store.connect(shards) as connection:
        parts = [
            _decided(connection, inputs["settings"], low, high)
            for _, (low, high) in _ranges(shards)
        ]
    return pa.concat_tables(parts).sort_by("pair_id")


def audit(store: Store, stage: str) -> list[str]:
    """Ids of the pairs whose stored decision is not what the ledger gives; empty when all are."""
    again = recompute(store, stage)
    with store.connect() as connection:
        connection.register("again", again)
        columns = ", ".join(again.column_names)
        stored = f"select {columns} from decisions where stage = $stage"
        both = f"(select {columns} from again except {stored}) union ({stored} except select {columns} from again)"
        rows = connection.execute(
            fill(f"select distinct pair_id from ({both}) order by all", stage=stage)
        ).fetchall()
    return [pair_id for (pair_id,) in rows]


def _name(manifest: Mapping[str, Any]) -> str:
    return f"{manifest['ledger']}/{manifest['stage']}.{manifest['unit']}"


def _decided(
    connection: duckdb.DuckDBPyConnection, config: Mapping[str, Any], low: str, high: str
) -> pa.Table:
    """Decisions of the pairs with low <= pair_id < high, one row per pair that anybody spoke about."""
    codes, actions, names = zip(*outcomes(config["table"]), strict=True)
    # Words that repeat are numbered (dictionary columns), so that DuckDB moves a number per pair and not a text.
    written_out = {
        "code": pa.array(codes),
        "action": pa.array(actions).dictionary_encode(),
        "rule": pa.array(names).dictionary_encode(),
    }
    connection.register("outcomes", pa.table(written_out))
    values = {name: config[name] for name in Settings._fields} | {
        "entry": config["entry"] or "",
        "low": low,
        "high": high,
        "last": LAST,
    }
    return connection.sql(fill(_DECISIONS, **values)).to_arrow_table()


def _ranges(shards: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Ranges of pair ids, name -> (low, high), as many as keep each below PAIRS_AT_ONCE pairs, if ids spread evenly (they are hashes)."""
    rows = 0
    for ledger in ("pairs", "votes", "scores"):
        rows = max(rows, sum(m["rows"] for m in shards if m["ledger"] == ledger))
    count = min(256, 1 << max(0, -(-rows // PAIRS_AT_ONCE) - 1).bit_length())
    edges = ["", *(f"{i * 256 // count:02x}" for i in range(1, count)), AFTER_ALL]
    for i in range(count):
        yield f"{i:03d}of{count:03d}", (edges[i], edges[i + 1])
