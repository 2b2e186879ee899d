"""How long a conversation may be, and what happens to one that is longer.

By default no part of a response is ever cut: its score would be that of another text. Published
numbers were measured on texts that were cut, so that only the same cuts reproduce them.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from rewardjax.evaluators.benchmarks import Benchmark, HasTruncation
from rewardjax.evaluators.stored_rewards import Scores

# Values of config.over_long. The first two are rules of `data.tokenize.shorten`, and of a contract.
CHOICES = ("left", "drop", "reference")
# Where a benchmark's reference is not known, or does not cut.
DEFAULT = "left"
WORDS = {
    "left": "prompts lost their oldest tokens, and a response that is longer alone has no score",
    "drop": "they have no score",
    "cut_left": "they were cut at their beginning, as the reference does",
    "cut_right": "they were cut at their end, as the reference does",
}


class Limit(NamedTuple):
    """Tokens that a conversation may have, and a rule of `data.tokenize.shorten` beyond them."""

    max_length: int
    over_long: str


def limit(choice: str, max_length: int, contract: int, module: Benchmark) -> Limit:
    """What holds for a benchmark.

    choice: one of CHOICES. max_length: the config's, 0 for the reference's or else the contract's.
    """
    if choice != "reference":
        return Limit(max_length or contract, choice)
    if isinstance(module, HasTruncation):
        truncation = module.TRUNCATION
        return Limit(max_length or truncation.max_length, f"cut_{truncation.side}")
    return Limit(max_length or contract, DEFAULT)


def check(choice: str) -> None:
    """Raise ValueError for what is not one of CHOICES."""
    if choice not in CHOICES:
        raise ValueError(f"config.over_long = {choice!r}: one of {', '.join(CHOICES)}")


def words(meta: Mapping[str, Any]) -> str:
    """The rule and the length that the scores of a benchmark were computed with."""
    return f"{meta['over_long']} beyond {meta['max_length']:,} tokens"


def note(scores: Scores) -> str | None:
    """A sentence about conversations that were longer than the limit, None where none was."""
    max_length, over_long = scores.meta.get("max_length"), scores.meta.get("over_long")
    if max_length is None or over_long not in WORDS:
        return None
    longer = 0
    for prompt, responses in zip(scores.prompt_tokens, scores.tokens, strict=True):
        longer += int((responses + prompt > max_length).sum())
    if not longer:
        return None
    responses = sum(len(responses) for responses in scores.tokens)
    return (
        f"{longer:,} of {responses:,} conversations were longer than {max_length:,} tokens: "
        f"{WORDS[over_long]}"
    )
