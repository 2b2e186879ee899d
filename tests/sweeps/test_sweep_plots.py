"""Names, ranking and plots of a sweep, on outcomes that nobody had to train for."""

import pathlib

import pytest

from rewardjax.sweeps import names, outcomes, page, plots, ranking
from rewardjax.sweeps.trials import Trial

CONFIG = {"evals": {"heldout": {}}, "rate": 0.0, "batch": 0, "seed": 0}
NAME = "heldout/accuracy"


def swept(overrides, accuracies, config=CONFIG):
    """Trials with these overrides, and outcomes with these accuracies, None where one failed."""
    trials, read = [], []
    for number, (changes, accuracy) in enumerate(zip(overrides, accuracies, strict=True)):
        trial = Trial(number, f"{number:016x}", f"{number:02d}", changes, config | changes)
        trials.append(trial)
        outcome = outcomes.Outcome(trial, outcomes.FAILED, pathlib.Path(trial.name), {}, "why", 2)
        if accuracy is not None:
            outcome = outcome._replace(status=outcomes.DONE, figures={NAME: accuracy})
        read.append(outcome)
    return trials, read


GRID = [
    {"rate": rate, "batch": batch, "seed": seed}
    for rate, batch, seed in (
        (1e-4, 32, 0),
        (1e-4, 32, 1),
        (1e-2, 32, 0),
        (1e-2, 64, 0),
        (1e-4, 64, 0),
    )
]
ACCURACIES = [0.6, 0.7, 0.8, None, 0.5]


def test_settings_are_ranked_by_their_mean():
    trials, read = swept(GRID, ACCURACIES)
    ranked = ranking.settings(trials, read)
    assert [setting.values for setting in ranked] == [
        {"rate": 1e-2, "batch": 32},
        {"rate": 1e-4, "batch": 32},
        {"rate": 1e-4, "batch": 64},
    ]
    rows = ranking.rows(trials, read)
    # By hand: mean 0.65, standard error 0.05, t of one degree of freedom 12.706.
    assert rows[1] == {
        "rank": "2",
        "trials": "0, 1",
        "rate": "1e-4",
        "batch": "32",
        "n": "2",
        NAME: "0.650 (0.015 to 1.285)",
    }


def test_what_was_not_a_number_is_last():
    trials, read = swept([{"rate": rate} for rate in (1.0, 2.0, 3.0)], [float("nan"), 0.2, 0.9])
    ranked = ranking.settings(trials, read)
    assert [setting.values["rate"] for setting in ranked] == [3.0, 2.0, 1.0]


def test_the_figure_that_keeps_checkpoints_ranks():
    config = CONFIG | {"checkpoint": {"keep": {"best": "bench/headline"}}}
    config |= {"benchmarks": {"bench": {}}}
    trials, _ = swept([{"rate": 1.0}], [0.5], config)
    assert outcomes.headlines(trials[0]) == ["bench/headline", NAME]


@pytest.mark.parametrize(
    "values, short",
    [
        (["world:train?num=9&labels=honest", "world:train?num=9&labels=style"], None),
        (["a/b/c.jsonl", "a/b/d.jsonl"], ["c.jsonl", "d.jsonl"]),
        (["hinge", "hinged"], ["hinge", "hinged"]),
        (["a", "a/b"], ["a", "a/b"]),
        (["only one"], ["only one"]),
        ([1e-3, 3e-5, 0.25, 2], ["1e-3", "3e-5", "0.25", "2"]),
        ([(0.0, 0.5), [0.0, 1.0]], ["(0, 0.5)", "(0, 1)"]),
    ],
)
def test_short_values_tell_apart(values, short):
    assert names.short_values(values) == (short or ["labels=honest", "labels=style"])


def test_names_of_folders_are_safe_and_bounded():
    name = names.folder_name(3, "4f2a9c0123456789", {"source": "gs://b/../x y?z=*" * 20})
    assert name.startswith("03-source=gs_b_.._x_y_z=_gs") and name.endswith("-4f2a9c")
    assert len(name) <= names.MOST_LETTERS + 10
    assert names.folder_name(3, "4f2a9c0123456789", {}) == "03-4f2a9c"


def test_fields_that_end_alike_are_told_apart():
    short = names.short_fields(["schedule.peak", "data.source", "evals.heldout.source"])
    assert list(short.values()) == ["peak", "data.source", "evals.heldout.source"]


def test_an_axis_over_decades_is_logarithmic():
    scale = plots.Scale([1e-4, 1e-2, 1e-3])
    assert scale.logarithmic and scale.ticks == ["1e-4", "1e-3", "0.01"]
    assert [scale.share(value) for value in (1e-4, 1e-3, 1e-2)] == pytest.approx([0, 0.5, 1])
    assert not plots.Scale([0, 10]).logarithmic
    assert plots.Scale([True, False]).place(False) == 1


def test_better_is_darker():
    assert sum(plots.shade(1.0)[:3]) < sum(plots.shade(0.5)[:3]) < sum(plots.shade(0.0)[:3])


def test_a_trial_that_still_runs_has_its_curve(tmp_path):
    trials, read = swept([{"rate": rate} for rate in (1.0, 2.0)], [0.5, None])
    read = [outcome._replace(home=tmp_path / outcome.home) for outcome in read]
    for outcome in read:
        outcome.home.mkdir()
        (outcome.home / "metrics.jsonl").write_text('{"step": 1, "heldout/accuracy": 0.6}\n')
    assert len(ranking.settings(trials, read)) == 1
    lines, remarks = page.curves_of(ranking.grouped(trials, read), NAME)
    assert lines == {"rate = 1": [[(1, 0.6)]], "rate = 2": [[(1, 0.6)]]} and not remarks


def test_more_settings_than_colors_are_drawn(tmp_path):
    lines = {f"rate = {number}": [[(1, 0.5), (2, 0.6)]] for number in range(9)}
    plots.curves(lines, NAME, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_has_each_plot_that_has_something_to_show(tmp_path, monkeypatch):
    trials, read = swept(GRID, ACCURACIES)
    read = [outcome._replace(home=tmp_path / outcome.home) for outcome in read]
    for outcome in read:
        outcome.home.mkdir()
    (read[0].home / "metrics.jsonl").write_text('{"step": 1, "heldout/accuracy": 0.6}\n')
    (read[2].home / "metrics.jsonl").write_text("damaged\n")
    monkeypatch.setattr(outcomes, "read", lambda *_: read)
    page.write(tmp_path, trials, "grid.py")
    html = (tmp_path / page.FILE).read_text()
    for caption in ("Slices:", "Parallel coordinates:", "Interaction:", "Learning curves:"):
        assert f"<figcaption>{caption}" in html
    assert "Best: rate = 0.01, batch = 32 with heldout/accuracy 0.800 (5 trials, 1 failed)." in html
    assert "A learning curve is missing:" in html and "line 1: not a metric line" in html


def test_a_page_of_nothing_says_so(tmp_path):
    trials, _ = swept(GRID, ACCURACIES)
    page.write(tmp_path, trials, "grid.py")
    html = (tmp_path / page.FILE).read_text()
    assert "No figure yet (5 trials, 0 failed; not run: trial 0, 1, 2, 3, 4)." in html
