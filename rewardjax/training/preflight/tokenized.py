"""Checks of what only the tokenized data can tell, before anything is compiled."""

from collections.abc import Iterator, Sequence

import numpy as np

from rewardjax import config as config_lib
from rewardjax.command import errors
from rewardjax.config import Config
from rewardjax.data import pipeline
from rewardjax.data.pack import TokenGroup
from rewardjax.data.ranked import RankedGroups
from rewardjax.data.token_cache import TokenizedPairs
from rewardjax.training.held_out import HeldOut, HeldOutBenchmark
from rewardjax.training.preflight.fields import check_length, refusals

Measured = HeldOut | HeldOutBenchmark


def check(
    config: Config,
    data: TokenizedPairs | RankedGroups,
    measured: Sequence[Measured],
    total_steps: int,
) -> errors.Complaints:
    """What is wrong with data, held-out sets and benchmarks for a run with this config."""
    complaints = errors.Complaints()
    complaints.add(training_data(config, data))
    for held_out in measured:
        if isinstance(held_out, HeldOut):
            complaints.add(held_out_set(config, held_out))
        else:
            complaints.add(benchmark(held_out))
    # Of data that are wrong by themselves the figures are no other news.
    if not complaints:
        complaints.add(best_has_figures(config, measured))
    # Where the config has `steps` it was said before the data were read.
    if not config.steps:
        complaints.add(check_length(config, total_steps))
    return complaints


def warnings(config: Config, data: TokenizedPairs | RankedGroups) -> Iterator[str]:
    """What such a run does otherwise than its config seems to say."""
    if len(data) < config.batch.pairs:
        yield (
            f"warning: batch.pairs = {config.batch.pairs}, and there are {len(data)} to train on: "
            "every step holds some of them more than once"
        )


def training_data(config: Config, data: TokenizedPairs | RankedGroups) -> Iterator[str]:
    """Whether every pair or group fits a row, and the labels say what the loss reads."""
    batch = config.batch
    yield from refusals(
        pipeline.units_of, data, batch.row_length, batch.pairs_per_row, batch.responses
    )
    if isinstance(data, RankedGroups):
        return
    if data.tie.all():
        yield f"data: all {len(data):,} pairs are ties, which say nothing of what is better"
    if config.loss.margin_scale and not data.margin.any():
        yield (
            f"loss.margin_scale = {config.loss.margin_scale} reads margins, and none of the "
            f"{len(data):,} pairs has one; name their column with data.columns={{margin: COLUMN}}, "
            "or leave margin_scale out"
        )


def held_out_set(config: Config, held_out: HeldOut) -> Iterator[str]:
    """Whether each response fits a row, and some pair has a preference."""
    where, row_length = f"evals.{held_out.name}", config.batch.row_length
    # Unlike in training, the two responses of a pair may lie in different rows.
    conversation = held_out.conversation_lengths()
    too_long = int((conversation > row_length).sum())
    if too_long:
        yield (
            f"{where}: {too_long:,} of {len(conversation):,} pairs have a conversation longer than "
            f"a row, the longest of {conversation.max():,} tokens; raise batch.row_length "
            f"({row_length}) to at least that, or lower {where}.max_length to {row_length} to "
            "leave them out"
        )
    if held_out.pairs.tie.all():
        yield (
            f"{where}: all {len(conversation):,} pairs are ties, of which no accuracy can be "
            "measured; name other data"
        )


def benchmark(held_out: HeldOutBenchmark) -> Iterator[str]:
    """Whether there is something to score."""
    if not held_out.items:
        yield f"benchmarks.{held_out.name}: there is no example in its files"
    elif all(group.tokens is None for group in held_out.tokenized):
        yield f"benchmarks.{held_out.name}: none of its {len(held_out.items):,} examples fits a row"


def best_has_figures(config: Config, measured: Sequence[Measured]) -> Iterator[str]:
    """Whether the figure of `checkpoint.keep.best` comes out of an evaluation of these data.

    Which figures there are depends on the examples, so that one is made, with rewards of chance.
    """
    best = config.checkpoint.keep.best
    if best is None:
        return
    figures: list[str] = []
    for held_out in measured:
        values = held_out.metrics(_rewards_of_chance)
        figures += [name for name, value in values.items() if value is not None]
    if best not in figures:
        near = config_lib.suggestion(best, figures)
        yield (
            f"checkpoint.keep.best = {best!r}{near}: the evaluations have no such figure; there "
            f"are {', '.join(figures)}"
        )


def _rewards_of_chance(groups: list[TokenGroup]) -> list[np.ndarray]:
    """Rewards [K] of each group, all different, so that every figure is defined."""
    generator = np.random.default_rng(0)
    return [generator.normal(size=len(group.suffixes)).astype(np.float32) for group in groups]
