"""Sweeps: the plan is checked before anything runs; a second call repeats only what is not done."""

import json
import sys
import textwrap

import pytest
from tiny import ROOT

from rewardjax import config as config_lib
from rewardjax import sweep
from rewardjax.command import errors
from rewardjax.command.exit_codes import ExitCode
from rewardjax.data import prepare
from rewardjax.reporting import text_table
from rewardjax.sweeps import ask_tell, local, outcomes, page, preflight
from rewardjax.sweeps import trials as trials_lib

CONFIG = """
from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder
from rewardjax.config import parse_arg, product, sweep as vary

def get_config(arg=None):
    arg = parse_arg(arg, bias=0.0)
    return ConfigDict(dict(optim=dict(lr=0.1, betas=(0.9, 0.95)), seed=0, bias=arg.bias, clip=placeholder(float), name="x", on=False,
        evals=dict(heldout=dict(source="x"))))

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
            print("rewardjax.train: data.source: no such file: x.jsonl", file=sys.stderr)
            print("and what was cleaned up")
            sys.exit(3)
        accuracy = config.optim.lr + config.bias + config.seed / 100
        summary = {"heldout/accuracy": accuracy, "seconds": 12.345, "note": "text"}
        config_lib.write_json(workdir / "summary.json", summary)
        with open(workdir / "metrics.jsonl", "w") as metrics:
            print(json.dumps({"step": 1, "heldout/accuracy": accuracy}), file=metrics)
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
    trials = trials_lib.plan(file)
    assert [trial.overrides for trial in trials] == [
        {"optim.lr": lr, "seed": seed} for lr in (0.25, 0.5) for seed in (0, 1)
    ]
    assert len({trial.id for trial in trials}) == 4
    for trial in trials:
        assert trial.resolved == config_lib.resolve(config_lib.load(file, trial.overrides))
    assert {trial.id for trial in trials_lib.plan(f"{file}:bias=1")}.isdisjoint(
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
        trials_lib.plan(file, name)


def test_plan_prints_the_trials(file, capsys):
    assert sweep.main(["--config", file, "--plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["trial", "id", "optim.lr", "seed"]
    assert [line.split() for line in lines[1:]] == [
        [
            str(trial.number),
            trial.id,
            str(trial.overrides["optim.lr"]),
            str(trial.overrides["seed"]),
        ]
        for trial in trials_lib.plan(file)
    ]


def test_run_resumes_where_it_failed_and_failures_are_rows(file, command, tmp_path):
    trials, folder = trials_lib.plan(f"{file}:bias=1"), tmp_path / "out"
    folder.mkdir()
    (folder / "break").write_text("1")
    first = local.run_local(trials, f"{file}:bias=1", folder, 2, command)
    assert [result["status"] for result in first] == ["done", "failed", "done", "failed"]
    assert [result["exit_code"] for result in first] == [0, 3, 0, 3]
    assert [result["summary"] and result["summary"]["heldout/accuracy"] for result in first] == [
        1.25,
        None,
        1.5,
        None,
    ]
    assert {row["trial"]: row["status"] for row in rows(folder)} == {
        result["trial"]: result["status"] for result in first
    }
    assert "training 0.25" in (folder / trials[0].name / "log.txt").read_text()

    (folder / "break").unlink()
    second = local.run_local(trials, f"{file}:bias=1", folder, 1, command)
    assert [result["status"] for result in second] == ["done"] * 4
    assert ["skipped" in result for result in second] == [True, False, True, False]
    assert [result["summary"]["heldout/accuracy"] for result in second] == [1.25, 1.26, 1.5, 1.51]
    assert len(rows(folder)) == 6


def test_every_type_survives_the_command_line(file, command, tmp_path):
    results = local.run_local(trials_lib.plan(file, "types"), file, tmp_path / "out", 2, command)
    assert [result["status"] for result in results] == [
        "done",
        "done",
    ]  # that is: the trials recorded the planned configs


def test_a_done_marker_of_another_config_does_not_count(file, tmp_path):
    trial, other = trials_lib.plan(file)[:2]
    home = tmp_path / trial.id
    home.mkdir()
    (home / "DONE").touch()
    assert not local.is_done(home, trial)
    config_lib.write_json(home / "config.json", other.resolved)
    assert not local.is_done(home, trial)
    config_lib.write_json(home / "config.json", trial.resolved)
    assert local.is_done(home, trial)


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

def sweep_files():
    here, gone = "world:train?num=8", "gone.jsonl"
    yield {{"data.source": gone}}
    yield {{"data.source": here}}
    yield {{"data.source": gone, "seed": 1}}
    yield {{"evals.heldout.source": "world:tset?num=8"}}
    yield {{"model.folder": "no/such/hf"}}
    yield {{"tokenizer.folder": "no/such/tokenizer"}}
"""


@pytest.fixture
def mistaken(tmp_path):
    path = tmp_path / "mistaken.py"
    path.write_text(MISTAKEN.format(tiny=str(TINY)))
    return str(path)


def test_every_trial_is_checked_before_the_first_one_starts(
    mistaken, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(local, "run_local", None)
    (tmp_path / "file").touch()
    argv = ["--config", mistaken, "--run", "local", "--workdir"]
    with pytest.raises(SystemExit) as ended:
        sweep.main([*argv, str(tmp_path / "file" / "runs")])
    assert ended.value.code == 2
    folder, peak, every = capsys.readouterr().err.splitlines()
    assert "--workdir" in folder and "is a file" in folder
    assert "trial 1: schedule: peak = -1.0" in peak
    assert "trial 2: eval_every = 0" in every
    with pytest.raises(SystemExit):
        sweep.main([*argv, str(tmp_path / "runs"), "--sweep", "all"])
    assert "every trial: loss bradley_terry: unknown option gap" in capsys.readouterr().err


def test_data_and_models_of_all_trials_are_looked_at_before_the_first_one_starts(
    mistaken, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(local, "run_local", None)
    monkeypatch.setattr(prepare, "prepare", None)
    argv = ["--config", mistaken, "--sweep", "files", "--run", "local", "--workdir"]
    with pytest.raises(SystemExit) as ended:
        sweep.main([*argv, str(tmp_path / "runs")])
    assert ended.value.code == 2
    data, held_out, model, tokenizer = capsys.readouterr().err.splitlines()
    assert "trial 0, 2: data.source: gone.jsonl: no such file" in data
    assert "trial 3: evals.heldout.source: " in held_out and "tset" in held_out
    assert "trial 4: no/such/hf" in model
    assert "trial 5: no/such/tokenizer" in tokenizer
    assert not (tmp_path / "runs").exists()


def test_data_of_a_trial_that_is_done_may_be_gone(mistaken, tmp_path):
    planned = trials_lib.plan(mistaken, "files")[:3]
    home = tmp_path / planned[0].name
    home.mkdir()
    config_lib.write_json(home / "config.json", planned[0].resolved)
    (home / "DONE").touch()
    with pytest.raises(errors.Refusal) as refused:
        preflight.refuse_mistakes(planned, mistaken, tmp_path)
    (sentence,) = refused.value.complaints
    assert sentence.startswith("trial 2: data.source: gone.jsonl")


def test_all_misspelt_names_of_a_sweep_are_told(mistaken):
    with pytest.raises(errors.Refusal) as refused:
        trials_lib.plan(mistaken, "names")
    first, second, third = refused.value.complaints
    assert "trial 0" in first and "'stps'" in first
    assert "trial 1" in second and "expected int" in second and "'sed'" in third


def broken(folder, seed):
    """Makes the trials with this seed fail."""
    folder.mkdir(exist_ok=True)
    (folder / "break").write_text(str(seed))


def test_a_folder_says_in_what_its_trial_differs(file):
    names = [trial.name for trial in trials_lib.plan(file)]
    ids = [trial.id[:6] for trial in trials_lib.plan(file)]
    assert names == [
        f"00-lr=0.25,seed=0-{ids[0]}",
        f"01-lr=0.25,seed=1-{ids[1]}",
        f"02-lr=0.5,seed=0-{ids[2]}",
        f"03-lr=0.5,seed=1-{ids[3]}",
    ]
    first, _ = trials_lib.plan(file, "types")
    assert (
        first.name == f"00-betas=0.5,0.75,clip=1.5,name=a_b=c,on=True,lr=0.1,seed=0-{first.id[:6]}"
    )


@pytest.mark.parametrize("old", ["bare id", "other number"])
def test_a_trial_keeps_the_folder_that_it_has(file, command, tmp_path, old):
    trial = trials_lib.plan(file)[1]
    home = tmp_path / trial.id
    if old == "other number":
        home = tmp_path / f"07-lr=0.25-{trial.id[:6]}"
    home.mkdir()
    config_lib.write_json(home / "config.json", trial.resolved)
    (home / "DONE").touch()
    (result,) = local.run_local([trial], file, tmp_path, 1, command)
    assert result["skipped"]
    assert not (tmp_path / trial.name).exists()


def test_a_folder_whose_id_only_begins_alike_is_of_another_trial(file, tmp_path):
    trial, other = trials_lib.plan(file)[:2]
    home = tmp_path / f"07-other-{trial.id[:6]}"
    home.mkdir()
    config_lib.write_json(home / "config.json", other.resolved)
    assert local.home_of(tmp_path, trial) == tmp_path / trial.name


def test_set_is_for_all_trials_and_changes_what_they_are(file, command, tmp_path):
    trials = trials_lib.plan(file, settings=["bias=1", "name=y"])
    assert all(trial.resolved["bias"] == 1.0 for trial in trials)
    assert {trial.id for trial in trials}.isdisjoint(trial.id for trial in trials_lib.plan(file))
    results = local.run_local(trials[:1], file, tmp_path, 1, command)
    assert results[0]["summary"]["heldout/accuracy"] == 1.25


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--set", "seed=1"], "--set seed=1: sweep() sets seed itself; leave it out of --set"),
        (["--set", "bias"], "--set bias: a field and its value"),
        (["--set", "bais=1"], "'bais' (did you mean 'bias'?)"),
        (["--trial", "4"], "--trial 4: the sweep has the trials 0 to 3"),
    ],
)
def test_a_setting_or_number_that_does_not_fit_is_one_sentence(file, capsys, flags, message):
    with pytest.raises(SystemExit) as ended:
        sweep.main(["--config", file, "--plan", *flags])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_some_trials_by_number(file, capsys):
    assert sweep.main(["--config", file, "--plan", "--trial", "3", "--trial", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["1", "3"]


def test_results_are_ranked_with_seeds_folded_and_failures_told(file, command, tmp_path, capsys):
    folder = tmp_path / "out"
    trials = trials_lib.plan(file)
    local.run_local(trials[:2], file, folder, 1, command)
    broken(folder, 1)
    local.run_local(trials, file, folder, 1, command)
    capsys.readouterr()
    assert sweep.main(["--config", file, "--results", "--workdir", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["rank", "trials", "lr", "n", "heldout/accuracy", "seconds"]
    assert lines[1].split() == ["1", "2", "0.5", "1", "0.500", "12.3"]
    # By hand: mean 0.255, standard error 0.005, t of one degree of freedom 12.706.
    assert lines[2].split(maxsplit=5)[:5] == ["2", "0,", "1", "0.25", "2"]
    assert "0.255 (0.191 to 0.319)" in lines[2]
    said = "rewardjax.train: data.source: no such file: x.jsonl"
    assert f"failed: {trials[3].name} (exit code 3): {said}" in lines
    argv = ["--config", file, "--results", "--workdir", str(folder), "--trial", "2"]
    assert sweep.main(argv) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == lines[1].split()
    html = (folder / page.FILE).read_text()
    assert "Best: lr = 0.5 with heldout/accuracy 0.500 (4 trials, 1 failed)." in html
    assert said in html and 'src="http' not in html
    for part in ("Slices:", "Learning curves:"):
        assert part in html


def test_a_page_is_there_while_trials_run(file, command, tmp_path):
    trials = trials_lib.plan(file)
    pages = []

    def ended():
        page.try_to_write(tmp_path, trials, file)
        pages.append((tmp_path / page.FILE).read_text())

    local.run_local(trials[:2], file, tmp_path, 1, command, ended)
    assert len(pages) == 2
    assert "not run: trial 1, 2, 3" in pages[0] and "not run: trial 2, 3" in pages[1]


@pytest.mark.parametrize(
    "log, sentence",
    [
        ("rewardjax.train: an old one\n=== attempt of now\n", "it ended without a word"),
        ("=== attempt of now\nrewardjax.train: a mistake\nother\n", "rewardjax.train: a mistake"),
        ("rewardjax.train: a\n=== attempt of now\nKilled\n", "Killed"),
        ("Killed\n", "Killed"),
    ],
)
def test_a_failure_has_the_sentence_of_its_last_attempt(file, tmp_path, log, sentence):
    trial = trials_lib.plan(file)[0]
    (tmp_path / trial.name).mkdir()
    (tmp_path / trial.name / "log.txt").write_text(log)
    row = {"trial": trial.id, "exit_code": 2, "seconds": 1.0}
    (tmp_path / "results.jsonl").write_text(json.dumps(row) + "\n" + '{"half')
    (outcome,) = outcomes.read(tmp_path, [trial])
    assert (outcome.status, outcome.sentence) == (outcomes.FAILED, sentence)


def test_a_trial_that_was_stopped_has_not_failed(file, tmp_path):
    trial = trials_lib.plan(file)[0]
    (tmp_path / trial.name).mkdir()
    row = {"trial": trial.id, "exit_code": int(ExitCode.PREEMPTED), "seconds": 1.0}
    (tmp_path / "results.jsonl").write_text(json.dumps(row) + "\n")
    (outcome,) = outcomes.read(tmp_path, [trial])
    assert outcome.status == outcomes.UNFINISHED


def test_results_need_a_folder(file, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        sweep.main(["--config", file, "--results", "--workdir", str(tmp_path / "none")])
    assert ended.value.code == 2 and "no such folder" in capsys.readouterr().err


@pytest.fixture
def no_checks(monkeypatch):
    """The stand-in's config has none of the fields that training checks."""
    monkeypatch.setattr(preflight, "refuse_mistakes", lambda *_: None)


def test_a_search_is_told_the_figure_of_each_trial(file, command, tmp_path, no_checks):
    def objective(number, rate):
        return ask_tell.measure(file, {"optim.lr": rate}, tmp_path, number, command=command)

    assert [objective(number, rate) for number, rate in enumerate((0.25, 0.5))] == [0.25, 0.5]
    assert {path.name[:10] for path in tmp_path.glob("0*")} == {"00-lr=0.25", "01-lr=0.5-"}
    assert ask_tell.measure(file, {}, tmp_path, 2, "seconds", command) == 12.345
    with pytest.raises(ask_tell.TrialFailed, match="loss was not measured"):
        ask_tell.measure(file, {}, tmp_path, 2, "loss", command)


def test_a_search_is_told_why_a_trial_failed(file, command, tmp_path, no_checks):
    broken(tmp_path, 1)
    with pytest.raises(ask_tell.TrialFailed, match=r"exit code 3\): rewardjax.train: data.source"):
        ask_tell.measure(file, {"seed": 1}, tmp_path, 0, command=command)
    with pytest.raises(ValueError, match="trial 0: .*did you mean"):
        ask_tell.measure(file, {"sead": 1}, tmp_path, 0, command=command)


def test_optuna_searches(file, command, tmp_path, no_checks):
    optuna = pytest.importorskip("optuna", reason="optuna is not installed")

    def objective(trial):
        overrides = {"optim.lr": trial.suggest_float("lr", 0.1, 0.9)}
        return ask_tell.measure(file, overrides, tmp_path, trial.number, command=command)

    study = optuna.create_study(direction="maximize")
    study.optimize(objective, n_trials=3)
    assert study.best_value == pytest.approx(study.best_params["lr"])
