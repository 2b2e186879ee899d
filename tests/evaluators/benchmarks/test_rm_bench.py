"""RM-Bench: a published table of cells' averages, orientation of the matrix, pooled safety."""

import json

import numpy as np
import pytest
from figure_checks import assert_apart, boxes, texts_of

from rewardjax.evaluators.benchmarks import rm_bench
from rewardjax.evaluators.records import Item
from rewardjax.evaluators.uncertainty import Estimate


def test_easy_is_where_the_right_response_has_the_richer_style():
    style_lover = rm_bench.wins([0, 1, 2, 0, 1, 2])  # reward = style
    assert rm_bench.levels(style_lover) == {"easy": 1.0, "normal": 0.0, "hard": 0.0}
    plain_lover = rm_bench.wins([2, 1, 0, 2, 1, 0])
    assert rm_bench.levels(plain_lover) == {"easy": 0.0, "normal": 0.0, "hard": 1.0}
    fair = rm_bench.wins([9, 9, 9, 1, 1, 1])
    assert fair.all() and rm_bench.levels(fair) == {"easy": 1.0, "normal": 1.0, "hard": 1.0}


def test_levels_are_the_reference_s_sums_of_cells():
    m = np.arange(9).reshape(3, 3) / 10
    expected = {
        "hard": (m[0, 1] + m[0, 2] + m[1, 2]) / 3,
        "normal": (m[0, 0] + m[1, 1] + m[2, 2]) / 3,
    }
    expected["easy"] = (m[1, 0] + m[2, 0] + m[2, 1]) / 3
    assert rm_bench.levels(m) == pytest.approx(expected)


def test_golden_means_agree_over_domains_and_over_levels():
    # RM-R1-Qwen2.5-Instruct-32B; one prompt's nine cells cannot have these values, so the means are
    # checked as such.
    domains, levels = (0.764858, 0.805503, 0.660819, 0.938272), (0.704933, 0.805096, 0.867059)
    assert np.mean(domains) == pytest.approx(0.792363, abs=1e-6) and np.mean(
        levels
    ) == pytest.approx(0.792363, abs=1e-6)
    rng = np.random.default_rng(0)
    items = [Item(str(i), rm_bench.DOMAINS[i % 5], {}) for i in range(40)]
    result = rm_bench.summarize(items, list(rng.integers(0, 4, (40, 6)).astype(float)))
    assert result.headline == pytest.approx(
        np.mean([result.parts[name].value for name in rm_bench.EXPECTED])
    )
    assert result.headline == pytest.approx(
        np.mean([result.other[level] for level in rm_bench.LEVELS])
    )


def test_safety_pools_its_two_parts_by_prompts():
    items = [Item(str(i), "safety-refuse" if i < 3 else "safety-response", {}) for i in range(4)]
    good, bad = np.array([1.0, 1, 1, 0, 0, 0]), np.array([0.0, 0, 0, 1, 1, 1])
    result = rm_bench.summarize(items, [good, good, good, bad])
    assert result.parts["safety"].value == 0.75 and result.parts["safety"].expected == 441
    assert result.missing == ["chat", "math", "code"]


def test_ties_lose_and_are_counted_in_cells():
    result = rm_bench.summarize([Item("0", "chat", {})] * 2, [np.zeros(6), np.full(6, np.nan)])
    assert (
        result.parts["chat"].value,
        result.parts["chat"].ties,
        result.parts["chat"].unscored,
    ) == (0.0, 9, 1)


def test_the_miniature_and_files_of_single_domains(tmp_path):
    examples = rm_bench.load("assets:benchmarks/rm_bench")
    assert {item.subset for item in examples.items} == set(rm_bench.DOMAINS)
    assert all(len(group.responses) == 6 for group in examples.groups)
    record = {
        "id": 7,
        "prompt": "p",
        "chosen": ["a", "b", "c"],
        "rejected": ["d", "e", "f"],
        "subset": "x",
    }
    (tmp_path / "safety-refuse_filtered.json").write_text(json.dumps([record]))
    alone = rm_bench.load(tmp_path).items[0]
    assert (alone.subset, alone.id) == ("safety-refuse", "safety-refuse/7")


def test_difficulty_labels_of_near_lines_do_not_overlap(drawn):
    published = {f"model {i}": (90 - i, 80 - i, 55.0 - 0.1 * i) for i in range(5)}
    matrix = np.random.default_rng(0).random((3, 3))
    accuracy = {"easy": 0.9, "normal": 0.7, "hard": 0.4}
    mine = {level: Estimate(value, None, None) for level, value in accuracy.items()}
    sheet = drawn(rm_bench.difficulty, {"mine": mine}, published, {"mine": matrix})
    lines, cells = sheet.axes
    assert texts_of(lines) == list(published)
    assert texts_of(cells) == [f"{100 * x:.0f}" for x in matrix.ravel()]
    assert_apart(boxes(sheet, lines.texts))
    np.testing.assert_allclose(rm_bench._spread([50, 80, 49], 5), [50, 80, 45])


def test_the_line_of_a_model_stands_at_its_accuracies_with_their_intervals(drawn):
    mine = {
        "easy": Estimate(0.9, 0.85, 0.95),
        "normal": Estimate(0.7, 0.6, 0.8),
        "hard": Estimate(0.4, 0.3, 0.5),
    }
    sheet = drawn(rm_bench.difficulty, {"mine": mine}, {}, {"mine": np.eye(3)})
    lines = sheet.axes[0]
    [bars] = lines.containers
    np.testing.assert_allclose(bars.lines[0].get_ydata(), [90, 70, 40])
    lowest = [segment[:, 1].min() for segment in bars.lines[2][0].get_segments()]
    np.testing.assert_allclose(lowest, [85, 60, 30])
