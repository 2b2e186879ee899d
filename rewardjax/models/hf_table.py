"""One table between Hugging Face tensors and our parameters, and the letter algebra that reads it in both directions.

Letters: D width, F mlp width, N query heads, K kv heads, H head width, V vocabulary. A word of `theirs` is one axis of their tensor;
two letters in a word are one axis that holds both. Our layers are stacked, so ours have one more leading axis there.
"""

import dataclasses
import math

import numpy as np

from rewardjax.models.config import DecoderConfig


@dataclasses.dataclass(frozen=True)
class Rule:
    path: str  # of our parameter
    name: str  # of their tensor; {} is the number of the layer
    ours: str
    theirs: str

    @property
    def stacked(self) -> bool:
        return "{}" in self.name


TABLE = (
    Rule("decoder.embed", "model.embed_tokens.weight", "VD", "V D"),
    Rule("decoder.layers.attention_norm", "model.layers.{}.input_layernorm.weight", "D", "D"),
    Rule("decoder.layers.attention.q", "model.layers.{}.self_attn.q_proj.weight", "DNH", "NH D"),
    Rule("decoder.layers.attention.k", "model.layers.{}.self_attn.k_proj.weight", "DKH", "KH D"),
    Rule("decoder.layers.attention.v", "model.layers.{}.self_attn.v_proj.weight", "DKH", "KH D"),
    Rule("decoder.layers.attention.o", "model.layers.{}.self_attn.o_proj.weight", "NHD", "D NH"),
    Rule("decoder.layers.attention.q_bias", "model.layers.{}.self_attn.q_proj.bias", "NH", "NH"),
    Rule("decoder.layers.attention.k_bias", "model.layers.{}.self_attn.k_proj.bias", "KH", "KH"),
    Rule("decoder.layers.attention.v_bias", "model.layers.{}.self_attn.v_proj.bias", "KH", "KH"),
    Rule("decoder.layers.attention.q_norm", "model.layers.{}.self_attn.q_norm.weight", "H", "H"),
    Rule("decoder.layers.attention.k_norm", "model.layers.{}.self_attn.k_norm.weight", "H", "H"),
    Rule("decoder.layers.mlp_norm", "model.layers.{}.post_attention_layernorm.weight", "D", "D"),
    Rule("decoder.layers.mlp.gate", "model.layers.{}.mlp.gate_proj.weight", "DF", "F D"),
    Rule("decoder.layers.mlp.up", "model.layers.{}.mlp.up_proj.weight", "DF", "F D"),
    Rule("decoder.layers.mlp.down", "model.layers.{}.mlp.down_proj.weight", "FD", "D F"),
    Rule("decoder.norm", "model.norm.weight", "D", "D"),
    Rule("head", "score.weight", "D", "1 D"),
)


def rules_of(config: DecoderConfig) -> list[Rule]:
    """The part of the table that a family has."""
    present = {
        "q_bias": config.qkv_bias,
        "k_bias": config.qkv_bias,
        "v_bias": config.qkv_bias,
        "q_norm": config.qk_norm,
        "k_norm": config.qk_norm,
    }
    return [rule for rule in TABLE if present.get(rule.path.split(".")[-1], True)]


def sizes(config: DecoderConfig) -> dict[str, int]:
    """Letter -> number; "1" is an axis that ours have not."""
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
    """(name, layer) of every tensor that a rule stands for."""
    return (
        [(rule.name.format(layer), layer) for layer in range(layers)]
        if rule.stacked
        else [(rule.name, None)]
    )


def their_shape(rule: Rule, size: dict[str, int]) -> tuple[int, ...]:
    """Shape of one of their tensors."""
    return tuple(math.prod(size[letter] for letter in word) for word in rule.theirs.split())


def their_slices(rule: Rule, ours: tuple[slice, ...], size: dict[str, int]) -> tuple[slice, ...]:
    """Which part of their tensor holds the part `ours` of one layer of our parameter.

    ValueError when that part is not one block of theirs: of two letters in a word only the first may be split.
    """
    part = dict(zip(rule.ours, ours, strict=True)) | {"1": slice(None)}
    out = []
    for word in rule.theirs.split():
        first, *rest = word
        if any(part[letter].indices(size[letter])[:2] != (0, size[letter]) for letter in rest):
            raise ValueError(
                f"{rule.path}: axis {rest[0]} of {rule.ours} is split over devices, but lies inside an axis of {rule.name}"
            )
        inner = math.prod(size[letter] for letter in rest)
        start, stop, _ = part[first].indices(size[first])
        out.append(slice(start * inner, stop * inner))
    return tuple(out)


def to_ours(rule: Rule, theirs: np.ndarray, size: dict[str, int]) -> np.ndarray:
    """Their tensor, or a block of it that `their_slices` named, in our order of axes."""
    letters, shape = "", []
    for word, length in zip(rule.theirs.split(), theirs.shape, strict=True):
        if word != "1":
            inner = [size[letter] for letter in word[1:]]
            letters, shape = letters + word, shape + [length // math.prod(inner), *inner]
    return theirs.reshape(shape).transpose([letters.index(letter) for letter in rule.ours])


def to_theirs(rule: Rule, ours: np.ndarray, size: dict[str, int]) -> np.ndarray:
    """One layer of our parameter as their whole tensor."""
    letters = rule.theirs.replace("1", "").replace(" ", "")
    return ours.transpose([rule.ours.index(letter) for letter in letters]).reshape(
        their_shape(rule, size)
    )
