"""How good each person and each judge is, and what sways them: counted by DuckDB, voter by voter.

Position measures are those of `judges/bias.py` (arXiv 2406.07791), from counts instead of votes:
of n votes for a in one order and m in the other, n x m pairs of votes agree.
"""

from collections.abc import Mapping
from typing import Any, Literal

from rewardjax.curation.ledger.decisions import AFTER_ALL, HUMAN_VERDICTS, LAST, SIDE, fill
from rewardjax.curation.ledger.store import Store
from rewardjax.stats.intervals import wilson

VoterKind = Literal["judge", "human"]

# Pairs whose responses are measured. Texts are most of a ledger, and of so many pairs a share has
# an interval of 0.7 points.
LENGTHS_OF = 20_000

# Per voter and pair: how often which value was said in which order ("undecided" says neither).
_ORDERS = """
    select voter, pair_id,
        count(*) filter (shown = 'ab' and value = 'a') as ab_a,
        count(*) filter (shown = 'ab' and value = 'b') as ab_b,
        count(*) filter (shown = 'ab' and value = 'tie') as ab_tie,
        count(*) filter (shown = 'ba' and value = 'a') as ba_a,
        count(*) filter (shown = 'ba' and value = 'b') as ba_b,
        count(*) filter (shown = 'ba' and value = 'tie') as ba_tie
    from votes where kind = $kind and shown is not null and value <> 'undecided'
    group by all"""

# The same place in both orders is another response each time: the place was chosen.
_POSITION = f"""
    select voter,
        sum(ab_a + ba_b) as first, sum(ab_tie + ba_tie) as tied,
        sum(ab_a + ab_b + ab_tie + ba_a + ba_b + ba_tie) as answers,
        sum(ab_a * ba_a + ab_b * ba_b + ab_tie * ba_tie) as consistent,
        sum((ab_a + ab_b + ab_tie) * (ba_a + ba_b + ba_tie)) as swapped,
        sum(ab_a * ba_b) as first_twice, sum(ab_b * ba_a) as second_twice
    from ({_ORDERS}) group by voter order by voter"""

# Of a voter about a pair: the side that most of its votes take.
_SIDES = f"""
    select voter, pair_id, sign(sum({SIDE})) as side from votes
    where kind = $kind group by all"""

# A tie of people has no side that a judge could be right about.
_AGAINST_PEOPLE = f"""
    select voter, count(*) filter (said.side = human.side) as right, count(*) as pairs
    from ({_SIDES}) as said join ({HUMAN_VERDICTS}) as human using (pair_id)
    where human.side in (1, -1) group by voter order by voter"""

_WITH_PANEL = f"""
    select voter, count(*) filter (said.side = merged.side) as same, count(*) as pairs
    from ({_SIDES}) as said
    join (
        select pair_id, sign(arg_max({SIDE}, iteration)) as side from votes
        where kind = 'panel' group by pair_id
    ) as merged using (pair_id)
    group by voter order by voter"""

# Characters of all messages, as people see them: JSON's own would count quotes and escapes.
_CHARACTERS = """
    list_sum(list_transform(
        json_extract_string({side}, '$$[*].content'), lambda text: length(text)))
"""

_LENGTH = f"""
    with measured as (
        select pair_id, sign({_CHARACTERS.format(side="response_a")}
            - {_CHARACTERS.format(side="response_b")}) as longer
        from pairs where pair_id <= $last_measured
    )
    select voter,
        count(*) filter (value = if(longer = 1, 'a', 'b')) as longer,
        count(*) filter (value in ('a', 'b')) as sides
    from (
        select voter, pair_id, value from votes
        where kind = $kind and shown is not null and pair_id <= $last_measured
    )
    join (select * from measured where longer in (1, -1)) using (pair_id)
    group by voter order by voter"""


def _by_voter(store: Store, sql: str, **values: Any) -> dict[str, dict[str, int]]:
    rows = store.query(fill(sql, **values)).to_pylist()
    return {row.pop("voter"): row for row in rows}


def position(store: Store, kind: VoterKind) -> dict[str, dict[str, float | None]]:
    """Voter -> said_first, said_tie, consistency, primacy: shares, None of nothing.

    consistency: of two answers about a pair in different orders, how often they agree. primacy: of
    two that name one place in both orders, how often it is the first; 0.5 is fair.
    """
    measures = {}
    for voter, row in _by_voter(store, _POSITION, kind=kind).items():
        measures[voter] = {
            "said_first": _share(row["first"], row["answers"]),
            "said_tie": _share(row["tied"], row["answers"]),
            "consistency": _share(row["consistent"], row["swapped"]),
            "primacy": _share(row["first_twice"], row["first_twice"] + row["second_twice"]),
        }
    return measures


def prefers_longer(store: Store, kind: VoterKind) -> dict[str, float | None]:
    """Voter -> of the answers that name one of two responses of different length, the longer ones.

    Of the first LENGTHS_OF pairs by id, which is a hash.
    """
    judged = f"select distinct pair_id from votes where kind = '{kind}' and shown is not null"
    sql = f"select max(pair_id) from ({judged} order by pair_id limit {LENGTHS_OF})"
    last = store.query(sql).column(0)[0].as_py()
    if last is None:
        return {}
    rows = _by_voter(store, _LENGTH, kind=kind, last_measured=last)
    return {voter: _share(row["longer"], row["sides"]) for voter, row in rows.items()}


def against_people(store: Store) -> dict[str, dict[str, Any]]:
    """Judge -> how often it says what people say about pairs that both have looked at.

    A row has "right", "low" and "high" (Wilson, 95%), and "pairs". Not of people: their own word
    is part of the verdict (`people_quality` leaves it out).
    """
    sql = _AGAINST_PEOPLE
    rows = _by_voter(store, sql, kind="judge", last=LAST, low="", high=AFTER_ALL)
    return {voter: _interval(row["right"], row["pairs"]) for voter, row in rows.items()}


def with_panel(store: Store) -> dict[str, float | None]:
    """Judge -> of the pairs that the panel labeled, the share where its own side is the panel's."""
    rows = _by_voter(store, _WITH_PANEL, kind="judge")
    return {voter: _share(row["same"], row["pairs"]) for voter, row in rows.items()}


def answers_and_ties(store: Store, stage: str = "") -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Judge -> its answers (at a stage), and judge -> those of them that are ties."""
    sql = """
        select voter, count(*) as answers, count(*) filter (value = 'tie') as ties
        from votes where kind = 'judge' and ($stage = '' or stage = $stage)
        group by voter order by voter"""
    rows = _by_voter(store, sql, stage=stage)
    answers = {voter: row["answers"] for voter, row in rows.items()}
    return answers, {voter: row["ties"] for voter, row in rows.items()}


def _share(hits: int, total: int) -> float | None:
    if not total:
        return None
    return float(hits) / float(total)


def _interval(hits: int, total: int) -> dict[str, Any]:
    low, high = wilson(hits, total)
    return {"right": hits / total, "low": low, "high": high, "pairs": total}
