"""The flags that all verbs share, as a verb with a config reads them."""

import pytest

from rewardjax.command import dialect

WORDS = {"data": "config.data.source", "output": "workdir"}


def test_shared_flags_become_the_verbs_own_with_the_config_first():
    typed = [
        "--data",
        "a=b.jsonl",
        "--set",
        "seed=3",
        "--config",
        "c.py:x=1",
        "--output=out",
        "--j",
    ]
    assert dialect.in_own_words(typed, WORDS) == [
        "--config=c.py:x=1",
        "--config.data.source=a=b.jsonl",
        "--config.seed=3",
        "--workdir=out",
        "--j",
    ]


def test_what_is_no_shared_flag_stays_as_it_is():
    typed = ["--config.seed=3", "-v", "pairs.jsonl", "--database=x"]
    assert dialect.in_own_words(typed, WORDS) == typed


@pytest.mark.parametrize(
    "typed, sentence",
    [
        (["--data"], "--data needs a value"),
        (["--config", "--data=x"], "--config needs a value: --config configs/gsm.py"),
        (["--set", "seed"], "--set seed: a field and its value, as in --set seed=1"),
    ],
)
def test_a_flag_without_its_value_is_refused(typed, sentence):
    with pytest.raises(ValueError, match=sentence):
        dialect.in_own_words(typed, WORDS)


def test_the_last_of_several_values_counts_as_it_does_for_the_parser():
    assert dialect.value_of(["--a=1", "--b=2", "--a=3"], "a") == "3"
    assert dialect.value_of(["--a=1"], "b") is None
