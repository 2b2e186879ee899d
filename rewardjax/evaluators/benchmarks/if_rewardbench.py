"""IF-RewardBench (arXiv 2603.04738): 842 instructions, and a graph of preferences among answers.

Rules are those of the repository thu-coai/IF-RewardBench (its folder metrics; both scripts there
agree on them). On each instruction every preference of its graph is concordant (the better answer
scores strictly higher), discordant or tied; the item's Kendall tau is

    (C - D) / max(1, sqrt((C + D) * (C + D + T)))

with the numbers C, D and T of these. The headline is the plain mean over three types of
instructions of the mean over items. Judges who compare two answers at a time get their scores there
by an Elo rating of all verdicts; a reward model scores each answer by itself.
"""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rewardjax.data.groups import BadRecord, Group, Message
from rewardjax.evaluators import finder, reading, rules
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards

TITLE = "IF-RewardBench"
HUB = None
SOURCE = "github.com/thu-coai/IF-RewardBench (no license file): data/if_rewardbench.json"
# Of Kendall's tau: as many preferences hold as do not.
CHANCE = 0.0
TYPES = ("Single_Turn", "Multi_Turn", "System_Prompt")
# Instructions of all types together; how many of each was not published.
EXPECTED = 842
MOST_TURNS = 5


# ------------------------------------------------------------------ the rule


class Agreement(NamedTuple):
    """How rewards agree with the preferences of one item."""

    concordant: int
    discordant: int
    tied: int

    @property
    def kendall(self) -> float:
        """Kendall's tau as the repository defines it; 0 without any preference."""
        decided = self.concordant + self.discordant
        whole = decided + self.tied
        return (self.concordant - self.discordant) / max(1.0, math.sqrt(decided * whole))

    @property
    def accuracy(self) -> float:
        """The share of preferences that are concordant; 0 without any preference."""
        return self.concordant / max(1, self.concordant + self.discordant + self.tied)


def agreement(preferences: Sequence[Sequence[int]], rewards: Any) -> Agreement:
    """Counts over preferences (better, worse) of the indices of rewards [K]."""
    rewards = np.asarray(rewards, np.float64)
    edges = np.asarray(preferences, np.int64).reshape(-1, 2)
    ahead = rewards[edges[:, 0]] - rewards[edges[:, 1]]
    return Agreement(int(np.sum(ahead > 0)), int(np.sum(ahead < 0)), int(np.sum(ahead == 0)))


def better(item: Item, responses: int) -> list[tuple[int, int]]:
    """The preferences of the item's graph."""
    return [(better, worse) for better, worse in item.label["preferences"]]


def summarize(items: Sequence[Item], rewards: Rewards) -> Result:
    """Kendall's tau of the three types as parts, by number of constraints and of turns below.

    `other`: accuracy over preferences, aggregated in the same way.
    """
    agreements = []
    for item, rewards_of_item in zip(items, rewards, strict=True):
        of_item = None
        if rules.is_scored(np.asarray(rewards_of_item)):
            of_item = agreement(item.label["preferences"], rewards_of_item)
        agreements.append(of_item)
    by_type = _grouped(agreements, [item.subset for item in items])
    parts = {name: _part(by_type.get(name, [])) for name in TYPES}
    subsets: dict[str, Part] = {}
    for field, bucket in (("constraints", _constraints), ("turns", _turns)):
        names = [f"{bucket(item.label[field])} {field}" for item in items]
        by_bucket = _grouped(agreements, names)
        subsets |= {name: _part(by_bucket[name]) for name in sorted(by_bucket)}
    accuracies = []
    for name in TYPES:
        scored = filter(None, by_type.get(name, []))
        accuracies.append(rules.average(of_item.accuracy for of_item in scored))
    other: dict[str, Any] = {}
    if rules.average(accuracies) is not None:
        other["accuracy over preferences"] = rules.average(accuracies)
    notes = []
    if items and len(items) != EXPECTED:
        notes.append(f"{len(items):,} instructions of {EXPECTED} published")
    return Result(
        "if_rewardbench",
        rules.average(part.value for part in parts.values()),
        "Kendall's tau of the preferences of an instruction, the plain mean over three types of "
        "the mean over instructions; between -1 and 1",
        CHANCE,
        parts,
        rules.breakdown(subsets),
        other,
        notes,
        least=-1.0,
    )


def _grouped(
    agreements: Sequence[Agreement | None], names: Sequence[str]
) -> dict[str, list[Agreement | None]]:
    groups: dict[str, list[Agreement | None]] = {}
    for of_item, name in zip(agreements, names, strict=True):
        groups.setdefault(name, []).append(of_item)
    return groups


def _part(agreements: Sequence[Agreement | None]) -> Part:
    """Ties are preferences between equal rewards."""
    scored = [of_item for of_item in agreements if of_item is not None]
    return Part(
        value=rules.average(of_item.kendall for of_item in scored),
        n=len(scored),
        ties=sum(of_item.tied for of_item in scored),
        unscored=len(agreements) - len(scored),
    )


def _constraints(count: int) -> str:
    """The repository's buckets of instructions by the length of their checklist."""
    if count <= 3:
        return "up to 3"
    if count >= 7:
        return "7 or more"
    return str(count)


def _turns(count: int) -> str:
    return str(min(count, MOST_TURNS))


# ------------------------------------------------------------------ the files


LAYOUT = finder.Layout([("messages", "responses", "preference_graph", "instruction_type")])


def load(path: str | pathlib.Path) -> Examples:
    """The repository, its folder data, or data/if_rewardbench.json."""
    return finder.load("if_rewardbench", [path], LAYOUT, _read)


def _read(record: dict[str, Any]) -> tuple[Item, Group]:
    kind = reading.text(record, "instruction_type")
    if kind not in TYPES:
        raise BadRecord("bad_schema", f"instruction_type = {kind!r}: one of {', '.join(TYPES)}")
    prompt = _prompt(record.get("messages"))
    responses = [reading.text(response, "response") for response in _objects(record, "responses")]
    preferences = [
        [
            _response_id(edge, "chosen", len(responses)),
            _response_id(edge, "rejected", len(responses)),
        ]
        for edge in _objects(record, "preference_graph")
    ]
    turns = sum(message["role"] == "user" for message in prompt)
    label = {
        "preferences": preferences,
        "constraints": len(record.get("checklist") or ()),
        "turns": turns,
    }
    return reading.example(record.get("id"), kind, label, prompt, responses)


def _prompt(messages: Any) -> list[Message]:
    """Turns that may begin with a system prompt."""
    if not isinstance(messages, list) or not messages:
        raise BadRecord("bad_schema", f"messages = {messages!r:.60}, not a list of messages")
    first = messages[0]
    if not isinstance(first, dict) or first.get("role") != "system":
        return reading.turns(messages, "messages")
    system: Message = {"role": "system", "content": reading.text(first, "content")}
    return [system, *reading.turns(messages[1:], "messages[1:]")]


def _objects(record: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = record.get(name)
    is_list = isinstance(value, (list, tuple))
    if not is_list or not all(isinstance(element, Mapping) for element in value):
        raise BadRecord("bad_schema", f"{name} = {value!r:.60}, not a list of objects")
    return list(value)


def _response_id(edge: dict[str, Any], side: str, responses: int) -> int:
    """The index of the response at one end of an edge of the graph."""
    end = edge.get(side)
    index = end.get("response_id") if isinstance(end, Mapping) else None
    if not isinstance(index, int) or not 0 <= index < responses:
        raise BadRecord(
            "bad_schema",
            f"preference_graph: {side}.response_id = {index!r}, not one of {responses} responses",
        )
    return index
