"""Findings of near duplicates over all shards of a store."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rewardjax.curation.cleaning import near_duplicates
from rewardjax.curation.cleaning.near_duplicates import Shingles
from rewardjax.curation.ledger import pair_texts
from rewardjax.curation.ledger.rows import FindingAction, FindingRow
from rewardjax.curation.ledger.store import Store

# Pairs whose texts are in memory at once; a group that is larger is compared by itself.
AT_ONCE = 2_000


def rows(
    store: Store,
    signatures: Mapping[tuple[str, str], np.ndarray],
    earlier: Sequence[Sequence[Sequence[str]]],
    threshold: float,
    action: FindingAction,
) -> list[FindingRow]:
    """A finding for each pair that repeats another one, which stays.

    Args:
        store: has the texts.
        signatures: (stage, unit) of a shard of `pairs` -> its signatures [n, P, H], by pair_id.
        earlier: the shards (stage, unit) that each earlier comparison saw. Of two alike pairs the
            one that was there first stays, as somebody may have labeled it.
        threshold: the least similarity of `near_duplicates.similarity`.
        action: of the rows.
    """
    ids: list[str] = []
    arrivals: list[int] = []
    parts = [near_duplicates.stack([])]
    for shard, signatures_nPH in signatures.items():
        # Manifests hold lists where we hold tuples.
        sizes = [len(shards) for shards in earlier if list(shard) in shards]
        own_ids = _pair_ids(store, *shard)
        ids += own_ids
        # A store only grows: the fewer shards there were, the earlier it was.
        arrivals += [min(sizes, default=len(signatures) + 1)] * len(own_ids)
        parts.append(signatures_nPH)
    # By pair_id over all shards, so that which pair stays does not depend on how pairs were spread
    # over shards.
    order = np.lexsort((np.array(ids, str), np.array(arrivals, np.int64)))
    groups = near_duplicates.groups(np.concatenate(parts)[order], threshold)
    findings = []
    groups_of_ids = []
    for group in groups:
        groups_of_ids.append([ids[order[i]] for i in group])
    for batch in _batches(groups_of_ids):
        shingles = _shingles(store, list(itertools.chain(*batch)))
        for group in batch:
            alike = near_duplicates.held([(i, shingles[i]) for i in group], threshold)
            findings += [_finding(*each, action) for each in alike]
    return findings


def _pair_ids(store: Store, stage: str, unit: str) -> list[str]:
    """The pairs of a shard, in the order of its signatures."""
    shard = store.manifest("pairs", stage, unit)
    rows = store.query("select pair_id from pairs order by pair_id", shards=[shard])
    return rows.column("pair_id").to_pylist()


def _batches(groups: Sequence[Sequence[str]]) -> Iterator[list[Sequence[str]]]:
    """The groups, so many at a time that they have about AT_ONCE pairs."""
    batch: list[Sequence[str]] = []
    for group in groups:
        batch.append(group)
        if sum(map(len, batch)) >= AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _shingles(store: Store, pair_ids: Sequence[str]) -> dict[str, list[Shingles]]:
    """The shingles of each part of these pairs."""
    of_pair = {}
    for row in store.texts(pair_ids):
        parts = pair_texts.compared(pair_texts.of_row(row))
        of_pair[row["pair_id"]] = [near_duplicates.shingles(part) for part in parts]
    return of_pair


def _finding(pair_id: str, original: str, similarity: float, action: FindingAction) -> FindingRow:
    evidence = {"of": original, "similarity": round(similarity, 3)}
    return FindingRow(
        pair_id=pair_id, finding="near_duplicate", action=action, evidence=json.dumps(evidence)
    )
