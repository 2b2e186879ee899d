"""Planted copies of prompts are found with evidence, in any source's format; nothing else is."""

import gzip
import json

import pytest

from rewardjax.data import sources
from rewardjax.data.groups import Group
from rewardjax.evaluators.audits import overlap
from rewardjax.evaluators.records import Examples, Item

LONG = (
    "Explain to a curious child why the sky looks blue at noon but turns orange and red in the "
    "evening hours"
)
SHORT = "Name the capital of France."
FOLLOW_UP = (
    "Now do the same for a grown up reader who knows some physics but forgot most of the optics "
    "lessons"
)


def examples(name, prompts):
    groups = [
        Group(
            f"{name}{i}",
            [
                {"role": role, "content": text}
                for role, text in zip(("user", "assistant") * 3, turns, strict=False)
            ],
            [[]],
            [],
        )
        for i, turns in enumerate(prompts)
    ]
    return Examples(name, [Item(group.id, "all", {}) for group in groups], groups, "f", [])


def run(tmp_path, records, by_name, window=overlap.WINDOW, **settings):
    """The windows of a source with these records, their flags, and the counts."""
    path = tmp_path / "train.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    prompts = overlap.index_prompts(by_name, **settings)
    windows = list(overlap.find(prompts, sources.open_source(path), window))
    flags = []
    for part in windows:
        flags += part.flags
    return windows, flags, overlap.counts(prompts, flags)


def test_planted_copies_are_found_with_evidence(tmp_path):
    by_name = {
        "one": examples("one", [[LONG], [SHORT], ["unlike " * 3]]),
        "two": examples("two", [["Hello there", "Hi", FOLLOW_UP]]),
    }
    records = [
        {"prompt": "What is the time?", "chosen": "a", "rejected": "b"},
        {"prompt": f"Please {LONG.upper()}!", "chosen": LONG, "rejected": "b"},
        {
            "chosen": f"\n\nHuman: hi\n\nAssistant: hello\n\nHuman: {FOLLOW_UP}\n\nAssistant: x",
            "rejected": "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: "
            + FOLLOW_UP
            + "\n\nAssistant: y",
        },
        {"prompt": SHORT.lower(), "chosen": "a", "rejected": "b"},
        {
            "prompt": "something else",
            "chosen": FOLLOW_UP,
            "rejected": "b",
        },  # a response is not a prompt
        {"no": "group"},
    ]
    windows, rows, table = run(tmp_path, records, by_name)
    assert [(total, unread) for total, unread, _ in windows] == [(6, 1)]
    assert [(row["row"], row["benchmark"], row["item"], row["shared"]) for row in rows] == [
        (1, "one", "one0", 8),
        (2, "two", "two0", 7),
        (3, "one", "one1", 0),
    ]
    assert (
        rows[0]["coverage"] == 1.0 and rows[0]["source"] == "train" and rows[0]["id"] == "train:1"
    )
    assert rows[0]["ngram"].startswith(
        "explain to curious child"
    )  # one-letter words do not count, as in the paper's script
    assert table == [
        {
            "benchmark": "one",
            "prompts": 3,
            "too short": 2,
            "found": 2,
            "share": 2 / 3,
            "training records": 2,
        },
        {
            "benchmark": "two",
            "prompts": 1,
            "too short": 0,
            "found": 1,
            "share": 1.0,
            "training records": 1,
        },
    ]


def test_windows_change_nothing(tmp_path):
    by_name = {"one": examples("one", [[LONG], [FOLLOW_UP]])}
    records = [
        {"prompt": text, "chosen": "a", "rejected": "b"}
        for text in (LONG, "x", FOLLOW_UP, LONG, "y")
    ]
    _, whole, _ = run(tmp_path, records, by_name)
    windows, rows, _ = run(tmp_path, records, by_name, window=2)
    assert rows == whole and len(rows) == 3
    assert [window.records for window in windows] == [2, 2, 1]


@pytest.mark.parametrize("shared_words, flags", [(12, 0), (13, 1)])
def test_thirteen_words_in_a_row_are_a_flag_and_twelve_are_not(tmp_path, shared_words, flags):
    benchmark_words = [f"word{i}" for i in range(20)]
    training = " ".join(["before", *benchmark_words[:shared_words], "after"])
    by_name = {"one": examples("one", [[" ".join(benchmark_words)]])}
    records = [{"prompt": training, "chosen": "a", "rejected": "b"}]
    _, rows, _ = run(tmp_path, records, by_name)
    assert len(rows) == flags


def test_of_several_turns_the_one_that_covers_most_is_the_evidence(tmp_path):
    by_name = {"one": examples("one", [[LONG]])}
    half = " ".join(LONG.split()[:-2])
    for first, second in ((half, LONG), (LONG, half)):
        conversation = f"\n\nHuman: {first}\n\nAssistant: x\n\nHuman: {second}\n\nAssistant: "
        records = [{"chosen": conversation + "a", "rejected": conversation + "b"}]
        [flag] = run(tmp_path, records, by_name)[1]
        assert flag["coverage"] == 1.0


def test_longer_ngrams_find_less(tmp_path):
    by_name = {"one": examples("one", [[LONG]])}
    records = [{"prompt": LONG.replace("noon", "midday"), "chosen": "a", "rejected": "b"}]
    assert run(tmp_path, records, by_name, n=5)[1] and not run(tmp_path, records, by_name)[1]
