"""Records as people have them -> Group. One detector a family of formats, tried in the order of FORMATS.

A record that fits none, or contradicts itself, raises BadRow("bad_schema"). Columns that no format knows are ignored.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from rewardjax.data.groups import BadRow, Group, Message, Pair

Record = dict[str, Any]
OPTIONAL_FIELDS = (
    "reasoning_content",
    "tool_calls",
    "name",
)  # of a message, beside role and content
PROMPTS = ("prompt", "messages", "question", "instruction", "input")
TWO_RESPONSES = (
    ("response_1", "response_2"),
    ("response1", "response2"),
    ("output_1", "output_2"),
    ("response_a", "response_b"),
    ("conversation_a", "conversation_b"),
)
LABELS = (
    ("correct", "is_correct"),
    ("ranks", "rank"),
    ("scores", "score"),
)  # of a group, of one response
WINNERS = {
    "1": 1.0,
    "a": 1.0,
    "model_a": 1.0,
    "response_a": 1.0,
    "2": 0.0,
    "b": 0.0,
    "model_b": 0.0,
    "response_b": 0.0,
    "0": 0.5,
    "tie": 0.5,
    "both": 0.5,
    "neither": 0.5,
    "tie (bothbad)": 0.5,
}  # P(first is better)


def to_group(record: Record, index: int, source: str) -> Group:
    """The group that a record describes; its id is the record's, or else `source:index`.

    Raises BadRow("bad_schema") with the keys found. Roles and texts are `groups.check`'s to judge: call it on the result.
    """
    identity = record.get("id")
    for fits, read in FORMATS:
        if fits(record):
            return Group(
                id=f"{source}:{index}" if identity is None else str(identity),
                source=source,
                **read(record),
            )
    raise BadRow(
        "bad_schema",
        f"{source}:{index}: keys {sorted(record)} fit no known format: chosen and rejected; prompt and responses; "
        f"prompt, two responses ({' | '.join(map('/'.join, TWO_RESPONSES))}) and label, winner or annotators",
    )


# --- groups: one prompt, K responses, with correctness, ranks or scores ---


def _is_responses(record: Record) -> bool:
    return record.get("responses") is not None or (
        record.get("response_1") is not None and record.get("scores") is not None
    )


def _read_responses(record: Record) -> dict[str, Any]:
    """`responses`: texts, message lists, or dicts with content and labels; or columns response_1 .. response_K with `scores`."""
    items = record.get("responses")
    if items is None:
        numbers = [n for n in range(1, len(record["scores"]) + 1) if f"response_{n}" in record]
        items = [record[f"response_{n}"] for n in numbers]
    if not isinstance(items, (list, tuple)):
        raise BadRow("bad_schema", f"responses = {items!r:.60}, not a list")
    correct, ranks, scores = (_labels(record, items, *names) for names in LABELS)
    if correct is None and scores is not None and all(isinstance(score, bool) for score in scores):
        correct, scores = scores, None
    if correct is not None:
        correct = [_boolean(value, "correct") for value in correct]
    if ranks is None and scores is not None:
        scores = [_number(value, "scores") for value in scores]
        ranks = [sum(other > score for other in set(scores)) for score in scores]
    if ranks is not None:
        ranks = [_number(value, "ranks") for value in ranks]
        ranks = [rank - min(ranks) for rank in ranks]
    return {
        "prompt": _prompt(record),
        "responses": [_response(item, f"responses[{k}]") for k, item in enumerate(items)],
        "pairs": _pairs(correct, ranks, scores),
        "correct": correct,
        "ranks": ranks,
    }


def _labels(record: Record, items: Sequence[Any], plural: str, singular: str) -> list[Any] | None:
    """A list column, or a field of every response; None where there is neither."""
    if record.get(plural) is not None:
        values = list(record[plural])
    else:
        values = [
            item.get(name)
            for item in items
            if isinstance(item, dict)
            for name in (singular, plural)
            if item.get(name) is not None
        ]
    if values and len(values) != len(items):
        raise BadRow("bad_schema", f"{plural} has {len(values)} values for {len(items)} responses")
    return values or None


def _pairs(
    correct: list[bool] | None, ranks: list[float] | None, scores: list[float] | None
) -> list[Pair]:
    """Right over wrong; without correctness better over worse, a score's difference as margin, and ties as ties."""
    if correct is not None:
        return [
            Pair(i, j)
            for i, right in enumerate(correct)
            if right
            for j, other in enumerate(correct)
            if not other
        ]
    pairs, ranks = [], ranks or []
    for i, rank in enumerate(ranks):
        for j, other in enumerate(ranks):
            if rank < other:
                pairs.append(Pair(i, j, margin=scores[i] - scores[j] if scores else 0.0))
            elif rank == other and i < j:
                pairs.append(Pair(i, j, target=0.5, tie=True))
    return pairs


# --- chosen and rejected, with the prompt apart or inside both ---


def _is_chosen_rejected(record: Record) -> bool:
    return record.get("chosen") is not None and record.get("rejected") is not None


def _read_chosen_rejected(record: Record) -> dict[str, Any]:
    sides = [_text(record[name], name) for name in ("chosen", "rejected")]
    if type(sides[0]) is not type(sides[1]):
        raise BadRow(
            "bad_schema", "chosen and rejected: one is a text, the other a list of messages"
        )
    has_prompt = any(record.get(name) is not None for name in PROMPTS)
    if isinstance(sides[0], list):
        starts_with_assistant = [side[0].get("role") == "assistant" for side in sides]
        if all(starts_with_assistant) and has_prompt:
            prompt, responses = _prompt(record), sides
        elif any(starts_with_assistant):
            raise BadRow(
                "bad_schema",
                "chosen or rejected starts with the assistant, and the other or the prompt does not go with it",
            )
        else:  # whole conversations; a prompt column only repeats their start
            prompt, responses = _split_messages(*sides)
    elif has_prompt:
        prompt, responses = _prompt(record), [_response(side, "") for side in sides]
    else:
        text, rests = _split_texts(*sides)
        prompt, responses = (
            [{"role": "user", "content": text}],
            [_response(rest, "") for rest in rests],
        )
    return {"prompt": prompt, "responses": responses, "pairs": [_graded_pair(record)]}


def _split_messages(
    chosen: list[Message], rejected: list[Message]
) -> tuple[list[Message], list[list[Message]]]:
    """The common start of two conversations, cut back to end where the assistant is to speak, and what follows it."""
    limit = min(len(chosen), len(rejected)) - 1
    n = next((i for i in range(limit) if chosen[i] != rejected[i]), limit)
    while n > 0 and (
        chosen[n].get("role") != "assistant" or rejected[n].get("role") != "assistant"
    ):
        n -= 1
    if n == 0:
        raise BadRow(
            "bad_schema",
            "chosen and rejected share no start that ends before a turn of the assistant",
        )
    return chosen[:n], [chosen[n:], rejected[n:]]


def _split_texts(chosen: str, rejected: str) -> tuple[str, list[str]]:
    """The common start of two texts up to a white space, and the rests."""
    if chosen == rejected:
        raise BadRow("equal", "chosen = rejected, and no prompt tells where they begin")
    n = next(
        (i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b),
        min(len(chosen), len(rejected)),
    )
    while n > 0 and not chosen[n - 1].isspace():
        n -= 1
    if not chosen[:n].strip():
        raise BadRow(
            "bad_schema",
            "chosen and rejected share no start that could be the prompt, and there is no prompt field",
        )
    return chosen[:n].rstrip(), [chosen[n:], rejected[n:]]


def _graded_pair(record: Record) -> Pair:
    """Chosen over rejected, with the strength or the soft label that the record gives."""
    target = next(
        (
            _number(record[name], name)
            for name in ("target", "preference")
            if record.get(name) is not None
        ),
        1.0,
    )
    if not 0.0 <= target <= 1.0:
        raise BadRow("bad_schema", f"target (or preference) = {target}, not a probability")
    tie = target == 0.5 or (record.get("tie") is not None and _boolean(record["tie"], "tie"))
    margin = next(
        (
            _number(record[name], name)
            for name in ("margin", "strength")
            if record.get(name) is not None
        ),
        None,
    )
    if (
        margin is None
        and record.get("score_chosen") is not None
        and record.get("score_rejected") is not None
    ):
        margin = _number(record["score_chosen"], "score_chosen") - _number(
            record["score_rejected"], "score_rejected"
        )
    if margin is not None and margin < 0:
        raise BadRow(
            "bad_schema",
            f"margin, strength or score_chosen - score_rejected = {margin}: rejected is better than chosen",
        )
    return Pair(0, 1, target=0.5 if tie else target, margin=0.0 if tie else margin or 0.0, tie=tie)


# --- two responses and a verdict ---


def _two_responses(record: Record) -> tuple[str, str] | None:
    return next(
        (names for names in TWO_RESPONSES if all(record.get(name) is not None for name in names)),
        None,
    )


def _votes(record: Record) -> list[Any]:
    names = [name for name in ("label", "winner") if record.get(name) is not None][:1]
    return [
        record[name]
        for name in names or sorted(key for key in record if re.fullmatch(r"annotator_?\d+", key))
    ]


def _is_verdict(record: Record) -> bool:
    return _two_responses(record) is not None and bool(_votes(record))


def _read_verdict(record: Record) -> dict[str, Any]:
    """Verdicts 1, 2, 0 (tie), a, b, model_a, model_b, tie; of several annotators, the share of votes is the target."""
    names = _two_responses(record)
    assert names, "checked by _is_verdict"
    sides = [_text(record[name], name) for name in names]
    if all(isinstance(side, list) and side[0].get("role") != "assistant" for side in sides):
        prompt, responses = _split_messages(*sides)
    else:
        prompt, responses = _prompt(record), [_response(record[name], name) for name in names]
    votes = _votes(record)
    if unknown := [vote for vote in votes if str(vote).strip().lower() not in WINNERS]:
        raise BadRow(
            "bad_schema",
            f"label, winner or annotator = {unknown[0]!r}, not one of {', '.join(WINNERS)}",
        )
    target = sum(WINNERS[str(vote).strip().lower()] for vote in votes) / len(votes)
    if target < 0.5:
        pair = Pair(1, 0, target=1.0 - target)
    else:
        pair = Pair(0, 1, target=target, tie=target == 0.5)
    return {"prompt": prompt, "responses": responses, "pairs": [pair]}


# --- pieces ---


def _prompt(record: Record) -> list[Message]:
    name = next((name for name in PROMPTS if record.get(name) is not None), None)
    if name is None:
        raise BadRow(
            "bad_schema", f"no prompt: none of {', '.join(PROMPTS)} among {sorted(record)}"
        )
    value = _text(record[name], name)
    if isinstance(value, list):
        return (
            value[:-1] if value[-1] == {"role": "assistant", "content": ""} else value
        )  # a transcript that ends in "Assistant:"
    if name == "instruction" and isinstance(record.get("input"), str) and record["input"].strip():
        value = f"{value}\n\n{record['input']}"
    return [{"role": "user", "content": value}]


def _response(item: Any, where: str) -> list[Message]:
    if isinstance(item, dict):
        content = next(
            (item[name] for name in ("content", "text", "response") if item.get(name) is not None),
            None,
        )
        if content is None:
            raise BadRow("bad_schema", f"{where}: no content among {sorted(item)}")
        reasoning = (
            {"reasoning_content": item["reasoning_content"]}
            if item.get("reasoning_content")
            else {}
        )
        return [{"role": "assistant", "content": content, **reasoning}]
    value = _text(item, where)
    return value if isinstance(value, list) else [{"role": "assistant", "content": value}]


def _text(value: Any, where: str) -> Any:
    """A string as it is, a transcript or a list of messages as messages with the fields that templates know."""
    if isinstance(value, str):
        return _transcript(value) if value.startswith("\n\nHuman:") else value
    if (
        not isinstance(value, (list, tuple))
        or not value
        or not all(isinstance(message, dict) for message in value)
    ):
        raise BadRow(
            "bad_schema", f"{where} = {value!r:.80}, neither a text nor a list of messages"
        )
    return [_message(message) for message in value]


def _message(message: Record) -> Message:
    optional = {
        name: message[name] for name in OPTIONAL_FIELDS if message.get(name)
    }  # tables fill absent fields with None or ""
    content = message.get("content")
    return {"role": message.get("role"), "content": "" if content is None else content, **optional}


def _transcript(text: str) -> list[Message]:
    """Messages of a transcript with "Human:" and "Assistant:" paragraphs, trimmed."""
    parts = re.split(r"\n\n(Human|Assistant):", text)[1:]
    roles = {"Human": "user", "Assistant": "assistant"}
    return [
        {"role": roles[who], "content": what.strip()}
        for who, what in zip(parts[::2], parts[1::2], strict=True)
    ]


def _number(value: Any, where: str) -> float:
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    raise BadRow("bad_schema", f"{where} = {value!r:.40}, not a finite number")


def _boolean(value: Any, where: str) -> bool:
    if value in (0, 1):  # also True, False, 1.0
        return bool(value)
    raise BadRow("bad_schema", f"{where} = {value!r:.40}, neither true nor false")


FORMATS: tuple[tuple[Callable[[Record], bool], Callable[[Record], dict[str, Any]]], ...] = (
    (_is_responses, _read_responses),
    (_is_chosen_rejected, _read_chosen_rejected),
    (_is_verdict, _read_verdict),
)
