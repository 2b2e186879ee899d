"""Best-of-N: how good is the response that a reward model picks out of K?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rewardjax.data import sources
from rewardjax.data.groups import BadRecord, Group
from rewardjax.evaluators import reading, rules
from rewardjax.evaluators.benchmarks import Evaluated, majority
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards
from rewardjax.evaluators.stored_rewards import Scores
from rewardjax.stats.best_of_n import curve, expected_best

TITLE = "Best of N"
SOURCE = "groups of your own with `responses` and `correct`, in any format of data/formats.py"
HUB = None
CHANCE = None  # the share of right responses, which differs from data set to data set


# ------------------------------------------------------------------ the benchmark


def load(
    path: str,
    split: str | None = None,
    part: tuple[float, float] = (0.0, 1.0),
    least: int = 1,
    columns: Any = None,
    labels: Any = None,
    max_dropped: float = 0.2,
) -> Examples:
    """Whatever `data/sources/` opens, one item per group with correctness.

    split: one of the source's. part: the fraction of prompts to keep, by hash, as for training.
    columns, labels: what the source's columns and verdicts mean, as for training.
    least: groups with fewer responses are left out, so that the curve reaches that far.
    """
    source = sources.open_source(path, split=split, spelling=reading.SPELLING)

    def read(preferences: reading.Preferences) -> tuple[Item, Group]:
        group = preferences.group()
        if group.correct is None:
            raise BadRecord("bad_schema", "no `correct`: which responses are right?")
        # One short group would shorten the curve of all.
        if len(group.responses) < least:
            raise BadRecord("bad_schema", f"{len(group.responses)} responses, least = {least}")
        record = preferences.record
        subset = str(record.get("subset") or record.get("category") or "all")
        answers = [majority.final_answer(response[-1]["content"]) for response in group.responses]
        label = {"correct": [int(right) for right in group.correct], "answers": answers}
        return Item(group.id, subset, label), group

    of_part = reading.groups_of(source, part, columns, labels, max_dropped)
    return reading.collect("best_of_n", of_part, read, [source])


def better(item: Item, responses: int) -> list[tuple[int, int]]:
    """Every right response over every wrong one."""
    correct = item.label["correct"]
    right = [k for k in range(responses) if correct[k]]
    wrong = [k for k in range(responses) if not correct[k]]
    return rules.every_pair(right, wrong)


def summarize(items: Sequence[Item], rewards: Rewards) -> Result:
    """How often the best of all responses is right, by subset below; `other`: the curve.

    Prompts whose responses are all right or all wrong say nothing about a scorer and are unused.
    """
    by_subset = rules.by_subset(items, rewards)
    subsets = {name: _part(rows) for name, rows in by_subset.items()}
    rows = [(item, np.asarray(row, np.float64)) for item, row in zip(items, rewards, strict=True)]
    part, telling = _part(rows), _telling(rows)
    other: dict[str, Any] = {}
    # A random pick is right as often as responses are, which differs from subset to subset.
    chance = _chance(rows)
    chances: dict[str, float] = {}
    for name, of_part in {"prompts": rows, **by_subset}.items():
        chance_of_part = _chance(of_part)
        if chance_of_part is not None:
            chances[name] = chance_of_part
    if telling:
        labels = [item.label["correct"] for item, _ in telling]
        other["curve"] = curve([row for _, row in telling], labels)
    return Result(
        "best_of_n",
        part.value,
        "expected correctness of the response with the highest reward",
        chance,
        {"prompts": part},
        rules.breakdown(subsets),
        other,
        chances=chances,
    )


def _chance(rows: Sequence[tuple[Item, np.ndarray]]) -> float | None:
    """What a random pick scores on the prompts that tell something; None without one."""
    return rules.average(float(np.mean(item.label["correct"])) for item, _ in _telling(rows))


def _telling(rows: Sequence[tuple[Item, np.ndarray]]) -> list[tuple[Item, np.ndarray]]:
    """Items with both right and wrong responses, all of them scored."""
    telling = []
    for item, rewards in rows:
        if len(set(item.label["correct"])) == 2 and rules.is_scored(rewards):
            telling.append((item, rewards))
    return telling


def _part(rows: Sequence[tuple[Item, np.ndarray]]) -> Part:
    """Ties are prompts in which several responses share the highest reward."""
    telling = _telling(rows)
    picked = [
        float(expected_best(rewards, item.label["correct"], [len(rewards)])[0])
        for item, rewards in telling
    ]
    ties = sum(int(np.sum(rewards == rewards.max()) > 1) for _, rewards in telling)
    unscored = sum(not rules.is_scored(rewards) for _, rewards in rows)
    return Part(
        value=rules.average(picked),
        n=len(telling),
        ties=ties,
        unscored=unscored,
        unused=len(rows) - len(telling) - unscored,
    )


# ------------------------------------------------------------------ the picture


def curves(evaluated: Sequence[Evaluated]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The curve of each model, and those of `baselines`, which all models share."""
    by_title: dict[str, dict[str, Mapping[str, Any]]] = {}
    for entry in evaluated:
        curve_of_model = entry.result.other.get("curve")
        if curve_of_model is None:
            continue
        is_first = entry.title not in by_title
        by_scorer = by_title.setdefault(entry.title, {})
        by_scorer[entry.model] = curve_of_model
        # The baselines score no text by a model, so those of the first are those of all.
        if is_first:
            by_scorer |= baselines(entry.scores, curve_of_model["ks"])
    return by_title


def baselines(scores: Scores, ks: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Curves of scorers that need no model: the shortest response, and the majority of answers.

    The majority vote only where at least half of the responses have a final answer: with fewer, it
    would mostly be a vote among a few.
    """
    # The prompts that the model's own curve is over, so that the curves can be compared.
    telling = []
    for i, item in enumerate(scores.items):
        right_and_wrong = len(set(item.label["correct"])) == 2
        if right_and_wrong and np.isfinite(scores.rewards[i]).all():
            telling.append(i)
    correct = [scores.items[i].label["correct"] for i in telling]
    # Best-of-K picks the highest number: that of the shortest response.
    brevity = [-scores.tokens[i] for i in telling]
    by_scorer = {"shortest response": curve(brevity, correct, ks)}
    answers = [scores.items[i].label.get("answers", []) for i in telling]
    answered: list[bool] = []
    for answers_of_prompt in answers:
        answered += [answer is not None for answer in answers_of_prompt]
    if answered and np.mean(answered) >= 0.5:
        by_scorer["majority vote"] = majority.curve(answers, correct, ks)
    return by_scorer
