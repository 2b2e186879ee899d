"""The shape of the rows that some groups are scored in: few shapes, since each is a program."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from rewardjax.data.pack import TokenGroup
from rewardjax.kernels.splash import LONGEST_ROW

# Shorter rows would fill a device no better, and each length is a program of its own to compile.
SHORTEST_ROW = 512
# A row has room for one pair of responses per so many tokens: more than real conversations need.
TOKENS_PER_PAIR = 32


class RowShape(NamedTuple):
    """Arguments of `rows.score_groups`; `rows` are scored at a time, over all devices."""

    row_length: int
    rows: int
    pairs_per_row: int


def of_groups(groups: Sequence[TokenGroup], tokens_per_device: int, shards: int) -> RowShape:
    """Rows that are just long enough, no more of them at a time than the groups fill.

    Long enough for the longest response, and where a device's tokens allow it for the longest group
    whole. shards: devices that have rows of their own.
    """
    # Powers of two, so that few programs are compiled.
    longest = _power_of_two(max(map(_longest_conversation, groups), default=0))
    whole = _power_of_two(max(map(_whole, groups), default=0))
    row_length = max(SHORTEST_ROW, longest, min(whole, tokens_per_device, LONGEST_ROW))
    tokens = sum(map(_whole, groups))
    rows_per_device = min(
        max(1, tokens_per_device // row_length), _power_of_two(tokens / row_length / shards)
    )
    pairs_per_row = _pairs_per_row(groups, tokens, row_length)
    return RowShape(row_length, shards * rows_per_device, pairs_per_row)


def _pairs_per_row(groups: Sequence[TokenGroup], tokens: int, row_length: int) -> int:
    most = row_length // TOKENS_PER_PAIR
    if all(len(group.suffixes) <= 2 for group in groups):
        return most
    # In the last layer each slot has scores of a whole row: in rows of 16,384 tokens the most
    # slots would cost 64 MiB a head. Half as many again as a row has on average.
    responses = sum(len(group.suffixes) for group in groups)
    pairs = _power_of_two(1.5 * responses * row_length / tokens / 2)
    return min(most, max(pairs, SHORTEST_ROW // TOKENS_PER_PAIR))


def _power_of_two(n: float) -> int:
    """The smallest power of two that is at least `n`."""
    return 1 << max(0, math.ceil(n) - 1).bit_length()


def _longest_conversation(group: TokenGroup) -> int:
    return len(group.prefix) + max(map(len, group.suffixes), default=0)


def _whole(group: TokenGroup) -> int:
    """Tokens of a group, its prompt once."""
    return len(group.prefix) + sum(map(len, group.suffixes))
