"""One static HTML page per iteration: what was labeled, decided and paid, and how good it looks.

Whatever is counted over pairs or votes is counted by DuckDB (`overview/`, and below): a page takes
no more memory for more pairs.
"""

import pathlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rewardjax import config as config_lib
from rewardjax.curation import people_quality, settings
from rewardjax.curation.annotation import progress
from rewardjax.curation.annotation.desk import has_desk, open_desk
from rewardjax.curation.cleaning import coverage
from rewardjax.curation.judges import bias as judge_bias
from rewardjax.curation.judges import lost
from rewardjax.curation.ledger import gates, stage_names
from rewardjax.curation.ledger import pools as pools_lib
from rewardjax.curation.ledger.stage_names import as_of
from rewardjax.curation.overview import fates, money, opinions, samples, verdict, voters, waiting
from rewardjax.curation.planning import budget
from rewardjax.curation.workspace import Workspace
from rewardjax.io import own_files
from rewardjax.reporting import flow_plot, page, plots, run_record
from rewardjax.reporting.page import Section

PAUSED = "paused.html"

Rows = list[dict[str, Any]]


def stage1_page(iteration: int) -> str:
    """The page of an iteration of Stage 1."""
    return f"iteration-{iteration}.html"


def stage2_page(iteration: int) -> str:
    """The page of Stage 2, which an iteration of Stage 1 with the same number may follow."""
    return f"stage2-{iteration}.html"


def write(ws: Workspace, iteration: int, name: str) -> pathlib.Path:
    """Write the page `reports/NAME` from the ledger, unless it is there; returns the path."""
    path = ws.folder / "reports" / name
    # Not written anew: the page shows the ledger as it stood when the iteration ended.
    if not path.exists():
        _write(ws, path, iteration, f"Curation, {_names(iteration)[-1]}")
        # What the run waited for has come.
        (path.parent / PAUSED).unlink(missing_ok=True)
    return path


def write_paused(ws: Workspace, why: str) -> pathlib.Path:
    """Write `reports/paused.html`: the ledger as it stands, and why the run does not go on."""
    # Of the latest step that has left anything; before any, of the import.
    iteration = max((m["iteration"] for m in ws.store.manifests()), default=0)
    path = ws.folder / "reports" / PAUSED
    _write(ws, path, max(0, iteration), "Curation, paused", [why])
    return path


def _write(
    ws: Workspace, path: pathlib.Path, iteration: int, title: str, why: Sequence[str] = ()
) -> None:
    path.parent.mkdir(exist_ok=True)
    names = _names(iteration)
    sizes = [pools_lib.sizes(ws.store, i) for i in range(stage_names.IMPORTED, iteration + 1)]
    growth = path.with_name(f"pools-{path.stem}.png")
    layers = {}
    for pool in pools_lib.POOLS:
        layers[pool] = [size[pool] for size in sizes]
    plots.stacked(layers, names, growth, "Pairs in each pool")
    ways = fates.courses(ws.store, iteration)
    flow = path.with_name(f"flows-{path.stem}.png")
    flow_plot.sankey(fates.columns(ways), flow, "What became of the pairs", fates.COLUMNS)
    summary = verdict.sentences(
        ws.store,
        ways,
        money.money(ws.store, ws.calls, ws.config),
        waiting=why or waiting.sentences(ws.folder, ws.calls),
        lost=lost.lost_answers(ws.calls),
    )
    tables = {
        "Pools": [{"after": name, **size} for name, size in zip(names, sizes, strict=True)],
        "Budget of this iteration": spending(ws, iteration),
        "Flows of this iteration": flows(ws, iteration),
        "Labels against the original ones": against_original(ws, iteration),
        "Agreement": opinions.agreements(ws.store, iteration),
        "Money": money.table(ws.store, ws.calls, ws.config),
        "Cost by step": ws.calls.costs(),
        "People's tasks": tasks(ws),
        **people(ws),
        "Judges: how good their answers are": judge_quality(ws),
        "Judges: position and length": leanings(ws),
        "Judges that hardly ever decide": undecided_judges(ws),
        "Settings that changed between steps": settings.applied(ws.store),
        "Judges: how their questions ended": ws.calls.endings(),
        "Judges: answers that needed a mercy": ws.calls.mercies(),
        "Gold errors of the best RM": errors(ws, iteration),
        "Is another iteration worth it?": worth(ws, iteration),
        "Gates": gates.table(ws.store),
        "Decisions": decisions(ws, iteration),
        "Cleaning: what was looked for": coverage.table(ws.store),
        "Held and flagged": findings(ws),
        **samples.tables(ws.store, iteration, personal=ws.config.clean.pii is None),
    }
    facts = {
        "pairs": sum(sizes[-1].values()),
        "iteration": iteration,
        "ledger": ws.store.fingerprint(),
        **run_record.git_state(),
    }
    figures = {"From the sources to what became of the pairs": flow}
    page.write_report(
        path,
        title,
        facts,
        tables,
        {"Pools after each iteration": growth},
        config=config_lib.resolve(ws.config),
        parts=[Section("In short", summary, figures)],
    )


def _names(iteration: int) -> list[str]:
    """What the states of the pools are called, up to an iteration."""
    return ["import", "seed", *(f"iteration {i}" for i in range(1, iteration + 1))]


# ------------------------------------------------------------------ pairs


def spending(ws: Workspace, iteration: int) -> Rows:
    """What an iteration's budget of pairs was spent on; empty for Stage 2, which has none."""
    if iteration > ws.config.stage1.iterations:
        return []
    sql = """
        select count(*) filter (labeller = 'people') as people, count(*) as picks
        from picks where stage = ?"""
    (row,) = ws.store.query(sql, [stage_names.picks(iteration).name]).to_pylist()
    people, picks = row["people"], row["picks"]
    pairs = budget.pairs(ws.config.stage1, iteration)
    row = {"pairs": pairs, "to people": people, "to judges": picks - people}
    return [row | {"unspent": pairs - picks}]


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


# ------------------------------------------------------------------ people and judges


def tasks(ws: Workspace) -> Rows:
    """Who was given how many tasks in which step, and what is missing."""
    if not has_desk(ws.folder):
        return []
    with open_desk(ws.folder) as desk:
        return progress.table(desk)


def people(ws: Workspace) -> dict[str, Rows]:
    """`people_quality.tables`, and for each person what sways them and what they were paid."""
    tables = people_quality.tables(people_quality.votes(ws.store))
    # Gold that a team brought along, before the first iteration, was not paid for here.
    paid = ws.store.query(
        "select voter, count(*) as answers from votes where iteration >= 0 "
        "and kind in ('human', 'check', 'suspended') group by voter"
    ).to_pylist()
    answers = Counter({row["voter"]: row["answers"] for row in paid})
    places = voters.position(ws.store, "human")
    longer = voters.prefers_longer(ws.store, "human")
    for row in tables["People"]:
        voter = f"human:{row['annotator']}"
        # The first response stands on the left.
        row["said left"] = places.get(voter, {}).get("said_first")
        row["prefers longer"] = longer.get(voter)
        row["$"] = answers[voter] * ws.config.prices.gold
    return tables


def judge_quality(ws: Workspace) -> Rows:
    """For each judge: how often it says what people say, and what the panel says.

    "gold pairs" are those that both people and the judge looked at: few, where nobody audits.
    """
    on_gold, with_panel = voters.against_people(ws.store), voters.with_panel(ws.store)
    rows = []
    for voter in sorted(on_gold.keys() | with_panel.keys()):
        row: dict[str, Any] = {"judge": voter, "says what the panel says": with_panel.get(voter)}
        gold = on_gold.get(voter, {"pairs": 0})
        for name in ("right", "low", "high"):
            row[f"{name} on gold"] = gold.get(name)
        rows.append(row | {"gold pairs": gold["pairs"]})
    return rows


def leanings(ws: Workspace) -> Rows:
    """For each judge: consistency over orders, primacy, and its leaning to longer responses."""
    longer = voters.prefers_longer(ws.store, "judge")
    rows = []
    for voter, measures in voters.position(ws.store, "judge").items():
        rows.append({"judge": voter} | measures | {"prefers longer": longer.get(voter)})
    return rows


def undecided_judges(ws: Workspace) -> Rows:
    """Warnings about judges that say "No preference" to nearly everything."""
    lines = judge_bias.undecided_judges(*voters.answers_and_ties(ws.store))
    return [{"warning": line} for line in lines]


# ------------------------------------------------------------------ reward models


def _gold_report(ws: Workspace, iteration: int) -> dict[str, Any] | None:
    """What `seats.errors_on_gold` kept of an iteration; None where it had no reward model."""
    path = ws.folder / "reports" / f"gold-{iteration}.json"
    if not path.exists():
        return None
    return own_files.read(path)


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
        before, now = (pools_lib.sizes(ws.store, as_of(j))["silver"] for j in (i - 1, i))
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
