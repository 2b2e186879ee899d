"""Llama 3.1 and 3.2 (arXiv 2407.21783).

Rotary wavelengths are stretched for long contexts; no biases, no q/k norms.
"""

from rewardjax.models.config import DecoderConfig, RopeScaling
from rewardjax.models.family import Family, Only, gated_layer_weights, tiny
from rewardjax.models.hf_table import DECODER_ROWS


def _published(
    width: int,
    mlp_width: int,
    layers: int,
    heads: int,
    *,
    head_dim: int,
    stretch: float,
    tied: bool,
) -> DecoderConfig:
    """Sizes as in the config.json that each model was published with on the Hugging Face hub."""
    return DecoderConfig(
        family="llama",
        vocab_size=128_256,
        width=width,
        mlp_width=mlp_width,
        layers=layers,
        heads=heads,
        kv_heads=8,
        head_dim=head_dim,
        rope_theta=5e5,
        rope_scaling=RopeScaling(
            factor=stretch, low_freq_factor=1.0, high_freq_factor=4.0, original_positions=8192
        ),
        norm_eps=1e-5,
        tied=tied,
        max_positions=131_072,
    )


LLAMA32_1B = _published(2048, 8192, 16, 32, head_dim=64, stretch=32.0, tied=True)

FAMILY = Family(
    name="llama",
    architecture="Llama",
    only=(Only("hidden_act", "silu"), Only("attention_bias", False), Only("mlp_bias", False)),
    # Files of Llama 1 and 2 lack what was then the only value.
    absent={"rope_theta": 1e4, "rms_norm_eps": 1e-6, "max_position_embeddings": 2048},
    rules=DECODER_ROWS,
    layer_weights=gated_layer_weights,
    variants={
        "llama3.1-8b": _published(4096, 14_336, 32, 32, head_dim=128, stretch=8.0, tied=False),
        "llama3.2-1b": LLAMA32_1B,
        "llama3.2-3b": _published(3072, 8192, 28, 24, head_dim=128, stretch=32.0, tied=True),
        # An original context of 64 positions, so that a short test crosses into the stretched
        # wavelengths.
        "tiny-llama": tiny(
            LLAMA32_1B, rope_scaling=RopeScaling(4.0, 1.0, 4.0, original_positions=64)
        ),
    },
)
