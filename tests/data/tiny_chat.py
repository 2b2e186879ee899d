"""A chat tokenizer of 256 bytes and a few control tokens, and files of records:

enough to test everything behind them.
"""

import json
import pathlib

import tokenizers

from rewardjax.data import sources
from rewardjax.data.chat import ChatTokenizer

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
)
CONTROLS = ["<|im_start|>", "<|im_end|>", "<|pad|>", "<|bos|>"]


def make_tokenizer(template: str = TEMPLATE, bos: bool = False) -> ChatTokenizer:
    """Token id = rank of the byte in the byte-level alphabet;

    with bos=True the template starts with <|bos|>.
    """
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    full = tokenizers.Tokenizer(
        tokenizers.models.BPE({character: i for i, character in enumerate(alphabet)}, [])
    )
    full.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    full.decoder = tokenizers.decoders.ByteLevel()
    full.add_special_tokens(CONTROLS)
    config = {"eos_token": "<|im_end|>", "pad_token": "<|pad|>"} | (
        {"bos_token": "<|bos|>"} if bos else {}
    )
    return ChatTokenizer(full.to_str(), config, "{{ bos_token }}" * bos + template)


def pair_record(prompt: str, chosen: str, rejected: str, **fields) -> dict:
    """An explicit-prompt preference record."""
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **fields}


def write_source(path: pathlib.Path, records: list[dict]) -> sources.Source:
    """The records as a JSONL file, opened."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return sources.open_source(path)
