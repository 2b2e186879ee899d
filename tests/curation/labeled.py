"""A workspace whose pairs scripted judges tag and label, and that is embedded."""

import contextlib
import dataclasses

from judging import world_items
from ml_collections import ConfigDict

from rewardjax.curation.defaults import curation
from rewardjax.curation.intake.intake import take_in
from rewardjax.curation.judges.scripted_judge import Behavior
from rewardjax.curation.judges.scripted_server import serve
from rewardjax.curation.ledger import pools, stage_names
from rewardjax.curation.stages import labeling, product
from rewardjax.curation.workspace import open_workspace
from rewardjax.data.sources import open_source
from rewardjax.engine.executors import Engine

PAIRS = 12
ITEMS, RIGHT, TRUTH = world_items(PAIRS, seed=3)


@contextlib.contextmanager
def judged_workspace(folder, server, engine: Engine = Engine(), **settings):  # noqa: B008
    """A workspace with the pairs of ITEMS, its judge at `server`."""
    config = curation()
    config.update_from_flattened_dict(settings)
    config.engine = ConfigDict(dataclasses.asdict(engine))
    config.embedder.width = 16
    judge = {"name": "m", "model": "m", "base_url": server.url, "samples": 2, "max_in_flight": 4}
    judge |= {"price_input": 1.0, "price_output": 4.0, "max_tokens": 200, "retries": 2}
    config.judges = (judge,)
    with open_workspace(folder, config, product.PLUGINS) as ws:
        source = open_source(f"world:train?num={PAIRS}&seed=3")
        take_in(ws.store, source, entry="unverified", name="world")
        yield ws


def label_all(ws):
    """Tag, embed and judge all pairs, shown three of them as gold."""
    ids = pools.ids(ws.store, "unverified", stage_names.IMPORTED)
    labeling.tag(ws, ids, stage_names.TAG)
    labeling.embed(ws, ids, stage_names.EMBED)
    gold = dict(sorted(RIGHT.items())[:3])
    labeling.judge(ws, ids, stage_names.judges(0), stage_names.panel(0), gold)


@contextlib.contextmanager
def scripted(latency: float = 0.0):
    """The judge's server."""
    with serve({"m": Behavior(latency=latency)}, TRUTH) as server:
        yield server
