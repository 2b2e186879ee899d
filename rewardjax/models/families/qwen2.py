"""Qwen2.5 (arXiv 2412.15115).

Query, key and value projections have a bias; no q/k norms.
"""

from rewardjax.models.config import DecoderConfig
from rewardjax.models.family import Family, Only, gated_layer_weights, tiny
from rewardjax.models.hf_table import DECODER_ROWS, Rule


def _published(
    width: int,
    mlp_width: int,
    layers: int,
    heads: int,
    kv_heads: int,
    *,
    head_dim: int,
    tied: bool,
    vocab_size: int = 151_936,
) -> DecoderConfig:
    """Sizes as in the config.json that each model was published with on the Hugging Face hub."""
    return DecoderConfig(
        family="qwen2",
        vocab_size=vocab_size,
        width=width,
        mlp_width=mlp_width,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        rope_theta=1e6,
        norm_eps=1e-6,
        tied=tied,
        max_positions=32_768,
    )


QWEN25_05B = _published(896, 4864, 24, 14, 2, head_dim=64, tied=True)

FAMILY = Family(
    name="qwen2",
    architecture="Qwen2",
    qkv_bias=True,
    only=(Only("hidden_act", "silu"), Only("use_sliding_window", False)),
    absent={"num_key_value_heads": 32},
    rules=(
        *DECODER_ROWS,
        Rule(
            "decoder.layers.attention.q_bias", "model.layers.{}.self_attn.q_proj.bias", "NH", "NH"
        ),
        Rule(
            "decoder.layers.attention.k_bias", "model.layers.{}.self_attn.k_proj.bias", "KH", "KH"
        ),
        Rule(
            "decoder.layers.attention.v_bias", "model.layers.{}.self_attn.v_proj.bias", "KH", "KH"
        ),
    ),
    layer_weights=gated_layer_weights,
    variants={
        "qwen2.5-0.5b": QWEN25_05B,
        "qwen2.5-1.5b": _published(1536, 8960, 28, 12, 2, head_dim=128, tied=True),
        "qwen2.5-3b": _published(2048, 11_008, 36, 16, 2, head_dim=128, tied=True),
        "qwen2.5-7b": _published(
            3584, 18_944, 28, 28, 4, head_dim=128, tied=False, vocab_size=152_064
        ),
        "tiny-qwen2": tiny(
            QWEN25_05B, head_dim=12
        ),  # transformers' Qwen2 has no head_dim of its own
    },
)
