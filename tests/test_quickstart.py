"""The quickstart in miniature: the story runs from noisy pools to a folder that scores."""

import json
import re

import numpy as np
from tiny import ROOT

from rewardjax import quickstart
from rewardjax.curation.overview import quickstart_page


def test_the_story_runs_and_leaves_what_it_promises(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    summary = quickstart.run(tmp_path, tiny=True)
    assert {"accuracy", "pairs", "seconds"} <= summary.keys() and summary[
        "arms"
    ].keys() == quickstart.ARMS.keys()
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    story = (tmp_path / "quickstart.html").read_text()
    for heading in ("In short", "Who labeled what", "Differences on the same pairs", "turned"):
        assert heading in story
    for link in re.findall(r'<li><a href="(.*?)">', story):
        assert (tmp_path / link).exists(), link
    for name in (
        "report.html",
        "plots/curation.png",
        "hf/model.safetensors",
        "checkpoints",
        "curation/data/flipped.parquet",
    ):
        assert (tmp_path / name).exists(), name
    printed = capsys.readouterr().out
    assert printed.count("===") == 7 and "It prefers" in printed
    numbers = [line.split()[1] for line in printed.splitlines() if line.startswith("=== [")]
    assert numbers == [f"[{number}/6]" for number in range(1, 7)]
    assert "data set 3 of 3, flipped" in printed


def test_what_a_data_set_gains_is_counted_on_the_same_pairs():
    before = np.array([True] * 60 + [False] * 40)
    after = np.array([True] * 55 + [False] * 5 + [True] * 35 + [False] * 5)
    (row,) = quickstart_page.differences({"original": before, "flipped": after})
    assert row["difference"] == "+0.300"
    assert (row["only the first right"], row["only the second right"]) == (5, 35)
    low, high = map(float, row["95% interval"].split(" to "))
    assert 0 < low < 0.3 < high < 0.5
    sentence = quickstart_page.headline({"original": before, "flipped": after})
    assert "(flipped)" in sentence and sentence.index("90.0%") < sentence.index("60.0%")


def test_categories_come_with_the_best_first():
    rows = quickstart_page.by_category(np.array([True, False, True]), ["math", "math", "coding"])
    assert [(row["category"], row["accuracy"]) for row in rows] == [
        ("coding", "1.000"),
        ("math", "0.500"),
    ]
