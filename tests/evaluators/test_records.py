"""Results survive JSON, and a part says when it is over less than the whole."""

import json

import pytest

from rewardjax.evaluators.records import Part, Result


def test_results_survive_json():
    parts = {"a": Part(0.5, 4, 1, 10, 2, 1), "b": Part(None, 0, expected=7)}
    result = Result(
        "rmb", 0.5, "mean", None, parts, {"a/x": Part(1.0, 1)}, {"curve": [1.0]}, ["note"]
    )
    record = json.loads(json.dumps(result.to_record()))
    assert Result.from_record(record) == result
    assert (record["missing"], record["partial"], record["ties"]) == (["b"], True, 1)
    assert record["denominators"] == "1 of 2 parts, 5 of 17 examples, 2 unscored"


@pytest.mark.parametrize(
    "part, partial",
    [
        (Part(0.5, 4), False),
        (Part(0.5, 4, 0, 4), False),
        (Part(0.5, 3, 0, 4), True),
        (Part(0.5, 3, 0, 4, 0, 1), False),
        (Part(1, 3, 0, 3, 1), True),
    ],
)
def test_a_part_is_partial_when_examples_lack(part, partial):
    assert part.partial == partial
