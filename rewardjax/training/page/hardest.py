"""The pairs of a held-out set on which the rewards contradict the labels most, and least."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import Message
from rewardjax.data.pack import TokenGroup
from rewardjax.data.templates import turns
from rewardjax.training.held_out import HeldOut

HARDEST, SUREST = 5, 2


def hardest_and_surest(
    held_out: HeldOut, tokenizer: ChatTokenizer
) -> dict[str, list[dict[str, Any]]]:
    """Heading -> pairs with their texts and rewards, as `page.Section` shows examples.

    A pair is chosen and rejected as its label has it. Pairs without a preference are neither hard
    nor easy.
    """
    rewards, target = held_out.last_rewards(), held_out.pairs.target  # [N, 2], [N]
    decided = np.flatnonzero((held_out.pairs.tie == 0) & (target != 0.5))
    # Of a soft label below 1/2 the second response is the preferred one.
    preferred = np.where(target > 0.5, 0, 1)
    margins = rewards[np.arange(len(rewards)), preferred]
    margins = margins - rewards[np.arange(len(rewards)), 1 - preferred]
    # Stable: the same page from the same rewards.
    order = decided[np.argsort(margins[decided], kind="stable")].tolist()
    surest = order[HARDEST:][-SUREST:]
    shown = {}
    for heading, numbers in (
        ("Hardest: the rewards contradict the label most, or agree least", order[:HARDEST]),
        ("Surest: the rewards agree with the label most", surest[::-1]),
    ):
        if numbers:
            shown[heading] = [
                _example(held_out, number, int(preferred[number]), tokenizer) for number in numbers
            ]
    return shown


def _example(
    held_out: HeldOut, number: int, preferred: int, tokenizer: ChatTokenizer
) -> dict[str, Any]:
    prompt, responses = conversations(held_out.groups[number], tokenizer)
    rewards = held_out.last_rewards()[number]
    return {
        "prompt": prompt,
        "chosen": responses[preferred],
        "rejected": responses[1 - preferred],
        "chosen_reward": float(rewards[preferred]),
        "rejected_reward": float(rewards[1 - preferred]),
        "note": held_out.pairs.origin(held_out.pairs.record[number]),
    }


def conversations(
    group: TokenGroup, tokenizer: ChatTokenizer
) -> tuple[list[Message], list[list[Message]]]:
    """Prompt and responses of a group as messages, read from the tokens that the model was given.

    Not from the data set, which may be far away, and of which a long prompt was cut. Where the
    template does not say who speaks, the text stands as the model read it.
    """
    read: list[list[Message]] = []
    for suffix in group.suffixes:
        messages = turns.messages_of(tokenizer.pieces_of([*group.prefix, *suffix]))
        if messages is None:
            return _as_read(group.prefix, tokenizer), [
                _as_read(suffix, tokenizer) for suffix in group.suffixes
            ]
        read.append(messages)
    return turns.prompt_and_responses(read)


def _as_read(ids: Sequence[int] | np.ndarray, tokenizer: ChatTokenizer) -> list[Message]:
    return [{"role": "as the model read it", "content": tokenizer.decode(list(ids))}]
