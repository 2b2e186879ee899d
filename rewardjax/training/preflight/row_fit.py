"""How long and how many packed rows a micro-batch has, where a config leaves that to the data.

Rows that are far longer than the pairs of a step fill are computed for nothing: 64 pairs of 70
tokens are 4,500 tokens, and 8 rows of 4,096 are 32,768 slots.
"""

import copy
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rewardjax.config import Config
from rewardjax.data import pipeline
from rewardjax.data.pack import plan_rows
from rewardjax.data.plan import step_pairs
from rewardjax.data.ranked import RankedGroups
from rewardjax.data.token_cache import TokenizedPairs

FIELDS = ("row_length", "rows", "pairs_per_row")
# The most slots of a micro-batch, over all devices, where their memory allows it (row_memory.py).
MOST_SLOTS = 32_768
LONGEST_ROW = 4_096  # that is tried where no pair needs a longer one
# Attention works on tiles of as many tokens.
TILE = 128
# Steps whose rows are planned to see how many they need: those of a small run, and a sample of a
# large one. Of large steps fewer, each of which is a sample already: a start must not wait for it.
TRIED_STEPS, TRIED_PAIRS = 64, 16_384
MOST_PAIRS_PER_ROW = 256


class Fit(NamedTuple):
    """Rows of a micro-batch, and the slots that a step takes with them on average."""

    row_length: int
    rows: int
    pairs_per_row: int
    slots: float


def fitted(
    config: Config,
    data: TokenizedPairs | RankedGroups,
    longest: int,
    total_steps: int,
    shards: int,
    most_slots: int = MOST_SLOTS,
) -> Config:
    """The config with a number in each field of FIELDS: as given, or as the data need it.

    Of rows of several lengths those are taken whose steps have the fewest slots. It depends on
    the arguments alone, so that all hosts come to the same.

    Args:
        config: of a run; `batch.row_length` and its like may be None.
        data: what is trained on.
        longest: tokens of what else must fit a row.
        total_steps: of the run.
        shards: parts into which the mesh divides the rows of a micro-batch.
        most_slots: of a micro-batch, unless that is less than a row for each shard.
    """
    batch = config.batch
    if all(batch[name] is not None for name in FIELDS):
        return config
    tokens = _tokens(config, data)
    longest = max(longest, int(tokens.max()))
    lengths = [batch.row_length]
    if batch.row_length is None:
        lengths = row_lengths(longest)
    steps = _steps(config, len(tokens), total_steps)
    fits = [fit(config, tokens, steps, length, shards, most_slots) for length in lengths]
    best = min(fits, key=lambda each: (each.slots, each.row_length))
    config = copy.deepcopy(config)
    for name in FIELDS:
        config.batch[name] = getattr(best, name)
    return config


def row_lengths(longest: int) -> list[int]:
    """Lengths of a row that are worth a try where the longest pair has `longest` tokens."""
    shortest = TILE * math.ceil(longest / TILE)
    lengths = {shortest}
    power = 2 ** math.ceil(math.log2(shortest))
    while power <= max(LONGEST_ROW, shortest):
        lengths.add(power)
        power *= 2
    return sorted(lengths)


def fit(
    config: Config,
    tokens: np.ndarray,
    steps: Sequence[np.ndarray],
    row_length: int,
    shards: int,
    most_slots: int = MOST_SLOTS,
) -> Fit:
    """The rows of one length: as few micro-batches as `most_slots` allows, then as few rows.

    tokens [N] of each pair (or group); steps: the pairs of each of some steps.
    """
    batch = config.batch
    pairs_per_row = batch.pairs_per_row
    if pairs_per_row is None:
        # As many as could lie there, for which the arrays of a row need room. Of groups each has
        # several pairs.
        pairs_per_row = row_length // int(tokens.min()) * math.ceil(batch.responses / 2)
        pairs_per_row = max(batch.responses, min(pairs_per_row, MOST_PAIRS_PER_ROW))
    # What does not fit a row that was given is refused by `tokenized`, which names it.
    tokens = np.minimum(tokens, row_length)
    needed = np.array([len(plan_rows(tokens[step], row_length, pairs_per_row)) for step in steps])
    rows = batch.rows
    if rows is None:
        most = max(1, most_slots // row_length)
        micro_batches = math.ceil(needed.max() / most)
        rows = shards * math.ceil(needed.max() / micro_batches / shards)
    slots = np.ceil(needed / rows).mean() * rows * row_length
    return Fit(row_length, rows, pairs_per_row, float(slots))


def filled(config: Config, data: TokenizedPairs | RankedGroups, total_steps: int) -> float:
    """The share of a step's slots that hold a token, over the steps that are tried."""
    tokens = _tokens(config, data)
    steps = _steps(config, len(tokens), total_steps)
    of_step = np.mean([tokens[step].sum() for step in steps])
    return float(of_step / fit(config, tokens, steps, config.batch.row_length, shards=1).slots)


def _tokens(config: Config, data: TokenizedPairs | RankedGroups) -> np.ndarray:
    """Tokens [N] of each unit that lies in one row: a pair, or a group."""
    # Of any length, as there may be no rows yet.
    anything = 1 << 24
    return pipeline.units_of(data, anything, anything, config.batch.responses).tokens


def _steps(config: Config, units: int, total_steps: int) -> list[np.ndarray]:
    # The very pairs that the run will take.
    count = max(1, min(total_steps, TRIED_STEPS, TRIED_PAIRS // config.batch.pairs))
    return [step_pairs(units, config.batch.pairs, config.seed, step) for step in range(count)]
