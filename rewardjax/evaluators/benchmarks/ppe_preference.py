"""PPE Human Preference (arXiv 2410.14872): 16,038 votes of people between the answers of two models.

A vote is right where the reward of the winner is strictly higher; votes that are ties are left out, or count one half.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from rewardjax.data.groups import BadRow, Group
from rewardjax.evaluators import records
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards

TITLE = "PPE Preference"
HUB = "hf://lmarena-ai/PPE-Human-Preference-V1"
SOURCE = f"{HUB}, split test (prompts CC-BY-4.0, evaluation only)"
CHANCE = 0.5
EXPECTED = 16_038
FLAGS = ("is_code", "is_refusal", "hard_prompt", "easy_prompt", "if_prompt", "math_prompt")


def preference_accuracy(first, second, winner, ties: str = "drop") -> float:
    """Accuracy of rewards [n] of first and second answers; winner [n]: 1.0 the first, 0.0 the second, 0.5 a tie of the vote.

    Equal rewards are wrong. ties: "drop" leaves out votes that are ties, "half" counts each of them one half. NaN without a vote."""
    if ties not in ("drop", "half"):
        raise ValueError(f"ties = {ties!r}: 'drop' or 'half'")
    credit = _credit(first, second, winner)
    if ties == "drop":
        credit = credit[np.asarray(winner, np.float64) != 0.5]
    return float(np.mean(credit)) if len(credit) else float("nan")


def _credit(first, second, winner) -> np.ndarray:
    """[n]: 1 right, 0 wrong, 1/2 for a vote that is a tie, NaN without a score."""
    first, second, winner = (np.asarray(x, np.float64) for x in (first, second, winner))
    right = np.where(winner == 1, first > second, second > first)
    return np.where(np.isnan(first) | np.isnan(second), np.nan, np.where(winner == 0.5, 0.5, right))


def load(path: str | pathlib.Path, split: str = "test") -> Examples:
    """A file of the benchmark, or the `split` of its hub repository (or of a folder laid out like it)."""
    source = records.open_split(path, split)
    return records.collect("ppe_preference", records.numbered(source), _read, [source])


def _read(record: dict[str, Any]) -> tuple[Item, Group]:
    winner = records.text(record, "winner")
    if winner not in ("model_a", "model_b") and not winner.startswith("tie"):
        raise BadRow("bad_schema", f"winner = {winner!r}: model_a, model_b or a tie")
    label = {
        "winner": {"model_a": 1.0, "model_b": 0.0}.get(winner, 0.5),
        "flags": [flag for flag in FLAGS if record.get(flag)],
    }
    responses = [records.text(record, "response_1"), records.text(record, "response_2")]
    prompt = record.get("prompt")
    messages = records.user(prompt) if isinstance(prompt, str) else records.turns(prompt, "prompt")
    return records.example(
        record.get("question_id"),
        str(record.get("language") or "unknown"),
        label,
        messages,
        responses,
    )


def better(item: Item, responses: int) -> list[tuple[int, int]]:
    """The winner of the vote; no pair where the vote is a tie."""
    if item.label["winner"] == 0.5:
        return []
    if item.label["winner"] == 1.0:
        return [(0, 1)]
    return [(1, 0)]


def summarize(items: Sequence[Item], rewards: Rewards) -> Result:
    """One part; subsets by language (English or not) and by the flags of the prompts; `other` has the number with ties as one half."""
    first, second = np.array([np.asarray(found, np.float64) for found in rewards]).reshape(-1, 2).T
    winner = np.array([item.label["winner"] for item in items])
    credit = _credit(first, second, winner)

    def part(mask: np.ndarray, expected: int | None = None) -> Part:
        decided = mask & (winner != 0.5)
        found = records.mean_part(credit[decided], (first == second)[decided], expected)
        unscored = int(np.isnan(credit[mask]).sum())
        return Part(
            found.value,
            found.n,
            found.ties,
            expected,
            unscored,
            int(mask.sum()) - found.n - unscored,
        )

    english = np.array([item.subset == "English" for item in items], bool)
    masks = {"English": english, "other languages": ~english}
    masks |= {
        flag: np.array([flag in item.label["flags"] for item in items], bool) for flag in FLAGS
    }
    parts = {"votes": part(np.ones(len(items), bool), EXPECTED)}
    scored = ~np.isnan(credit)
    half = (
        preference_accuracy(first[scored], second[scored], winner[scored], ties="half")
        if scored.any()
        else None
    )
    return Result(
        "ppe_preference",
        parts["votes"].value,
        "accuracy over votes with a winner",
        CHANCE,
        parts,
        {name: part(mask) for name, mask in masks.items() if mask.any()},
        {
            "votes": len(items),
            "votes that are ties": int(np.sum(winner == 0.5)),
            "accuracy, vote ties as one half": half,
        },
    )
