"""One static HTML page an iteration: pools, flows, agreement, cost, judge bias, what the best RM gets wrong, and pairs to look at."""

import json
import pathlib
from typing import Any

from rewardjax import config as config_lib
from rewardjax.curation.judges import bias as judge_bias
from rewardjax.curation.ledger import pools as pools_lib
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.ledger.stage_names import as_of
from rewardjax.curation.stages import budget
from rewardjax.curation.workspace import Workspace
from rewardjax.reporting import page, plots, run_record
from rewardjax.stats import agreement

EXAMPLES = 8
SHOWN = 600  # characters of a text


def write(ws: Workspace, iteration: int) -> pathlib.Path:
    """Write `reports/iteration-N.html` from the ledger as it stands, unless it is there; returns the path."""
    folder = ws.folder / "reports"
    path = folder / f"iteration-{iteration}.html"
    if path.exists():
        return path
    folder.mkdir(exist_ok=True)
    names = ["import", "seed", *(f"iteration {i}" for i in range(1, iteration + 1))]
    sizes = [pools_lib.sizes(ws.store, i) for i in range(stage_names.IMPORTED, iteration + 1)]
    figure = folder / f"pools-{iteration}.png"
    plots.stacked(
        {pool: [size[pool] for size in sizes] for pool in pools_lib.POOLS},
        names,
        figure,
        "Pairs in each pool",
    )
    tables = {
        "Pools": [{"after": name, **size} for name, size in zip(names, sizes, strict=True)],
        "Budget of this iteration": spending(ws, iteration),
        "Flows of this iteration": flows(ws, iteration),
        "Labels against the original ones": against_original(ws, iteration),
        "Agreement": agreements(ws, iteration),
        "Cost": costs(ws),
        "Judges: position and length": bias(ws),
        "Judges that hardly ever decide": undecided_judges(ws),
        "Gold errors of the best RM": errors(folder / f"gold-{iteration}.json"),
        "Is another iteration worth it?": worth(ws, iteration),
        "Decisions": decisions(ws, iteration),
        "Held and flagged": ws.store.query(
            "select finding, action, count(*) as pairs from findings group by all order by all"
        ).to_pylist(),
        "Labels that were turned": examples(ws, iteration),
    }
    facts = {
        "pairs": sum(sizes[-1].values()),
        "iteration": iteration,
        "ledger": ws.store.fingerprint(),
        **run_record.git_state(),
    }
    config = config_lib.resolve(ws.config)
    page.write_report(
        path,
        f"Curation, {names[-1]}",
        facts,
        tables,
        {"Pools after each iteration": figure},
        config=config,
    )
    return path


def spending(ws: Workspace, iteration: int) -> list[dict[str, Any]]:
    """What the pairs of a Stage 1 iteration's budget were spent on; empty for Stage 2, which has none."""
    rows = stage_names.picks(iteration).rows(ws.store, "picks")
    if iteration > ws.config.stage1.iterations:
        return []
    wanted = budget.pairs(ws.config.stage1, iteration)
    people = sum(row["labeller"] == "people" for row in rows)
    judges = len(rows) - people
    spent = {"pairs": wanted, "to people": people, "to judges": judges}
    return [spent | {"unspent": wanted - people - judges}]


def flows(ws: Workspace, iteration: int) -> list[dict[str, Any]]:
    """Pairs that the iteration moved from one pool to another."""
    before, after = pools_lib.sql(as_of(iteration)), pools_lib.sql(iteration)
    sql = f"""select old.pool as "from", new.pool as "to", count(*) as pairs from ({before}) old join ({after}) new using (pair_id)
        where old.pool <> new.pool group by all order by all"""
    return ws.store.query(sql).to_pylist()


def against_original(ws: Workspace, iteration: int) -> list[dict[str, Any]]:
    """For each pool: labels kept, turned, and others (ties, and pairs that came without one)."""
    turned = "original in ('a', 'b') and value in ('a', 'b') and value <> original"
    sql = f"""select pool, count(*) as pairs, count(*) filter (value = original) as kept, count(*) filter ({turned}) as flipped
        from ({pools_lib.sql(iteration)}) where pool in ('gold', 'silver', 'curated') group by pool order by pool"""
    return [
        {**row, "other": row["pairs"] - row["kept"] - row["flipped"]}
        for row in ws.store.query(sql).to_pylist()
    ]


def worth(ws: Workspace, iteration: int) -> list[dict[str, Any]]:
    """The paper's stop rule, with accuracy on the gold pairs that two successive best RMs share in place of benchmark points."""
    rows = []
    for i in range(2, iteration + 1):
        path = ws.folder / "reports" / f"gold-{i}.json"
        compared = json.loads(path.read_text())["against_previous"] if path.exists() else None
        pairs = [len(pools_lib.labels(ws.store, "silver", j)) for j in (as_of(i - 1), as_of(i))]
        if compared and compared["pairs"] and pairs[1] > pairs[0]:
            points = 100 * compared["difference"]
            figures = {"silver before": pairs[0], "silver": pairs[1], "points gained": points}
            gain = {"per million pairs": budget.gain_per_million(points, 0.0, pairs[1], pairs[0])}
            rows.append(
                {
                    "best RM of iteration": i,
                    **figures,
                    **gain,
                    "stop": budget.should_stop(points, 0.0, pairs[1], pairs[0]),
                }
            )
    return rows


def agreements(ws: Workspace, iteration: int) -> list[dict[str, Any]]:
    """People, panel and reward models against the original label and against people, where both spoke."""
    sides = {
        "original": _said(
            ws,
            f"select pair_id, original as value from ({pools_lib.sql()}) where original is not null",
        ),
        "people": _said(
            ws,
            "select pair_id, value from votes where kind = 'human' and iteration <= ? order by iteration",
            iteration,
        ),
        "panel": _said(
            ws,
            "select pair_id, value from votes where kind = 'panel' and iteration <= ? order by iteration",
            iteration,
        ),
    }
    for seat in ("best", "gold"):
        sql = f"""select pair_id, case when reward_a > reward_b then 'a' when reward_b > reward_a then 'b' else 'tie' end as value
            from scores where scorer = '{seat}' and iteration <= ? order by iteration"""
        sides[f"{seat} RM"] = _said(ws, sql, iteration)
    found = []
    for one, other in (
        ("people", "original"),
        ("panel", "original"),
        ("panel", "people"),
        ("best RM", "people"),
        ("gold RM", "people"),
        ("best RM", "original"),
        ("gold RM", "best RM"),
    ):
        shared = sorted(sides[one].keys() & sides[other].keys())
        if shared:
            figures = agreement.compare(
                [sides[one][i] for i in shared], [sides[other][i] for i in shared], resamples=200
            )
            keep = ("items", "agreement", "agreement_low", "agreement_high", "kappa")
            found.append({"who": one, "against": other, **{name: figures[name] for name in keep}})
    return found


def _said(ws: Workspace, sql: str, *parameters: Any) -> dict[str, str]:
    return {
        row["pair_id"]: row["value"]
        for row in ws.store.query(sql, list(parameters) or None).to_pylist()
    }


def costs(ws: Workspace) -> list[dict[str, Any]]:
    """What judges were paid by the ledger of calls, and people by the price of a label."""
    answers = (
        ws.store.query("select count(*) from votes where kind in ('human', 'check')")
        .column(0)[0]
        .as_py()
    )
    people = {
        "purpose": "all",
        "voter": "people",
        "answered": answers,
        "dollars": answers * ws.config.prices.gold,
    }
    judges = ws.calls.costs()
    dollars = people["dollars"] + sum(row["dollars"] for row in judges)
    return [*judges, people, {"purpose": "all", "voter": "all", "dollars": dollars}]


def judge_votes(ws: Workspace) -> list[dict[str, Any]]:
    """Every judgment so far, as rows of the ledger."""
    return ws.store.query("select * from votes where kind = 'judge'").to_pylist()


def undecided_judges(ws: Workspace) -> list[dict[str, Any]]:
    """Warnings about judges that say "No preference" to nearly everything."""
    return [{"warning": line} for line in judge_bias.undecided_judges(judge_votes(ws))]


def bias(ws: Workspace) -> list[dict[str, Any]]:
    """For each judge: consistency over orders, primacy, and whether it goes for the longer response more than people do."""
    votes = judge_votes(ws)
    if not votes:
        return []
    ids = sorted({row["pair_id"] for row in votes})
    texts = zip(ids, ws.store.texts(ids), strict=True)
    longer = judge_bias.longer((i, text["response_a"], text["response_b"]) for i, text in texts)
    people = {
        row["pair_id"]: row["value"]
        for row in ws.store.query("select * from votes where kind = 'human'").to_pylist()
    }
    leaning = judge_bias.leaning(votes, longer, people)
    rows = []
    for voter, place in judge_bias.position(votes).items():
        figures = {
            name: place[name]["share"]
            for name in ("said_first", "said_tie", "consistency", "repetition", "primacy")
        }
        rows.append(
            {"judge": voter, **figures, "prefers longer": leaning[voter]["prefers_more"]["share"]}
        )
    return rows


def errors(path: pathlib.Path) -> list[dict[str, Any]]:
    """The error table of the gold report, and how the model compares with the one before."""
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    rows = found["errors"]
    if found["against_previous"]:
        rows = rows + [
            {
                "attribute": "against the model before",
                "value": "McNemar",
                **found["against_previous"],
            }
        ]
    return rows


def decisions(ws: Workspace, iteration: int) -> list[dict[str, Any]]:
    """How many pairs each rule decided."""
    sql = "select stage, action, rule, count(*) as pairs from decisions where iteration = ? group by all order by all"
    return ws.store.query(sql, [iteration]).to_pylist()


def examples(ws: Workspace, iteration: int) -> list[dict[str, Any]]:
    """Pairs whose label this iteration turned, with who said so: for a look at whether it was right to."""
    rows = [
        row for row in pools_lib.pools(ws.store, iteration).to_pylist() if row["since"] == iteration
    ]
    turned = [row for row in rows if {row["value"], row["original"]} == {"a", "b"}][:EXAMPLES]
    texts = ws.store.texts([row["pair_id"] for row in turned])
    clipped = lambda messages: "\n".join(message["content"] for message in messages)[:SHOWN]
    return [
        {
            "pair": row["pair_id"],
            "pool": row["pool"],
            "because": row["reason"],
            "prompt": clipped(text["prompt"]),
            "now chosen": clipped(text[f"response_{row['value']}"]),
            "was chosen": clipped(text[f"response_{row['original']}"]),
        }
        for row, text in zip(turned, texts, strict=True)
    ]
