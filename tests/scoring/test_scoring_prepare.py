"""Checking and tokenizing for scoring: what fits, what does not and why, for every caller."""

import pathlib

import numpy as np
import pytest

from rewardjax import assets
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import BadRecord, Group
from rewardjax.data.tokenize import tokenize_group
from rewardjax.scoring.prepare import prepare, prepare_whole

PROMPT = [{"role": "user", "content": "How long?"}]


@pytest.fixture(scope="module")
def tokenizer():
    return ChatTokenizer.load(pathlib.Path(assets.resolve("assets:world")))


def group(*texts, prompt=PROMPT):
    return Group("g", prompt, [[{"role": "assistant", "content": text}] for text in texts], [])


def test_a_group_that_fits_is_tokenized_as_for_training(tokenizer):
    whole = group("short", "a little longer")
    prepared = prepare(whole, tokenizer, 100, "drop")
    expected = tokenize_group(whole, tokenizer, 100, "drop")
    np.testing.assert_array_equal(prepared.tokens.prefix, expected.prefix)
    for suffix, other in zip(prepared.tokens.suffixes, expected.suffixes, strict=True):
        np.testing.assert_array_equal(suffix, other)
    assert prepared.fits == [0, 1] and prepared.refused == {}
    assert prepared.lengths.tolist() == [
        len(expected.prefix) + len(suffix) for suffix in expected.suffixes
    ]


def test_a_response_that_does_not_fit_is_refused_by_its_own_index_and_spoils_no_other(tokenizer):
    prepared = prepare(group("short", "word " * 400, "brief"), tokenizer, 100, "drop")
    assert prepared.fits == [0, 2] and len(prepared.tokens.suffixes) == 2
    assert prepared.lengths[1] > 100, "the length is that of the whole conversation"
    assert list(prepared.refused) == [1] and prepared.refused[1].reason == "over_long"
    assert prepared.refused[1].detail.startswith("responses[1]")
    with pytest.raises(BadRecord, match=r"over_long.*responses\[1\]"):
        prepare_whole(group("short", "word " * 400, "brief"), tokenizer, 100, "drop")


def test_an_empty_response_costs_itself_and_nothing_in_a_published_benchmark(tokenizer):
    prepared = prepare(group("text", " "), tokenizer, 100, "drop")
    assert prepared.fits == [0] and prepared.refused[1].reason == "empty"
    with pytest.raises(BadRecord, match="empty"):
        prepare(group("", " "), tokenizer, 100, "drop")
    prepared = prepare(group("text", ""), tokenizer, 100, "drop", as_published=True)
    assert prepared.fits == [0, 1] and prepared.lengths[1] < prepared.lengths[0]


def test_text_that_cannot_be_encoded_is_refused_in_a_published_benchmark_too(tokenizer):
    prepared = prepare(group("text", "a\0b"), tokenizer, 100, "drop", as_published=True)
    assert prepared.fits == [0] and prepared.refused[1].reason == "bad_text"
    assert prepared.lengths[1] == -1
    broken = [{"role": "user", "content": "\ud800"}]
    prepared = prepare(group("text", "b", prompt=broken), tokenizer, 100, "drop", as_published=True)
    assert prepared.tokens is None and list(prepared.refused) == [0, 1]
