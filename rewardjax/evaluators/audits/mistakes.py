"""The most confident mistakes of a model: what a person reads to see why a number is what it is.

A mistake is a pair that the benchmark's label decides and the reward decides the other way; the
larger the margin, the more confident the model was.
"""

import json
from collections.abc import Sequence
from typing import Any, TypedDict

from rewardjax import evaluators
from rewardjax.data.groups import Group, Message
from rewardjax.evaluators.benchmarks import HasWithheld
from rewardjax.evaluators.records import Examples
from rewardjax.evaluators.stored_rewards import Scores

# Of each benchmark: as many as a person reads before the kinds of mistakes come again.
MOST = 10


class Mistake(TypedDict):
    """A wrong pair of an item: by the label, response `better` is better than response `worse`."""

    id: str
    subset: str
    better: int
    worse: int
    better_reward: float
    worse_reward: float
    margin: float


def of_benchmark(examples: Examples, scores: Scores, most: int = MOST) -> list[Mistake]:
    """At most `most` mistakes with the largest margins, the largest first, one of each item."""
    module = evaluators.get(examples.name)
    mistakes: list[Mistake] = []
    for item, rewards in zip(scores.items, scores.rewards, strict=True):
        wrong: list[Mistake] = []
        for i, j in module.better(item, len(rewards)):
            margin = float(rewards[j]) - float(rewards[i])
            # A comparison with NaN is False: a response without a score is not a mistake.
            if margin > 0:
                wrong.append(
                    Mistake(
                        id=item.id,
                        subset=item.subset,
                        better=i,
                        worse=j,
                        better_reward=float(rewards[i]),
                        worse_reward=float(rewards[j]),
                        margin=margin,
                    )
                )
        # One of each item, or a single bad response among many would fill the list.
        if wrong:
            mistakes.append(max(wrong, key=lambda mistake: mistake["margin"]))
    mistakes.sort(key=lambda mistake: -mistake["margin"])
    return mistakes[:most]


def with_texts(mistakes: Sequence[Mistake], examples: Examples) -> list[dict[str, Any]]:
    """The mistakes with "prompt", "chosen" and "rejected", each a list of messages of text.

    They are None where the benchmark's license forbids to show the texts.
    """
    module = evaluators.get(examples.name)
    withheld: tuple[str, ...] = ()
    if isinstance(module, HasWithheld):
        withheld = module.WITHHELD
    groups = {group.id: group for group in examples.groups}
    shown: list[dict[str, Any]] = []
    for mistake in mistakes:
        texts: dict[str, Any] = dict.fromkeys(("prompt", "chosen", "rejected"))
        if mistake["subset"] not in withheld:
            group = groups[mistake["id"]]
            texts = {
                "prompt": _prompt(group),
                "chosen": _readable(group.responses[mistake["better"]]),
                "rejected": _readable(group.responses[mistake["worse"]]),
            }
        shown.append({**mistake, **texts})
    return shown


def _prompt(group: Group) -> list[dict[str, str]]:
    messages = _readable(group.prompt)
    if group.tools:
        schemas = json.dumps(group.tools, ensure_ascii=False, indent=1)
        messages.insert(0, {"role": "tools", "content": schemas})
    return messages


def _readable(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Messages as role and text; other fields, such as calls of tools, as JSON after the text."""
    readable = []
    for message in messages:
        content = message.get("content")
        others = {name: value for name, value in message.items() if name != "role"}
        paragraphs = []
        if isinstance(content, str):
            paragraphs.append(content)
            del others["content"]
        if any(value is not None for value in others.values()):
            paragraphs.append(json.dumps(others, ensure_ascii=False, default=str))
        readable.append({"role": str(message.get("role")), "content": "\n".join(paragraphs)})
    return readable
