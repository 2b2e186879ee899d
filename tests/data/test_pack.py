"""Packed rows against slow, obvious definitions:

what a token may see is a statement about its conversation, not about indices.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardjax.data import pack
from rewardjax.data.pack import TokenGroup

PAD = 99
ROW = 64

# Three token ids are few enough for shared prefixes of all lengths, empty branches and equal
# responses.
conversation = st.lists(st.integers(0, 2), min_size=1, max_size=12)
conversations = st.lists(st.tuples(conversation, conversation), min_size=1, max_size=12)


def group_of(*token_lists) -> TokenGroup:
    arrays = [np.array(tokens, np.int32) for tokens in token_lists]
    shared = min(
        (pack.common_prefix(arrays[0], other) for other in arrays[1:]), default=len(arrays[0])
    )
    return TokenGroup(arrays[0][:shared], [array[shared:] for array in arrays])


def lengths_of(pairs) -> np.ndarray:
    return np.array([[len(pair.prefix), *map(len, pair.suffixes)] for pair in pairs])


def labels_of(n) -> dict[str, np.ndarray]:
    return {"target": np.linspace(0.1, 1, n), "margin": np.arange(n) + 0.5, "tie": np.arange(n) % 2}


def pack_all(token_lists, per_row, row_length=ROW, share=True):
    pairs = [group_of(a, b) for a, b in token_lists]
    rows = pack.plan_rows(pack.bundle_lengths(lengths_of(pairs), share), row_length, per_row)
    return pack.pack_pairs(
        pairs, labels_of(len(pairs)), rows, row_length, per_row, PAD, share
    ), rows


def seen_by(arrays, r, t) -> list[int]:
    """The tokens that token t of row r attends to, in order of position, which must count up
    from 0.
    """
    keys = np.arange(arrays["see_from"][r, t], arrays["see_to"][r, t] + 1)
    keys = keys[np.argsort(arrays["positions"][r, keys])]
    assert arrays["positions"][r, keys].tolist() == list(range(arrays["positions"][r, t] + 1))
    return arrays["tokens"][r, keys].tolist()


def dense_row(row, token_lists):
    """Tokens, positions and who-sees-whom of one row, from the definition:

    a token sees itself and what its response has before it.
    """
    cells = []  # (bundle, branch, place in the conversation, token)
    for b in row:
        chosen, rejected = token_lists[b]
        m = 0
        while m < min(len(chosen), len(rejected)) and chosen[m] == rejected[m]:
            m += 1
        cells += [(b, "chosen", i, chosen[i]) for i in reversed(range(m, len(chosen)))]
        cells += [(b, "prefix", i, chosen[i]) for i in range(m)]
        cells += [(b, "rejected", i, rejected[i]) for i in range(m, len(rejected))]
    cells += [("padding", t, 0, PAD) for t in range(ROW - len(cells))]
    sees = [
        [q is k or (q[0] == k[0] and k[1] in ("prefix", q[1]) and k[2] < q[2]) for k in cells]
        for q in cells
    ]
    return [cell[3] for cell in cells], [cell[2] for cell in cells], np.array(sees)


@settings(max_examples=80, deadline=None)
@given(token_lists=conversations, per_row=st.integers(1, 5))
def test_rows_are_what_the_definition_says(token_lists, per_row):
    arrays, rows = pack_all(token_lists, per_row)
    keys = np.arange(ROW)
    for r, row in enumerate(rows):
        tokens, positions, sees = dense_row(row, token_lists)
        assert arrays["tokens"][r].tolist() == tokens
        assert arrays["positions"][r].tolist() == positions
        interval = (arrays["see_from"][r][:, None] <= keys) & (keys <= arrays["see_to"][r][:, None])
        np.testing.assert_array_equal(interval, sees)


@settings(max_examples=80, deadline=None)
@given(token_lists=conversations, per_row=st.integers(1, 5), share=st.booleans())
def test_a_scored_slot_sees_exactly_its_conversation(token_lists, per_row, share):
    arrays, rows = pack_all(token_lists, per_row, share=share)
    labels, found = labels_of(len(token_lists)), []
    for r, row in enumerate(rows):
        for p in range(per_row):
            if p >= len(row):
                assert (
                    arrays["weight"][r, p]
                    == arrays["chosen"][r, p]
                    == arrays["rejected"][r, p]
                    == arrays["target"][r, p]
                    == 0
                )
                continue
            i = row[p]
            found.append(i)
            shared = pack.common_prefix(*map(np.array, token_lists[i]))
            for name, expected in zip(("chosen", "rejected"), token_lists[i], strict=True):
                assert seen_by(arrays, r, arrays["score_at"][r, arrays[name][r, p]]) == expected
                assert arrays[f"{name}_length"][r, p] == len(expected) - shared
            assert arrays["weight"][r, p] == 1
            for name, values in labels.items():
                assert arrays[name][r, p] == np.float32(values[i])
    assert sorted(found) == list(range(len(token_lists)))


def test_the_empty_branch_is_scored_at_the_last_shared_token():
    arrays, _ = pack_all([([7, 8], [7, 8, 9])], 1)  # chosen is the beginning of rejected
    assert arrays["score_at"].tolist() == [[1, 2]]
    arrays, _ = pack_all([([7, 8, 9], [7, 8])], 1)  # row: 9 7 8
    assert arrays["score_at"].tolist() == [[0, 2]]


def test_shapes_types_and_an_empty_row():
    pairs = [group_of([1, 2], [1, 3])]
    arrays = pack.pack_pairs(pairs, labels_of(1), [[], [0]], 8, 2, PAD)
    for name in ("tokens", "positions", "see_from", "see_to"):
        assert arrays[name].shape == (2, 8) and arrays[name].dtype == np.int32
    assert arrays["score_at"].shape == (2, 4) and arrays["score_at"].dtype == np.int32
    for name in ("chosen", "rejected"):
        assert arrays[name].shape == (2, 2) and arrays[name].dtype == np.int32
    for name in ("weight", "target", "margin", "tie"):
        assert arrays[name].shape == (2, 2) and arrays[name].dtype == np.float32
    assert (arrays["tokens"][0] == PAD).all() and not arrays["weight"][0].any()
    assert arrays["see_from"][0].tolist() == arrays["see_to"][0].tolist() == list(range(8))


def test_too_much_for_a_row_is_an_error_that_names_it():
    pairs = [group_of([1, 2, 3], [1, 4, 5])] * 2
    with pytest.raises(ValueError, match="row 0 is given 2 of at most pairs_per_row = 1"):
        pack.pack_pairs(pairs, {}, [[0, 1]], 16, 1, PAD)
    with pytest.raises(ValueError, match="row 1 .* row_length = 8"):
        pack.pack_pairs(pairs, {}, [[], [0, 1]], 8, 2, PAD)
    with pytest.raises(ValueError, match="item 1 is 9 tokens long, a row holds 8"):
        pack.plan_rows([3, 9], 8, 4)
    nothing = np.zeros(0, np.int32)
    with pytest.raises(ValueError, match="without tokens"):
        pack.pack_pairs([TokenGroup(nothing, [nothing, np.array([1])])], {}, [[0]], 8, 1, PAD)


@settings(max_examples=80, deadline=None)
@given(lengths=st.lists(st.integers(1, 50), max_size=60), per_row=st.integers(1, 6))
def test_row_plan_holds_every_item_once_within_its_limits(lengths, per_row):
    rows = pack.plan_rows(lengths, 50, per_row)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(0 < len(row) <= per_row and sum(lengths[i] for i in row) <= 50 for row in rows)
    # Best fit leaves no two rows that could be one.
    loads = sorted((sum(lengths[i] for i in row), len(row)) for row in rows)
    assert all(
        a + b > 50 or m + n > per_row for (a, m), (b, n) in zip(loads, loads[1:], strict=False)
    )


def test_rows_of_16k_are_at_least_98_percent_full():
    generator = np.random.default_rng(0)
    lengths = (
        np.stack(
            [generator.lognormal(np.log(mean) - 0.32, 0.8, 2048) for mean in (220, 370, 370)], 1
        ).astype(np.int64)
        + 4
    )
    totals = pack.bundle_lengths(lengths)
    assert totals.sum() / (16384 * len(pack.plan_rows(totals, 16384, 64))) >= 0.98
    # In a window of 512 the last row alone can cost 3 %, so there the mark is the fewest rows that
    # could be.
    windows = np.split(totals, 4)
    assert all(
        len(pack.plan_rows(window, 16384, 64)) <= -(-window.sum() // 16384) + 1
        for window in windows
    )


groups = st.lists(st.lists(conversation, min_size=1, max_size=5), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None)
@given(token_lists=groups, pairs_per_row=st.integers(1, 4), row_multiple=st.integers(1, 3))
def test_every_response_of_every_group_is_scored_once(token_lists, pairs_per_row, row_multiple):
    row_length = 16  # two responses of 12 tokens do not always fit together
    arrays = pack.pack_groups(
        [group_of(*group) for group in token_lists], row_length, pairs_per_row, PAD, row_multiple
    )
    assert len(arrays["tokens"]) % row_multiple == 0 and arrays["owner"].shape == (
        *arrays["score_at"].shape,
        2,
    )
    found = []
    for r, s in np.argwhere(arrays["owner"][..., 0] >= 0):
        g, k = arrays["owner"][r, s]
        found.append((g, k))
        assert seen_by(arrays, r, arrays["score_at"][r, s]) == token_lists[g][k]
    assert sorted(found) == [
        (g, k) for g, group in enumerate(token_lists) for k in range(len(group))
    ]


def test_a_group_of_k_takes_half_k_bundles():
    arrays = pack.pack_groups(
        [group_of([1, 2, 3], [1, 2, 4], [1, 2, 5], [1, 2, 6], [1, 2, 7])], 32, 4, PAD
    )
    assert (
        arrays["tokens"] != PAD
    ).sum() == 4 + 4 + 3  # two neighbors share [1, 2], the fifth lies alone


RESPONSES = 5  # the most in one of `groups`


def pack_ranked(token_lists, ranks, pairs_per_row, row_length=ROW, share=True):
    token_groups = [group_of(*group) for group in token_lists]
    prefixes = [(len(group) + 1) // 2 if share else len(group) for group in token_lists]
    lengths = [
        n * len(group.prefix) + sum(map(len, group.suffixes))
        for n, group in zip(prefixes, token_groups, strict=True)
    ]
    per_row = pack.groups_per_row(pairs_per_row, RESPONSES)
    rows = pack.plan_rows(lengths, row_length, per_row)
    arrays = pack.pack_ranked(
        token_groups, ranks, rows, row_length, pairs_per_row, RESPONSES, PAD, share
    )
    return arrays, rows


@settings(max_examples=80, deadline=None)
@given(token_lists=groups, pairs_per_row=st.integers(3, 9), share=st.booleans(), data=st.data())
def test_a_ranked_group_lies_in_one_row_each_slot_with_its_rank(
    token_lists, pairs_per_row, share, data
):
    ranks = [np.array(data.draw(st.permutations(range(len(group))))) for group in token_lists]
    arrays, rows = pack_ranked(token_lists, ranks, pairs_per_row, share=share)
    per_row = pairs_per_row // 3
    shape = len(rows), per_row, RESPONSES
    ranked, ranks_BRK = arrays["ranked"].reshape(shape), arrays["ranks"].reshape(shape)
    placed = []
    for r, place in np.ndindex(shape[:2]):
        if place >= len(rows[r]):
            assert arrays["weight"][r, place] == 0 and (ranks_BRK[r, place] == -1).all()
            continue
        g = rows[r][place]
        placed.append(g)
        assert arrays["weight"][r, place] == 1
        size = len(token_lists[g])
        assert ranks_BRK[r, place].tolist() == ranks[g].tolist() + [-1] * (RESPONSES - size)
        ends = arrays["score_at"][r, ranked[r, place, :size]]
        assert [seen_by(arrays, r, end) for end in ends] == token_lists[g]
    assert sorted(placed) == list(range(len(token_lists)))


def test_a_row_without_room_for_one_ranked_group_is_refused():
    with pytest.raises(ValueError, match="no room for a group of 5 responses: .* at least 3"):
        pack.groups_per_row(2, 5)
    three = [group_of([1, 2], [1, 3], [1, 4])]
    with pytest.raises(ValueError, match="row 0 is given 2 of at most groups per row = 1"):
        pack.pack_ranked(three * 2, [np.arange(3)] * 2, [[0, 1]], 64, 3, 5, PAD)


@pytest.mark.parametrize("unit", ["pairs", "groups"])
def test_the_widths_that_compilers_are_told_are_those_of_the_arrays(unit):
    if unit == "pairs":
        arrays, _ = pack_all([([1, 2], [1, 3])], 7)
    else:
        arrays, _ = pack_ranked([[[1, 2], [1, 3], [4]]], [np.arange(3)], 7)
    widths = pack.row_widths(ROW, 7) | pack.label_widths(unit, 7, RESPONSES)
    assert {name: (x.shape[1], x.dtype) for name, x in arrays.items()} == widths


def test_attention_of_a_group_counts_its_prefix_once():
    # prefix 2, branches 3 and 1: triangles 3 + 6 + 1, and 4 tokens that look back at the prefix.
    assert pack.attention_entries(np.array([[2, 3, 1]])) == 3 + 6 + 1 + 2 * 4
    assert pack.attention_entries(np.array([[2, 3, 1, 0], [2, 0, 0, 5]])) == 18 + 3 + 15 + 10
