import pydantic
import pytest

from rewardjax.curation.judges import attributes
from rewardjax.curation.judges.attributes import Attributes
from rewardjax.curation.ledger import rows

GOOD = {
    "task_category": "Math",
    "objectivity": "Objective",
    "controversiality": "Low",
    "desired_attributes": "correctness, brevity",
    "annotation_guideline": "Add the numbers up yourself.",
}


def test_the_taxonomies_are_the_papers():
    categories = attributes.TAXONOMIES["task_category"]
    assert len(categories) == 12 and categories[-1] == "Other"
    assert attributes.TAXONOMIES["objectivity"] == ("Objective", "Subjective")
    assert attributes.TAXONOMIES["controversiality"] == ("Low", "Medium", "High")
    assert Attributes(**GOOD).model_dump() == GOOD


def test_the_ledger_has_a_column_for_each_field():
    assert tuple(GOOD) == attributes.FIELDS
    columns = rows.SCHEMAS["attributes"].names
    assert [name for name in columns if name in attributes.FIELDS] == list(attributes.FIELDS)


@pytest.mark.parametrize(
    "change",
    [
        {"task_category": "math"},
        {"objectivity": "objective"},
        {"controversiality": "Very high"},
        {"mood": "good"},
        {"desired_attributes": "  "},
    ],
)
def test_anything_outside_the_taxonomies_is_refused_and_named(change):
    with pytest.raises(pydantic.ValidationError, match=next(iter(change))):
        Attributes.model_validate(GOOD | change)


def test_a_missing_field_is_refused():
    with pytest.raises(pydantic.ValidationError, match="annotation_guideline"):
        Attributes.model_validate(
            {key: value for key, value in GOOD.items() if key != "annotation_guideline"}
        )


def test_merging_takes_the_most_frequent_values_and_the_text_of_who_is_nearest_to_them():
    one = Attributes(**GOOD | {"task_category": "Reasoning", "desired_attributes": "one"})
    two = Attributes(**GOOD | {"controversiality": "High", "desired_attributes": "two"})
    three = Attributes(**GOOD | {"desired_attributes": "three"})
    merged = attributes.merge([one, two, three])
    assert merged == three
    assert attributes.merge([one]) == one
    assert (
        attributes.merge([one, two]).task_category == "Reasoning"
    )  # equally frequent: the first given
    with pytest.raises(ValueError, match="nothing to merge"):
        attributes.merge([])


def test_the_text_for_retrieval_names_each_field():
    lines = attributes.describe(Attributes(**GOOD)).split("\n")
    assert (
        len(lines) == 5
        and lines[0] == "Task category: Math"
        and lines[4].startswith("Annotation guideline: Add")
    )
