"""Whether a tokenizer is that of a model: its ids are the rows of the model's embedding table.

A tokenizer of another vocabulary raises no error by itself. JAX clamps an index beyond the table to
its last row, and ids within it read rows that mean other words: the model trains, and scores, on
noise.
"""

import pathlib

import tokenizers

from rewardjax.data.chat import ChatTokenizer

FILES = ("tokenizer.json", "tokenizer_config.json")  # a folder with one of them has a tokenizer

# Tables are padded for speed: to a multiple of 128 for each of up to eight tensor-parallel parts
# (Megatron-LM), or by up to 3% (DeepSeek 102,400 rows for 100,015 tokens). Small tables are padded
# by a larger share, but not to more than twice the vocabulary.
PADDED_ROWS, PADDED_SHARE = 1024, 1 / 16
# Makers rename reserved entries (<|reserved_special_token_0|> to <|pad|>), which no text ever used.
RENAMED_SHARE = 0.01


def has_tokenizer(folder: pathlib.Path) -> bool:
    """Whether there is a tokenizer beside the weights of `folder`."""
    return any((folder / name).exists() for name in FILES)


def refuse_ids_beyond(tokenizer: ChatTokenizer, rows: int, remedy: str) -> None:
    """Raise ValueError if `tokenizer` has ids that a table of `rows` rows does not hold."""
    if tokenizer.vocab_size > rows:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, the embedding table {rows}; {remedy}"
        )


def refuse_other_size(tokenizer: ChatTokenizer, rows: int, folder: str | pathlib.Path) -> None:
    """Raise ValueError unless `tokenizer` has the size that the weights in `folder` were made for.

    It may be smaller than the table of `rows` rows by the padding that tables have.
    """
    remedy = (
        f"{folder} needs the tokenizer that it was trained with, which lies in the folder of its "
        "maker (in training: tokenizer.folder)"
    )
    refuse_ids_beyond(tokenizer, rows, remedy)
    unused = rows - tokenizer.vocab_size
    is_padding = unused < PADDED_ROWS and unused <= rows / 2
    if unused > rows * PADDED_SHARE and not is_padding:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, the embedding table {rows} rows: "
            f"more than padding explains, so this is the tokenizer of another model; {remedy}"
        )


def refuse_other_tokens(folder: pathlib.Path, model_folder: pathlib.Path) -> None:
    """Raise ValueError if the tokenizers of two folders give the same ids to different tokens.

    Compared where both folders have a tokenizer.json; either may have tokens that the other lacks.
    """
    files = folder / "tokenizer.json", model_folder / "tokenizer.json"
    if not all(file.exists() for file in files):
        return
    ours, theirs = map(_tokens, files)
    shared = ours.keys() & theirs.keys()
    differing = [number for number in sorted(shared) if ours[number] != theirs[number]]
    if len(differing) > RENAMED_SHARE * len(shared):
        first = differing[0]
        raise ValueError(
            f"tokenizer.folder={folder}: {len(differing)} of {len(shared)} ids are other tokens "
            f"than in model.folder={model_folder} (id {first} is {ours[first]!r}, there "
            f"{theirs[first]!r}); leave tokenizer.folder out to use the model's own"
        )


def _tokens(file: pathlib.Path) -> dict[int, str]:
    try:
        vocabulary = tokenizers.Tokenizer.from_file(str(file)).get_vocab(with_added_tokens=True)
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"{file}: not a readable tokenizer ({error})") from None
    return {number: token for token, number in vocabulary.items()}
