"""The unit of data: one prompt, its responses, and the labeled pairs among them."""

import contextlib
import dataclasses
import json
import math
import unicodedata
from collections.abc import Iterator
from typing import Any

import numpy as np

from rewardjax import fingerprint

# {"role": str, "content": str}, plus fields that a chat template reads ("reasoning_content", ...).
Message = dict[str, Any]
# A field of a message whose content is null beside calls of tools. Its content is "" for all who
# read texts; templates see none, since some ask whether there is one.
NO_CONTENT = "no_content"

# Why a record or pair is dropped. Closed: manifests and quarantine files count by these, and users
# look them up in docs/data.md.
REASONS = {
    "empty": "the last prompt turn or a response shows no text",
    "equal": "chosen and rejected are the same text",
    "equal_after_truncation": "chosen and rejected are the same tokens once cut to max_length",
    "over_long": "the conversation does not fit the maximum length",
    "bad_role": "a role is missing or unknown, or the chat template refuses the conversation",
    "bad_text": "a text holds a lone surrogate or a NUL character",
    "bad_line": "a line or row of the file that is no record",
    "bad_schema": "a field is missing, has the wrong type, or contradicts another",
    "not_finite": "the model gives no finite number",
}

LARGEST = float(np.finfo(np.float32).max)  # of labels, which are kept in 32 bits

# First and last of the letters, marks and symbols that Unicode calls ignorable, so that a font
# shows nothing: fillers of Hangul, choices between shapes, and the Braille cell without a dot.
SHAPELESS = (
    ("\u034f", "\u034f"),
    ("\u115f", "\u1160"),
    ("\u17b4", "\u17b5"),
    ("\u180b", "\u180f"),
    ("\u2800", "\u2800"),
    ("\u3164", "\u3164"),
    ("\ufe00", "\ufe0f"),
    ("\uffa0", "\uffa0"),
    ("\U000e0100", "\U000e01ef"),
)

# Who may speak. In which order is for the chat template to say: it refuses what it cannot print.
ROLES = ("system", "user", "assistant", "tool")


class BadRecord(Exception):
    """A record (or one pair of it) that cannot be used.

    `reason` is a key of REASONS, `detail` names field and value.
    """

    def __init__(self, reason: str, detail: str):
        assert reason in REASONS, reason
        super().__init__(f"{reason} ({REASONS[reason]}): {detail}")
        self.reason, self.detail = reason, detail

    def __reduce__(self):
        # Exceptions rebuild themselves from `args`, which holds one string here, and this one
        # comes from worker processes.
        return BadRecord, (self.reason, self.detail)


# What values that nobody foresaw raise. Neither a bug of ours such as a NameError, nor the system's
# (OSError, MemoryError), is a record's fault. StopIteration would end the data set.
UNFORESEEN = (
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
    StopIteration,
)


@contextlib.contextmanager
def costing_one_record(where: str) -> Iterator[None]:
    """The block, or the function so decorated: what a record's values raise in it is a BadRecord.

    There is no end of checks for what a record may hold. What was not foreseen, in our code or in a
    library's, costs the record alone, and is counted with its reason like the rest.
    """
    try:
        yield
    except UNFORESEEN as error:
        detail = f"{where}: {type(error).__name__}: {error!s:.200}"
        raise BadRecord("bad_schema", detail) from None


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two responses of a group, by their places in it, with a label.

    `target` is the probability that `chosen` is the better one, `margin` how much better it is.
    """

    chosen: int
    rejected: int
    target: float = 1.0
    margin: float = 0.0
    tie: bool = False


@dataclasses.dataclass(frozen=True)
class Group:
    """One prompt and its K >= 1 responses.

    A response is the messages that follow the prompt, the last one the assistant's.
    """

    id: str
    prompt: list[Message]
    responses: list[list[Message]]
    pairs: list[Pair]
    correct: list[bool] | None = None
    ranks: list[float] | None = None  # 0 is best, equal ranks are ties
    source: str = ""
    tools: list[dict[str, Any]] | None = None  # schemas of the functions that may be called


def pair_id(
    prompt: list[Message],
    response_a: list[Message],
    response_b: list[Message],
    tools: list[dict[str, Any]] | None = None,
) -> str:
    """Hash of a prompt, the tools that it offers, and an unordered pair of responses."""
    # Sorted, so that a flipped label is a new label of the same pair and never another pair.
    responses = sorted(
        (response_a, response_b), key=lambda response: json.dumps(response, sort_keys=True)
    )
    record: dict[str, Any] = {"prompt": prompt, "responses": responses}
    if tools is not None:
        # Which of two calls is better depends on what could be called.
        record["tools"] = tools
    return fingerprint.of_json(record)


@costing_one_record("the record cannot be checked")
def check(group: Group) -> tuple[Group, list[BadRecord]]:
    """The group without the pairs that cannot be used, and one BadRecord for each of those.

    A pair cannot be used if its responses are equal or one of them is at fault. Raises BadRecord
    for what spoils the whole group: a fault of its prompt, or of so many responses that no pair
    (or, in a group without pairs, no response) is left; lists that do not match the responses.
    """
    check_prompt(group)
    faults = response_faults(group)
    if faults and (len(faults) == len(group.responses) or not _pairs_without(group.pairs, faults)):
        raise next(iter(faults.values()))
    for name in ("correct", "ranks"):
        values = getattr(group, name)
        if values is not None and len(values) != len(group.responses):
            raise BadRecord(
                "bad_schema",
                f"{name} has {len(values)} values for {len(group.responses)} responses",
            )
    # Equal responses spoil one pair, not the group: sampling often gives the same short answer
    # twice.
    kept, bad = [], []
    for pair in group.pairs:
        _check_pair(pair, len(group.responses))
        at_fault = [faults[k] for k in (pair.chosen, pair.rejected) if k in faults]
        if at_fault:
            bad.append(at_fault[0])
        elif group.responses[pair.chosen] == group.responses[pair.rejected]:
            bad.append(BadRecord("equal", f"responses[{pair.chosen}] = responses[{pair.rejected}]"))
        else:
            kept.append(pair)
    if not bad:
        return group, []
    return dataclasses.replace(group, pairs=kept), bad


def check_prompt(group: Group) -> None:
    """Raise BadRecord for what spoils all responses: a fault of the id, the prompt or the tools."""
    # Tables of scores hold it.
    check_text(group.id, "id")
    _check_messages(group.prompt, "prompt")
    last = group.prompt[-1]
    # A tool may well have nothing to say; a user who does has asked nothing.
    if last["role"] != "tool" and _is_blank(last["content"]):
        raise BadRecord("empty", f"prompt[{len(group.prompt) - 1}].content = {last['content']!r}")
    if not group.responses:
        raise BadRecord("bad_schema", "responses = [], a group has at least one")
    check_text(group.tools, "tools")


def response_faults(group: Group) -> dict[int, BadRecord]:
    """Why responses cannot be used, by their places in the group: each costs itself alone."""
    faults = {}
    for k, response in enumerate(group.responses):
        try:
            _check_response(response, f"responses[{k}]")
        except BadRecord as error:
            faults[k] = error
    return faults


def _check_response(response: list[Message], where: str) -> None:
    _check_messages(response, where)
    last = response[-1]
    if last["role"] != "assistant":
        raise BadRecord(
            "bad_role",
            f"{where}[-1].role = {last['role']!r}, a response ends with 'assistant'",
        )
    # A call of a tool is an answer without a word.
    if _is_blank(last["content"]) and not last.get("tool_calls"):
        raise BadRecord("empty", f"{where}[-1].content = {last['content']!r}")


def _is_blank(text: str) -> bool:
    """Whether a text shows nothing: no character but white space and those without a shape."""
    return all(character.isspace() or _is_shapeless(character) for character in text)


def _is_shapeless(character: str) -> bool:
    # Zero-width spaces and marks of order and direction are Unicode's category Cf.
    if unicodedata.category(character) in ("Cc", "Cf"):
        return True
    return any(first <= character <= last for first, last in SHAPELESS)


def _pairs_without(pairs: list[Pair], faults: dict[int, BadRecord]) -> bool:
    """Whether a pair is left; a group without pairs has nothing to lose."""
    if not pairs:
        return True
    return any(pair.chosen not in faults and pair.rejected not in faults for pair in pairs)


def _check_messages(messages: list[Message], where: str) -> None:
    """Raise BadRecord where messages are malformed."""
    if not isinstance(messages, list) or not messages:
        raise BadRecord(
            "bad_schema", f"{where} = {messages!r:.80}, not a list of at least one message"
        )
    for i, message in enumerate(messages):
        if not isinstance(message, dict):
            raise BadRecord("bad_schema", f"{where}[{i}] = {message!r:.80}, not a message")
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise BadRecord(
                "bad_role", f"{where}[{i}].role = {role!r}, not one of {', '.join(ROLES)}"
            )
        content = message.get("content")
        # Of a record whose other responses can be used: why this one could not even be read.
        if isinstance(content, dict) and "unreadable" in content:
            raise BadRecord("bad_schema", f"{where}: {content['unreadable']}")
        if not isinstance(content, str):
            raise BadRecord("bad_schema", f"{where}[{i}].content = {content!r:.80}, not a string")
        # Other fields too: a template prints names, reasoning and the arguments of tool calls.
        for field, value in message.items():
            check_text(value, f"{where}[{i}].{field}")


def check_text(value: Any, where: str) -> None:
    """Raise BadRecord("bad_text") where a string inside `value` (any nesting) is no legal text.

    Illegal are a NUL and a lone surrogate, which UTF-8 cannot hold. "bad_schema" is a number that
    JSON cannot hold: in the arguments of a tool call a template would print it as a word.
    """
    if isinstance(value, str):
        # Tokenizers and Arrow written in C end a text there, or refuse it.
        if "\0" in value:
            raise BadRecord("bad_text", f"{where} has a NUL at character {value.index(chr(0))}")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadRecord(
                "bad_text",
                f"{where} has the lone surrogate U+{ord(value[error.start]):04X} "
                f"at character {error.start}",
            ) from None
    elif isinstance(value, float) and not math.isfinite(value):
        raise BadRecord("bad_schema", f"{where} = {value}, not a number")
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key, f"{where} key")
            check_text(item, f"{where}.{key!r:.40}")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            check_text(item, f"{where}[{i}]")


def _check_pair(pair: Pair, responses: int) -> None:
    for name in ("chosen", "rejected"):
        if not 0 <= getattr(pair, name) < responses:
            raise BadRecord(
                "bad_schema", f"{name} = {getattr(pair, name)}, there are {responses} responses"
            )
    if pair.chosen == pair.rejected:
        raise BadRecord("bad_schema", f"chosen = rejected = {pair.chosen}, a pair is two responses")
    if not 0.0 <= pair.target <= 1.0:  # also false for NaN
        raise BadRecord("bad_schema", f"target = {pair.target}, not a probability")
    # Also false for NaN. A difference of two scores may leave the range in which both of them are.
    if not abs(pair.margin) <= LARGEST:
        raise BadRecord("bad_schema", f"margin = {pair.margin}, not finite in 32 bits")
