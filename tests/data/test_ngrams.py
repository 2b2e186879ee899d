"""The n-gram index against a plain set of tuples, its tokenizations, and its evidence."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardjax.data import ngrams

WORDS = st.lists(st.sampled_from(["aa", "bb", "cc", "dd"]), max_size=12).map(" ".join)


def shared(a, b, n, mode="paper"):
    grams = lambda text: {
        tuple(words[i : i + n])
        for words in [ngrams.tokenize(text, mode)]
        for i in range(len(words) - n + 1)
    }
    return grams(a) & grams(b), grams(b)


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, max_size=6), st.lists(WORDS, max_size=6), st.integers(1, 4))
def test_finds_exactly_what_sets_of_tuples_find(indexed, looked_up, n):
    index = ngrams.build(indexed, n)
    for text, matches in zip(looked_up, ngrams.look_up(index, looked_up), strict=True):
        expected = {}
        for number, other in enumerate(indexed):
            common, all_of_it = shared(text, other, n)
            if common:
                expected[number] = (len(common), len(common) / len(all_of_it))
        assert {match.text: (match.shared, match.coverage) for match in matches} == expected
        assert [match.shared for match in matches] == sorted(
            (match.shared for match in matches), reverse=True
        )
        assert all(match.ngram in text and match.ngram in indexed[match.text] for match in matches)


def test_equal_hashes_are_not_equal_ngrams(monkeypatch):
    starts_of = ngrams._hashes
    weak = lambda tokens, n: (
        starts_of(tokens, n)[0],
        tokens[starts_of(tokens, n)[0]].astype(np.uint64),
    )  # of the first token alone
    monkeypatch.setattr(ngrams, "_hashes", weak)
    index = ngrams.build(["one two three", "two three four"], 2)
    [matches] = ngrams.look_up(index, ["one three four one two two two three"])
    assert [(match.text, match.shared, match.ngram) for match in matches] == [
        (0, 2, "one two"),
        (1, 2, "three four"),
    ]
    assert ngrams.look_up(index, ["one four two one three two"]) == [[]]


def test_the_papers_tokens_are_count_vectorizers():
    text = "What is 7 + 12? I don't KNOW a naïve_thing."
    assert (
        ngrams.tokenize(text)
        == ["what", "is", "12", "don", "know", "naïve_thing"]
        == re.findall(r"(?u)\b\w\w+\b", text.lower())
    )


def test_strict_tokens_keep_single_digits_marks_and_cjk_characters():
    assert ngrams.tokenize("2+3=5, 你好!", "strict") == [
        "2",
        "+",
        "3",
        "=",
        "5",
        ",",
        "你",
        "好",
        "!",
    ]
    sums = ["Ada has 3 pens and 4 caps", "Ada has 5 pens and 6 caps"]
    assert ngrams.look_up(ngrams.build(sums[:1], 5), sums[1:])[
        0
    ]  # the paper's tokens cannot tell the two apart
    assert not ngrams.look_up(ngrams.build(sums[:1], 5, "strict"), sums[1:])[0]
    with pytest.raises(ValueError, match="'loose', not one of paper, strict"):
        ngrams.tokenize("a", "loose")


def test_short_texts_are_counted_and_match_only_as_a_whole_when_asked():
    index = ngrams.build(["Name the capital of France.", "", " ".join(map(str, range(100, 120)))])
    assert sum(map(len, index.short.values())) == 2 and index.grams.tolist() == [0, 0, 8]
    looked_up = ["name the capital of france?", "Name the capital of France now.", ""]
    assert ngrams.look_up(index, looked_up) == [[], [], []]
    whole = ngrams.look_up(index, looked_up, short=True)
    assert whole == [[ngrams.Match(0, 0, 1.0, "name the capital of france")], [], []]


def test_evidence_and_coverage():
    prompt = " ".join(f"word{i}" for i in range(20))
    index = ngrams.build(["unrelated text", prompt])
    copy, part = f"Please answer: {prompt.upper()} thanks", " ".join(prompt.split()[3:17])
    whole, some, none = ngrams.look_up(index, [copy, part, " ".join(prompt.split()[:12])])
    assert whole == [ngrams.Match(1, 8, 1.0, " ".join(prompt.split()[:13]))]
    assert some == [ngrams.Match(1, 2, 0.25, " ".join(prompt.split()[3:16]))] and none == []


def test_nothing_to_index_or_to_look_up():
    assert ngrams.look_up(ngrams.build([]), ["some text"]) == [[]]
    assert ngrams.look_up(ngrams.build(["some text"], 2), []) == []
    with pytest.raises(ValueError, match="n = 0"):
        ngrams.build(["a"], 0)
