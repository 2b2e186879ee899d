"""A workspace written by hand: pairs that lie in clusters, and plug-ins that do as a test says.

A pair's id is its cluster and its place there, such as `north03`. Pairs of one cluster are the more
alike the nearer their places are, and pairs of different clusters are not alike. Response `a` is
right where the cluster's name is in `RIGHT_IS_A`.
"""

import contextlib
import dataclasses

import numpy as np
from ledgers import pair, vote

from rewardjax.curation.defaults import curation
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.people import Answer
from rewardjax.curation.retrieval import embed
from rewardjax.curation.stages import labeling
from rewardjax.curation.workspace import Plugins, RewardModel, open_workspace

CLUSTERS = ("east", "north", "south", "west")
WIDTH = 64


def truth(pair_id):
    """The response that is right: `a` in the north and the east."""
    return "a" if pair_id.startswith(("north", "east")) else "b"


def vector(pair_id):
    """[WIDTH], of length 1: cos(k angle), sin(k angle) of an angle that cluster and place give."""
    cluster, place = pair_id.rstrip("0123456789"), int(pair_id[-2:])
    angle = CLUSTERS.index(cluster) + 0.005 * place
    frequencies = np.arange(1, WIDTH // 2 + 1)
    waves = np.concatenate([np.cos(frequencies * angle), np.sin(frequencies * angle)])
    return (waves / np.linalg.norm(waves)).astype(np.float32)


@dataclasses.dataclass
class Cast:
    """Who answers in a test, and what they were asked."""

    # pair_id -> reward_a - reward_b, by seat; what is not named is right, by a margin of 1.
    margins: dict = dataclasses.field(default_factory=dict)
    # Stage name -> the training that was asked for.
    trained: dict = dataclasses.field(default_factory=dict)
    # Every item that judges were asked about.
    items: list = dataclasses.field(default_factory=list)
    # Every task that people were given.
    tasks: list = dataclasses.field(default_factory=list)

    def people(self, ws, tasks, stage):
        self.tasks += tasks
        right = ["left" if task.shown[0] == truth(task.pair_id) else "right" for task in tasks]
        return [Answer(task.id, choice) for task, choice in zip(tasks, right, strict=True)]

    def judge(self, ws, items, stage):
        self.items += items
        return [vote(item.pair_id, "judge:m", truth(item.pair_id)) for item in items]

    def describe(self, ws, items, stage):
        return []

    def embedder(self, ws, pair_ids):
        vectors = lambda texts: np.array([vector(text[-8:-1].split(" ")[-1]) for text in texts])
        return embed.Embedder("by hand", WIDTH, vectors)

    def train(self, ws, training):
        self.trained[training.stage.name] = training

    def load(self, ws, training):
        seat = training.stage.name.split("-")[0]
        margins = self.margins.get(seat, {})

        def rewards(pairs):
            for row in pairs:
                right = 1.0 if truth(row["pair_id"]) == "a" else -1.0
                yield margins.get(row["pair_id"], right), 0.0

        return RewardModel(f"weights of {training.stage.name}", "c", lambda p: list(rewards(p)))

    def plugins(self):
        return Plugins(self.people, self.judge, self.describe, self.embedder, self.train, self.load)


def ids(cluster, start, stop):
    return [f"{cluster}{place:02d}" for place in range(start, stop)]


@contextlib.contextmanager
def workspace(folder, cast, **changes):
    """An open workspace without pairs.

    changes: dotted fields of the config, `.` written as `__`.
    """
    config = curation()
    config.tag = False
    config.people.overlap = config.people.checks = 0.0
    config.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in changes.items()}
    )
    with open_workspace(folder, config, cast.plugins()) as ws:
        yield ws


def add_pairs(ws, pair_ids, entry="unverified", original=None, source=None):
    """Pairs with vectors and original labels (the right ones unless given, pair_id -> label)."""
    source = source or entry
    rows = [pair(pair_id, entry=entry) for pair_id in pair_ids]
    ws.store.append("pairs", f"import-{source}", "0", rows)
    labels = original or {}
    votes = [vote(i, "original:s", labels.get(i, truth(i))) for i in pair_ids]
    ws.store.append("votes", f"import-{source}", "0", votes)
    stage = dataclasses.replace(stage_names.EMBED, name=f"by-hand-{source}")
    labeling.embed(ws, pair_ids, stage)


def add_labels(ws, gold, silver, iteration=0):
    """What people and judges said about pairs in an iteration: pair_id -> label."""
    people = [vote(i, "human:ann", value) for i, value in gold.items()]
    panel = [vote(i, "panel", value) for i, value in silver.items()]
    ws.store.append("votes", f"hand-{iteration}", "0", people + panel, iteration=iteration)


def right(pair_ids):
    return {pair_id: truth(pair_id) for pair_id in pair_ids}
