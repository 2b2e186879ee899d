"""From tokenized data to the arrays of a step: plan, read own records, pack, in Grain's threads.

A step is made of N units: labeled pairs, or ranked groups. Which units a step holds and how they
lie in rows is decided from the index alone, so every host knows the whole plan, reads only the
records of its own rows, and the step is the same for any number of hosts. The position in the data
is one number, the step: to continue, even on another number of hosts, pass `first_step`.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import grain
import numpy as np

from rewardjax.data.pack import bundle_lengths, groups_per_row, pack_pairs, pack_ranked, plan_rows
from rewardjax.data.plan import step_pairs
from rewardjax.data.ranked import RankedGroups
from rewardjax.data.rows.bundles import Rows
from rewardjax.data.token_cache import TokenizedPairs


class Step(NamedTuple):
    """What an optimizer step consumes."""

    units: np.ndarray  # [N] int64: its units over all hosts, as indices into the data
    arrays: dict[str, np.ndarray]  # [M, B, ...]: this host's rows of M >= 1 micro-batches


class Units(NamedTuple):
    """How the units of a data set go into rows."""

    tokens: np.ndarray  # [n]: how many each takes in a row
    per_row: int  # units that a row holds at most
    # (units [u], rows of places in them) -> the arrays of these rows
    pack: Callable[[np.ndarray, Rows], dict[str, np.ndarray]]
    # index -> what an error calls the unit, and what to do where it is longer than a row
    name: Callable[[int], str]
    shorten: str


def train_steps(
    data: TokenizedPairs | RankedGroups,
    *,
    pairs: int,
    row_length: int,
    pairs_per_row: int,
    rows: int,
    responses: int = 2,
    seed: int,
    num_steps: int,
    first_step: int = 0,
    shard: tuple[int, int] = (0, 1),
    share: bool = True,
    threads: int = 2,
    prefetch: int = 2,
) -> grain.DatasetIterator:
    """Steps first_step up to num_steps, each of exactly `pairs` units.

    A unit is a pair, or a ranked group where `data` are those.

    An element is a Step whose arrays are those of `pack_pairs` or `pack_ranked`, [M, B, ...]: not
    the same M at every step, B = rows / hosts; the last micro-batch is filled up with empty rows.
    get_state() is {"next_index": step}. close() the iterator when done.

    Args:
        data: tokenized pairs or ranked groups.
        pairs: pairs of one optimizer step, or ranked groups where the loss ranks.
        row_length: tokens of one packed row; the longest pair must fit one.
        pairs_per_row: pairs that one row has room for.
        rows: rows of one micro-batch, over all hosts and devices.
        responses: the most that a ranked group may have.
        seed: of the order of the pairs.
        num_steps: where the steps end.
        first_step: where they begin.
        shard: (this host, number of hosts), each taking its contiguous part of every micro-batch.
        share: whether the prefix that two responses have in common is computed once.
        threads: how many read and pack; 0 does the work in the caller's thread.
        prefetch: steps that they keep in memory.

    Raises:
        ValueError: where rows does not divide among the hosts, or a unit does not fit a row.
    """
    host, hosts = shard
    if not 0 <= host < hosts or rows < 1 or rows % hosts:
        raise ValueError(
            f"rows = {rows}, shard = {shard}: the rows of a micro-batch must divide among the hosts"
        )
    units = units_of(data, row_length, pairs_per_row, responses, share)

    def step(k: int) -> Step:
        chosen = step_pairs(len(data), pairs, seed, k)
        plan = plan_rows(units.tokens[chosen], row_length, units.per_row)
        plan += [[] for _ in range(-len(plan) % rows)]
        own = _own_rows(plan, rows, shard)
        places = np.fromiter(itertools.chain.from_iterable(own), np.int64)
        # From here on only this host's units exist: the others' records are never read.
        arrays = units.pack(chosen[places], _renumbered(own))
        # [M * B, ...] -> [M, B, ...]: every host has the same M, or a collective would wait for
        # ever.
        micro_batches = len(plan) // rows
        for name, array in arrays.items():
            arrays[name] = array.reshape(micro_batches, -1, array.shape[-1])
        return Step(chosen, arrays)

    # Without threads nothing is read ahead: the caller of next() pays for the step that it asks
    # for.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch * bool(threads))
    # Grain serves as the thread pool with a position; the order is `step_pairs`'s alone (see
    # data/plan.py).
    iterator = iter(grain.MapDataset.range(num_steps).map(step).to_iter_dataset(options))
    iterator.set_state({"next_index": first_step})
    return iterator


def units_of(
    data: TokenizedPairs | RankedGroups,
    row_length: int,
    pairs_per_row: int,
    responses: int,
    share: bool = True,
) -> Units:
    """The units of `data` for rows as `train_steps` makes them.

    Raises ValueError where one does not fit, whichever step would draw it: that may come days
    later.
    """
    if isinstance(data, RankedGroups):
        units = _ranked_groups(data, row_length, pairs_per_row, responses, share)
    else:
        units = _labeled_pairs(data, row_length, pairs_per_row, share)
    _refuse_too_long(units, row_length)
    return units


def _labeled_pairs(data: TokenizedPairs, row_length: int, pairs_per_row: int, share: bool) -> Units:
    def pack(indices: np.ndarray, rows: Rows) -> dict[str, np.ndarray]:
        labels = {
            "margin": data.margin[indices],
            "target": data.target[indices],
            "tie": data.tie[indices],
        }
        pairs = data.load(indices)
        return pack_pairs(pairs, labels, rows, row_length, pairs_per_row, data.pad_id, share)

    # A pair of rows that is too long is left out when its data are tokenized, where it is counted.
    return Units(
        bundle_lengths(data.lengths, share),
        pairs_per_row,
        pack,
        lambda pair: f"pair {pair} ({data.origin(int(data.record[pair]))})",
        f"or set data.max_pair_length = {row_length} to leave such pairs out",
    )


def _ranked_groups(
    data: RankedGroups, row_length: int, pairs_per_row: int, responses: int, share: bool
) -> Units:
    def name(group: int) -> str:
        return f"group {group} ({data.pairs.origin(data.record[group])})"

    # The shapes of a step are fixed before its data are known, so the config has to say K.
    largest = int(data.sizes.argmax())
    if data.sizes[largest] > responses:
        raise ValueError(
            f"{name(largest)} ranks {data.sizes[largest]} responses, "
            f"batch.responses = {responses}: set batch.responses = {data.sizes[largest]}"
        )

    def pack(indices: np.ndarray, rows: Rows) -> dict[str, np.ndarray]:
        ranks = [ranks_K[ranks_K >= 0] for ranks_K in data.ranks[indices]]
        return pack_ranked(
            data.load(indices),
            ranks,
            rows,
            row_length,
            pairs_per_row,
            responses,
            data.pairs.pad_id,
            share,
        )

    return Units(
        data.row_tokens(share),
        groups_per_row(pairs_per_row, responses),
        pack,
        name,
        "or lower data.max_length to leave such responses out",
    )


def _refuse_too_long(units: Units, row_length: int) -> None:
    longest, too_long = int(units.tokens.argmax()), int((units.tokens > row_length).sum())
    if too_long:
        raise ValueError(
            f"batch.row_length = {row_length}: {too_long:,} of {len(units.tokens):,} do not fit a "
            f"row, the longest {units.name(longest)}, which takes {units.tokens[longest]} tokens: "
            f"raise batch.row_length to at least that, {units.shorten}"
        )


def _own_rows(plan: Rows, rows: int, shard: tuple[int, int]) -> Rows:
    """This host's contiguous part of every micro-batch of `rows` rows, one after another."""
    host, hosts = shard
    size = rows // hosts
    own: Rows = []
    for start in range(host * size, len(plan), rows):
        own += plan[start : start + size]
    return own


def _renumbered(rows: Rows) -> Rows:
    """The same rows over items numbered 0, 1, 2, ... in the order in which the rows list them."""
    renumbered: Rows = []
    first = 0
    for row in rows:
        renumbered.append(list(range(first, first + len(row))))
        first += len(row)
    return renumbered
