"""Every figure of an evaluation is drawn from what its computation returns, shows it, and labels do not lie on one another."""

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from rewardjax.evaluators.audits import bias, counterfactual, style
from rewardjax.evaluators.benchmarks import best_of_n
from rewardjax.evaluators.page import figures
from rewardjax.evaluators.preferences import Pairs
from rewardjax.evaluators.records import Item

RNG = np.random.default_rng(0)


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Run a drawing function; returns its figure after checking that the file is an image with more than one color."""
    sheets = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure,
        "savefig",
        lambda self, *args, **kwargs: (sheets.append(self), save(self, *args, **kwargs))[1],
    )

    def draw(function, *args, **kwargs):
        path = tmp_path / "figure.png"
        function(*args, path=path, **kwargs)
        assert np.ptp(matplotlib.image.imread(path)) > 0.5
        return sheets[-1]

    return draw


def boxes(sheet, texts):
    renderer = sheet.canvas.get_renderer()
    return [text.get_window_extent(renderer) for text in texts if text.get_text().strip()]


def assert_apart(found):
    for i, one in enumerate(found):
        assert not any(one.overlaps(other) for other in found[i + 1 :])


def texts_of(ax):
    return [text.get_text() for text in ax.texts]


def test_headlines_show_values_marks_intervals_and_what_is_missing(drawn):
    ours = {
        "mine": [{"headline": 0.5, "low": 0.4, "high": 0.6, "partial": True}, None],
        "other": [None, {"headline": 0.125, "low": None, "high": None, "partial": False}],
    }
    sheet = drawn(figures.headlines, ours, {"known": (90.0, 80.0)}, (50.0, 20.8), ["One", "Two"])
    left, right = sheet.axes
    assert texts_of(left) == ["50.0*", "missing", "90.0"] and texts_of(right) == [
        "missing",
        "12.5",
        "80.0",
    ]
    assert [bar.get_width() for bar in left.patches] == [50, 90] and [
        bar.get_width() for bar in right.patches
    ] == [12.5, 80]
    assert [label.get_text() for label in left.get_yticklabels()] == ["mine", "other", "known"]
    assert left.get_ylim()[0] > left.get_ylim()[1], "the evaluated models are on top"
    assert_apart(boxes(sheet, [*left.texts, *right.texts, *left.get_yticklabels()]))


def test_categories_best_on_top(drawn):
    parts = {
        "a": {"value": 0.25, "low": 0.1, "high": 0.5, "n": 12},
        "b": {"value": 0.75, "low": None, "high": None, "n": 1200},
        "c": {"value": None, "low": None, "high": None, "n": 0},
    }
    [ax] = drawn(figures.categories, parts, title="T", chance=0.5).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert texts_of(ax) == ["25.0 %  (n = 12)", "75.0 %  (n = 1,200)"]


def test_difficulty_labels_of_near_lines_do_not_overlap(drawn):
    published = {f"model {i}": (90 - i, 80 - i, 55.0 - 0.1 * i) for i in range(5)}
    matrix = RNG.random((3, 3))
    sheet = drawn(
        figures.difficulty,
        {"mine": {"easy": 0.9, "normal": 0.7, "hard": 0.4}},
        published,
        {"mine": matrix},
    )
    lines, cells = sheet.axes
    assert texts_of(lines) == list(published) and texts_of(cells) == [
        f"{100 * x:.0f}" for x in matrix.ravel()
    ]
    assert_apart(boxes(sheet, lines.texts))
    np.testing.assert_allclose(figures._apart([50, 80, 49], 5), [50, 80, 45])


def test_best_of_n_has_oracle_random_and_all_scorers(drawn):
    rewards = [RNG.normal(size=8) for _ in range(10)]
    curve = best_of_n.curve(rewards, [r > 0.5 for r in rewards])
    sheet = drawn(
        figures.best_of_n, {"one": {"mine": curve, "majority vote": curve}, "two": {"mine": curve}}
    )
    one, two = sheet.axes
    assert len(one.lines) == 4 and len(two.lines) == 3
    np.testing.assert_allclose(one.lines[0].get_ydata(), curve["oracle"])
    np.testing.assert_allclose(one.lines[1].get_ydata(), curve["score"])
    assert [text.get_text() for text in sheet.legends[0].get_texts()] == [
        "oracle",
        "random pick",
        "mine",
        "majority vote",
    ]


@pytest.fixture
def pairs():
    better, worse = RNG.normal(0.5, 1, 300), RNG.normal(0, 1, 300)
    return Pairs(
        better, worse, *RNG.integers(5, 300, (2, 300)).astype(float), [str(i) for i in range(300)]
    )


def test_pairs_figures(drawn, pairs):
    few = Pairs(*(column[:3] for column in pairs))
    by_set = {f"A set with quite a long name, number {i}": pairs for i in range(5)} | {"few": few}
    for function in (figures.calibration, figures.margins, figures.length):
        sheet = drawn(function, by_set)
        titles = [ax.title if ax.get_title() else ax._left_title for ax in sheet.axes]
        assert len(sheet.axes) == 8 and sum(ax.axison for ax in sheet.axes) == 6
        assert_apart(boxes(sheet, titles))
    bars = drawn(figures.margins, {"all": pairs}).axes[0].patches
    margin = pairs.better - pairs.worse
    assert sum(bar.get_height() for bar in bars) == 300
    assert sum(bar.get_height() for bar in bars if bar.get_x() > -1e-9) == np.sum(margin >= 0), (
        "zero is the edge of a bar"
    )
    drawn(figures.margins, {"equal": few._replace(better=few.worse)})


def test_differences(drawn):
    rows = [
        {"label": "a", "difference": 0.1, "low": 0.05, "high": 0.15},
        {"label": "b", "difference": -0.1, "low": -0.3, "high": 0.1},
    ]
    [ax] = drawn(figures.differences, rows, title="T").axes
    assert texts_of(ax) == ["+10.0  [+5.0, +15.0]", "-10.0  [-30.0, +10.0]"]


def test_bias_and_selection(drawn):
    items = [Item(str(i), "all", {"style": RNG.normal(size=(8, 5)).tolist()}) for i in range(12)]
    found = bias.summary(items, RNG.normal(size=(12, 8)), RNG.integers(0, 2, (12, 8)), resamples=20)
    pairs_only = bias.summary(
        [item._replace(label={"style": item.label["style"][:2]}) for item in items],
        RNG.normal(size=(12, 2)),
        resamples=20,
    )
    sheet = drawn(figures.bias, {"many": found, "pairs": pairs_only})
    assert [len(ax.containers) for ax in sheet.axes] == [20, 10], (
        "nothing is selected from two responses"
    )
    assert [label.get_text() for label in sheet.axes[0].get_yticklabels()] == list(style.FEATURES)
    sheet = drawn(figures.selection, {"many": found, "pairs": pairs_only})
    assert [ax.get_title(loc="left") for ax in sheet.axes] == list(style.FEATURES)
    np.testing.assert_allclose(
        sheet.axes[0].lines[0].get_ydata(), found["features"]["length"]["shift"]["value"]
    )


def test_counterfactual_shows_every_change(drawn):
    entry = {
        "responses": 4,
        "shift": -0.5,
        "shift_low": -1.0,
        "shift_high": 0.0,
        "shift_sd": -0.25,
        "winner": None,
    }
    flips = {"pairs": 2, "flips": 1, "rate": 0.5, "low": 0.1, "high": 0.9}
    nothing = {
        "responses": 0,
        **dict.fromkeys(
            ["shift", "shift_low", "shift_high", "shift_sd", "loser", "winner", "both"]
        ),
    }
    found = dict.fromkeys(counterfactual.CHANGES, entry | {"loser": flips, "both": flips}) | {
        "list order": nothing
    }
    left, right = drawn(
        figures.counterfactual,
        {"a set": found, "another": {"padding": entry | {"loser": None, "both": None}}},
    ).axes
    assert [label.get_text() for label in left.get_yticklabels()] == list(counterfactual.CHANGES)
    assert (
        texts_of(left) == ["nothing to change"]
        and len(right.patches) == len(counterfactual.CHANGES) - 1
    )
