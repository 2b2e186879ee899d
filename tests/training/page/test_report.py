"""What a run's page argues."""

import re

import pytest

from rewardjax.training.page import report

NAMES = {"heldout": "heldout (pairs.jsonl, 5%)"}


@pytest.mark.parametrize(
    "low, high, chance",
    [
        (0.55, 0.7, "better than chance"),
        (0.45, 0.6, "cannot be told from chance"),
        (0.3, 0.4, "worse than chance, 50%: are the labels the wrong way round?"),
    ],
)
def test_the_headline_has_set_figure_interval_and_chance(low, high, chance):
    summary = {"heldout/pairs": 1200, "heldout/accuracy": (low + high) / 2}
    summary |= {"heldout/wilson_low": low, "heldout/wilson_high": high}
    (sentence,) = report.verdicts(summary, NAMES)
    assert sentence.startswith("On heldout (pairs.jsonl, 5%) the model prefers the right response")
    assert f"{50 * (low + high):.1f}% of 1,200 pairs" in sentence and chance in sentence


def test_what_was_not_measured_is_said():
    (no_preference,) = report.verdicts({"ties/pairs": 0}, {"ties": "ties (x.jsonl)"})
    assert "nothing could be measured" in no_preference
    (no_set,) = report.verdicts({}, {})
    assert "was not measured" in no_set
    (benchmark,) = report.verdicts({"b/headline": 0.5}, {"b": "b (llmbar)"})
    assert benchmark == "On b (llmbar) its headline is 0.500."


def test_the_headline_says_where_the_model_began_where_that_was_measured():
    summary = {"b/headline": 0.5, "set/accuracy": 0.7, "set/pairs": 100}
    summary |= {"set/wilson_low": 0.6, "set/wilson_high": 0.78}
    rows = [{"step": 0, "b/headline": 0.25, "set/accuracy": 0.49}, {"step": 8, "b/headline": 0.5}]
    names = {"set": "set (x.jsonl)", "b": "b (rewardbench2)"}
    of_set, of_benchmark = report.verdicts(summary, names, rows)
    assert of_set.endswith("better than chance, 50%. Before the first step it was 49.0%.")
    assert of_benchmark.endswith("headline is 0.500. Before the first step it was 0.250.")
    # A run of an earlier version, which has no row of step 0.
    assert "Before" not in " ".join(report.verdicts(summary, names, rows[1:]))


def test_wrong_labels_of_the_world_are_told_and_others_are_not_guessed():
    ceilings = {"noisy": 0.7125, "right": 1.0, "mine": None}
    names = {name: f"{name} (x)" for name in ceilings}
    (sentence,) = report.label_errors(ceilings, names)
    assert "Of the labels of noisy (x), 71.2% prefer the right response" in sentence


def test_a_benchmark_has_its_own_chance():
    config = {"evals": {"heldout": {}}, "benchmarks": {"b": {"benchmark": "rewardbench2"}}}
    names = NAMES | {"b": "b (rewardbench2)"}
    panels = report.learning_curves(config, names, {"heldout": None})
    (of_set,), (of_benchmark,) = panels.values()
    assert of_set.name == "heldout/accuracy" and of_set.chance == 0.5
    assert of_benchmark.name == "b/headline" and of_benchmark.chance == 0.25 * 5 / 6


def test_a_runs_page_argues_in_this_order(tiny_run):
    page = (tiny_run[0] / "report.html").read_text()
    headings = re.findall(r"<h2[^>]*>([^<]+)", page)
    assert headings == [
        "Result",
        "Hardest pairs",
        "What was dropped, and why",
        "Held-out sets",
        "Figures",
        "Time",
        "The run",
    ]
    text = re.sub(r"<[^>]+>|\s+", " ", page)
    assert "On heldout (world:heldout?num=32) the model prefers" in text
    assert "Before the first step it was" in text
    assert "share whose preferred response scores strictly higher" in text
    assert "160 pairs of 160 records kept" in text
    # A question and two answers, without the template around them.
    assert page.count('class="bubble user"') == 7 and page.count('class="chat rejected"') == 7
    assert "&lt;|im_start|&gt;" not in page
