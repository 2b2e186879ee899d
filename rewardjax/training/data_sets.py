"""The data that a run is trained on and measured with, tokenized."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from rewardjax.command import errors
from rewardjax.config import Config
from rewardjax.data import spelling
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.prepare import prepare
from rewardjax.data.ranked import RankedGroups
from rewardjax.data.sources import open_source
from rewardjax.data.token_cache import TokenizedPairs
from rewardjax.scoring import contract
from rewardjax.training.held_out import HeldOut, HeldOutBenchmark
from rewardjax.training.preflight.fields import data_sections, without_echoes


def read_data(
    config: Config, tokenizer: ChatTokenizer, unit: str
) -> tuple[TokenizedPairs | RankedGroups, list[HeldOut], list[HeldOutBenchmark]]:
    """What is trained on, as pairs or as ranked groups, and what is measured with.

    Raises errors.Refusal with what is wrong in any of them.
    """
    complaints = errors.Complaints()
    pairs: dict[str, Any] = {}
    for where, section in data_sections(config):
        pairs[where] = complaints.of(load_pairs, tokenizer, where, **section)
        # The other hosts wait for this one, and it must not go on to what they have not reached.
        if jax.process_count() > 1:
            complaints.refuse()
    train_set = pairs.pop("data")
    if unit == "groups" and train_set is not None:
        train_set = complaints.of(RankedGroups.of, train_set)
    longest = config.data.max_length
    if config.batch.row_length is not None:
        longest = min(longest, config.batch.row_length)
    benchmarks: list[HeldOutBenchmark] = []
    for name, kwargs in config.benchmarks.items():
        held_out = complaints.of(HeldOutBenchmark, name, tokenizer, longest, **kwargs)
        if held_out is not None:
            benchmarks.append(held_out)
    without_echoes(config, complaints).refuse()
    assert train_set is not None, "its refusal would have been raised"
    held_out_sets = [HeldOut(name, pairs[f"evals.{name}"]) for name in config.evals]
    return train_set, held_out_sets, benchmarks


def longest_scored(
    config: Config, tokenizer: ChatTokenizer, held_out_sets: Sequence[HeldOut]
) -> int:
    """Tokens of the longest conversation that a run scores beside what it trains on."""
    longest = contract.longest_golden(tokenizer)
    for held_out in held_out_sets:
        longest = max(longest, int(held_out.conversation_lengths().max()))
    if config.benchmarks:
        # They leave out what is longer.
        longest = max(longest, config.data.max_length)
    return longest


def source_records(data: TokenizedPairs | RankedGroups, units: np.ndarray) -> list[int]:
    """Numbers, in the source, of the records that the pairs or groups at `units` [N] came from."""
    return token_cache_of(data).source_record[data.record[units]].tolist()


def token_cache_of(data: TokenizedPairs | RankedGroups) -> TokenizedPairs:
    """The tokenized pairs that the data are, or that the groups are made of."""
    if isinstance(data, RankedGroups):
        return data.pairs
    return data


def load_pairs(
    tokenizer: ChatTokenizer, where: str, source: str, split: str | None = None, **kwargs: Any
) -> TokenizedPairs:
    """The tokenized pairs of the data that `source` names; `kwargs` as for `prepare`.

    where: the section of the config that names it, for messages.
    """
    opened = open_source(source, split=split, spelling=spelling.of_entry(where))
    return prepare(source=opened, tokenizer=tokenizer, **kwargs)
