"""Stage 2: the wild pool, without people (paper, section 1.6). Gold RM and best RM score it, the table says where judges are needed, and
decides."""

from rewardjax.curation.ledger import decisions, write_pairs
from rewardjax.curation.ledger.pools import labels
from rewardjax.curation.reward_models import seats
from rewardjax.curation.stages import labeling, report
from rewardjax.curation.stages.stage1 import gold_errors
from rewardjax.curation.workspace import Workspace

ASK, FINAL = "stage2-ask", "stage2-final"  # stages of the ledger `decisions`


def run(ws: Workspace) -> dict[str, int]:
    """Decide the wild pool; how many pairs got which action. Resumes."""
    iteration = ws.config.stage1.iterations + 1
    wild = list(labels(ws.store, "wild", iteration - 1))
    chairs = {"best": seats.fit(ws, "best", iteration, "silver", choose_on="gold")}
    temperature = 1.0
    if any(
        labels(ws.store, "gold", iteration - 1).values()
    ):  # else nobody was asked, and there is no gold RM
        temperature = gold_errors(ws, chairs["best"], iteration)["temperature"]
        chairs["gold"] = seats.fit(ws, "gold", iteration, "gold")
    for chair, workdir in chairs.items():
        seats.score(ws, workdir, chair, iteration, wild, f"wild-{chair}")
    settings = {
        "table": ws.config.stage2.table,
        "band": ws.config.stage2.band,
        "best_temperature": temperature,
    }
    decisions.decide(ws.store, ASK, entry="wild", iteration=iteration, round=0, **settings)
    wanted = ws.store.query(
        "select pair_id from decisions where stage = ? and action = 'annotate' order by pair_id",
        [ASK],
    )
    ask = wanted.column("pair_id").to_pylist()
    if ws.config.tag:
        labeling.tag(ws, ask, "tag-wild", iteration)
    labeling.embed(ws, ask, "embed-wild", iteration)
    labeling.judge(ws, ask, "label-wild", iteration, labels(ws.store, "gold", iteration - 1))
    counts = decisions.decide(
        ws.store, FINAL, entry="wild", iteration=iteration, round=1, **settings
    )
    report.write(ws, iteration)
    write_sets(ws)
    return counts


def write_sets(ws: Workspace) -> dict[str, dict[str, int]]:
    """The data sets that the paper compares, into `data/`: everything that was looked at with its original label, the curated pairs
    without the flipped ones, and with them."""
    curated = ("gold", "silver", "curated")
    variants = {
        "original": dict(pools=(*curated, "wild", "discarded"), labels="original"),
        "filtered": dict(pools=curated, flips=False),
        "flipped": dict(pools=curated),
    }
    return {
        name: write_pairs.export(ws.store, ws.folder / "data" / f"{name}.parquet", **options)
        for name, options in variants.items()
    }
