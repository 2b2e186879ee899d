"""Rows of trees against what they mean: a scored slot sees its conversation and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardjax.data import pack
from rewardjax.data.pack import TokenGroup
from rewardjax.data.rows import trees

PAD = 99
ROW = 16

tokens = st.lists(st.integers(0, 2), max_size=6)
# A prompt of up to 6 tokens, and responses of 0 to 6 behind it; without a prompt each has a token.
groups = st.lists(
    st.tuples(tokens, st.lists(tokens, min_size=1, max_size=9)).filter(
        lambda group: group[0] or all(group[1])
    ),
    min_size=1,
    max_size=6,
)


def group_of(prefix, suffixes) -> TokenGroup:
    array = lambda ids: np.array(ids, np.int32)
    return TokenGroup(array(prefix), [array(suffix) for suffix in suffixes])


def seen_by(arrays, r, t) -> list[int]:
    """The tokens that token t of row r attends to, in order of position, which must count up
    from 0.
    """
    interval = lambda name: np.arange(arrays[f"{name}_from"][r, t], arrays[f"{name}_to"][r, t] + 1)
    keys = np.concatenate([interval("also"), interval("see")])
    assert len(set(keys.tolist())) == len(keys), "the intervals are disjoint"
    assert arrays["positions"][r, keys].tolist() == list(range(arrays["positions"][r, t] + 1))
    return arrays["tokens"][r, keys].tolist()


@settings(max_examples=80, deadline=None)
@given(token_lists=groups, pairs_per_row=st.integers(1, 4), row_multiple=st.integers(1, 3))
def test_every_response_of_every_group_is_scored_once(token_lists, pairs_per_row, row_multiple):
    arrays = pack.pack_trees(
        [group_of(*group) for group in token_lists], ROW, pairs_per_row, PAD, row_multiple
    )
    assert len(arrays["tokens"]) % row_multiple == 0
    assert arrays["score_at"].shape[1] == 2 * pairs_per_row
    owned = []
    for r, s in np.argwhere(arrays["owner"][..., 0] >= 0):
        g, k = arrays["owner"][r, s]
        owned.append((g, k))
        prefix, suffixes = token_lists[g]
        assert seen_by(arrays, r, arrays["score_at"][r, s]) == prefix + suffixes[k]
    expected = [(g, k) for g, (_, own) in enumerate(token_lists) for k in range(len(own))]
    assert sorted(owned) == expected


@settings(max_examples=80, deadline=None)
@given(token_lists=groups)
def test_every_token_sees_what_precedes_it_and_padding_sees_itself(token_lists):
    arrays = pack.pack_trees([group_of(*group) for group in token_lists], ROW, 4, PAD)
    for r, t in np.ndindex(arrays["tokens"].shape):
        seen = seen_by(arrays, r, t)
        assert seen[-1] == arrays["tokens"][r, t]
        if seen[-1] == PAD:
            assert seen == [PAD]
        else:
            beginnings = [
                (prefix + suffix)[: len(seen)] for prefix, own in token_lists for suffix in own
            ]
            assert seen in beginnings


def test_a_row_is_laid_out_as_the_documentation_draws_it():
    arrays = pack.pack_trees([group_of([5, 6], [[7, 8, 9], [], [1]])], 8, 2, PAD)
    found = {name: arrays[name][0].tolist() for name in arrays}
    assert found["tokens"] == [5, 6, 7, 8, 9, 1, PAD, PAD][:8]
    assert found["positions"] == [0, 1, 2, 3, 4, 2, 0, 0]
    assert found["see_from"] == [0, 0, 2, 2, 2, 5, 6, 7]
    assert found["see_to"] == list(range(8))
    assert found["also_from"] == [7, 7, 0, 0, 0, 0, 7, 7]
    assert found["also_to"] == [0, 0, 1, 1, 1, 1, 0, 0]
    # The response without tokens of its own ends where the prompt does.
    assert found["score_at"] == [4, 1, 5, 0]
    assert found["owner"] == [[0, 0], [0, 1], [0, 2], [-1, -1]]
    assert all(array.dtype == np.int32 for array in arrays.values())


def test_a_group_longer_than_a_row_is_cut_and_its_prompt_repeated():
    prefix = [1, 2, 3]
    arrays = pack.pack_trees([group_of(prefix, [[k] * 5 for k in range(4, 9)])], 14, 8, PAD)
    # Two responses a row beside the prompt, the fifth alone.
    assert (arrays["positions"] == 0).sum(axis=1).tolist() == [2, 2, 7]
    assert (arrays["owner"][..., 0] == 0).sum(axis=1).tolist() == [2, 2, 1]
    assert all(row[:3].tolist() == prefix for row in arrays["tokens"])


def test_a_cut_group_fills_a_begun_row_only_where_that_is_worth_its_prompt():
    rows = lambda prefix, own: trees.pour([10, prefix], [[10, 10], own], 40, 99)
    whole = trees.Tree(0, [0, 1])
    # Ten tokens are left of the first row: the second group leaves a response of 6 there after a
    # prompt of 4, but not one of 4 after a prompt of 6.
    assert rows(4, [6, 9, 9]) == [[whole, trees.Tree(1, [0])], [trees.Tree(1, [1, 2])]]
    assert rows(6, [4, 9, 9]) == [[whole], [trees.Tree(1, [0, 1, 2])]]


def test_a_row_has_no_more_responses_than_slots():
    rows = trees.pour([2, 1], [[1] * 7, [1, 1]], 100, 4)
    counts = [sum(len(tree.responses) for tree in row) for row in rows]
    assert max(counts) <= 4 and sum(counts) == 9
    # One slot is left of the first row, for which the second group's prompt is not repeated.
    rows = trees.pour([20, 5], [[1] * 3, [1] * 3], 100, 4)
    assert rows == [[trees.Tree(0, [0, 1, 2])], [trees.Tree(1, [0, 1, 2])]]


def test_trees_are_poured_into_few_rows():
    """As full as the prompts allow, of responses that are many times a row's length together."""
    generator = np.random.default_rng(0)
    lengths = generator.lognormal(5.5, 0.8, (64, 33)).astype(int) + 4
    rows = trees.pour(lengths[:, 0].tolist(), lengths[:, 1:].tolist(), 16_384, 1024)
    assert len(rows) * 16_384 <= 1.06 * lengths.sum()


def test_what_cannot_be_scored_is_named():
    with pytest.raises(ValueError, match="response 1 of group 0 is 17 tokens long with its prompt"):
        pack.pack_trees([group_of([1] * 9, [[2], [3] * 8])], ROW, 4, PAD)
    with pytest.raises(ValueError, match="response 2 of group 0 has no tokens"):
        pack.pack_trees([group_of([], [[2], [3], []])], ROW, 4, PAD)


@pytest.mark.parametrize(
    "prompt, suffixes, layout",
    [
        (20, [[k] * 4 for k in range(2)], "bundles"),  # a pair
        (20, [[k] * 4 for k in range(3)], "bundles"),  # one row either way
        (20, [[k] * 4 for k in range(8)], "trees"),
        # Neighbors share all but a token, which is more than the prompt.
        (4, [[k // 2] * 11 + [k % 2] for k in range(16)], "bundles"),
    ],
    ids=["pair", "fits a row", "eight", "near-duplicates"],
)
def test_trees_are_taken_where_they_save_rows(prompt, suffixes, layout):
    arrays = pack.pack_for_scoring([group_of([9] * prompt, suffixes)], 64, 8, PAD)
    assert ("also_from" in arrays) == (layout == "trees")
