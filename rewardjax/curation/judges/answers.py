"""Reading a model's text as the one object that was asked for, or saying what is wrong with it.

Models wrap JSON in prose and code fences, think aloud before it, break off in the middle and answer
twice. Nothing is guessed: a text with no object of the schema, or with two that disagree, is
unreadable.
"""

import json
from collections.abc import Iterator
from typing import TypeVar

import pydantic

from rewardjax.curation.judges.paid_calls import Answer
from rewardjax.curation.judges.prompts import Verdict

Schema = TypeVar("Schema", bound=pydantic.BaseModel)


class Unreadable(Exception):
    """A text that is not an answer: cut off, no JSON object of the schema, or two that disagree."""


def read(answer: Answer, schema: type[Schema]) -> Schema:
    """The one object of `schema` in an answer, bare or inside other text.

    Raises Unreadable, whose text tells a model what to mend.
    """
    # Text that stops at the limit may still parse, as when a first draft was complete: it is not
    # the answer that the model was about to give.
    if answer.finish == "length":
        raise Unreadable("it was cut off at the maximum length")
    # Models that think aloud draft answers before they decide.
    text = answer.text.rpartition("</think>")[2]
    readings, problem = [], "there is no JSON object in it"
    for candidate in _objects(text):
        try:
            readings.append(schema.model_validate(candidate))
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"])) or "the object"
            problem = f"{field}: {first['msg']}"
    if not readings:
        raise Unreadable(problem)
    if len(set(map(_decision, readings))) > 1:
        raise Unreadable("it holds several answers that differ")
    return readings[0]


def _decision(reading: pydantic.BaseModel) -> object:
    """What several answers in one text must have in common."""
    # A verdict that is given twice for other reasons is still one verdict.
    if isinstance(reading, Verdict):
        return reading.preferred
    return reading


def _objects(text: str) -> Iterator[dict]:
    """Every outermost JSON object in `text`."""
    decoder, position = json.JSONDecoder(), 0
    while (position := text.find("{", position)) >= 0:
        try:
            value, position = decoder.raw_decode(text, position)
        # A text of a thousand opening braces exhausts the decoder's stack.
        except (json.JSONDecodeError, RecursionError):
            position += 1
            continue
        yield value
