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


def test_names_are_grouped_by_what_they_are_about():
    assert metric_names.grouped("loss") == "train/loss"
    assert metric_names.grouped("mfu") == "speed/mfu"
    assert metric_names.grouped("heldout/accuracy") == "heldout/accuracy"


def test_the_page_of_metrics_is_what_the_code_says():
    page = pathlib.Path(ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    message = "run `python -m rewardjax.tools.reference_pages docs`"
    assert page == "\n".join(reference_pages.metrics_page()) + "\n", message
