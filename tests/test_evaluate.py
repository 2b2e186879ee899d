"""The evaluate command on a tiny model: what it leaves, keeps, and says of what is missing."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from commands import run_all
from tiny import ROOT, logged, tiny_config

from rewardjax import config as config_lib
from rewardjax import evaluate, evaluators
from rewardjax.command import errors
from rewardjax.evaluators import stored_rewards
from rewardjax.evaluators.page import report, table
from rewardjax.evaluators.records import Result
from rewardjax.scoring import model as scorer
from rewardjax.sweeps import runs
from rewardjax.training import loop


def mini(model, output, names=(), **changes):
    """configs/eval/mini.py for a model, with only the benchmarks `names` if given."""
    config = config_lib.load(
        ROOT / "configs/eval/mini.py:pairs=20,prompts=4",
        {"model": str(model), "output": str(output), **changes},
    )
    with config.unlocked():
        for name in list(config.benchmarks):
            if names and name not in names:
                del config.benchmarks[name]
        config.counterfactual.benchmarks, config.overlap = (), {}
    return config


@pytest.fixture(scope="module", autouse=True)
def no_page():
    """The page takes seconds to draw; evaluators/test_report.py looks at it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write", lambda folders, output: None)
        patch.setattr(report, "write_about", lambda compared, output: None)
        yield


@pytest.fixture(scope="module")
def evaluated(exported, tmp_path_factory):
    """All miniatures on the tiny model: (record, output folder). Not to be written to."""
    output = tmp_path_factory.mktemp("evaluated") / "out"
    return evaluate.run(mini(exported, output)), output


def test_every_benchmark_has_a_number_that_is_labeled_partial(evaluated):
    record, output = evaluated
    results = {name: Result.from_record(one) for name, one in record["results"].items()}
    assert (
        set(results) == {*evaluators.PAPER, "llmbar", "heldout", "best_of_16"}
        and not record["missing"]
    )
    assert all(
        0 <= one.headline <= 1 and all(part.unscored == 0 for part in one.parts.values())
        for one in results.values()
    )
    assert (
        all(results[name].partial for name in evaluators.PAPER) and not results["heldout"].partial
    )
    assert json.loads((output / "results.json").read_text()) == record
    assert record["trained"] is None, "an exported folder does not say which run it is of"
    text = (output / "results.md").read_text()
    assert (
        f"| **{record['model']}** |" in text
        and "of 2,985 examples" in text
        # Published rows do not stand beside miniatures.
        and "Skywork-Reward-V2-Llama-3.1-8B-40M" not in text
    )
    row = next(line for line in text.splitlines() if line.startswith("| **"))
    assert row.count("*") == 4 + 8, "seven partial numbers and a partial average"
    of_rmb = record["intervals"]["rmb"]
    assert of_rmb["low"] < results["rmb"].headline < of_rmb["high"]
    low, high = 100 * of_rmb["low"], 100 * of_rmb["high"]
    assert f"## RMB: {100 * of_rmb['headline']:.1f} ({low:.1f} to {high:.1f})" in text


def test_any_rule_can_be_recomputed_from_the_stored_scores(evaluated):
    record, output = evaluated
    for name, one in record["results"].items():
        kept = stored_rewards.read(output / "scores" / f"{name}.parquet")
        again = evaluators.get(one["name"]).summarize(kept.items, kept.rewards)
        assert again == Result.from_record(one)
        assert (
            kept.meta["contract"] == record["contract"]
            and kept.meta["weights"] == record["weights"]
        )
        assert len(kept.prompts) == len(kept.items) and all(
            t.shape == r.shape for t, r in zip(kept.tokens, kept.rewards, strict=True)
        )


def test_scores_are_those_of_one_response_at_a_time(evaluated, exported):
    model = scorer.load(exported)
    examples = evaluators.load("rmb", path="assets:benchmarks/rmb")
    kept = stored_rewards.read(evaluated[1] / "scores" / "rmb.parquet")
    for k in (0, -1):
        texts = [response[0]["content"] for response in examples.groups[k].responses]
        alone = [scorer.rewards(model, examples.groups[k].prompt, [text])[0] for text in texts]
        np.testing.assert_allclose(kept.rewards[k], alone, atol=1e-4)


def test_a_second_run_computes_nothing_and_says_the_same(
    evaluated, exported, tmp_path, monkeypatch
):
    record, output = evaluated
    shutil.copytree(output, tmp_path / "out")
    load = scorer.load
    loaded = load(exported)
    monkeypatch.setattr(scorer, "load", lambda *args, **kwargs: loaded)
    monkeypatch.setattr(scorer, "token_groups", lambda *_: pytest.fail("scored again"))
    again = evaluate.run(mini(exported, tmp_path / "out"))
    assert again["results"] == record["results"]
    with pytest.raises(
        pytest.fail.Exception, match="scored again"
    ):  # other settings are other scores
        evaluate.run(mini(exported, tmp_path / "out", max_length=64))


def test_a_killed_run_goes_on_where_it_stopped(evaluated, exported, tmp_path, monkeypatch):
    monkeypatch.setattr(stored_rewards, "WINDOW", 8)
    names, calls, real = ("llmbar", "rm_bench"), [], scorer.token_groups
    loaded = scorer.load(exported)
    monkeypatch.setattr(scorer, "load", lambda *args, **kwargs: loaded)

    def stop_at(limit):
        def token_groups(model, groups):
            if len(calls) == limit:
                raise KeyboardInterrupt
            calls.append(len(groups))
            return real(model, groups)

        monkeypatch.setattr(scorer, "token_groups", token_groups)

    stop_at(4)  # rm_bench (20 examples) whole, llmbar (20) after one of its three windows
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(mini(exported, tmp_path, names))
    stop_at(None)
    record = evaluate.run(mini(exported, tmp_path, names))
    assert calls == [8, 8, 4, 8, 8, 4]
    assert not [path for path in (tmp_path / "scores").iterdir() if path.is_dir()], (
        "finished windows are removed"
    )
    for name in names:
        expected = evaluated[0]["results"][name]
        assert record["results"][name]["headline"] == pytest.approx(expected["headline"], abs=1e-12)


def test_of_two_evaluations_one_takes_the_scores_that_the_other_has_finished(
    evaluated, exported, tmp_path, monkeypatch
):
    model = scorer.load(exported)
    monkeypatch.setattr(scorer, "load", lambda *args, **kwargs: model)

    def beaten(*_):
        # The other one ends while this one scores its first window.
        (tmp_path / "scores").mkdir(parents=True, exist_ok=True)
        shutil.copy(evaluated[1] / "scores/llmbar.parquet", tmp_path / "scores")
        for parts in (tmp_path / "scores").glob("llmbar.*/"):
            shutil.rmtree(parts)
        return [np.zeros(2)]

    monkeypatch.setattr(stored_rewards, "rewards_of", beaten)
    record = evaluate.run(mini(exported, tmp_path, ("llmbar",)))
    assert record["results"]["llmbar"] == evaluated[0]["results"]["llmbar"]


CONFIG = """
from rewardjax.config import load

def get_config(arg=None):
    config = load("{mini}")
    with config.unlocked():
        names = ("rm_bench", "judgebench")
        config.benchmarks = {{name: config.benchmarks[name].to_dict() for name in names}}
        if "counterfactual" in config:
            config.counterfactual.benchmarks = ()
    return config
"""


def test_two_processes_of_four_devices_score_as_one_of_eight(evaluated, exported, tmp_path):
    (tmp_path / "config.py").write_text(CONFIG.format(mini=ROOT / "configs/eval/mini.py"))
    command = [sys.executable, "-m", "launch.local", "--processes", "2", "--devices", "4", "--"]
    command += [sys.executable, "-m", "rewardjax.evaluate", f"--config={tmp_path / 'config.py'}"]
    command += [f"--config.model={exported}", f"--config.output={tmp_path / 'out'}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    assert json.loads((tmp_path / "out" / "run.json").read_text())["processes"] == 2
    for name in ("rm_bench", "judgebench"):
        here, there = (
            stored_rewards.read(folder / "scores" / f"{name}.parquet")
            for folder in (tmp_path / "out", evaluated[1])
        )
        np.testing.assert_allclose(
            np.concatenate(here.rewards), np.concatenate(there.rewards), rtol=1e-5, atol=1e-6
        )


def test_missing_files_are_listed_with_how_to_get_them(exported, tmp_path):
    changes = {
        "benchmarks.rmb.path": str(tmp_path / "nowhere"),
        "benchmarks.llmbar.path": str(tmp_path),
    }
    record = evaluate.run(
        mini(exported, tmp_path / "out", ("rmb", "llmbar", "judgebench"), **changes)
    )
    assert set(record["results"]) == {"judgebench"} and set(record["missing"]) == {"rmb", "llmbar"}
    assert (
        "RMB_dataset" in record["missing"]["rmb"]
        and "benchmarks.rmb.path" in record["missing"]["rmb"]
    )
    text = (tmp_path / "out" / "results.md").read_text()
    assert "## Missing" in text and "No average: 6 of the seven" in text
    with pytest.raises(ValueError, match="no benchmark has files"):
        evaluate.run(
            mini(
                exported,
                tmp_path / "other",
                ("rmb",),
                **{"benchmarks.rmb.path": str(tmp_path / "nowhere")},
            )
        )
    with pytest.raises(ValueError, match="config.model is empty"):
        evaluate.run(mini("", tmp_path / "other", ("rmb",)))


MISTAKES = {
    "": "config.model is empty",
    "--config.model=assets:world --config.benchmarks.rmb.benchmark=rmbb": (
        "no benchmark is called 'rmbb'; there are rewardbench, "
    ),
    "--config.model=assets:world --config.counterfactual.benchmarks=('rmbb',)": "rmbb not among",
    "--config.model=assets:world --config.benchmarks.rmb.pth=x": "pth",
    "--config.model=assets:world --only=rbm": "no benchmark is called 'rbm'; there is rmb",
    "--plan --only=llmbar/natural": "'natural'; there is llmbar-natural",
    "--config.model=assets:world --config.over_long=right": "one of left, drop, reference",
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """How the command ended, by flags."""
    config = f"--config={ROOT / 'configs/eval/mini.py'}:pairs=2,prompts=2"
    commands = [["rewardjax.evaluate", config, *flags.split()] for flags in MISTAKES]
    ended = run_all(commands, tmp_path_factory.mktemp("refused"))
    return dict(zip(MISTAKES, ended, strict=True))


@pytest.mark.parametrize("flags", MISTAKES)
def test_a_wrong_config_is_one_line_on_standard_error(flags, refused):
    ended = refused[flags]
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.count("\n") == 1 and MISTAKES[flags] in ended.stderr


def test_files_that_are_here_come_before_the_hub(tmp_path):
    (tmp_path / "rm_bench").mkdir()
    config = config_lib.load(ROOT / f"configs/eval/all.py:data={tmp_path}")
    assert set(config.benchmarks) == set(evaluators.PUBLISHED)
    assert config.benchmarks.rm_bench.path == str(tmp_path / "rm_bench")
    assert config.benchmarks.judgebench.path == "hf://ScalerLab/JudgeBench"
    assert config.benchmarks.rmb.path == str(tmp_path / "rmb"), "the hub does not have it"


def test_what_does_not_fit_has_no_score_and_is_listed(exported, tmp_path):
    record = evaluate.run(mini(exported, tmp_path, ("llmbar",), max_length=30, over_long="drop"))
    kept = stored_rewards.read(tmp_path / "scores" / "llmbar.parquet")
    missing = sum(int(np.isnan(rewards).sum()) for rewards in kept.rewards)
    assert missing == len(kept.unscored) > 0 and {entry["reason"] for entry in kept.unscored} == {
        "over_long"
    }
    parts = Result.from_record(record["results"]["llmbar"]).parts.values()
    assert (
        sum(part.n + part.unscored for part in parts) == 20
        and sum(part.unscored for part in parts) > 0
    )
    assert "unscored" in (tmp_path / "results.md").read_text()


def test_a_first_look_is_of_some_examples_and_has_no_headline(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = dict(only=("llmbar", "rmb/pairwise"), limit=5)
    config = mini(exported, "", ("llmbar", "rmb", "heldout"), **settings)
    config.counterfactual.benchmarks, config.counterfactual.most = ("llmbar", "heldout"), 2
    record = evaluate.run(config)
    assert set(record["counterfactual"]) == {"llmbar"}, "of what was selected"
    assert set(record["results"]) == {"llmbar", "rmb"}
    assert record["selected"]["llmbar"] == "5 of 20 examples"
    subsets = {item.subset for item in stored_rewards.read(_scores(tmp_path, "rmb")).items}
    assert all(subset.startswith("pairwise/") for subset in subsets)
    assert all(result["headline"] is None for result in record["results"].values())
    [folder] = (tmp_path / "runs" / "eval").iterdir()
    assert folder.name.endswith("-part"), "beside the folder of the whole evaluation"
    text = (folder / "results.md").read_text()
    assert "llmbar, selected" in text and "5 of 20 examples" in text


def _scores(folder, name):
    [file] = folder.glob(f"runs/eval/*/scores/{name}.parquet")
    return file


def test_a_part_does_not_take_the_place_of_the_whole(evaluated, exported, tmp_path):
    shutil.copy(evaluated[1] / "results.json", tmp_path)
    with pytest.raises(ValueError, match="holds an evaluation on all examples"):
        evaluate.run(mini(exported, tmp_path, ("llmbar",), limit=5))


def test_a_plan_says_what_is_selected():
    config = mini("", "", ("llmbar", "judgebench"))
    with config.unlocked():
        config.only, config.limit = ("llmbar/llmbar-natural",), 2
    text = evaluate.plan(config)
    assert "2 examples selected of 20" in text and "judgebench" not in text


def test_texts_are_cut_as_the_reference_does_when_asked(exported, tmp_path):
    settings = dict(max_length=30, over_long="reference")
    record = evaluate.run(mini(exported, tmp_path, ("llmbar",), **settings))
    kept = stored_rewards.read(tmp_path / "scores" / "llmbar.parquet")
    assert not kept.unscored and kept.meta["over_long"] == "cut_left"
    assert record["over_long_by_benchmark"] == {"llmbar": "cut_left beyond 30 tokens"}
    notes = record["results"]["llmbar"]["notes"]
    assert any("cut at their beginning, as the reference does" in note for note in notes)
    assert "cut_left beyond 30 tokens" in (tmp_path / "results.md").read_text()


def test_the_published_rows_average_to_the_published_averages():
    means = {
        "Skywork-Reward-V2-Llama-3.1-8B": 85.8,
        "Skywork-Reward-V2-Qwen3-0.6B": 70.9,
        "Skywork-Reward-V2-Llama-3.1-8B-40M": 88.6,
    }
    for name, mean in means.items():
        assert np.mean(table.PUBLISHED[name]) == pytest.approx(mean, abs=0.051)
    assert all(len(row) == 7 for row in table.PUBLISHED.values())


def test_a_benchmark_is_followed_during_training(tiny_run, tmp_path):
    config = tiny_config(tiny_run[2], steps=2)
    with config.unlocked():
        config.benchmarks = {"hard": dict(benchmark="llmbar", path="assets:benchmarks/llmbar")}
    summary = loop.run(config, tmp_path / "run")
    assert 0 <= summary["hard/headline"] <= 1 and summary["hard/unscored"] == 0
    assert list(logged(tmp_path / "run", "hard/headline")) == [0, 2]
    natural = logged(tmp_path / "run", "hard/llmbar-natural")
    assert natural[2] == summary["hard/llmbar-natural"]
    model = scorer.load(tmp_path / "run")
    again = evaluate.run(mini(tmp_path / "run", tmp_path / "out", ("llmbar",)))
    assert again["trained"] == runs.seed_and_setting(tmp_path / "run", None)
    assert (
        again["results"]["llmbar"]["headline"] == pytest.approx(summary["hard/headline"])
        and model.contract.max_length == 256
    )


def test_a_plan_names_files_and_counts_without_a_model(capsys, tmp_path):
    pair = {"prompt": "q", "chosen": "a", "rejected": "b"}
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps({**pair, "id": i}) + "\n" for i in range(3)))
    config = mini("", tmp_path / "out", ("judgebench", "rmb", "heldout"))
    with config.unlocked():
        config.benchmarks.heldout.path = str(file)
        config.benchmarks.rmb.path = str(tmp_path / "nowhere")
    text = evaluate.plan(config)
    assert "judgebench: JudgeBench, " in text and " of 154 published" in text
    assert "heldout: " in text and "2 examples are repeated" in text
    assert "rmb: missing. " in text and "RMB_dataset" in text
    assert not (tmp_path / "out").exists()


def test_own_pairs_that_repeat_are_noted(exported, tmp_path):
    pair = {"prompt": "q", "chosen": "a", "rejected": "b"}
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps({**pair, "id": i}) + "\n" for i in range(3)))
    config = mini(exported, tmp_path / "out", ("heldout",))
    with config.unlocked():
        config.benchmarks.heldout.path = str(file)
    [note] = evaluate.run(config)["results"]["heldout"]["notes"]
    assert note.startswith("2 of 3 examples repeat an earlier one")


def test_control_tokens_in_examples_are_noted_and_told(exported, tmp_path, capsys):
    pairs = [{"prompt": "q", "chosen": "a", "rejected": end} for end in ("b", "b<|im_end|>")]
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps({**pair, "id": i}) + "\n" for i, pair in enumerate(pairs)))
    config = mini(exported, tmp_path / "out", ("heldout",))
    with config.unlocked():
        config.benchmarks.heldout.path = str(file)
    [note] = evaluate.run(config)["results"]["heldout"]["notes"]
    assert note.startswith("texts of 1 records hold control tokens") and "b<|im_end|>" in note
    assert f"heldout: {note}" in capsys.readouterr().err
    assert note in (tmp_path / "out" / "results.md").read_text()


def test_evaluations_stand_side_by_side(evaluated, tmp_path, capsys):
    evaluate.compare(
        [str(evaluated[1]), str(evaluated[1]), "--output", str(tmp_path / "page.html")]
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        f"| benchmark | {evaluated[0]['model']} | {evaluated[0]['model']} (2)"
    )
    row = next(line for line in lines if line.startswith("| JudgeBench"))
    percent = f"{100 * evaluated[0]['results']['judgebench']['headline']:.1f}*"
    assert row.count(percent) == 2 and "page.html" in lines[-1]


def test_another_model_does_not_write_over_a_folder(evaluated, exported, tmp_path):
    (tmp_path / "results.json").write_text(
        json.dumps({**evaluated[0], "path": "runs/other/hf", "weights": "other"})
    )
    with pytest.raises(ValueError, match="another model, runs/other/hf"):
        evaluate.run(mini(exported, tmp_path, ("llmbar",)))


@pytest.mark.parametrize("scored, headline", [(2, 1.0), (1, None)])
def test_too_few_scored_examples_make_no_headline(scored, headline):
    examples = evaluators.load("llmbar", path="assets:benchmarks/llmbar")
    examples = dataclasses.replace(examples, items=examples.items[:4])
    rewards = [np.array([1.0, 0.0])] * scored + [np.full(2, np.nan)] * (4 - scored)
    scores = stored_rewards.Scores(examples.items, rewards, [], [], [], [], [], {"max_length": 256})
    result = evaluate.summarize(examples, scores)
    assert result.headline == headline
    if headline is None:
        [note] = result.notes
        assert "1 of 4 examples" in note and "raise --config.max_length (256)" in note


def test_without_a_terminal_progress_is_lines(capsys, monkeypatch):
    clock = iter([0.0, 0.0, 5.0, 25.0, 30.0])
    monkeypatch.setattr(evaluate.time, "monotonic", lambda: next(clock))
    with evaluate.progress("rmb", 300) as advance:
        for _ in range(3):
            advance(100)
    assert capsys.readouterr().err.splitlines() == [
        "rmb: scoring 300 examples",
        "rmb: 200 of 300 examples after 25 s",
    ]


def test_all_that_is_wrong_with_a_config_is_told_before_files_are_read(
    exported, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluate, "load_all", None)
    (tmp_path / "file").touch()
    changes = {
        "over_long": "rigth",
        "max_length": -1,
        "scorer.dtype": "float16",
        "scorer.step": 3,
        "mesh.data": 3,
        "against": (str(tmp_path / "nothing"),),
    }
    with pytest.raises(errors.Refusal) as refused:
        evaluate.run(mini(exported, tmp_path / "file" / "out", ("rmb",), **changes))
    text = "\n".join(refused.value.complaints)
    for mistake in (
        "rigth",
        "max_length = -1",
        "float16",
        "step 3",
        "is a file",
        "mesh",
        "nothing",
    ):
        assert mistake in text
    assert len(refused.value.complaints) == 7
