"""The last rewards of each held-out set, pair by pair: `held_out/NAME.parquet` in a run's workdir.

Runs that were measured on the same pairs can be compared pair by pair (sweeps/paired.py), where two
accuracies alone would hide that both are of the same easy and hard ones. A run that was interrupted
has no such files, and neither have runs of earlier versions.

| column                          | what it is                                                     |
| ------------------------------- | -------------------------------------------------------------- |
| `record`                        | number of the source's record that the pair is of              |
| `chosen`, `rejected`            | which of the record's responses the pair is made of            |
| `target`, `tie`                 | the label: P(chosen is better), and whether it is "no choice"  |
| `chosen_reward`, `rejected_reward` | float32 rewards after the last step                         |

The metadata of the schema say of which data these are numbers: see `Origin`.
"""

import json
import pathlib
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rewardjax import fingerprint
from rewardjax.data.token_cache import TokenizedPairs
from rewardjax.io import files
from rewardjax.training.held_out import HeldOut

FOLDER = "held_out"
META = b"rewardjax"
SCHEMA = pa.schema(
    [
        ("record", pa.int64()),
        ("chosen", pa.int32()),
        ("rejected", pa.int32()),
        ("target", pa.float32()),
        ("tie", pa.float32()),
        ("chosen_reward", pa.float32()),
        ("rejected_reward", pa.float32()),
    ]
)


class Origin(NamedTuple):
    """What the numbers that name a pair are numbers of.

    data: fingerprint of the texts, the settings that choose among them and the tokenizer; runs that
        share it have the same pairs in the same order.
    texts: the same without the tokenizer.
    is_of_texts: whether `record`, `chosen` and `rejected` name the same texts for any tokenizer.
    """

    data: str
    texts: str
    is_of_texts: bool

    def is_that_of(self, other: "Origin") -> bool:
        """Whether equal numbers of the two name the same pair."""
        if self.data == other.data:
            return True
        return self.texts == other.texts and self.is_of_texts and other.is_of_texts


class PairRewards(NamedTuple):
    """The file of a held-out set, as arrays over its N pairs."""

    origin: Origin
    keys: np.ndarray  # [N, 3] int64: record, chosen, rejected
    target: np.ndarray  # [N]
    tie: np.ndarray  # [N], 1 for a label of "no preference"
    rewards: np.ndarray  # [N, 2] float64: of chosen and rejected

    def correct(self) -> np.ndarray:
        """Of each pair [N] whether the model prefers what the label prefers, NaN where it is a tie.

        By the rule of `accuracy` of `pair_metrics`: equal rewards are wrong.
        """
        # +1 where the label prefers the chosen response, -1 where it prefers the rejected one.
        towards = np.sign(self.target - 0.5)
        right = (self.rewards[:, 0] - self.rewards[:, 1]) * towards > 0
        return np.where((self.tie > 0) | (towards == 0), np.nan, right.astype(np.float64))


def file_of(workdir: pathlib.Path, name: str) -> pathlib.Path:
    """The file of the held-out set `name`."""
    # A config may name a set by letters that no file name takes.
    return workdir / FOLDER / f"{urllib.parse.quote(name, safe='')}.parquet"


def write(workdir: pathlib.Path, held_out_sets: Sequence[HeldOut]) -> None:
    """Write a file for each set, whole or not at all; all of them must have been scored."""
    for held_out in held_out_sets:
        pairs = held_out.pairs
        chosen_reward, rejected_reward = held_out.last_rewards().T
        columns = {
            "record": pairs.source_record[pairs.record],
            "chosen": pairs.response[:, 0],
            "rejected": pairs.response[:, 1],
            "target": pairs.target,
            "tie": pairs.tie,
            "chosen_reward": chosen_reward,
            "rejected_reward": rejected_reward,
        }
        meta = {META: json.dumps(origin_of(pairs)._asdict()).encode()}
        path = file_of(workdir, held_out.name)
        path.parent.mkdir(exist_ok=True)
        with files.replacing(path) as part:
            pq.write_table(pa.table(columns, SCHEMA.with_metadata(meta)), part)


def read(workdir: pathlib.Path, name: str) -> PairRewards | None:
    """What `write` left of the set `name`, None where it left nothing.

    Raises ValueError for another file in its place.
    """
    path = file_of(workdir, name)
    if not path.exists():
        return None
    try:
        table = pq.read_table(path)
        origin = Origin(**json.loads(table.schema.metadata[META]))
        column = {field: table[field].to_numpy() for field in SCHEMA.names}
    # Whatever is wrong with it: Parquet's own errors, no metadata, other fields.
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        raise ValueError(
            f"{path} is not what training wrote; remove it, and the runs are compared without it"
        ) from None
    keys = np.stack([column[field] for field in ("record", "chosen", "rejected")], axis=1)
    rewards = np.stack([column["chosen_reward"], column["rejected_reward"]], axis=1)
    return PairRewards(
        origin, keys.astype(np.int64), column["target"], column["tie"], rewards.astype(np.float64)
    )


def origin_of(pairs: TokenizedPairs) -> Origin:
    """The origin of tokenized pairs, from their manifest."""
    inputs = dict(pairs.manifest["inputs"])
    del inputs["tokenizer"]
    return Origin(pairs.fingerprint, fingerprint.of_json(inputs), _is_of_texts(pairs.manifest))


def _is_of_texts(manifest: Mapping[str, Any]) -> bool:
    """Whether no pair was left out of a record of which another pair is kept.

    Responses are numbered among those of a record that are kept, and a tokenizer decides which of
    them are too long.
    """
    dropped = manifest["dropped"].values()
    if any(entry["pairs"] > entry["records"] for entry in dropped):
        return False
    # A sample of a record's pairs is drawn from those that are left.
    return not manifest["pairs"]["sampled_out"] or not any(entry["pairs"] for entry in dropped)
