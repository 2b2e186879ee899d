"""Fewer rows where a device's memory is small: by the compiler's word, and never in silence."""

import copy
import math

import jax
import pytest
from tiny import tiny_config

from rewardjax.parallel.mesh import make_mesh
from rewardjax.training.preflight import host_memory, row_memory
from rewardjax.training.preflight.row_fit import MOST_SLOTS

ROW_LENGTH = 256


@pytest.fixture
def config(tmp_path):
    config = tiny_config(tmp_path)
    config.batch.update(row_length=None, rows=None, pairs_per_row=None)
    return config


def fitting(config, longest_row=ROW_LENGTH):
    """What `row_fit.fitted` does for data that could fill 32 rows."""

    def fit(most_slots):
        fitted = copy.deepcopy(config)
        rows = max(1, min(32, most_slots // longest_row))
        fitted.batch.update(row_length=longest_row, rows=rows, pairs_per_row=8)
        return fitted

    return fit


def test_rows_are_halved_until_the_compiled_step_fits(config, monkeypatch):
    fit = fitting(config)
    with jax.set_mesh(make_mesh(devices=jax.devices()[:1])):
        bound = row_memory.bytes_needed(fit(MOST_SLOTS), memory=1 << 50)
        monkeypatch.setattr(row_memory, "CLEARLY", 0.0)
        by_rows = {rows: row_memory.bytes_needed(fit(rows * ROW_LENGTH), 1) for rows in (8, 16, 32)}
        # What is not compiled has been judged by no less than what it needs.
        assert by_rows[8] < by_rows[16] < by_rows[32] < bound
        for rows, needed in by_rows.items():
            memory = math.ceil(needed / row_memory.USABLE)
            monkeypatch.setattr(row_memory, "device_memory", lambda memory=memory: memory)
            needed_by = lambda config, memory: by_rows[config.batch.rows]
            with monkeypatch.context() as patch:
                patch.setattr(row_memory, "bytes_needed", needed_by)
                fitted, warning = row_memory.fitted(config, fit)
            assert fitted.batch.rows == rows and warning is None


def test_rows_that_cannot_be_fewer_are_told(config, monkeypatch):
    monkeypatch.setattr(row_memory, "device_memory", lambda: 1 << 30)
    monkeypatch.setattr(row_memory, "bytes_needed", lambda config, memory: 2 << 30)
    fitted, warning = row_memory.fitted(config, fitting(config))
    assert fitted.batch.rows == 1
    assert "needs about 2.0 GiB and a device has 1.0" in warning and "data.max_length" in warning


def test_rows_that_were_given_stay(config, monkeypatch):
    monkeypatch.setattr(row_memory, "device_memory", lambda: 1)
    config.batch.rows = 4
    fitted, warning = row_memory.fitted(config, lambda most_slots: config)
    assert fitted is config and warning is None


def test_a_host_has_what_it_or_its_container_has(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       1000 kB\nMemAvailable:    500 kB\n")
    assert host_memory.total(meminfo, tmp_path) == 1_024_000
    (tmp_path / "memory.max").write_text("2048\n")
    assert host_memory.total(meminfo, tmp_path) == 2048
    (tmp_path / "memory.max").write_text("max\n")
    assert host_memory.total(meminfo, tmp_path) == 1_024_000
    assert host_memory.total(tmp_path / "none", tmp_path) is None
