"""The score contract: all that turns messages into a score, in a record beside the model.

A reward is only comparable with another of the same model if template, special tokens, over-long
rule, pooling and dtypes are the same. The record is written beside each checkpoint, export and
score file; whoever loads the model re-checks it, and re-scores a few golden conversations, before
the first number leaves the system. The conversations, what the template makes of them and their
token ids lie in the record, so that any other reader can do the same.

Version 1 had the scores of the golden conversations alone, and ids in which every added token of
the tokenizer was text inside a message (`chat.TOKEN_RULE` says which are now).
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import logging

from rewardjax import fingerprint
from rewardjax.data.chat import TOKEN_RULE, ChatTokenizer
from rewardjax.data.groups import UNFORESEEN, BadRecord, Message
from rewardjax.io import foreign_files
from rewardjax.scoring import reference

FILE = "score_contract.json"
VERSION = 2

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
class Golden:
    """A golden conversation: its messages, what they become, and the score.

    In version 1 neither the text nor the ids were written.
    """

    messages: list[Message]
    rendered: str
    token_ids: list[int]
    score: float


@dataclasses.dataclass(frozen=True)
class ScoreContract:
    """What a score depends on besides the weights.

    Fields are compared one by one; `golden` are re-computed.
    """

    tokenizer: str  # fingerprint of the vocabulary and merges
    chat_template: str  # fingerprint of the template's text
    bos: str  # how many BOS tokens the template prints at the start of a conversation
    eos: str
    pad: str
    max_length: int  # tokens of one conversation
    over_long: str  # "drop" | "left": what happens to longer ones
    compute_dtype: str  # of the trunk
    weights_dtype: str  # of the stored weights
    head_dtype: str = "float32"
    pooling: str = "last token of the conversation, by length"
    normalization: str = "none"
    token_rule: str = TOKEN_RULE
    golden: tuple[Golden, ...] = ()
    version: int = VERSION
    # Fields of a later version, kept so that a copy of the record says all that it said.
    unknown: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Equal for equal contracts, golden scores included."""
        return fingerprint.of_json(_written(self))


def _written(contract: ScoreContract) -> dict[str, Any]:
    """The fields as they are written."""
    record = dataclasses.asdict(contract)
    return record | record.pop("unknown")


def make(
    tokenizer: ChatTokenizer,
    *,
    max_length: int,
    over_long: str,
    compute_dtype: str,
    weights_dtype: str = "float32",
) -> ScoreContract:
    """The contract of a model that reads through `tokenizer`, without golden scores yet.

    Raises ValueError where the template leaves too few golden conversations.
    """
    golden_conversations(tokenizer)
    fields: dict[str, Any] = tokenizer.fingerprints()
    return ScoreContract(
        **fields,
        max_length=max_length,
        over_long=over_long,
        compute_dtype=compute_dtype,
        weights_dtype=weights_dtype,
    )


def longest_golden(tokenizer: ChatTokenizer) -> int:
    """Tokens of the longest of `golden_conversations`."""
    return max(len(tokenizer.encode(messages)) for messages in golden_conversations(tokenizer))


def golden_conversations(tokenizer: ChatTokenizer) -> list[list[Message]]:
    """Those of GOLDEN_CONVERSATIONS that the template accepts; some know no system role.

    Raises ValueError where it accepts fewer than two: equal scores of one would prove nothing.
    """
    accepted: list[list[Message]] = []
    refusal = ""
    for messages in GOLDEN_CONVERSATIONS:
        try:
            tokenizer.encode(messages)
        except BadRecord as error:
            refusal = error.detail
        else:
            accepted.append(messages)
    if len(accepted) < 2:
        raise ValueError(
            f"the chat template refuses all but {len(accepted)} of the golden conversations, with "
            f"which a score contract is checked; of the last one {refusal}"
        )
    return accepted


def with_golden(
    contract: ScoreContract,
    tokenizer: ChatTokenizer,
    score: Callable[[list[list[Message]]], np.ndarray],
) -> ScoreContract:
    """Record what `score` gives for the golden conversations, and what they become before.

    Raises FloatingPointError where a score is not finite.
    """
    conversations = golden_conversations(tokenizer)
    scores = [float(x) for x in score(conversations)]
    if not np.isfinite(scores).all():
        raise FloatingPointError(
            f"the golden conversations score {scores}: the weights are damaged, or training has "
            f"diverged"
        )
    golden = tuple(
        Golden(messages, tokenizer.render(messages), tokenizer.encode(messages), reward)
        for messages, reward in zip(conversations, scores, strict=True)
    )
    return dataclasses.replace(contract, golden=golden, version=VERSION, token_rule=TOKEN_RULE)


def to_record(contract: ScoreContract) -> dict:
    """The contract as JSON holds it, with its fingerprint."""
    return _written(contract) | {"fingerprint": contract.fingerprint}


def from_record(record: dict) -> ScoreContract:
    """The contract that `to_record` wrote, now or in version 1.

    Raises ContractMismatch if the record was edited. Fields of a later version are kept and named.
    """
    written = {name: value for name, value in record.items() if name != "fingerprint"}
    # Over what is written, so that a reader can check the fields that it does not know.
    now = fingerprint.of_json(written)
    if now != record["fingerprint"]:
        raise ContractMismatch(
            f"field `fingerprint` is {record['fingerprint']}, it now gives {now}: it was edited"
        )
    if written["version"] == 1:
        return _from_version_1(written)
    names = {field.name for field in dataclasses.fields(ScoreContract)} - {"unknown"}
    unknown = {name: value for name, value in written.items() if name not in names}
    if unknown:
        logging.warning(
            "the score contract has fields that this version does not know, and does not check: %s",
            ", ".join(sorted(unknown)),
        )
    fields = {name: value for name, value in written.items() if name in names}
    golden = tuple(
        Golden(x["messages"], x["rendered"], x["token_ids"], x["score"]) for x in fields["golden"]
    )
    return ScoreContract(**fields | {"golden": golden, "unknown": unknown})


def _from_version_1(written: dict[str, Any]) -> ScoreContract:
    """A contract that says the scores of GOLDEN_CONVERSATIONS and nothing else of them."""
    fields = dict(written)
    fields["normalization"] = fields.pop("normalisation")
    scores = fields.pop("golden")
    golden = tuple(
        Golden(messages, "", [], score)
        for messages, score in zip(GOLDEN_CONVERSATIONS[: len(scores)], scores, strict=True)
    )
    return ScoreContract(**fields, golden=golden, token_rule="all added tokens are text")


def save(contract: ScoreContract, path: str | pathlib.Path) -> None:
    """Write the contract to the file `path`."""
    pathlib.Path(path).write_text(json.dumps(to_record(contract), indent=2) + "\n")


def load(folder: str | pathlib.Path) -> ScoreContract | None:
    """The contract kept in `folder`, or None where there is none.

    Raises ContractMismatch if the file was edited, or is not a contract.
    """
    path = pathlib.Path(folder, FILE)
    if not path.exists():
        return None
    record = foreign_files.read_object(path)
    try:
        return from_record(record)
    except ContractMismatch as mismatch:
        raise ContractMismatch(f"{path}: {mismatch}") from None
    except UNFORESEEN as error:
        raise ContractMismatch(
            f"{path}: not a score contract ({type(error).__name__}: {error}); fetch it again, or "
            "remove it to have scores that nothing checks"
        ) from None


def check_tokenizer(contract: ScoreContract, tokenizer: ChatTokenizer) -> None:
    """Raise ContractMismatch if `tokenizer` renders or splits conversations in another way."""
    fingerprints = tokenizer.fingerprints()
    if contract.version == 1:
        # It counted a BOS that the template does not print too.
        del fingerprints["bos"]
    for field, value in fingerprints.items():
        expected = getattr(contract, field)
        if value != expected:
            raise ContractMismatch(
                f"field `{field}`: the contract says {expected!r}, this tokenizer gives {value!r}; "
                f"use the one saved with the model"
            )
    if contract.version == 1:
        return
    if contract.token_rule != TOKEN_RULE:
        raise ContractMismatch(
            f"field `token_rule`: the contract says {contract.token_rule!r}, this version of "
            f"rewardjax goes by {TOKEN_RULE!r}"
        )
    for index, golden in enumerate(contract.golden):
        where = f"field `golden[{index}]"
        if tokenizer.render(golden.messages) != golden.rendered:
            raise ContractMismatch(f"{where}.rendered`: the template prints another text now")
        if tokenizer.encode(golden.messages) != golden.token_ids:
            raise ContractMismatch(f"{where}.token_ids`: the tokenizer gives other ids now")


def check_reference(
    contract: ScoreContract, tokenizer: ChatTokenizer, folder: str | pathlib.Path
) -> None:
    """Raise ContractMismatch if other readers of `folder` get other ids for the golden ones.

    Conversations with control strings are left out: there the ids are meant to differ.
    """
    for golden in contract.golden:
        if tokenizer.control_strings(golden.messages):
            continue
        name, token_ids = reference.token_ids(folder, golden.messages)
        if token_ids != golden.token_ids:
            raise ContractMismatch(
                f"field `golden`: {name} reads {golden.rendered!r:.80} of this folder as "
                f"{token_ids}, the contract says {golden.token_ids}; is tokenizer_class in "
                f"tokenizer_config.json a class that changes tokenizer.json? If so, write "
                f"PreTrainedTokenizerFast there"
            )


def of_unchanged_ids(contract: ScoreContract, tokenizer: ChatTokenizer) -> ScoreContract:
    """A version 1 contract with those golden conversations whose ids the new rule leaves alone.

    They are those without an added token in their messages, none where BOS is counted differently.
    """
    unchanged: tuple[Golden, ...] = ()
    if tokenizer.fingerprints()["bos"] == contract.bos:
        unchanged = tuple(x for x in contract.golden if not tokenizer.ordinary_tokens(x.messages))
    return dataclasses.replace(contract, golden=unchanged)


def check_golden(
    contract: ScoreContract, score: Callable[[list[list[Message]]], np.ndarray], dtype: str
) -> float:
    """Re-score the golden conversations in `dtype`; returns the largest relative difference.

    Relative to max(1, |score|): a reward near zero has no relative precision to keep. Raises
    ContractMismatch if it exceeds the tolerance of `dtype` or of the weights, whichever is wider.
    """
    expected = np.asarray([golden.score for golden in contract.golden])
    scores = np.asarray(score([golden.messages for golden in contract.golden]), np.float64)
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
