"""Rows of tokens (contract 2): bundles of branches around a prefix, one key interval per token.

    index      :  c[n-1] ... c[0] | p[0] ... p[m-1] | r[0] ... r[k-1]
    positions  :  m+n-1  ...  m   | 0    ... m-1    | m    ... m+k-1
    query sees :  [own, end of p] | [start of p, own] | [start of p, own]

    c: first branch, reversed; p: prefix; r: second branch

Reversing the first branch puts the prefix next to both branches, so that "the prefix and my own
branch so far" is an interval for either. A lone branch is the second one of a bundle whose first
is empty. numpy only: this runs in the data loader's threads.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Rows = list[list[int]]  # for each row the items that it holds, in order

# The arrays [B, T] that say what a row's tokens are and see.
TOKEN_ARRAYS = ("tokens", "positions", "see_from", "see_to")


class Bundle(NamedTuple):
    """Token ids that lie together in a row: a prefix, and one or two branches going on from it."""

    prefix: np.ndarray
    branches: Sequence[np.ndarray]


def bundle_tokens(bundle: Bundle) -> int:
    """Tokens that a bundle takes in a row."""
    return len(bundle.prefix) + sum(map(len, bundle.branches))


def lay_out(
    bundles: Sequence[Bundle], rows: Rows, row_length: int, slots: int, pad_id: int
) -> dict[str, np.ndarray]:
    """Write bundles into rows: TOKEN_ARRAYS [B, T] and `score_at` [B, S], all int32.

    B = len(rows), T = row_length, S = slots. A bundle takes as many slots of `score_at` as it has
    branches, in their order. Raises ValueError for a row with too many tokens and for a branch
    without tokens to score.
    """
    padding = np.full(row_length, pad_id, np.int32)
    # One large block is handed out in huge pages; four smaller ones cost more in page faults than
    # all below.
    arrays = np.empty((len(TOKEN_ARRAYS), len(rows), row_length), np.int32)
    tokens, positions, see_from, see_to = arrays
    # Every token starts out seeing only itself: right for padding, half right for the rest, so
    # that one constant on either side of a bundle is all that its intervals cost.
    see_from[:] = see_to[:] = np.arange(row_length, dtype=np.int32)
    score_at = np.zeros((len(rows), slots), np.int32)
    # Tokens are collected as slices and copied in one go: numpy's cost per call would dominate.
    pieces: list[np.ndarray] = []
    for r, row in enumerate(rows):
        start, ends = 0, []
        for b in row:
            prefix, branches = bundles[b]
            second = branches[-1]
            first = second[:0]
            if len(branches) == 2:
                first = branches[0]
            prefix_start = start + len(first)
            second_start = prefix_start + len(prefix)
            end = second_start + len(second)
            if end > row_length:
                raise ValueError(
                    f"row {r} is given more than row_length = {row_length} tokens: "
                    f"bundle {b} would end at {end}"
                )
            if not len(prefix) and not all(map(len, branches)):
                raise ValueError(f"bundle {b} has a response without tokens: nothing to score")
            pieces += first[::-1], prefix, second
            see_to[r, start:prefix_start] = second_start - 1
            see_from[r, prefix_start:end] = prefix_start
            if len(branches) == 2:
                ends.append(start)
                # An empty branch ends where the prefix does.
                if not len(first):
                    ends[-1] = second_start - 1
            ends.append(end - 1)
            start = end
        pieces.append(padding[start:])
        score_at[r, : len(ends)] = ends
    if rows:
        np.concatenate(pieces, out=tokens.reshape(-1))
    # A token sees its whole past and itself, so its position is the length of its interval less
    # one.
    np.subtract(see_to, see_from, out=positions)
    return dict(zip(TOKEN_ARRAYS, arrays, strict=True)) | {"score_at": score_at}
