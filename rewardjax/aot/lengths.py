"""Two kinds of preference data, as lengths: what predictions assume where no data is at hand.

Log-normal token counts with the means given here and sigma 0.8; four tokens of template surround each part. Short prompts are single
questions, long ones several turns of a dialogue.
"""

import functools
from typing import NamedTuple

import numpy as np

from rewardjax.data import pack
from rewardjax.data.pack import TokenGroup

MEANS = {"short": (220, 370, 370), "long": (950, 370, 370)}  # of prompt, chosen, rejected
SIGMA, TEMPLATE = 0.8, 4


def draw(kind: str, pairs: int, seed: int = 0) -> np.ndarray:
    """Lengths [pairs, 3] of shared prefix, chosen and rejected suffix. ValueError for an unknown kind."""
    if kind not in MEANS:
        raise ValueError(f"lengths={kind!r}: choose one of {', '.join(MEANS)}")
    generator = np.random.default_rng(seed)
    parts = [generator.lognormal(np.log(mean) - SIGMA**2 / 2, SIGMA, pairs) for mean in MEANS[kind]]
    return np.stack(parts, axis=1).astype(np.int64) + TEMPLATE


class Packing(NamedTuple):
    """What a pair costs once packed, on average: rows, tokens (a shared prefix once), (query, key) entries that attention needs, and
    entries of the tiles that it computes; and the fill of rows, and live tiles over causal ones."""

    rows: float
    tokens: float
    entries: float
    tile_entries: float
    fill: float
    live_to_causal: float


@functools.cache
def packing(kind: str, row_length: int, pairs_per_row: int, block: int, pairs: int = 2048) -> Packing:
    """Statistics of `pairs` drawn pairs in rows of `row_length`, attention in tiles of block x block; those that outgrow a row are left
    out."""
    lengths = draw(kind, pairs)
    lengths = lengths[pack.bundle_lengths(lengths) <= row_length]
    rows = pack.plan_rows(pack.bundle_lengths(lengths), row_length, pairs_per_row)
    see_from, see_to = intervals(lengths, rows, row_length, pairs_per_row)
    first, last = key_blocks(see_from, see_to, block)
    live, blocks = int(np.sum(last - first + 1)), row_length // block
    n, tokens = len(lengths), int(lengths.sum())
    return Packing(
        rows=len(rows) / n,
        tokens=tokens / n,
        entries=pack.attention_entries(lengths) / n,
        tile_entries=live * block**2 / n,
        fill=tokens / (len(rows) * row_length),
        live_to_causal=live / (len(rows) * blocks * (blocks + 1) / 2),
    )


def intervals(lengths: np.ndarray, rows: pack.Rows, row_length: int, pairs_per_row: int) -> tuple[np.ndarray, np.ndarray]:
    """see_from, see_to [B, T] of pairs of these lengths, as the packer lays them out."""
    zeros = lambda n: np.zeros(n, np.int32)
    pairs = [TokenGroup(zeros(prefix), [zeros(chosen), zeros(rejected)]) for prefix, chosen, rejected in lengths]
    arrays = pack.pack_pairs(pairs, {}, rows, row_length, pairs_per_row, pad_id=0)
    return arrays["see_from"], arrays["see_to"]


def key_blocks(see_from: np.ndarray, see_to: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last block of keys that each block of queries sees."""
    split = lambda x: x.reshape(len(x), -1, block)
    return split(see_from).min(-1) // block, split(see_to).max(-1) // block
