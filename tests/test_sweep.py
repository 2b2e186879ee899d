"""Sweeps: the plan is checked before anything runs; a second call repeats only what is not done."""

import json
import sys
import textwrap

import pytest
from tiny import ROOT

from rewardjax import config as config_lib
from rewardjax import sweep
from rewardjax.command import errors
from rewardjax.reporting import text_table

CONFIG = """
from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder
from rewardjax.config import parse_arg, product, sweep as vary

def get_config(arg=None):
    arg = parse_arg(arg, bias=0.0)
    return ConfigDict(dict(optim=dict(lr=0.1, betas=(0.9, 0.95)), seed=0, bias=arg.bias, clip=placeholder(float), name="x", on=False))

def sweep():
    return product(vary("optim.lr", (0.25, 0.5)), vary("seed", (0, 1)))

def sweep_types():
    yield {"optim.betas": (0.5, 0.75), "clip": 1.5, "name": "a b=c", "on": True}
    yield {"optim.lr": 1, "seed": -1}

def sweep_typo():
    return [{"seed": 1}, {"optim.lrr": 1.0}]

def sweep_type():
    return [{"seed": 1.0}]

def sweep_twice():
    return [{"seed": 0}, {"optim.lr": 0.1}]
"""

# Stands in for rewardjax.train: same flags, same files; fails while `workdir/../break` names its
# seed.
TRAIN = """
    import json, pathlib, sys
    from absl import app, flags
    from ml_collections import config_flags
    from rewardjax import config as config_lib

    config_flags.DEFINE_config_file("config", lock_config=True)
    flags.DEFINE_string("workdir", None, "")

    def main(_):
        config, workdir = flags.FLAGS.config, pathlib.Path(flags.FLAGS.workdir)
        config_lib.write_json(workdir / "config.json", config_lib.resolve(config))
        print("training", config.optim.lr)
        broken = workdir.parent / "break"
        if broken.exists() and int(broken.read_text()) == config.seed:
            sys.exit(3)
        config_lib.write_json(workdir / "summary.json", {"accuracy": config.optim.lr + config.bias, "note": "text"})
        (workdir / "DONE").touch()

    app.run(main)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "experiment.py"
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture
def command(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(textwrap.dedent(TRAIN))
    return (sys.executable, str(path))


def rows(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_a_trial_is_its_resolved_config(file):
    trials = sweep.plan(file)
    assert [trial.overrides for trial in trials] == [
        {"optim.lr": lr, "seed": seed} for lr in (0.25, 0.5) for seed in (0, 1)
    ]
    assert len({trial.id for trial in trials}) == 4
    for trial in trials:
        assert trial.resolved == config_lib.resolve(config_lib.load(file, trial.overrides))
    assert {trial.id for trial in sweep.plan(f"{file}:bias=1")}.isdisjoint(
        trial.id for trial in trials
    )


@pytest.mark.parametrize(
    "name, error, message",
    [
        ("typo", ValueError, r"sweep_typo\(\) trial 1 .*'optim' has no 'lrr'"),
        ("type", TypeError, r"sweep_type\(\) trial 0 .*expected int, got float"),
        ("twice", ValueError, "trials 0 and 1 are the same config"),
        (
            "lr",
            AttributeError,
            r"no sweep_lr\(\); it has: sweep, sweep_twice, sweep_type, sweep_types, sweep_typo",
        ),
    ],
)
def test_a_bad_sweep_is_refused_before_anything_runs(file, name, error, message):
    with pytest.raises(error, match=message):
        sweep.plan(file, name)


def test_plan_prints_the_trials(file, capsys):
    assert sweep.main(["--config", file, "--plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["trial", "optim.lr", "seed"]
    assert [line.split() for line in lines[1:]] == [
        [trial.id, str(trial.overrides["optim.lr"]), str(trial.overrides["seed"])]
        for trial in sweep.plan(file)
    ]


def test_run_resumes_where_it_failed_and_failures_are_rows(file, command, tmp_path):
    trials, folder = sweep.plan(f"{file}:bias=1"), tmp_path / "out"
    folder.mkdir()
    (folder / "break").write_text("1")
    first = sweep.run_local(trials, f"{file}:bias=1", folder, 2, command)
    assert [result["status"] for result in first] == ["done", "failed", "done", "failed"]
    assert [result["exit_code"] for result in first] == [0, 3, 0, 3]
    assert [result["summary"] and result["summary"]["accuracy"] for result in first] == [
        1.25,
        None,
        1.5,
        None,
    ]
    assert {row["trial"]: row["status"] for row in rows(folder)} == {
        result["trial"]: result["status"] for result in first
    }
    assert "training 0.25" in (folder / trials[0].id / "log.txt").read_text()

    (folder / "break").unlink()
    second = sweep.run_local(trials, f"{file}:bias=1", folder, 1, command)
    assert [result["status"] for result in second] == ["done"] * 4
    assert ["skipped" in result for result in second] == [True, False, True, False]
    assert [result["summary"]["accuracy"] for result in second] == [1.25, 1.25, 1.5, 1.5]
    assert len(rows(folder)) == 6


def test_every_type_survives_the_command_line(file, command, tmp_path):
    results = sweep.run_local(sweep.plan(file, "types"), file, tmp_path / "out", 2, command)
    assert [result["status"] for result in results] == [
        "done",
        "done",
    ]  # that is: the trials recorded the planned configs


def test_a_done_marker_of_another_config_does_not_count(file, tmp_path):
    trial, other = sweep.plan(file)[:2]
    home = tmp_path / trial.id
    home.mkdir()
    (home / "DONE").touch()
    assert not sweep.is_done(home, trial)
    config_lib.write_json(home / "config.json", other.resolved)
    assert not sweep.is_done(home, trial)
    config_lib.write_json(home / "config.json", trial.resolved)
    assert sweep.is_done(home, trial)


def test_table_has_every_column_and_no_hole():
    text = text_table.table([{"a": 1, "b": 0.5}, {"a": 22, "c": "x"}])
    assert text.splitlines() == ["a   b    c", "1   0.5", "22       x"]


TINY = ROOT / "configs/tiny.py"
MISTAKEN = """
from rewardjax.config import load_module
from rewardjax.config import sweep as vary

get_config = load_module({tiny!r}).get_config

def sweep():
    return vary("schedule.peak", (1e-3, -1.0)) + vary("eval_every", (0,))

def sweep_names():
    return [{{"stps": 1}}, {{"seed": 1.0, "sed": 1}}]

def sweep_all():
    return [{{"seed": 0, "loss.gap": 1.0}}, {{"seed": 1, "loss.gap": 1.0}}]
"""


@pytest.fixture
def mistaken(tmp_path):
    path = tmp_path / "mistaken.py"
    path.write_text(MISTAKEN.format(tiny=str(TINY)))
    return str(path)


def test_every_trial_is_checked_before_the_first_one_starts(
    mistaken, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(sweep, "run_local", None)
    (tmp_path / "file").touch()
    argv = ["--config", mistaken, "--run", "local", "--workdir"]
    with pytest.raises(SystemExit) as ended:
        sweep.main([*argv, str(tmp_path / "file" / "runs")])
    assert ended.value.code == 2
    folder, peak, every = capsys.readouterr().err.splitlines()
    trials = sweep.plan(mistaken)
    assert "--workdir" in folder and "is a file" in folder
    assert f"trial {trials[1].id}: schedule: peak = -1.0" in peak
    assert f"trial {trials[2].id}: eval_every = 0" in every
    with pytest.raises(SystemExit):
        sweep.main([*argv, str(tmp_path / "runs"), "--sweep", "all"])
    assert "every trial: loss bradley_terry: unknown option gap" in capsys.readouterr().err


def test_all_misspelt_names_of_a_sweep_are_told(mistaken):
    with pytest.raises(errors.Refusal) as refused:
        sweep.plan(mistaken, "names")
    first, second, third = refused.value.complaints
    assert "trial 0" in first and "'stps'" in first
    assert "trial 1" in second and "expected int" in second and "'sed'" in third
