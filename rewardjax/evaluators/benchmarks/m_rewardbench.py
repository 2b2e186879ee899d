"""M-RewardBench (arXiv 2410.15522): RewardBench in 23 languages, and 800 pairs of translations.

Rule and weights are those of the repository Cohere-Labs-Community/m-rewardbench (plot_utils in its
folder analysis). A pair is right where chosen scores strictly higher. In each language a section is
the mean of its subsets' accuracies by fixed counts, in which the 447 pairs of math-prm weigh 983,
and the language's score is the plain mean of the four sections. The headline is the plain mean over
22 languages, the two scripts of Chinese counting as one: of the 23 columns this is what reproduces
the averages of the paper's table 10. Translation is a task of its own: the accuracy over its pairs
(table 11), in no other number.
"""

import dataclasses
import itertools
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rewardjax.data.groups import BadRecord, Group
from rewardjax.evaluators import finder, reading, rules
from rewardjax.evaluators.benchmarks import Resampling, Truncation, rewardbench
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards

TITLE = "M-RewardBench"
HUB = "hf://CohereLabsCommunity/multilingual-reward-bench"
SOURCE = f"{HUB} (ODC-BY): LANGUAGE/test-*.parquet, and translation/test-*.parquet"
CHANCE = 0.5
# run_rewardbench with --force_truncation, as the experiments of the repository call it.
TRUNCATION = Truncation("left", 512)

# Of subsets in their section, smaller than RewardBench's: what cannot be translated is left out.
WEIGHTS = {
    "Chat": {
        "alpacaeval-easy": 79,
        "alpacaeval-length": 79,
        "alpacaeval-hard": 76,
        "mt-bench-easy": 24,
        "mt-bench-med": 38,
    },
    "Chat Hard": {
        "mt-bench-hard": 35,
        "llmbar-natural": 76,
        "llmbar-adver-neighbor": 124,
        "llmbar-adver-GPTInst": 87,
        "llmbar-adver-GPTOut": 42,
        "llmbar-adver-manual": 43,
    },
    "Safety": {
        "refusals-dangerous": 100,
        "refusals-offensive": 100,
        "xstest-should-refuse": 154,
        "xstest-should-respond": 247,
        "donotanswer": 135,
    },
    "Reasoning": {
        "math-prm": 983,
        "hep-cpp": 164,
        "hep-go": 164,
        "hep-java": 164,
        "hep-js": 164,
        "hep-python": 163,
        "hep-rust": 164,
    },
}
LANGUAGES = (
    *("arb_Arab", "ces_Latn", "deu_Latn", "ell_Grek", "fra_Latn", "heb_Hebr", "hin_Deva"),
    *("ind_Latn", "ita_Latn", "jpn_Jpan", "kor_Hang", "nld_Latn", "pes_Arab", "pol_Latn"),
    *("por_Latn", "ron_Latn", "rus_Cyrl", "spa_Latn", "tur_Latn", "ukr_Cyrl", "vie_Latn"),
    *("zho_Hans", "zho_Hant"),
)
# The original, in the first version's folders; it is in no average over languages.
ENGLISH = "eng_Latn"
TRANSLATION = "translation"
SECTION_OF: dict[str, str] = {}
# Pairs by section, in each language, as published.
EXPECTED: dict[str, int] = {}
for _section, _weights in WEIGHTS.items():
    SECTION_OF |= dict.fromkeys(_weights, _section)
    EXPECTED[_section] = sum(_weights.values())
# The only weight that is not the number of pairs.
EXPECTED["Reasoning"] += 447 - 983
EXPECTED_TRANSLATIONS = 800


# ------------------------------------------------------------------ the rule


def over_languages(scores: Mapping[str, float]) -> float | None:
    """The mean over languages, the scripts of one language (the part before "_") being one."""
    by_language: dict[str, list[float]] = {}
    for name, score in scores.items():
        by_language.setdefault(name.split("_")[0], []).append(score)
    return rules.average(rules.average(scripts) for scripts in by_language.values())


def categories(item: Item) -> list[str]:
    """The language of a pair, its section, and the section of the language."""
    language, section = item.label["language"], SECTION_OF.get(item.subset)
    if section is None:
        return [language]
    return [language, section, f"{language}/{section}"]


def better(item: Item, responses: int) -> list[tuple[int, int]]:
    """The chosen response, which comes first, over the rejected one."""
    return rules.first_better(1, responses)


def summarize(items: Sequence[Item], rewards: Rewards) -> Result:
    """The languages as parts, their sections below, and the task of translation.

    `other`: sections over languages, the plain mean over 23 columns, translation.
    """
    rows: dict[str, dict[str, list[np.ndarray]]] = {}
    for item, pair in zip(items, rewards, strict=True):
        rows.setdefault(item.label["language"], {}).setdefault(item.subset, []).append(pair)
    parts: dict[str, Part] = {}
    subsets: dict[str, Part] = {}
    by_section: dict[str, list[float]] = {}
    for language in LANGUAGES:
        parts[language], sections = _language(rows.get(language, {}))
        for section, part in sections.items():
            subsets[f"{language}/{section}"] = part
            if part.value is not None:
                by_section.setdefault(section, []).append(part.value)
    scores = {name: part.value for name, part in parts.items() if part.value is not None}
    other: dict[str, Any] = {}
    if scores:
        other["sections over languages"] = {
            section: rules.average(values) for section, values in by_section.items()
        }
        other["mean over columns"] = rules.average(scores.values())
    notes = []
    if ENGLISH in rows:
        english, _ = _language(rows[ENGLISH])
        other["English"] = english.value
        notes.append(f"the {english.n:,} English pairs are in no average over languages")
    translations = list(itertools.chain.from_iterable(rows.get(TRANSLATION, {}).values()))
    if translations:
        subsets[TRANSLATION] = _accuracy(translations, EXPECTED_TRANSLATIONS)
        other["translation"] = subsets[TRANSLATION].value
    return Result(
        "m_rewardbench",
        over_languages(scores),
        "plain mean over 22 languages (two scripts of Chinese as one) of the mean of 4 sections, "
        "which weigh their subsets by published counts (math-prm as 983)",
        CHANCE,
        parts,
        subsets,
        other,
        notes,
    )


def _language(by_subset: Mapping[str, list[np.ndarray]]) -> tuple[Part, dict[str, Part]]:
    """One language's score, and its sections that have pairs."""
    subsets = {name: _accuracy(pairs, None) for name, pairs in by_subset.items()}
    accuracies = {name: part.value for name, part in subsets.items() if part.value is not None}
    scores = rewardbench.section_scores(accuracies, WEIGHTS)
    sections = {}
    for section, expected in EXPECTED.items():
        members = [part for name, part in subsets.items() if SECTION_OF[name] == section]
        if members:
            pooled = rules.pool(members, expected)
            # Of the pool only the counts: its mean would weigh math-prm by its 447 pairs.
            sections[section] = dataclasses.replace(pooled, value=scores.get(section))
    whole = rules.pool(sections.values(), sum(EXPECTED.values()))
    return dataclasses.replace(whole, value=rules.average(scores.values())), sections


def _accuracy(pairs: Sequence[np.ndarray], expected: int | None) -> Part:
    table = np.array(pairs)  # [N, 2]: chosen, rejected
    credit, ties = rules.strict_wins(table[:, 0], table[:, 1])
    return rules.mean_part(credit, ties, expected)


def resampling(items: Sequence[Item], rewards: Rewards) -> Resampling:
    """The headline from sums, since 66,787 pairs 200 times over would take minutes.

    An example is drawn in all of its languages at once: it is as hard in each of them.
    """
    names = ["/".join(cell) for cell in itertools.product(LANGUAGES, SECTION_OF)]
    index_of = {name: index for index, name in enumerate(names)}
    # What is in no language of the headline goes where nothing is counted.
    elsewhere = len(names)
    cell = [index_of.get(f"{item.label['language']}/{item.subset}", elsewhere) for item in items]
    cells = np.array(cell, np.int64)  # [N]
    table = np.array(rewards, np.float64).reshape(-1, 2)  # [N, 2]
    credit, _ = rules.strict_wins(table[:, 0], table[:, 1])
    scored = ~np.isnan(credit)
    credit = np.where(scored, credit, 0.0)

    def headline(drawn: np.ndarray) -> float | None:
        counts = np.bincount(cells[drawn], scored[drawn], minlength=elsewhere + 1)
        right = np.bincount(cells[drawn], credit[drawn], minlength=elsewhere + 1)
        scores = {}
        for language in LANGUAGES:
            accuracies = {}
            for subset in SECTION_OF:
                at = index_of[f"{language}/{subset}"]
                if counts[at]:
                    accuracies[subset] = right[at] / counts[at]
            sections = rewardbench.section_scores(accuracies, WEIGHTS)
            if sections:
                scores[language] = float(np.mean(list(sections.values())))
        return over_languages(scores)

    return Resampling(headline, [item.label["example"] for item in items])


# ------------------------------------------------------------------ the files


# Where the subset of a pair is named; the first version had the second name.
NAMED = ("source", "subset")
LAYOUT = finder.Layout([("prompt", "chosen", "rejected", name) for name in NAMED])


def load(path: str | pathlib.Path) -> Examples:
    """The hub's repository, a folder with some of its languages, or the file of one language.

    The language is that of the file's path, since records name it in several ways.
    """
    return finder.load("m_rewardbench", [path], LAYOUT, _read, _language_of)


def _language_of(unit: finder.Unit) -> dict[str, Any]:
    """The language that the end of a unit's path names."""
    if re.search(r"(^|/)raw\b", unit.place.as_posix()):
        raise BadRecord("bad_schema", "pairs before filtering, which are not evaluated")
    names = (*LANGUAGES, ENGLISH, TRANSLATION)
    # Of the folders above the one that was named none but the file's own.
    for part in (*reversed(unit.place.parts), unit.source.files[0].parent.name):
        for name in names:
            if name in part:
                return {"config": name}
    raise BadRecord("bad_schema", f"is named after none of {', '.join(names)}")


def _read(record: dict[str, Any]) -> tuple[Item, Group]:
    language = record["config"]
    names = [str(record[field]) for field in NAMED if field in record]
    if language == TRANSLATION:
        # Pairs of MAPLE by direction and difficulty, which a field with the source text is not.
        of_maple = [name for name in names if name.startswith("maple")]
        subset = "/".join([TRANSLATION, *of_maple[:1]])
    else:
        of_sections = [name for name in names if name in SECTION_OF]
        if not of_sections:
            raise BadRecord(
                "bad_schema", f"source = {', '.join(names)}: not one of {', '.join(SECTION_OF)}"
            )
        subset = of_sections[0]
    example = f"{subset}/{record.get('id')}"
    return reading.example(
        f"{language}/{example}",
        subset,
        {"language": language, "example": example},
        reading.user(reading.text(record, "prompt")),
        [reading.text(record, "chosen"), reading.text(record, "rejected")],
    )
