"""The record of a run says what ran where, and keeps earlier starts."""

import json
import sys

import jax
import pytest
from ml_collections import ConfigDict

from rewardjax import config as config_lib
from rewardjax.io import hub
from rewardjax.reporting import run_record


def test_run_record_says_what_ran_where(tmp_path):
    mesh = jax.make_mesh((2, 4), ("data", "fsdp"))
    config = ConfigDict(dict(lr=1e-3, sizes=(1, 2)))
    first = run_record.write(tmp_path / "run", config, mesh)
    second = run_record.write(tmp_path / "run", config, mesh)
    assert json.loads((tmp_path / "run" / "config.json").read_text()) == {
        "lr": 1e-3,
        "sizes": [1, 2],
    }
    assert run_record.read_config(tmp_path / "run") == config_lib.resolve(config)
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == second | {
        "earlier_starts": [first]
    }
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["config.json", "run.json"]
    assert first["mesh"] == {"data": 2, "fsdp": 4}
    assert (
        first["devices"] == {"platform": "cpu", "kind": "cpu", "count": 8}
        and first["processes"] == 1
    )
    assert (
        first["versions"]["jax"] == jax.__version__
        and first["versions"]["python"] == sys.version.split()[0]
    )


def test_the_commits_of_repositories_that_were_read_are_in_the_record(monkeypatch):
    monkeypatch.setattr(hub, "commits", lambda: {"maker/data@v1": "0a1b"})
    assert run_record.collect(ConfigDict())["hub"] == {"maker/data@v1": "0a1b"}


def test_git_state_is_none_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(run_record, "__file__", str(tmp_path / "run_record.py"))
    assert run_record.git_state() == {"commit": None, "dirty": None}


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="not the workdir of a run"):
        run_record.read_config(tmp_path)
