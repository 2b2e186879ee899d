"""Metric lines that survive kills and restarts."""

import json
import resource
import signal
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import ROOT

from rewardjax import config as config_lib
from rewardjax.training import metrics


def writer(workdir, **kwargs):
    return metrics.MetricWriter(workdir, **{"tensorboard": False, **kwargs})


def test_lines_come_back_merged_and_in_order(tmp_path):
    w = writer(tmp_path)
    w.write(2, {"loss": jnp.float32(0.5), "pairs": np.int64(64), "note": "warm", "slope": None})
    w.write(1, {"loss": 0.75})
    w.write(2, {"set/accuracy": 0.9})
    w.close()
    first, second = metrics.read_metrics(tmp_path)
    assert first["step"] == 1 and first["loss"] == 0.75
    assert {k: second[k] for k in ("step", "loss", "pairs", "note", "slope", "set/accuracy")} == {
        "step": 2,
        "loss": 0.5,
        "pairs": 64,
        "note": "warm",
        "slope": None,
        "set/accuracy": 0.9,
    }
    assert isinstance(second["pairs"], int)


def test_values_json_cannot_hold_become_null_and_are_named(tmp_path):
    w = writer(tmp_path)
    w.write(1, {"loss": float("nan"), "grad_norm": jnp.inf, "lr": 0.1})
    w.close()
    for line in (tmp_path / metrics.METRICS_FILE).read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    [row] = metrics.read_metrics(tmp_path)
    assert (
        row["loss"] is None
        and row["grad_norm"] is None
        and row["lr"] == 0.1
        and row["nonfinite"] == ["loss=nan", "grad_norm=inf"]
    )


def test_resuming_supersedes_later_lines_even_those_not_written_again(tmp_path):
    w = writer(tmp_path)
    for step in range(1, 8):
        w.write(step, {"loss": step})
    w.write(5, {"set/accuracy": 0.1})
    w.close()
    w = writer(tmp_path, start_step=5)
    w.write(5, {"loss": 50})
    w.close()
    assert [(row["step"], row["loss"]) for row in metrics.read_metrics(tmp_path)] == [
        (1, 1),
        (2, 2),
        (3, 3),
        (4, 4),
        (5, 50),
    ]
    assert "set/accuracy" not in metrics.read_metrics(tmp_path)[-1]
    assert (
        len((tmp_path / metrics.METRICS_FILE).read_text().splitlines()) == 11
    )  # appended only: the past is still in the file


def test_a_line_cut_by_a_kill_harms_neither_reader_nor_next_writer(tmp_path):
    w = writer(tmp_path)
    w.write(1, {"loss": 1.0})
    w.close()
    path = tmp_path / metrics.METRICS_FILE
    path.write_text(path.read_text() + '{"step": 2, "lo')
    assert [row["step"] for row in metrics.read_metrics(tmp_path)] == [1]
    w = writer(tmp_path, start_step=2)
    w.write(2, {"loss": 2.0})
    w.close()
    assert [row["loss"] for row in metrics.read_metrics(tmp_path)] == [1.0, 2.0]


def test_damage_elsewhere_is_named(tmp_path):
    path = tmp_path / metrics.METRICS_FILE
    for bad in ("not json", "[1]", '{"loss": 1}'):
        path.write_text('{"start_step": 0}\n' + bad + '\n{"step": 1}\n')
        with pytest.raises(ValueError, match="metrics.jsonl, line 2"):
            metrics.read_metrics(tmp_path)


def test_arrays_and_reserved_names_are_refused(tmp_path):
    w = writer(tmp_path)
    with pytest.raises(ValueError, match=r"metric loss: expected one number, got shape \[2\]"):
        w.write(1, {"loss": np.zeros(2)})
    with pytest.raises(ValueError, match="'time'"):
        w.write(1, {"time": 1.0})
    w.close()
    assert metrics.read_metrics(tmp_path) == []


def test_a_full_disk_costs_the_lines_that_it_has_no_room_for(tmp_path, capsys):
    w = writer(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        w.write(1, {"loss": 0.5})
        # Room for a part of the next line.
        size = (tmp_path / "metrics.jsonl").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
        w.write(2, {"loss": 0.25})
        w.write(3, {"loss": 0.125})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    w.write(4, {"loss": 0.5})
    w.close()
    assert [row["step"] for row in metrics.read_metrics(tmp_path)] == [1, 4]
    told = capsys.readouterr().err
    assert told.count("metrics.jsonl: the disk is full") == 1 and "lost from step 2 on" in told


def test_only_process_zero_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    w = metrics.MetricWriter(tmp_path / "run", tensorboard=True, wandb=True)
    w.write(1, {"loss": 1.0})
    w.close()
    assert not (tmp_path / "run").exists()


def test_tensorboard_gets_the_numbers(tmp_path):
    w = metrics.MetricWriter(tmp_path, config={"schedule": {"peak": 1e-5}})
    w.write(3, {"loss": 0.5, "mfu": 0.4, "note": "text", "bad": float("nan")})
    w.close()
    events = b"".join(file.read_bytes() for file in (tmp_path / "tensorboard").iterdir())
    assert b"train/loss" in events and b"speed/mfu" in events and b'"peak": 1e-05' in events
    assert b"note" not in events and b"bad" not in events


def test_wandb_gets_the_numbers_under_an_id_that_survives_restarts(tmp_path, monkeypatch):
    inits, logged, finished = [], [], []
    run = types.SimpleNamespace(
        log=lambda values, step: logged.append((step, values)), finish=lambda: finished.append(True)
    )
    monkeypatch.setitem(
        sys.modules,
        "wandb",
        types.SimpleNamespace(init=lambda **kwargs: inits.append(kwargs) or run),
    )
    for start in (0, 5):
        w = writer(tmp_path, start_step=start, config={"seed": 3}, wandb={"project": "p"})
        w.write(start, {"loss": 0.5, "heldout/accuracy": 0.75, "note": "text"})
        w.close()
    assert inits[0]["project"] == "p" and inits[0] == inits[1] and inits[0]["resume"] == "allow"
    assert inits[0]["config"] == {"seed": 3} and inits[0]["name"] == tmp_path.name
    numbers = {"train/loss": 0.5, "heldout/accuracy": 0.75}
    assert logged == [(0, numbers), (5, numbers)] and len(finished) == 2


def test_arguments_of_wandb_come_from_a_config_or_a_flag():
    config = config_lib.load(
        ROOT / "configs/tiny.py", ["log.writers.wandb={'project': 'mine', 'tags': ['a']}"]
    )
    assert metrics.wandb_options(config.log.writers.wandb) == {"project": "mine", "tags": ["a"]}
    assert metrics.wandb_options(True) == metrics.wandb_options(False) == {}
    with pytest.raises(ValueError, match="log.writers.wandb = 'yes': True, False, or arguments"):
        metrics.wandb_options("yes")


def test_wandb_that_is_not_installed_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"rewardjax\[wandb\]"):
        writer(tmp_path, wandb=True)
