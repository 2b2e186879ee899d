"""From tokenized pairs to the arrays of a step: plan, read this host's records, pack, all in Grain's reader threads.

Which pairs a step holds and how they lie in rows is decided from the index alone, so every host knows the whole plan, reads only the
records of its own rows, and the step is the same for any number of hosts. The position in the data is one number, the step: to continue,
even on another number of hosts, pass `first_step`.
"""

import grain
import numpy as np

from rewardjax.data.pack import Rows, bundle_lengths, pack_pairs, plan_rows
from rewardjax.data.plan import step_pairs
from rewardjax.data.token_cache import TokenizedPairs


def train_steps(
    pairs: TokenizedPairs,
    *,
    batch: int,
    seed: int,
    rows: int,
    row_length: int,
    pairs_per_row: int,
    num_steps: int,
    first_step: int = 0,
    shard: tuple[int, int] = (0, 1),
    share: bool = True,
    threads: int = 2,
    prefetch: int = 2,
) -> grain.DatasetIterator:
    """Steps first_step up to num_steps, each of exactly `batch` pairs in as many micro-batches of `rows` rows as they need.

    rows: of one micro-batch, over all hosts; shard: (this host, number of hosts), each taking its contiguous part of every micro-batch.
    An element is `pack_pairs`' dict with arrays [M, B, ...]: M >= 1 micro-batches, not the same M at every step, B = rows / hosts;
    the last micro-batch is filled up with empty rows (weight 0). `pair` holds indices into `pairs`. get_state() is {"next_index": step}.
    threads read and pack, keeping `prefetch` steps ready in memory; 0 does the work in the caller's thread. close() the iterator when done.
    Raises ValueError where rows does not divide among the hosts, or a pair is longer than a row.
    """
    _check(pairs, rows, row_length, shard, share)

    def step(k: int) -> dict[str, np.ndarray]:
        chosen = step_pairs(len(pairs), batch, seed, k)
        plan = _plan(pairs, chosen, rows, row_length, pairs_per_row, share)
        own = _own_rows(plan, rows, shard)
        arrays = _pack(pairs, chosen, sum(own, []), row_length, pairs_per_row, share)
        return {
            name: array.reshape(len(own), -1, array.shape[-1]) for name, array in arrays.items()
        }

    iterator = iter(_read(grain.MapDataset.range(num_steps).map(step), threads, prefetch))
    iterator.set_state({"next_index": first_step})
    return iterator


def eval_batches(
    pairs: TokenizedPairs,
    *,
    rows: int,
    row_length: int,
    pairs_per_row: int,
    shard: tuple[int, int] = (0, 1),
    share: bool = True,
    threads: int = 2,
    prefetch: int = 2,
) -> grain.DatasetIterator:
    """Every pair once, always in the same order: `pack_pairs`' dicts with arrays [B, ...], B = rows / hosts, as many on every host.

    Arguments and errors as for `train_steps`; `pair` says which pair a result belongs to.
    """
    _check(pairs, rows, row_length, shard, share)
    everything = np.arange(len(pairs))
    batches = _own_rows(
        _plan(pairs, everything, rows, row_length, pairs_per_row, share), rows, shard
    )

    def batch(k: int) -> dict[str, np.ndarray]:
        return _pack(pairs, everything, batches[k], row_length, pairs_per_row, share)

    return iter(_read(grain.MapDataset.range(len(batches)).map(batch), threads, prefetch))


def _check(
    pairs: TokenizedPairs, rows: int, row_length: int, shard: tuple[int, int], share: bool
) -> None:
    host, hosts = shard
    if not 0 <= host < hosts or rows < 1 or rows % hosts:
        raise ValueError(
            f"rows = {rows}, shard = {shard}: the rows of a micro-batch must divide among the hosts"
        )
    lengths = bundle_lengths(pairs.lengths, share)
    longest = int(lengths.argmax())
    if lengths[longest] > row_length:
        row = pairs.row[pairs.record[longest]]
        raise ValueError(
            f"pair {longest} (row {row} of {pairs.manifest['source']}) takes {lengths[longest]} tokens, row_length = {row_length}: "
            f"raise row_length to at least that, or set data.max_pair_length = {row_length} to leave such pairs out"
        )


def _plan(
    pairs: TokenizedPairs,
    indices: np.ndarray,
    rows: int,
    row_length: int,
    pairs_per_row: int,
    share: bool,
) -> Rows:
    """Rows of places in `indices`, filled up with empty rows to a multiple of `rows`."""
    plan = plan_rows(bundle_lengths(pairs.lengths[indices], share), row_length, pairs_per_row)
    return plan + [[] for _ in range(-len(plan) % rows)]


def _own_rows(plan: Rows, rows: int, shard: tuple[int, int]) -> list[Rows]:
    """This host's part of every micro-batch."""
    host, hosts = shard
    size = rows // hosts
    return [
        plan[start + host * size : start + (host + 1) * size] for start in range(0, len(plan), rows)
    ]


def _pack(
    pairs: TokenizedPairs,
    indices: np.ndarray,
    rows: Rows,
    row_length: int,
    pairs_per_row: int,
    share: bool,
) -> dict[str, np.ndarray]:
    """Reads and packs the pairs of `rows`, whose items are places in `indices`."""
    own = indices[np.array([place for row in rows for place in row], np.int64)]
    ends = np.cumsum([len(row) for row in rows])
    local = [list(range(end - len(row), end)) for row, end in zip(rows, ends.tolist(), strict=True)]
    labels = {"margin": pairs.margin[own], "target": pairs.target[own], "tie": pairs.tie[own]}
    arrays = pack_pairs(
        pairs.load(own), labels, local, row_length, pairs_per_row, pairs.pad_id, share
    )
    real = arrays["pair"] >= 0
    arrays["pair"][real] = own[arrays["pair"][real]]
    return arrays


def _read(dataset: grain.MapDataset, threads: int, prefetch: int) -> grain.IterDataset:
    return dataset.to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch if threads else 0)
    )
