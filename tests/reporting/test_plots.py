"""Every figure is drawn from what the evaluators return, holds what it should, and is a real
PNG.
"""

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from rewardjax.evaluators.benchmarks import pairs
from rewardjax.reporting import plots

RNG = np.random.default_rng(4)
CHOSEN, REJECTED = RNG.normal(0.5, 1, 120), RNG.normal(0, 1, 120)


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Run a plot function;

    returns its axes after checking that the file is an image with more than one color.
    """
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure,
        "savefig",
        lambda self, *args, **kwargs: (figures.append(self), save(self, *args, **kwargs))[1],
    )

    def draw(function, *args, **kwargs):
        path = tmp_path / "plots" / "figure.png"
        function(*args, path, **kwargs)
        assert np.ptp(matplotlib.image.imread(path)) > 0.5
        return figures[-1].axes

    return draw


def run_rows():
    rows = [{"step": 0, "a/margin_mean": 0.0}]
    for step in range(1, 81):
        row = {
            "step": step,
            "loss": 1 / step,
            "lr": 1e-4,
            "pairs_per_second": 9.0,
            "useful_tokens_per_second": 80.0,
            "padded_tokens_per_second": 99.0,
        }
        if step % 20 == 0:
            row |= {
                "a/margin_mean": 0.1,
            }
        rows.append(row)
    rows[6]["loss"] = None  # a value that was not finite
    return rows


def test_curves_have_a_panel_for_each_thing_logged(drawn):
    axes = [ax for ax in drawn(plots.curves, run_rows()) if ax.axison]
    titles = [ax.get_title(loc="left") for ax in axes]
    assert titles == [
        "Training loss",
        "Reward margin",
        "Learning rate",
        "Pairs per second",
        "Tokens per second",
    ]
    assert [line.get_label() for line in axes[1].lines] == ["a"]
    assert axes[1].lines[0].get_xdata().tolist() == [0, 20, 40, 60, 80]
    assert len(axes[0].lines[0].get_xdata()) == 79


def test_curves_with_little_or_nothing_to_show(drawn, tmp_path):
    [ax] = drawn(plots.curves, [{"step": 1, "loss": 0.5}])
    assert ax.lines[0].get_ydata().tolist() == [0.5]
    with pytest.raises(ValueError, match="none of the known metrics.*'step', 'x'"):
        plots.curves([{"step": 1, "x": 1.0}], tmp_path / "x.png")


def test_smoothing_keeps_constants_and_means():
    assert np.allclose(plots._smoothed(np.full(100, 3.0)), 3.0)
    line = np.arange(200.0)
    assert np.allclose(plots._smoothed(line)[10:-10], line[10:-10])


def test_reliability_diagram(drawn):
    bins = pairs.reliability(CHOSEN, REJECTED)
    [ax] = drawn(plots.reliability_diagram, bins)
    np.testing.assert_allclose(
        ax.collections[0].get_offsets(), np.stack([bins["confidence"], bins["frequency"]], 1)
    )
    assert ax.get_ylim()[0] < bins["frequency"].min()


def test_histogram_and_scatter(drawn):
    [ax] = drawn(plots.reward_histogram, CHOSEN, REJECTED)
    assert f"chosen (mean {CHOSEN.mean():.2f})" in [
        text.get_text() for text in ax.get_legend().get_texts()
    ]
    drawn(plots.reward_histogram, np.zeros(3), np.zeros(3))  # no spread at all
    lengths = RNG.integers(5, 300, (2, 120))
    [ax] = drawn(plots.reward_against_length, CHOSEN, REJECTED, *lengths, most=50)
    assert len(ax.collections[0].get_offsets()) == 40
    assert len(ax.lines[0].get_xdata()) == 8


def test_stages_and_bars_of_the_ablation(drawn):
    points = [["seed", 0.6, 0.55, 0.65], ["iteration 1", 0.7, 0.68, 0.72]]
    axes = drawn(
        lambda path: plots.stages({"original": points[:1], "filtered": points}, path, "Curves")
    )
    assert [tick.get_text() for tick in axes[0].get_xticklabels()] == ["seed", "iteration 1"]
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == [
        "original",
        "filtered",
    ]
    axes = drawn(
        lambda path: plots.bars({"first": (0.6, 0.5, 0.7), "second": (0.8, 0.7, 0.9)}, path, "Bars")
    )
    assert [tick.get_text() for tick in axes[0].get_yticklabels()] == ["second", "first"]
    assert sorted(text.get_text() for text in axes[0].texts) == ["60.0 %", "80.0 %"]


def test_stacked_pools(drawn):
    [ax] = drawn(
        lambda path: plots.stacked(
            {"gold": [1, 3], "wild": [9, 7]}, ["import", "seed"], path, "Pools"
        )
    )
    assert [bar.get_height() for bar in ax.patches] == [1, 3, 9, 7]
    assert [bar.get_y() for bar in ax.patches] == [0, 0, 1, 3]  # one on the other
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["gold", "wild"]
