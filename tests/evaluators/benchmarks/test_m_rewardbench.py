"""M-RewardBench: sections by its own counts, two scripts of Chinese as one, translation apart."""

import json

import numpy as np
import pytest

from rewardjax.evaluators.benchmarks import m_rewardbench
from rewardjax.evaluators.records import Item

PAIR = {
    "id": 7,
    "language": "ces_Latn",
    "prompt": "Kolik je 2 + 2?",
    "chosen": "4",
    "rejected": "5",
    "chosen_model": "a",
    "rejected_model": "b",
}
RIGHT, WRONG, TIED = np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.zeros(2)


def item(language, subset, number=0):
    example = f"{subset}/{number}"
    return Item(f"{language}/{example}", subset, {"language": language, "example": example})


def write(file, records):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_the_published_counts_add_up():
    assert m_rewardbench.EXPECTED == {
        "Chat": 296,
        "Chat Hard": 407,
        "Safety": 736,
        "Reasoning": 1430,
    }
    total = len(m_rewardbench.LANGUAGES) * sum(m_rewardbench.EXPECTED.values())
    assert total == 23 * 2869 == 65_987 and total + m_rewardbench.EXPECTED_TRANSLATIONS == 66_787


def test_math_weighs_983_although_it_has_447_pairs():
    items = [item("fra_Latn", subset) for subset in ("math-prm", "hep-cpp")]
    result = m_rewardbench.summarize(items, [RIGHT, WRONG])
    assert result.subsets["fra_Latn/Reasoning"].value == pytest.approx(983 / (983 + 164))
    assert result.parts["fra_Latn"].value == result.subsets["fra_Latn/Reasoning"].value


def test_equal_rewards_are_wrong():
    result = m_rewardbench.summarize([item("fra_Latn", "math-prm")], [TIED])
    assert result.headline == 0.0 and result.ties == 1


def test_two_scripts_of_chinese_are_one_language_of_the_headline():
    languages = ("zho_Hans", "zho_Hant", "deu_Latn")
    items = [item(language, "donotanswer") for language in languages]
    result = m_rewardbench.summarize(items, [RIGHT, RIGHT, WRONG])
    assert result.headline == pytest.approx((1 + 0) / 2)
    assert result.other["mean over columns"] == pytest.approx(2 / 3)


def test_the_averages_of_the_paper_are_over_22_languages():
    # Table 10's rows of URM and Tulu 2 DPO: arb ... vie, and last zho of which it prints the mean.
    urm = "76.7 76.4 79.3 73.3 79.8 74.2 76.9 64.0 72.9 78.3 78.3 75.2 75.4 78.0 76.0 79.4"
    scores = [float(score) for score in f"{urm} 73.9 78.2 75.5 75.5 79.7".split()]
    codes = [code for code in m_rewardbench.LANGUAGES if not code.startswith("zho")]
    table = dict(zip(codes, scores, strict=True)) | {"zho_Hans": 79.0, "zho_Hant": 79.0}
    assert round(m_rewardbench.over_languages(table), 1) == 76.2
    assert round(np.mean(list(table.values())), 1) == 76.3, "over 23 columns it would be another"


def test_translations_and_english_are_in_no_average():
    items = [
        item("ces_Latn", "donotanswer"),
        item("eng_Latn", "donotanswer"),
        item("translation", "translation/maple-de2en-easy"),
    ]
    result = m_rewardbench.summarize(items, [RIGHT, WRONG, WRONG])
    assert result.headline == 1.0
    assert result.other["English"] == 0.0 and result.other["translation"] == 0.0
    assert result.subsets["translation"].expected == 800
    assert "1 English pairs" in result.notes[0]


def test_the_resampled_headline_is_the_rule_on_the_items_drawn():
    rng = np.random.default_rng(0)
    subsets = list(m_rewardbench.SECTION_OF)
    items = [
        item(str(rng.choice(m_rewardbench.LANGUAGES)), str(rng.choice(subsets)), number)
        for number in range(400)
    ]
    items.append(item("translation", "translation/maple-de2en-easy"))
    rewards = list(rng.integers(-1, 2, (401, 2)).astype(float))
    rewards[3][0] = np.nan
    resampling = m_rewardbench.resampling(items, rewards)
    drawn = rng.integers(401, size=401)
    again = m_rewardbench.summarize([items[i] for i in drawn], [rewards[i] for i in drawn])
    assert resampling.headline(drawn) == pytest.approx(again.headline, abs=1e-12)
    # One example in several languages is drawn as a whole.
    assert resampling.clusters[0] == items[0].label["example"]


def test_the_folder_names_the_language(tmp_path):
    write(tmp_path / "ces_Latn" / "test.jsonl", [{**PAIR, "source": "alpacaeval-easy"}])
    write(tmp_path / "zho_Hant" / "test.jsonl", [{**PAIR, "source": "hep-go"}])
    write(tmp_path / "translation" / "test.jsonl", [{**PAIR, "source": "maple-en2de-hard"}])
    write(tmp_path / "ces_Latn" / "raw.jsonl", [{**PAIR, "source": "alpacaeval-easy", "id": 8}])
    examples = m_rewardbench.load(tmp_path)
    assert [item.id for item in examples.items] == [
        "ces_Latn/alpacaeval-easy/7",
        "translation/translation/maple-en2de-hard/7",
        "zho_Hant/hep-go/7",
    ]
    assert list(examples.set_aside) == ["ces_Latn/raw.jsonl"]
    [english] = examples.groups[0].responses[0]
    assert english["content"] == "4" and m_rewardbench.better(examples.items[0], 2) == [(0, 1)]


def test_an_unknown_source_is_listed_and_a_folder_of_another_name_refused(tmp_path):
    write(tmp_path / "ces_Latn" / "test.jsonl", [{**PAIR, "source": s} for s in ("hep-go", "x")])
    [bad] = m_rewardbench.load(tmp_path).left_out
    assert "source = x" in bad["detail"]
    write(tmp_path / "other" / "klingon" / "test.jsonl", [{**PAIR, "source": "hep-go"}])
    with pytest.raises(ValueError, match="is named after none of arb_Arab"):
        m_rewardbench.load(tmp_path / "other")


def test_the_first_version_calls_the_subset_so(tmp_path):
    write(tmp_path / "ces_Latn" / "filtered.jsonl", [{**PAIR, "subset": "hep-go"}])
    [item] = m_rewardbench.load(tmp_path).items
    assert item.subset == "hep-go" and item.label["language"] == "ces_Latn"


def test_translations_are_told_by_maple_s_names_alone(tmp_path):
    pairs = [{**PAIR, "source": "Guten Tag"}, {**PAIR, "source": "x", "subset": "maple-de2en-easy"}]
    write(tmp_path / "translation" / "test.jsonl", pairs)
    subsets = [item.subset for item in m_rewardbench.load(tmp_path).items]
    assert subsets == ["translation", "translation/maple-de2en-easy"]
