"""Training runs compared by their workdirs, whose metrics the product's own writer wrote."""

import json

import pytest

from rewardjax import config as config_lib
from rewardjax import evaluate
from rewardjax.evaluators.page.evaluation import read
from rewardjax.sweeps import runs
from rewardjax.training.metrics import MetricWriter

SOURCE = "pairs.jsonl"


def trained(folder, accuracy, seed=0, rate=0.1, source=SOURCE, pairs=40):
    """A workdir as training leaves it, without checkpoints."""
    folder.mkdir(parents=True)
    section = {"source": source, "split": None, "part": [0.0, 0.5], "cache": str(folder)}
    config = {"evals": {"heldout": section}, "benchmarks": {}, "rate": rate, "seed": seed}
    config_lib.write_json(folder / "config.json", config)
    writer = MetricWriter(folder, start_step=0)
    for step, share in ((10, 0.5), (20, accuracy)):
        writer.write(step, {"heldout/accuracy": share})
    writer.close()
    summary = {"seconds": 9.0, "heldout/pairs": pairs, "heldout/accuracy": accuracy}
    config_lib.write_json(folder / "summary.json", summary)
    return folder


def test_seeds_are_folded_and_arms_ranked(tmp_path, capsys):
    folders = [
        trained(tmp_path / "a0", 0.60, seed=0, rate=0.1),
        trained(tmp_path / "a1", 0.64, seed=1, rate=0.1),
        trained(tmp_path / "b0", 0.70, seed=0, rate=0.3),
        trained(tmp_path / "b1", 0.74, seed=1, rate=0.3),
    ]
    evaluate.compare([*map(str, folders), "--output", str(tmp_path / "both")])
    said = capsys.readouterr().out
    header, first, second, *remarks = said.splitlines()
    # The set's source stands with the figure: accuracies on other data are other figures.
    assert "heldout (pairs.jsonl, 50%) accuracy" in header
    assert " ".join(first.split()) == "1 b0, b1 0.3 2 0.720 (0.466 to 0.974) 9"
    assert " ".join(second.split()) == "2 a0, a1 0.1 2 0.620 (0.366 to 0.874) 9"
    assert remarks[0].startswith("Ranked by heldout (pairs.jsonl, 50%) accuracy, best first.")
    assert "no paired test" in said and "b0 and b1 and a0 and a1, which kept no rewards" in said
    page = tmp_path / "both" / "report.html"
    assert remarks[-1] == str(page)
    assert "0.720 (0.466 to 0.974)" in page.read_text() and "no paired test" in page.read_text()
    assert (tmp_path / "both" / "plots" / "curves_0.png").is_file()


def test_a_run_that_differs_in_its_cache_alone_is_another_seed_of_the_same_arm(tmp_path):
    folders = [trained(tmp_path / str(seed), 0.6, seed=seed) for seed in range(3)]
    _, *rows = runs.compare(folders, tmp_path / "report.html").splitlines()
    assert rows[0].split()[:5] == ["1", "0,", "1,", "2", "3"]
    assert rows[1].startswith("Ranked by")
    assert rows[2] == "There is no paired test: the runs differ in their seed alone."


def test_runs_named_alike_are_told_apart_by_their_paths(tmp_path):
    folders = [trained(tmp_path / str(rate) / "run", 0.6, rate=rate) for rate in (0.1, 0.3)]
    _, first, second, *_ = runs.compare(folders, tmp_path / "report.html").splitlines()
    assert str(folders[0]) in first and str(folders[1]) in second


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["a"], "name at least two"),
        (["a", "a"], "named twice"),
        (["a", "copy"], "same config and the same seed"),
        (["a", "empty"], "empty is not the workdir of a training run"),
        (["a", "running"], r"has not ended \(it has no summary.json\)"),
        (["a", "elsewhere"], "no held-out set or benchmark in common"),
        (["a", "grown"], "no held-out set or benchmark in common"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(tmp_path, names, sentence):
    trained(tmp_path / "a", 0.6)
    trained(tmp_path / "copy", 0.6)
    trained(tmp_path / "elsewhere", 0.6, seed=1, source="other.jsonl")
    trained(tmp_path / "grown", 0.6, seed=1, pairs=41)
    (trained(tmp_path / "running", 0.6, seed=1) / "summary.json").unlink()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=sentence) as refused:
        evaluate.compare(
            [*(str(tmp_path / name) for name in names), "--output", str(tmp_path / "page")]
        )
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "page").exists()


def test_a_set_without_a_preference_is_not_compared(tmp_path):
    folders = [trained(tmp_path / "a", 0.6), trained(tmp_path / "b", 0.7, seed=1)]
    summary = json.loads((folders[0] / "summary.json").read_text())
    config_lib.write_json(folders[0] / "summary.json", summary | {"heldout/accuracy": None})
    with pytest.raises(ValueError, match="in common"):
        runs.compare(folders, tmp_path / "report.html")


def test_addresses_where_no_evaluation_and_no_page_can_be_are_refused(tmp_path):
    folders = [str(trained(tmp_path / name, 0.6, seed=seed)) for seed, name in enumerate("ab")]
    with pytest.raises(ValueError, match="gs://bucket/page is an address and not a path"):
        evaluate.compare([*folders, "--output", "gs://bucket/page"])
    with pytest.raises(ValueError, match="gs://bucket/eval is an address and not a path"):
        read("gs://bucket/eval")


def test_seeds_of_an_experiment_have_one_setting(tmp_path):
    def described(name, step=None, **settings):
        return runs.seed_and_setting(trained(tmp_path / name, 0.6, **settings), step)

    first, second = described("a", seed=0), described("b", seed=1)
    assert (first["seed"], second["seed"]) == (0, 1)
    assert first["setting"] == second["setting"]
    others = [described("c", rate=0.2), described("d", step=5), described("e", source="o.jsonl")]
    assert len({first["setting"], *(other["setting"] for other in others)}) == 4
    assert runs.seed_and_setting(tmp_path, None) is None, "an exported folder, for example"
