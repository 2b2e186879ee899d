"""Rows that the data ask for: long enough, few enough, and always the same."""

import json

import numpy as np
import pytest
from tiny import logged, tiny_config

from rewardjax import defaults
from rewardjax.data.pack import plan_rows
from rewardjax.training import loop
from rewardjax.training.preflight import row_fit, row_memory


class Pairs:
    """What is read of tokenized pairs here."""

    def __init__(self, tokens):
        half = np.asarray(tokens) // 2
        self.lengths = np.stack([np.zeros_like(half), half, tokens - half], axis=1)
        self.pad_id = 0

    def __len__(self):
        return len(self.lengths)


def config_of(pairs, **batch):
    config = defaults.training()
    left = {"row_length": None, "rows": None, "pairs_per_row": None}
    config.batch.update(pairs=pairs, **{**left, **batch})
    return config


def fitted(config, tokens, longest=0, total_steps=20, shards=1):
    data = Pairs(np.asarray(tokens))
    return row_fit.fitted(config, data, longest, total_steps, shards), data


def test_short_pairs_get_few_slots_and_long_ones_no_more_than_fit():
    tokens = np.random.default_rng(0).integers(30, 140, 4000)
    config, data = fitted(config_of(64), tokens)
    assert row_fit.filled(config, data, 20) > 0.85
    # One micro-batch for each step: 8 rows of 4,096 would be filled to a sixth.
    assert config.batch.rows * config.batch.row_length < 2 * 64 * tokens.mean()
    tokens = np.random.default_rng(0).integers(500, 4000, 4000)
    config, data = fitted(config_of(64), tokens)
    assert config.batch.row_length >= tokens.max()
    assert config.batch.rows * config.batch.row_length <= row_fit.MOST_SLOTS
    assert row_fit.filled(config, data, 20) > 0.8


def test_the_share_that_is_filled_is_that_of_the_steps_that_are_taken():
    tokens = np.full(640, 100)
    config, data = fitted(config_of(64, row_length=1000, rows=4), tokens)
    # 7 rows of 10 pairs, 4 at a time.
    assert len(plan_rows(tokens[:64], 1000, config.batch.pairs_per_row)) == 7
    assert row_fit.filled(config, data, 10) == pytest.approx(6400 / 8000)


def test_what_was_given_stays_and_rows_divide_over_the_mesh():
    tokens = np.random.default_rng(0).integers(30, 140, 4000)
    config, _ = fitted(config_of(64, row_length=2048), tokens, shards=8)
    assert config.batch.row_length == 2048 and config.batch.rows % 8 == 0
    given = config_of(64, row_length=512, rows=3, pairs_per_row=5)
    assert fitted(given, tokens)[0] is given


def test_a_pair_that_is_too_long_for_a_given_row_is_left_to_the_check_that_names_it():
    config, _ = fitted(config_of(64, row_length=512), [50] * 99 + [900])
    assert config.batch.row_length == 512 and config.batch.rows >= 1


def test_everything_that_is_scored_fits_a_row():
    config, _ = fitted(config_of(64), [50] * 100, longest=5000)
    assert config.batch.row_length >= 5000
    assert row_fit.row_lengths(5000) == [5120]
    assert row_fit.row_lengths(300) == [384, 512, 1024, 2048, 4096]


def test_a_program_that_is_compiled_without_data_needs_them():
    from rewardjax.training.abstract import abstract_batch

    with pytest.raises(
        ValueError, match="batch.row_length, batch.rows, batch.pairs_per_row: .*set"
    ):
        abstract_batch(config_of(8).batch, None, "pairs")


def test_a_run_whose_rows_are_left_to_data_and_memory_takes_the_same_steps(
    tiny_run, tmp_path, monkeypatch
):
    # A device that has room for so few slots.
    slots = lambda batch: batch["rows"] * batch["row_length"]
    monkeypatch.setattr(
        row_memory, "bytes_needed", lambda config, memory: memory * (slots(config.batch) > 1024)
    )
    config = tiny_config(tiny_run[0].parent / "cache")
    config.batch.update(row_length=None, rows=None, pairs_per_row=None)
    loop.run(config, tmp_path)
    batch = json.loads((tmp_path / "config.json").read_text())["batch"]
    assert all(isinstance(batch[name], int) for name in row_fit.FIELDS)
    assert 512 <= slots(batch) <= 1024
    losses = list(logged(tmp_path, "loss").values())
    expected = list(logged(tiny_run[0], "loss").values())
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
