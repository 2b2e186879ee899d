"""Packed rows against slow, obvious definitions: what a token may see is a statement about its conversation, not about indices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardjax.data import pack
from rewardjax.data.pack import TokenGroup

PAD = 99
ROW = 64

# Three token ids are few enough for shared prefixes of all lengths, empty branches and equal responses.
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
    """The tokens that token t of row r attends to, in order of position, which must count up from 0."""
    keys = np.arange(arrays["see_from"][r, t], arrays["see_to"][r, t] + 1)
    keys = keys[np.argsort(arrays["positions"][r, keys])]
    assert arrays["positions"][r, keys].tolist() == list(range(arrays["positions"][r, t] + 1))
    return arrays["tokens"][r, keys].tolist()


def dense_row(row, token_lists):
    """Tokens, positions and who-sees-whom of one row, from the definition: a token sees itself and what its response has before it."""
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
    for r in range(len(rows)):
        for p in range(per_row):
            i = arrays["pair"][r, p]
            if i < 0:
                assert (
                    arrays["weight"][r, p]
                    == arrays["chosen"][r, p]
                    == arrays["rejected"][r, p]
                    == arrays["target"][r, p]
                    == 0
                )
                continue
            found.append(i)
            for name, expected in zip(("chosen", "rejected"), token_lists[i], strict=True):
                assert seen_by(arrays, r, arrays["score_at"][r, arrays[name][r, p]]) == expected
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
    for name in ("chosen", "rejected", "pair"):
        assert arrays[name].shape == (2, 2) and arrays[name].dtype == np.int32
    for name in ("weight", "target", "margin", "tie"):
        assert arrays[name].shape == (2, 2) and arrays[name].dtype == np.float32
    assert (arrays["tokens"][0] == PAD).all() and not arrays["weight"][0].any()
    assert arrays["see_from"][0].tolist() == arrays["see_to"][0].tolist() == list(range(8))


def test_too_much_for_a_row_is_an_error_that_names_it():
    pairs = [group_of([1, 2, 3], [1, 4, 5])] * 2
    with pytest.raises(ValueError, match="row 0 is given 2 pairs, pairs_per_row = 1"):
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
    # In a window of 512 the last row alone can cost 3 %, so there the mark is the fewest rows that could be.
    windows = np.split(totals, 4)
    assert all(
        len(pack.plan_rows(window, 16384, 64)) <= -(-window.sum() // 16384) + 1
        for window in windows
    )


groups = st.lists(st.lists(conversation, min_size=1, max_size=5), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None)
@given(token_lists=groups, bundles_per_row=st.integers(1, 4), row_multiple=st.integers(1, 3))
def test_every_response_of_every_group_is_scored_once(token_lists, bundles_per_row, row_multiple):
    row_length = 16  # two responses of 12 tokens do not always fit together
    arrays = pack.pack_groups(
        [group_of(*group) for group in token_lists], row_length, bundles_per_row, PAD, row_multiple
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


@settings(max_examples=80, deadline=None)
@given(token_lists=groups, groups_per_row=st.integers(1, 3), data=st.data())
def test_ranked_groups_lie_in_one_row_best_first(token_lists, groups_per_row, data):
    orders = [data.draw(st.permutations(range(len(group)))) for group in token_lists]
    arrays = pack.pack_ranked(
        [group_of(*group) for group in token_lists], orders, ROW, groups_per_row, 5, PAD
    )
    assert arrays["ranked"].shape == (len(arrays["tokens"]), groups_per_row, 5)
    found = []
    for r, place in np.ndindex(arrays["ranked"].shape[:2]):
        slots = [s for s in arrays["ranked"][r, place] if s >= 0]
        if slots:
            g = arrays["owner"][r, slots[0], 0]
            found.append(g)
            assert arrays["owner"][r, slots].tolist() == [[g, k] for k in orders[g]]
            assert [seen_by(arrays, r, arrays["score_at"][r, s]) for s in slots] == [
                token_lists[g][k] for k in orders[g]
            ]
    assert sorted(found) == list(range(len(token_lists)))


def test_more_ranked_responses_than_declared_are_refused():
    with pytest.raises(ValueError, match="group 0 ranks 3 responses, responses = 2"):
        pack.pack_ranked([group_of([1], [2], [3])], [[0, 1, 2]], 8, 1, 2, PAD)
