"""Runs on data of one's own, without a config."""

import pytest
from tiny import ROOT

from rewardjax import config as config_lib
from rewardjax import own_data

WORDS = {"model": "config.model.folder", "data": "config.data.source", "output": "workdir"}


def test_the_held_out_set_is_the_rest_of_the_same_data_however_they_are_changed():
    config = config_lib.load(
        f"{own_data.__file__}:held_out=0.25",
        ["data.source=pairs.jsonl", "data.columns={'prompt': 'q'}", "data.max_length=99"],
    )
    held_out = config.evals.heldout
    assert config.data.part == (0.0, 0.75) and held_out.part == (0.75, 1.0)
    for name in config.data:
        assert name == "part" or held_out[name] == config.data[name], name
    assert held_out.source == "pairs.jsonl" and held_out.max_length == 99


def test_a_held_out_set_can_be_changed_alone():
    config = config_lib.load(own_data.__file__, {"evals.heldout.source": "other.jsonl"})
    assert config.data.source == "" and config.evals.heldout.source == "other.jsonl"


def test_without_a_held_out_share_all_pairs_are_trained_on():
    config = own_data.own_data(0.0)
    assert not config.evals and config.data.part == (0.0, 1.0)


def test_arguments_without_a_config_name_this_one():
    typed = ["--model", "m", "--data", "d", "--held-out", "10%"]
    config, *fields = own_data.with_config(typed, WORDS)
    assert config == f"--config={own_data.__file__}:held_out=0.1"
    assert fields == ["--config.model.folder=m", "--config.data.source=d"]
    assert own_data.with_config(["--config", "x.py"], WORDS) == ["--config=x.py"]


@pytest.mark.parametrize(
    "typed, sentence",
    [
        ([], "--model and --data missing"),
        (["--model", "m"], "^--data missing"),
        (["--config=x.py", "--held-out=5%"], "--held-out is for runs without --config"),
        (["--model=m", "--data=d", "--held-out=some"], "--held-out some: a share of the prompts"),
    ],
)
def test_a_command_that_says_too_little_or_too_much_is_refused(typed, sentence):
    with pytest.raises(ValueError, match=sentence):
        own_data.with_config(typed, WORDS)


def test_a_share_that_leaves_nothing_is_refused():
    with pytest.raises(
        ValueError, match=r"held_out = 1.0: a share of the prompts, from 0 to below 1"
    ):
        config_lib.load(f"{own_data.__file__}:held_out=1.0")


def test_the_template_is_this_config():
    template = config_lib.load(ROOT / "configs/pairs.py")
    changed = config_lib.difference(config_lib.load(own_data.__file__), template)
    assert [line.partition(":")[0] for line in changed] == ["eval_every"]
