"""Ranked groups for listwise losses: tokenized pairs, seen as groups with all their responses.

The pairs of a group say who is better than whom, so its ranking is in the index already: data,
cache and fingerprint are those of training on pairs.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rewardjax.command import errors
from rewardjax.data.pack import TokenGroup
from rewardjax.data.token_cache import TokenizedPairs


@dataclasses.dataclass(frozen=True, eq=False)
class RankedGroups:
    """m groups of up to K responses of which at least one is better than another."""

    pairs: TokenizedPairs
    record: np.ndarray  # [m] int64: which record of the token cache holds the group
    ranks: np.ndarray  # [m, K] int32: how many responses are better, 0 for the best; -1 for padding
    lengths: np.ndarray  # [m, 1 + K] int32 tokens: prefix of all, rest of each response
    unranked: int  # groups without a better response (all ties): left out, since they say nothing

    @classmethod
    def of(cls, pairs: TokenizedPairs) -> "RankedGroups":
        """The groups of `pairs`.

        Soft labels count as plain ones: the side with target over 1/2 is better. Raises ValueError
        where the settings left out some of a group's pairs, or no group ranks anything.
        """
        refuse_partial_groups(pairs.manifest["inputs"]["settings"])
        records, responses = len(pairs.source_record), int(pairs.response.max()) + 1
        chosen, rejected = pairs.response.T
        shared, chosen_rest, rejected_rest = pairs.lengths.T
        # One prefix is common to all that are compared: the shortest that two of them share.
        prefix = np.full(records, np.iinfo(np.int32).max, np.int32)
        np.minimum.at(prefix, pairs.record, shared)
        conversation = np.zeros((records, responses), np.int32)
        conversation[pairs.record, chosen] = shared + chosen_rest
        conversation[pairs.record, rejected] = shared + rejected_rest

        # Unbuffered: a plain `better[...] += 1` counts a response once, however many are better.
        better = np.zeros((records, responses), np.int32)
        chosen_wins = (pairs.target > 0.5) & (pairs.tie == 0)
        rejected_wins = (pairs.target < 0.5) & (pairs.tie == 0)
        np.add.at(better, (pairs.record[chosen_wins], rejected[chosen_wins]), 1)
        np.add.at(better, (pairs.record[rejected_wins], chosen[rejected_wins]), 1)

        # A response of a record is in one of its pairs at least, or it would not have been stored.
        ranks = np.where(conversation > 0, better, -1)
        suffixes = np.where(conversation > 0, conversation - prefix[:, None], 0)
        record = np.flatnonzero(better.any(axis=1))
        if not len(record):
            raise ValueError(
                f"{pairs.manifest['source']}: no group has a response that is better than another"
            )
        lengths = np.column_stack([prefix, suffixes])[record]
        return cls(pairs, record, ranks[record], lengths, records - len(record))

    def __len__(self) -> int:
        return len(self.record)

    @property
    def fingerprint(self) -> str:
        """That of the pairs."""
        return self.pairs.fingerprint

    @property
    def sizes(self) -> np.ndarray:
        """[m]: how many responses each group has."""
        return np.sum(self.ranks >= 0, axis=1)

    def row_tokens(self, share: bool = True) -> np.ndarray:
        """[m]: tokens that each group takes in a row, responses two by two around its prefix."""
        prefixes = self.sizes
        if share:
            prefixes = (prefixes + 1) // 2
        return self.lengths[:, 1:].sum(axis=1) + prefixes * self.lengths[:, 0]

    def load(self, indices: Sequence[int] | np.ndarray) -> list[TokenGroup]:
        """The groups at `indices`. Safe to call from several threads.

        Raises ValueError where a record is not as long as the index says.
        """
        indices = np.asarray(indices, np.int64)
        groups = self.pairs.load_records(self.record[indices])
        for index, group in zip(indices.tolist(), groups, strict=True):
            lengths = [len(group.prefix), *map(len, group.suffixes)]
            if lengths != self.lengths[index, : len(lengths)].tolist():
                raise ValueError(
                    f"{self.pairs.folder}: group {index} has lengths {lengths}, not those of the "
                    "index; delete the folder"
                )
        return groups


def refuse_partial_groups(settings: Mapping[str, Any]) -> None:
    """Raise ValueError where settings of `prepare` leave out some of a group's pairs.

    Without some of the comparisons the count of better responses is not a rank.
    """
    complaints = errors.Complaints()
    for field in ("pairs_per_group", "max_pair_length"):
        if settings.get(field) is not None:
            complaints.add(
                [
                    f"data.{field} = {settings[field]} leaves out some of a group's pairs, and a "
                    "listwise loss ranks whole groups: remove it, or choose a loss of pairs"
                ]
            )
    complaints.refuse()
