"""Majority voting over final answers: what best-of-N has to beat where there are numbers."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from rewardjax.stats import bootstrap

# Of K responses per prompt; the error this leaves in a mean over 1,000 prompts is below 0.1 points.
DRAWS = 200
MARKER = re.compile(r"(?:answer(?:\s+is|\s*:)|####|\\boxed\{)", re.IGNORECASE)
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def final_answer(text: str) -> str | None:
    r"""The number that a response gives as its answer, in one spelling; None without a number.

    It is the first number after the last "answer is", "####" or "\boxed{", else the last one of the
    text.
    """
    numbers = NUMBER.findall(text)
    if not numbers:
        return None
    number = numbers[-1]
    markers = list(MARKER.finditer(text))
    if markers:
        # Nothing may follow the marker, as in "so 12 is the answer:".
        after = NUMBER.search(text, markers[-1].end())
        if after is not None:
            number = after[0]
    # 1,000 and 1000.0 are one answer.
    return f"{float(number.replace(',', '')):.12g}"


def curve(
    answers: Sequence[Sequence[str | None]],
    correct: Sequence[Any],
    ks: Sequence[int],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """How often the most frequent answer among K responses drawn without replacement is right.

    answers, correct: one list [N_i] per prompt, of its N_i answers and labels. Answers that share
    the first place share the vote; an answer's label is the mean label of the responses that give
    it. None does not vote, and where nobody votes a random response is taken. Returns "ks",
    "prompts", "score", "low" and "high" like `stats.best_of_n.curve`, by `draws` random draws per
    prompt.

    Raises ValueError for a K above the fewest responses of a prompt.
    """
    fewest = min(map(len, answers), default=0)
    if not fewest or max(ks) > fewest:
        raise ValueError(
            f"majority: K must lie between 1 and the {fewest} responses there are, got {list(ks)}"
        )
    generator = np.random.default_rng(seed)
    score = np.empty((len(answers), len(ks)))
    for i, (answers_of_prompt, labels) in enumerate(zip(answers, correct, strict=True)):
        places = np.tile(np.arange(len(answers_of_prompt)), (draws, 1))
        # One permutation serves all K: the first K of it are a draw without replacement.
        orders = generator.permuted(places, axis=1)
        score[i] = _of_prompt(answers_of_prompt, labels, ks, orders)
    low, high = bootstrap.mean_interval(score, seed=seed)
    return {
        "ks": list(ks),
        "prompts": len(score),
        "score": score.mean(0).tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
    }


def _of_prompt(
    answers: Sequence[str | None], correct: Any, ks: Sequence[int], orders: np.ndarray
) -> np.ndarray:
    """[len(ks)]: the mean label of the majority among the first K, over `orders` [draws, N]."""
    labels = np.asarray(correct, np.float64)  # [N]
    distinct = sorted({answer for answer in answers if answer is not None})
    votes = np.zeros((len(answers), len(distinct)))  # [N, A]
    for response, answer in enumerate(answers):
        if answer is not None:
            votes[response, distinct.index(answer)] = 1
    label_of_answer = (labels @ votes) / votes.sum(0)  # [A]
    counts = np.cumsum(votes[orders], axis=1)[:, np.asarray(ks) - 1]  # [draws, ks, A]
    most = counts.max(-1, keepdims=True, initial=0)
    # Without the second condition, every answer would share a first place of no votes.
    first = (counts == most) & (counts > 0)
    winners = first.sum(-1)  # [draws, ks]
    by_vote = (first * label_of_answer).sum(-1) / np.maximum(winners, 1)
    return np.where(winners > 0, by_vote, labels.mean()).mean(0)
