"""Curation on real text: does it find wrong labels that were planted among right ones?

    python -m experiments.curation_real [--data ../shared/data] [--workdir runs/curation_real]
        [--seeds 1] [--scale 1.0]

Pairs and their planted errors are those of `experiments/spoilt_pairs.py`. The product's two stages
curate them, driven through a workspace:

    stage 1    people label some unverified pairs (gold), judges the others (silver)
    stage 2    gold RM and best RM, trained on these, score the wild pool; judges are asked where
               the table says so; pairs are kept, flipped or discarded

People are simulated. The judges are scripted ones, asked by the product's plug-in over real HTTP.
The reward models are real: small Qwen3-shaped ones from scratch. Models, ledger and judges' answers
stay in the workdir, and the same command goes on where it ended.

The last line is one JSON object: precision and recall of keep and flip by whoever decides, and
held-out accuracy of models trained on the original labels, on what is kept, on what is kept or
flipped, and on the oracle's.
"""

import argparse
import dataclasses
import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from experiments import measures, spoilt_pairs, voters
from experiments.curation_ablation import interval
from experiments.lab import Lab, Models, Recipe
from experiments.measures import Arm, HeldOut
from experiments.spoilt_pairs import Actions, Pool, audit, original
from rewardjax.config import Config
from rewardjax.curation.defaults import curation
from rewardjax.curation.judges import protocol, scripted_server
from rewardjax.curation.judges.scripted_judge import Behavior, truth_of
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.ledger.stage_names import Stage
from rewardjax.curation.stages import labeling, loop, product, stage2
from rewardjax.curation.workspace import Workspace, open_workspace
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import Group
from rewardjax.models import reward, variants
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import Layout, make_mesh
from rewardjax.reporting import text_table
from rewardjax.scoring import rows as scoring

# People, and the share of the unverified pool that they label.
HUMAN, HUMAN_SHARE = "random:0.05", 0.5
PANEL = {
    "one": Behavior(accuracy=0.8, systematic=0.7, length_bias=0.1),
    "two": Behavior(accuracy=0.75, systematic=0.7, position_bias=0.2),
    "three": Behavior(
        accuracy=0.75, systematic=0.7, no_preference=0.1, malformed=0.05, rate_limited=0.02
    ),
}
STAGE2 = "flip_both"
JUDGES_ALONE = (
    {"judges": "for", "then": "keep", "rule": "judges agree with the label"},
    {"judges": "against", "then": "flip", "rule": "judges prefer the other response"},
    {"then": "discard", "rule": "judges see no better response"},
)
# Who could decide instead of Stage 2's table, each alone.
DECIDERS = {
    "gold RM": "gold_rm",
    "best RM": "best_rm",
    "both RMs": "both_rms",
    "judges": JUDGES_ALONE,
}
# Differences of held-out accuracy, within seeds.
COMPARED = (("filtered", "original"), ("flipped", "filtered"), ("oracle", "original"))

# Tokens of a conversation: 256 leave out two pairs in five, those with long answers.
LONGEST = 512
MODEL: dict[str, Any] = {
    "width": 64,
    "mlp_width": 192,
    "layers": 2,
    "heads": 2,
    "kv_heads": 2,
    "head_dim": 32,
}
# docs/log.md says what two epochs did.
TRAINING: dict[str, Any] = {"epochs": 1.0, "batch": 32, "rate": 2e-3}


def main() -> None:
    """Run every seed, print tables and the JSON line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.curation_real",
        description="The curation on real text with planted errors.",
    )
    data, workdir = pathlib.Path("../shared/data"), pathlib.Path("runs/curation_real")
    parser.add_argument(
        "--data", type=pathlib.Path, default=data, help="holds zeroeval/ and tokenizers/qwen3/"
    )
    parser.add_argument(
        "--workdir", type=pathlib.Path, default=workdir, help="keeps models and workspaces"
    )
    parser.add_argument(
        "--seeds", type=int, default=1, help="how many draws of pairs, errors and opinions"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of problems")
    args = parser.parse_args()
    started, cpu = time.monotonic(), time.process_time()
    problems = spoilt_pairs.read(args.data / "zeroeval/gsm_responses.jsonl.gz", args.scale)
    truth = truth_of(map(_as_record, problems))
    with jax.set_mesh(make_mesh()), scripted_server.serve(PANEL, truth) as server:
        lab = open_lab(args.workdir / "models", args.data / "tokenizers/qwen3")
        results = [run(lab, problems, seed, args.workdir, server.url) for seed in range(args.seeds)]
    figures = summary(results)
    show(figures)
    about = {"benchmark": "curation_real", "seeds": args.seeds, "scale": args.scale}
    cost = {
        "seconds": round(time.monotonic() - started),
        "cpu_seconds": round(time.process_time() - cpu),
    }
    print(json.dumps({**about, **figures, **cost}))


def _as_record(problem: Group) -> dict[str, Any]:
    return {
        "id": problem.id,
        "prompt": problem.prompt,
        "responses": problem.responses,
        "correct": problem.correct,
    }


def open_lab(folder: pathlib.Path, tokenizer: pathlib.Path) -> Lab:
    """A lab of small models from scratch: no pretrained one of this tokenizer is at hand."""
    chat = ChatTokenizer.load(tokenizer, pad_token="<|vision_pad|>")
    config = variants.get("tiny-qwen3", vocab_size=151_680, **MODEL)
    model = reward.init(config, Compute(dtype="float32", remat="none"), Layout(), seed=0)
    graph, start = nnx.split(model, nnx.Param)
    return Lab(
        chat,
        graph,
        start,
        scoring.make_score_rows(graph),
        backbone=f"scratch {MODEL}",
        folder=folder,
        longest=LONGEST,
        row_length=1024,
        pairs_per_row=16,
        rows=4,
    )


# ------------------------------------------------------------------ one seed


def run(
    lab: Lab, problems: Sequence[Group], seed: int, workdir: pathlib.Path, judges: str
) -> dict[str, Any]:
    """Curate a draw of the pools and measure it. judges: the address of the panel's server."""
    pools = {name: spoilt_pairs.pool(problems, name, seed, lab) for name in spoilt_pairs.SPLITS}
    paths = {}
    for name in ("unverified", "wild"):
        paths[name] = workdir / f"pairs-{seed}" / f"{name}.jsonl"
        spoilt_pairs.write(pools[name], name, paths[name])
    heldout = HeldOut(pools["heldout"].oracle, pools["heldout"].tokens)
    oracle = {**pools["unverified"].oracle, **pools["wild"].oracle}
    arm = Arm(lab, Recipe(**TRAINING, seed=seed), oracle, heldout)
    models = Models(lab, arm.recipe)
    plugins = dataclasses.replace(
        product.PLUGINS,
        people=voters.People(oracle, HUMAN),
        train=models.train,
        load=models.load,
    )
    config = of_loop(paths, len(pools["unverified"].records), seed, judges)
    with open_workspace(workdir / f"seed-{seed}", config, plugins) as ws:
        loop.run(ws)
        return measure(ws, arm, pools)


def of_loop(paths: Mapping[str, pathlib.Path], pairs: int, seed: int, judges: str) -> Config:
    """The curation config: one iteration that labels all `pairs` of the unverified pool."""
    config = curation()
    config.seed = seed
    config.sources = {name: dict(source=str(path), entry=name) for name, path in paths.items()}
    # Pairs of one problem are alike by design, and numbers abound in its answers.
    config.clean.update(near=None, pii=None)
    # Scripted judges look neither at attributes nor, here, at examples.
    config.tag, config.shots = False, 0
    config.judges = tuple(
        dict(name=name, model=name, base_url=judges, samples=2, max_tokens=256) for name in PANEL
    )
    # One annotator per pair and no checks: what people cost is not what is measured here.
    config.people.update(annotators=("one",), overlap=0.0, checks=0.0)
    config.stage1.update(iterations=0, first=pairs, human_share=HUMAN_SHARE)
    config.stage2.update(table=STAGE2, folds=0)
    # How well the models do is the result; a gate would end the experiment instead.
    config.gates.update(best_accuracy=None, gold_accuracy=None, flipped=None)
    config.gates.agreement.update(models=None, flips=None)
    return config


def measure(ws: Workspace, arm: Arm, pools: Mapping[str, Pool]) -> dict[str, Any]:
    """Everything that is reported of one seed, as JSON values."""
    wild = pools["wild"].oracle
    decisions = measures.decided(ws, stage_names.decided_wild(stage2.number(ws)))
    ids = [decision.pair_id for decision in decisions]
    judged = judged_everywhere(ws, ids)
    sides = measures.wild_sides(ws, ids, judged)
    by_decider: dict[str, Actions] = {}
    for name, table in DECIDERS.items():
        by_decider[name] = dict(zip(ids, measures.actions(table, sides), strict=True))
    by_decider["stage 2"] = {decision.pair_id: decision.action for decision in decisions}
    sets = measures.label_sets(ws, measures.picked(ws, 0) + decisions)
    sets["oracle"] = {pair_id: arm.oracle[pair_id].better for pair_id in sets["original"]}
    accuracy = {}
    for name, figures in measures.of_sets(ws, arm, sets).items():
        accuracy[name] = figures["accuracy"]
    labels_right = [original(truth, "wild") == truth.better for truth in wild.values()]
    longer_is_right = [truth.styles[0] > truth.styles[1] for truth in arm.heldout.oracle.values()]
    judges_right = [judged.get(pair_id) == wild[pair_id].better for pair_id in ids]
    return {
        "pools": {name: len(pool.records) for name, pool in pools.items()},
        "trained_on": trained_on(ws),
        "labels_right": float(np.mean(labels_right)),
        "longer_is_right": float(np.mean(longer_is_right)),
        "judges_right": float(np.mean(judges_right)),
        "reward_models": measures.accuracy_by_seat(ws, arm),
        "decisions": {name: audit(wild, actions) for name, actions in by_decider.items()},
        "accuracy": accuracy,
        "gains": {
            f"{better} over {base}": accuracy[better] - accuracy[base] for better, base in COMPARED
        },
    }


def judged_everywhere(ws: Workspace, pair_ids: Sequence[str]) -> dict[str, str]:
    """What the panel says about every wild pair, which only the audit asks: not in the ledger."""
    stage = Stage("judged-everywhere", stage2.number(ws), ("votes",))
    # The very questions of Stage 2 where it asked them, so that those are not asked again.
    votes: list[Any] = sorted(
        ws.plugins.judge(ws, labeling.as_items(ws, pair_ids), stage),
        key=lambda vote: (vote["pair_id"], vote["voter"], vote["sample"]),
    )
    merged = protocol.panel(votes, **ws.config.panel.to_dict())
    return {vote["pair_id"]: vote["value"] for vote in merged}


def trained_on(ws: Workspace) -> dict[str, int]:
    """How many pairs each seat's reward model learned from."""
    iteration = stage2.number(ws)
    return {
        seat: len(stage_names.trained(seat, iteration).rows(ws.store, "training"))
        for seat in ("gold", "best")
    }


# ------------------------------------------------------------------ what came of it


def summary(results: Sequence[Any]) -> Any:
    """The same tree with [mean, low, high] over seeds at its leaves, None where a seed has none."""
    first = results[0]
    if isinstance(first, dict):
        return {key: summary([result[key] for result in results]) for key in first}
    if None in results:
        return None
    return [value and round(value, 4) for value in interval(map(float, results))]


def show(figures: Mapping[str, Any]) -> None:
    """Print who decides how well, and what it is worth, as tables of means."""
    rows = []
    for name, of_decider in figures["decisions"].items():
        row = {"decided by": name}
        for action in ("keep", "flip"):
            for measured in ("precision", "recall"):
                row[f"{action} {measured}"] = _mean(of_decider[action][measured])
        rows.append(row)
    print(text_table.table(rows))
    rows = []
    for name, value in figures["accuracy"].items():
        rows.append({"model trained on": name, "held-out accuracy": _mean(value)})
    print(text_table.table(rows))
    rows = [
        {"gain": name, "within seeds": _mean(value)} for name, value in figures["gains"].items()
    ]
    print(text_table.table(rows))


def _mean(value: Sequence[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value[0]:.3f}"


if __name__ == "__main__":
    main()
