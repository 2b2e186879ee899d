"""The audits of a whole evaluation: which examples they take, and which flags are shown first."""

import json

import numpy as np

from rewardjax.data.groups import Group
from rewardjax.evaluators.audits import overlap, run
from rewardjax.evaluators.records import Examples, Item
from rewardjax.evaluators.stored_rewards import Scores


def examples(prompts):
    groups = []
    for i, prompt in enumerate(prompts):
        responses = [[{"role": "assistant", "content": text}] for text in ("yes", "no")]
        groups.append(Group(str(i), [{"role": "user", "content": prompt}], responses, []))
    return Examples("pairs", [Item(group.id, "all", {}) for group in groups], groups, "f", [])


def test_counterfactual_takes_examples_from_all_over_the_file():
    names, taken = [], []

    def score(name, expanded, benchmark):
        names.append((name, benchmark))
        taken.extend(item.id for item in expanded.items if "originals" in item.label)
        rewards = [np.arange(len(group.responses), dtype=float) for group in expanded.groups]
        lengths = [np.ones(len(row), int) for row in rewards]
        return Scores(
            items=expanded.items,
            rewards=rewards,
            tokens=lengths,
            characters=lengths,
            prompt_tokens=[1] * len(rewards),
            prompts=[item.id for item in expanded.items],
            unscored=[],
            meta={},
        )

    by_name = {"pairs": examples([f"question {i}" for i in range(9)])}
    summaries = run.counterfactual_of(by_name, score, ("pairs", "elsewhere"), most=3)
    assert names == [("counterfactual-pairs", "pairs")] and list(summaries) == ["pairs"]
    assert taken == ["0", "4", "8"]


def test_flags_of_highest_coverage_are_shown_and_all_are_written(tmp_path, monkeypatch):
    words = [f"word{i}" for i in range(40)]
    prompt = " ".join(words)
    lengths = (13, 40, 20)
    training = tmp_path / "train.jsonl"
    records = [
        {"ask": " ".join(words[:length]), "chosen": "a", "rejected": "b"} for length in lengths
    ]
    training.write_text("".join(json.dumps(record) + "\n" for record in records))
    monkeypatch.setattr(run, "EVIDENCE", 2)
    file = tmp_path / "audit" / "overlap.jsonl"
    # Its columns are read as for training, or no turn of the user would be found.
    entry = overlap.open_training("mine", str(training), columns="{prompt: ask}")
    audit = run.overlap_of({"one": examples([prompt])}, [entry], file)
    assert [flag["row"] for flag in audit["evidence"]] == [1, 2]
    assert (audit["records"], audit["unread"]) == (3, 0)
    assert [json.loads(line)["row"] for line in file.read_text().splitlines()] == [0, 1, 2]
