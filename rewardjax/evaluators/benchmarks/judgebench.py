"""JudgeBench (arXiv 2410.12784): pairs of responses of one strong model to hard questions.

One of the two is right; 350 pairs are of GPT-4o, 270 of Claude. The paper that this project follows
reports the plain mean of four categories on the GPT-4o pairs (macro), the benchmark itself the
accuracy over all pairs (micro). One game: the decision is "A>B" only where A scores strictly
higher. Two games, in both orders: the sum of the two verdicts must be right.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from rewardjax.data.groups import BadRecord, Group
from rewardjax.evaluators import finder, reading, rules
from rewardjax.evaluators.benchmarks import Published
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards

TITLE = "JudgeBench"
HUB = "hf://ScalerLab/JudgeBench"
SOURCE = f"{HUB}, or the folder data of github.com/ScalerLab/JudgeBench (no license file)"
CHANCE = 0.5
# A pair's `source` begins with its category's.
PREFIXES = {
    "Knowledge": "mmlu-pro",
    "Reasoning": "livebench-reasoning",
    "Math": "livebench-math",
    "Coding": "livecodebench",
}
# Pairs by the model that wrote both responses, and by category, as published.
EXPECTED = {
    "gpt": {"Knowledge": 154, "Reasoning": 98, "Math": 56, "Coding": 42},
    "claude": {"Knowledge": 154, "Reasoning": 51, "Math": 34, "Coding": 31},
}
FLIPPED = {"A>B": "B>A", "B>A": "A>B"}


# ------------------------------------------------------------------ the rule


def one_game(first: Any, second: Any, label: Any) -> np.ndarray:
    """Whether the decision is right, [N] bool; first, second: rewards [N] of A and B.

    label: [N] True for "A>B". A is decided for where it scores strictly higher, else B: so equal
    rewards are right for half of the labels.
    """
    return (np.asarray(first) > np.asarray(second)) == np.asarray(label, bool)


def two_games(
    forward: Sequence[str | None], backward: Sequence[str | None], label: Sequence[str]
) -> np.ndarray:
    """Whether the sum of two verdicts is right, [N] bool.

    forward: [N] "A>B", "B>A" or None (a tie, or no verdict). backward: the same of the game with
    the answers exchanged, before it is flipped back. label: [N] "A>B" or "B>A".
    """
    right = []
    for first, exchanged, correct in zip(forward, backward, label, strict=True):
        # With the answers exchanged, the right verdict is the label's opposite.
        right.append(_worth(first, correct) + _worth(exchanged, FLIPPED[correct]) > 0)
    return np.array(right, bool)


def _worth(decision: str | None, correct: str) -> int:
    if decision is None:
        return 0
    if decision == correct:
        return 1
    return -1


def categories(item: Item) -> list[str]:
    """The category of a pair, whichever model answered."""
    return [item.subset.split("/")[1]]


def better(item: Item, responses: int) -> list[tuple[int, int]]:
    """The response that the label prefers."""
    if item.label["label"] == "A>B":
        return [(0, 1)]
    return [(1, 0)]


def summarize(items: Sequence[Item], rewards: Rewards) -> Result:
    """The four categories of the GPT-4o pairs as parts, those of the Claude pairs below.

    `other`, for each of the two models: macro, micro, and two games.
    """
    parts: dict[str, dict[str, Part]] = {split: {} for split in EXPECTED}
    games: dict[str, list[np.ndarray]] = {split: [] for split in EXPECTED}
    by_subset = rules.by_subset(items, rewards)
    for split, sizes in EXPECTED.items():
        for category, expected in sizes.items():
            rows = by_subset.get(f"{split}/{category}", [])
            parts[split][category], both_games = _category(rows, expected)
            games[split].append(both_games)
    other = {}
    for split, by_category in parts.items():
        # A model whose pairs are not there has categories without pairs, and no figures.
        both_games = np.concatenate(games[split])
        if len(both_games):
            other[split] = {
                "macro": rules.average(part.value for part in by_category.values()),
                "micro": rules.pool(by_category.values()).value,
                "two games, micro": float(both_games.mean()),
                "pairs": len(both_games),
            }
    notes = []
    if "gpt" not in other:
        notes.append("the GPT-4o pairs, on which the headline is defined, are missing")
    # The paper's headline is of the GPT-4o pairs alone, so Claude's are no parts of it.
    claude = parts["claude"]
    return Result(
        "judgebench",
        rules.average(part.value for part in parts["gpt"].values()),
        "unweighted mean of 4 categories on the GPT-4o pairs, one game",
        CHANCE,
        parts["gpt"],
        {f"claude/{name}": part for name, part in claude.items() if not part.missing},
        other,
        notes,
    )


def _category(rows: Sequence[tuple[Item, np.ndarray]], expected: int) -> tuple[Part, np.ndarray]:
    """A category's accuracy in one game, and whether each scored pair is right in two, [N] bool."""
    label = [item.label["label"] for item, _ in rows]
    first, second = np.array([pair for _, pair in rows]).reshape(-1, 2).T  # [N] each
    scored = ~(np.isnan(first) | np.isnan(second))
    right = one_game(first, second, [text == "A>B" for text in label])
    part = rules.mean_part(np.where(scored, right, np.nan), first == second, expected)
    # A reward does not depend on the order of the answers; the rule does, where rewards are equal.
    both_games = two_games(_decisions(first, second), _decisions(second, first), label)
    return part, both_games[scored]


def _decisions(first: np.ndarray, second: np.ndarray) -> list[str]:
    """[N]: "A>B" where the answer that is shown first scores strictly higher, else "B>A"."""
    return np.where(first > second, "A>B", "B>A").tolist()


# ------------------------------------------------------------------ the files


LAYOUT = finder.Layout([("question", "response_model", "response_A", "response_B", "label")])


def load(path: str | pathlib.Path) -> Examples:
    """One of the two files, or a folder with one or both: a clone, or the hub's repository.

    A clone's folder outputs, with what judges said of the same pairs, is not read.
    """
    return finder.load("judgebench", [path], LAYOUT, _read)


def _read(record: dict[str, Any]) -> tuple[Item, Group]:
    source = reading.text(record, "source")
    model = reading.text(record, "response_model")
    label = reading.text(record, "label")
    category = next((name for name, prefix in PREFIXES.items() if source.startswith(prefix)), None)
    split = next((name for name in EXPECTED if model.startswith(name)), None)
    if category is None or split is None:
        raise BadRecord(
            "bad_schema",
            f"source = {source!r}, response_model = {model!r}: begin with none of those known",
        )
    if label not in FLIPPED:
        raise BadRecord("bad_schema", f"label = {label!r}: 'A>B' or 'B>A'")
    return reading.example(
        f"{split}/{record.get('pair_id')}",
        f"{split}/{category}",
        {"label": label},
        reading.user(reading.text(record, "question")),
        [reading.text(record, "response_A"), reading.text(record, "response_B")],
    )


def published(record: dict[str, Any]) -> Published | None:
    """A line of the repository's outputs of reward models, or a pair_id with two `scores`."""
    if "pair_id" not in record:
        return None
    if "scores" in record:
        # Collections of scores are of the GPT-4o pairs, which alone all models were measured on.
        return Published(f"gpt/{record['pair_id']}", record["scores"], record.get("model"))
    if not record.get("judgments"):
        return None
    # The second game has the answers exchanged, which a reward model scores as in the first.
    judgment = record["judgments"][0].get("judgment", {})
    # Judges that write verdicts give no scores.
    if not isinstance(judgment.get("scores"), (list, tuple)):
        return None
    item, group = _read(record)
    return Published(item.id, judgment["scores"], judgment.get("judge_model"), group)
