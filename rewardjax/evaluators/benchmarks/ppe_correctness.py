"""PPE Correctness (arXiv 2410.14872): five verifiable sets of about 512 prompts, 32 responses each.

A set's number is the accuracy on its sampled pairs of a right and a wrong response; the headline is
the plain mean of the five sets. Best-of-K curves and the AUC come with it.
"""

import collections
import itertools
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from rewardjax.data.groups import BadRecord, Group
from rewardjax.evaluators import finder, reading, rules
from rewardjax.evaluators.benchmarks import Evaluated, Resampling
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards
from rewardjax.stats import best_of_n

TITLE = "PPE Correctness"
HUB = "hf://lmarena-ai"  # an organization: the five sets are repositories of their own
SOURCE = (
    f"{HUB}/PPE-NAME-Best-of-K for NAME in MMLU-Pro, MATH, GPQA, IFEval, MBPP-Plus "
    "(never republish GPQA as plain text)"
)
CHANCE = 0.5
# Its authors ask that no question is shown as plain text, so that none gets into training data.
WITHHELD = ("GPQA",)
# Prompts by set, as published.
EXPECTED = {"MMLU-Pro": 512, "MATH": 512, "GPQA": 512, "IFEval": 512, "MBPP-Plus": 507}


# ------------------------------------------------------------------ the rule


def pair_credit(
    rewards: Any, correct: Any, pairs: Any, tie: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Credit and ties, both [N], of N pairs of one prompt's K responses.

    rewards, correct: [K]. pairs: [N, 2] indices, one of each pair right and one wrong, in any
    order. Equal rewards earn `tie`.
    """
    rewards, correct = np.asarray(rewards, np.float64), np.asarray(correct, bool)
    i, j = np.asarray(pairs, np.int64).reshape(-1, 2).T
    right = rewards[np.where(correct[i], i, j)]  # [N]
    wrong = rewards[np.where(correct[i], j, i)]  # [N]
    return np.select([right > wrong, right == wrong], [1.0, tie], 0.0), right == wrong


def auc(rewards: Any, correct: Any) -> float | None:
    """Chance that a right response outscores a wrong one, equal rewards one half.

    rewards, correct: [K]. By ranks (Mann-Whitney); None where all are right or all wrong.
    """
    rewards, correct = np.asarray(rewards, np.float64), np.asarray(correct, bool)
    right, wrong = int(correct.sum()), int((~correct).sum())
    if not right or not wrong:
        return None
    # The least that the ranks 1, 2, ... of the right responses can sum to is right (right + 1) / 2.
    wins = stats.rankdata(rewards)[correct].sum() - right * (right + 1) / 2
    return float(wins / (right * wrong))


def better(item: Item, responses: int) -> list[tuple[int, int]]:
    """The right response of each sampled pair over the wrong one."""
    ordered = []
    for i, j in item.label["pairs"]:
        if item.label["correct"][i]:
            ordered.append((i, j))
        else:
            ordered.append((j, i))
    return ordered


def summarize(items: Sequence[Item], rewards: Rewards) -> Result:
    """The five sets as parts: n counts prompts, ties count pairs.

    `other`, for each set: its pairs, duplicates among them, and the figures of `_curves`.
    """
    parts = {name: Part(None, 0, expected=expected) for name, expected in EXPECTED.items()}
    other: dict[str, Any] = {}
    notes: list[str] = []
    for name, rows in rules.by_subset(items, rewards).items():
        no_conflict = sum(item.label["not_in_conflict"] for item, _ in rows)
        if no_conflict:
            notes.append(
                f"{name}: {no_conflict} sampled pairs are not of a right and a wrong response, "
                "and are left out"
            )
        # A prompt with one unscored response is left out whole: its best-of-K would be another.
        scored = [row for row in rows if rules.is_scored(row[1])]
        parts[name], pairs = _part(scored, EXPECTED[name], len(rows) - len(scored))
        if scored:
            duplicates = sum(_duplicates(item) for item, _ in scored)
            counts = {"pairs": pairs, "duplicate pairs": duplicates}
            other[name] = counts | _curves(scored)
    headline = rules.average(part.value for part in parts.values())
    rule = "unweighted mean of 5 sets; a set is the accuracy on its sampled conflict pairs"
    return Result("ppe_correctness", headline, rule, CHANCE, parts, other=other, notes=notes)


def _part(
    scored: Sequence[tuple[Item, np.ndarray]], expected: int, unscored: int
) -> tuple[Part, int]:
    """The accuracy over all pairs of one set, and how many pairs that are."""
    credit, ties = [np.empty(0)], 0
    for item, rewards in scored:
        credit_of_prompt, equal = pair_credit(rewards, item.label["correct"], item.label["pairs"])
        credit.append(credit_of_prompt)
        ties += int(equal.sum())
    # Pairs count alike, not prompts: a prompt may have a few more or fewer of them.
    pooled = np.concatenate(credit)
    value = None
    if len(pooled):
        value = float(pooled.mean())
    return Part(value, len(scored), ties, expected, unscored), len(pooled)


def resampling(items: Sequence[Item], rewards: Rewards) -> Resampling:
    """The headline without the curves and areas, which take a hundred times as long."""
    sums, pairs = np.zeros(len(items)), np.zeros(len(items))  # [N] each
    for i, (item, rewards_of_item) in enumerate(zip(items, rewards, strict=True)):
        row = np.asarray(rewards_of_item, np.float64)
        if rules.is_scored(row):
            credit, _ = pair_credit(row, item.label["correct"], item.label["pairs"])
            sums[i], pairs[i] = credit.sum(), len(credit)
    names = list(EXPECTED)
    part = np.array([names.index(item.subset) for item in items])  # [N]

    def headline(drawn: np.ndarray) -> float | None:
        counts = np.bincount(part[drawn], pairs[drawn], minlength=len(names))
        right = np.bincount(part[drawn], sums[drawn], minlength=len(names))
        return rules.average(right[counts > 0] / counts[counts > 0])

    return Resampling(headline)


def _duplicates(item: Item) -> int:
    """Sampled pairs that repeat one of the same prompt, in either order."""
    counts = collections.Counter(frozenset(pair) for pair in item.label["pairs"])
    return sum(count - 1 for count in counts.values())


def _curves(scored: Sequence[tuple[Item, np.ndarray]]) -> dict[str, Any]:
    """AUC and best-of-K of one set, for all K from 1 to the fewest responses of a prompt.

    The AUC pooled over prompts and averaged within them (the two differ by what differs between
    prompts), and of the curve its highest point, its last, and its distance from the oracle.
    """
    labels = [item.label["correct"] for item, _ in scored]
    rewards = [rewards_of_prompt for _, rewards_of_prompt in scored]
    within = [auc(*prompt) for prompt in zip(rewards, labels, strict=True)]
    fewest = min(len(label) for label in labels)
    curve = best_of_n.curve(rewards, labels, range(1, fewest + 1))
    score, oracle = np.array(curve["score"]), np.array(curve["oracle"])
    return {
        "auc, pooled": auc(np.concatenate(rewards), list(itertools.chain.from_iterable(labels))),
        "auc, within prompts": rules.average(within),
        "best-of-K, highest": float(score.max()),
        "best-of-K, last": float(score[-1]),
        "best-of-K, squared distance from the oracle": float(np.mean((oracle - score) ** 2)),
        "best-of-K": curve,
    }


# ------------------------------------------------------------------ the files


_REPOSITORY = re.compile(r"PPE.*Best.of.K", re.IGNORECASE)
# Whole words, since mathias/ names no set; spellings differ in what separates two words.
_PATTERNS = {
    name: re.compile(rf"(?i)(?<![a-z]){name.replace('-', '[^a-z]*')}(?![a-z])") for name in EXPECTED
}
LAYOUT = finder.Layout([("prompt", "response_1", "scores", "sampled_conflict_pairs")])


def load(path: str | pathlib.Path) -> Examples:
    """A folder with the files of the sets, one such file, or `hf://lmarena-ai`.

    Each file is named after its set, or in a folder that is; of the hub, all five repositories are
    read. A file whose name tells no set is set aside.
    """
    places: list[str | pathlib.Path] = [path]
    if str(path) == HUB:
        places = [f"{HUB}/PPE-{name}-Best-of-K" for name in EXPECTED]
    return finder.load("ppe_correctness", places, LAYOUT, _read, _set_of)


def _set_of(unit: finder.Unit) -> dict[str, str]:
    """The set that the end of a unit's path names: the file's name first, then its folders'."""
    # Above the folder that was named only what the hub calls its repositories, as in its cache
    # (datasets--lmarena-ai--PPE-MATH-Best-of-K/snapshots/HASH): /home/math tells no set.
    above = [part for part in (unit.root, *unit.root.parents) if _REPOSITORY.search(part.name)]
    for part in (*reversed(unit.place.parts), *(folder.name for folder in above[:1])):
        for name in EXPECTED:
            if re.search(_PATTERNS[name], part):
                return {"set": name}
    raise BadRecord(
        "bad_schema",
        f"neither the file nor a folder above is named after one of {', '.join(EXPECTED)}",
    )


def _read(record: dict[str, Any]) -> tuple[Item, Group]:
    scores, sampled = record.get("scores"), record.get("sampled_conflict_pairs")
    if not isinstance(scores, (list, tuple)) or not all(score in (0, 1) for score in scores):
        raise BadRecord("bad_schema", f"scores = {scores!r:.60}, not a list of 0 and 1")
    if not isinstance(sampled, (list, tuple)) or not _are_pairs(sampled, len(scores)):
        raise BadRecord(
            "bad_schema",
            f"sampled_conflict_pairs = {sampled!r:.60}, not pairs of indices below {len(scores)}",
        )
    correct = [int(score) for score in scores]
    pairs = [[int(i), int(j)] for i, j in sampled if correct[int(i)] != correct[int(j)]]
    label = {
        "correct": correct,
        "pairs": pairs,
        "not_in_conflict": len(sampled) - len(pairs),
        "generator": record.get("model_name"),
    }
    return reading.example(
        f"{record['set']}/{record.get('question_id')}",
        record["set"],
        label,
        reading.user(reading.text(record, "prompt")),
        [reading.text(record, f"response_{k}") for k in range(1, len(scores) + 1)],
    )


def _are_pairs(sampled: Sequence[Any], responses: int) -> bool:
    return all(len(pair) == 2 and 0 <= min(pair) <= max(pair) < responses for pair in sampled)


# ------------------------------------------------------------------ the picture


def curves(evaluated: Sequence[Evaluated]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The best-of-K curves of each set, by model."""
    by_set: dict[str, dict[str, Mapping[str, Any]]] = {}
    for entry in evaluated:
        for name, figures in entry.result.other.items():
            by_set.setdefault(f"PPE {name}", {})[entry.model] = figures["best-of-K"]
    return by_set
