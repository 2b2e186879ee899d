"""Qwen3 (arXiv 2505.09388).

Every query and key head is normalized before it is rotated; no biases.
"""

from rewardjax.models.config import DecoderConfig
from rewardjax.models.family import Family, Only, gated_layer_weights, tiny
from rewardjax.models.hf_table import DECODER_ROWS, Rule


def _published(width: int, mlp_width: int, layers: int, heads: int, *, tied: bool) -> DecoderConfig:
    """Sizes as in the config.json that each model was published with on the Hugging Face hub."""
    return DecoderConfig(
        family="qwen3",
        vocab_size=151_936,
        width=width,
        mlp_width=mlp_width,
        layers=layers,
        heads=heads,
        kv_heads=8,
        head_dim=128,
        rope_theta=1e6,
        norm_eps=1e-6,
        tied=tied,
        max_positions=40_960,
    )


QWEN3_06B = _published(1024, 3072, 28, 16, tied=True)

FAMILY = Family(
    name="qwen3",
    architecture="Qwen3",
    qk_norm=True,
    only=(
        Only("hidden_act", "silu"),
        Only("attention_bias", False),
        Only("use_sliding_window", False),
    ),
    absent={"head_dim": 128, "num_key_value_heads": 32},
    rules=(
        *DECODER_ROWS,
        # One scale for all heads of a layer: the norm is over the width of a head.
        Rule(
            "decoder.layers.attention.q_norm", "model.layers.{}.self_attn.q_norm.weight", "H", "H"
        ),
        Rule(
            "decoder.layers.attention.k_norm", "model.layers.{}.self_attn.k_norm.weight", "H", "H"
        ),
    ),
    layer_weights=gated_layer_weights,
    variants={
        "qwen3-0.6b": QWEN3_06B,
        "qwen3-1.7b": _published(2048, 6144, 28, 16, tied=True),
        "qwen3-4b": _published(2560, 9728, 36, 32, tied=True),
        "qwen3-8b": _published(4096, 12_288, 36, 32, tied=False),
        "tiny-qwen3": tiny(QWEN3_06B),
    },
)
