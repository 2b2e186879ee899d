"""What becomes of a pair: a lookup in a table that is configuration, over what the ledger says.

Five seats have an opinion about the original label: the label itself, the gold RM, the best RM, the judges, the people. Each opinion is
`for`, `against`, `even` (a tie, or a probability close to 0.5), `undecided` (people only) or `none`. A table is a list of rules, the
first that fits decides:

    {"gold": "for", "best": "for|even", "then": "keep", "rule": "gold agrees"}        a seat not named may say anything

A pair without an original label, or whose labels contradict each other, has `original` `none` or `even`; its `for` then means "for a".
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from rewardjax.curation.ledger.rows import ACTIONS, OPINIONS
from rewardjax.curation.ledger.store import Store

Rule = Mapping[str, str]
SEATS = ("original", "gold", "best", "judges", "humans")
SAYS = {
    "original": ("for", "even", "none"),
    "gold": ("for", "against", "even", "none"),
    "best": ("for", "against", "even", "none"),
    "judges": ("for", "against", "even", "none"),
    "humans": OPINIONS,
}
UNDECIDED = 2  # the "side" of people who could not decide
PAIRS_AT_ONCE = 2_500_000  # decided in one query: what bounds memory

# ---------------------------------------------------------------------------------------------------------------- readings of the paper

_PEOPLE: tuple[Rule, ...] = (  # a person has the last word (paper 2.2)
    {"humans": "for", "then": "keep", "rule": "people agree with the label"},
    {"humans": "against", "then": "flip", "rule": "people prefer the other response"},
    {"humans": "even|undecided", "then": "discard", "rule": "people see no better response"},
)
_ASK: Rule = {
    "best": "against|even|none",
    "judges": "none",
    "then": "annotate",
    "rule": "the best RM is not sure of the label",
}
_PASS: tuple[Rule, ...] = (  # the label agrees with the gold RM and with the best RM or the judges
    {"gold": "for", "best": "for", "then": "keep", "rule": "gold and best RM agree"},
    {"gold": "for", "judges": "for", "then": "keep", "rule": "gold RM and judges agree"},
)
_REST: Rule = {"then": "discard", "rule": "not confirmed"}


def _flip(rule: str, **seats: str) -> Rule:
    return {**seats, "then": "flip", "rule": rule}


PRESETS: dict[str, tuple[Rule, ...]] = {
    # Stage 1: judges label what people did not.
    "stage1": (
        *_PEOPLE,
        {"judges": "for", "then": "keep", "rule": "judges agree with the label"},
        _flip("judges prefer the other response", judges="against"),
        {"judges": "even", "then": "discard", "rule": "judges see no better response"},
        {"then": "annotate", "rule": "nobody looked at it"},
    ),
    # Stage 2 as printed: judges are asked wherever the best RM does not confirm the label; the curated part (26M).
    "filter": (*_PEOPLE, _ASK, *_PASS, _REST),
    # ... and everything that was discarded is flipped (version 2 of the paper: 26M + 14M).
    "flip_discarded": (
        *_PEOPLE,
        _ASK,
        *_PASS,
        _flip("recycled", gold="for|against|even"),
        {"then": "discard", "rule": "never scored"},
    ),
    # ... or only what both reward models contradict (appendix H.4).
    "flip_both": (
        *_PEOPLE,
        _ASK,
        *_PASS,
        _flip("both RMs prefer the other", gold="against", best="against"),
        _REST,
    ),
    # ... or what the gold RM contradicts.
    "flip_gold": (
        *_PEOPLE,
        _ASK,
        *_PASS,
        _flip("the gold RM prefers the other", gold="against"),
        _REST,
    ),
    # The same as flip_both, with judges asked only where their answer could change the outcome.
    "frugal": (
        *_PEOPLE,
        {"gold": "for", **_ASK, "rule": "only judges can confirm it"},
        *_PASS,
        _flip("both RMs prefer the other", gold="against", best="against"),
        _REST,
    ),
    # Without judges; with one reward model; without people and gold RM.
    "both_rms": (
        {"gold": "for", "best": "for", "then": "keep", "rule": "both RMs agree"},
        _flip("both RMs prefer the other", gold="against", best="against"),
        _REST,
    ),
    "gold_rm": (
        {"gold": "for", "then": "keep", "rule": "the gold RM agrees"},
        _flip("the gold RM prefers the other", gold="against"),
        _REST,
    ),
    "best_rm": (
        {"best": "for", "then": "keep", "rule": "the best RM agrees"},
        _flip("the best RM prefers the other", best="against"),
        _REST,
    ),
    "no_human": (
        {"best": "for", "then": "keep", "rule": "the best RM agrees"},
        {"judges": "none", "then": "annotate", "rule": "the best RM is not sure of the label"},
        {"judges": "for", "then": "keep", "rule": "judges agree with the label"},
        _flip("best RM and judges prefer the other", best="against", judges="against"),
        _REST,
    ),
}


def rules(table: str | Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules of a preset or of a table given in full, checked. Raises ValueError for an unknown preset, seat, opinion or action, for a
    situation that no rule covers, and for a rule that is never reached."""
    if isinstance(table, str):
        if table not in PRESETS:
            raise ValueError(
                f"table = {table!r}: there are {', '.join(PRESETS)}, or give the rules themselves"
            )
        table = PRESETS[table]
    for i, rule in enumerate(table):
        if unknown := rule.keys() - {*SEATS, "then", "rule"}:
            raise ValueError(
                f"table[{i}]: unknown field {sorted(unknown)[0]!r}; there are {', '.join((*SEATS, 'then', 'rule'))}"
            )
        if rule.get("then") not in ACTIONS or not rule.get("rule"):
            raise ValueError(
                f"table[{i}]: then = {rule.get('then')!r}, not one of {', '.join(ACTIONS)}, or no name in `rule`"
            )
        for seat in rule.keys() & set(SEATS):
            if illegal := set(rule[seat].split("|")) - set(SAYS[seat]):
                raise ValueError(
                    f"table[{i}].{seat}: {sorted(illegal)[0]!r}, not one of {', '.join(SAYS[seat])}"
                )
    names = [rule["rule"] for rule in table]
    if len(set(names)) < len(names):
        raise ValueError(
            f"table: two rules are named {next(name for name in names if names.count(name) > 1)!r}"
        )
    reached = set()
    for says in itertools.product(*(SAYS[seat] for seat in SEATS)):
        opinions: dict[str, str] = dict(zip(SEATS, says, strict=True))
        if (rule := first_match(table, opinions)) is None:
            raise ValueError(
                f"table: no rule covers {opinions}; end with a rule that names no seat"
            )
        reached.add(rule["rule"])
    if never := [name for name in names if name not in reached]:
        raise ValueError(f"table: {never[0]!r} is never reached; the rules before it cover it")
    return tuple(table)


def first_match(table: Sequence[Rule], opinions: Mapping[str, str]) -> Rule | None:
    """The rule that decides a pair with these opinions, seat -> opinion."""
    fits = lambda rule: all(
        opinions[seat] in rule[seat].split("|") for seat in SEATS if seat in rule
    )
    return next((rule for rule in table if fits(rule)), None)


# ---------------------------------------------------------------------------------------------------------------- opinions, from the ledger

SIDE = "case value when 'a' then 1 when 'b' then -1 else 0 end"

# One row a pair that people looked at. Of each person the latest vote counts, of several persons the majority: side 1, 0 or -1, null
# where all of them were undecided.
HUMAN_VERDICTS = f"""
    select pair_id, sign(sum({SIDE}) filter (value <> 'undecided')) as side, max(iteration) as iteration
    from (select * from votes where kind = 'human' and {{where}}
          qualify row_number() over (partition by pair_id, voter order by iteration desc, sample desc) = 1)
    group by pair_id"""


# Is a pair out until a reviewer lets it in again? (findings of clean.py)
HELD = """
    select distinct pair_id from findings where action = 'drop'
    union
    select pair_id from (select distinct pair_id, finding from findings where action = 'hold')
    anti join (select pair_id, finding from findings where action = 'restore') using (pair_id, finding)"""


def _opinions_sql(where: str, scope: str) -> str:
    """One row a pair that anybody spoke about: what each seat says, in words, and the side that the original label stands for.

    One pass: every source gives (pair, seat, side, iteration), a group takes the latest of each seat. A reward model's side is the sign
    of p - 0.5 with p = sigmoid((reward_a - reward_b) / temperature), 0 within `band` of it."""
    return f"""
    with said(pair_id, seat, side, iteration) as (
        select pair_id, 1::utinyint, ({SIDE})::float, iteration from votes where kind = 'original' and {where}
        union all {_rewards_sql(2, "gold", where)}
        union all {_rewards_sql(3, "best", where)}
        union all select pair_id, 4::utinyint, ({SIDE})::float, iteration from votes where kind = 'panel' and voter = $judges and {where}
        union all select pair_id, 5::utinyint, coalesce(side, {UNDECIDED})::float, iteration from ({HUMAN_VERDICTS.format(where=where)})
    ), heard as (
        select pair_id,
            sign(sum(side) filter (seat = 1)) as original,
            arg_max(side, iteration) filter (seat = 2) as gold,
            arg_max(side, iteration) filter (seat = 3) as best,
            arg_max(side, iteration) filter (seat = 4) as judges,
            any_value(side) filter (seat = 5) as humans
        from said group by pair_id
    ), sided as (
        select pair_id, original, {_sign_sql("gold")}, {_sign_sql("best")}, judges, humans, case original when -1 then -1 else 1 end as side
        from heard where {scope}
    )
    select pair_id, side,
        (case when original is null then 'none' when original = 0 then 'even' else 'for' end)::{_enum(OPINIONS)} as original,
        {", ".join(map(_word_sql, SEATS[1:]))}
    from sided"""


def _rewards_sql(seat: int, scorer: str, where: str) -> str:
    return f"select pair_id, {seat}::utinyint, (reward_a - reward_b)::float, iteration from scores where scorer = ${scorer} and {where}"


def _sign_sql(scorer: str) -> str:
    """The side that a margin speaks for; the sigmoid is cut where float64 would overflow, far beyond any band."""
    p = f"1 / (1 + exp(-greatest(-80, least(80, {scorer} / ${scorer}_temperature))))"
    return f"case when abs({p} - 0.5) <= $band then 0 else sign({scorer}) end as {scorer}"


def _word_sql(seat: str) -> str:
    return f"""(case when {seat} is null then 'none' when {seat} = {UNDECIDED} then 'undecided' when {seat} = 0 then 'even'
        when {seat} = side then 'for' else 'against' end)::{_enum(OPINIONS)} as {seat}"""


def _enum(words: Sequence[str]) -> str:
    """The SQL type of these words, a byte each where text would be copied."""
    return f"enum({', '.join(map(_quoted, words))})"


def _decisions_sql(table: Sequence[Rule], where: str, scope: str) -> str:
    """The rows of `decisions`: opinions, and the first rule that fits them."""
    test = lambda rule: (
        " and ".join(f"{seat} in ({_words(rule[seat])})" for seat in SEATS if seat in rule)
        or "true"
    )
    whens = lambda field: " ".join(
        f"when {test(rule)} then {_quoted(rule[field])}" for rule in table
    )
    action, rule = (
        f"(case {whens(field)} end)::{_enum(words)}"
        for field, words in (("then", ACTIONS), ("rule", [r["rule"] for r in table]))
    )
    return f"""
    select pair_id, action, rule, {", ".join(SEATS)},
        (case action when 'keep' then if(side = 1, 'a', 'b') when 'flip' then if(side = 1, 'b', 'a') end)::{_enum("ab")} as value
    from (select *, {action} as action, {rule} as rule from ({_opinions_sql(where, scope)}))"""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _words(alternatives: str) -> str:
    return ", ".join(map(_quoted, alternatives.split("|")))


# ---------------------------------------------------------------------------------------------------------------- deciding


def decide(
    store: Store,
    stage: str,
    *,
    table: str | Sequence[Rule],
    gold: str = "gold",
    best: str = "best",
    judges: str = "panel",
    gold_temperature: float = 1.0,
    best_temperature: float = 1.0,
    band: float = 0.0,
    entry: str | None = None,
    iteration: int = 0,
) -> dict[str, int]:
    """Decide every pair that is not held, in shards of the ledger `decisions`; how many got which action.

    table: a preset or rules. gold, best: scorers; judges: the voter whose merged votes count; *_temperature: of each RM's margin, in
    reward units (fit on gold); band: an RM with |p - 0.5| <= band is `even`; entry: only pairs that entered that pool.
    Raises ValueError for a bad table or setting, and where a reward model scored a pair that it was trained on."""
    given = dict(locals())
    settings = {
        name: value
        for name, value in given.items()
        if name not in ("store", "stage", "table", "iteration")
    }
    settings["table"] = [dict(rule) for rule in rules(table)]
    if not 0 <= band < 0.5 or min(gold_temperature, best_temperature) <= 0:
        raise ValueError(
            f"band = {band}, temperatures = {gold_temperature}, {best_temperature}: need 0 <= band < 0.5 and temperatures > 0"
        )
    shards = [
        m
        for ledger in ("pairs", "votes", "scores", "training", "findings")
        for m in store.manifests(ledger)
    ]
    inputs = {
        "settings": settings,
        "shards": {f"{m['ledger']}/{m['stage']}.{m['unit']}": m["content"] for m in shards},
    }
    with store.connect(shards) as connection:
        refuse_own_training_pairs(connection, (gold, best))
        for unit, (low, high) in _ranges(shards):
            if not store.has("decisions", stage, unit):
                rows = _decided(connection, settings, low, high)
                store.append(
                    "decisions",
                    stage,
                    unit,
                    rows,
                    iteration=iteration,
                    inputs=inputs,
                    config=settings,
                )
    counts = store.query(
        "select action, count(*) from decisions where stage = ? group by action", [stage]
    )
    return dict(zip(*(column.to_pylist() for column in counts.columns), strict=True))


def recompute(store: Store, stage: str) -> pa.Table:
    """The decisions of a stage anew, from the very shards that it saw and nothing else; sorted by pair_id.
    Raises ValueError where one of them is gone or has changed."""
    decided = [m for m in store.manifests("decisions") if m["stage"] == stage]
    if not decided:
        raise ValueError(f"{store.folder}: no decisions of a stage {stage!r}")
    inputs = decided[0]["inputs"]
    now = {f"{m['ledger']}/{m['stage']}.{m['unit']}": m for m in store.manifests()}
    if gone := [
        name
        for name, content in inputs["shards"].items()
        if name not in now or now[name]["content"] != content
    ]:
        raise ValueError(
            f"{store.folder}: {gone[0]}, which the decisions of {stage!r} were made from, is gone or has changed"
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
            f"select distinct pair_id from ({both}) order by all", {"stage": stage}
        ).fetchall()
    return [pair_id for (pair_id,) in rows]


def refuse_own_training_pairs(
    connection: duckdb.DuckDBPyConnection, scorers: Sequence[str]
) -> None:
    """Raises ValueError where one of these scorers judged a pair that its model was trained on."""
    found = connection.execute(
        "select scorer, model, any_value(pair_id), count(*) from scores semi join training using (pair_id, model) "
        "where list_contains($scorers, scorer) group by all order by all",
        {"scorers": list(scorers)},
    ).fetchall()
    if found:
        scorer, model, pair_id, count = found[0]
        raise ValueError(
            f"scores: {scorer} (model {model}) judged {count} of its own training pairs, such as {pair_id}; "
            f"cross-fit: score each pair with a model of a fold that did not hold it"
        )


def _decided(
    connection: duckdb.DuckDBPyConnection, settings: Mapping[str, Any], low: str, high: str
) -> pa.Table:
    """Decisions of the pairs with low <= pair_id < high."""
    has = lambda ledger: bool(connection.execute(f"select 1 from {ledger} limit 1").fetchall())
    where = f"pair_id >= '{low}' and pair_id < '{high}'"
    scope = "true"
    if settings["entry"]:
        scope += f" and pair_id in (select pair_id from pairs where entry = {_quoted(settings['entry'])} and {where})"
    if has("findings"):
        scope += f" and pair_id not in ({HELD})"
    names = ("gold", "best", "judges", "gold_temperature", "best_temperature", "band")
    sql = _decisions_sql(settings["table"], where, scope)
    return connection.sql(sql, params={name: settings[name] for name in names}).to_arrow_table()


def _ranges(shards: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Ranges of pair ids, name -> (low, high), as many as keep each below PAIRS_AT_ONCE pairs, if ids spread evenly (they are hashes)."""
    rows = max(
        (
            sum(m["rows"] for m in shards if m["ledger"] == ledger)
            for ledger in ("pairs", "votes", "scores")
        ),
        default=0,
    )
    count = min(256, 1 << max(0, -(-rows // PAIRS_AT_ONCE) - 1).bit_length())
    edges = [f"{i * 256 // count:02x}" for i in range(count)] + [
        "g"
    ]  # no hex digit is as high as g
    for i in range(count):
        yield f"{i:03d}of{count:03d}", ("" if i == 0 else edges[i], edges[i + 1])
