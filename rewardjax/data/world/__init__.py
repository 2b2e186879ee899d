"""A small preference world: seeded, endless, verifiable, with label sources of known quality and an oracle kept apart.

    source = open_world("world:train?num=20000&labels=random:0.3&seed=1")      a record a pair, in the explicit conversational format
    source = open_world("world:heldout?num=500&responses=8")                   a record a group of 8 responses with their correctness
    oracle(record["id"])                                                       the right response's text; the records of pairs never say

Thirteen tasks of ten of the paper's categories (tasks.py) whose answers a program can check; right and wrong answers of the same surface;
a style that is drawn without looking at either (style.py); labels that are honest, noisy, or biased toward style (labels.py). The splits
`pretrain`, `train` and `heldout` share no problem, whatever the seed. The text is the same on every Python and numpy.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from rewardjax import fingerprint
from rewardjax.data.world import labels as label_sources
from rewardjax.data.world import style
from rewardjax.data.world.draw import Draw
from rewardjax.data.world.pairs import (
    SPLITS,
    Problem,
    candidates,
    oracle,
    pair,
    problem,
    problem_of,
)
from rewardjax.data.world.tasks import TASKS

__all__ = [
    "TASKS",
    "SPLITS",
    "World",
    "generate",
    "generate_groups",
    "open_world",
    "oracle",
    "problem_of",
]

VERSION = 1  # raise it when the same specification would give other text: fingerprints, and so caches, follow


def _problems(split: str, seed: int, num: int, tasks: tuple[str, ...]) -> Iterator[Problem]:
    for index in range(num):
        yield problem(split, seed, index, Draw("task", split, seed, index).pick(tasks))


def _about(problem: Problem) -> dict[str, Any]:
    task = problem.task
    return {
        "task": task.name,
        "category": task.category,
        "objectivity": task.objectivity,
        "controversiality": task.controversiality,
    }


def _features(dressed: dict[str, bool]) -> list[str]:
    return [feature for feature in style.FEATURES if dressed[feature]]


def generate(
    seed: int,
    num: int,
    *,
    labels: str = "honest",
    split: str = "train",
    tasks: tuple[str, ...] = tuple(TASKS),
) -> Iterator[dict[str, Any]]:
    """`num` pairs: {"id", "prompt", "chosen", "rejected", "label_source", "task", "category", "objectivity", "controversiality",
    "difficulty", "style_chosen", "style_rejected"}; the first three message lists. Nothing in a record tells whether the label is right.
    Raises ValueError on a bad label specification (labels.py says how to write one)."""
    sources = label_sources.parse(labels)
    for item in _problems(split, seed, num, tasks):
        right, wrong, near = pair(item)
        honest, source = label_sources.label(
            sources, style.score(right.style), style.score(wrong.style), Draw("label", item.id)
        )
        chosen, rejected = (right, wrong) if honest else (wrong, right)
        yield {
            "id": item.id,
            "prompt": [{"role": "user", "content": item.prompt}],
            "chosen": [{"role": "assistant", "content": chosen.text}],
            "rejected": [{"role": "assistant", "content": rejected.text}],
            "label_source": source,
            **_about(item),
            "difficulty": "near" if near else "far",
            "style_chosen": _features(chosen.style),
            "style_rejected": _features(rejected.style),
        }


def generate_groups(
    seed: int,
    num: int,
    *,
    responses: int,
    split: str = "heldout",
    tasks: tuple[str, ...] = tuple(TASKS),
    p_right: float = 0.3,
) -> Iterator[dict[str, Any]]:
    """`num` groups for best-of-N: {"id", "prompt": messages, "responses": [text] * K, "correct": [bool] * K, "task", ...}. One of the
    first two responses is right and one wrong; each other one is right with probability p_right."""
    for item in _problems(split, seed, num, tasks):
        given = candidates(item, responses, p_right)
        yield {
            "id": item.id,
            "prompt": [{"role": "user", "content": item.prompt}],
            "responses": [r.text for r in given],
            "correct": [r.correct for r in given],
            **_about(item),
        }


class World:
    """A specification opened as a data source: `len()`, iteration over records, `name`, `fingerprint()`."""

    def __init__(self, name: str, settings: dict[str, Any]):
        self.name, self.settings = name, settings

    def __len__(self) -> int:
        return self.settings["num"]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        settings = dict(self.settings)
        if settings["responses"] is None:
            return generate(
                **{key: settings[key] for key in ("seed", "num", "labels", "split", "tasks")}
            )
        return generate_groups(
            **{key: settings[key] for key in ("seed", "num", "responses", "split", "tasks")}
        )

    def fingerprint(self) -> str:
        return fingerprint.of_json({"world": VERSION, **self.settings})


def open_world(spec: str) -> World:
    """The source that "world:SPLIT?key=value&..." names. Keys: num (default 20000 for train and pretrain, 2000 for heldout), seed (0),
    labels (honest), tasks (all; several joined by "+"), responses (K: groups instead of pairs). Raises ValueError that names an unknown
    split, key, task or bad value."""
    scheme, colon, rest = spec.partition(":")
    if scheme != "world" or not colon:
        raise ValueError(
            f"{spec!r} is no world; write world:SPLIT?key=value&..., e.g. world:train?num=20000&labels=honest&seed=1"
        )
    split, _, query = rest.partition("?")
    if split not in SPLITS:
        raise ValueError(f"{spec!r}: unknown split {split!r}; there are {', '.join(SPLITS)}")
    settings: dict[str, Any] = {
        "split": split,
        "num": 2000 if split == "heldout" else 20000,
        "seed": 0,
        "labels": "honest",
        "tasks": tuple(TASKS),
        "responses": None,
    }
    try:
        given = (
            parse_qsl(query.replace("+", "%2B"), keep_blank_values=True, strict_parsing=True)
            if query
            else []
        )
    except ValueError:
        raise ValueError(f"{spec!r}: {query!r} is no list of key=value joined by &") from None
    seen = [key for key, _ in given]
    for key, value in given:
        if key not in ("num", "seed", "labels", "tasks", "responses") or seen.count(key) > 1:
            raise ValueError(
                f"{spec!r}: unknown or repeated key {key!r}; there are num, seed, labels, tasks, responses, each once"
            )
        if key in ("num", "seed", "responses"):
            low = {"num": 1, "seed": 0, "responses": 2}[key]
            if not (value.isascii() and value.isdigit()) or int(value) < low:
                raise ValueError(
                    f"{spec!r}: {key}={value!r} must be a whole number of at least {low}"
                )
            settings[key] = int(value)
        else:
            settings[key] = tuple(value.split("+")) if key == "tasks" else value
    unknown = [task for task in settings["tasks"] if task not in TASKS]
    if unknown:
        raise ValueError(f"{spec!r}: unknown task {unknown[0]!r}; there are {', '.join(TASKS)}")
    label_sources.parse(settings["labels"])
    return World(spec, settings)
