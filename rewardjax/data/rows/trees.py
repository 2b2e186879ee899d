"""Rows of trees, for scoring: a prompt once, and all of its responses behind it.

    index        :  p[0] ... p[m-1] | r1[0] ... r1[n-1]   | r2[0] ... r2[k-1]   | next tree
    positions    :  0    ... m-1    | m     ... m+n-1     | m     ... m+k-1
    sees its own :  [start of p, own] | [start of r1, own] | [start of r2, own]
    sees also    :  nothing         | [p[0], p[m-1]]      | [p[0], p[m-1]]

Where bundles (bundles.py) compute a prompt once for two responses and need one interval per token,
trees compute it once for all and need two. Responses never see each other, so a group may be cut
over rows, each with the prompt again. numpy only, as bundles.py.
"""

import bisect
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rewardjax.data.rows.bundles import TOKEN_ARRAYS

# The ends of the second interval, beside TOKEN_ARRAYS.
ALSO_ARRAYS = ("also_from", "also_to")


class Tree(NamedTuple):
    """The prompt of a group and those of its responses that lie in one row behind it."""

    group: int
    responses: list[int]


class _Row(NamedTuple):
    """A row that has room; ordered by how much."""

    room: int  # tokens
    row: int
    slots: int


def pour(
    prefixes: Sequence[int], suffixes: Sequence[Sequence[int]], row_length: int, slots: int
) -> list[list[Tree]]:
    """Which trees lie in which row; a row holds `row_length` tokens and `slots` responses.

    prefixes: tokens of each group's prompt; suffixes: of each of its responses. The longest group
    comes first. One that fits a row which is begun goes into the fullest such; else as much of it
    as fits goes into the emptiest, if that is worth the prompt that has to be repeated; what is
    left begins a row. Raises ValueError naming the response that is longer than a row.
    """
    rows: list[list[Tree]] = []
    begun: list[_Row] = []
    totals = [prefix + sum(own) for prefix, own in zip(prefixes, suffixes, strict=True)]
    for g in np.argsort(-np.array(totals, np.int64), kind="stable").tolist():
        prefix, own = prefixes[g], suffixes[g]
        # The longest first: short ones fill what is left of a row.
        left = sorted(range(len(own)), key=lambda k: -own[k])
        if left and prefix + own[left[0]] > row_length:
            raise ValueError(
                f"response {left[0]} of group {g} is {prefix + own[left[0]]} tokens long with its "
                f"prompt, a row holds {row_length}: raise row_length or lower max_length"
            )
        while left:
            at = _fullest_that_holds(begun, prefix + sum(own[k] for k in left), len(left))
            if at is None and begun:
                at = len(begun) - 1
                fitting = _fitting(left, own, begun[at].room - prefix, begun[at].slots)
                # Whole trees alone would leave up to 38 % padding; even cuts are worse still.
                if not fitting or sum(own[k] for k in fitting) < prefix:
                    at = None
            if at is None:
                row = _Row(row_length, len(rows), slots)
                rows.append([])
            else:
                row = begun.pop(at)
            taken = _fitting(left, own, row.room - prefix, row.slots)
            rows[row.row].append(Tree(g, sorted(taken)))
            left = [k for k in left if k not in taken]
            room = row.room - prefix - sum(own[k] for k in taken)
            if room and row.slots > len(taken):
                bisect.insort(begun, _Row(room, row.row, row.slots - len(taken)))
    return rows


def _fullest_that_holds(begun: list[_Row], tokens: int, responses: int) -> int | None:
    for at in range(bisect.bisect_left(begun, (tokens,)), len(begun)):
        if begun[at].slots >= responses:
            return at
    return None


def _fitting(left: Sequence[int], lengths: Sequence[int], room: int, slots: int) -> list[int]:
    """The responses that fit together, each taken in turn where there is still room for it."""
    taken: list[int] = []
    for k in left:
        if lengths[k] <= room and len(taken) < slots:
            taken.append(k)
            room -= lengths[k]
    return taken


def lay_out(
    prefixes: Sequence[np.ndarray],
    suffixes: Sequence[Sequence[np.ndarray]],
    rows: Sequence[Sequence[Tree]],
    row_length: int,
    slots: int,
    pad_id: int,
) -> dict[str, np.ndarray]:
    """The rows that `pour` planned: TOKEN_ARRAYS and ALSO_ARRAYS [B, T], and `score_at` [B, S].

    All int32; B = len(rows), T = row_length, S = slots. Also `owner` [B, S, 2] int32, the (group,
    response) that a slot scores, -1 for padding. Raises ValueError for a response without tokens
    to score.
    """
    shape = len(rows), row_length
    tokens, own = np.full(shape, pad_id, np.int32), np.arange(row_length, dtype=np.int32)
    see_from, see_to = np.tile(own, (len(rows), 1)), np.tile(own, (len(rows), 1))
    # Nothing: the ends that are neutral where a kernel looks for the least and the greatest.
    also_from, also_to = np.full(shape, row_length - 1, np.int32), np.zeros(shape, np.int32)
    score_at = np.zeros((len(rows), slots), np.int32)
    owner = np.full((len(rows), slots, 2), -1, np.int32)
    for r, row in enumerate(rows):
        at = slot = 0
        for tree in row:
            prefix, start, end = prefixes[tree.group], at, at + len(prefixes[tree.group])
            tokens[r, start:end], see_from[r, start:end] = prefix, start
            at = end
            for k in tree.responses:
                suffix = suffixes[tree.group][k]
                if not len(prefix) and not len(suffix):
                    raise ValueError(
                        f"response {k} of group {tree.group} has no tokens: nothing to score"
                    )
                branch = slice(at, at + len(suffix))
                tokens[r, branch], see_from[r, branch] = suffix, at
                if len(prefix):
                    also_from[r, branch], also_to[r, branch] = start, end - 1
                # A response without tokens of its own ends where the prompt does.
                score_at[r, slot] = end - 1
                if len(suffix):
                    score_at[r, slot] = branch.stop - 1
                owner[r, slot] = tree.group, k
                at, slot = branch.stop, slot + 1
    # A token sees its whole past and itself, so its position is how many it sees, less one.
    positions = see_to - see_from + np.maximum(also_to - also_from + 1, 0)
    arrays = tokens, positions, see_from, see_to, also_from, also_to
    named = dict(zip((*TOKEN_ARRAYS, *ALSO_ARRAYS), arrays, strict=True))
    return named | {"score_at": score_at, "owner": owner}
