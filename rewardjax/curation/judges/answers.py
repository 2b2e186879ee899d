"""Reading a model's text as the one object that was asked for, or saying what is wrong with it.

Models wrap JSON in prose and code fences, think aloud before it, leave the marks of their channels
in it, add keys and change case. All of that is read, and each liberty that was taken is named (a
"mercy"), so that a judge who needs many is seen. Nothing is guessed: a text with no object of the
schema, or with two that disagree, is unreadable.
"""

import ast
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args, get_origin

import pydantic

from rewardjax.curation.judges.attributes import Attributes
from rewardjax.curation.judges.prompts import Verdict
from rewardjax.curation.servers.requests import Answer
from rewardjax.data.json_text import name_with_two_values

Schema = TypeVar("Schema", bound=pydantic.BaseModel)

# What ends a model's thinking, over the families that think aloud; what came before is a draft.
_END_OF_THINKING = re.compile(
    r"</(?:think|thinking|thought|reasoning|analysis|seed:think)>|\[/THINK\]|◁/think▷"
    r"|<\|END_THINKING\|>|<\|end_of_thought\|>",
    re.IGNORECASE,
)
_START_OF_THINKING = re.compile(
    r"<(?:think|thinking|thought|reasoning|analysis|seed:think)>|\[THINK\]|◁think▷"
    r"|<\|START_THINKING\|>|<\|begin_of_thought\|>|<\|channel\|>",
    re.IGNORECASE,
)
# The last channel of gpt-oss ("harmony"), with its marks and as it reads where a server took the
# special tokens out of the text.
_FINAL_CHANNEL = re.compile(r"<\|channel\|>\s*final\b.{0,80}?<\|message\|>", re.DOTALL)
_FINAL_WITHOUT_MARKS = re.compile(r"\A\s*analysis.*assistantfinal", re.DOTALL)
_END_OF_MESSAGE = re.compile(r"<\|(?:end|return|call)\|>")

# Beyond these nothing is mended: a text of a hundred thousand braces must not cost a minute.
_MOST_MENDED = 50
_DEEPEST = 20


class Unreadable(Exception):
    """A text that is not an answer: cut off, no JSON object of the schema, or two that disagree."""


class Contradiction(Exception):
    """An object that gives one field twice, with different values."""


class Reading(NamedTuple, Generic[Schema]):
    """What an answer says.

    mercies: the liberties that reading it took, each once, in alphabetical order.
    """

    value: Schema
    mercies: tuple[str, ...]


class _Candidate(NamedTuple):
    """A JSON object in the text that may be the answer."""

    value: dict[str, Any]
    mercies: tuple[str, ...]


def read(answer: Answer, schema: type[Schema]) -> Reading[Schema]:
    """The one object of `schema` in an answer, bare or inside other text.

    Raises Unreadable, whose text tells a model what to mend.
    """
    # Text that stops at the limit may still parse, as when a first draft was complete: it is not
    # the answer that the model was about to give.
    if answer.finish == "length":
        raise Unreadable("it was cut off at the maximum length")
    problem = "there is no JSON object in it"
    for text, taken in _parts(answer.text):
        readings: list[Reading[Schema]] = []
        try:
            for candidate in _candidates(text, schema):
                try:
                    reading = _fit(candidate, schema)
                except pydantic.ValidationError as error:
                    first = error.errors(include_url=False)[0]
                    field = ".".join(map(str, first["loc"])) or "the object"
                    problem = f"{field}: {first['msg']}"
                else:
                    readings.append(reading)
        except Contradiction as error:
            raise Unreadable(str(error)) from None
        if len({_decision(reading.value) for reading in readings}) > 1:
            raise Unreadable("it holds several answers that differ")
        if readings:
            best = readings[0]
            return Reading(best.value, tuple(sorted({*answer.mercies, *taken, *best.mercies})))
    raise Unreadable(problem)


def _decision(value: pydantic.BaseModel) -> object:
    """What several answers in one text must have in common."""
    # A verdict that is given twice for other reasons is still one verdict.
    if isinstance(value, Verdict):
        return value.preferred
    return value


# ------------------------------------------------------------------ channels


def _parts(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where to look for the answer, best first, each with the mercy that looking there is."""
    # First as it is where all of it is one object: a rationale may quote a channel's marks.
    if _is_one_object(text):
        yield text, ()
        return
    final = [*_FINAL_CHANNEL.finditer(text)] or [*_FINAL_WITHOUT_MARKS.finditer(text)]
    ends = [*_END_OF_THINKING.finditer(text)]
    if final:
        yield _END_OF_MESSAGE.split(text[final[-1].end() :])[0], ("channels in the text",)
    elif ends:
        # Models that think aloud draft answers before they decide.
        yield text[ends[-1].end() :], ("thinking in the text",)
    if final or ends or _START_OF_THINKING.search(text):
        # The thinking was never closed, or the answer stands inside: whoever drafts two different
        # answers there has given none.
        yield text, ("answer inside the thinking",)
    else:
        yield text, ()


def _is_one_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


# ------------------------------------------------------------------ objects


def _candidates(text: str, schema: type[pydantic.BaseModel]) -> list[_Candidate]:
    """Every object in `text` that has the schema's deciding field, at whatever depth.

    Where no object has it, the outermost ones: what is wrong with them is worth telling.
    """
    outermost = list(_objects(text))
    deciding = []
    for candidate in outermost:
        for value, depth in _nested(candidate.value, 0):
            if _DECIDING[schema] not in map(_normal, value):
                continue
            mercies = candidate.mercies
            if depth:
                mercies += ("nested object",)
            deciding.append(_Candidate(value, mercies))
    return deciding or outermost


def _nested(value: Any, depth: int) -> Iterator[tuple[dict[str, Any], int]]:
    """The objects in a JSON value, itself included, each with its depth."""
    if depth > _DEEPEST:
        return
    if isinstance(value, dict):
        yield value, depth
        parts = list(value.values())
    elif isinstance(value, list):
        parts = value
    elif isinstance(value, str) and value.lstrip().startswith("{"):
        # An object that was written as a string of JSON.
        parts = [candidate.value for candidate in _objects(value)]
    else:
        return
    for part in parts:
        yield from _nested(part, depth + 1)


def _objects(text: str) -> Iterator[_Candidate]:
    """Every outermost JSON object in `text`; raises Contradiction."""
    strict = json.JSONDecoder(object_pairs_hook=_without_contradiction)
    position, mended = 0, 0
    while (position := text.find("{", position)) >= 0:
        try:
            value, position = strict.raw_decode(text, position)
        # A text of a thousand opening braces exhausts the decoder's stack.
        except (ValueError, RecursionError):
            mended += 1
            if mended > _MOST_MENDED:
                return
            end = _end_of_object(text, position)
            candidate = _mend(text[position:end])
            if candidate is None:
                position += 1
                continue
            position = end
            yield candidate
        else:
            yield _Candidate(value, ())


def _without_contradiction(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    # Two different answers are none.
    name = name_with_two_values(pairs)
    if name is not None:
        raise Contradiction(f"{name} is given twice, with different values")
    return dict(pairs)


def _end_of_object(text: str, start: int) -> int:
    """The place after the object that opens at `start`; `start` itself where it never closes."""
    depth, quoted, escaped = 0, False, False
    for position in range(start, len(text)):
        character = text[position]
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = quoted
        elif character == '"':
            quoted = not quoted
        elif character == "{" and not quoted:
            depth += 1
        elif character == "}" and not quoted:
            depth -= 1
            if depth == 0:
                return position + 1
    return start


_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)


def _mend(text: str) -> _Candidate | None:
    """An object that is not quite JSON; None where what it should be is not plain."""
    lenient = json.JSONDecoder(strict=False, object_pairs_hook=_without_contradiction)
    # Strings stand on the left of the pattern so that a comma inside them is never taken.
    without_comma = _TRAILING_COMMA.sub(lambda match: match[1] or "", text)
    for mended, mercy in ((text, "raw line break"), (without_comma, "trailing comma")):
        try:
            value = lenient.decode(mended)
        except (ValueError, RecursionError):
            continue
        return _Candidate(value, (mercy,))
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        return None
    return _Candidate(value, ("Python for JSON",))


# ------------------------------------------------------------------ the schema

# Without this field an object is no answer, whatever else it holds.
_DECIDING: dict[type[pydantic.BaseModel], str] = {
    Verdict: "preferred",
    Attributes: "taskcategory",
}


def _fit(candidate: _Candidate, schema: type[Schema]) -> Reading[Schema]:
    """The object with its fields as the schema names and writes them.

    Raises pydantic.ValidationError where a field is missing or is no value of the schema.
    """
    mercies = set(candidate.mercies)
    of_key = {_normal(name): name for name in schema.model_fields}
    fields = {}
    for key, value in candidate.value.items():
        name = of_key.get(_normal(key))
        if name is None:
            mercies.add("extra key")
            continue
        if key != name:
            mercies.add("name of a key")
        fields[name], mercy = _value(value, schema.model_fields[name].annotation)
        mercies |= mercy
    if schema is Verdict and fields.get("rationale") is None:
        # A verdict counts without its reasons.
        fields["rationale"] = ""
        mercies.add("no rationale")
    return Reading(schema.model_validate(fields), tuple(mercies))


def _value(value: Any, annotation: Any) -> tuple[Any, set[str]]:
    """A field's value as its annotation has it, where that is plain, and the mercy of it."""
    if get_origin(annotation) is Literal:
        legal = {_normal(option): option for option in get_args(annotation)}
        option = legal.get(_normal(str(value)))
        # A number alone is no spelling of a choice: who counts from 0 would mean the other one.
        if option is None or option == value:
            return value, set()
        return option, {"spelling of a value"}
    if isinstance(value, str):
        # JSON can hold halves of surrogate pairs, which no file of ours can.
        whole = value.encode("utf-8", errors="replace").decode("utf-8")
        if whole != value:
            return whole, {"broken character"}
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return ", ".join(value), {"list for text"}
    if isinstance(value, list | dict | int | float) and value:
        return json.dumps(value, ensure_ascii=False), {"JSON for text"}
    return value, set()


def _normal(text: str) -> str:
    """A name or value without case, spaces and punctuation."""
    return re.sub(r"[\W_]+", "", text.lower().replace("&", "and"))
