"""Several models: paired tests on the same examples, one family, and the same numbers everywhere."""

import csv
import json

import numpy as np
import pytest
from evaluations import Drawn, evaluation, result, scored_pairs

from rewardjax.evaluators.page import comparison, comparison_files
from rewardjax.evaluators.page.cells import between, small
from rewardjax.stats import intervals

RIGHT, WRONG = [1.0, 0.0], [0.0, 1.0]
RECORD = {"path": "runs/m/hf", "weights": "w"}


def compared(*by_name, headline=0.5):
    """A comparison of models "model 1", ...; by_name: of each, the scores of its benchmarks."""
    models = []
    for number, scores in enumerate(by_name, 1):
        results = {name: result("pairs", headline, 40, 40) for name in scores}
        models.append(evaluation(f"model {number}", results, scores, **RECORD))
    return comparison.compare_all(models)


def three_models():
    """Two benchmarks, on which the models get 40, 30 and 20 of 40 pairs right."""
    by_model = []
    for right in (40, 30, 20):
        rewards = [RIGHT] * right + [WRONG] * (40 - right)
        by_model.append({name: scored_pairs(rewards) for name in ("first set", "second set")})
    return compared(*by_model)


def test_models_are_compared_on_the_same_files_only():
    both = [{"set": scored_pairs([rewards] * 40)} for rewards in (RIGHT, WRONG)]
    one, drawn = compared(*both), Drawn()
    [row] = comparison.section(one, drawn).tables[""]
    assert (row["first"], row["second"]) == ("model 1", "model 2")
    assert row["headline, points"] == "+100.0" and row["more by first"] == 40
    [[[forest]]] = [forests.values() for [forests] in [drawn.arguments["differences"]]]
    assert forest["difference"] == 1.0

    elsewhere = {"set": scored_pairs([WRONG] * 40, data="other files")}
    one, drawn = compared(both[0], elsewhere), Drawn()
    section = comparison.section(one, drawn)
    assert section.tables[""] == [] and drawn.arguments == {}
    assert "not scored on the same data" in section.text[-1]

    one = compared(both[0], elsewhere, both[1])
    pairs = [(row["first model"], row["second model"]) for row in one.rows]
    assert pairs == [("model 1", "model 3")], "one on other files does not stop the others"
    assert "model 1, model 3; model 2" in one.notes[0]


def test_one_model_is_not_compared():
    assert compared({"set": scored_pairs([RIGHT])}).rows == []


def test_all_tests_of_a_comparison_are_one_family():
    one = three_models()
    assert len(one.rows) == 6 and "all 6 tests" in one.correction and "Holm" in one.correction
    smallest = min(one.rows, key=lambda row: row["p"])
    assert smallest["p_holm"] == pytest.approx(6 * smallest["p"])
    assert all(row["p"] <= row["p_holm"] <= 1 for row in one.rows)


def test_a_model_without_a_headline_has_no_difference_of_it():
    scores = [{"set": scored_pairs([rewards] * 40)} for rewards in (RIGHT, WRONG)]
    [row] = compared(*scores, headline=None).rows
    assert row["headline_difference"] is None and row["headline_low"] is None
    assert row["difference"] == 1.0, "its examples can still be compared"


def test_every_file_has_the_same_intervals_and_corrected_p(tmp_path):
    one = three_models()
    comparison_files.write(one, tmp_path)
    record = json.loads((tmp_path / "comparison.json").read_text())
    assert record["correction"] == one.correction
    assert [model["name"] for model in record["models"]] == ["model 1", "model 2", "model 3"]
    texts = {name: (tmp_path / f"comparison.{name}").read_text() for name in ("md", "tex")}
    page = comparison.section(one, Drawn())
    with open(tmp_path / "comparison.csv", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    for row, in_csv, on_page in zip(record["differences"], table, page.tables[""], strict=True):
        assert float(in_csv["p_holm"]) == row["p_holm"]
        assert float(in_csv["headline_low"]) == row["headline_low"]
        reach = between(row["headline_low"], row["headline_high"])
        assert on_page["95 % interval"] == reach and on_page["p, Holm"] == small(row["p_holm"])
        for text in texts.values():
            assert reach in text and small(row["p_holm"]) in text
    assert all(one.correction in text for text in texts.values())
    assert any(one.correction in paragraph for paragraph in page.text)
    headlines = (tmp_path / "headlines.csv").read_text().splitlines()
    assert len(headlines) == 1 + 2 * 3
    interval = record["headlines"]["first set"]["model 2"]
    assert f"{interval['low']!r},{interval['high']!r}" in "\n".join(headlines)
    assert np.isclose(interval["headline"], 0.75)


def seeds_of(name, *rights, setting="one", dtype="float32", seeds=None):
    """Models `name`0, `name`1, ... of one setting, which get so many of 40 pairs right."""
    models = []
    for number, right in enumerate(rights):
        scores = {"set": scored_pairs([RIGHT] * right + [WRONG] * (40 - right))}
        trained = {"seed": (seeds or range(len(rights)))[number], "setting": setting}
        record = {**RECORD, "trained": trained, "max_length": 1, "over_long": "left"}
        results = {"set": result("pairs", right / 40, 40, 40)}
        models.append(evaluation(f"{name}{number}", results, scores, dtype=dtype, **record))
    return models


def test_seeds_of_a_run_are_folded(tmp_path):
    folded, others = seeds_of("a", 30, 34, 38), seeds_of("b", 20, 22, setting="other")
    alone = evaluation("c", {"set": result("pairs", 0.5, 40, 40)}, others[0].scores, **RECORD)
    one = comparison.compare_all([*folded, *others, alone])
    assert [arm.name for arm in one.arms] == ["a0, a1, a2", "b0, b1", "c"]
    first = one.rows[0]
    assert (first["first model"], first["second model"]) == ("a0, a1, a2", "b0, b1")
    assert first["difference"] == pytest.approx((34 - 21) / 40)
    assert first["headline_difference"] == pytest.approx((34 - 21) / 40)
    assert first["headline_low"] < first["headline_difference"] < first["headline_high"]
    assert "p" not in first
    [mean, _] = comparison.folded(one)
    assert (mean["models"], mean["n"], mean["headline"]) == ("a0, a1, a2", 3, 0.85)
    low, high = intervals.student([30 / 40, 34 / 40, 38 / 40])
    assert (mean["low"], mean["high"]) == (low, high)
    section = comparison.section(one, Drawn())
    assert "McNemar's test is of single models" in " ".join(section.text)
    comparison_files.write(one, tmp_path)
    assert json.loads((tmp_path / "comparison.json").read_text())["folded"][0] == mean
    assert "85.0" in comparison_files.side_by_side(one)
    assert "1 + 2 + 3 less 4 + 5" in (tmp_path / "comparison.tex").read_text()


def test_what_is_no_other_seed_is_not_folded():
    as_evaluated = [*seeds_of("a", 30), *seeds_of("b", 34, dtype="bfloat16", seeds=[1])]
    assert len(comparison.compare_all(as_evaluated).arms) == 2
    twice = comparison.compare_all(seeds_of("a", 30, 34, seeds=[0, 0]))
    assert len(twice.arms) == 2 and "p" in twice.rows[0]
    assert twice.notes == ["a0, a1 are of one experiment, some with the same seed, and not folded"]
    seeds_alone = comparison.compare_all(seeds_of("a", 30, 34))
    assert seeds_alone.rows == [] and "nothing to test" in seeds_alone.notes[0]


def test_seeds_that_were_not_all_scored_are_left_out_and_named():
    folded = seeds_of("a", 30, 34)
    alone = evaluation("c", {"set": result("pairs", 0.5, 40, 40)}, dict(folded[0].scores), **RECORD)
    del folded[1].scores["set"]
    one = comparison.compare_all([*folded, alone])
    assert one.rows == [] and "a0, a1 are not compared, since not all" in one.notes[0]
