"""Pairs of real answers of which some labels are planted wrong: the pools of `curation_real`.

A pair is a right and a wrong answer of up to 44 models to one grade-school problem (ZeroEval), so
correctness is a hidden oracle. Problems, never pairs, are split into the pools. Labels are spoilt
in two ways: at random, and by a labeler who prefers the longer answer.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from experiments import lab as lab_lib
from experiments import voters
from experiments.lab import Lab
from experiments.voters import Oracle, Truth
from rewardjax.curation.ledger.rows import Label, PairText, other
from rewardjax.data import formats, sources
from rewardjax.data.groups import BadRecord, Group, Message, Pair, check
from rewardjax.data.pack import TokenGroup
from rewardjax.data.tokenize import in_part
from rewardjax.data.world import labels
from rewardjax.data.world.draw import Draw
from rewardjax.stats import agreement

# Of the hash of a problem.
SPLITS = {"unverified": (0.0, 0.35), "wild": (0.35, 0.8), "heldout": (0.8, 1.0)}
# Pairs. Few of each problem: more problems teach more than more answers to the same one.
PER_PROBLEM = {"unverified": 8, "wild": 6, "heldout": 6}
# 15% of the labels are turned at random; 30% are decided by length alone.
NOISE = "0.4*honest+0.3*random:0.5+0.3*style:1"


# pair_id -> action.
Actions = Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Pool:
    """Pairs by pair_id: as records, right over wrong; what is true of them; their tokens.

    The style of an answer is its number of words.
    """

    records: Mapping[str, Mapping[str, Any]]
    oracle: Oracle
    tokens: Mapping[str, TokenGroup]


def read(path: pathlib.Path, scale: float) -> list[Group]:
    """The problems that have right and wrong answers, a share `scale` of them."""
    problems = []
    source = sources.open_source(path, name="zeroeval")
    for _, _, group in formats.groups_of(source):
        if isinstance(group, BadRecord):
            raise group
        problem, _ = check(group)
        if problem.pairs and Draw("problem", problem.id).chance(scale):
            problems.append(problem)
    return problems


def pool(problems: Iterable[Group], name: str, seed: int, lab: Lab) -> Pool:
    """Some pairs of each problem of a split. Those too long for the lab's models are left out."""
    records, oracle, tokens = {}, {}, {}
    for problem in problems:
        if not in_part(problem, SPLITS[name]):
            continue
        count = min(PER_PROBLEM[name], len(problem.pairs))
        for pair in Draw("pairs", seed, problem.id).sample(problem.pairs, count):
            record = _record(problem, pair, seed)
            text = voters.pair_text(record)
            try:
                tokens |= lab_lib.tokens_of(lab, [text])
            except BadRecord:
                continue
            records[text["pair_id"]] = record
            oracle[text["pair_id"]] = _truth(record, text)
    return Pool(records, oracle, tokens)


def _record(problem: Group, pair: Pair, seed: int) -> dict[str, Any]:
    return {
        "id": f"{problem.id}/{pair.chosen}/{pair.rejected}/{seed}",
        "prompt": problem.prompt,
        "chosen": problem.responses[pair.chosen],
        "rejected": problem.responses[pair.rejected],
    }


def _truth(record: Mapping[str, Any], text: PairText) -> Truth:
    better: Label = "b"
    if text["response_a"] == record["chosen"]:
        better = "a"
    return Truth(better, (_words(record["chosen"]), _words(record["rejected"])), record["id"])


def _words(response: list[Message]) -> int:
    return len(response[-1]["content"].split())


# ------------------------------------------------------------------ planted labels


def planted(truth: Truth, name: str) -> tuple[bool, str]:
    """(whether the pair's label is right, who labeled it: honest, random:... or style:...)."""
    # A pool's own draw: what is wrong in one must not depend on the other.
    draw = Draw("opinion", f"original-{name}", NOISE, truth.record_id)
    return labels.label(labels.parse(NOISE), *truth.styles, draw)


def original(truth: Truth, name: str) -> str:
    """The label that the pair comes with."""
    is_right, _ = planted(truth, name)
    if is_right:
        return truth.better
    return other(truth.better)


def write(pairs: Pool, name: str, path: pathlib.Path) -> None:
    """Write a pool as JSONL with its planted labels: all that the curation is given of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for pair_id, record in sorted(pairs.records.items()):
            is_right, _ = planted(pairs.oracle[pair_id], name)
            chosen, rejected = record["chosen"], record["rejected"]
            if not is_right:
                chosen, rejected = rejected, chosen
            line = {**record, "chosen": chosen, "rejected": rejected}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


# ------------------------------------------------------------------ what became of them


def audit(wild: Oracle, action_of: Actions) -> dict[str, Any]:
    """Precision and recall of keep (of right labels) and of flip (of wrong ones).

    And of the wrong labels of each kind the share that was flipped, and that slipped through.
    """
    ids = sorted(action_of)
    actions = [action_of[pair_id] for pair_id in ids]
    labels = [original(wild[pair_id], "wild") for pair_id in ids]
    precision = agreement.decision_precision(
        labels, actions, [wild[pair_id].better for pair_id in ids]
    )
    wrong_by: dict[str, list[str]] = {}
    for pair_id, action in zip(ids, actions, strict=True):
        is_right, source = planted(wild[pair_id], "wild")
        if not is_right:
            wrong_by.setdefault(source, []).append(action)
    wrong = sum(map(len, wrong_by.values()))
    result: dict[str, Any] = {}
    for action, total in (("keep", len(ids) - wrong), ("flip", wrong)):
        figures = precision[action]
        recall = None
        if total:
            recall = figures["right"] / total
        result[action] = {
            "pairs": figures["pairs"],
            "precision": figures["precision"],
            "recall": recall,
        }
    for source, of_source in sorted(wrong_by.items()):
        result[f"wrong by {source}"] = {
            "pairs": len(of_source),
            "flipped": of_source.count("flip") / len(of_source),
            "kept": of_source.count("keep") / len(of_source),
        }
    return result
