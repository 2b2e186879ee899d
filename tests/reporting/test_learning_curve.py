"""What the learning curve shows, and from where."""

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from rewardjax.reporting import learning_curve
from rewardjax.reporting.learning_curve import Curve

ROWS = [
    {"step": 0, "a/accuracy": 0.48, "a/wilson_low": 0.4, "a/wilson_high": 0.56, "c/headline": 0.2},
    {"step": 1, "loss": 0.7},
    {"step": 20, "a/accuracy": 0.6, "a/wilson_low": 0.5, "a/wilson_high": 0.7, "b/accuracy": 0.7},
]
A, B = Curve("a/accuracy", "a (x.jsonl)", 0.5, 0.7125), Curve("b/accuracy", "b (y.jsonl)", 0.5)
C, D = Curve("c/headline", "c (rb2)", 0.21), Curve("d/headline", "d (own)", None)


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """A function that draws panels and returns their axes, with the file checked."""
    sheets, save = [], Figure.savefig

    def kept(self, *args, **kwargs):
        sheets.append(self)
        return save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", kept)

    def draw(panels):
        learning_curve.draw(ROWS, panels, tmp_path / "plots/learning.png")
        assert np.ptp(matplotlib.image.imread(tmp_path / "plots/learning.png")) > 0.5
        return sheets[-1].axes

    return draw


def test_curves_begin_at_step_0_between_chance_and_the_ceiling(drawn):
    accuracy, benchmark = drawn({"Held-out accuracy": [A, B], "Benchmarks": [C]})
    lines = {line.get_label(): line for line in accuracy.lines}
    assert list(lines) == [
        "chance, 50%",
        "a (x.jsonl)",
        "always the right response, 71.2%",
        "b (y.jsonl)",
    ]
    assert lines["a (x.jsonl)"].get_xdata().tolist() == [0, 20]
    assert lines["chance, 50%"].get_ydata() == [0.5, 0.5] and accuracy.get_xlim()[0] == 0
    assert len(accuracy.collections) == 1, "b has no interval"
    assert [line.get_label() for line in benchmark.lines] == ["chance, 21%", "c (rb2)"]


def test_sets_with_different_chances_have_a_line_each_and_nothing_is_invented(drawn):
    [panel] = drawn({"Benchmarks": [C, D, Curve("a/accuracy", "pairs", 0.5)]})
    labels = [line.get_label() for line in panel.lines]
    assert labels[:2] == ["chance, 21%: c (rb2)", "chance, 50%: pairs"]
    assert [label for label in labels[2:] if label.startswith(("chance", "always"))] == []


def test_what_was_never_measured_has_no_panel():
    assert learning_curve.measured(ROWS, {"Held-out accuracy": [A], "Benchmarks": [D]}) == {
        "Held-out accuracy": [A]
    }
