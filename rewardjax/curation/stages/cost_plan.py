"""What a curation run would do from here: every step with its pairs, requests and dollars, before anything is spent."""

from typing import Any

from rewardjax.curation.judges import protocol as judges
from rewardjax.curation.judges.paid_calls import Request
from rewardjax.curation.ledger.pools import labels
from rewardjax.curation.stages import labeling
from rewardjax.curation.workspace import UNIT, Workspace
from rewardjax.data.sources import open_source

SAMPLE = 20  # pairs whose requests are written out to see what they can cost


def plan(ws: Workspace) -> list[dict[str, Any]]:
    """A row for each step in order: step, state ("done", "to do"), pairs, requests to judges, labels by people, dollars for judges and
    people at most. Pairs and dollars of what comes later are upper bounds: how many pairs Stage 2 asks about depends on models that are
    not trained yet. Judges cost what their token prices make of the longest possible answers, or, without token prices, the price per
    pair of the config; nothing is asked to find out."""
    imported = _imported(ws)
    unverified, wild = imported["unverified"], imported["wild"]
    stage1, has = ws.config.stage1, ws.store.has
    per_request = _most(ws)
    rows = [
        _row(
            f"import {name}",
            has("pairs", f"import-{name}", "00000"),
            pairs=len(open_source(source.source)),
        )
        for name, source in ws.config.sources.items()
    ]
    rows.append(_row("clean", bool(ws.store.manifests("findings")), pairs=unverified + wild))
    if ws.config.tag:
        rows.append(
            _ask(
                ws,
                "describe the unverified pool",
                has("attributes", "tag", _last(unverified)),
                unverified,
                len(ws.judges),
                per_request,
            )
        )
    left = unverified
    for i in range(stage1.iterations + 1):
        chosen = min(left, stage1.first if i == 0 else stage1.budget)
        left -= chosen
        share = round(stage1.human_share * chosen)
        if i:
            rows.append(
                _row(f"iteration {i}: best RM", has("training", f"best-{i}", "all"), pairs=None)
            )
        people = round(share * (1 + ws.config.people.overlap) * (1 + ws.config.people.checks))
        done = has("votes", f"people-{i}", "all")
        rows.append(
            _row(
                f"iteration {i}: people",
                done,
                pairs=share,
                labels=people,
                people=people * ws.config.prices.gold,
            )
        )
        done = has("votes", f"label-{i}-panel", "all")
        rows.append(
            _ask(ws, f"iteration {i}: judges", done, chosen - share, _samples(ws), per_request)
        )
    if ws.config.stage2.table:
        last = stage1.iterations + 1
        trained = has("training", f"gold-{last}", "all")
        rows.append(
            _row("Stage 2: gold RM, best RM, rewards of the wild pool", trained, pairs=wild)
        )
        done = has("votes", "label-wild-panel", "all")
        samples = _samples(ws) + len(ws.judges) * bool(ws.config.tag)
        rows.append(
            _ask(ws, "Stage 2: judges, at most", done, wild, samples, per_request, "stage2")
        )
    sums = {
        name: sum(row[name] or 0 for row in rows if row["state"] == "to do")
        for name in ("requests", "labels", "judges $", "people $")
    }
    return [*rows, {"step": "left to do, at most", "state": "", "pairs": None, **sums}]


def _row(
    step: str,
    done: bool,
    *,
    pairs: int | None,
    requests: int = 0,
    labels: int = 0,
    judges: float = 0.0,
    people: float = 0.0,
) -> dict:
    money = {"judges $": round(judges, 4), "people $": round(people, 4)}
    return {
        "step": step,
        "state": "done" if done else "to do",
        "pairs": pairs,
        "requests": requests,
        "labels": labels,
        **money,
    }


def _ask(
    ws: Workspace,
    step: str,
    done: bool,
    pairs: int,
    samples: int,
    most: float | None,
    price: str = "silver",
) -> dict[str, Any]:
    requests = pairs * samples
    dollars = pairs * ws.config.prices[price] if most is None else requests * most
    return _row(step, done, pairs=pairs, requests=requests, judges=dollars if ws.judges else 0.0)


def _samples(ws: Workspace) -> int:
    return sum(judge.samples for judge in ws.judges)


def _last(pairs: int) -> str:
    return f"{max(0, pairs - 1) // UNIT:05d}"


def _imported(ws: Workspace) -> dict[str, int]:
    """Pairs by the pool they enter: in the store, or in the sources where nothing is imported yet."""
    table = ws.store.query("select entry, count(*) as pairs from pairs group by entry").to_pylist()
    if table:
        held = {"unverified": 0, "wild": 0} | {row["entry"]: row["pairs"] for row in table}
        return held | {"unverified": len(labels(ws.store, "unverified", -1))}
    sizes = {"unverified": 0, "wild": 0}
    for source in ws.config.sources.values():
        sizes[source.entry] += len(open_source(source.source))
    return sizes


def _most(ws: Workspace) -> float | None:
    """Dollars that one request to a judge can cost at most, on average over some pairs and the judges; None without prices or pairs."""
    if not any(judge.price_input or judge.price_output for judge in ws.judges):
        return None
    ids = (
        ws.store.query("select pair_id from pairs order by pair_id limit ?", [SAMPLE])
        .column("pair_id")
        .to_pylist()
    )
    items = labeling.as_items(ws, ids)
    asked = [
        judges.settle(
            question,
            judge.answer_format if judge.answer_format != "auto" else "json_schema",
            ws.calls,
        )
        for item in items
        for judge in ws.judges
        for question in list(judges.questions(item, judge))[:1]
    ]
    bounds = [request.most() for request in asked if isinstance(request, Request)]
    return sum(bounds) / len(bounds) if bounds else None
