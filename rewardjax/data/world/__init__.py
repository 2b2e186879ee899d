"""A small preference world: seeded, endless, verifiable, with label sources of known quality.

    source = open_world("world:train?num=20000&labels=random:0.3&seed=1")
        one record per pair, in the explicit conversational format
    source = open_world("world:heldout?num=500&responses=8")
        one record per group of 8 responses, with their correctness
    oracle(record["id"])
        the right response's text; the records of pairs never say

Thirteen tasks of ten of the paper's categories (tasks.py) whose answers a program can check; right
and wrong answers of the same surface; a style that is drawn without looking at either (style.py);
labels that are honest, noisy, or biased toward style (labels.py). The splits `pretrain`, `train`
and `heldout` share no problem, whatever the seed. The text is the same on every Python and numpy.
"""

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl

from rewardjax import fingerprint
from rewardjax.data.world import labels as label_sources
from rewardjax.data.world import style
from rewardjax.data.world.draw import Draw
from rewardjax.data.world.labels import LabelSource
from rewardjax.data.world.pairs import (
    SPLITS,
    Problem,
    Response,
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

# Raise it when the same specification would give other text: fingerprints, and so caches, follow.
VERSION = 1


# ------------------------------------------------------------------ records


def generate(
    seed: int,
    num: int,
    *,
    labels: str = "honest",
    split: str = "train",
    tasks: tuple[str, ...] = tuple(TASKS),
) -> Iterator[dict[str, Any]]:
    """`num` pairs, in which nothing tells whether the label is right.

    Each is {"id", "prompt", "chosen", "rejected", "label_source", "task", "category",
    "objectivity", "controversiality", "difficulty", "style_chosen", "style_rejected"}; prompt,
    chosen and rejected are lists of messages. Raises ValueError on a bad label specification
    (labels.py says how to write one).
    """
    sources = label_sources.parse(labels)
    for index in range(num):
        item = _problem(split, seed, index, tasks)
        right, wrong, near = pair(item)
        honest, source = _label(item, right, wrong, sources)
        chosen, rejected = right, wrong
        if not honest:
            chosen, rejected = wrong, right
        difficulty = "far"
        if near:
            difficulty = "near"
        yield {
            "id": item.id,
            "prompt": [{"role": "user", "content": item.prompt}],
            "chosen": [{"role": "assistant", "content": chosen.text}],
            "rejected": [{"role": "assistant", "content": rejected.text}],
            "label_source": source,
            **_attributes(item),
            "difficulty": difficulty,
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
    """`num` groups of K = `responses` for best-of-N.

    Each is {"id", "prompt": messages, "responses": [text] * K, "correct": [bool] * K, "task", ...}.
    One of the first two responses is right and one wrong, so that there is something to choose;
    each other one is right with probability p_right.
    """
    for index in range(num):
        item = _problem(split, seed, index, tasks)
        group = candidates(item, responses, p_right)
        yield {
            "id": item.id,
            "prompt": [{"role": "user", "content": item.prompt}],
            "responses": [response.text for response in group],
            "correct": [response.correct for response in group],
            **_attributes(item),
        }


def _problem(split: str, seed: int, index: int, tasks: tuple[str, ...]) -> Problem:
    return problem(split, seed, index, Draw("task", split, seed, index).pick(tasks))


def _label(
    item: Problem, right: Response, wrong: Response, sources: list[LabelSource]
) -> tuple[bool, str]:
    """(is the right response the chosen one, name of the source that labeled the pair)."""
    # The label has a stream of its own: with other labels, the texts are the same.
    styles = style.score(right.style), style.score(wrong.style)
    return label_sources.label(sources, *styles, Draw("label", item.id))


def _attributes(item: Problem) -> dict[str, Any]:
    """The attributes that a curator would give the problem."""
    return {
        "task": item.task.name,
        "category": item.task.category,
        "objectivity": item.task.objectivity,
        "controversiality": item.task.controversiality,
    }


def _features(dressed: dict[str, bool]) -> list[str]:
    return [feature for feature in style.FEATURES if dressed[feature]]


# ------------------------------------------------------------------ a specification as a source


class World:
    """A specification opened as a data source.

    It has `len()`, iteration over records, `name` and `fingerprint()`, as data/sources/ asks.
    """

    def __init__(self, name: str, settings: dict[str, Any]):
        self.name, self.settings = name, settings

    def __len__(self) -> int:
        return self.settings["num"]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        settings = dict(self.settings)
        responses, labels = settings.pop("responses"), settings.pop("labels")
        if responses is None:
            return generate(labels=labels, **settings)
        return generate_groups(responses=responses, **settings)

    def right_labels(self, numbers: Iterable[int]) -> list[bool]:
        """Whether the label prefers the right response, for each pair of the records `numbers`."""
        sources = label_sources.parse(self.settings["labels"])
        is_honest = all(source.kind == "honest" for source in sources)
        # A group says of every response whether it is right, and its pairs follow from that.
        if is_honest or self.settings["responses"] is not None:
            return [True for _ in numbers]
        where = self.settings["split"], self.settings["seed"]
        honest = []
        for number in numbers:
            item = _problem(*where, number, self.settings["tasks"])
            right, wrong, _ = pair(item)
            honest.append(_label(item, right, wrong, sources)[0])
        return honest

    def fingerprint(self) -> str:
        """Fingerprint of the source, for caches."""
        # Of the specification and not of the records: the same one gives the same text.
        return fingerprint.of_json({"world": VERSION, **self.settings})


# Keys of a specification that are whole numbers, with the least that makes sense.
LEAST = {"num": 1, "seed": 0, "responses": 2}
KEYS = ("num", "seed", "labels", "tasks", "responses")


def open_world(spec: str) -> World:
    """The source that "world:SPLIT?key=value&..." names.

    Keys: num (default 20000 for train and pretrain, 2000 for heldout), seed (0), labels (honest),
    tasks (all; several joined by "+"), responses (K: groups instead of pairs). Raises ValueError
    that names an unknown split, key, task or bad value.
    """
    scheme, colon, rest = spec.partition(":")
    if scheme != "world" or not colon:
        raise ValueError(
            f"{spec!r} is not a world; write world:SPLIT?key=value&..., "
            "e.g. world:train?num=20000&labels=honest&seed=1"
        )
    split, _, query = rest.partition("?")
    if split not in SPLITS:
        raise ValueError(f"{spec!r}: unknown split {split!r}; there are {', '.join(SPLITS)}")
    settings: dict[str, Any] = {
        "split": split,
        "num": 20000,
        "seed": 0,
        "labels": "honest",
        "tasks": tuple(TASKS),
        "responses": None,
    }
    if split == "heldout":
        # A held-out set is scored again and again, a training set is read once.
        settings["num"] = 2000
    for key, value in _fields(spec, query).items():
        if key in LEAST:
            settings[key] = _whole_number(spec, key, value)
        elif key == "tasks":
            settings[key] = tuple(value.split("+"))
        else:
            settings[key] = value
    unknown = [task for task in settings["tasks"] if task not in TASKS]
    if unknown:
        raise ValueError(f"{spec!r}: unknown task {unknown[0]!r}; there are {', '.join(TASKS)}")
    # For its error: a mistake is better found before the first record.
    label_sources.parse(settings["labels"])
    return World(spec, settings)


def _fields(spec: str, query: str) -> dict[str, str]:
    """{key: value} of the part behind the question mark, in which each key stands once."""
    if not query:
        return {}
    # In a URL, "+" is a blank; here it joins tasks and label sources.
    escaped = query.replace("+", "%2B")
    try:
        fields = parse_qsl(escaped, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise ValueError(f"{spec!r}: {query!r} is not a list of key=value joined by &") from None
    keys = [key for key, _ in fields]
    for key in keys:
        if key not in KEYS or keys.count(key) > 1:
            raise ValueError(
                f"{spec!r}: unknown or repeated key {key!r}; there are {', '.join(KEYS)}, each once"
            )
    return dict(fields)


def _whole_number(spec: str, key: str, value: str) -> int:
    # Only ASCII digits: int() would also read "1_000", " 7" and digits of other scripts.
    if not (value.isascii() and value.isdigit()) or int(value) < LEAST[key]:
        raise ValueError(
            f"{spec!r}: {key}={value!r} must be a whole number of at least {LEAST[key]}"
        )
    return int(value)
