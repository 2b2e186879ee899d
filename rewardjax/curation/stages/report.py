"""One static HTML page per iteration: what was labeled, decided and paid, and how good it looks."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from rewardjax import config as config_lib
from rewardjax.curation import people_quality
from rewardjax.curation.cleaning import coverage
from rewardjax.curation.judges import bias as judge_bias
from rewardjax.curation.ledger import gates, stage_names
from rewardjax.curation.ledger import pools as pools_lib
from rewardjax.curation.ledger.stage_names import as_of
from rewardjax.curation.stages import budget
from rewardjax.curation.workspace import Workspace
from rewardjax.reporting import page, plots, run_record
from rewardjax.stats import agreement

EXAMPLES = 8
# Characters of a text.
SHOWN = 600
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

Rows = list[dict[str, Any]]


def write(ws: Workspace, iteration: int) -> pathlib.Path:
    """Write `reports/iteration-N.html` from the ledger, unless it is there; returns the path."""
    folder = ws.folder / "reports"
    path = folder / f"iteration-{iteration}.html"
    # Not written anew: the page shows the ledger as it stood when the iteration ended.
    if path.exists():
        return path
    folder.mkdir(exist_ok=True)
    names = ["import", "seed", *(f"iteration {i}" for i in range(1, iteration + 1))]
    sizes = [pools_lib.sizes(ws.store, i) for i in range(stage_names.IMPORTED, iteration + 1)]
    figure = folder / f"pools-{iteration}.png"
    layers = {}
    for pool in pools_lib.POOLS:
        layers[pool] = [size[pool] for size in sizes]
    plots.stacked(layers, names, figure, "Pairs in each pool")
    tables = {
        "Pools": [{"after": name, **size} for name, size in zip(names, sizes, strict=True)],
        "Budget of this iteration": spending(ws, iteration),
        "Flows of this iteration": flows(ws, iteration),
        "Labels against the original ones": against_original(ws, iteration),
        "Agreement": agreements(ws, iteration),
        "Judges: how their questions ended": ws.calls.endings(),
        "Judges: answers that needed a mercy": ws.calls.mercies(),
        "Cost": costs(ws),
        **people_quality.tables(people_quality.votes(ws.store)),
        "Judges: position and length": bias(ws),
        "Judges that hardly ever decide": undecided_judges(ws),
        "Gold errors of the best RM": errors(ws, iteration),
        "Is another iteration worth it?": worth(ws, iteration),
        "Gates": gates.table(ws.store),
        "Decisions": decisions(ws, iteration),
        "Cleaning: what was looked for": coverage.table(ws.store),
        "Held and flagged": findings(ws),
        "Labels that were flipped": examples(ws, iteration),
    }
    facts = {
        "pairs": sum(sizes[-1].values()),
        "iteration": iteration,
        "ledger": ws.store.fingerprint(),
        **run_record.git_state(),
    }
    page.write_report(
        path,
        f"Curation, {names[-1]}",
        facts,
        tables,
        {"Pools after each iteration": figure},
        config=config_lib.resolve(ws.config),
    )
    return path


# ------------------------------------------------------------------ pairs


def spending(ws: Workspace, iteration: int) -> Rows:
    """What an iteration's budget of pairs was spent on; empty for Stage 2, which has none."""
    if iteration > ws.config.stage1.iterations:
        return []
    picks = stage_names.picks(iteration).rows(ws.store, "picks")
    pairs = budget.pairs(ws.config.stage1, iteration)
    people = sum(row["labeller"] == "people" for row in picks)
    judges = len(picks) - people
    unspent = pairs - len(picks)
    return [{"pairs": pairs, "to people": people, "to judges": judges, "unspent": unspent}]


def flows(ws: Workspace, iteration: int) -> Rows:
    """Pairs that the iteration moved from one pool to another."""
    before, after = pools_lib.sql(as_of(iteration)), pools_lib.sql(iteration)
    sql = f"""
        select old.pool as "from", new.pool as "to", count(*) as pairs
        from ({before}) old join ({after}) new using (pair_id)
        where old.pool <> new.pool group by all order by all"""
    return ws.store.query(sql).to_pylist()


def against_original(ws: Workspace, iteration: int) -> Rows:
    """For each pool: labels kept, flipped, and others (ties, and pairs that came without one)."""
    flipped = "original in ('a', 'b') and value in ('a', 'b') and value <> original"
    sql = f"""
        select pool, count(*) as pairs,
            count(*) filter (value = original) as kept,
            count(*) filter ({flipped}) as flipped
        from ({pools_lib.sql(iteration)}) where pool in ('gold', 'silver', 'curated')
        group by pool order by pool"""
    rows = ws.store.query(sql).to_pylist()
    for row in rows:
        row["other"] = row["pairs"] - row["kept"] - row["flipped"]
    return rows


def decisions(ws: Workspace, iteration: int) -> Rows:
    """How many pairs each rule decided."""
    sql = """
        select stage, action, rule, count(*) as pairs from decisions
        where iteration = ? group by all order by all"""
    return ws.store.query(sql, [iteration]).to_pylist()


def findings(ws: Workspace) -> Rows:
    """What cleaning found, and what was done about it."""
    sql = "select finding, action, count(*) as pairs from findings group by all order by all"
    return ws.store.query(sql).to_pylist()


def examples(ws: Workspace, iteration: int) -> Rows:
    """Pairs whose label this iteration flipped, with why: for a look at whether it was right."""
    flipped = []
    for row in pools_lib.pools(ws.store, iteration).to_pylist():
        if row["since"] == iteration and {row["value"], row["original"]} == {"a", "b"}:
            flipped.append(row)
    # The first by pair_id, which is a hash: a sample at random, and always the same.
    flipped = flipped[:EXAMPLES]
    texts = ws.store.texts([row["pair_id"] for row in flipped])
    rows = []
    for row, text in zip(flipped, texts, strict=True):
        responses = {"a": text["response_a"], "b": text["response_b"]}
        rows.append(
            {
                "pair": row["pair_id"],
                "pool": row["pool"],
                "because": row["reason"],
                "prompt": _clipped(text["prompt"]),
                "now chosen": _clipped(responses[row["value"]]),
                "was chosen": _clipped(responses[row["original"]]),
            }
        )
    return rows


def _clipped(messages: Sequence[dict[str, Any]]) -> str:
    return "\n".join(message["content"] for message in messages)[:SHOWN]


# ------------------------------------------------------------------ opinions


def agreements(ws: Workspace, iteration: int) -> Rows:
    """People, panel and reward models against the original label and each other."""
    labels = {
        "original": _labels(
            ws,
            f"select pair_id, original as value from ({pools_lib.sql()}) "
            "where original is not null",
        ),
        "people": _latest_votes(ws, "human", iteration),
        "panel": _latest_votes(ws, "panel", iteration),
        "best RM": _reward_model_labels(ws, "best", iteration),
        "gold RM": _reward_model_labels(ws, "gold", iteration),
    }
    rows = []
    for who, against in COMPARED:
        shared = sorted(labels[who].keys() & labels[against].keys())
        if shared:
            figures = agreement.compare(
                [labels[who][pair_id] for pair_id in shared],
                [labels[against][pair_id] for pair_id in shared],
                resamples=200,
            )
            row: dict[str, Any] = {"who": who, "against": against}
            for name in ("items", "agreement", "agreement_low", "agreement_high", "kappa"):
                row[name] = figures[name]
            rows.append(row)
    return rows


def _latest_votes(ws: Workspace, kind: str, iteration: int) -> dict[str, str]:
    sql = "select pair_id, value from votes where kind = ? and iteration <= ? order by iteration"
    return _labels(ws, sql, kind, iteration)


def _reward_model_labels(ws: Workspace, seat: str, iteration: int) -> dict[str, str]:
    sql = """
        select pair_id,
            case sign(reward_a - reward_b) when 1 then 'a' when -1 then 'b' else 'tie' end as value
        from scores where scorer = ? and iteration <= ? order by iteration"""
    return _labels(ws, sql, seat, iteration)


def _labels(ws: Workspace, sql: str, *parameters: Any) -> dict[str, str]:
    """pair_id -> value of a query's rows, the last row of a pair counting."""
    rows = ws.store.query(sql, list(parameters) or None).to_pylist()
    return {row["pair_id"]: row["value"] for row in rows}


def judge_votes(ws: Workspace) -> Rows:
    """Every judgment so far, as rows of the ledger."""
    return ws.store.query("select * from votes where kind = 'judge'").to_pylist()


def undecided_judges(ws: Workspace) -> Rows:
    """Warnings about judges that say "No preference" to nearly everything."""
    return [{"warning": line} for line in judge_bias.undecided_judges(judge_votes(ws))]


def bias(ws: Workspace) -> Rows:
    """For each judge: consistency over orders, primacy, and its leaning to longer responses.

    Leaning is measured against what people say about the same pairs.
    """
    votes = judge_votes(ws)
    if not votes:
        return []
    ids = sorted({row["pair_id"] for row in votes})
    texts = zip(ids, ws.store.texts(ids), strict=True)
    longer = judge_bias.longer((i, text["response_a"], text["response_b"]) for i, text in texts)
    people = _labels(ws, "select * from votes where kind = 'human'")
    leaning = judge_bias.leaning(votes, longer, people)
    rows = []
    for voter, measures in judge_bias.position(votes).items():
        row: dict[str, Any] = {"judge": voter}
        for name in ("said_first", "said_tie", "consistency", "repetition", "primacy"):
            row[name] = measures[name]["share"]
        rows.append(row | {"prefers longer": leaning[voter]["prefers_more"]["share"]})
    return rows


# ------------------------------------------------------------------ reward models and money


def _gold_report(ws: Workspace, iteration: int) -> dict[str, Any] | None:
    """What `seats.errors_on_gold` kept of an iteration; None where it had no reward model."""
    path = ws.folder / "reports" / f"gold-{iteration}.json"
    if not path.exists():
        return None
    return json.loads(path.read_text())


def errors(ws: Workspace, iteration: int) -> Rows:
    """The error table of the gold report, and how the model compares with the one before."""
    report = _gold_report(ws, iteration)
    if report is None:
        return []
    rows = list(report["errors"])
    if report["against_previous"]:
        name = {"attribute": "against the model before", "value": "McNemar"}
        rows.append(name | report["against_previous"])
    return rows


def worth(ws: Workspace, iteration: int) -> Rows:
    """The paper's stop rule for each iteration.

    Benchmark points are replaced by accuracy on the gold pairs that two successive best RMs share.
    """
    rows = []
    for i in range(2, iteration + 1):
        report = _gold_report(ws, i)
        if report is None or not report["against_previous"]:
            continue
        compared = report["against_previous"]
        # The silver pairs that the two models were trained on.
        before, now = (len(pools_lib.labels(ws.store, "silver", as_of(j))) for j in (i - 1, i))
        if compared["pairs"] and now > before:
            points = 100 * compared["difference"]
            rows.append(
                {
                    "best RM of iteration": i,
                    "silver before": before,
                    "silver": now,
                    "points gained": points,
                    "per million pairs": budget.gain_per_million(points, 0.0, now, before),
                    "stop": budget.should_stop(points, 0.0, now, before),
                }
            )
    return rows


def costs(ws: Workspace) -> Rows:
    """What judges were paid by the ledger of calls, and people by the price of a label."""
    sql = f"select count(*) from votes where {people_quality.PAID}"
    answers = ws.store.query(sql).column(0)[0].as_py()
    people = {
        "purpose": "all",
        "voter": "people",
        "answered": answers,
        "dollars": answers * ws.config.prices.gold,
    }
    judges = ws.calls.costs()
    dollars = people["dollars"] + sum(row["dollars"] for row in judges)
    return [*judges, people, {"purpose": "all", "voter": "all", "dollars": dollars}]
