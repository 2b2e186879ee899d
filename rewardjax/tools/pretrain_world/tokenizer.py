"""The world's tokenizer: a small byte-level BPE that reads numbers digit by digit."""

import json
import pathlib
from collections.abc import Iterator

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from rewardjax.data.world.corpus import documents

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
# Not special: decoding that leaves out special tokens still shows where thinking starts and ends.
ADDED = ["<think>", "</think>"]
# Conversations it is learned from.
TOKENIZER_NUM = 40_000
# Small, since the world has few words, and the tied embedding is a tenth of the model.
VOCAB_SIZE = 1024
# Words with the space before them, single digits, runs of signs, line breaks, blanks. Digits stand
# alone, so that a number is read digit by digit, as it is added.
PIECES = r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+"
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def train_tokenizer(seed: int, num: int) -> Tokenizer:
    """A byte-level BPE of VOCAB_SIZE tokens, special ones included.

    Learned from `num` conversations of the seed's corpus.
    """
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PIECES), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(ADDED),
        special_tokens=SPECIAL,
        # All 256 bytes are tokens, so that it reads any text, not only the corpus.
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(seed, num), trainer)
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in ADDED])
    return tokenizer


def _texts(seed: int, num: int) -> Iterator[str]:
    for turns in documents(seed, num):
        for turn in turns:
            yield f"{turn.role}\n{turn.content}"


def write_tokenizer(tokenizer: Tokenizer, folder: pathlib.Path) -> None:
    """tokenizer.json and the tokenizer_config.json that transformers reads."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 4096,
        "bos_token": None,
        # The end of a turn, as in Qwen's chat models; padding is another token, since a pad token
        # that is also EOS would hide the end of a response.
        "eos_token": "<|im_end|>",
        "pad_token": "<|pad|>",
        "unk_token": None,
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
