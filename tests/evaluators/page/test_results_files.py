"""results.md, results.csv and results.tex have the numbers and intervals of results.json."""

import csv

import pytest
from evaluations import evaluation

from rewardjax.evaluators.page import results_files, table
from rewardjax.evaluators.records import Part, Result

NAME = "A & B_50% | {x}"


@pytest.fixture
def written(tmp_path):
    """The files about one benchmark with two parts and two subsets, one interval missing."""
    parts = {"pairs/a": Part(0.75, 8, 1, 8), "lists/a": Part(0.5, 4, 0, 5, unscored=1)}
    subsets = {"pairs/a/x_1": Part(1.0, 2), "pairs/a/y": Part(None, 0)}
    one = Result("rmb", 0.625, "mean", 0.4, parts, subsets, chances={"lists/": 0.25})
    none = {"low": None, "high": None}
    intervals = {
        "headline": 0.625,
        "low": 0.5123456789,
        "high": 0.7376543211,
        "parts": {"pairs/a": {"low": 0.4, "high": 0.9}, "lists/a": {"low": 0.15, "high": 0.85}},
        "subsets": {"pairs/a/x_1": {"low": 0.34, "high": 1.0}, "pairs/a/y": none},
    }
    facts = dict.fromkeys(("path", "weights", "dtype", "max_length", "over_long", "seconds"), 1)
    record = {"missing": {}, "left_out": {}, "contract": {"fingerprint": "f"}, **facts}
    model = evaluation(NAME, {"rmb": one}, intervals={"rmb": intervals}, **record)
    results_files.write(model, tmp_path)
    return {ending: (tmp_path / f"results.{ending}").read_text() for ending in ("md", "csv", "tex")}


def test_csv_has_a_row_per_number_with_all_digits(written):
    rows = list(csv.DictReader(written["csv"].splitlines()))
    assert [row["number"] for row in rows] == ["headline", "part", "part", "subset", "subset"]
    assert all(row["model"] == NAME for row in rows)
    headline, pairs, lists, _, empty = rows
    assert (headline["low"], headline["high"]) == ("0.5123456789", "0.7376543211")
    assert (headline["examples"], headline["published"], headline["partial"]) == (
        "12",
        "13",
        "true",
    )
    assert (pairs["chance"], lists["chance"]) == ("0.4", "0.25"), "of the number's own kind"
    assert (lists["unscored"], lists["partial"], pairs["partial"]) == ("1", "true", "false")
    assert empty["score"] == empty["low"] == ""
    assert "bootstrap" in headline["interval"] and "Wilson" in pairs["interval"]


def test_the_interval_is_the_same_in_every_file(written):
    assert "51.2 to 73.8" in written["md"] and "51.2 to 73.8" in written["tex"]
    for interval in ("40.0 to 90.0", "15.0 to 85.0"):
        assert interval in written["md"] and interval in written["tex"]
    assert "34.0 to 100.0" in written["md"]


def test_latex_is_a_booktabs_table_in_which_names_are_text(written):
    text = written["tex"]
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2
    assert r"title of rmb & 62.5* & 51.2 to 73.8 & 40.0 & 12 \\" in text
    assert "partial, over" in text and "* title of rmb" in text
    lines = [line for line in text.splitlines() if "&" in line]
    assert {line.count(" & ") for line in lines} == {4, 5}


def test_markdown_names_how_intervals_came_about(written):
    assert "stratified bootstrap over prompts" in written["md"] and "Wilson" in written["md"]
    assert "| title of rmb | 62.5* | 51.2 to 73.8 | 40.0 |" in written["md"]


def test_an_own_benchmark_has_its_row_and_no_line_of_dashes_beside_it():
    one = Result("dir/own.py", 0.5, "mean", 0.25, {"all": Part(0.5, 8)})
    interval = {"headline": 0.5, "low": 0.2, "high": 0.8}
    model = evaluation("m", {"own": one}, intervals={"own": {**interval, "parts": {}}})
    text = table.tables(model)
    assert "| title of own: own | 50.0 | 20.0 to 80.0 | 25.0 | 1 of 1 parts, 8 examples |" in text
    assert "average" not in text, "the paper's table says nothing of it"
    model = evaluation(
        "m",
        {"own": one, "rmb": one},
        intervals={"own": {**interval, "parts": {}}, "rmb": {**interval, "parts": {}}},
    )
    assert "average" in table.tables(model) and "title of own: own" in table.tables(model)
