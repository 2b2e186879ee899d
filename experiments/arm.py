"""One arm of the curation ablation: the product's two stages on the embedded world.

The stages are `rewardjax.curation.stages`, driven through a workspace; people, judges, taggers and
reward models are plug-ins. After each stage reward models are trained on the pairs seen so far:
with their original labels, with those that were kept, with those that were kept or flipped.
"""

import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import measures, voters
from experiments.lab import Lab, Models, Recipe, tokens_of
from experiments.measures import Arm, Decision, HeldOut
from experiments.voters import Oracle
from rewardjax.config import Config
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.ledger.rows import PairText
from rewardjax.curation.stages import product, stage1, stage2
from rewardjax.curation.workspace import Plugins, Workspace, open_workspace
from rewardjax.data import world
from rewardjax.stats import agreement

# Pools are drawn apart by these, so that no seed's wild pool is another seed's unverified one.
UNVERIFIED, WILD, ALONE = 1000, 2000, 3000
HELD_OUT_SEED = 0

# Stage 2 tables whose decisions the oracle audits, by who decides.
AUDITED = {"gold RM": "gold_rm", "best RM": "best_rm", "both": "both_rms"}


def run(lab: Lab, config: Config, folder: pathlib.Path) -> dict[str, Any]:
    """Everything that an arm measures, as JSON values.

    Returns {"stages": [...]}, and after Stage 2 also "rm", "asked", "precision" and "votes".
    """
    recipe = Recipe(**config.model, seed=config.seed)
    heldout = held_out(lab, config.heldout)
    if config.experiment == "labels":
        return {"stages": [labels_alone(lab, recipe, config, heldout)]}
    # Models are kept in the lab; a ledger is cheap, and this one belongs to one run.
    shutil.rmtree(folder, ignore_errors=True)
    seeds = {"unverified": UNVERIFIED + config.seed, "wild": WILD + config.seed}
    oracle: dict[str, voters.Truth] = {}
    for entry, seed in seeds.items():
        oracle |= voters.of_world(seed, config[entry].num)
    arm = Arm(lab, recipe, oracle, heldout)
    with open_workspace(folder, of_loop(config, seeds), plugins(lab, recipe, config, oracle)) as ws:
        return curate(ws, arm, config)


def of_loop(config: Config, seeds: Mapping[str, int]) -> Config:
    """The curation config of an arm: `loop`, with its seed and its two pools."""
    loop = config.loop.copy_and_resolve_references()
    with loop.unlocked():
        loop.seed = config.seed
        for entry, seed in seeds.items():
            pool = config[entry]
            source = f"world:train?num={pool.num}&labels={pool.labels}&seed={seed}"
            loop.sources[entry] = dict(source=source, entry=entry)
    return loop


def plugins(lab: Lab, recipe: Recipe, config: Config, oracle: Oracle) -> Plugins:
    """Who answers in an arm."""
    judges = voters.Judges(oracle, config.voters.judges)
    people = voters.People(oracle, config.voters.human)
    models = Models(lab, recipe)
    if not config.people:
        people = judges.as_people
    return Plugins(
        people=people,
        judge=judges,
        describe=voters.Taggers(oracle),
        embedder=product.embedder,
        train=models.train,
        load=models.load,
    )


def curate(ws: Workspace, arm: Arm, config: Config) -> dict[str, Any]:
    """Run the loop's stages and measure what each leaves."""
    iterations, table = ws.config.stage1.iterations, ws.config.stage2.table
    stages = []
    stage1.prepare(ws)
    for iteration in range(iterations + 1):
        stage1.iterate(ws, iteration)
        is_last = iteration == iterations and not table
        if is_last or config.measure == "all":
            name = f"iteration {iteration}"
            if iteration == 0:
                name = "seed"
            pairs = measures.picked(ws, iteration)
            stages.append({"stage": name, **worth(ws, arm, config.sets, pairs)})
    if not table:
        return {"stages": stages}
    stage2.run(ws)
    wild = measures.decided(ws, stage_names.decided_wild(stage2.number(ws)))
    pairs = measures.picked(ws, iterations) + wild
    stages.append({"stage": "stage 2", **worth(ws, arm, config.sets, pairs)})
    return {"stages": stages, **audit(ws, arm, wild)}


def worth(
    ws: Workspace, arm: Arm, names: Sequence[str], pairs: Sequence[Decision]
) -> dict[str, Any]:
    """`measures.figures` of the sets of labels with these names, of these pairs."""
    sets = measures.label_sets(ws, pairs)
    return measures.of_sets(ws, arm, {name: sets[name] for name in names})


def audit(ws: Workspace, arm: Arm, wild: Sequence[Decision]) -> dict[str, Any]:
    """What the oracle says of Stage 2.

    Held-out accuracy of the seats' models; the precision of keep and flip by each of them alone and
    by both; every combination of votes that occurs, with what was decided and who was right.
    """
    ids = [decision.pair_id for decision in wild]
    judged = measures.votes_in(ws, stage_names.panel_wild(stage2.number(ws)))
    original_of = measures.original_labels(ws)
    original = [original_of[pair_id] for pair_id in ids]
    truth = [arm.oracle[pair_id].better for pair_id in ids]
    sides = measures.wild_sides(ws, ids, judged)
    precision = {}
    for name, table in AUDITED.items():
        actions = measures.actions(table, sides)
        precision[name] = agreement.decision_precision(original, actions, truth)
    votes = {
        "original": original,
        # Rewards are known up to a constant: a margin against zero is as good as two rewards.
        "best": agreement.votes_of(sides.best, 0.0),
        "gold": agreement.votes_of(sides.gold, 0.0),
        "judges": [judged.get(pair_id) for pair_id in ids],
    }
    return {
        "rm": measures.accuracy_by_seat(ws, arm),
        "asked": len(judged),
        "precision": precision,
        "votes": agreement.vote_table(votes, [decision.action for decision in wild], truth),
    }


# ------------------------------------------------------------------ pairs outside of the loop


def held_out(lab: Lab, num: int) -> HeldOut:
    """Pairs of the world's held-out split, the same for every seed."""
    oracle = voters.of_world(HELD_OUT_SEED, num, split="heldout")
    return HeldOut(oracle, tokens_of(lab, texts_of_world(HELD_OUT_SEED, num, "heldout")))


def texts_of_world(seed: int, num: int, split: str) -> list[PairText]:
    """Pairs of the world as the ledger would hold them, each once."""
    texts = {}
    for record in world.generate(seed, num, split=split):
        pair = voters.pair_text(record)
        texts[pair["pair_id"]] = pair
    return list(texts.values())


def labels_alone(lab: Lab, recipe: Recipe, config: Config, heldout: HeldOut) -> dict[str, Any]:
    """A model of so many pairs whose labels are so good, without any curation."""
    pool, seed = config.unverified, ALONE + config.seed
    oracle = voters.of_world(seed, pool.num)
    labels = {}
    for pair_id, truth in oracle.items():
        labels[pair_id] = voters.opinion(truth, pool.labels, "label")
    tokens = tokens_of(lab, texts_of_world(seed, pool.num, "train"))
    arm = Arm(lab, recipe, oracle, heldout)
    return {"stage": str(len(labels)), "original": measures.figures(arm, labels, tokens)}
