"""Two kinds of preference data, as lengths: what predictions assume where no data is at hand.

Log-normal token counts. Short prompts are single questions, as in UltraFeedback, long ones several
turns of a dialogue.
"""

import functools
from typing import NamedTuple

import numpy as np

from rewardjax.data import pack
from rewardjax.data.pack import TokenGroup
from rewardjax.kernels.tiles import key_blocks

# Mean prompt, mean response, and the standard deviations of their logarithms.
DISTRIBUTIONS = {"short": (220, 370, 0.8, 0.7), "long": (950, 370, 0.8, 0.6)}


def draw(kind: str, pairs: int, seed: int = 0) -> np.ndarray:
    """Lengths [pairs, 3] of shared prefix, chosen and rejected suffix.

    Raises ValueError for an unknown kind.
    """
    if kind not in DISTRIBUTIONS:
        raise ValueError(f"lengths={kind!r}: choose one of {', '.join(DISTRIBUTIONS)}")
    prompt, response, prompt_spread, response_spread = DISTRIBUTIONS[kind]
    generator = np.random.default_rng(seed)
    parts = [(prompt, prompt_spread), (response, response_spread), (response, response_spread)]
    # The mean of a log-normal is exp(mu + sigma^2 / 2); mu is chosen so that it is the one above.
    drawn = [
        generator.lognormal(np.log(mean) - spread**2 / 2, spread, pairs) for mean, spread in parts
    ]
    return np.rint(np.stack(drawn, axis=1)).astype(np.int64).clip(1)


class Packing(NamedTuple):
    """What a pair costs once packed, on average.

    Rows, tokens (a shared prefix once), (query, key) entries that attention needs, and entries of
    the tiles that it computes; and the fill of rows, and live tiles over causal ones.
    """

    rows: float
    tokens: float
    entries: float
    tile_entries: float
    fill: float
    live_to_causal: float


@functools.cache
def packing(
    kind: str, row_length: int, pairs_per_row: int, block: int, pairs: int = 2048
) -> Packing:
    """Statistics of `pairs` drawn pairs in rows of `row_length`.

    Attention is in tiles of block x block. Pairs that outgrow a row are left out.
    """
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


def intervals(
    lengths: np.ndarray, rows: pack.Rows, row_length: int, pairs_per_row: int
) -> tuple[np.ndarray, np.ndarray]:
    """see_from, see_to [B, T] of pairs of these lengths, as the packer lays them out."""
    # By the packer itself: a second layout of rows, however short, would drift from it.
    zeros = lambda n: np.zeros(n, np.int32)
    pairs = [
        TokenGroup(zeros(prefix), [zeros(chosen), zeros(rejected)])
        for prefix, chosen, rejected in lengths
    ]
    arrays = pack.pack_pairs(pairs, {}, rows, row_length, pairs_per_row, pad_id=0)
    return arrays["see_from"], arrays["see_to"]
