"""One arm of the curation ablation: the two stages of the paper on the embedded world, every opinion in a ledger, every decision by
`curation/decide.py`.

    seed           `first` pairs of the unverified pool at random
    iteration i    best RM on the silver pairs -> p on the gold pairs -> `budget` more pairs, picked by `select`
    each time      the first `human_share` of the pairs picked go to people (gold), the others to the judges (silver)
    stage 2        gold RM on gold, best RM on silver; both judge the wild pool, judges where the table asks for them

Without people the judges label the gold part too, and stage 2 has no gold RM. After each stage reward models are trained on the pairs
seen so far: with their original labels, those kept, those kept or flipped.
"""

import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.ablation import models, world
from experiments.ablation.models import Lab, Labeled, Model
from experiments.ablation.world import Item
from rewardjax.config import Config
from rewardjax.curation.ledger import decisions
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.retrieval import embed, search, selection
from rewardjax.curation.reward_models import gold_errors
from rewardjax.stats import agreement

HELD_OUT_SEED = 0
AUDITED = {
    "gold RM": "gold_rm",
    "best RM": "best_rm",
    "both": "both_rms",
}  # Stage 2 tables whose decisions the oracle audits


def size(config: Config, pairs: int) -> int:
    return round(config.scale * pairs)


class Arm:
    """The state of one run: its ledger, its pools, and who labeled what so far."""

    def __init__(self, lab: Lab, config: Config, folder: pathlib.Path):
        self.lab, self.config = lab, config
        shutil.rmtree(folder, ignore_errors=True)  # models are kept elsewhere; a ledger is cheap
        self.store = Store(folder)
        self.heldout = world.items(
            lab.tokenizer, seed=HELD_OUT_SEED, num=size(config, config.heldout), split="heldout"
        )
        self.unverified = world.items(
            lab.tokenizer, seed=1000 + config.seed, num=size(config, config.unverified.num)
        )
        known = {item.pair_id for item in self.unverified}
        wild = world.items(
            lab.tokenizer, seed=2000 + config.seed, num=size(config, config.wild.num)
        )
        self.wild = [item for item in wild if item.pair_id not in known]
        world.write_pool(self.store, self.unverified, "unverified", config.unverified.labels)
        world.write_pool(self.store, self.wild, "wild", config.wild.labels)
        self.original = self._originals()
        texts = [
            embed.text_of(item.record["prompt"], world.attributes(item)) for item in self.unverified
        ]
        self.vectors = search.on_grid(embed.static(embed.fit_rarity(texts)).embed(texts))
        self.gold: dict[int, str] = {}  # row of the unverified pool -> label
        self.silver: dict[int, str] = {}
        self.seen: list[int] = []

    def _originals(self) -> dict[str, str]:
        table = self.store.query("select pair_id, value from votes where kind = 'original'")
        return dict(
            zip(table.column("pair_id").to_pylist(), table.column("value").to_pylist(), strict=True)
        )

    def fit(self, pairs: Labeled) -> Model:
        return models.train(self.lab, pairs, seed=self.config.seed, **self.config.model)

    def accuracy(self, model: Model) -> float:
        """Against the oracle, on the held-out split."""
        margin = self.margin(model, self.heldout)
        return float(
            np.mean(
                [
                    (m > 0) == (item.truth == "a") and m != 0
                    for m, item in zip(margin, self.heldout, strict=True)
                ]
            )
        )

    def margin(self, model: Model, items: Sequence[Item]) -> np.ndarray:
        return np.subtract(*models.rewards(self.lab, model, items).T)

    def labeled(self, labels: dict[int, str]) -> Labeled:
        return [(self.unverified[row], value) for row, value in labels.items()]


def run(lab: Lab, config: Config, folder: pathlib.Path) -> dict[str, Any]:
    """Everything that the arm measures, as JSON values: {"stages": [...], "precision": {...}, "votes": [...]}."""
    if config.experiment == "labels":
        return {"stages": [labels_only(lab, config)]}
    arm = Arm(lab, config, folder)
    stages = []
    for iteration in range(config.stage1.iterations + 1):
        pick(arm, iteration)
        decided = settle(arm, f"stage1-{iteration}", "stage1", "unverified", iteration)
        last = iteration == config.stage1.iterations and not config.stage2.table
        if last or config.measure == "all":
            stages.append(
                {
                    "stage": f"iteration {iteration}" if iteration else "seed",
                    **measure(arm, decided, {}),
                }
            )
    if not config.stage2.table:
        return {"stages": stages}
    wild, audit = stage2(arm, config.stage1.iterations + 1)
    stages.append({"stage": "stage 2", **measure(arm, decided, wild)})
    return {"stages": stages, **audit}


def labels_only(lab: Lab, config: Config) -> dict[str, Any]:
    """A model of so many pairs whose labels are so good, without any curation."""
    spec = config.unverified.labels
    pairs = [
        (item, world.opinion(item, spec, "label"))
        for item in world.items(
            lab.tokenizer, seed=3000 + config.seed, num=size(config, config.unverified.num)
        )
    ]
    heldout = world.items(
        lab.tokenizer, seed=HELD_OUT_SEED, num=size(config, config.heldout), split="heldout"
    )
    margin = np.subtract(
        *models.rewards(lab, models.train(lab, pairs, seed=config.seed, **config.model), heldout).T
    )
    right = [m > 0 if item.truth == "a" else m < 0 for m, item in zip(margin, heldout, strict=True)]
    return {"stage": str(len(pairs)), "original": _figures(pairs, float(np.mean(right)))}


# ------------------------------------------------------------------ stage 1


def pick(arm: Arm, iteration: int) -> None:
    """Choose pairs of the unverified pool and have them labeled, people first."""
    stage1 = arm.config.stage1
    seen = set(arm.seen)
    left = np.array([row for row in range(len(arm.unverified)) if row not in seen])
    chosen = left[choose(arm, left, iteration)]
    share = round(stage1.human_share * len(chosen))
    votes = []
    for place, row in enumerate(chosen.tolist()):
        item = arm.unverified[row]
        if place < share and arm.config.people:
            arm.gold[row] = world.opinion(item, arm.config.voters.human, "human")
            votes.append(world.vote(item, "human:simulated", "human", arm.gold[row]))
        else:
            (arm.gold if place < share else arm.silver)[row] = world.panel(
                item, arm.config.voters.judges
            )
            votes.append(
                world.vote(item, "panel", "panel", world.panel(item, arm.config.voters.judges))
            )
    arm.store.append("votes", "label", str(iteration), votes, iteration=iteration)
    arm.seen += chosen.tolist()


def choose(arm: Arm, left: np.ndarray, iteration: int) -> np.ndarray:
    """Places in `left`, the rows that nobody has looked at, in the order in which they should be labeled."""
    stage1, seed, budget = (
        arm.config.stage1,
        arm.config.seed,
        size(arm.config, arm.config.stage1.budget),
    )
    if not iteration:
        return selection.at_random(len(left), size(arm.config, stage1.first), seed)
    if stage1.select == "random":
        return selection.at_random(len(left), budget, seed + iteration)
    if stage1.select == "diversity":
        return selection.most_diverse(arm.vectors[left], budget, seed + iteration)
    best = arm.fit(arm.labeled(arm.silver))
    if stage1.select == "uncertainty":
        return selection.most_uncertain(
            gold_errors.probability(arm.margin(best, [arm.unverified[row] for row in left]), 1.0),
            budget,
        )
    if stage1.select == "retrieval":
        return by_retrieval(arm, best, left, budget, iteration)
    raise ValueError(
        f"stage1.select = {stage1.select!r}: random, diversity, uncertainty or retrieval"
    )


def by_retrieval(
    arm: Arm, best: Model, left: np.ndarray, budget: int, iteration: int
) -> np.ndarray:
    """What the gold pairs pull by the k(p) rule, with k_max doubled until it fills the budget; the rest of the budget at random."""
    rows = sorted(arm.gold)
    found = score(arm, best, [arm.unverified[row] for row in rows], "best", iteration)
    labels = {arm.unverified[row].pair_id: arm.gold[row] for row in rows}
    p_of = gold_errors.report(
        labels,
        found,
        {arm.unverified[row].pair_id: world.attributes(arm.unverified[row]) for row in rows},
    )["p"]
    p = np.array([p_of[arm.unverified[row].pair_id] for row in rows])
    near, similarity = search.nearest(
        arm.vectors[rows], arm.vectors[left], min(search.GROUP, len(left))
    )
    k_max = min(arm.config.stage1.k_max, near.shape[1])
    while (
        len(pulled := search.pull(p, near, similarity, k_max, budget).row) < budget
        and k_max < near.shape[1]
    ):
        k_max = min(2 * k_max, near.shape[1])
    others = np.setdiff1d(np.arange(len(left)), pulled)
    filler = others[
        selection.at_random(len(others), budget - len(pulled), arm.config.seed + iteration)
    ]
    return np.concatenate([pulled, filler])


def score(
    arm: Arm, model: Model, items: Sequence[Item], chair: str, iteration: int
) -> list[dict[str, Any]]:
    """A model's rewards of pairs that it was not trained on, as rows of the ledger, which refuses others."""
    rows = [
        {
            "pair_id": item.pair_id,
            "scorer": chair,
            "model": model.name,
            "contract": "ablation",
            "reward_a": float(a),
            "reward_b": float(b),
        }
        for item, (a, b) in zip(items, models.rewards(arm.lab, model, items), strict=True)
    ]
    arm.store.append("scores", f"{chair}-{iteration}", "all", rows, iteration=iteration)
    return rows


# ------------------------------------------------------------------ stage 2


def stage2(arm: Arm, iteration: int) -> tuple[dict[int, tuple[str, str]], dict[str, Any]]:
    """The wild pool decided: row -> (action, label); and what the oracle says about the decisions of each reward model."""
    chairs = {"best": arm.silver} | ({"gold": arm.gold} if arm.config.people else {})
    trained = {}
    for chair, labels in chairs.items():
        trained[chair] = arm.fit(arm.labeled(labels))
        rows = [
            {"pair_id": item.pair_id, "model": trained[chair].name, "value": value}
            for item, value in arm.labeled(labels)
        ]
        arm.store.append("training", f"{chair}-{iteration}", "all", rows)
        score(arm, trained[chair], arm.wild, chair, iteration)
    asked = settle(arm, "stage2-ask", arm.config.stage2.table, "wild", iteration)
    wanted = [arm.wild[row] for row, (action, _) in asked.items() if action == "annotate"]
    votes = [
        world.vote(item, "panel", "panel", world.panel(item, arm.config.voters.judges))
        for item in wanted
    ]
    arm.store.append("votes", "label-wild", "all", votes, iteration=iteration)
    decided = settle(arm, "stage2", arm.config.stage2.table, "wild", iteration)
    found: dict[str, Any] = {
        "rm": {chair: arm.accuracy(model) for chair, model in trained.items()},
        "asked": len(wanted),
    }
    if arm.config.people:
        found |= audit(arm, trained, decided, iteration)
    return decided, found


def audit(
    arm: Arm, trained: dict[str, Model], decided: dict[int, tuple[str, str]], iteration: int
) -> dict[str, Any]:
    """Precision of keep and flip by each reward model and by both, and the whole vote table, against the oracle."""
    truth, original = (
        [item.truth for item in arm.wild],
        [arm.original[item.pair_id] for item in arm.wild],
    )
    precision = {}
    for name, table in AUDITED.items():
        actions = settle(arm, f"audit-{table}", table, "wild", iteration)
        precision[name] = agreement.decision_precision(
            original, [actions[row][0] for row in range(len(arm.wild))], truth
        )
    votes: dict[str, list[str | None]] = {"original": list(original)}
    votes |= {
        chair: agreement.votes_of(*models.rewards(arm.lab, model, arm.wild).T)
        for chair, model in trained.items()
    }
    judged = arm.store.query("select pair_id, value from votes where kind = 'panel'").to_pylist()
    said = {row["pair_id"]: row["value"] for row in judged}
    votes["judges"] = [said.get(item.pair_id) for item in arm.wild]
    actions = [decided[row][0] for row in range(len(arm.wild))]
    return {"precision": precision, "votes": agreement.vote_table(votes, actions, truth)}


# ------------------------------------------------------------------ both stages


def settle(
    arm: Arm, stage: str, table: str, entry: str, iteration: int
) -> dict[int, tuple[str, str]]:
    """Decide the pool by the table: row -> (action, the label it goes on with)."""
    decisions.decide(arm.store, stage, table=table, entry=entry, iteration=iteration)
    found = {
        row["pair_id"]: row
        for row in arm.store.query("select * from decisions where stage = ?", [stage]).to_pylist()
    }
    pool = arm.unverified if entry == "unverified" else arm.wild
    return {
        row: (found[item.pair_id]["action"], found[item.pair_id]["value"])
        for row, item in enumerate(pool)
    }


def measure(
    arm: Arm, decided: dict[int, tuple[str, str]], wild: dict[int, tuple[str, str]]
) -> dict[str, Any]:
    """For each of `config.sets`: how many pairs, how many of their labels are right, and what a reward model of them reaches."""
    rows = [(arm.unverified[row], *decided[row]) for row in arm.seen] + [
        (arm.wild[row], *one) for row, one in wild.items()
    ]
    sets = {
        "original": [(item, arm.original[item.pair_id]) for item, _, _ in rows],
        "filtered": [(item, value) for item, action, value in rows if action == "keep"],
        "flipped": [(item, value) for item, action, value in rows if action in ("keep", "flip")],
    }
    return {
        name: _figures(sets[name], arm.accuracy(arm.fit(sets[name]))) for name in arm.config.sets
    }


def _figures(pairs: Labeled, accuracy: float) -> dict[str, Any]:
    """`against_style`: of how many pairs the right response shows less style, so that they teach a model not to look at it."""
    right = float(np.mean([item.truth == value for item, value in pairs]))
    against_style = float(np.mean([item.styles[0] < item.styles[1] for item, _ in pairs]))
    return {
        "pairs": len(pairs),
        "labels_right": right,
        "against_style": against_style,
        "accuracy": accuracy,
    }
