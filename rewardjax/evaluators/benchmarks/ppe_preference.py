"""PPE Human Preference (arXiv 2410.14872): 16,038 votes of people between two models' answers.

A vote is right where the reward of the winner is strictly higher; votes that are ties are left out,
or count one half.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from rewardjax.data.groups import BadRecord, Group
from rewardjax.evaluators import finder, reading, rules
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards

TITLE = "PPE Preference"
HUB = "hf://lmarena-ai/PPE-Human-Preference-V1"
SOURCE = f"{HUB}, split test (prompts CC-BY-4.0, evaluation only)"
CHANCE = 0.5
# Votes, ties included, as published.
EXPECTED = 16_038
# What the benchmark says of a prompt: each is a subset of its own.
FLAGS = ("is_code", "is_refusal", "hard_prompt", "easy_prompt", "if_prompt", "math_prompt")


# ------------------------------------------------------------------ the rule


def preference_accuracy(first: Any, second: Any, winner: Any, ties: str = "drop") -> float:
    """Accuracy of rewards [N] of first and second answers over N votes.

    winner: [N] 1.0 the first, 0.0 the second, 0.5 a tie of the vote. Equal rewards are wrong. ties:
    "drop" leaves out votes that are ties, "half" counts each of them one half. NaN without a vote;
    raises ValueError for another value of `ties`.
    """
    if ties not in ("drop", "half"):
        raise ValueError(f"ties = {ties!r}: 'drop' or 'half'")
    credit = _credit(first, second, winner)
    if ties == "drop":
        credit = credit[np.asarray(winner, np.float64) != 0.5]
    if not len(credit):
        return float("nan")
    return float(np.mean(credit))


def _credit(first: Any, second: Any, winner: Any) -> np.ndarray:
    """[N]: 1 right, 0 wrong, 1/2 for a vote that is a tie, NaN without a score."""
    first, second, winner = (np.asarray(x, np.float64) for x in (first, second, winner))
    right = np.where(winner == 1, first > second, second > first)
    # Before ties of the vote: an unscored example is in no number, whatever its vote.
    unscored = np.isnan(first) | np.isnan(second)
    return np.select([unscored, winner == 0.5], [np.nan, 0.5], right)


def better(item: Item, responses: int) -> list[tuple[int, int]]:
    """The winner of the vote; no pair where the vote is a tie."""
    if item.label["winner"] == 0.5:
        return []
    if item.label["winner"] == 1.0:
        return [(0, 1)]
    return [(1, 0)]


def summarize(items: Sequence[Item], rewards: Rewards) -> Result:
    """One part, all votes with a winner; `other` has the number with ties as one half.

    Subsets by language (English or not) and by the flags of the prompts.
    """
    table = np.array([np.asarray(pair, np.float64) for pair in rewards])
    # Without a vote there is no second axis yet.
    first, second = table.reshape(-1, 2).T  # [N] each
    winner = np.array([item.label["winner"] for item in items])  # [N]
    credit = _credit(first, second, winner)  # [N]

    def part(mask: np.ndarray, expected: int | None = None) -> Part:
        """The votes where `mask` [N] holds; those that are ties are unused."""
        decided = mask & (winner != 0.5)
        mean = rules.mean_part(credit[decided], (first == second)[decided], expected)
        unscored = int(np.isnan(credit[mask]).sum())
        unused = int(mask.sum()) - mean.n - unscored
        return Part(mean.value, mean.n, mean.ties, expected, unscored, unused)

    # Languages other than English are one subset, since most of them have few votes.
    english = np.array([item.subset == "English" for item in items], bool)
    masks = {"English": english, "other languages": ~english}
    for flag in FLAGS:
        masks[flag] = np.array([flag in item.label["flags"] for item in items], bool)
    votes = part(np.ones(len(items), bool), EXPECTED)
    scored = ~np.isnan(credit)
    ties_half = None
    if scored.any():
        ties_half = preference_accuracy(first[scored], second[scored], winner[scored], ties="half")
    return Result(
        "ppe_preference",
        votes.value,
        "accuracy over votes with a winner",
        CHANCE,
        {"votes": votes},
        {name: part(mask) for name, mask in masks.items() if mask.any()},
        {
            "votes": len(items),
            "votes that are ties": int(np.sum(winner == 0.5)),
            "accuracy, vote ties as one half": ties_half,
        },
    )


# ------------------------------------------------------------------ the files


LAYOUT = finder.Layout([("prompt", "response_1", "response_2", "winner")], split="test")


def load(path: str | pathlib.Path, split: str = "test") -> Examples:
    """A file of the benchmark, or the `split` of a folder that has it, or of the hub."""
    return finder.load("ppe_preference", [path], LAYOUT._replace(split=split), _read)


def _read(record: dict[str, Any]) -> tuple[Item, Group]:
    winner = reading.text(record, "winner")
    # Ties come in two kinds: "tie" and "tie (bothbad)".
    if winner not in ("model_a", "model_b") and not winner.startswith("tie"):
        raise BadRecord("bad_schema", f"winner = {winner!r}: model_a, model_b or a tie")
    label = {
        "winner": {"model_a": 1.0, "model_b": 0.0}.get(winner, 0.5),
        "flags": [flag for flag in FLAGS if record.get(flag)],
    }
    prompt = record.get("prompt")
    if isinstance(prompt, str):
        messages = reading.user(prompt)
    else:
        messages = reading.turns(prompt, "prompt")
    responses = [reading.text(record, "response_1"), reading.text(record, "response_2")]
    language = str(record.get("language") or "unknown")
    return reading.example(record.get("question_id"), language, label, messages, responses)
