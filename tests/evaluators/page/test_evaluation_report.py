"""The page of an evaluation: its sections, missing numbers, and a browser without complaints."""

import dataclasses
import html
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
from rewardjax.evaluators.page import comparison, evaluation, report

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
        "Most confident mistakes",
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


def test_mistakes_are_shown_with_their_texts_and_kept_by_id(folders):
    first = evaluation.read(folders[0])
    kept = first.record["mistakes"]
    assert set(kept) <= set(first.results) and "llmbar" in kept
    rows = [json.loads(line) for line in (folders[0] / "mistakes.jsonl").read_text().splitlines()]
    text = html.unescape((folders[0] / "report.html").read_text())
    for row in rows:
        assert row["id"] in text
        if row["benchmark"] == "llmbar":
            assert row["chosen"][0]["content"][:600] in text
    worst = kept["llmbar"][0]
    stored = dict(
        zip(
            [item.id for item in first.scores["llmbar"].items],
            first.scores["llmbar"].rewards,
            strict=True,
        )
    )
    rewards = stored[worst["id"]]
    assert worst["margin"] == pytest.approx(rewards[worst["worse"]] - rewards[worst["better"]])


def test_the_order_of_answers_does_not_matter_to_the_scores(folders):
    order = evaluation.read(folders[0]).record["counterfactual"]["llmbar"][counterfactual.ORDER]
    assert abs(order["shift"]) < 1e-4 and order["both"]["flips"] == 0 and order["responses"] == 6


def test_a_comparison_leaves_its_numbers_as_files_too(compared):
    record = json.loads((compared.parent / "comparison.json").read_text())
    assert record["correction"] in html.unescape(plain(compared)) and "Holm" in record["correction"]
    for name in ("comparison.md", "comparison.csv", "comparison.tex", "headlines.csv"):
        assert (compared.parent / name).stat().st_size > 0


def test_two_models_are_compared_benchmark_by_benchmark(compared):
    text = plain(compared)
    assert "Comparison of models" in text and text.count("second") > 10
    assert (
        sorted(file.name for file in (compared.parent / "plots").iterdir())[-1] == "selection.png"
    )


def test_a_folder_without_an_evaluation_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} has no results.json"):
        report.write([tmp_path], tmp_path / "report.html")


def browse(page, folder, window=1400):
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
        f"--window-size={window},900",
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


# In a frame of a given width: a window of a headless browser is never narrower than 500 pixels.
MEASURE = """<!doctype html><body style="margin:0">
<iframe id="frame" style="width:WIDTHpx;height:900px;border:0" srcdoc="SOURCE"></iframe>
<pre id="measured"></pre><script>
document.getElementById("frame").onload = (event) => {
  const page = event.target.contentDocument, columns = {};
  for (const cell of page.querySelectorAll("thead th")) {
    const box = cell.getBoundingClientRect(), name = cell.textContent;
    columns[name] = Math.max(columns[name] || 0, box.right);
  }
  document.getElementById("measured").textContent = JSON.stringify(
    {columns, page: page.documentElement.scrollWidth, frame: page.documentElement.clientWidth});
};
</script>"""


def measured(page, width, folder):
    """Right edges of the columns by name, and the widths of page and frame, in pixels."""
    frame = folder / f"{width}.html"
    source = html.escape(page.read_text(encoding="utf-8"))
    frame.write_text(MEASURE.replace("WIDTH", str(width)).replace("SOURCE", source))
    dom, _, _ = browse(frame, folder, window=max(width, 500))
    return json.loads(html.unescape(re.search(r'id="measured">(.*?)</pre>', dom, re.S)[1]))


@pytest.fixture(scope="module")
def long_names(folders):
    """A comparison of two models whose names are as long as those of the hub."""
    path = folders[0].parent / "long" / "report.html"
    names = (
        "nvidia/Llama-3.3-Nemotron-70B-Reward-Multilingual",
        "an_organization/a_reward_model_of_which_the_name_has_no_hyphen",
    )
    models = [
        dataclasses.replace(evaluation.read(folder), name=name)
        for folder, name in zip(folders, names, strict=True)
    ]
    report.write_about(comparison.compare_all(models), path)
    return path


@pytest.mark.skipif(BROWSER is None, reason="no headless browser here")
@pytest.mark.parametrize("width", [1400, 1920])
def test_the_columns_that_a_table_is_read_for_are_in_sight(long_names, width, tmp_path):
    found = measured(long_names, width, tmp_path)
    for column in ("average", "JudgeBench", "p", "p, Holm", "more by first", "prompts"):
        assert 0 < found["columns"][column] <= width, column
    assert found["page"] <= found["frame"] <= width


@pytest.mark.skipif(BROWSER is None, reason="no headless browser here")
def test_on_a_phone_tables_scroll_and_the_page_does_not(long_names, tmp_path):
    found = measured(long_names, 390, tmp_path)
    assert found["page"] <= found["frame"] <= 390
    assert found["columns"]["average"] <= 390, "the first number beside the names"
