"""The paper's 5-tuple that describes a pair: taxonomies, strict values, and how several merge."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import pydantic

Category = Literal[
    "Advice seeking",
    "Brainstorming",
    "Coding & Debugging",
    "Creative writing",
    "Data analysis",
    "Editing",
    "Information seeking",
    "Math",
    "Planning",
    "Reasoning",
    "Role playing",
    "Other",
]
Objectivity = Literal["Objective", "Subjective"]
Controversiality = Literal["Low", "Medium", "High"]


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


# min_length would say the same, but servers' strict schemas do not all take it
Text = Annotated[
    str, pydantic.StringConstraints(strip_whitespace=True), pydantic.AfterValidator(_not_empty)
]


class Attributes(pydantic.BaseModel):
    """The 5-tuple (paper, section on preference attributes).

    A value outside the taxonomies, a missing or an unknown field is an error.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)

    task_category: Category
    objectivity: Objectivity
    controversiality: Controversiality
    desired_attributes: Text  # qualities a good answer has, comma-separated
    annotation_guideline: Text  # how to decide this very pair


# The names of the five fields, and the legal values of those that have a taxonomy: ledger columns,
# the text that is embedded, what people may edit and what errors are broken down by all follow from
# the class above.
FIELDS: tuple[str, ...] = tuple(Attributes.model_fields)
TAXONOMIES: dict[str, tuple[str, ...]] = {
    name: get_args(field.annotation)
    for name, field in Attributes.model_fields.items()
    if get_origin(field.annotation) is Literal
}


def problem(values: Mapping[Any, Any], *, complete: bool) -> str | None:
    """Why these values cannot be attributes, in words; None where they can.

    Args:
        values: by the names of fields.
        complete: whether all five fields must be there.
    """
    for name, value in values.items():
        if name not in FIELDS:
            return f"{name!r} is not an attribute; there are {', '.join(FIELDS)}"
        legal = TAXONOMIES.get(name)
        if legal and value not in legal:
            return f"{name} = {value!r} is not one of {', '.join(legal)}"
        if not isinstance(value, str) or not value.strip():
            return f"{name} = {value!r} is not a text"
        # Half of a character pair cannot be stored as UTF-8.
        if any("\ud800" <= character <= "\udfff" for character in value):
            return f"{name} holds a lone surrogate, which is not a character"
    missing = [name for name in FIELDS if name not in values]
    if complete and missing:
        return f"{', '.join(missing)} missing: all attributes are needed, or none"
    return None


def merge(tagged: Sequence[Attributes]) -> Attributes:
    """One 5-tuple of several taggers'.

    The most frequent value of each field with a taxonomy (of equally frequent ones the first), and
    both free texts from the first tagger who agrees with most of those values. Raises ValueError
    without any tagger.
    """
    if not tagged:
        raise ValueError("attributes: nothing to merge")
    common = {}
    for field in TAXONOMIES:
        counts = Counter(getattr(attributes, field) for attributes in tagged)
        common[field] = counts.most_common(1)[0][0]

    def agreement(attributes: Attributes) -> int:
        return sum(getattr(attributes, field) == value for field, value in common.items())

    # Both texts from one tagger: a guideline of one and qualities of another may contradict each
    # other.
    return max(tagged, key=agreement).model_copy(update=common)


def describe(attributes: Attributes) -> str:
    """The five fields as lines `Field: value`: what a judge reads."""
    lines = []
    for field, value in attributes.model_dump().items():
        lines.append(f"{field.replace('_', ' ').capitalize()}: {value}")
    return "\n".join(lines)
