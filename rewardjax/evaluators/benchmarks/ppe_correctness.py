"""PPE Correctness (arXiv 2410.14872): five verifiable sets of about 512 prompts with 32 responses each.

A set's number is the accuracy on its sampled pairs of a right and a wrong response; the headline is the plain mean of the five sets.
Best-of-K curves and the AUC come with it.
"""

import collections
import itertools
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from rewardjax.data import sources
from rewardjax.data.groups import BadRow, Group
from rewardjax.evaluators import records as benchmark
from rewardjax.evaluators.benchmarks import Evaluated, best_of_n
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards

TITLE = "PPE Correctness"
HUB = "hf://lmarena-ai"  # an organization: the five sets are repositories of their own
SOURCE = (
    f"{HUB}/PPE-NAME-Best-of-K for NAME in MMLU-Pro, MATH, GPQA, IFEval, MBPP-Plus "
    "(never republish GPQA as plain text)"
)
CHANCE = 0.5
EXPECTED = {"MMLU-Pro": 512, "MATH": 512, "GPQA": 512, "IFEval": 512, "MBPP-Plus": 507}


def pair_credit(rewards, correct, pairs, tie: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Credit and ties [pairs] of index pairs [pairs, 2], one of each pair right and one wrong, in any order; equal rewards earn `tie`."""
    rewards, correct = np.asarray(rewards, np.float64), np.asarray(correct, bool)
    i, j = np.asarray(pairs, np.int64).reshape(-1, 2).T
    right, wrong = rewards[np.where(correct[i], i, j)], rewards[np.where(correct[i], j, i)]
    return np.select([right > wrong, right == wrong], [1.0, tie], 0.0), right == wrong


def auc(rewards, correct) -> float | None:
    """Chance that a right response outscores a wrong one, equal rewards one half; None where all are right or all wrong."""
    rewards, correct = np.asarray(rewards, np.float64), np.asarray(correct, bool)
    right, wrong = int(correct.sum()), int((~correct).sum())
    if not right or not wrong:
        return None
    return float(
        (stats.rankdata(rewards)[correct].sum() - right * (right + 1) / 2) / (right * wrong)
    )


def load(path: str | pathlib.Path) -> Examples:
    """A folder with the files of the sets, each named after its set (or in a folder that is), one such file, or `hf://lmarena-ai`: all
    five hub repositories. Raises ValueError where a name tells no set."""
    places = [f"{HUB}/PPE-{name}-Best-of-K" for name in EXPECTED] if str(path) == HUB else [path]
    files = [file for place in places for file in benchmark.files_in(place)]
    hub_name = (
        {file: place for place in places for file in benchmark.files_in(place)}
        if len(places) > 1
        else {}
    )

    def records() -> Iterator[tuple[str, dict[str, Any]]]:
        for file in files:
            name = _set_of(str(hub_name.get(file, file)))
            for where, record in benchmark.numbered(sources.open_source(file)):
                yield where, {"set": name, **record}

    return benchmark.collect("ppe_correctness", records(), _read, files)


def _set_of(path: str) -> str:
    """The set that the end of a path names: the file's name first, then its folders'."""
    plain = lambda text: re.sub(r"[^a-z]", "", text.lower())
    for part in reversed(pathlib.PurePath(path).parts):
        for name in EXPECTED:
            if plain(name) in plain(part):
                return name
    raise ValueError(
        f"{path}: neither the file nor a folder above is named after one of {', '.join(EXPECTED)}"
    )


def _read(record: dict[str, Any]) -> tuple[Item, Group]:
    scores, given = record.get("scores"), record.get("sampled_conflict_pairs")
    if not isinstance(scores, (list, tuple)) or not all(score in (0, 1) for score in scores):
        raise BadRow("bad_schema", f"scores = {scores!r:.60}, not a list of 0 and 1")
    if not isinstance(given, (list, tuple)) or not all(
        len(pair) == 2 and 0 <= min(pair) <= max(pair) < len(scores) for pair in given
    ):
        raise BadRow(
            "bad_schema",
            f"sampled_conflict_pairs = {given!r:.60}, not pairs of indices below {len(scores)}",
        )
    responses = [benchmark.text(record, f"response_{k}") for k in range(1, len(scores) + 1)]
    correct = [int(score) for score in scores]
    pairs = [[int(i), int(j)] for i, j in given if correct[int(i)] != correct[int(j)]]
    label = {
        "correct": correct,
        "pairs": pairs,
        "not_in_conflict": len(given) - len(pairs),
        "generator": record.get("model_name"),
    }
    name = f"{record['set']}/{record.get('question_id')}"
    return benchmark.example(
        name, record["set"], label, benchmark.user(benchmark.text(record, "prompt")), responses
    )


def better(item: Item, responses: int) -> list[tuple[int, int]]:
    """The right response of each sampled pair over the wrong one."""
    correct = item.label["correct"]
    return [(i, j) if correct[i] else (j, i) for i, j in item.label["pairs"]]


def summarize(items: Sequence[Item], rewards: Rewards) -> Result:
    """The five sets as parts: n counts prompts, ties count pairs. `other`, for each set: pairs, duplicates among them, AUC pooled over
    prompts and averaged within them, and the best-of-K curve with its highest and last point and its distance from the oracle."""
    parts = {name: Part(None, 0, expected=expected) for name, expected in EXPECTED.items()}
    other, notes = {}, []
    for name, rows in benchmark.by_subset(items, rewards).items():
        scored = [(item, found) for item, found in rows if benchmark.is_scored(found)]
        if odd := sum(item.label["not_in_conflict"] for item, _ in rows):
            notes.append(
                f"{name}: {odd} sampled pairs are not of a right and a wrong response, and are left out"
            )
        unscored = len(rows) - len(scored)
        if not scored:
            parts[name] = Part(None, 0, 0, EXPECTED[name], unscored)
            continue
        credits, ties = zip(
            *(
                pair_credit(found, item.label["correct"], item.label["pairs"])
                for item, found in scored
            ),
            strict=True,
        )
        credit = np.concatenate(credits)
        value = float(credit.mean()) if len(credit) else None
        parts[name] = Part(
            value, len(scored), int(np.concatenate(ties).sum()), EXPECTED[name], unscored
        )
        other[name] = {
            "pairs": len(credit),
            "duplicate pairs": sum(map(_duplicates, (item for item, _ in scored))),
            **_curves(scored),
        }
    headline = benchmark.average(part.value for part in parts.values())
    rule = "unweighted mean of 5 sets; a set is the accuracy on its sampled conflict pairs"
    return Result("ppe_correctness", headline, rule, CHANCE, parts, other=other, notes=notes)


def curves(evaluated: Sequence[Evaluated]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The best-of-K curves of each set, by model."""
    by_set: dict[str, dict[str, Mapping[str, Any]]] = {}
    for one in evaluated:
        for name, figures in one.result.other.items():
            by_set.setdefault(f"PPE {name}", {})[one.model] = figures["best-of-K"]
    return by_set


def _duplicates(item: Item) -> int:
    counts = collections.Counter(frozenset(pair) for pair in item.label["pairs"])
    return sum(count - 1 for count in counts.values())


def _curves(scored: list[tuple[Item, np.ndarray]]) -> dict[str, Any]:
    """AUC and best-of-K of one set, all K from 1 to the fewest responses of a prompt."""
    labels, rewards = [item.label["correct"] for item, _ in scored], [found for _, found in scored]
    within = [
        value
        for found, label in zip(rewards, labels, strict=True)
        if (value := auc(found, label)) is not None
    ]
    curve = best_of_n.curve(rewards, labels, range(1, min(map(len, labels)) + 1))
    score, oracle = np.array(curve["score"]), np.array(curve["oracle"])
    return {
        "auc, pooled": auc(np.concatenate(rewards), list(itertools.chain.from_iterable(labels))),
        "auc, within prompts": benchmark.average(within),
        "best-of-K, highest": float(score.max()),
        "best-of-K, last": float(score[-1]),
        "best-of-K, squared distance from the oracle": float(np.mean((oracle - score) ** 2)),
        "best-of-K": curve,
    }
