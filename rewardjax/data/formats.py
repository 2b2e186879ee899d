"""Records as people have them -> Group: one detector per family of formats, in order of FORMATS.

A record that fits none, or contradicts itself, raises BadRecord("bad_schema"). Columns that no
format knows are ignored.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from rewardjax.data import fields
from rewardjax.data.fields import Record
from rewardjax.data.groups import BadRecord, Group, Pair

TWO_RESPONSES = (
    ("response_1", "response_2"),
    ("response1", "response2"),
    ("output_1", "output_2"),
    ("response_a", "response_b"),
    ("conversation_a", "conversation_b"),
)
# What may label the responses of a group: the name of a column, and of a field of one response.
LABELS = (("correct", "is_correct"), ("ranks", "rank"), ("scores", "score"))
# Verdicts on two responses, as P(first is better).
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
}


def to_group(record: Record, index: int, source: str) -> Group:
    """The group that a record describes; its id is the record's, or else `source:index`.

    Raises BadRecord("bad_schema") with the keys of the record. Roles and texts are
    `groups.check`'s to judge: call it on the result.
    """
    identity = record.get("id")
    if identity is None:
        identity = f"{source}:{index}"
    for fits, read in FORMATS:
        if fits(record):
            return Group(id=str(identity), source=source, **read(record))
    two_responses = " | ".join(map("/".join, TWO_RESPONSES))
    raise BadRecord(
        "bad_schema",
        f"{source}:{index}: keys {sorted(record)} fit no known format: chosen and rejected; prompt "
        f"and responses; prompt, two responses ({two_responses}) and label, winner or annotators",
    )


# --- groups: one prompt, K responses, with correctness, ranks or scores ---


def _is_responses(record: Record) -> bool:
    if record.get("responses") is not None:
        return True
    return record.get("response_1") is not None and record.get("scores") is not None


def _read_responses(record: Record) -> dict[str, Any]:
    """`responses`: texts, message lists, or dicts with content and labels; or columns of responses.

    The columns are response_1 .. response_K, with `scores`.
    """
    items = record.get("responses")
    if items is None:
        columns = [f"response_{n}" for n in range(1, len(record["scores"]) + 1)]
        items = [record[column] for column in columns if column in record]
    if not isinstance(items, (list, tuple)):
        raise BadRecord("bad_schema", f"responses = {items!r:.60}, not a list")
    correct, ranks, scores = (_labels(record, items, *names) for names in LABELS)
    # Some data sets call correctness a score.
    if correct is None and scores is not None and all(isinstance(score, bool) for score in scores):
        correct, scores = scores, None
    if correct is not None:
        correct = [fields.boolean(value, "correct") for value in correct]
    if ranks is None and scores is not None:
        scores = [fields.number(value, "scores") for value in scores]
        # Dense ranks: equal scores share one, and the next score down has the next rank.
        best_first = sorted(set(scores), reverse=True)
        ranks = [best_first.index(score) for score in scores]
    if ranks is not None:
        ranks = [fields.number(value, "ranks") for value in ranks]
        best = min(ranks)
        ranks = [rank - best for rank in ranks]
    return {
        "prompt": fields.prompt(record),
        "responses": [fields.response(item, f"responses[{k}]") for k, item in enumerate(items)],
        "pairs": _pairs(correct, ranks, scores),
        "correct": correct,
        "ranks": ranks,
    }


def _labels(record: Record, items: Sequence[Any], plural: str, singular: str) -> list[Any] | None:
    """A list column, or a field of every response; None where there is neither."""
    if record.get(plural) is not None:
        values = list(record[plural])
    else:
        values = []
        for item in items:
            if isinstance(item, dict):
                names = (singular, plural)
                values += [item[name] for name in names if item.get(name) is not None]
    # Some responses labeled and others not: which label belongs to which response is not known.
    if values and len(values) != len(items):
        raise BadRecord(
            "bad_schema", f"{plural} has {len(values)} values for {len(items)} responses"
        )
    return values or None


def _pairs(
    correct: list[bool] | None, ranks: list[float] | None, scores: list[float] | None
) -> list[Pair]:
    """Right over wrong; without correctness better over worse, and equal ranks as ties.

    A difference of scores is the margin.
    """
    pairs: list[Pair] = []
    if correct is not None:
        # Two right answers are no tie: one may be much better written than the other.
        for i, is_right in enumerate(correct):
            wrong = [j for j, other in enumerate(correct) if is_right and not other]
            pairs += [Pair(i, j) for j in wrong]
        return pairs
    for i, rank in enumerate(ranks or []):
        for j, other in enumerate(ranks or []):
            if rank < other:
                margin = 0.0
                if scores:
                    margin = scores[i] - scores[j]
                pairs.append(Pair(i, j, margin=margin))
            # Each tie once: i < j, where better-over-worse above picks one order by itself.
            elif rank == other and i < j:
                pairs.append(Pair(i, j, target=0.5, tie=True))
    return pairs


# --- chosen and rejected, with the prompt apart or inside both ---


def _is_chosen_rejected(record: Record) -> bool:
    return record.get("chosen") is not None and record.get("rejected") is not None


def _read_chosen_rejected(record: Record) -> dict[str, Any]:
    sides = [fields.text_or_messages(record[name], name) for name in ("chosen", "rejected")]
    if type(sides[0]) is not type(sides[1]):
        raise BadRecord(
            "bad_schema", "chosen and rejected: one is a text, the other a list of messages"
        )
    has_prompt = fields.first_present(record, fields.PROMPTS) is not None
    if isinstance(sides[0], list):
        starts_with_assistant = [side[0].get("role") == "assistant" for side in sides]
        if all(starts_with_assistant) and has_prompt:
            prompt, responses = fields.prompt(record), sides
        elif any(starts_with_assistant):
            raise BadRecord(
                "bad_schema",
                "chosen or rejected starts with the assistant, and the other or the prompt does "
                "not go with it",
            )
        else:
            # Whole conversations; a prompt column only repeats their start.
            prompt, responses = fields.split_messages(*sides)
    elif has_prompt:
        prompt, responses = fields.prompt(record), [fields.response(side, "") for side in sides]
    else:
        text, rests = fields.split_texts(*sides)
        prompt = [{"role": "user", "content": text}]
        responses = [fields.response(rest, "") for rest in rests]
    return {"prompt": prompt, "responses": responses, "pairs": [_graded_pair(record)]}


def _graded_pair(record: Record) -> Pair:
    """Chosen over rejected, with the strength or the soft label that the record gives."""
    target, margin = 1.0, 0.0
    target_name = fields.first_present(record, ("target", "preference"))
    if target_name is not None:
        target = fields.number(record[target_name], target_name)
    if not 0.0 <= target <= 1.0:
        raise BadRecord("bad_schema", f"target (or preference) = {target}, not a probability")
    tie = target == 0.5
    if record.get("tie") is not None:
        tie = tie or fields.boolean(record["tie"], "tie")
    margin_name = fields.first_present(record, ("margin", "strength"))
    if margin_name is not None:
        margin = fields.number(record[margin_name], margin_name)
    elif record.get("score_chosen") is not None and record.get("score_rejected") is not None:
        better = fields.number(record["score_chosen"], "score_chosen")
        margin = better - fields.number(record["score_rejected"], "score_rejected")
    # A label that contradicts its own strength: which of the two is meant is not ours to guess.
    if margin < 0:
        raise BadRecord(
            "bad_schema",
            f"margin, strength or score_chosen - score_rejected = {margin}: "
            "rejected is better than chosen",
        )
    if tie:
        return Pair(0, 1, target=0.5, tie=True)
    return Pair(0, 1, target=target, margin=margin)


# --- two responses and a verdict ---


def _two_responses(record: Record) -> tuple[str, str] | None:
    for first, second in TWO_RESPONSES:
        if record.get(first) is not None and record.get(second) is not None:
            return first, second
    return None


def _votes(record: Record) -> list[Any]:
    """The verdict of `label` or `winner`, else those of columns annotator_1, annotator_2, ..."""
    name = fields.first_present(record, ("label", "winner"))
    if name is not None:
        return [record[name]]
    return [record[key] for key in sorted(record) if re.fullmatch(r"annotator_?\d+", key)]


def _is_verdict(record: Record) -> bool:
    return _two_responses(record) is not None and bool(_votes(record))


def _read_verdict(record: Record) -> dict[str, Any]:
    """Verdicts are the keys of WINNERS; of several annotators, the share of votes is the target."""
    names = _two_responses(record)
    assert names, "checked by _is_verdict"
    sides = [fields.text_or_messages(record[name], name) for name in names]
    if all(isinstance(side, list) and side[0].get("role") != "assistant" for side in sides):
        prompt, responses = fields.split_messages(*sides)
    else:
        prompt = fields.prompt(record)
        responses = [fields.response(record[name], name) for name in names]
    votes = _votes(record)
    if unknown := [vote for vote in votes if str(vote).strip().lower() not in WINNERS]:
        raise BadRecord(
            "bad_schema",
            f"label, winner or annotator = {unknown[0]!r}, not one of {', '.join(WINNERS)}",
        )
    target = sum(WINNERS[str(vote).strip().lower()] for vote in votes) / len(votes)
    # The majority's response is the chosen one, so that every pair reads the same way.
    pair = Pair(0, 1, target=target, tie=target == 0.5)
    if target < 0.5:
        pair = Pair(1, 0, target=1.0 - target)
    return {"prompt": prompt, "responses": responses, "pairs": [pair]}


# The first that fits reads the record: a group may have columns chosen and rejected beside it.
FORMATS: tuple[tuple[Callable[[Record], bool], Callable[[Record], dict[str, Any]]], ...] = (
    (_is_responses, _read_responses),
    (_is_chosen_rejected, _read_chosen_rejected),
    (_is_verdict, _read_verdict),
)
