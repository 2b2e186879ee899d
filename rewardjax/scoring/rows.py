"""Token groups in, rewards out: the one way a reward is computed outside of training.

Held-out evaluation, golden conversations, the score command and the notebook all come through here,
so that they agree.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils

from rewardjax.data import pack
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import Message
from rewardjax.data.pack import TokenGroup
from rewardjax.parallel.mesh import Layout, place, row_share

ScoreRows = Callable[[Any, dict[str, jax.Array]], jax.Array]

WINDOW = 512  # groups packed together: enough for well-filled rows, few enough to start at once


def make_score_rows(graph: nnx.GraphDef) -> ScoreRows:
    """The jitted (params, packed rows) -> rewards [B, S] float32 of the model of `graph`."""

    @jax.jit
    def score_rows(params: Any, rows: dict[str, jax.Array]) -> jax.Array:
        # Rows of trees have two arrays more, and so a program of their own.
        return nnx.merge(graph, params)(**rows)

    return score_rows


def score_groups(
    score_rows: ScoreRows,
    params: Any,
    groups: Sequence[TokenGroup],
    *,
    row_length: int,
    rows: int,
    pairs_per_row: int,
    pad_id: int,
    layout: Layout,
    advance: Callable[[int], Any] = lambda groups: None,
) -> list[np.ndarray]:
    """Rewards of every response of `groups`: one float32 array [K] each, in order.

    They are [K, ...] where `score_rows` gives [B, S, ...]. `rows` packed rows of `row_length`
    tokens are scored at a time, over all processes; every process gets all rewards. `advance` is
    told how many groups each window finished, for a progress bar.
    """
    rewards: list[np.ndarray] = []
    for first in range(0, len(groups), WINDOW):
        window = groups[first : first + WINDOW]
        packed = pack.pack_for_scoring(window, row_length, pairs_per_row, pad_id, rows)
        owner = packed.pop("owner")
        # All are dispatched before the first is fetched, so that the devices never wait for the
        # host.
        on_device = [
            score_rows(params, place(batch, layout))
            for batch in _local_batches(packed, rows, layout)
        ]
        rewards_BS = np.concatenate([_fetch(x_BS) for x_BS in on_device])
        # NaN, not zero: a response that no slot belongs to must not pass for a scored one.
        rewards += [
            np.full((len(group.suffixes), *rewards_BS.shape[2:]), np.nan, np.float32)
            for group in window
        ]
        # owner [B, S, 2]: group and response of each slot, -1 where it is empty.
        for row, slot in zip(*np.nonzero(owner[..., 0] >= 0), strict=True):
            group, response = owner[row, slot]
            rewards[first + group][response] = rewards_BS[row, slot]
        advance(len(window))
    return rewards


def score_conversations(
    score: Callable[[Any, list[TokenGroup]], list[np.ndarray]],
    params: Any,
    tokenizer: ChatTokenizer,
    conversations: Sequence[list[Message]],
) -> np.ndarray:
    """Rewards [n] of whole conversations, the last message of each being the response.

    `score` is `score_groups` with its settings.
    """
    # No prefix: alone in its group, a conversation shares nothing with another.
    no_prefix = np.array([], np.int32)
    groups = [
        TokenGroup(no_prefix, [np.array(tokenizer.encode(messages), np.int32)])
        for messages in conversations
    ]
    return np.concatenate(score(params, groups))


def _local_batches(
    packed: dict[str, np.ndarray], rows: int, layout: Layout
) -> Iterator[dict[str, np.ndarray]]:
    """This process's contiguous share of each batch of `rows` rows."""
    index, count = row_share(layout)
    share = rows // count
    for first in range(0, len(packed["tokens"]), rows):
        mine = first + share * index
        yield {name: array[mine : mine + share] for name, array in packed.items()}


def _fetch(x: jax.Array) -> np.ndarray:
    """An array on this host, gathered from the others where they hold parts of it."""
    if x.is_fully_addressable:
        return np.asarray(x)
    return np.asarray(multihost_utils.process_allgather(x, tiled=True))
