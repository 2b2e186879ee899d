"""Packing: which items share a row, and the arrays of contract 2 for training and scoring.

In training every unit (a pair, or a ranked group) has its responses in one row. A row of
`pairs_per_row` has room for that many bundles of two responses, and two slots of `score_at` for
each, whatever the bundles mean. numpy only: this runs in the data loader's threads.
"""

import bisect
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rewardjax.data.rows import trees
from rewardjax.data.rows.bundles import TOKEN_ARRAYS, Bundle, Rows, bundle_tokens, lay_out


class TokenGroup(NamedTuple):
    """Token ids of one prompt's K responses: conversation k is `prefix` ++ `suffixes[k]`.

    The prefix is the longest common one of all K. A pair is a group of two, chosen then rejected; a
    conversation on its own is a group of one.
    """

    prefix: np.ndarray
    suffixes: list[np.ndarray]


def common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    """Number of leading tokens that two sequences share."""
    # One vector comparison: prompts are thousands of tokens long, and most of them are shared.
    shorter = min(len(a), len(b))
    differ = a[:shorter] != b[:shorter]
    if not differ.any():
        return shorter
    return int(differ.argmax())


def take_pair(group: TokenGroup, i: int, j: int) -> TokenGroup:
    """Responses i and j of a group, as a group of two.

    Two responses may share more than all K do, and what they share moves into the prefix.
    """
    a, b = group.suffixes[i], group.suffixes[j]
    shared = common_prefix(a, b)
    prefix = group.prefix
    if shared:
        prefix = np.concatenate([prefix, a[:shared]])
    return TokenGroup(prefix, [a[shared:], b[shared:]])


def plan_rows(lengths: Sequence[int] | np.ndarray, row_length: int, per_row: int) -> Rows:
    """Best-fit decreasing: the longest item first, each into the fullest row that still has room.

    lengths [n] in tokens; a row holds at most `row_length` tokens and `per_row` items. Ties go to
    the earliest: the plan depends on the arguments alone, since every host makes it for itself.
    Raises ValueError naming the first item that is longer than a row.
    """
    lengths = np.asarray(lengths, np.int64)
    if (lengths > row_length).any():
        item = int((lengths > row_length).argmax())
        raise ValueError(
            f"item {item} is {lengths[item]} tokens long, a row holds {row_length}: "
            "raise row_length or lower max_length"
        )
    rows: Rows = []
    # Sorted by room. Room and row in one int (room << 32 | row) compare faster than a tuple.
    open_rows: list[int] = []
    for item in np.argsort(-lengths, kind="stable").tolist():
        need = int(lengths[item])
        at = bisect.bisect_left(open_rows, need << 32)
        if at < len(open_rows):
            room, row = divmod(open_rows.pop(at), 1 << 32)
        else:
            room, row = row_length, len(rows)
            rows.append([])
        rows[row].append(item)
        if room > need and len(rows[row]) < per_row:
            bisect.insort(open_rows, room - need << 32 | row)
    return rows


def bundle_lengths(lengths: np.ndarray, share: bool = True) -> np.ndarray:
    """Tokens [n] each pair takes in a row; lengths [n, 3] = (prefix, chosen, rejected suffix)."""
    prefixes = 2 - int(share)
    return lengths @ np.array([prefixes, 1, 1], lengths.dtype)


def attention_entries(lengths: np.ndarray) -> int:
    """(query, key) pairs that see each other: what attention has to compute, shared prefixes once.

    lengths [n, 1 + K] = (prefix, suffix of each response), 0 where there is no response.
    """
    # Millions of tokens squared leave int32 behind.
    lengths = np.asarray(lengths, np.int64)
    triangles = lengths * (lengths + 1) // 2  # of causal attention within each part
    prefix, suffixes = lengths[:, 0], lengths[:, 1:]
    return int(np.sum(triangles) + np.sum(prefix * suffixes.sum(axis=1)))


# ------------------------------------------------------------------ training


def label_widths(unit: str, pairs_per_row: int, responses: int) -> dict[str, tuple[int, type]]:
    """Width and dtype of the arrays [B, width] that say what a row's scores mean to a loss.

    unit: "pairs" or "groups"; responses: K, the most that a ranked group may have.
    """
    if unit == "pairs":
        return {
            "chosen": (pairs_per_row, np.int32),
            "rejected": (pairs_per_row, np.int32),
            "weight": (pairs_per_row, np.float32),
            "margin": (pairs_per_row, np.float32),
            "target": (pairs_per_row, np.float32),
            "tie": (pairs_per_row, np.float32),
            "chosen_length": (pairs_per_row, np.float32),
            "rejected_length": (pairs_per_row, np.float32),
        }
    groups = groups_per_row(pairs_per_row, responses)
    return {
        "ranked": (groups * responses, np.int32),
        "ranks": (groups * responses, np.int32),
        "weight": (groups, np.float32),
    }


# A compiler is told these widths without any data, so they must not depend on what a row holds.
def row_widths(row_length: int, pairs_per_row: int) -> dict[str, tuple[int, type]]:
    """Width and dtype of the arrays [B, width] that a model reads: TOKEN_ARRAYS and `score_at`."""
    widths = dict.fromkeys(TOKEN_ARRAYS, (row_length, np.int32))
    return widths | {"score_at": (2 * pairs_per_row, np.int32)}


def groups_per_row(pairs_per_row: int, responses: int) -> int:
    """R: how many groups of `responses` have room in a row. Raises ValueError where it is none."""
    bundles = (responses + 1) // 2
    if pairs_per_row < bundles:
        raise ValueError(
            f"pairs_per_row = {pairs_per_row} has no room for a group of {responses} responses: "
            f"set batch.pairs_per_row to at least {bundles}"
        )
    return pairs_per_row // bundles


def pack_pairs(
    pairs: Sequence[TokenGroup],
    labels: dict[str, np.ndarray],
    rows: Rows,
    row_length: int,
    pairs_per_row: int,
    pad_id: int,
    share: bool = True,
) -> dict[str, np.ndarray]:
    """The arrays of contract 2 for labeled pairs, each pair in the row that `rows` gives it.

    pairs: groups of two, chosen then rejected; labels: name -> [len(pairs)], each an output of its
    own (target, margin, tie). A row without pairs is all padding.

    Returns, with B = len(rows), T = row_length, P = pairs_per_row, S = 2 * P: tokens positions
    see_from see_to [B, T], score_at [B, S] int32, and for pair p of a row: chosen rejected [B, P]
    int32 (slots of score_at), weight [B, P] float32 (0 for padding), chosen_length rejected_length
    [B, P] float32 (tokens beyond what the two share) and the labels [B, P] float32.

    share=False lays every response out alone, prefix repeated: the plain layout that sharing must
    equal. Raises ValueError for a row with too many pairs or tokens, and for a response without
    tokens.
    """
    _refuse_crowded_rows(rows, pairs_per_row, "pairs_per_row")
    bundles = [_bundles_of(pair, share) for pair in pairs]
    arrays = _lay_out_units(bundles, rows, row_length, 2 * pairs_per_row, pad_id)

    real = np.zeros((len(rows), pairs_per_row), bool)
    for r, row in enumerate(rows):
        real[r, : len(row)] = True
    pair_of_place = np.fromiter(itertools.chain.from_iterable(rows), np.int64)
    # With and without sharing, pair p has the slots 2 p and 2 p + 1: only the tokens move.
    first_slots = np.arange(0, 2 * pairs_per_row, 2, dtype=np.int32)
    arrays |= {
        "chosen": first_slots * real,
        "rejected": (first_slots + 1) * real,
        "weight": real.astype(np.float32),
    }
    suffix_lengths = np.array([[*map(len, pair.suffixes)] for pair in pairs]).reshape(-1, 2)
    labels = labels | {
        "chosen_length": suffix_lengths[:, 0],
        "rejected_length": suffix_lengths[:, 1],
    }
    for name, values in labels.items():
        arrays[name] = np.zeros(real.shape, np.float32)
        # `real` is true row by row, from the left: the order in which places were listed above.
        arrays[name][real] = np.asarray(values)[pair_of_place]
    return arrays


def pack_ranked(
    groups: Sequence[TokenGroup],
    ranks: Sequence[np.ndarray],
    rows: Rows,
    row_length: int,
    pairs_per_row: int,
    responses: int,
    pad_id: int,
    share: bool = True,
) -> dict[str, np.ndarray]:
    """The arrays of contract 2 for ranked groups, each group whole in the row that `rows` gives it.

    ranks[g] [K_g]: rank of each response of group g, 0 the best; K_g <= K = responses. Responses
    0 and 1, 2 and 3, ... share the group's prefix.

    Returns, with R = groups_per_row(pairs_per_row, K): tokens positions see_from see_to [B, T],
    score_at [B, S] int32, and for each group K places one after another: ranked [B, R * K] int32
    (slots of score_at, 0 for padding) and ranks [B, R * K] int32 (-1 for padding); weight [B, R]
    float32 (0 for padding).

    share=False lays every response out alone. Raises ValueError for a row with too many groups or
    tokens.
    """
    per_row = groups_per_row(pairs_per_row, responses)
    _refuse_crowded_rows(rows, per_row, "groups per row")
    bundles = [_bundles_of(group, share) for group in groups]
    arrays = _lay_out_units(bundles, rows, row_length, 2 * pairs_per_row, pad_id)

    # Slots are counted off as `lay_out` gives them out: one per branch, in the order of the row.
    shape = len(rows), per_row, responses
    ranked, padded_ranks = np.zeros(shape, np.int32), np.full(shape, -1, np.int32)
    weight = np.zeros(shape[:2], np.float32)
    for r, row in enumerate(rows):
        slot = 0
        for place, g in enumerate(row):
            size = len(ranks[g])
            ranked[r, place, :size] = np.arange(slot, slot + size)
            padded_ranks[r, place, :size] = ranks[g]
            weight[r, place] = 1
            slot += size
    # Two axes, as all arrays of a batch have: sharding, placing and slicing them then need one
    # rule.
    flat = len(rows), per_row * responses
    return arrays | {
        "ranked": ranked.reshape(flat),
        "ranks": padded_ranks.reshape(flat),
        "weight": weight,
    }


def _refuse_crowded_rows(rows: Rows, per_row: int, limit: str) -> None:
    for r, row in enumerate(rows):
        if len(row) > per_row:
            raise ValueError(f"row {r} is given {len(row)} of at most {limit} = {per_row}")


def _bundles_of(group: TokenGroup, share: bool) -> list[Bundle]:
    """A group's responses two by two around its prefix, or each alone."""
    size = 1 + int(share)
    return [
        Bundle(group.prefix, group.suffixes[k : k + size])
        for k in range(0, len(group.suffixes), size)
    ]


def _lay_out_units(
    bundles_of_unit: Sequence[list[Bundle]], rows: Rows, row_length: int, slots: int, pad_id: int
) -> dict[str, np.ndarray]:
    """`lay_out` of rows of units, of which each is several bundles one after another."""
    bundles: list[Bundle] = []
    bundle_rows: Rows = []
    for row in rows:
        first = len(bundles)
        for unit in row:
            bundles += bundles_of_unit[unit]
        bundle_rows.append(list(range(first, len(bundles))))
    return lay_out(bundles, bundle_rows, row_length, slots, pad_id)


# ------------------------------------------------------------------ scoring


def pack_for_scoring(
    groups: Sequence[TokenGroup],
    row_length: int,
    pairs_per_row: int,
    pad_id: int,
    row_multiple: int = 1,
) -> dict[str, np.ndarray]:
    """`pack_groups`, or `pack_trees` where a group has more than two responses and rows are fewer.

    The program for trees looks at every key interval twice, so it has to save something. It does
    not where groups are small beside a row, or neighbors share more than their whole group does.
    """
    # Both are planned, and one is laid out: the plans say how many rows there will be.
    bundled = _in_bundles(groups, row_length, pairs_per_row)
    if any(len(group.suffixes) > 2 for group in groups):
        poured = _in_trees(groups, row_length, pairs_per_row)
        multiples = lambda rows: math.ceil(len(rows) / row_multiple)
        if multiples(poured) < multiples(bundled.rows):
            return _lay_out_trees(groups, poured, row_length, pairs_per_row, pad_id, row_multiple)
    return _lay_out_bundles(bundled, row_length, pairs_per_row, pad_id, row_multiple)


def pack_trees(
    groups: Sequence[TokenGroup],
    row_length: int,
    pairs_per_row: int,
    pad_id: int,
    row_multiple: int = 1,
) -> dict[str, np.ndarray]:
    """Rows that score every response of every group behind its prompt, in few rows (trees.py).

    Returns what `pack_groups` does, and also_from also_to [B, T]: the second interval of keys that
    a token sees. Raises ValueError naming the response that is longer than a row.
    """
    rows = _in_trees(groups, row_length, pairs_per_row)
    return _lay_out_trees(groups, rows, row_length, pairs_per_row, pad_id, row_multiple)


def _in_trees(
    groups: Sequence[TokenGroup], row_length: int, pairs_per_row: int
) -> list[list[trees.Tree]]:
    """Which trees lie in which row."""
    prefixes = [len(group.prefix) for group in groups]
    suffixes = [list(map(len, group.suffixes)) for group in groups]
    return trees.pour(prefixes, suffixes, row_length, 2 * pairs_per_row)


def _lay_out_trees(
    groups: Sequence[TokenGroup],
    rows: Sequence[list[trees.Tree]],
    row_length: int,
    pairs_per_row: int,
    pad_id: int,
    row_multiple: int,
) -> dict[str, np.ndarray]:
    prefixes = [group.prefix for group in groups]
    suffixes = [group.suffixes for group in groups]
    rows = [*rows, *([] for _ in range(-len(rows) % row_multiple))]
    return trees.lay_out(prefixes, suffixes, rows, row_length, 2 * pairs_per_row, pad_id)


def pack_groups(
    groups: Sequence[TokenGroup],
    row_length: int,
    pairs_per_row: int,
    pad_id: int,
    row_multiple: int = 1,
) -> dict[str, np.ndarray]:
    """Rows that score every response of every group, neighbors sharing a bundle, in few rows.

    Returns, with S = 2 * pairs_per_row: tokens positions see_from see_to [B, T], score_at [B, S],
    owner [B, S, 2] int32: the (group, response) that a slot scores, -1 for padding. B is rounded
    up to `row_multiple` with empty rows. Raises ValueError naming the bundle where a single
    response is longer than a row.
    """
    bundled = _in_bundles(groups, row_length, pairs_per_row)
    return _lay_out_bundles(bundled, row_length, pairs_per_row, pad_id, row_multiple)


class _Bundled(NamedTuple):
    """Bundles of responses, the (group, response) of each of theirs, and the rows they lie in."""

    bundles: list[Bundle]
    owners: list[list[tuple[int, int]]]
    rows: Rows


def _in_bundles(groups: Sequence[TokenGroup], row_length: int, pairs_per_row: int) -> _Bundled:
    bundles: list[Bundle] = []
    owners: list[list[tuple[int, int]]] = []
    for g, group in enumerate(groups):
        for bundle, responses in _scoring_bundles(group, row_length):
            bundles.append(bundle)
            owners.append([(g, k) for k in responses])
    # A group may be spread over rows here: no loss has to see its rewards side by side.
    lengths = [bundle_tokens(bundle) for bundle in bundles]
    return _Bundled(bundles, owners, plan_rows(lengths, row_length, pairs_per_row))


def _lay_out_bundles(
    bundled: _Bundled, row_length: int, pairs_per_row: int, pad_id: int, row_multiple: int
) -> dict[str, np.ndarray]:
    bundles, owners, rows = bundled
    rows = [*rows, *([] for _ in range(-len(rows) % row_multiple))]
    arrays = lay_out(bundles, rows, row_length, 2 * pairs_per_row, pad_id)
    owner = np.full((len(rows), 2 * pairs_per_row, 2), -1, np.int32)
    for r, row in enumerate(rows):
        slot = 0
        for b in row:
            owner[r, slot : slot + len(owners[b])] = owners[b]
            slot += len(owners[b])
    return arrays | {"owner": owner}


def _scoring_bundles(group: TokenGroup, row_length: int) -> list[tuple[Bundle, list[int]]]:
    """A group's responses two by two around all that the two share, and which they are."""
    bundles = []
    for k in range(0, len(group.suffixes), 2):
        responses = list(range(k, min(k + 2, len(group.suffixes))))
        if len(responses) == 2:
            pair = Bundle(*take_pair(group, *responses))
            # Scoring takes conversations that are as long as a row: such a response has to lie
            # alone.
            if bundle_tokens(pair) <= row_length:
                bundles.append((pair, responses))
                continue
        bundles += [(Bundle(group.prefix, [group.suffixes[i]]), [i]) for i in responses]
    return bundles
