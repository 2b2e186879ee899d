"""Packed rows (contract 2): bundles of one or two responses around a shared prefix, each token seeing one interval of keys.

    index      :  c[n-1] ... c[0] | p[0] ... p[m-1] | r[0] ... r[k-1]     c: first response, reversed; p: shared prefix; r: second response
    positions  :  m+n-1  ...  m   | 0    ... m-1    | m    ... m+k-1
    query sees :  [own, end of p] | [start of p, own] | [start of p, own]

Reversing the first branch puts the prefix next to both branches, so that "the prefix and my own branch so far" is an interval for either.
A lone response is a bundle whose first branch is empty. numpy only: this runs in the data loader's threads.
"""

import bisect
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Rows = list[list[int]]  # for each row the items it holds, in order


class TokenGroup(NamedTuple):
    """Token ids of one prompt's K responses: conversation k is `prefix` ++ `suffixes[k]`, prefix the longest common one of all K."""

    prefix: np.ndarray
    suffixes: list[np.ndarray]


def common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    """Number of leading tokens that two sequences share."""
    shorter = min(len(a), len(b))
    differ = a[:shorter] != b[:shorter]
    return int(differ.argmax()) if differ.any() else shorter


def take_pair(group: TokenGroup, i: int, j: int) -> TokenGroup:
    """Responses i and j alone: two responses may share more than all K do, and what they share moves into the prefix."""
    a, b = group.suffixes[i], group.suffixes[j]
    shared = common_prefix(a, b)
    prefix = np.concatenate([group.prefix, a[:shared]]) if shared else group.prefix
    return TokenGroup(prefix, [a[shared:], b[shared:]])


def plan_rows(lengths: Sequence[int] | np.ndarray, row_length: int, per_row: int) -> Rows:
    """Best-fit decreasing: the longest item first, each into the fullest row that still has room, ties to the earliest.

    lengths [n] in tokens; a row holds at most `row_length` tokens and `per_row` items. Depends on the arguments alone.
    Raises ValueError naming the first item that is longer than a row.
    """
    lengths = np.asarray(lengths, np.int64)
    if (lengths > row_length).any():
        item = int((lengths > row_length).argmax())
        raise ValueError(
            f"item {item} is {lengths[item]} tokens long, a row holds {row_length}: raise row_length or lower max_length"
        )
    rows: Rows = []
    open_rows: list[int] = []  # sorted; room << 32 | row in one int compares faster than a tuple
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
    """Tokens each pair takes in a row, from lengths [n, 3] = (shared prefix, chosen suffix, rejected suffix)."""
    return lengths @ np.array([1 if share else 2, 1, 1], lengths.dtype)


def attention_entries(lengths: np.ndarray) -> int:
    """(query, key) pairs that see each other in shared bundles, from lengths [n, 3] as above: what attention has to compute."""
    prefix, chosen, rejected = np.asarray(lengths, np.int64).T
    triangle = lambda n: n * (n + 1) // 2
    return int(
        np.sum(
            triangle(prefix) + triangle(chosen) + triangle(rejected) + prefix * (chosen + rejected)
        )
    )


def pack_pairs(
    pairs: Sequence[TokenGroup],
    labels: dict[str, np.ndarray],
    rows: Rows,
    row_length: int,
    pairs_per_row: int,
    pad_id: int,
    share: bool = True,
) -> dict[str, np.ndarray]:
    """The arrays of contract 2 for labeled pairs, each pair in the row that `rows` gives it; an empty row is all padding.

    pairs: two suffixes each, chosen then rejected; labels: name -> [len(pairs)], each an output of its own (target, margin, tie).
    Returns, with B = len(rows), T = row_length, P = pairs_per_row, S = 2 * P: tokens positions see_from see_to [B, T], score_at [B, S],
    chosen rejected [B, P] int32, weight and the labels [B, P] float32 (0 for padding), pair [B, P] int32 (index into `pairs`, or -1).
    share=False lays every response out alone, prefix repeated: the plain layout that sharing must equal.
    Raises ValueError for a row with too many pairs or tokens, and for a response without tokens.
    """
    for r, row in enumerate(rows):
        if len(row) > pairs_per_row:
            raise ValueError(f"row {r} is given {len(row)} pairs, pairs_per_row = {pairs_per_row}")
    if share:
        arrays = _lay_out(pairs, rows, row_length, 2 * pairs_per_row, pad_id)
    else:
        alone = [TokenGroup(pair.prefix, [suffix]) for pair in pairs for suffix in pair.suffixes]
        arrays = _lay_out(
            alone,
            [[b for i in row for b in (2 * i, 2 * i + 1)] for row in rows],
            row_length,
            2 * pairs_per_row,
            pad_id,
        )
    pair = np.full((len(rows), pairs_per_row), -1, np.int32)
    for r, row in enumerate(rows):
        pair[r, : len(row)] = row
    real = pair >= 0
    first_slots = np.arange(0, 2 * pairs_per_row, 2, dtype=np.int32)
    arrays |= {
        "chosen": first_slots * real,
        "rejected": (first_slots + 1) * real,
        "weight": real.astype(np.float32),
        "pair": pair,
    }
    for name, values in labels.items():
        arrays[name] = np.zeros(pair.shape, np.float32)
        arrays[name][real] = np.asarray(values)[pair[real]]
    return arrays


def pack_groups(
    groups: Sequence[TokenGroup],
    row_length: int,
    bundles_per_row: int,
    pad_id: int,
    row_multiple: int = 1,
) -> dict[str, np.ndarray]:
    """Rows that score every response of every group, neighbors sharing a bundle, in as few rows as best-fit finds.

    Returns, with S = 2 * bundles_per_row: tokens positions see_from see_to [B, T], score_at [B, S], owner [B, S, 2] int32: the
    (group, response) that a slot scores, -1 for padding. B is rounded up to `row_multiple` with empty rows.
    Raises ValueError naming the bundle where a single response is longer than a row.
    """
    bundles, owners = _bundles(groups, row_length)
    rows = plan_rows([_length(bundle) for bundle in bundles], row_length, bundles_per_row)
    rows += [[] for _ in range(-len(rows) % row_multiple)]
    arrays = _lay_out(bundles, rows, row_length, 2 * bundles_per_row, pad_id)
    return arrays | {"owner": _owner(owners, rows, 2 * bundles_per_row)}


def pack_ranked(
    groups: Sequence[TokenGroup],
    orders: Sequence[Sequence[int]],
    row_length: int,
    groups_per_row: int,
    responses: int,
    pad_id: int,
) -> dict[str, np.ndarray]:
    """`pack_groups` for listwise losses: all of a group lies in one row, and `ranked` lists its slots from best to worst.

    orders[g]: the responses of group g, best first, at most `responses` of them. Returns `pack_groups`' arrays with
    S = 2 * groups_per_row * ceil(responses / 2), and ranked [B, groups_per_row, responses] int32, -1 for padding.
    """
    groups = [
        TokenGroup(group.prefix, [group.suffixes[k] for k in order])
        for group, order in zip(groups, orders, strict=True)
    ]
    for g, group in enumerate(groups):
        if len(group.suffixes) > responses:
            raise ValueError(
                f"group {g} ranks {len(group.suffixes)} responses, responses = {responses}"
            )
    bundles, owners = _bundles(groups, row_length)
    members: list[list[int]] = [[] for _ in groups]
    for b, owner in enumerate(owners):
        members[owner[0][0]].append(b)
    group_rows = plan_rows(
        [sum(_length(bundles[b]) for b in member) for member in members], row_length, groups_per_row
    )
    rows = [[b for g in row for b in members[g]] for row in group_rows]
    slots = 2 * groups_per_row * -(-responses // 2)
    owner = _owner(owners, rows, slots)
    ranked = np.full((len(rows), groups_per_row, responses), -1, np.int32)
    for r, row in enumerate(group_rows):
        for place, g in enumerate(
            row
        ):  # responses were put in rank order above, so a group's slots already run from best to worst
            own = np.flatnonzero(owner[r, :, 0] == g)
            ranked[r, place, : len(own)] = own
            owner[r, own, 1] = orders[g]
    return _lay_out(bundles, rows, row_length, slots, pad_id) | {"owner": owner, "ranked": ranked}


def _bundles(
    groups: Sequence[TokenGroup], row_length: int
) -> tuple[list[TokenGroup], list[list[tuple[int, int]]]]:
    """Responses 0 and 1, 2 and 3, ... of each group as bundles, and the (group, response) of each bundle's scores.
    Two neighbors that together outgrow a row lie alone."""
    bundles, owners = [], []
    for g, group in enumerate(groups):
        for k in range(0, len(group.suffixes), 2):
            neighbors = range(k, min(k + 2, len(group.suffixes)))
            pair = take_pair(group, *neighbors) if len(neighbors) == 2 else None
            if pair is not None and _length(pair) <= row_length:
                bundles.append(pair)
                owners.append([(g, i) for i in neighbors])
            else:
                bundles += [TokenGroup(group.prefix, [group.suffixes[i]]) for i in neighbors]
                owners += [[(g, i)] for i in neighbors]
    return bundles, owners


def _length(bundle: TokenGroup) -> int:
    return len(bundle.prefix) + sum(map(len, bundle.suffixes))


def _owner(owners: list[list[tuple[int, int]]], rows: Rows, slots: int) -> np.ndarray:
    owner = np.full((len(rows), slots, 2), -1, np.int32)
    for r, row in enumerate(rows):
        flat = [response for b in row for response in owners[b]]
        owner[r, : len(flat)] = np.reshape(flat, (-1, 2))
    return owner


def _lay_out(
    bundles: Sequence[TokenGroup], rows: Rows, row_length: int, slots: int, pad_id: int
) -> dict[str, np.ndarray]:
    """Writes bundles of one or two suffixes into rows. A bundle takes as many slots of `score_at` as it has suffixes, in their order.

    Few operations a bundle: its tokens are collected as slices and copied in one go, its intervals, in which every token starts out seeing
    only itself (right for padding, half right for the rest), get one constant on either side, and a position is the length of an interval.
    """
    padding = np.full(row_length, pad_id, np.int32)
    # One large block is handed out in huge pages; four smaller ones would cost more in page faults than everything below.
    tokens, positions, see_from, see_to = arrays = np.empty((4, len(rows), row_length), np.int32)
    see_from[:] = see_to[:] = np.arange(row_length, dtype=np.int32)
    score_at = np.zeros((len(rows), slots), np.int32)
    pieces = []
    for r, row in enumerate(rows):
        start, scores, from_row, to_row = 0, [], see_from[r], see_to[r]
        for b in row:
            prefix, suffixes = bundles[b]
            both, second = len(suffixes) == 2, suffixes[-1]
            first = suffixes[0] if both else second[:0]
            p = start + len(first)  # the prefix starts here
            s = p + len(prefix)  # the second branch starts here
            end = s + len(second)
            if end > row_length:
                raise ValueError(
                    f"row {r} is given more than row_length = {row_length} tokens: bundle {b} would end at {end}"
                )
            if s == p and not all(map(len, suffixes)):
                raise ValueError(f"bundle {b} has a response without tokens: nothing to score")
            pieces += first[::-1], prefix, second
            to_row[start:p] = s - 1
            from_row[p:end] = p
            if both:
                scores.append(
                    start if p > start else s - 1
                )  # an empty branch ends where the prefix does
            scores.append(end - 1)
            start = end
        pieces.append(padding[start:])
        score_at[r, : len(scores)] = scores
    if rows:
        np.concatenate(pieces, out=tokens.reshape(-1))
    np.subtract(see_to, see_from, out=positions)
    return dict(zip(("tokens", "positions", "see_from", "see_to"), arrays, strict=True)) | {
        "score_at": score_at
    }
