"""Every setting has a sentence, and is shown with its value and where that came from."""

import inspect
import pathlib

import pytest
from tiny import ROOT

from rewardjax import config as config_lib
from rewardjax import defaults
from rewardjax.reporting import settings
from rewardjax.tools import reference_pages

BOTH = [(defaults.training, defaults.TRAINING), (defaults.evaluation, defaults.EVALUATION)]


@pytest.mark.parametrize("complete, functions", BOTH)
def test_every_setting_has_a_sentence_of_its_own(complete, functions):
    shown = settings.of_defaults(complete, functions)
    assert {each.name for each in shown} == set(config_lib.fields(complete().to_dict()))
    assert [each.name for each in shown if not each.sentence.endswith(".")] == []
    assert {each.kind for each in shown} <= {
        "int",
        "float",
        "bool",
        "str",
        "tuple",
        "any",
        "section",
    }


@pytest.mark.parametrize("complete, functions", BOTH)
def test_docstrings_describe_no_argument_that_is_not_there(complete, functions):
    # The other direction: a sentence on a field that was renamed.
    fields = {each.name for each in settings.of_defaults(complete, functions)}
    assert set(settings.sentences_of(complete)) <= fields
    for section, function in functions.items():
        called = settings.imported(function.name)
        arguments = inspect.signature(called).parameters
        for name in settings.sentences_of(called):
            # A function that takes any option lists those that a config may set.
            assert name in arguments or f"{section}.{name}" in fields


def test_it_is_told_where_a_value_comes_from():
    file = f"{ROOT / 'configs/tiny.py'}:steps=7"
    config = config_lib.load(file, {"seed": 3, "evals.heldout.seed": 5})
    shown = settings.of_config(config, file, defaults.training, defaults.TRAINING)
    by_name = {each.name: each for each in shown}
    assert by_name["steps"].value == 7 and by_name["steps"].origin == "tiny.py"
    assert by_name["seed"].value == 3 and by_name["seed"].origin == "command line"
    assert by_name["epochs"].origin == "default"
    assert by_name["evals.heldout.seed"].origin == "command line"
    assert by_name["evals.heldout.seed"].sentence == by_name["data.seed"].sentence
    lines = list(settings.text(shown))
    assert "seed = 3   (int, command line)" in lines
    assert max(map(len, lines)) <= settings.COLUMNS


def test_the_page_of_settings_is_what_the_code_says():
    page = pathlib.Path(ROOT / "docs/settings.md").read_text(encoding="utf-8")
    message = "run `python -m rewardjax.tools.reference_pages docs`"
    assert page == "\n".join(reference_pages.settings_page()) + "\n", message
