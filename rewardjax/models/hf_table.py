"""A table between Hugging Face tensors and our parameters.

And the letter algebra that reads it in both directions. A family lists its rows (models/families/);
what is done with them is here and knows no family.

Letters: D width, F mlp width, N query heads, K kv heads, H head width, V vocabulary. A word of
`theirs` is one axis of their tensor; two letters in a word are one axis that holds both. Our layers
are stacked, so ours have one more leading axis there.
"""

import dataclasses
import math

import numpy as np

from rewardjax.models.config import DecoderConfig


@dataclasses.dataclass(frozen=True)
class Rule:
    """One row: a parameter of ours, a tensor of theirs, and the letters of their axes."""

    path: str  # of our parameter
    name: str  # of their tensor; {} is the number of the layer
    ours: str
    theirs: str

    @property
    def stacked(self) -> bool:
        """Whether ours holds all layers at once, with a leading axis [L]."""
        return "{}" in self.name


# What every pre-norm decoder with grouped-query attention and a gated mlp has. torch stores a
# linear layer as [outputs, inputs], so theirs read backwards from ours.
DECODER_ROWS = (
    Rule("decoder.embed", "model.embed_tokens.weight", "VD", "V D"),
    Rule("decoder.layers.attention_norm", "model.layers.{}.input_layernorm.weight", "D", "D"),
    Rule("decoder.layers.attention.q", "model.layers.{}.self_attn.q_proj.weight", "DNH", "NH D"),
    Rule("decoder.layers.attention.k", "model.layers.{}.self_attn.k_proj.weight", "DKH", "KH D"),
    Rule("decoder.layers.attention.v", "model.layers.{}.self_attn.v_proj.weight", "DKH", "KH D"),
    Rule("decoder.layers.attention.o", "model.layers.{}.self_attn.o_proj.weight", "NHD", "D NH"),
    Rule("decoder.layers.mlp_norm", "model.layers.{}.post_attention_layernorm.weight", "D", "D"),
    Rule("decoder.layers.mlp.gate", "model.layers.{}.mlp.gate_proj.weight", "DF", "F D"),
    Rule("decoder.layers.mlp.up", "model.layers.{}.mlp.up_proj.weight", "DF", "F D"),
    Rule("decoder.layers.mlp.down", "model.layers.{}.mlp.down_proj.weight", "FD", "D F"),
    Rule("decoder.norm", "model.norm.weight", "D", "D"),
    Rule("head", "score.weight", "D", "1 D"),
)


def sizes(config: DecoderConfig) -> dict[str, int]:
    """Letter -> length; "1" is an axis that only their tensor has."""
    return {
        "V": config.vocab_size,
        "D": config.width,
        "F": config.mlp_width,
        "N": config.heads,
        "K": config.kv_heads,
        "H": config.head_dim,
        "1": 1,
    }


def names(rule: Rule, layers: int) -> list[tuple[str, int | None]]:
    """(name, layer) of every tensor that a rule stands for; the layer is None outside the stack."""
    if not rule.stacked:
        return [(rule.name, None)]
    return [(rule.name.format(layer), layer) for layer in range(layers)]


def their_shape(rule: Rule, size: dict[str, int]) -> tuple[int, ...]:
    """Shape of one of their tensors."""
    return tuple(math.prod(size[letter] for letter in word) for word in rule.theirs.split())


def their_slices(rule: Rule, ours: tuple[slice, ...], size: dict[str, int]) -> tuple[slice, ...]:
    """Which part of their tensor holds the part `ours` of one layer of our parameter.

    Raises ValueError when that part is not one block of theirs: of two letters in a word only the
    first may be split.
    """
    part = dict(zip(rule.ours, ours, strict=True)) | {"1": slice(None)}
    blocks = []
    for word in rule.theirs.split():
        first, *rest = word
        for letter in rest:
            if part[letter].indices(size[letter])[:2] != (0, size[letter]):
                raise ValueError(
                    f"{rule.path}: axis {letter} of {rule.ours} is split over devices, but "
                    f"lies inside an axis of {rule.name}"
                )
        # The axis is laid out with its first letter slowest: head n of width H is n H .. (n + 1) H.
        inner = math.prod(size[letter] for letter in rest)
        start, stop, _ = part[first].indices(size[first])
        blocks.append(slice(start * inner, stop * inner))
    return tuple(blocks)


def to_ours(rule: Rule, theirs: np.ndarray, size: dict[str, int]) -> np.ndarray:
    """Their tensor, or a block of it that `their_slices` named, in our order of axes."""
    letters, shape = "", []
    for word, length in zip(rule.theirs.split(), theirs.shape, strict=True):
        if word == "1":
            continue
        # A block may hold a part of the first letter's axis, so its length follows from the block,
        # not from `size`.
        inner = [size[letter] for letter in word[1:]]
        letters += word
        shape += [length // math.prod(inner), *inner]
    return theirs.reshape(shape).transpose([letters.index(letter) for letter in rule.ours])


def to_theirs(rule: Rule, ours: np.ndarray, size: dict[str, int]) -> np.ndarray:
    """One layer of our parameter as their whole tensor."""
    letters = rule.theirs.replace("1", "").replace(" ", "")
    transposed = ours.transpose([rule.ours.index(letter) for letter in letters])
    return transposed.reshape(their_shape(rule, size))
