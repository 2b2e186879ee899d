"""Decisions, from the ledger: who speaks for which response by one query, and the table's verdict.

A decision can be made again from the ledger alone: its shard names the shards that it saw, and
`audit` compares. What is said later changes nothing about a decision that was made.
"""

import bisect
import string
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from rewardjax.curation.ledger import cross_fit, decision_tables
from rewardjax.curation.ledger.decision_tables import LABELS, SEATS, Rule, Sides
from rewardjax.curation.ledger.manifests import Manifest, contents_of
from rewardjax.curation.ledger.rows import ACTIONS, OPINIONS
from rewardjax.curation.ledger.store import Store

LAST = 2**31 - 1  # later than any iteration
READS = ("pairs", "votes", "scores", "training", "findings")  # the ledgers that decisions look at
AFTER_ALL = "~"  # sorts after every pair id
PAIRS_AT_ONCE = 2_500_000  # decided at once: what bounds memory
ROWS_AT_ONCE = 100_000  # read from a query

# ------------------------------------------------------------------ SQL

# Fragments that are always the same are put together when this file is imported; what differs from
# query to query is a $name, filled in by `fill` and by nothing else. DuckDB's own parameters would
# not do: `pools.sql` gives out a query as text.


def fill(sql: str, **values: str | float) -> str:
    """A query with each $name replaced by a literal. Raises KeyError for a name without a value."""
    literals = {name: _literal(value) for name, value in values.items()}
    return string.Template(sql).substitute(literals)


def _literal(value: str | float) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


# The side of a vote (`decision_tables.Sides`).
SIDE = "case value when 'a' then 1 when 'b' then -1 else 0 end"

# One row per pair that people looked at. Of each person the latest vote counts, of several persons
# the majority: side 1, 0 or -1, null where all of them were undecided.
HUMAN_VERDICTS = f"""
    select pair_id, sign(sum({SIDE}) filter (value <> 'undecided')) as side,
        max(iteration) as iteration
    from (
        select * from votes
        where kind = 'human' and iteration <= $last and pair_id >= $low and pair_id < $high
        qualify row_number() over (
            partition by pair_id, voter order by iteration desc, sample desc
        ) = 1
    )
    group by pair_id"""

# Findings of clean.py that no reviewer has let pass. A restore is about the evidence that there was
# then, whose hashes it holds: another benchmark's prompts are another question. Restores of earlier
# versions hold none, and are about all.
STANDING_FINDINGS = """
    select found.* from (select * from findings where action in ('hold', 'flag')) as found
    anti join (
        select pair_id, finding, coalesce(evidence, '') as evidence from findings
        where action = 'restore'
    ) as restored
        on found.pair_id = restored.pair_id and found.finding = restored.finding
        and (
            not contains(restored.evidence, '"evidence"')
            or contains(restored.evidence, md5(coalesce(found.evidence, '')))
        )"""
# Pairs that are out until a reviewer lets them in again.
HELD = f"""
    select distinct pair_id from findings where action = 'drop'
    union
    select pair_id from ({STANDING_FINDINGS}) where action = 'hold'"""

# One row per pair of the range that anybody spoke about, with the columns of `Sides`. In one pass:
# every source gives (pair, seat, side, iteration), and a group takes the latest of each seat; joins
# of five tables would each sort the pairs anew.
_SIDES = f"""
    with spoken(pair_id, seat, side, iteration) as (
        select pair_id, 1::utinyint, ({SIDE})::float, iteration from votes
            where kind = 'original' and pair_id >= $low and pair_id < $high
        union all
        select pair_id, 2::utinyint, (reward_a - reward_b)::float, iteration from scores
            where scorer = $gold and pair_id >= $low and pair_id < $high
        union all
        select pair_id, 3::utinyint, (reward_a - reward_b)::float, iteration from scores
            where scorer = $best and pair_id >= $low and pair_id < $high
        union all
        select pair_id, 4::utinyint, ({SIDE})::float, iteration from votes
            where kind = 'panel' and voter = $judges and pair_id >= $low and pair_id < $high
        union all
        select pair_id, 5::utinyint, coalesce(side, {decision_tables.UNDECIDED})::float, iteration
            from ({HUMAN_VERDICTS})
    )
    select pair_id,
        sign(sum(side) filter (seat = 1))::float as original,
        arg_max(side, iteration) filter (seat = 2) as gold,
        arg_max(side, iteration) filter (seat = 3) as best,
        arg_max(side, iteration) filter (seat = 4) as judges,
        any_value(side) filter (seat = 5) as humans
    from spoken
    semi join (
        select pair_id from pairs
        where ($entry = '' or entry = $entry) and pair_id >= $low and pair_id < $high
    ) as of_entry using (pair_id)
    anti join ({HELD}) as held using (pair_id)
    group by pair_id
    order by pair_id"""

# ------------------------------------------------------------------ deciding


class Range(NamedTuple):
    """The pairs with low <= pair_id < high, whose decisions are one unit."""

    unit: str
    low: str
    high: str


class Settings(NamedTuple):
    """What a decision depends on besides the table and the ledger."""

    # Whose scores sit on these seats, and the voter whose merged votes count as the judges'.
    gold: str = "gold"
    best: str = "best"
    judges: str = "panel"
    # `decision_tables.decide`.
    gold_temperature: float = 1.0
    best_temperature: float = 1.0
    band: float = 0.0
    # Only pairs that entered this pool; None for all.
    entry: str | None = None
    # Only decisions of this action are stored; None for all.
    only: str | None = None


def checked(table: str | Sequence[Rule], **settings: Any) -> dict[str, Any]:
    """Everything that decisions depend on besides the ledger, as JSON values.

    Args:
        table: a preset, or rules.
        **settings: of `Settings`.

    Raises:
        ValueError: for a bad table or setting.
    """
    chosen = Settings(**settings)
    if not 0 <= chosen.band < 0.5 or min(chosen.gold_temperature, chosen.best_temperature) <= 0:
        raise ValueError(
            f"band = {chosen.band}, temperatures = {chosen.gold_temperature}, "
            f"{chosen.best_temperature}: need 0 <= band < 0.5 and temperatures > 0"
        )
    return chosen._asdict() | {"table": [dict(rule) for rule in decision_tables.rules(table)]}


def decide(
    store: Store,
    stage: str,
    *,
    table: str | Sequence[Rule],
    iteration: int = 0,
    round: int = 0,
    pairs: Collection[str] | None = None,
    **settings: Any,
) -> dict[str, int]:
    """Decide every pair that is not held, in shards of the ledger `decisions`.

    Args:
        store: the ledger.
        stage: of the shards.
        table: a preset, or rules.
        iteration: of the rows.
        round: of an iteration's decisions about a pair the one of the highest round counts.
        pairs: names of the shards of pairs that are decided (`pairs_seen`); None: all there are.
        **settings: of `Settings`.

    Returns:
        How many pairs got which action.

    Raises:
        ValueError: for a bad table or setting.
        OwnTrainingPair: where a reward model scored a pair that it was trained on.
    """
    config = checked(table, **settings)
    begun = [m for m in store.manifests("decisions") if m["stage"] == stage]
    if begun:
        # Pairs may have been imported since: one stage decides on one state of the ledger, or its
        # ranges of ids would not fit together.
        seen = begun[0]["inputs"]["shards"]
        shards = same_shards(store, seen, f"the decisions of {stage!r}")
    else:
        shards = []
        for ledger in READS:
            shards += among(store.manifests(ledger), pairs)
        seen = contents(shards)
    inputs = {"settings": config, "shards": seen}
    with store.connect(shards) as connection:
        # The store refuses such scores when they come, but not training that is recorded later.
        judged = "(select pair_id, model from scores where scorer in ($gold, $best))"
        cross_fit.refuse_own_training_pairs(
            connection, fill(judged, gold=config["gold"], best=config["best"])
        )
        undecided = [
            span for span in _ranges(shards) if not store.has("decisions", stage, span.unit)
        ]
        for unit, spoken in _spoken(connection, config, undecided):
            rows = _decided(spoken, config)
            rows = rows.append_column("round", pa.repeat(pa.scalar(round), rows.num_rows))
            store.append("decisions", stage, unit, rows, iteration=iteration, inputs=inputs)
    counts = store.query(
        "select action, count(*) from decisions where stage = ? group by action", [stage]
    )
    return dict(zip(*(column.to_pylist() for column in counts.columns), strict=True))


def recompute(store: Store, stage: str) -> pa.Table:
    """The decisions of a stage anew, from the very shards that it saw; sorted by pair_id.

    Raises ValueError where one of these shards is gone or has changed.
    """
    decided = [m for m in store.manifests("decisions") if m["stage"] == stage]
    if not decided:
        raise ValueError(f"{store.folder}: there are no decisions of a stage {stage!r}")
    inputs = decided[0]["inputs"]
    shards = same_shards(store, inputs["shards"], f"the decisions of {stage!r}")
    with store.connect(shards) as connection:
        parts = list(provisional(connection, shards, inputs["settings"]))
    return pa.concat_tables(parts).unify_dictionaries().sort_by("pair_id")


def provisional(
    connection: duckdb.DuckDBPyConnection, shards: Sequence[Manifest], config: Mapping[str, Any]
) -> Iterator[pa.Table]:
    """What would be decided, a table per range of pairs, ids rising; nothing is stored.

    Args:
        connection: over these shards; nothing else may be asked of it meanwhile.
        shards: what the decisions are made from.
        config: of `checked`.
    """
    for _, spoken in _spoken(connection, config, list(_ranges(shards))):
        yield _decided(spoken, config)


def pairs_seen(store: Store, stage: str | None = None) -> set[str]:
    """The names of the shards of pairs that a stage decided about; None: of all there are now."""
    if stage is None:
        return {_name(m) for m in store.manifests("pairs")}
    (first, *_) = [m for m in store.manifests("decisions") if m["stage"] == stage]
    return {name for name in first["inputs"]["shards"] if name.startswith("pairs/")}


def among(shards: Iterable[Manifest], pairs: Collection[str] | None) -> list[Manifest]:
    """These shards, of those of pairs only the ones named; None: all."""
    return [m for m in shards if pairs is None or m["ledger"] != "pairs" or _name(m) in pairs]


def contents(shards: Sequence[Manifest]) -> dict[str, str]:
    """LEDGER/STAGE.UNIT -> fingerprint of what it holds: what a later step was computed from."""
    return {_name(m): m["content"] for m in shards}


def same_shards(store: Store, seen: Mapping[str, str], what: str) -> list[Manifest]:
    """The shards that `contents` named. Raises ValueError where one is gone or has changed.

    what: was made from them, for the message.
    """
    now = {_name(m): m for m in store.manifests()}
    for name, content in seen.items():
        # A shard of which a pair's text was erased says the same about every pair's label.
        if name not in now or content not in contents_of(now[name]):
            raise ValueError(
                f"{store.folder}: {name}, which {what} were made from, is gone or has changed"
            )
    return [now[name] for name in seen]


def audit(store: Store, stage: str) -> list[str]:
    """Ids of the pairs whose stored decision is not what the ledger gives; empty when all are."""
    again = recompute(store, stage)
    with store.connect() as connection:
        connection.register("again", again)
        columns = ", ".join(again.column_names)
        stored = f"select {columns} from decisions where stage = $stage"
        recomputed = f"select {columns} from again"
        differ = f"({recomputed} except {stored}) union ({stored} except {recomputed})"
        sql = f"select distinct pair_id from ({differ}) order by all"
        rows = connection.execute(fill(sql, stage=stage)).fetchall()
    return [pair_id for (pair_id,) in rows]


def _name(manifest: Manifest) -> str:
    return f"{manifest['ledger']}/{manifest['stage']}.{manifest['unit']}"


def _spoken(
    connection: duckdb.DuckDBPyConnection, config: Mapping[str, Any], spans: Sequence[Range]
) -> Iterator[tuple[str, pa.Table]]:
    """Unit -> who speaks for which response, for the pairs of each of some ranges, ids rising.

    One pass over the ledger for all ranges: with a query for each, the whole ledger would be read
    as often as there are ranges, and a pair would cost the more the more pairs there are. What
    does not fit DuckDB's memory is sorted on disk.
    """
    if not spans:
        return
    values = {name: config[name] for name in ("gold", "best", "judges")}
    values |= {"entry": config["entry"] or "", "low": spans[0].low, "high": spans[-1].high}
    reader = connection.sql(fill(_SIDES, **values, last=LAST)).to_arrow_reader(ROWS_AT_ONCE)
    rest = reader.schema.empty_table()
    for span in spans:
        parts = [rest]
        # Until a batch reaches beyond the range.
        while not _reaches(parts[-1], span.high):
            try:
                parts.append(pa.Table.from_batches([reader.read_next_batch()]))
            except StopIteration:
                break
        rows = pa.concat_tables(parts)
        ids = rows.column("pair_id")
        start, end = (bisect.bisect_left(ids, edge, key=_text) for edge in (span.low, span.high))
        yield span.unit, rows.slice(start, end - start)
        rest = rows.slice(end)


def _reaches(rows: pa.Table, high: str) -> bool:
    """Whether sorted rows hold a pair of a later range."""
    return rows.num_rows > 0 and _text(rows.column("pair_id")[-1]) >= high


def _text(scalar: pa.Scalar) -> str:
    return scalar.as_py()


def _decided(spoken: pa.Table, config: Mapping[str, Any]) -> pa.Table:
    """Decisions about the pairs of `_spoken`, by the pure rule."""
    # Null, where nobody spoke, becomes nan.
    sides = Sides(*(spoken.column(seat).to_numpy() for seat in SEATS))
    numbers = ("gold_temperature", "best_temperature", "band")
    decided = decision_tables.decide(
        config["table"], sides, **{name: config[name] for name in numbers}
    )
    columns = {
        "pair_id": spoken.column("pair_id"),
        "action": _words(decided.action, ACTIONS),
        "rule": _words(decided.rule, [rule["rule"] for rule in config["table"]]),
    }
    for place, seat in enumerate(SEATS):
        columns[seat] = _words(decided.opinions[:, place], OPINIONS)
    table = pa.table(columns | {"value": _words(decided.value, LABELS)})
    # Workspaces of earlier versions do not have the field: they stored every decision.
    only = config.get("only")
    if only is None:
        return table
    return table.filter(pa.array(decided.action == ACTIONS.index(only)))


def _words(numbers: np.ndarray, words: Sequence[str]) -> pa.DictionaryArray:
    """The words that numbers [n] stand for, each stored once; null for -1."""
    places = pa.array(numbers, pa.int32(), mask=numbers < 0)
    return pa.DictionaryArray.from_arrays(places, pa.array(words))


def _ranges(shards: Sequence[Manifest]) -> Iterator[Range]:
    """Ranges of pair ids, rising, each of at most about PAIRS_AT_ONCE pairs.

    They are equally wide: ids are hashes, so they spread evenly.
    """
    rows = 0
    for ledger in ("pairs", "votes", "scores"):
        rows = max(rows, sum(m["rows"] for m in shards if m["ledger"] == ledger))
    count = min(256, 1 << max(0, -(-rows // PAIRS_AT_ONCE) - 1).bit_length())
    edges = ["", *(f"{i * 256 // count:02x}" for i in range(1, count)), AFTER_ALL]
    for i in range(count):
        yield Range(f"{i:03d}of{count:03d}", edges[i], edges[i + 1])
