"""From conversations to the arrays of a pretraining step. B rows of T tokens."""

from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from rewardjax.data.world.corpus import Turn, documents

# Conversations drawn per 256 tokens of a row: a little more than fit, so that rows are full.
DOCUMENTS_PER_ROW = 4.8
# Roles and marks are nearly always the same; the loss should be about the rest.
MARKUP_WEIGHT = 0.1
# In the array `wrong`: not part of an answer, or nobody can say yet.
UNKNOWN = -1


class Encoded(NamedTuple):
    """A conversation in the chat format; three lists of the same length.

    weights: of each token in the loss, `verdict` for the first of a message, `weight` for the rest.
    wrong: whether the answer that the token belongs to has gone wrong by then, 1 or 0, or UNKNOWN.
    """

    ids: list[int]
    weights: list[float]
    wrong: list[int]


def encode(tokenizer: Tokenizer, turns: list[Turn]) -> Encoded:
    """Tokens of a conversation with what the two losses are about."""
    start, end = _mark(tokenizer, "<|im_start|>"), _mark(tokenizer, "<|im_end|>")
    newline = tokenizer.encode("\n").ids
    encoded = Encoded([], [], [])
    for turn in turns:
        header = [start, *tokenizer.encode(turn.role).ids, *newline]
        content = tokenizer.encode(turn.content).ids
        encoded.ids.extend([*header, *content, end, *newline])

        encoded.weights.extend([MARKUP_WEIGHT] * len(header))
        # The end of the message is part of it: stopping has to be learned too.
        encoded.weights.extend([turn.verdict] + [turn.weight] * len(content))
        encoded.weights.extend([MARKUP_WEIGHT] * len(newline))

        encoded.wrong.extend([UNKNOWN] * len(header))
        encoded.wrong.extend(_wrong_by_then(content, turn, tokenizer))
        encoded.wrong.extend([_wrong_at_the_end(turn)] * (1 + len(newline)))
    return encoded


def _mark(tokenizer: Tokenizer, token: str) -> int:
    id = tokenizer.token_to_id(token)
    if id is None:
        raise ValueError(
            f"the tokenizer has no {token}: train it by `pretrain_world tokenizer` into this folder"
        )
    return id


def _wrong_by_then(content: list[int], turn: Turn, tokenizer: Tokenizer) -> list[int]:
    """For each token of a message: 1 from where it leaves its right twin, 0 before.

    UNKNOWN where the turn has no twin.
    """
    if turn.twin is None:
        return [UNKNOWN] * len(content)
    twin = tokenizer.encode(turn.twin).ids
    shared = min(len(content), len(twin))
    for i in range(shared):
        if content[i] != twin[i]:
            shared = i
            break
    return [int(i >= shared) for i in range(len(content))]


def _wrong_at_the_end(turn: Turn) -> int:
    if turn.correct is None:
        return UNKNOWN
    return int(not turn.correct)


def make_batch(
    tokenizer: Tokenizer,
    seed: int,
    step: int,
    rows: int,
    length: int,
    repeat: float,
    tasks: tuple[str, ...],
) -> dict[str, np.ndarray]:
    """Step `step`'s arrays [B, T], B = rows, T = length: conversations that see only themselves.

    tokens, positions, see_from, see_to: as the decoder takes them. weights: of the next-token loss.
    wrong: of the probe, UNKNOWN where it has no say.

    The longest conversation goes first, each into the first row with room, and those that fit
    nowhere are left out. `data.pack.plan_rows` opens as many rows as it needs; here their number is
    fixed, and the corpus has no end, so nothing is lost by dropping one.
    """
    num = int(rows * length / 256 * DOCUMENTS_PER_ROW)
    conversations = [
        encode(tokenizer, turns) for turns in documents(seed, num, step * num, repeat, tasks)
    ]
    batch = _empty_batch(rows, length)
    used = np.zeros(rows, int)  # [B] tokens
    for encoded in sorted(conversations, key=lambda encoded: -len(encoded.ids)):
        size = len(encoded.ids)
        with_room = np.flatnonzero(used + size <= length)
        if not with_room.size:
            continue
        row = with_room[0]
        here = slice(used[row], used[row] + size)
        batch["tokens"][row, here] = encoded.ids
        batch["positions"][row, here] = np.arange(size)
        batch["see_from"][row, here] = used[row]
        batch["weights"][row, here] = encoded.weights
        batch["wrong"][row, here] = encoded.wrong
        used[row] += size
    # Nothing comes before a conversation's first token, so nothing can predict it.
    batch["weights"][batch["positions"] == 0] = 0.0
    return batch


def _empty_batch(rows: int, length: int) -> dict[str, np.ndarray]:
    """All padding: each token sees itself alone and counts in no loss."""
    shape = (rows, length)
    own_place = np.tile(np.arange(length, dtype=np.int32), (rows, 1))
    return {
        "tokens": np.zeros(shape, np.int32),
        "positions": np.zeros(shape, np.int32),
        "see_from": own_place,
        "see_to": own_place.copy(),
        "weights": np.zeros(shape, np.float32),
        "wrong": np.full(shape, UNKNOWN, np.int32),
    }
