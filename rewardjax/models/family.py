"""What a backbone has to say about itself.

A file of families/ fills in one record, Family; no other file knows a family by its name.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from rewardjax.models.config import DecoderConfig
from rewardjax.models.hf_table import Rule


@dataclasses.dataclass(frozen=True)
class Only:
    """A field of config.json that changes what is computed, and the one value that we implement."""

    field: str
    value: Any
    remedy: str = ""  # what a user can do who has another value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """A family of decoders.

    How its block differs, how Hugging Face spells it, its published sizes and its cost.
    """

    name: str  # Hugging Face's `model_type`
    architecture: str  # prefix of the class names in transformers, such as "Qwen3"

    # The block's switches, read by decoder.py.
    qk_norm: bool = False  # queries and keys of a head are normalized before they are rotated
    qkv_bias: bool = False  # query, key and value projections have a bias

    # config.json
    only: tuple[Only, ...]
    # What transformers' config class assumes where a file lacks the field: absence does not mean
    # "none" there.
    absent: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    rules: tuple[Rule, ...]  # Hugging Face tensors <-> our parameters
    layer_weights: Callable[[DecoderConfig], dict[str, int]]  # for FLOPs, see gated_layer_weights
    variants: Mapping[str, DecoderConfig]  # published sizes by name, and `tiny-<name>` for tests


def gated_layer_weights(config: DecoderConfig) -> dict[str, int]:
    """Matmul weights of one layer, by the name of what they compute.

    Holds for grouped-query attention and a gated mlp.
    """
    D, F = config.width, config.mlp_width
    N, K, H = config.heads, config.kv_heads, config.head_dim
    return {"qkv": D * (N + 2 * K) * H, "o": N * H * D, "gate_up": 2 * D * F, "down": F * D}


def tiny(published: DecoderConfig, **changes: Any) -> DecoderConfig:
    """A published model's switches at a size that compiles in seconds.

    4 heads of width 16 do not add up to a width of 48: code that takes one for the other fails
    here.
    """
    sizes = dict(
        vocab_size=512,
        width=48,
        mlp_width=96,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=16,
        rope_theta=1e4,
        max_positions=4096,
    )
    return dataclasses.replace(published, **(sizes | changes))
