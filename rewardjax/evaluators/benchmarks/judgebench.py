"""JudgeBench (arXiv 2410.12784): pairs of responses of one strong model to hard questions, one right: 350 of GPT-4o, 270 of Claude.

The paper that this project follows reports the plain mean of four categories on the GPT-4o pairs (macro), the benchmark itself the
accuracy over all pairs (micro). One game: the decision is "A>B" only where A scores strictly higher. Two games, in both orders: the sum of
the two verdicts must be right.
"""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rewardjax.data import sources
from rewardjax.data.groups import BadRow, Group
from rewardjax.evaluators import records as benchmark
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards

TITLE = "JudgeBench"
HUB = "hf://ScalerLab/JudgeBench"
SOURCE = f"{HUB}, or the folder data of github.com/ScalerLab/JudgeBench (no license file)"
CHANCE = 0.5
PREFIXES = {
    "Knowledge": "mmlu-pro",
    "Reasoning": "livebench-reasoning",
    "Math": "livebench-math",
    "Coding": "livecodebench",
}
EXPECTED = {
    "gpt": {"Knowledge": 154, "Reasoning": 98, "Math": 56, "Coding": 42},
    "claude": {"Knowledge": 154, "Reasoning": 51, "Math": 34, "Coding": 31},
}


def one_game(first, second, label) -> np.ndarray:
    """[n]: whether the decision is right; label [n] True for "A>B". A is decided for where it scores strictly higher, else B."""
    return (np.asarray(first) > np.asarray(second)) == np.asarray(label, bool)


def two_games(forward, backward, label) -> np.ndarray:
    """[n]: whether the sum of two verdicts is right. forward: "A>B", "B>A" or None (a tie, or no verdict); backward: the same of the game
    with the answers exchanged, before it is flipped back; label: "A>B" or "B>A"."""
    flip = {"A>B": "B>A", "B>A": "A>B"}
    worth = lambda decision, right: 0 if decision is None else 1 if decision == right else -1
    games = zip(forward, (flip.get(decision) for decision in backward), label, strict=True)
    return np.array(
        [worth(first, right) + worth(second, right) > 0 for first, second, right in games], bool
    )


def load(path: str | pathlib.Path) -> Examples:
    """The folder with both files (dataset=judgebench,response_model=....jsonl), one of them, or the hub repository."""
    files = benchmark.files_in(path)

    def records() -> Iterator[tuple[str, dict[str, Any]]]:
        for file in files:
            yield from benchmark.numbered(sources.open_source(file))

    return benchmark.collect("judgebench", records(), _read, files)


def _read(record: dict[str, Any]) -> tuple[Item, Group]:
    source, model, label = (
        benchmark.text(record, name) for name in ("source", "response_model", "label")
    )
    category = next((name for name, prefix in PREFIXES.items() if source.startswith(prefix)), None)
    split = next((name for name in EXPECTED if model.startswith(name)), None)
    if category is None or split is None:
        raise BadRow(
            "bad_schema",
            f"source = {source!r}, response_model = {model!r}: begin with none of those known",
        )
    if label not in ("A>B", "B>A"):
        raise BadRow("bad_schema", f"label = {label!r}: 'A>B' or 'B>A'")
    responses = [benchmark.text(record, "response_A"), benchmark.text(record, "response_B")]
    name = f"{split}/{record.get('pair_id')}"
    return benchmark.example(
        name,
        f"{split}/{category}",
        {"label": label},
        benchmark.user(benchmark.text(record, "question")),
        responses,
    )


def better(item: Item, responses: int) -> list[tuple[int, int]]:
    """The response that the label prefers."""
    if item.label["label"] == "A>B":
        return [(0, 1)]
    return [(1, 0)]


def summarize(items: Sequence[Item], rewards: Rewards) -> Result:
    """The four categories of the GPT-4o pairs as parts, those of the Claude pairs below; `other`, for each: macro, micro, two games."""
    found: dict[str, dict[str, Part]] = {split: {} for split in EXPECTED}
    both: dict[str, list[np.ndarray]] = {split: [] for split in EXPECTED}
    rows = benchmark.by_subset(items, rewards)
    for split, sizes in EXPECTED.items():
        for category, expected in sizes.items():
            pairs = rows.get(f"{split}/{category}", [])
            label = [item.label["label"] for item, _ in pairs]
            first, second = np.array([one for _, one in pairs]).reshape(-1, 2).T
            scored = ~(np.isnan(first) | np.isnan(second))
            right = one_game(first, second, [text == "A>B" for text in label])
            found[split][category] = benchmark.mean_part(
                np.where(scored, right, np.nan), first == second, expected
            )
            decide = lambda a, b: np.where(a > b, "A>B", "B>A").tolist()
            both[split].append(
                two_games(decide(first, second), decide(second, first), label)[scored]
            )
    other = {}
    for split, parts in found.items():
        games = np.concatenate(both[split])
        if len(games):
            macro, micro = (
                benchmark.average(part.value for part in parts.values()),
                benchmark.pool(parts.values()).value,
            )
            other[split] = {
                "macro": macro,
                "micro": micro,
                "two games, micro": float(games.mean()),
                "pairs": len(games),
            }
    headline = benchmark.average(part.value for part in found["gpt"].values())
    claude = {f"claude/{name}": part for name, part in found["claude"].items() if not part.missing}
    notes = (
        []
        if "gpt" in other
        else ["the GPT-4o pairs, on which the headline is defined, are missing"]
    )
    rule = "unweighted mean of 4 categories on the GPT-4o pairs, one game"
    return Result("judgebench", headline, rule, CHANCE, found["gpt"], claude, other, notes)
