"""Rewards are stored with everything that a rule needs; what cannot be scored stays NaN."""

import numpy as np
import pytest

from rewardjax import assets
from rewardjax.data.chat import ChatTokenizer
from rewardjax.evaluators import reading, stored_rewards
from rewardjax.evaluators.records import Examples, Item


def test_scores_survive_parquet_with_nan_and_odd_text(tmp_path):
    item, group = reading.example("1", "s", {"label": "é"}, reading.user("p"), ["a", "", "\ud800"])
    examples = Examples("pairs", [item], [group], "0", [])

    class Letters:  # one token a character; no control tokens, no BOS
        bos_id = None
        neutralized = 0

        def unprinted(self, group):
            return []

        def encode(self, messages, tools=None):
            return [1] * sum(len(message["content"]) + 1 for message in messages)

    score = lambda groups: [np.arange(len(one.suffixes), dtype=np.float32) for one in groups]
    found = stored_rewards.compute(
        examples, Letters(), score, max_length=9, over_long="left", meta={"key": "k"}
    )  # pyright: ignore
    assert found.rewards[0][:2].tolist() == [0.0, 1.0] and np.isnan(found.rewards[0][2])
    assert (
        found.tokens[0].tolist() == [2, 1, -1]
        and found.prompt_tokens == [2]
        and found.characters[0].tolist() == [1, 0, 1]
    )
    assert [(bad["response"], bad["reason"]) for bad in found.unscored] == [(2, "bad_text")]
    stored_rewards.write(found, tmp_path / "x.parquet")
    again = stored_rewards.read(tmp_path / "x.parquet")
    np.testing.assert_array_equal(again.rewards[0], found.rewards[0])
    assert (again.items, again.prompts, again.unscored, again.meta) == (
        [Item("1", "s", {"label": "é"})],
        found.prompts,
        found.unscored,
        found.meta,
    )
    assert again.meta == {"benchmark": "pairs", "data": "0", "key": "k"}


def test_other_parquet_files_are_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="is not a file of scores of rewardjax.evaluate"):
        stored_rewards.read(tmp_path / "x.parquet")


def test_a_response_that_cannot_be_scored_moves_no_other_reward():
    item, group = reading.example("1", "s", {}, reading.user("p"), ["\ud800", "a", "b"])
    tokenized = [
        stored_rewards.tokenize(
            group, ChatTokenizer.load(assets.resolve("assets:world")), 100, "left"
        )
    ]
    [rewards] = stored_rewards.rewards_of(tokenized, lambda groups: [np.array([0.25, 0.5])])
    assert np.isnan(rewards[0]) and rewards[1:].tolist() == [0.25, 0.5]


def test_what_has_no_reward_is_listed_with_its_reason(monkeypatch):
    """NaN of a model, and an error that nobody foresaw, which ended the evaluation."""
    chat = ChatTokenizer.load(assets.resolve("assets:world"))
    groups, items = [], []
    for number, prompt in enumerate(("p", "q")):
        item, group = reading.example(str(number), "s", {}, reading.user(prompt), ["a", "b"])
        items.append(item)
        groups.append(group)
    real = stored_rewards.prepare

    def prepare(group, *args, **kwargs):
        if group is groups[1]:
            raise ZeroDivisionError
        return real(group, *args, **kwargs)

    monkeypatch.setattr(stored_rewards, "prepare", prepare)
    examples = Examples("pairs", items, groups, "0", [])
    scores = stored_rewards.compute(
        examples,
        chat,
        lambda groups: [np.array([0.5, np.nan])],
        max_length=100,
        over_long="left",
        meta={},
    )
    reasons = [(entry["id"], entry["response"], entry["reason"]) for entry in scores.unscored]
    assert ("0", 1, "not_finite") in reasons and ("0", 0, "not_finite") not in reasons
    assert {(name, k) for name, k, _ in reasons} == {("0", 1), ("1", 0), ("1", 1)}
