"""Conversations that are cut as other tokenizers cut them, wherever that is."""

import numpy as np
import pytest
import tiny_chat

from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import BadRecord, Group
from rewardjax.data.tokenize import shorten

PROMPT = [{"role": "user", "content": "one two three four five"}]
RESPONSE = [{"role": "assistant", "content": "six seven eight nine ten"}]
GROUP = Group("g", PROMPT, [RESPONSE], [])


@pytest.mark.parametrize("bos", [False, True])
def test_cuts_take_tokens_wherever_they_are(bos):
    tokenizer = tiny_chat.make_tokenizer(bos=bos)
    tokens = np.asarray(tokenizer.encode(PROMPT + RESPONSE), np.int32)
    with pytest.raises(BadRecord, match="without the prompt"):
        shorten(tokens, GROUP, 0, tokenizer, 4, "left")
    right = shorten(tokens, GROUP, 0, tokenizer, 4, "cut_right")
    assert right.tolist() == tokens[:4].tolist()
    left = shorten(tokens, GROUP, 0, tokenizer, 4, "cut_left")
    # The tokenizer puts its BOS in front of what is left of the text.
    wanted = [tokens[0], *tokens[-3:]] if bos else tokens[-4:]
    assert left.tolist() == list(wanted)
    for rule in ("cut_left", "cut_right"):
        whole = shorten(tokens, GROUP, 0, tokenizer, len(tokens), rule)
        assert whole.tolist() == tokens.tolist()


@pytest.mark.parametrize("side", ["left", "right"])
def test_cuts_are_those_of_transformers(exported, side):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(exported, truncation_side=side)
    text = theirs.apply_chat_template(PROMPT + RESPONSE, tokenize=False)
    # As the references do: the tokenizer adds its BOS itself.
    text = text.removeprefix(theirs.bos_token or "")
    ours = ChatTokenizer.load(exported)
    tokens = np.asarray(ours.encode(PROMPT + RESPONSE), np.int32)
    assert tokens.tolist() == theirs(text)["input_ids"]
    for length in (4, 9, len(tokens) - 1):
        cut = shorten(tokens, GROUP, 0, ours, length, f"cut_{side}")
        assert cut.tolist() == theirs(text, truncation=True, max_length=length)["input_ids"]
