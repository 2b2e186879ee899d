"""The paper's 5-tuple that describes a pair: its taxonomies, strict values, how several taggers are merged, and its text for retrieval."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal, get_args, get_origin

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
    """The 5-tuple (paper, section on preference attributes). A value outside the taxonomies, a missing or an unknown field is an error."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)

    task_category: Category
    objectivity: Objectivity
    controversiality: Controversiality
    desired_attributes: Text  # qualities a good answer has, comma-separated
    annotation_guideline: Text  # how to decide this very pair


# The names of the five fields, and the legal values of those that have a taxonomy: ledger columns, the text that is embedded, what
# people may edit and what errors are broken down by all follow from the class above.
FIELDS: tuple[str, ...] = tuple(Attributes.model_fields)
TAXONOMIES: dict[str, tuple[str, ...]] = {
    name: get_args(field.annotation)
    for name, field in Attributes.model_fields.items()
    if get_origin(field.annotation) is Literal
}


def merge(tagged: Sequence[Attributes]) -> Attributes:
    """One 5-tuple of several taggers': the most frequent value of each closed field (of equally frequent ones the first given), and both
    free texts from the first tagger who agrees with most of those three. Raises ValueError without any tagger."""
    if not tagged:
        raise ValueError("attributes: nothing to merge")
    common = {
        field: Counter(getattr(one, field) for one in tagged).most_common(1)[0][0]
        for field in TAXONOMIES
    }
    nearest = max(
        tagged, key=lambda one: sum(getattr(one, field) == value for field, value in common.items())
    )
    return nearest.model_copy(update=common)


def describe(attributes: Attributes) -> str:
    """The five fields as lines `Field: value`: what a judge reads, and what the embedder reads beside the prompt."""
    named = attributes.model_dump()
    return "\n".join(
        f"{field.replace('_', ' ').capitalize()}: {value}" for field, value in named.items()
    )
