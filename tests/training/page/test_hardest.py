"""Which pairs a page shows, and how."""

import numpy as np
import pytest
from tiny_chat import make_tokenizer, pair_record, write_source

from rewardjax.data.prepare import prepare
from rewardjax.training.held_out import HeldOut
from rewardjax.training.page import hardest


@pytest.fixture
def held_out(tmp_path):
    """Ten pairs whose chosen responses begin like the rejected ones."""
    records = [pair_record(f"question {i}", f"it is {i}", f"it is not {i}") for i in range(10)]
    source = write_source(tmp_path / "a.jsonl", records)
    pairs = prepare(
        source=source, tokenizer=make_tokenizer(), cache=tmp_path / "cache", max_length=200
    )
    held_out = HeldOut("heldout", pairs)
    # The later the pair, the surer the model.
    held_out.rewards = np.stack([np.arange(10.0), np.full(10, 4.5)], axis=1)
    return held_out


def test_the_hardest_come_first_as_whole_messages(held_out):
    worst, best = hardest.hardest_and_surest(held_out, make_tokenizer()).values()
    assert [example["chosen_reward"] for example in worst] == [0, 1, 2, 3, 4]
    assert [example["chosen_reward"] for example in best] == [9, 8]
    assert worst[0]["prompt"] == [{"role": "user", "content": "question 0"}]
    # The tokens that the two share belong to both answers.
    assert worst[0]["chosen"] == [{"role": "assistant", "content": "it is 0"}]
    assert worst[0]["rejected"] == [{"role": "assistant", "content": "it is not 0"}]
    assert worst[3]["note"].startswith("record 3 of ") and worst[3]["rejected_reward"] == 4.5


def test_a_soft_label_turns_the_pair_and_a_tie_is_not_shown(held_out):
    held_out.pairs.target[9], held_out.pairs.tie[0] = 0.2, 1
    worst, best = hardest.hardest_and_surest(held_out, make_tokenizer()).values()
    assert [example["rejected_reward"] for example in worst] == [9, 4.5, 4.5, 4.5, 4.5]
    assert worst[0]["chosen"][0]["content"] == "it is not 9"
    assert [example["chosen_reward"] for example in worst + best][1:] == [1, 2, 3, 4, 8, 7]


def test_of_few_pairs_none_is_shown_twice(held_out):
    held_out.pairs.tie[:8] = 1
    (only,) = hardest.hardest_and_surest(held_out, make_tokenizer()).values()
    assert len(only) == 2
    held_out.pairs.tie[:] = 1
    assert hardest.hardest_and_surest(held_out, make_tokenizer()) == {}


def test_a_template_that_does_not_say_who_speaks_is_shown_as_it_was_read(held_out):
    group = held_out.groups[0]
    # The header of the first turn was cut off.
    cut = group._replace(prefix=group.prefix[6:])
    prompt, (chosen, rejected) = hardest.conversations(cut, make_tokenizer())
    assert [message["role"] for message in prompt] == ["as the model read it"]
    assert chosen != rejected
