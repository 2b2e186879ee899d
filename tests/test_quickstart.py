"""The quickstart in miniature: the story runs from noisy pools to a folder that scores."""

import json

from tiny import ROOT

from rewardjax import quickstart


def test_the_story_runs_and_leaves_what_it_promises(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    summary = quickstart.run(tmp_path, tiny=True)
    assert {"accuracy", "pairs", "seconds"} <= summary.keys() and summary[
        "arms"
    ].keys() == quickstart.ARMS.keys()
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
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
