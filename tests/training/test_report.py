"""What a run's page argues."""

import re

import pytest

from rewardjax.training import report

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


def test_a_runs_page_begins_with_the_result_and_explains_its_figures(tiny_run):
    page = (tiny_run[0] / "report.html").read_text()
    text = re.sub(r"<[^>]+>|\s+", " ", page)
    assert "On heldout (world:heldout?num=32) the model prefers" in text
    assert "share whose preferred response scores strictly higher" in text
