"""Gates: what must be shown of the instruments before their word turns labels.

A gate is a share with its Wilson interval and a threshold: reward models that are right on gold
more often than a coin, few enough labels flipped, people who confirm an audited sample. Everything
is counted in the ledger, so that `audit` can count it again from the same shards; who pauses when
a gate fails is `stages/gates.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import duckdb

from rewardjax.curation.ledger import decision_tables, decisions, pools, stage_names
from rewardjax.curation.ledger.decisions import AFTER_ALL, HUMAN_VERDICTS, LAST, SIDE, fill
from rewardjax.curation.ledger.manifests import Manifest
from rewardjax.curation.ledger.rows import GateRow, Label, Verdict
from rewardjax.curation.ledger.stage_names import GATES_ASK, GATES_DECIDE, GATES_SCORE, as_of
from rewardjax.curation.ledger.store import Store
from rewardjax.stats.intervals import wilson

POINTS = (GATES_SCORE, GATES_ASK, GATES_DECIDE)  # in the order in which a run comes to them

# Of each gate, by its field in the config's section `gates`, what its share is of.
MEANS = {
    "best_accuracy": "gold pairs the best RM is right about",
    "gold_accuracy": "gold pairs the gold RM is right about, each by a model trained without it",
    "agreement.people": "pairs with answers of two people who prefer the same response",
    "agreement.models": "wild pairs of which gold RM and best RM prefer the same response",
    "agreement.judges": "opinions of two judges about a wild pair that are the same",
    "agreement.flips": "flips about which the judges took a side and prefer the new label",
    "flipped": "labels that would be flipped, of those that would be kept or flipped",
    "audit.keep": "audited keeps that people confirm",
    "audit.flip": "audited flips that people confirm",
}
# The one whose share may not be above its threshold; every other must be shown to be above it.
AT_MOST = ("flipped",)


class Measured(NamedTuple):
    """What a gate saw: `hits` of `pairs`.

    needed: whether decisions depend on it, so that seeing nothing is not good enough.
    """

    gate: str
    hits: int
    pairs: int
    needed: bool = True


# ------------------------------------------------------------------ verdicts


def judged(measured: Measured, threshold: float | None) -> GateRow:
    """The row of a gate: share, 95% interval and verdict.

    The lower bound must exceed the threshold: a share above it that a coin could have had shows
    nothing. Of AT_MOST the share itself is compared, as it is counted over all pairs and not over a
    sample of them.
    """
    row = GateRow(
        gate=measured.gate,
        hits=measured.hits,
        pairs=measured.pairs,
        share=None,
        low=None,
        high=None,
        threshold=threshold,
        verdict=_verdict(measured, threshold),
    )
    if measured.pairs:
        row["share"] = measured.hits / measured.pairs
        row["low"], row["high"] = wilson(measured.hits, measured.pairs)
    return row


def _verdict(measured: Measured, threshold: float | None) -> Verdict:
    if threshold is None:
        return "off"
    if not measured.pairs:
        if measured.needed:
            return "failed"
        return "nothing to judge"
    if measured.gate in AT_MOST:
        passes = measured.hits <= threshold * measured.pairs
    else:
        low, _ = wilson(measured.hits, measured.pairs)
        passes = low > threshold
    if passes:
        return "passed"
    return "failed"


# ------------------------------------------------------------------ what is measured


def sources(store: Store, point: str, iteration: int) -> list[Manifest]:
    """The shards that the gates of a point look at.

    None that the run writes between a gate and the decisions behind it: started again there, it
    must measure the same.
    """
    scored = {stage_names.scored_gold(iteration).name}
    if point != GATES_SCORE:
        scored |= {stage_names.scored_wild(seat, iteration).name for seat in ("gold", "best")}
    # Pairs that were imported after judges were asked are not decided.
    pairs = None
    if point == GATES_DECIDE:
        pairs = decisions.pairs_seen(store, stage_names.asked_wild(iteration))
    shards = []
    for ledger in (*decisions.READS, "decisions"):
        for m in decisions.among(store.manifests(ledger), pairs):
            is_fold = m["stage"].startswith(f"{stage_names.trained('gold', iteration).name}-fold-")
            is_before = m["iteration"] <= as_of(iteration)
            if point == GATES_DECIDE and ledger != "decisions":
                is_before = True
            if is_before or (ledger == "scores" and (m["stage"] in scored or is_fold)):
                shards.append(m)
    return shards


def measure(
    store: Store, shards: Sequence[Manifest], point: str, settings: Mapping[str, Any]
) -> list[GateRow]:
    """The rows of all gates of a point.

    Args:
        store: the ledger.
        shards: of `sources`.
        point: of POINTS.
        settings: "iteration" of Stage 2; "decisions", of `decisions.checked`; "thresholds" by gate;
            "audit", the size of the audit's sample for each kind of decision.
    """
    if point == GATES_DECIDE:
        measured = _of_decisions(store, shards, settings)
    else:
        with store.connect(shards) as connection:
            if point == GATES_SCORE:
                measured = list(_of_models(connection, settings))
            else:
                measured = [_of_both_models(connection, settings)]
    return [judged(each, settings["thresholds"][each.gate]) for each in measured]


def _of_models(
    connection: duckdb.DuckDBPyConnection, settings: Mapping[str, Any]
) -> Iterator[Measured]:
    """Each reward model on gold, and people among themselves: before anything is scored."""
    iteration = settings["iteration"]
    seats = decision_tables.seats_of(settings["decisions"]["table"])
    folds = f"{stage_names.trained('gold', iteration).name}-fold-"
    # What the iteration itself labels must not count: the models are of what was there before it.
    gold = pools.sql(as_of(iteration))
    for seat, stages in (("best", stage_names.scored_gold(iteration).name), ("gold", folds)):
        sql = f"""
            select count(*) filter (
                sign(reward_a - reward_b) = case value when 'a' then 1 else -1 end
            ), count(*)
            from (select * from scores where scorer = $seat and starts_with(stage, $stages))
            join (select * from ({gold}) where pool = 'gold' and value in ('a', 'b'))
                using (pair_id)"""
        if seat in seats:
            hits, pairs = _counts(connection, fill(sql, seat=seat, stages=stages))
            yield Measured(f"{seat}_accuracy", hits, pairs)
        else:
            # What the table does not ask decides nothing, however good it is.
            yield Measured(f"{seat}_accuracy", 0, 0, needed=False)
    yield _pairwise(connection, "agreement.people", "kind = 'human'", needed=True)


def _of_both_models(connection: duckdb.DuckDBPyConnection, settings: Mapping[str, Any]) -> Measured:
    """Gold RM and best RM about the wild pool."""
    if not {"gold", "best"} <= decision_tables.seats_of(settings["decisions"]["table"]):
        return Measured("agreement.models", 0, 0, needed=False)
    gold, best = (
        stage_names.scored_wild(seat, settings["iteration"]).name for seat in ("gold", "best")
    )
    sql = """
        select count(*) filter (
            sign(gold.reward_a - gold.reward_b) = sign(best.reward_a - best.reward_b)
        ), count(*)
        from (select * from scores where stage = $gold) as gold
        join (select * from scores where stage = $best) as best using (pair_id)"""
    return Measured("agreement.models", *_counts(connection, fill(sql, gold=gold, best=best)))


def _pairwise(
    connection: duckdb.DuckDBPyConnection, gate: str, votes: str, *, needed: bool
) -> Measured:
    """How often two voters who both take a side of a pair take the same; all twos of voters."""
    # Of several votes by one voter, as a judge's samples are, the side that most of them take.
    sql = f"""
        with sides as (
            select pair_id, voter, sign(sum({SIDE})) as side from votes where {votes}
            group by all having side <> 0
        )
        select count(*) filter (one.side = two.side), count(*)
        from sides as one join sides as two
            on one.pair_id = two.pair_id and one.voter < two.voter"""
    hits, pairs = _counts(connection, sql)
    return Measured(gate, hits, pairs, needed)


def _counts(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[int, int]:
    (row,) = connection.execute(sql).fetchall()
    return row


# ------------------------------------------------------------------ what would be decided


class Outcome(NamedTuple):
    """What a table would make of the pairs that came with a label and that nobody looked at.

    sample: by action, pair_id -> the label that the pair would go on with, of a random few.
    """

    kept: int
    flipped: int
    # Flips about which the judges took a side, and those of them that they prefer too.
    flips_judged: int
    flips_preferred: int
    sample: dict[str, dict[str, Label]]


def outcome(
    store: Store, shards: Sequence[Manifest], config: Mapping[str, Any], sample: int
) -> Outcome:
    """Make the decisions without storing them, and count.

    Args:
        store: the ledger.
        shards: of `sources`; the audit's own votes among them are left out, so that its sample
            stays the same whatever people answer.
        config: of `decisions.checked`.
        sample: how many pairs of each action to draw. The first by id, which is a hash: at random,
            and a larger sample holds a smaller one.
    """
    before = [m for m in shards if not m["stage"].startswith(f"{stage_names.AUDIT}-")]
    totals = dict.fromkeys(Outcome._fields[:-1], 0)
    drawn: dict[str, dict[str, Label]] = {"keep": {}, "flip": {}}
    # Counted beside the query that the decisions come from, which is still being read.
    with store.connect(before) as connection, connection.cursor() as counting:
        for decided in decisions.provisional(connection, before, config):
            # People's own decisions need no audit, and a pair without a label has none to turn.
            counting.register("decided", decided)
            labeled = "from decided where original = 'for' and humans = 'none'"
            counts = counting.execute(f"""
                select count(*) filter (action = 'keep'), count(*) filter (action = 'flip'),
                    count(*) filter (action = 'flip' and judges in ('for', 'against')),
                    count(*) filter (action = 'flip' and judges = 'against') {labeled}""")
            for name, count in zip(totals, counts.fetchone() or (), strict=True):
                totals[name] += count
            for action, labels in drawn.items():
                rows = counting.execute(
                    f"select pair_id, value {labeled} and action = ? order by pair_id limit ?",
                    [action, sample - len(labels)],
                )
                labels.update(rows.fetchall())
            counting.unregister("decided")
    return Outcome(**totals, sample=drawn)


def _of_decisions(
    store: Store, shards: Sequence[Manifest], settings: Mapping[str, Any]
) -> list[Measured]:
    """Judges among themselves, the flips, and what people say about the audit's sample."""
    would = outcome(store, shards, settings["decisions"], settings["audit"])
    asked = stage_names.judges_wild(settings["iteration"]).name
    with store.connect(shards) as connection:
        votes = fill("stage = $asked", asked=asked)
        measured = [
            # A table may need no judge at all.
            _pairwise(connection, "agreement.judges", votes, needed=False),
            Measured("agreement.flips", would.flips_preferred, would.flips_judged, needed=False),
            Measured("flipped", would.flipped, would.kept + would.flipped, needed=False),
        ]
        verdicts = human_verdicts(connection)
    for action, labels in would.sample.items():
        # Who could not decide says nothing; a tie confirms neither label.
        sides = [(verdicts[i], label) for i, label in labels.items() if verdicts.get(i)]
        right = sum(verdict == label for verdict, label in sides)
        measured.append(Measured(f"audit.{action}", right, len(sides), needed=bool(labels)))
    return measured


def human_verdicts(connection: duckdb.DuckDBPyConnection) -> dict[str, str | None]:
    """pair_id -> "a", "b" or "tie" by most people who looked at it; None: they were undecided."""
    sql = fill(HUMAN_VERDICTS, last=LAST, low="", high=AFTER_ALL)
    value = "case side when 1 then 'a' when -1 then 'b' when 0 then 'tie' end"
    return dict(connection.execute(f"select pair_id, {value} from ({sql})").fetchall())


# ------------------------------------------------------------------ the ledger of gates


def latest(store: Store) -> list[dict[str, Any]]:
    """What the gates last measured, point by point: rows of the ledger with their `point`."""
    sql = """
        select stage as point, * exclude (stage, unit) from gates
        qualify rank() over (partition by stage order by iteration desc, unit desc) = 1"""
    rows = store.query(sql).to_pylist()
    order = list(MEANS)
    return sorted(rows, key=lambda row: (POINTS.index(row["point"]), order.index(row["gate"])))


def table(store: Store) -> list[dict[str, Any]]:
    """`latest` for reading: what each share is of, in words."""
    rows = []
    for row in latest(store):
        rows.append({**row, "the share is of": MEANS[row["gate"]]})
    return rows


def audit(store: Store) -> list[str]:
    """Sentences about gates whose stored row is not what the ledger gives; empty when all are."""
    problems = []
    for manifest in store.manifests("gates"):
        name = f"{manifest['stage']}.{manifest['unit']}"
        inputs = manifest["inputs"]
        shards = decisions.same_shards(store, inputs["shards"], f"the gates of {name}")
        again = measure(store, shards, manifest["stage"], inputs["settings"])
        sql = "select * from gates where stage = ? and unit = ?"
        stored = {}
        for row in store.query(sql, [manifest["stage"], manifest["unit"]]).to_pylist():
            stored[row["gate"]] = row
        for row in again:
            # The counts and the verdict: everything else follows from them.
            for field in ("hits", "pairs", "verdict"):
                if stored[row["gate"]][field] != row[field]:
                    problems.append(
                        f"gates {name}: {row['gate']} has {field} = {stored[row['gate']][field]}, "
                        f"and the ledger gives {row[field]}"
                    )
    return problems
