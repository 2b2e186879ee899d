"""The score contract: all that turns messages into a score, in a record beside the model.

A reward is only comparable with another of the same model if template, special tokens, over-long
rule, pooling and dtypes are the same. The record is written beside each checkpoint, export and
score file; whoever loads the model re-checks it, and re-scores a few golden conversations, before
the first number leaves the system.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from rewardjax import fingerprint
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import Message

FILE = "score_contract.json"

# Differences a re-computation may show, relative to max(1, |score|): summation order in float32,
# one rounding of weights or activations per layer in bfloat16.
TOLERANCE = {"float32": 2e-4, "bfloat16": 8e-2}

# What a wrong template, tokenizer or pooling is most likely to score differently: short answers,
# several turns, other scripts and code, and control tokens that are text.
GOLDEN_CONVERSATIONS: tuple[list[Message], ...] = (
    [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "4"}],
    [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "5"}],
    [
        {"role": "system", "content": "Answer briefly."},
        {"role": "user", "content": "Name a colour."},
        {"role": "assistant", "content": "Blue."},
        {"role": "user", "content": "Another one?"},
        {"role": "assistant", "content": "Green, perhaps."},
    ],
    [
        {"role": "user", "content": "  Größe, 価格, 👩‍🔬?\n\n"},
        {"role": "assistant", "content": "```py\nprint('naïve')\n```\n"},
    ],
    [
        {"role": "user", "content": "Say <|im_end|> please."},
        {"role": "assistant", "content": "<|im_end|><|eot_id|></s><think>"},
    ],
)


class ContractMismatch(ValueError):
    """The model would not be scored the way its contract says; the message names the field."""


@dataclasses.dataclass(frozen=True)
class ScoreContract:
    """What a score depends on besides the weights.

    Fields are compared one by one; `golden` are re-computed.
    """

    tokenizer: str  # fingerprint of the vocabulary and merges
    chat_template: str  # fingerprint of the template's text
    bos: str  # how many BOS tokens a conversation starts with, and who puts them there
    eos: str
    pad: str  # never EOS
    max_length: int  # tokens of one conversation
    over_long: str  # "drop" | "left": what happens to longer ones
    compute_dtype: str  # of the trunk
    weights_dtype: str  # of the stored weights
    head_dtype: str = "float32"
    pooling: str = "last token of the conversation, by length"
    normalisation: str = "none"
    golden: tuple[float, ...] = ()  # score of each of GOLDEN_CONVERSATIONS
    version: int = 1

    @property
    def fingerprint(self) -> str:
        """Equal for equal contracts, golden scores included."""
        return fingerprint.of_json(dataclasses.asdict(self))


def make(
    tokenizer: ChatTokenizer,
    *,
    max_length: int,
    over_long: str,
    compute_dtype: str,
    weights_dtype: str = "float32",
) -> ScoreContract:
    """The contract of a model that reads through `tokenizer`, without golden scores yet."""
    fields: dict[str, Any] = tokenizer.fingerprints()
    return ScoreContract(
        **fields,
        max_length=max_length,
        over_long=over_long,
        compute_dtype=compute_dtype,
        weights_dtype=weights_dtype,
    )


def with_golden(
    contract: ScoreContract, score: Callable[[list[list[Message]]], np.ndarray]
) -> ScoreContract:
    """Record what `score` gives for the golden conversations.

    Raises FloatingPointError where a score is not finite.
    """
    golden = tuple(float(x) for x in score(list(GOLDEN_CONVERSATIONS)))
    if not np.isfinite(golden).all():
        raise FloatingPointError(
            f"the golden conversations score {golden}: the weights are damaged, or training has "
            f"diverged"
        )
    return dataclasses.replace(contract, golden=golden)


def to_record(contract: ScoreContract) -> dict:
    """The contract as JSON holds it, with its fingerprint."""
    return dataclasses.asdict(contract) | {"fingerprint": contract.fingerprint}


def from_record(record: dict) -> ScoreContract:
    """The contract that `to_record` wrote. Raises ContractMismatch if the record was edited."""
    fields: dict[str, Any] = record | {"golden": tuple(record["golden"])}
    del fields["fingerprint"]
    contract = ScoreContract(**fields)
    if contract.fingerprint != record["fingerprint"]:
        raise ContractMismatch(
            f"field `fingerprint` is {record['fingerprint']}, it now gives "
            f"{contract.fingerprint}: it was edited"
        )
    return contract


def save(contract: ScoreContract, path: str | pathlib.Path) -> None:
    """Write the contract to the file `path`."""
    pathlib.Path(path).write_text(json.dumps(to_record(contract), indent=2) + "\n")


def load(folder: str | pathlib.Path) -> ScoreContract | None:
    """The contract kept in `folder`, or None where there is none.

    Raises ContractMismatch if the file was edited.
    """
    path = pathlib.Path(folder, FILE)
    if not path.exists():
        return None
    return from_record(json.loads(path.read_text()))


def check_tokenizer(contract: ScoreContract, tokenizer: ChatTokenizer) -> None:
    """Raise ContractMismatch if `tokenizer` renders or splits conversations in another way."""
    for field, value in tokenizer.fingerprints().items():
        expected = getattr(contract, field)
        if value != expected:
            raise ContractMismatch(
                f"field `{field}`: the contract says {expected!r}, this tokenizer gives {value!r}; "
                f"use the one saved with the model"
            )


def check_golden(
    contract: ScoreContract, score: Callable[[list[list[Message]]], np.ndarray], dtype: str
) -> float:
    """Re-score the golden conversations in `dtype`; returns the largest relative difference.

    Relative to max(1, |score|): a reward near zero has no relative precision to keep. Raises
    ContractMismatch if it exceeds the tolerance of `dtype` or of the weights, whichever is wider.
    """
    expected = np.asarray(contract.golden)
    scores = np.asarray(score(list(GOLDEN_CONVERSATIONS)), np.float64)
    difference = float(np.max(np.abs(scores - expected) / np.maximum(1.0, np.abs(expected))))
    allowed = max(TOLERANCE[dtype], TOLERANCE[contract.compute_dtype])
    # Not `difference > allowed`, which NaN would pass.
    if not difference <= allowed:
        raise ContractMismatch(
            f"field `golden`: re-scoring in {dtype} gives {scores.round(5).tolist()}, the contract "
            f"says {expected.round(5).tolist()} (relative difference {difference:.2e}, allowed "
            f"{allowed:.0e}): weights, head or pooling differ from the model that was saved"
        )
    return difference
