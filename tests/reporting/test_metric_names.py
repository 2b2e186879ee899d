"""Every logged figure has a meaning on the page of metrics."""

import pathlib

from tiny import ROOT

from rewardjax.reporting import metric_names
from rewardjax.tools import reference_pages
from rewardjax.training.metrics import OWN_FIELDS, read_metrics


def test_every_figure_of_a_run_is_described(tiny_run):
    logged = set().union(*read_metrics(tiny_run[0])) - OWN_FIELDS
    of_steps = {name for name in logged if "/" not in name}
    assert of_steps <= metric_names.STEP.keys() | metric_names.SPEED.keys()
    of_sets = {name.partition("/")[2] for name in logged - of_steps}
    assert of_sets and of_sets <= metric_names.PAIRS.keys()


def test_a_report_has_names_for_people():
    titles = [metric_names.title(name) for name in metric_names.PAIRS]
    assert len(set(titles)) == len(titles) and not any("_" in title for title in titles)
    assert metric_names.title("chosen_std") == "reward of chosen responses, standard deviation"
    assert metric_names.title("llmbar-natural") == "llmbar-natural"
    # Equal rewards are counted one way in pairs and another way in benchmarks.
    assert metric_names.meaning("ties", False) != metric_names.meaning("ties", True)
    assert metric_names.meaning("llmbar-natural", True) == "a part of the benchmark"


def test_names_are_grouped_by_what_they_are_about():
    assert metric_names.grouped("loss") == "train/loss"
    assert metric_names.grouped("mfu") == "speed/mfu"
    assert metric_names.grouped("heldout/accuracy") == "heldout/accuracy"


def test_the_page_of_metrics_is_what_the_code_says():
    page = pathlib.Path(ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    message = "run `python -m rewardjax.tools.reference_pages docs`"
    assert page == "\n".join(reference_pages.metrics_page()) + "\n", message
