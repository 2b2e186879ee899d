"""The page of an evaluation: its sections, missing numbers, and a browser without complaints."""

import dataclasses
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from tiny import ROOT

from rewardjax import config as config_lib
from rewardjax import evaluate
from rewardjax.evaluators import stored_rewards
from rewardjax.evaluators.audits import changes, counterfactual, style
from rewardjax.evaluators.page import evaluation, report

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
SETS = ("rewardbench", "rewardbench2", "rm_bench", "judgebench", "llmbar", "best_of_16")


@pytest.fixture(scope="module")
def folders(exported, tmp_path_factory):
    """Two evaluations: the tiny model's on some miniatures, and a copy with other rewards.

    The first has training data that overlaps with the prompts of LLMBar.
    """
    folder = tmp_path_factory.mktemp("report")
    first, second = folder / "first", folder / "second"
    training = folder / "train.jsonl"
    changes = {
        "model": str(exported),
        "output": str(first),
        "name": "<b>first</b>",
        "counterfactual.most": 3,
    }
    config = config_lib.load(ROOT / "configs/eval/mini.py:pairs=20,prompts=16", changes)
    with config.unlocked():
        for name in set(config.benchmarks) - set(SETS):
            del config.benchmarks[name]
        config.counterfactual.benchmarks = ("llmbar",)
        config.benchmarks.rmb = dict(benchmark="rmb", path=str(folder / "nowhere"))
        config.overlap = {"train": {"path": str(training)}}
    prompts = [
        group.prompt[0]["content"]
        for group in evaluate.load_all(config.benchmarks)[0]["llmbar"].groups
    ]
    records = [
        {"prompt": text, "chosen": "a", "rejected": "b"} for text in ("What is new?", *prompts[:3])
    ]
    training.write_text("".join(json.dumps(row) + "\n" for row in records))
    evaluate.run(config)
    shutil.copytree(first, second)
    record = json.loads((first / "results.json").read_text())
    (second / "results.json").write_text(json.dumps(record | {"model": "second"}))
    rng = np.random.default_rng(0)
    for file in (second / "scores").iterdir():
        scores = stored_rewards.read(file)
        rewards = [rng.normal(size=len(row)).astype(np.float32) for row in scores.rewards]
        stored_rewards.write(dataclasses.replace(scores, rewards=rewards), file)
    return first, second


@pytest.fixture(scope="module")
def compared(folders):
    path = folders[0].parent / "both" / "report.html"
    report.write(folders, path)
    return path


def plain(path):
    return re.sub(r"<[^>]*>|&#\d+;|&\w+;", " ", re.sub(r'src="data:[^"]*"', "", path.read_text()))


def test_evaluate_leaves_a_report_with_every_section(folders):
    text = plain(folders[0] / "report.html")
    for heading in (
        "Benchmarks",
        "RM-Bench: the difficulty gap",
        "Best of N",
        "By category",
        "Calibration, margins and length",
        "Bias",
    ):
        assert heading in text
    for heading in ("Counterfactual changes", "Overlap with the training data", "What is missing"):
        assert heading in text
    assert "Comparison of models" not in text
    assert "Skywork-Reward-V2-Llama-3.1-8B-40M" in text
    assert "A star marks a number over less than the published benchmark" in text
    assert "has no average: 3 of the seven benchmarks have no number" in text
    assert "benchmarks.rmb.path" in text
    for name in (*style.FEATURES, *changes.CHANGES, counterfactual.ORDER):
        assert name in text
    for scorer in ("shortest response", "oracle"):
        assert scorer in text
    assert "<b>first" not in (folders[0] / "report.html").read_text(), "names are text"


def test_numbers_of_the_page_are_those_of_the_record(folders):
    first = evaluation.read(folders[0])
    text = plain(folders[0] / "report.html")
    for name, interval in first.intervals.items():
        low, high = 100 * interval["low"], 100 * interval["high"]
        assert f"{100 * interval['headline']:.1f}" in text, name
        assert f"{low:.1f} to {high:.1f}" in text, name
    assert first.record["overlap"]["records"] == 4
    [llmbar] = [row for row in first.record["overlap"]["counts"] if row["benchmark"] == "llmbar"]
    assert llmbar["found"] >= 3 and llmbar["training records"] == 3
    lines = (folders[0] / "overlap.jsonl").read_text().splitlines()
    assert {json.loads(line)["row"] for line in lines} == {1, 2, 3}


def test_the_order_of_answers_does_not_matter_to_the_scores(folders):
    order = evaluation.read(folders[0]).record["counterfactual"]["llmbar"][counterfactual.ORDER]
    assert abs(order["shift"]) < 1e-4 and order["both"]["flips"] == 0 and order["responses"] == 6


def test_two_models_are_compared_benchmark_by_benchmark(compared):
    text = plain(compared)
    assert "Comparison of models" in text and text.count("second") > 10
    assert (
        sorted(file.name for file in (compared.parent / "plots").iterdir())[-1] == "selection.png"
    )


def test_a_folder_without_an_evaluation_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} has no results.json"):
        report.write([tmp_path], tmp_path / "report.html")


def browse(page, folder):
    """The document, console lines and addresses that the page asked for, by headless Chromium.

    Requests that the browser makes for itself are left out.
    """
    log = folder / "net.json"
    quiet = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-sync",
        "--no-first-run",
    ]
    command = [
        BROWSER,
        *quiet,
        f"--user-data-dir={folder / 'profile'}",
        "--enable-logging=stderr",
        f"--log-net-log={log}",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    events = json.loads(log.read_text())["events"]
    urls = set()
    for event in events:
        request = event.get("params", {})
        if "url" in request and "file://" in request.get("network_isolation_key", ""):
            urls.add(request["url"])
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line], urls


@pytest.mark.skipif(BROWSER is None, reason="no headless browser here")
def test_a_browser_asks_nobody_for_anything_and_has_no_complaint(compared, tmp_path):
    dom, console, urls = browse(compared, tmp_path)
    assert (
        dom.count("<img") == len(list((compared.parent / "plots").iterdir()))
        and "Comparison of models" in dom
    )
    assert console == [] and urls == set()
    control = tmp_path / "control.html"
    control.write_text(
        '<!doctype html><img src="http://elsewhere.test/x.png">'
        '<script>console.error("boom")</script>'
    )
    _, console, urls = browse(control, tmp_path)
    assert len(console) == 1 and "boom" in console[0] and urls == {"http://elsewhere.test/x.png"}, (
        "this test would see a request and an error"
    )
