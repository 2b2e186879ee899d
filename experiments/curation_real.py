"""The curation on real text: can it find wrong labels that were planted among right ones, when correctness is what the labels are about?

    python -m experiments.curation_real [--data ../shared/data] [--workdir runs/curation_real] [--seeds 1] [--scale 1.0]

Pairs are a right and a wrong answer of up to 44 models to one grade-school problem (ZeroEval); correctness is the hidden oracle. Labels are
spoilt in two ways: at random, and by a labeler who always prefers the longer answer. Problems, never pairs, are split into an unverified
pool, a wild pool and a held-out set. Then the two stages, with `curation/decide.py` deciding from the ledger:

    stage 1    people label some unverified pairs (gold), judges the others (silver); gold RM and best RM are trained on these
    stage 2    both score the wild pool; judges are asked where the table says so; pairs are kept, flipped or discarded

People are simulated and the judges are scripted ones behind real HTTP, of the qualities below; the reward models are real: small
Qwen3-shaped ones from scratch, since no pretrained one is at hand. The last line is one JSON object: precision and recall of keep and flip
by whoever decides, and held-out accuracy of models trained on the original labels, on what is kept, on what is kept or flipped, and on
the oracle's.
"""

import argparse
import dataclasses
import json
import pathlib
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from experiments.ablation import models, world
from experiments.ablation.models import Lab, Labeled, Model
from experiments.ablation.world import Item
from experiments.curation_ablation import interval
from rewardjax.curation.judges import asking, prompts, protocol, scripted_server
from rewardjax.curation.judges.client import Judge
from rewardjax.curation.judges.paid_calls import CallLedger
from rewardjax.curation.judges.scripted_judge import Behavior, truth_of
from rewardjax.curation.judges.scripted_server import JudgeServer
from rewardjax.curation.ledger import decisions
from rewardjax.curation.ledger.rows import canonical, other
from rewardjax.curation.ledger.store import Store
from rewardjax.data import formats, sources
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import BadRecord, Group, check, pair_id
from rewardjax.data.pack import take_pair
from rewardjax.data.tokenize import in_part, tokenize_group
from rewardjax.data.world import labels
from rewardjax.data.world.draw import Draw
from rewardjax.models import reward, variants
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import Layout, make_mesh
from rewardjax.reporting import text_table
from rewardjax.scoring import rows as scoring
from rewardjax.stats import agreement

LONGEST = 512  # tokens of a conversation; 256 leave out two pairs in five, those with long answers
SPLITS = {
    "unverified": (0.0, 0.35),
    "wild": (0.35, 0.8),
    "heldout": (0.8, 1.0),
}  # of the hash of a problem
PER_PROBLEM = {"unverified": 8, "wild": 6, "heldout": 6}  # pairs
NOISE = "0.4*honest+0.3*random:0.5+0.3*style:1"  # 15% turned at random; 30% labeled by length alone
HUMAN, GOLD = "random:0.05", 0.5  # people, and their share of the unverified pool
PANEL = {
    "one": Behavior(accuracy=0.8, systematic=0.7, length_bias=0.1),
    "two": Behavior(accuracy=0.75, systematic=0.7, position_bias=0.2),
    "three": Behavior(
        accuracy=0.75, systematic=0.7, no_preference=0.1, malformed=0.05, rate_limited=0.02
    ),
}
PRICES: dict[str, Any] = {
    "price_input": 0.5,
    "price_output": 1.5,
}  # dollars per million tokens, for the cost ledger
STAGE2 = "flip_both"
JUDGES_ALONE = (
    {"judges": "for", "then": "keep", "rule": "judges agree with the label"},
    {"judges": "against", "then": "flip", "rule": "judges prefer the other response"},
    {"then": "discard", "rule": "judges see no better response"},
)
DECIDERS = {
    "gold RM": "gold_rm",
    "best RM": "best_rm",
    "both RMs": "both_rms",
    "judges": JUDGES_ALONE,
    "stage 2": STAGE2,
}
COMPARED = (
    ("filtered", "original"),
    ("flipped", "filtered"),
    ("oracle", "original"),
)  # within seeds
Decided = dict[str, dict[str, Any]]  # pair_id -> its row of `decisions`

MODEL: dict[str, Any] = {
    "width": 64,
    "mlp_width": 192,
    "layers": 2,
    "heads": 2,
    "kv_heads": 2,
    "head_dim": 32,
}
TRAINING: dict[str, Any] = {
    "epochs": 1.0,
    "batch": 32,
    "rate": 2e-3,
}  # docs/log.md says what two epochs did


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.curation_real",
        description="The curation on real text with planted noise.",
    )
    parser.add_argument(
        "--data",
        type=pathlib.Path,
        default=pathlib.Path("../shared/data"),
        help="holds zeroeval/ and tokenizers/qwen3/",
    )
    parser.add_argument(
        "--workdir",
        type=pathlib.Path,
        default=pathlib.Path("runs/curation_real"),
        help="keeps models and the judges' answers",
    )
    parser.add_argument(
        "--seeds", type=int, default=1, help="how many draws of pairs, noise and opinions"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of problems")
    args = parser.parse_args()
    started, cpu = time.monotonic(), time.process_time()
    groups = read(args.data / "zeroeval/gsm_responses.jsonl.gz", args.scale)
    truth = truth_of(map(_record, groups))
    with jax.set_mesh(make_mesh()), scripted_server.serve(PANEL, truth) as server:
        lab = open_lab(args.workdir / "models", args.data / "tokenizers/qwen3")
        results = [run(lab, groups, seed, args.workdir, server) for seed in range(args.seeds)]
    found = summary(results)
    show(found)
    seconds = {
        "seconds": round(time.monotonic() - started),
        "cpu_seconds": round(time.process_time() - cpu),
    }
    print(
        json.dumps(
            {
                "benchmark": "curation_real",
                "seeds": args.seeds,
                "scale": args.scale,
                **found,
                **seconds,
            }
        )
    )


# ------------------------------------------------------------------ pairs and models


def read(path: pathlib.Path, scale: float) -> list[Group]:
    """The problems that have right and wrong answers."""
    found = []
    for row, record in enumerate(sources.open_source(path)):
        group, _ = check(formats.to_group(record, row, "zeroeval"))
        if group.pairs and Draw("problem", group.id).chance(scale):
            found.append(group)
    return found


def _record(group: Group) -> dict[str, Any]:
    return {
        "id": group.id,
        "prompt": group.prompt,
        "responses": group.responses,
        "correct": group.correct,
    }


def items(groups: Iterable[Group], name: str, seed: int, tokenizer: ChatTokenizer) -> list[Item]:
    """A pool: some pairs of each of its problems, those that do not fit left out. The style of an answer is its number of words."""
    found: dict[str, Item] = {}
    for group in groups:
        if not in_part(group, SPLITS[name]):
            continue
        for pair in Draw("pairs", seed, group.id).sample(
            group.pairs, min(PER_PROBLEM[name], len(group.pairs))
        ):
            right, wrong = group.responses[pair.chosen], group.responses[pair.rejected]
            a, b, right_first = canonical(right, wrong)
            try:
                tokens = tokenize_group(
                    dataclasses.replace(group, responses=[a, b], pairs=[], correct=None),
                    tokenizer,
                    LONGEST,
                    "drop",
                )
            except BadRecord:
                continue
            record = {
                "id": f"{group.id}/{pair.chosen}/{pair.rejected}/{seed}",
                "prompt": group.prompt,
                "chosen": right,
                "rejected": wrong,
            }
            words = lambda response: len(response[-1]["content"].split())
            identity = pair_id(group.prompt, a, b)
            styles = (words(right), words(wrong))
            found[identity] = Item(
                identity, record, take_pair(tokens, 0, 1), "a" if right_first else "b", styles
            )
    return [found[identity] for identity in sorted(found)]


def open_lab(folder: pathlib.Path, tokenizer: pathlib.Path) -> Lab:
    """Small models from scratch."""
    chat = ChatTokenizer.load(tokenizer, pad_token="<|vision_pad|>")
    config = variants.get("tiny-qwen3", vocab_size=151_680, **MODEL)
    graph, start = nnx.split(
        reward.init(config, Compute(dtype="float32", remat="none"), Layout(), seed=0), nnx.Param
    )
    score_rows = scoring.make_score_rows(graph)
    return Lab(
        chat, graph, start, score_rows, f"scratch {MODEL}", folder, row=1024, per_row=16, rows=4
    )


def accuracy(lab: Lab, model: Model, pool: Sequence[Item]) -> float:
    """Share of pairs whose right answer has the higher reward."""
    margin = np.subtract(*models.rewards(lab, model, pool).T)
    return float(
        np.mean(
            [m > 0 if item.truth == "a" else m < 0 for m, item in zip(margin, pool, strict=True)]
        )
    )


# ------------------------------------------------------------------ the two stages


def run(
    lab: Lab, groups: Sequence[Group], seed: int, workdir: pathlib.Path, server: JudgeServer
) -> dict[str, Any]:
    """Everything that one seed measures."""
    shutil.rmtree(
        workdir / f"store-{seed}", ignore_errors=True
    )  # a ledger is cheap; models and judges' answers are kept
    store, calls = Store(workdir / f"store-{seed}"), CallLedger(workdir / "calls.sqlite")
    pools = {name: items(groups, name, seed, lab.tokenizer) for name in SPLITS}
    for name in ("unverified", "wild"):
        world.write_pool(store, pools[name], name, NOISE)
    wild, heldout = pools["wild"], pools["heldout"]
    labeled, gold, silver = stage1(store, pools["unverified"], seed, server, calls)
    trained = {
        chair: models.train(lab, pairs, seed=seed, **TRAINING)
        for chair, pairs in (("gold", gold), ("best", silver))
    }
    for (chair, model), pairs in zip(trained.items(), (gold, silver), strict=True):
        store.append(
            "training",
            chair,
            "all",
            [{"pair_id": i.pair_id, "model": model.name, "value": v} for i, v in pairs],
        )
        store.append("scores", chair, "all", score_rows(lab, model, wild, chair), iteration=1)
    decided, judged = stage2(store, wild, server, calls)
    found = final_models(lab, pools, labeled, decided["stage 2"], seed)
    return {
        "pools": {name: len(pool) for name, pool in pools.items()},
        "trained_on": {"gold": len(gold), "best": len(silver)},
        "labels_right": float(np.mean([original(item, "wild") == item.truth for item in wild])),
        "longer_is_right": float(np.mean([item.styles[0] > item.styles[1] for item in heldout])),
        "judges_right": float(np.mean([judged.get(item.pair_id) == item.truth for item in wild])),
        "reward_models": {chair: accuracy(lab, model, heldout) for chair, model in trained.items()},
        "decisions": {name: audit(wild, actions) for name, actions in decided.items()},
        "accuracy": found,
        "gains": {
            f"{one} over {another}": found[one] - found[another] for one, another in COMPARED
        },
    }


def stage1(
    store: Store, pool: Sequence[Item], seed: int, server: JudgeServer, calls: CallLedger
) -> tuple[Decided, Labeled, Labeled]:
    """(decisions about the unverified pool, pairs labeled by people, pairs labeled by judges)."""
    shuffled = Draw("gold", seed).shuffled(pool)
    people, machines = shuffled[: round(GOLD * len(pool))], shuffled[round(GOLD * len(pool)) :]
    said = [
        world.vote(item, "human:simulated", "human", world.opinion(item, HUMAN, "human"))
        for item in people
    ]
    store.append("votes", "people", "all", said)
    store.append("votes", "judges-silver", "all", ask(machines, server, calls))
    decided = settle(store, "stage1", "stage1", "unverified", 0)
    gold, silver = (
        [(item, decided[item.pair_id]["value"]) for item in part if decided[item.pair_id]["value"]]
        for part in (people, machines)
    )
    return decided, gold, silver


def stage2(
    store: Store, wild: Sequence[Item], server: JudgeServer, calls: CallLedger
) -> tuple[dict[str, Decided], dict[str, str]]:
    """(decisions about the wild pool by each of DECIDERS, what the judges say of every pair). Only "judges" decides with all of that; the
    others hear the judges where Stage 2 asks them."""
    asked = settle(store, "stage2-ask", STAGE2, "wild", 1)
    wanted = [item for item in wild if asked[item.pair_id]["action"] == "annotate"]
    store.append("votes", "judges-wild", "all", ask(wanted, server, calls), iteration=1)
    everywhere = [
        row | {"voter": "panel-everywhere"}
        for row in ask(wild, server, calls)
        if row["voter"] == "panel"
    ]
    store.append("votes", "judges-everywhere", "all", everywhere, iteration=1)
    voter = {name: "panel-everywhere" if name == "judges" else "panel" for name in DECIDERS}
    stage = lambda name: f"by-{name.replace(' ', '-')}"
    decided = {
        name: settle(store, stage(name), table, "wild", 1, judges=voter[name])
        for name, table in DECIDERS.items()
    }
    return decided, {row["pair_id"]: row["value"] for row in everywhere}


def ask(pool: Sequence[Item], server: JudgeServer, calls: CallLedger) -> list[dict[str, Any]]:
    """The judges' votes about a pool and the panel's."""
    panel = [Judge(name, name, server.url, samples=2, max_tokens=256, **PRICES) for name in PANEL]
    shown = [prompts.Item(item.pair_id, item.record["prompt"], _responses(item)) for item in pool]
    report = asking.ask(shown, panel, calls, purpose="curation_real")
    if report["settled"] < report["questions"]:
        raise RuntimeError(f"judges: {report}")
    rows = list(protocol.votes(shown, panel, calls))
    return rows + list(protocol.panel(rows))


def _responses(item: Item) -> tuple[list, list]:
    a, b, _ = canonical(item.record["chosen"], item.record["rejected"])
    return a, b


def score_rows(lab: Lab, model: Model, pool: Sequence[Item], chair: str) -> list[dict[str, Any]]:
    about = {"scorer": chair, "model": model.name, "contract": "benchmark"}
    found = zip(pool, models.rewards(lab, model, pool).tolist(), strict=True)
    return [
        {"pair_id": item.pair_id, **about, "reward_a": a, "reward_b": b} for item, (a, b) in found
    ]


def settle(
    store: Store, stage: str, table: Any, entry: str, iteration: int, **settings: Any
) -> Decided:
    """Decide a pool."""
    decisions.decide(store, stage, table=table, entry=entry, iteration=iteration, **settings)
    return {
        row["pair_id"]: row
        for row in store.query("select * from decisions where stage = ?", [stage]).to_pylist()
    }


# ------------------------------------------------------------------ what came of it


def planted(item: Item, entry: str) -> tuple[str, bool]:
    """(who labeled the pair: honest, random:... or style:..., whether the label is right)."""
    voter = f"original-{entry}"  # as world.write_pool asks for it
    right, source = labels.label(
        labels.parse(NOISE), *item.styles, Draw("opinion", voter, NOISE, item.record["id"])
    )
    return source, right


def original(item: Item, entry: str) -> str:
    return item.truth if planted(item, entry)[1] else other(item.truth)


def audit(pool: Sequence[Item], decided: Decided) -> dict[str, Any]:
    """Precision and recall of keep (labels that are right) and of flip (labels that are wrong), and of the wrong labels of each kind the
    share that was flipped and the share that slipped through."""
    actions = [decided[item.pair_id]["action"] for item in pool]
    found = agreement.decision_precision(
        [original(item, "wild") for item in pool], actions, [item.truth for item in pool]
    )
    kinds = [planted(item, "wild") for item in pool]
    right = sum(honest for _, honest in kinds)
    result: dict[str, Any] = {
        action: {
            "pairs": one["pairs"],
            "precision": one["precision"],
            "recall": one["right"] / total if total else None,
        }
        for (action, one), total in zip(found.items(), (right, len(pool) - right), strict=True)
    }
    for kind in sorted({kind for kind, honest in kinds if not honest}):
        wrong = [
            action
            for action, (source, honest) in zip(actions, kinds, strict=True)
            if source == kind and not honest
        ]
        result[f"wrong by {kind}"] = {
            "pairs": len(wrong),
            "flipped": wrong.count("flip") / len(wrong),
            "kept": wrong.count("keep") / len(wrong),
        }
    return result


def final_models(
    lab: Lab, pools: dict[str, list[Item]], unverified: Decided, wild: Decided, seed: int
) -> dict[str, float]:
    """Held-out accuracy of a model of all pairs with their original labels, of those kept, of those kept or flipped, and of the oracle's
    labels of all pairs."""
    rows = [
        (item, entry, decision[item.pair_id])
        for entry, decision in (("unverified", unverified), ("wild", wild))
        for item in pools[entry]
    ]
    sets: dict[str, Labeled] = {
        "original": [(item, original(item, entry)) for item, entry, _ in rows],
        "filtered": [
            (item, found["value"]) for item, _, found in rows if found["action"] == "keep"
        ],
        "flipped": [
            (item, found["value"]) for item, _, found in rows if found["action"] in ("keep", "flip")
        ],
        "oracle": [(item, item.truth) for item, _, _ in rows],
    }
    return {
        name: accuracy(lab, models.train(lab, pairs, seed=seed, **TRAINING), pools["heldout"])
        for name, pairs in sets.items()
    }


def summary(results: Sequence[Any]) -> Any:
    """The same tree with [mean, low, high] over seeds at its leaves (None where a seed has no figure)."""
    first = results[0]
    if isinstance(first, dict):
        return {key: summary([result[key] for result in results]) for key in first}
    figures = [float(value) for value in results if value is not None]
    return (
        [value and round(value, 4) for value in interval(figures)]
        if len(figures) == len(results)
        else None
    )


def show(found: dict[str, Any]) -> None:
    figure: Callable[[Any], str] = lambda value: "-" if value is None else f"{value[0]:.3f}"
    rows = [
        {
            "decided by": name,
            **{
                f"{action} {what}": figure(one[action][what])
                for action in ("keep", "flip")
                for what in ("precision", "recall")
            },
        }
        for name, one in found["decisions"].items()
    ]
    print(text_table.table(rows))
    print(
        text_table.table(
            [
                {"model trained on": name, "held-out accuracy": figure(value)}
                for name, value in found["accuracy"].items()
            ]
        )
    )
    print(
        text_table.table(
            [
                {"gain": name, "within seeds": figure(value)}
                for name, value in found["gains"].items()
            ]
        )
    )


if __name__ == "__main__":
    main()
