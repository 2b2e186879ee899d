"""Every setting has a sentence, and is shown with its value and where that came from."""

import inspect
import pathlib

import pytest
from commands import run_all
from tiny import ROOT

from rewardjax import config as config_lib
from rewardjax import defaults
from rewardjax.curation.defaults import curation, section_functions
from rewardjax.reporting import settings
from rewardjax.tools import reference_pages

ALL = [
    (defaults.training, list(defaults.TRAINING.items())),
    (defaults.evaluation, list(defaults.EVALUATION.items())),
    (curation, list(section_functions())),
]


@pytest.mark.parametrize("complete, functions", ALL)
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


@pytest.mark.parametrize("complete, functions", ALL)
def test_docstrings_describe_no_argument_that_is_not_there(complete, functions):
    # The other direction: a sentence on a field that was renamed.
    fields = {each.name for each in settings.of_defaults(complete, functions)}
    assert set(settings.sentences_of(complete)) <= fields
    for section, function in functions:
        called = settings.imported(function.name)
        arguments = inspect.signature(called).parameters
        for name in settings.sentences_of(called):
            # A function that takes any option lists those that a config may set.
            assert name in arguments or f"{section}.{name}" in fields


def test_it_is_told_where_a_value_comes_from():
    file = f"{ROOT / 'configs/tiny.py'}:steps=7"
    config = config_lib.load(file, {"seed": 3, "evals.heldout.seed": 5})
    shown = settings.of_config(config, file, *ALL[0])
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


def test_evaluate_and_curate_show_their_settings_as_train_does(tmp_path):
    world, mini = str(ROOT / "configs/curation/world.py"), str(ROOT / "configs/eval/mini.py")
    run = ["rewardjax", "curate", "run", "ws", "--config", world]
    commands = [
        ["rewardjax", "evaluate", "--config", mini, "--show", "--limit", "3"],
        ["rewardjax", "evaluate", "--show", "--model", "runs/mine", "--data", "pairs.jsonl"],
        [*run, "--show", "--set", "shots=7"],
        [*run, "--show", "--plan"],
    ]
    evaluated, of_data, curated, both = run_all(commands, tmp_path)
    assert [each.returncode for each in (evaluated, of_data, curated)] == [0, 0, 0]
    assert "limit = 3   (int, command line)" in evaluated.stdout
    assert "scorer.tokens_per_device = 16384   (int, default)" in evaluated.stdout
    assert "model = runs/mine   (str, command line)" in of_data.stdout
    assert "benchmarks.pairs.path = pairs.jsonl   (str, command line)" in of_data.stdout
    lines = curated.stdout.splitlines()
    assert "shots = 7   (int, command line)" in lines
    assert "train.batch.pairs = 24   (int, world.py)" in lines
    # Each judge on lines of its own, not all of them on one.
    judges = lines.index("judges = 3 entries   (tuple, world.py)")
    names = [line.split("'")[3] for line in lines[judges:] if line.startswith("    {'name'")]
    assert names == ["sharp", "longwinded", "lopsided"]
    assert list(tmp_path.iterdir()) == []
    assert both.returncode == 2 and "not allowed with" in both.stderr
