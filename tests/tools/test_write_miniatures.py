"""The miniatures that ship are those that the program writes, and their benchmarks run on them."""

import numpy as np
import pytest

from rewardjax import assets, evaluators
from rewardjax.data import sources
from rewardjax.tools import write_miniatures

WITH_FILES = (*evaluators.PAPER, "llmbar")


def test_the_files_that_ship_are_those_that_are_written():
    folder = assets.resolve("assets:benchmarks")
    expected = write_miniatures.files()
    assert {
        file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()
    } == set(expected) | {"README.md"}
    for path, rows in expected.items():
        assert list(sources.open_source(folder / path)) == rows, path


@pytest.mark.parametrize("name", WITH_FILES)
def test_a_perfect_scorer_and_a_constant_one(name):
    module = evaluators.get(name)
    examples = module.load(f"assets:benchmarks/{name}")
    assert examples.name == name and not examples.left_out
    constant = module.summarize(
        examples.items, [np.zeros(len(group.responses)) for group in examples.groups]
    )
    assert (
        constant.partial
        and constant.headline is not None
        and not constant.missing
        and constant.ties > 0
    )
    assert constant.headline <= 0.51  # a tie is wrong, shared, or right for one of two labels
    assert type(constant).from_record(constant.to_record()) == constant
    rng = np.random.default_rng(0)
    noise = module.summarize(
        examples.items, [rng.normal(size=len(group.responses)) for group in examples.groups]
    )
    assert 0 <= noise.headline <= 1
