"""Sections say which numbers are partial, which cannot be compared, and show the sets that
matter.
"""

from evaluations import Drawn, evaluation, result, scored_pairs

from rewardjax import evaluators
from rewardjax.evaluators.audits import style
from rewardjax.evaluators.page import (
    audit_sections,
    breakdown_sections,
    headline_sections,
    table,
)
from rewardjax.evaluators.records import Part, Result

# ------------------------------------------------------------------ headlines


def headlines_of(results):
    model = evaluation(results=results)
    # The intervals are the bootstrap's business; here there are none.
    model.__dict__["intervals"] = dict.fromkeys(results, {"low": None, "high": None})
    section = headline_sections.headlines([model], Drawn())
    rows = section.tables["The paper's benchmarks, %"]
    return " ".join(section.text), rows


def test_a_partial_number_and_the_average_over_it_have_a_star():
    results = {name: result(name, 0.5, 10, 10) for name in evaluators.PAPER}
    text, [row, *_] = headlines_of(results)
    assert "star" not in text and row["average"] == "50.0"

    results["rmb"] = result("rmb", 0.9, 8, 10)
    text, [row, *_] = headlines_of(results)
    assert "A star marks" in text
    assert row[evaluators.get("rmb").TITLE] == "90.0*"
    assert row[evaluators.get("judgebench").TITLE] == "50.0"
    assert row["average"] == "55.7*"


def test_published_numbers_do_not_stand_beside_a_miniature():
    results = {name: result(name, 0.5, 10, 10) for name in evaluators.PAPER}
    text, rows = headlines_of(results)
    assert "No published" not in text
    assert {"(chance)", *table.PUBLISHED} < {row["model"] for row in rows}

    title = evaluators.get("rmb").TITLE
    results["rmb"] = result("rmb", 0.9, 2, 10)
    text, rows = headlines_of(results)
    published = {row["model"]: row for row in rows}["GPT-4o"]
    assert f"No published numbers stand beside {title}:" in text
    assert published[title] is None and published["average"] is None
    assert published[evaluators.get("judgebench").TITLE] == "59.8"
    assert "GPT-4o" in table.paper_table("mine", results)

    results = {name: result(name, 0.9, 2, 10) for name in evaluators.PAPER}
    _, rows = headlines_of(results)
    assert [row["model"] for row in rows[1:]] == ["(chance)"]
    assert "GPT-4o" not in table.paper_table("mine", results)


def test_a_missing_benchmark_leaves_no_average():
    results = {name: result(name, 0.5, 10, 10) for name in evaluators.PAPER[1:]}
    text, [row, *_] = headlines_of(results)
    assert "no average: 1 of the seven" in text
    assert row[evaluators.get(evaluators.PAPER[0]).TITLE] is None and row["average"] is None


# ------------------------------------------------------------------ breakdown


def test_a_set_without_decided_pairs_is_left_out():
    results = {"decided": result("pairs", 1.0, 2, 2), "tied": result("pairs", None, 0, 2)}
    rewards = [[1.0, 0.0], [2.0, 0.0]]
    scores = {"decided": scored_pairs(rewards), "tied": scored_pairs(rewards, tie=True)}
    model = evaluation(results=results, scores=scores)
    section = breakdown_sections.pairs(model, Drawn())
    [row] = section.tables[""]
    assert row["benchmark"] == "title of decided: decided"
    assert row["accuracy, %"] == "100.0" and row["mean margin"] == 1.5


def test_figures_show_the_largest_sets_in_the_order_of_the_page(monkeypatch):
    monkeypatch.setattr(breakdown_sections, "PANELS", 2)
    sizes = {"small": 1, "large": 5, "middle": 3}
    results = {name: result("pairs", 1.0, size, size) for name, size in sizes.items()}
    scores = {name: scored_pairs([[1.0, 0.0]] * size) for name, size in sizes.items()}
    drawn = Drawn()
    breakdown_sections.pairs(evaluation(results=results, scores=scores), drawn)
    [shown] = drawn.arguments["margins"]
    assert list(shown) == ["title of large: large", "title of middle: middle"]


def test_a_figure_has_the_parts_of_the_headline_and_each_bar_its_chance():
    drawn = Drawn()
    parts, subsets = {"Math": Part(0.5, 4)}, {"claude/Math": Part(0.5, 4), "lists/a": Part(0.5, 4)}
    one = Result("x", 0.5, "mean", 0.4, parts, subsets, chances={"lists/": 0.3})
    bounds = {"low": 0.2, "high": 0.8}
    intervals = {
        "parts": {"Math": bounds},
        "subsets": {"claude/Math": bounds, "lists/a": {"low": None, "high": None}},
    }
    model = evaluation(results={"x": one}, intervals={"x": intervals})
    section = breakdown_sections.categories(model, drawn)
    [bars] = drawn.arguments["categories_x"]
    assert {name: bar["chance"] for name, bar in bars.items()} == {
        "Math": 0.4,
        "claude/Math": 0.4,
        "lists/a": 0.3,
    }
    assert bars["Math"]["low"] == 0.2 and bars["lists/a"]["high"] is None
    shown = [row["95 % interval"] for row in section.tables[""]]
    assert shown == ["20.0 to 80.0", "20.0 to 80.0", None], "of the record"


# ------------------------------------------------------------------ audits


def bias_summary(prompts, selected_prompts):
    entry = {
        "share": 1.0,
        "audit": None,
        "selected": None,
        "shift": {"value": [0.1], "ks": [2]},
    }
    features = dict.fromkeys(style.FEATURES, entry)
    return {
        "prompts": prompts,
        "selected_prompts": selected_prompts,
        "n": 4,
        "features": features,
    }


def test_bias_shows_sets_with_a_selection_first_and_then_the_largest():
    summaries = {
        "small": bias_summary(5, 0),
        "large": bias_summary(90, 0),
        "middle": bias_summary(50, 0),
        "selected": bias_summary(10, 10),
        "next": bias_summary(40, 0),
        "nothing": {"features": {}},
    }
    results = {name: result(name, 0.5, 1, 1) for name in summaries}
    drawn = Drawn()
    section = audit_sections.bias(evaluation(results=results, bias=summaries), drawn)
    [shown] = drawn.arguments["bias"]
    assert list(shown) == [f"title of {name}" for name in ("selected", "large", "middle", "next")]
    assert len(section.tables[""]) == 5 * len(style.FEATURES)


def test_overlap_has_titles_where_there_are_results():
    counts = [
        {"benchmark": "scored", "share": 0.25, "found": 1},
        {"benchmark": "unscored", "share": 0.0, "found": 0},
    ]
    audit = {"records": 1000, "unread": 2, "n": 13, "counts": counts, "evidence": []}
    model = evaluation(results={"scored": result("scored", 0.5, 1, 1)}, overlap=audit)
    section = audit_sections.overlap(model, Drawn())
    rows = section.tables["Counts"]
    assert [row["benchmark"] for row in rows] == ["title of scored", "unscored"]
    assert [row["share"] for row in rows] == ["25.0 %", "0.0 %"]
    assert "1,000 training records" in section.text[0]
